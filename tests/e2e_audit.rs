//! What goes on record beside orders on the running program, and what `sinkscope audit` makes of the journal; health, completions, man pages.

mod support;

use std::fs;

use serde_json::Value;
use support::authority::Authority;
use support::process::{Ended, Folder, Program, run};

/// An order, a list and a group of clients.
const ORDER: &str = "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.ddns.net\"]\n";
/// A configuration with a state folder.
const CONFIGURATION: &str = r#"
[listen]
udp = ["127.0.0.1:0"]
[orders]
paths = ["orders"]
state = "state"
[[lists]]
name = "ads"
source = "ads.txt"
match = "exact"
[[clients]]
name = "kids"
addresses = ["192.0.2.0/24"]
"#;

/// The files that all tests have.
fn folder() -> Folder {
    Folder::new(&[("orders/a.toml", ORDER), ("ads.txt", "ads.example\n"), ("sinkscope.toml", CONFIGURATION)])
}

/// Runs a command, of words without spaces.
fn command(folder: &Folder, words: &str) -> Ended {
    run(folder, &words.split(' ').collect::<Vec<&str>>())
}

/// What is on record: verb, what about and why.
fn told(folder: &Folder, more: &str) -> Vec<(String, String, String)> {
    let ended = command(folder, &format!("audit show --json{more}"));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let text = |record: &Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let records = ended.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
    let told = |record: Value| {
        let order = text(&record, "order");
        let about = if order.is_empty() { text(&record, "about") } else { order };
        (text(&record, "verb"), about, text(&record, "why"))
    };
    records.map(told).collect()
}

/// How often a verb is on record.
fn count(folder: &Folder, verb: &str) -> usize {
    told(folder, "").iter().filter(|(is, ..)| is == verb).count()
}

#[test]
fn all_that_changes_is_on_record_and_the_chain_tells_what_was_changed_in_it() {
    let folder = folder();
    let authority = Authority::start();
    let upstream = authority.addr().to_string();
    let program = Program::serve(&folder, &["--upstream", &upstream]);
    assert_eq!((count(&folder, "configure"), count(&folder, "list")), (1, 1));
    assert_eq!(command(&folder, "pause kids --for 10m --why shop").code, Some(0));
    assert_eq!(command(&folder, "resume").code, Some(0));
    assert_eq!(command(&folder, "order lift a --why settled").code, Some(0));
    let kept = |told: &[(String, String, String)], verb: &str| {
        told.iter().find(|(is, ..)| is == verb).map(|(_, about, why)| format!("{about}: {why}"))
    };
    let all = told(&folder, "");
    assert_eq!(kept(&all, "pause").as_deref(), Some("kids: shop"));
    assert_eq!(kept(&all, "resume").as_deref(), Some("everybody: "));
    assert_eq!(kept(&all, "lift").as_deref(), Some("a: settled"));
    assert_eq!(kept(&all, "list").as_deref(), Some("ads: 1 entries, 1 names, of ads.txt"));
    assert_eq!(told(&folder, " --order a").len(), 1);
    assert_eq!(told(&folder, " --since 2100-01-01").len(), 0);
    // Who speaks is told once, however many requests it takes; its record may be on the disk a moment later.
    let mark = program.mark();
    folder.write("sinkscope.toml", &format!("{CONFIGURATION}[cache]\nsize = \"1MiB\"\n"));
    program.wait_for(mark, "the configuration is in force as it is now");
    assert_eq!(kept(&told(&folder, "")[1..], "configure").as_deref(), Some(": other values: cache.size"));
    assert_eq!(count(&folder, "log-in"), 1);
    // History is of orders.
    let history = command(&folder, "order history");
    assert!(history.out.contains("lift") && !history.out.contains("log-in"), "{}", history.out);
    drop(program);

    // A restart under the same configuration has nothing to say of it, nor of lists.
    let (before, total) = (count(&folder, "configure"), told(&folder, "").len());
    let verified = command(&folder, "audit verify");
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    assert!(verified.out.contains(&format!("{total} records, the chain is whole")), "{}", verified.out);
    let head = verified.out.lines().find_map(|line| line.strip_prefix("head ")).expect("a head").to_owned();
    let program = Program::serve(&folder, &["--upstream", &upstream]);
    assert_eq!((count(&folder, "configure"), count(&folder, "list")), (before, 1));
    assert_eq!(command(&folder, "order restore a").code, Some(0));
    drop(program);
    let with_head = |head: &str| command(&folder, &format!("audit verify --head {head}"));
    let later = with_head(&head);
    assert_eq!(later.code, Some(0), "{}{}", later.out, later.err);
    assert!(later.out.contains(&format!("head {head} is record {total}")), "{}", later.out);

    // Records cut off its end leave a chain that is whole, and without the head that was noted.
    let path = folder.file("state/orders.journal");
    let text = fs::read_to_string(&path).expect("a journal");
    let cut: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(&path, &cut).expect("a journal");
    assert_eq!(command(&folder, "audit verify").code, Some(0));
    let cut = with_head(&head);
    assert_eq!(cut.code, Some(1));
    assert!(cut.err.contains(&format!("no record has the hash {head}")), "{}", cut.err);
    fs::write(&path, text.replace("shop", "shot")).expect("a journal");
    let changed = command(&folder, "audit verify --state state");
    assert_eq!(changed.code, Some(1));
    assert!(
        changed.err.contains("state/orders.journal:") && changed.err.contains("is not what was written"),
        "{}",
        changed.err
    );
    assert!(changed.out.contains("THE CHAIN IS NOT WHOLE"), "{}", changed.out);
    let missing = command(&folder, "audit verify --file nothing");
    assert_eq!(missing.code, Some(1), "{}", missing.err);
}

