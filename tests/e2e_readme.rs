//! README's walk for whoever is served with an order, run as it is written: order in, impact, in force, sightings, report, lift, audit. The
//! book's page on it has the same commands.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::authority::{Authority, ipv4_of};
use support::process::{Folder, PATIENCE, Program, has_tool, in_folder, program};
use support::wire::{self, A};

/// The section that is run.
const SECTION: &str = "\n## Served with an order\n";
/// Where README has the server listen. Here it takes a free port.
const PORT: &str = "-p 5300";
/// The order of the walk.
const ORDER: &str = "us-nv-2014-cv-00987";

/// Queries of clients, so many that a sample of one in 64 surely has some.
const TRAFFIC: usize = 1500;

/// What a block of commands is to come to.
enum Step {
    /// It is run once, and says these.
    Once(&'static [&'static str]),
    /// It is run until it says these: what it is about takes a moment.
    Until(&'static [&'static str]),
    /// It is the server.
    Serve,
}

/// The blocks in their order, each by its first words.
const STEPS: [(&str, Step); 10] = [
    ("mkdir -p orders", Step::Once(&[])),
    (
        "sinkscope check",
        Step::Once(&["1 order with 2 names; refused: 0 orders, 0 lines; 0 errors, 0 warnings"]),
    ),
    (
        "sinkscope explain",
        Step::Once(&["order us-nv-2014-cv-00987", "made of names                        2"]),
    ),
    ("sinkscope serve", Step::Serve),
    ("sinkscope order list", Step::Until(&["in-force", "EDE: 16", ORDER, "\t0.0.0.0", "takes queries"])),
    (
        "sinkscope log",
        Step::Until(&[
            "listed-host.ddns.net A NOERROR sinkhole",
            "bladabindi\n  queries   ",
            "about 1",
            "127.0.0.1\n",
        ]),
    ),
    ("sinkscope report", Step::Once(&[])),
    ("sinkscope order lift", Step::Once(&["(was in-force)", "order us-nv-2014-cv-00987 is lifted"])),
    ("sed -i", Step::Once(&[])),
    (
        "sinkscope order history",
        Step::Once(&[
            "false positive",
            "restore",
            "observe",
            "activate",
            "the order was vacated",
            "the chain is whole",
        ]),
    ),
];

/// The page of the book.
const PAGE: &str = "docs/served.md";

/// The text of a page.
fn text(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("a page")
}

/// README's section.
fn section() -> String {
    let readme = text("README.md");
    readme.split(SECTION).nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section").to_owned()
}

/// The blocks of commands in a text, without what indents them.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        let block = blocks.last_mut().expect("there is one");
        match line.strip_prefix("    ") {
            Some(command) => *block += &format!("{command}\n"),
            // An empty line within a block is part of it, behind one it is not.
            None if line.is_empty() && !block.is_empty() => block.push('\n'),
            None if !block.is_empty() => blocks.push(String::new()),
            None => {}
        }
    }
    blocks.iter().map(|block| block.trim_end().to_owned()).filter(|block| !block.is_empty()).collect()
}

/// A shell in a folder, for which the built program is the first on the path.
fn shell(folder: &Folder, script: &str, upstream: &str) -> Command {
    let program = program();
    let built = Path::new(&program).parent().expect("a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([built].into_iter().chain(std::env::split_paths(&path))).expect("a path");
    let mut shell = in_folder(Command::new("sh"), folder.path());
    shell.args(["-ec", script]).env("PATH", path);
    let settings = [
        ("LISTEN__UDP", "127.0.0.1:0"),
        ("LISTEN__TCP", "127.0.0.1:0"),
        ("UPSTREAM__SERVERS", upstream),
        // As by itself, but sooner.
        ("EVIDENCE__FLUSH", "1"),
    ];
    for (key, value) in settings {
        shell.env(format!("SINKSCOPE_{key}"), value);
    }
    shell
}

/// Runs a block; what is said, or what is missing from it.
fn say(mut shell: Command, expected: &[&str]) -> Result<String, String> {
    let output = shell.output().expect("a shell");
    let [out, err] =
        [&output.stdout, &output.stderr].map(|octets| String::from_utf8_lossy(octets).into_owned());
    let missing: Vec<_> = expected.iter().filter(|text| !out.contains(**text)).collect();
    if output.status.success() && missing.is_empty() {
        return Ok(out);
    }
    Err(format!("{}, {missing:?} is missing:\n{out}{err}", output.status))
}

#[test]
fn the_page_of_the_book_has_the_commands_that_are_run() {
    let run = blocks(&section());
    assert_eq!(run.len(), STEPS.len());
    assert_eq!(blocks(&text(PAGE)), run);
}

#[test]
fn the_walk_of_whoever_is_served_with_an_order() {
    if !has_tool("dig", "dnsutils") {
        return;
    }
    let (folder, authority) = (Folder::new(&[]), Authority::start());
    let upstream = authority.addr().to_string();
    let blocks = blocks(&section());
    let begun = |block: &String| STEPS.iter().position(|(words, _)| block.starts_with(words));
    let order: Vec<_> = blocks.iter().map(begun).collect();
    assert_eq!(order, (0..STEPS.len()).map(Some).collect::<Vec<_>>(), "README has other steps: {blocks:#?}");

    let mut serving: Option<Program> = None;
    let mut lifted = String::new();
    for (block, (words, step)) in blocks.iter().zip(&STEPS) {
        let port = serving.as_ref().map_or(0, |program| program.addr().port());
        let script = block.replace(PORT, &format!("-p {port}"));
        match step {
            Step::Once(expected) => {
                let said = say(shell(&folder, &script, &upstream), expected);
                let said = said.unwrap_or_else(|why| panic!("{script}\n{why}"));
                if words.ends_with("lift") {
                    lifted = said;
                }
            }
            Step::Until(expected) => {
                let first = Instant::now();
                while let Err(why) = say(shell(&folder, &script, &upstream), expected) {
                    assert!(first.elapsed() < PATIENCE, "{script}\n{why}");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            // It is ended by the test, not by a shell: so it stays in front.
            Step::Serve => {
                let front = block.strip_suffix('&').expect("it goes on in the background");
                let serve = shell(&folder, &format!("exec {front}"), &upstream);
                let program = Program::start(serve).unwrap_or_else(|log| panic!("it does not serve:\n{log}"));
                (0..TRAFFIC).for_each(|_| drop(wire::udp(program.addr(), "listed-host.ddns.net", A)));
                serving = Some(program);
            }
        }
    }

    // A name that is lifted has its own address, and so has the other one once the order is.
    let truth = ipv4_of("listed-host.ddns.net").to_string();
    assert!(lifted.contains(&truth), "{truth} is missing:\n{lifted}");
    let serving = serving.expect("it serves");
    let other = wire::udp(serving.addr(), "another-host.no-ip.org", A);
    assert_eq!(other.addresses, [ipv4_of("another-host.no-ip.org")], "{other:?}");
    // What was written is what was said to be.
    let read =
        |name: &str| fs::read_to_string(folder.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let report = read("for-their-abuse-contact.csv");
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines.len() >= 2 && lines[0].starts_with("\"timestamp\",\"protocol\",\"src_ip\""), "{report}");
    assert!(lines[1].contains("\"127.0.0.1\"") && lines[1].contains("\"bladabindi\""), "{report}");
    for page in ["impact.html", "report.html"] {
        assert!(read(page).contains(ORDER), "{page}");
    }
    assert!(read("orders/example-order.toml").starts_with("lifted = true\n"));
}
