//! `sinkscope check`: every problem of the orders, with file and line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::control::local_files::LocalFiles;
use crate::orders::{ListResult, Loader, Settings, lint};
use crate::plain;
use crate::problem::{Problem, Severity};
use crate::stated::gather::{Gathered, gather};
use crate::stated::row::Row;
use crate::time::UnixSeconds;

/// Exit code when there are errors.
const PROBLEMS: u8 = 1;

/// What to check, and how to say it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CheckArgs {
    /// Order files or folders to check instead of those configured
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Print everything a problem is about, not only the first few
    #[arg(long, short)]
    pub verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks orders as of `now`; gives back the exit code: 0 when nothing is refused, warnings or not, else 1.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(
    settings: &Settings,
    local: &[Row],
    args: &CheckArgs,
    out: &mut impl Write,
    now: UnixSeconds,
) -> io::Result<u8> {
    let mut settings = settings.clone();
    // Whoever names orders asks about those.
    let local = if args.paths.is_empty() { local } else { &[] };
    if !args.paths.is_empty() {
        settings.paths.clone_from(&args.paths);
        settings.lists.clear();
    }
    let mut loaded = Loader::new(settings).load();
    // What a policy has no room for is known once it is compiled.
    loaded.policy(1);
    let mut problems = loaded.problems.clone();
    problems.extend(lint::lint(&loaded, now));
    let stated = names_here(local, &mut problems, now);
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    if args.json {
        let report = json!({
            "problems": problems.iter().map(as_json).collect::<Vec<_>>(),
            "orders": loaded.orders,
            "names": loaded.names,
            "refused_orders": loaded.refused_orders,
            "refused_lines": loaded.refused_lines,
            "lists": loaded.lists.iter().map(list_json).collect::<Vec<_>>(),
            "local": {
                "zones": stated.stated.zones.len(),
                "records": stated.stated.records.len(),
                "lease_names": stated.lease_names,
                "refused_lease_names": stated.refused_names,
            },
            "errors": errors,
            "warnings": warnings,
        });
        writeln!(out, "{report:#}")?;
    } else {
        for problem in &problems {
            writeln!(out, "{problem}")?;
            for detail in problem.details.iter().filter(|_| args.verbose) {
                writeln!(out, "    {}", plain::escaped(detail))?;
            }
        }
        for file in loaded.lists.iter().flat_map(|list| &list.files) {
            writeln!(out, "list {}: {}", plain::escaped(&file.id), plain::escaped(&file.summary()))?;
        }
        let counted =
            |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        if !local.is_empty() {
            writeln!(
                out,
                "local names: {}, {}, {} from leases, {} refused",
                counted(stated.stated.zones.len(), "zone"),
                counted(stated.stated.records.len(), "record"),
                counted(stated.lease_names, "name"),
                stated.refused_names,
            )?;
        }
        writeln!(
            out,
            "{} with {}; refused: {}, {}; {}, {}",
            counted(loaded.orders, "order"),
            counted(loaded.names, "name"),
            counted(loaded.refused_orders, "order"),
            counted(loaded.refused_lines, "line"),
            counted(errors, "error"),
            counted(warnings, "warning"),
        )?;
    }
    Ok(if errors > 0 { PROBLEMS } else { 0 })
}

/// What these rows and their files state, and what is wrong with it. A file that cannot be used is an error: while serving, what it said
/// before would stay in force.
fn names_here(rows: &[Row], problems: &mut Vec<Problem>, now: UnixSeconds) -> Gathered {
    let mut files = LocalFiles::default();
    files.refresh(rows, false, Instant::now());
    let gathered = gather(rows, &|source| files.content(source), now);
    let troubles = files.troubles();
    let errors = troubles.iter().map(|one| Problem { severity: Severity::Error, ..(*one).clone() });
    problems.extend(errors);
    let others = files.problems().filter(|one| !troubles.contains(one));
    problems.extend(others.chain(&gathered.problems).cloned());
    gathered
}

/// A problem for machines.
fn as_json(problem: &Problem) -> Value {
    json!({
        "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
        "file": problem.file,
        "line": problem.line,
        "message": problem.message,
        "hint": problem.hint,
        "details": problem.details,
    })
}