/// Serves with temporary files elsewhere than the folder, so that a confined process may not write all over it.
fn serve_apart(folder: &Folder, upstream: &str, more: &[&str]) -> Program {
    folder.write("tmp/here", "");
    let mut serve = support::process::command(folder.path());
    serve.env("TMPDIR", folder.file("tmp")).args(["serve", "--upstream", upstream]).args(more);
    Program::start(serve).unwrap_or_else(|log| panic!("it does not serve:\n{log}"))
}

#[test]
fn a_state_folder_that_was_taken_away_comes_back_with_what_is_on_record() {
    let folder = folder();
    let authority = Authority::start();
    let upstream = authority.addr().to_string();
    let program = serve_apart(&folder, &upstream, &["--set", "process.writable=[\".\"]"]);
    assert_eq!(command(&folder, "order lift a --why settled").code, Some(0));
    let mark = program.mark();
    fs::remove_dir_all(folder.file("state")).expect("the folder goes");
    // By itself: who wants an order lifted finds it.
    program.wait_for(mark, "control.sock was gone");
    assert_eq!(command(&folder, "order restore a").code, Some(0));
    assert_eq!(command(&folder, "order lift a --why again").code, Some(0));
    program.wait_for(mark, "orders.journal was gone");
    assert_eq!((count(&folder, "lift"), command(&folder, "audit verify").code), (2, Some(0)));
    // As often as that comes about.
    let mark = program.mark();
    fs::remove_file(folder.file("state/control.sock")).expect("the socket goes");
    program.wait_for(mark, "control.sock was gone");
    assert_eq!(command(&folder, "order list").code, Some(0));
    drop(program);
    let program = serve_apart(&folder, &upstream, &[]);
    let listed = command(&folder, "order list");
    assert!(listed.out.contains("lifted"), "{}{}", listed.out, listed.err);

    // A confined process may not write to a folder that it did not begin with, and says what to do.
    if program.log().contains("files are not confined") {
        return support::process::skipped("this kernel has no Landlock");
    }
    let mark = program.mark();
    fs::remove_dir_all(folder.file("state")).expect("the folder goes");
    let said = program.wait_for(mark, "control.sock is gone");
    assert!(said.contains("process.writable"), "{said}");
}

#[test]
fn health_is_an_exit_code() {
    let folder = folder();
    let authority = Authority::start();
    let upstream = authority.addr().to_string();
    let nobody = command(&folder, "health");
    assert_eq!(nobody.code, Some(1), "{}", nobody.err);
    let mut program = Program::serve(&folder, &["--upstream", &upstream]);
    let well = command(&folder, "health");
    assert_eq!((well.code, &well.out[..]), (Some(0), "well\n"), "{}", well.err);
    let dns = format!("health --dns {}", program.addr());
    assert_eq!(command(&folder, &dns).code, Some(0));
    program.signal("STOP");
    let silent = command(&folder, "health --timeout 1");
    program.signal("CONT");
    assert_eq!(silent.code, Some(1));
    assert!(silent.err.contains("no answer within 1 seconds"), "{}", silent.err);
    program.signal("TERM");
    program.wait();
    assert_eq!(command(&folder, &dns).code, Some(1));
}

#[test]
fn completions_and_man_pages_are_made() {
    let folder = Folder::new(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let script = command(&folder, &format!("completions {shell}"));
        assert_eq!(script.code, Some(0));
        assert!(script.out.contains("sinkscope") && script.out.contains("verify"), "{shell}: {}", script.out);
    }
    assert_eq!(command(&folder, "man man1").code, Some(0));
    assert!(folder.file("man1/sinkscope-order-lift.1").is_file());
}
