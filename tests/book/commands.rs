//! Every command of ours that README and the book name is one that the program takes.

use clap::error::ErrorKind;

use super::{book, page};

/// Commands there are at least in blocks, and in sentences.
const AT_LEAST: (usize, usize) = (80, 40);
/// How people start the program.
const NAMES: [&str; 3] = ["sinkscope", "\"$(command -v sinkscope)\"", "cargo run --release --"];

/// Blocks of commands: fenced ones for a shell, and those that are set in.
fn blocks(text: &str) -> String {
    let (mut fence, mut commands) = (None, String::new());
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(kind), None) => fence = Some(kind),
            (Some(_), Some(_)) => fence = None,
            (None, Some("sh")) => commands += &format!("{}\n", line.trim_start()),
            (None, None) if line.starts_with("    ") => commands += &format!("{}\n", line.trim_start()),
            _ => {}
        }
    }
    commands.replace("\\\n", " ")
}

/// What stands between backticks in sentences and begins with our name; with a space at its end it is octets, not a command.
fn spans(text: &str) -> Vec<String> {
    let (mut fenced, mut prose) = (false, String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            prose += &format!("{line} ");
        }
    }
    prose
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.starts_with("sinkscope ") && !code.ends_with(' '))
        .map(str::to_owned)
        .collect()
}

/// The words of a line's commands, a list for each: quotes taken off, and all that only a shell reads.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None::<String>, None);
    let mut skip = false;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ' | '|' | '&' | ';' | '>' | '<' | ')' | '\n', None) => {
                // The word behind an arrow is a file.
                if let Some(word) = word.take()
                    && !std::mem::take(&mut skip)
                {
                    words.push(word);
                }
                match c {
                    '>' | '<' => skip = true,
                    '|' | '&' | ';' | ')' | '\n' => all.push(std::mem::take(&mut words)),
                    _ => {}
                }
            }
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.filter(|_| !skip));
    all.push(words);
    all.retain(|words| !words.is_empty());
    all
}

/// The words behind our name, if a command is ours.
fn ours(words: &[String]) -> Option<&[String]> {
    let words = if words.first().is_some_and(|word| word == "sudo") { &words[1..] } else { words };
    let set = words.iter().take_while(|word| word.contains('=') && !word.starts_with('-')).count();
    let words = &words[set..];
    words.first().is_some_and(|word| word == "sinkscope").then(|| &words[1..])
}

/// What the program says against a command; nothing if it takes it.
fn refused(words: &[String]) -> Option<clap::Error> {
    let all = ["sinkscope".to_owned()].into_iter().chain(words.iter().cloned());
    sinkscope::cli::command_line().try_get_matches_from(all).err()
}

/// A text's commands of ours.
fn found(text: &str) -> Vec<Vec<String>> {
    let text = NAMES[1..].iter().fold(text.to_owned(), |text, name| text.replace(name, NAMES[0]));
    text.lines().flat_map(commands).filter_map(|words| ours(&words).map(<[String]>::to_vec)).collect()
}

#[test]
fn commands_of_blocks_and_sentences_are_taken() {
    let (mut seen, mut faults) = ((0, 0), Vec::new());
    for page in
        book().into_iter().chain([page("README.md"), page("CONTRIBUTING.md"), page("blocklists/README.md")])
    {
        for words in found(&blocks(&page.text)) {
            seen.0 += 1;
            let refused = refused(&words);
            faults.extend(
                refused.map(|error| format!("{}: {}: {error}", page.path.display(), words.join(" "))),
            );
        }
        for words in spans(&page.text).iter().flat_map(|code| found(code)) {
            seen.1 += 1;
            // In a sentence a command may stand for itself, without what it takes.
            let open = |error: &clap::Error| {
                use ErrorKind as E;
                matches!(
                    error.kind(),
                    E::MissingRequiredArgument
                        | E::MissingSubcommand
                        | E::DisplayHelpOnMissingArgumentOrSubcommand
                )
            };
            // A word in capitals stands for what people put in its place.
            let for_another = |word: &String| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
            let meant = |error: &clap::Error| {
                error.kind() == ErrorKind::ValueValidation && words.iter().any(for_another)
            };
            let refused = refused(&words).filter(|error| !open(error) && !meant(error));
            faults.extend(
                refused.map(|error| format!("{}: {}: {error}", page.path.display(), words.join(" "))),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.0 >= AT_LEAST.0 && seen.1 >= AT_LEAST.1, "only {seen:?}");
}

#[test]
fn commands_are_found_where_pages_have_them() {
    let text = "A `sinkscope top` and `no`.\n\n    sudo \"$(command -v sinkscope)\" serve --listen '[::]:53' &\n    dig x | \
                sinkscope log - >out # no\n\n```sh\nX=1 sinkscope check \\\n    orders && sinkscope order list\n```\n\
                ```toml\nsinkscope no\n```\n    cargo run --release -- serve\n";
    let lines: Vec<String> = found(&blocks(text)).iter().map(|words| words.join(" ")).collect();
    assert_eq!(lines, ["serve --listen [::]:53", "log -", "check orders", "order list", "serve"]);
    assert_eq!(spans(text), ["sinkscope top"]);
    let refuses = |line: &str| found(line).iter().any(|words| refused(words).is_some());
    assert!(
        !refuses("sinkscope order list")
            && refuses("sinkscope ordre list")
            && refuses("sinkscope check --nosuch")
    );
}