/// A list for machines.
fn list_json(list: &ListResult) -> Value {
    let files = list.files.iter().map(|file| {
        let skipped = file.skipped.iter().map(|(skip, count)| (skip.as_str().to_string(), json!(count)));
        json!({
            "id": file.id,
            "file": file.file,
            "format": file.format.map(|format| format.as_str()),
            "read_as": file.read_as(),
            "entries": file.entries,
            "refused_lines": file.refused_lines,
            "widened_exceptions": file.widened,
            "skipped": Value::Object(skipped.collect()),
            "state": file.state.as_str(),
            "why": file.state.why(),
        })
    });
    json!({ "name": list.name, "url": list.url, "files": files.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::ListSpec;
    use crate::policy::MatchKind;
    use std::fs;

    /// Output and exit code of checking a folder with these files.
    fn check(files: &[(&str, &str)], args: CheckArgs) -> (String, u8) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let args = CheckArgs { paths: vec![folder.path().into()], ..args };
        let mut out = Vec::new();
        let code = run(&Settings::default(), &[], &args, &mut out, 1_577_836_800).unwrap();
        (String::from_utf8(out).unwrap().replace(&format!("{}/", folder.path().display()), ""), code)
    }

    #[test]
    fn a_clean_folder_is_summed_up() {
        let order = "id = \"x\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n";
        let (out, code) = check(&[("o.toml", order)], CheckArgs::default());
        assert_eq!(
            (out.as_str(), code),
            ("1 order with 1 name; refused: 0 orders, 0 lines; 0 errors, 0 warnings\n", 0)
        );
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        let order =
            "id = \"x\"\nexpires = 2019-01-01\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n";
        let (out, code) = check(&[("o.toml", order)], CheckArgs::default());
        assert!(out.starts_with("warning: o.toml: order x expired on 2019-01-01\n  hint: "), "{out}");
        assert_eq!(code, 0);
    }

    #[test]
    fn everything_wrong_is_printed_and_counted() {
        let files = [
            (
                "a.toml",
                "id = \"a\"\nkind = \"kourt\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n",
            ),
            ("b.toml", "id = \"b\"\n[[scope]]\nmatch = \"exact\"\nfile = \"b.txt\"\n"),
            ("b.txt", "ok.example\n||x.example^\n"),
        ];
        let (out, code) = check(&files, CheckArgs::default());
        assert_eq!(
            out,
            "error: a.toml:2: unknown kind \"kourt\"\n  hint: did you mean \"court\"? kind is one of court, \
             law-enforcement, registry, operator, user\n\
             error: b.txt:2: \"||x.example^\": looks like an Adblock rule\n  hint: an Adblock list: keep the name \
             between \"||\" and \"^\"\n\
             1 order with 1 name; refused: 1 order, 1 line; 2 errors, 0 warnings\n"
        );
        assert_eq!(code, PROBLEMS);
        let (out, code) = check(&files, CheckArgs { json: true, ..CheckArgs::default() });
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (report["errors"].as_u64(), report["problems"][1]["line"].as_u64(), code),
            (Some(2), Some(2), 1)
        );
    }

    #[test]
    fn verbose_prints_every_name() {
        let names: Vec<String> = (0..12).map(|index| format!("\"tld{index}\"")).collect();
        let order = format!("id = \"x\"\n[[scope]]\nmatch = \"subtree\"\nnames = [{}]\n", names.join(", "));
        let (short, _) = check(&[("o.toml", &order)], CheckArgs::default());
        let (long, _) = check(&[("o.toml", &order)], CheckArgs { verbose: true, ..CheckArgs::default() });
        assert!(short.contains("tld9 and 2 more") && !short.contains("tld11"), "{short}");
        assert!(long.contains("\n    tld11\n"), "{long}");
    }

    #[test]
    fn lists_are_told_with_their_counts() {
        let folder = tempfile::tempdir().unwrap();
        let list = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).unwrap();
            ListSpec::new(name, folder.path().join(name))
        };
        let lists = vec![
            list("ads", "||a.example^\n||b.example^$popup\na.example##.x\nb.example##.y\n"),
            list("bad", "<html>\n"),
            ListSpec { kind: Some(MatchKind::Exact), ..list("one", "a.example\n") },
        ];
        let settings = Settings { lists, ..Settings::default() };
        let mut out = Vec::new();
        let code = run(&settings, &[], &CheckArgs::default(), &mut out, 0).unwrap();
        let out = String::from_utf8(out).unwrap().replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(
            out,
            "warning: ads:2: \"||b.example^$popup\": a resolver cannot honour the option popup\n\
             warning: ads: skipped, since a resolver has no use for them: 2 cosmetic rules\n\
             error: bad: a web page, not a list\n  hint: the list has moved, or a login stands in between: look at its \
             address\n\
             list ads: adblock by its first lines, 1 entry, 1 line refused, 2 cosmetic rules skipped, in force\n\
             list bad: 0 entries, not in force: a web page, not a list\n\
             list one: domains by its first lines (names are exact), 1 entry, in force\n\
             2 orders with 2 names; refused: 1 order, 1 line; 1 error, 2 warnings\n"
        );
        assert_eq!(code, PROBLEMS);
        let mut out = Vec::new();
        let args = CheckArgs { json: true, ..CheckArgs::default() };
        run(&settings, &[], &args, &mut out, 0).unwrap();
        let report: Value = serde_json::from_slice(&out).unwrap();
        let ads = &report["lists"][0]["files"][0];
        assert_eq!((ads["entries"].as_u64(), ads["skipped"]["cosmetic rules"].as_u64()), (Some(1), Some(2)));
        assert_eq!(report["lists"][1]["files"][0]["state"], "refused");
        // Orders given on the command line are checked instead, and alone.
        let args = CheckArgs { paths: vec![folder.path().into()], ..CheckArgs::default() };
        let mut out = Vec::new();
        run(&settings, &[], &args, &mut out, 0).unwrap();
        assert!(!String::from_utf8(out).unwrap().contains("list "));
    }
}
