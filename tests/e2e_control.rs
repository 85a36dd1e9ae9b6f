//! Orders lifted, observed, activated and restored on the running program, by its own commands.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;
use sinkscope::control::api::types::{HealthShown, Pauses};
use sinkscope::control::client::Client;
use sinkscope::control::journal::{Journal, blank};
use sinkscope::control::record::{Record, RecordedStanding, Verb};
use support::authority::{Authority, ipv4_of};
use support::process::{Ended, Folder, PATIENCE, Program, command, golden, run};
use support::wire::{self, A};

/// What a sinkholed name has.
const SINKHOLED: &str = "NOERROR 0.0.0.0 EDE16 EDE4";
/// The names of the order, in the order of the tables below.
const NAMES: [&str; 4] = ["evil.ddns.net", "worse.ddns.net", "x.worse.ddns.net", "bad.no-ip.org"];
/// The order's list.
const LIST: &str = "evil.ddns.net\nworse.ddns.net\nx.worse.ddns.net\nbad.no-ip.org\n";

/// An order of these names, and more lines.
fn order(more: &str) -> String {
    format!(
        "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n{more}[[scope]]\nmatch = \"exact\"\nfile = \"a.txt\"\n"
    )
}

/// A program with a state folder, asked and told by its own commands.
struct Bench {
    folder: Folder,
    authority: Authority,
    program: Program,
}

impl Bench {
    fn new(args: &[&str]) -> Bench {
        let folder = Folder::new(&[("orders/a.toml", &order("")), ("orders/a.txt", LIST)]);
        let authority = Authority::start();
        let program = start(&folder, &authority, args);
        Bench { folder, authority, program }
    }

    /// Runs `sinkscope order` with these words, and says that it went well.
    fn order(&self, words: &str) -> String {
        let ended = self.command(&format!("order {words}"));
        assert_eq!(ended.code, Some(0), "order {words}: {}{}", ended.out, ended.err);
        ended.out
    }

    /// Runs a command against the program.
    fn command(&self, words: &str) -> Ended {
        let args: Vec<&str> = words.split(' ').chain(["--state", "state"]).collect();
        run(&self.folder, &args)
    }

    /// What speaks to its API.
    fn client(&self) -> Client {
        let address = format!("unix:{}", self.folder.file("state/control.sock").display());
        Client::new(Some(&address.parse().expect("an address")), None).expect("a client")
    }

    /// Which of [`NAMES`] are sinkholed; the others have the truth.
    fn sinkholed(&self) -> [bool; 4] {
        NAMES.map(|name| {
            let shown = wire::udp(self.program.addr(), name, A).show();
            assert!(shown == SINKHOLED || shown == format!("NOERROR {}", ipv4_of(name)), "{name}: {shown}");
            shown == SINKHOLED
        })
    }

    /// Where the compiled orders are kept, once they are.
    fn snapshot(&self) -> PathBuf {
        let snapshot = self.folder.file("state/orders.snapshot");
        let deadline = Instant::now() + PATIENCE;
        while !snapshot.exists() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        snapshot
    }

    /// Ends the program without warning and starts it again.
    fn kill_and_restart(&mut self) {
        self.program.signal("KILL");
        self.program.wait();
        self.program = start(&self.folder, &self.authority, &["--state", "state"]);
    }
}

/// Starts it on a free port.
fn start(folder: &Folder, authority: &Authority, args: &[&str]) -> Program {
    let upstream = authority.addr().to_string();
    let all = ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders"];
    Program::serve(folder, &[&all, args].concat())
}

/// With a state folder.
const STATE: &[&str] = &["--state", "state"];

#[test]
fn each_command_is_in_effect_when_it_returns() {
    let mut bench = Bench::new(STATE);
    let all = [true; 4];
    assert_eq!(bench.sinkholed(), all);
    // Each with the names that are sinkholed right after it; they build on each other.
    let steps = [
        ("lift a", [false; 4]),
        ("restore a", all),
        ("lift a --name evil.ddns.net", [false, true, true, true]),
        ("lift a --name worse.ddns.net --why settled --by clerk", [false, false, true, true]),
        ("restore a --name worse.ddns.net", [false, true, true, true]),
        ("lift a --zone worse.ddns.net --zone no-ip.org", [false, false, false, false]),
        ("activate a --name x.worse.ddns.net", [false, false, true, false]),
        ("restore a --zone worse.ddns.net --zone no-ip.org --name evil.ddns.net", all),
        ("observe a", [false, false, true, false]),
        ("activate a", all),
        ("observe a --name evil.ddns.net", [false, true, true, true]),
        ("lift a", [false, false, true, false]),
    ];
    for (step, (words, expected)) in steps.into_iter().enumerate() {
        let said = bench.order(words);
        assert_eq!(bench.sinkholed(), expected, "{words}: {said}");
        // A restart every third time: nothing may depend on which process was told.
        if step % 3 == 2 {
            bench.kill_and_restart();
            assert_eq!(bench.sinkholed(), expected, "{words}, restarted");
        }
    }
    assert_eq!(bench.authority.asked("www.ddns.net"), 0);
}

#[test]
fn a_lift_outlives_kill_reload_and_snapshot() {
    let mut bench = Bench::new(STATE);
    let said = bench.order("lift a --zone ddns.net --why settled");
    assert!(said.contains("clients that hold the old answer lose it within 10 seconds"), "{said}");
    // Nothing was waited for: the record was on the disk before the command returned.
    let lifted = [false, false, false, true];
    bench.kill_and_restart();
    assert_eq!(bench.sinkholed(), lifted);

    // A reload that compiles everything anew.
    let mark = bench.program.mark();
    bench.folder.write("orders/a.txt", &format!("{LIST}more.no-ip.org\n"));
    bench.program.wait_for(mark, "order a changed: 4 -> 5 names");
    assert_eq!(bench.sinkholed(), lifted);
    let mark = bench.program.mark();
    bench.program.signal("HUP");
    bench.program.wait_for(mark, "reloaded");
    assert_eq!(bench.sinkholed(), lifted);

    // The order goes and comes back: what was stated waits for it.
    let mark = bench.program.mark();
    fs::remove_file(bench.folder.file("orders/a.toml")).expect("removed");
    bench.program.wait_for(mark, "something is stated about order a, which is not loaded");
    assert_eq!(bench.sinkholed(), [false; 4]);
    let mark = bench.program.mark();
    bench.folder.write("orders/a.toml", &order(""));
    bench.program.wait_for(mark, "order a added: 5 names");
    assert_eq!(bench.sinkholed(), lifted);

    // A start from the compiled orders that were kept.
    bench.snapshot();
    bench.kill_and_restart();
    assert!(
        bench.program.log().contains("the compiled orders that were kept are in force"),
        "{}",
        bench.program.log()
    );
    assert_eq!(bench.sinkholed(), lifted);
    let journal: Value = serde_json::from_str(&bench.order("show a --json")).expect("JSON");
    assert_eq!(journal["statements"][0]["why"], "settled");
    bench.order("restore a --zone ddns.net");
    assert_eq!(bench.sinkholed(), [true; 4]);
}

#[test]
fn a_tampered_journal_is_refused_loudly_and_kept() {
    let mut bench = Bench::new(STATE);
    bench.order("lift a --name evil.ddns.net");
    bench.order("lift a --name worse.ddns.net");
    bench.order("lift a --name bad.no-ip.org");
    let path = bench.folder.file("state/orders.journal");
    let text = fs::read_to_string(&path).expect("a journal");
    let tampered = text.replace("\"name\":\"worse.ddns.net\"", "\"name\":\"other.ddns.net\"");
    bench.program.signal("KILL");
    bench.program.wait();
    fs::write(&path, &tampered).expect("written");
    bench.program = start(&bench.folder, &bench.authority, STATE);
    assert_eq!(bench.sinkholed(), [false, true, true, false]);
    let log = bench.program.log();
    // What else is on record comes between them as it happens.
    let line = 1 + text.lines().position(|line| line.contains("worse.ddns.net")).expect("a record");
    assert!(log.contains(&format!("orders.journal:{line}: is not what was written")), "{log}");
    assert!(log.contains("refused: 2 statements could be read and go on standing"), "{log}");
    let kept = fs::read_dir(bench.folder.file("state"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let kept: Vec<_> =
        kept.filter(|path| path.to_string_lossy().contains("orders.journal.refused-")).collect();
    assert_eq!(fs::read_to_string(&kept[0]).expect("kept"), tampered);
    let status = bench.command("status");
    assert!(status.out.contains("is not what was written"), "{}", status.out);
    bench.kill_and_restart();
    assert_eq!(bench.sinkholed(), [false, true, true, false]);
}

#[test]
fn a_torn_journal_is_mended() {
    let mut bench = Bench::new(STATE);
    bench.order("lift a --name evil.ddns.net");
    bench.order("lift a --name bad.no-ip.org");
    let path = bench.folder.file("state/orders.journal");
    bench.program.signal("KILL");
    bench.program.wait();
    let text = fs::read(&path).expect("a journal");
    fs::write(&path, &text[..text.len() - 30]).expect("written");
    bench.program = start(&bench.folder, &bench.authority, STATE);
    assert!(bench.program.log().contains("was not written to its end"), "{}", bench.program.log());
    assert_eq!(bench.sinkholed(), [false, true, true, true]);
    bench.order("lift a");
    bench.kill_and_restart();
    assert_eq!(bench.sinkholed(), [false; 4]);
}

#[test]
fn a_journal_that_cannot_be_read_keeps_it_from_starting() {
    let folder = Folder::new(&[("orders/a.toml", &order("")), ("orders/a.txt", LIST)]);
    fs::create_dir_all(folder.file("state/orders.journal")).expect("a folder");
    let ended = run(&folder, &["serve", "--listen", "127.0.0.1:0", "--orders", "orders", "--state", "state"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.starts_with("error: state/orders.journal: cannot be"), "{}", ended.err);
}

#[test]
fn tokens_and_addresses() {
    let folder = Folder::new(&[
        ("orders/a.toml", &order("")),
        ("orders/a.txt", LIST),
        ("tokens", "ops:0123456789abcdef0123\n"),
        ("wrong", "ops:0123456789abcdef9999\n"),
    ]);
    let authority = Authority::start();
    let args = ["--control", "127.0.0.1:0", "--token-file", "tokens"];
    let program = start(&folder, &authority, &args);
    let line = program.wait_for(0, "control API on ");
    let address: SocketAddr = line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("an address");
    assert!(TcpStream::connect(address).is_ok());
    let address = address.to_string();
    for (more, code, said) in [
        (&["--token-file", "tokens"][..], 0, "T"),
        (
            &["--token-file", "wrong"],
            1,
            "error: no token, or one that is not known\n  hint: send `Authorization",
        ),
        (&[], 1, "error: no token, or one that is not known"),
        (&["--token-file", "gone"], 1, "error: gone cannot be read"),
    ] {
        let ended = run(&folder, &[&["order", "show", "a", "--control", &address], more].concat());
        assert_eq!(ended.code, Some(code), "{more:?}: {}{}", ended.out, ended.err);
        assert!(format!("{}{}", ended.out, ended.err).contains(said), "{more:?}: {}{}", ended.out, ended.err);
    }
    let ended = run(&folder, &["order", "lift", "a", "--control", &address, "--token-file", "tokens"]);
    assert!(
        ended.out.contains("note: there is no state folder: this ends with the process"),
        "{}",
        ended.out
    );
    program.wait_for(0, "order a: lift by token ops: in-force before, lifted now");

    // What is refused before anything is served.
    for (args, code, said) in [
        (&["--control", "0.0.0.0:0"][..], 2, "which others than this machine reach, and there is no token"),
        (&["--control", "0.0.0.0:0", "--token-file", "gone"], 1, "error: gone: cannot be read"),
        (&["--control", "unix:orders/a.txt"], 1, "something that is no socket is there"),
        (&["--control", "nowhere"], 2, "which is neither unix:PATH nor address:port"),
    ] {
        let all = [&["serve", "--listen", "127.0.0.1:0", "--orders", "orders"], args].concat();
        let ended = run(&folder, &all);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
}

#[test]
fn commands_without_a_server_say_what_to_do() {
    let folder = Folder::new(&[]);
    for (args, code, said) in [
        (
            &["order", "list"][..],
            1,
            "error: no control address is configured\n  hint: start the server with a state folder",
        ),
        (&["status", "--state", "state"], 1, "error: no server answers at unix:state/control.sock: "),
        (&["lists", "--control", "127.0.0.1:1"], 1, "error: no server answers at 127.0.0.1:1: "),
        (&["pause", "--for", "1x", "--state", "state"], 2, "write a number and a unit: 90s, 30m, 2h, 1d"),
    ] {
        let ended = run(&folder, args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
}

#[test]
fn what_commands_print() {
    let bench = Bench::new(STATE);
    let mut shown = String::new();
    for words in [
        "order list",
        "order lift a --name evil.ddns.net --name elsewhere.example --why settled",
        "order list",
        "order observe a",
        "order restore a",
        "order restore a",
        "order activate a --name worse.ddns.net",
        "order lift b",
        "order lift b --ahead",
        "order list",
        "order history nobody",
        "lists",
        "pause --for 1m",
        "pause kids --for 30m",
        "resume",
    ] {
        let ended = bench.command(words);
        shown += &format!("$ sinkscope {words}\n{}{}= {}\n", ended.out, ended.err, ended.code.unwrap_or(-1));
    }
    let times = regex_lite::Regex::new(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?").expect("a pattern");
    let users = regex_lite::Regex::new(r"uid \d+").expect("a pattern");
    let shown = users.replace_all(&times.replace_all(&shown, "TIME"), "uid UID").into_owned();
    golden("order.txt", &shown);
    let history = bench.order("history a --limit 2");
    let verbs: Vec<&str> =
        history.lines().skip(1).filter_map(|line| line.split_whitespace().nth(4)).collect();
    assert_eq!(verbs, ["restore", "activate"], "{history}");
}

#[test]
fn the_api_is_described_word_for_word() {
    let bench = Bench::new(STATE);
    let client = sinkscope::control::client::Client::new(
        Some(
            &format!("unix:{}", bench.folder.file("state/control.sock").display())
                .parse()
                .expect("an address"),
        ),
        None,
    );
    let document: Value = client.expect("a client").get("/v1/openapi.json").expect("a document");
    golden("openapi.json", &format!("{document:#}\n"));
}

#[test]
fn a_socket_goes_with_its_server() {
    let mut bench = Bench::new(STATE);
    let socket = bench.folder.file("state/control.sock");
    assert!(socket.exists());
    // A second one does without rather than take it, for nobody chose it.
    let second = start(&bench.folder, &bench.authority, STATE);
    second
        .wait_for(0, "control unix:state/control.sock: cannot be listened on: another server listens there");
    drop(second);
    assert_eq!(bench.command("status").code, Some(0));
    bench.program.signal("TERM");
    assert!(bench.program.wait().success());
    assert!(!socket.exists());
}

/// The octets of the snapshot, with its trie's checksum put right after a change of the trie's table.
fn resealed(mut octets: Vec<u8>, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let word = |octets: &[u8], at: usize| u64::from_le_bytes(octets[at..at + 8].try_into().expect("eight"));
    let description = 64..64 + usize::try_from(word(&octets, 16)).expect("a length");
    let trie = description.end.next_multiple_of(4096);
    let text = String::from_utf8_lossy(&octets[description]).into_owned();
    let buckets = serde_json::from_str::<Value>(&text).expect("JSON")["shape"][0].as_u64().expect("a number");
    change(&mut octets[trie..trie + 64 * usize::try_from(buckets).expect("few")]);
    let sum = xxhash_rust::xxh3::xxh3_128(&octets[trie..]);
    octets[48..64].copy_from_slice(&sum.to_le_bytes());
    octets
}

#[test]
fn a_forged_snapshot_is_set_aside_and_the_lists_are_read() {
    let mut bench = Bench::new(STATE);
    let place = bench.snapshot();
    let whole = fs::read(&place).expect("a snapshot");
    type Change = fn(&mut [u8]);
    let changes: [(&str, Change); 2] = [
        ("emptied buckets", |table| table.fill(0)),
        ("places beyond the end", |table| table.chunks_mut(64).for_each(|bucket| bucket[16..].fill(0xff))),
    ];
    for (what, change) in changes {
        bench.program.signal("KILL");
        bench.program.wait();
        let _ = fs::remove_file(&place);
        fs::write(&place, resealed(whole.clone(), change)).expect("a forged one");
        bench.program = start(&bench.folder, &bench.authority, STATE);
        assert_eq!(bench.sinkholed(), [true; 4], "{what}");
        let line = bench.program.wait_for(0, "the compiled orders that were kept are not used");
        assert!(
            line.contains("WARN") && line.contains("kept aside as orders.snapshot.bad"),
            "{what}: {line}"
        );
        assert!(bench.folder.file("state/orders.snapshot.bad").exists(), "{what}");
    }
}

#[test]
fn a_state_folder_that_is_not_ours_is_refused() {
    let folder = Folder::new(&[("orders/a.toml", &order("")), ("orders/a.txt", LIST), ("state/keep", "")]);
    let refused = || {
        let mut serve = command(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--orders", "orders", "--state", "state"]);
        Program::start(serve).err().expect("it does not serve")
    };
    let state = folder.file("state");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("a mode");
    let said = refused();
    assert!(said.starts_with("error: state: everybody may write to it (mode 0777)"), "{said}");
    assert!(said.contains("hint: look whether it is what you expect and `chmod go-w state`"), "{said}");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).expect("a mode");
    // Only root can give things away.
    if std::os::unix::fs::chown(&state, Some(12_345), None).is_ok() {
        let said = refused();
        assert!(said.starts_with("error: state: it belongs to uid 12345, while"), "{said}");
    }
}

/// What a terminal would act on, or a log take for a new line.
const ACTS: &str = "x\n2026-01-01T00:00:00Z  INFO order b: lift by token root\u{1b}[2J\r\u{9b}1A\u{202e}";

/// Whether nothing but lines is in a text.
fn is_plain(text: &str) -> bool {
    let acts = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}');
    !text.contains(acts)
}

#[test]
fn what_lies_on_disk_acts_on_no_terminal() {
    let folder = Folder::new(&[("orders/a.toml", &order("")), ("orders/a.txt", LIST)]);
    let (mut journal, _) = Journal::open(&folder.file("state"), 0).expect("a journal");
    let record = |order: &str| Record {
        order: order.into(),
        verb: Verb::Lift,
        standing: Some(RecordedStanding::Lifted),
        by: ACTS.into(),
        why: ACTS.into(),
        ..blank(0, &format!("token {ACTS}"))
    };
    journal.append(vec![record("a"), record(&format!("b{ACTS}"))]).expect("two records");
    fs::set_permissions(folder.file("state"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let authority = Authority::start();
    let program = start(&folder, &authority, STATE);
    let log = program.wait_for(0, "something is stated about order b");
    assert!(log.contains("which is not loaded") && is_plain(&program.log()), "{:?}", program.log());
    for (words, lines) in [("order history", 3), ("order list", 3), ("order show a", 9)] {
        let args: Vec<&str> = words.split(' ').chain(["--state", "state"]).collect();
        let ended = run(&folder, &args);
        assert_eq!(ended.code, Some(0), "{words}: {}", ended.err);
        assert!(is_plain(&ended.out) && ended.out.lines().count() == lines, "{words}: {:?}", ended.out);
        assert!(ended.out.contains("x\\n2026-01-01T00:00:00Z  INFO order b"), "{words}: {}", ended.out);
    }
}

#[test]
fn nothing_forges_a_line_of_the_log() {
    let bench = Bench::new(STATE);
    for (flag, words) in [("--why", "why"), ("--by", "by")] {
        let ended = run(&bench.folder, &["order", "lift", "a", flag, ACTS, "--state", "state"]);
        assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
        assert!(
            ended.err.starts_with(&format!("error: `{words}` holds the control character \\n\n")),
            "{}",
            ended.err
        );
    }
    let ended = run(&bench.folder, &["order", "lift", ACTS, "--ahead", "--state", "state"]);
    assert!(ended.code == Some(1) && is_plain(&ended.err), "{:?}", ended.err);
    assert_eq!(bench.sinkholed(), [true; 4]);
    assert!(
        !bench.program.log().lines().any(|line| line.starts_with("2026-01-01")),
        "{}",
        bench.program.log()
    );
    // Files as well: what is wrong in them is quoted.
    bench.folder.write(
        "orders/b.toml",
        "id = \"b\\u001b[2J\"\ntitle = \"t\\u202et\"\nkind = \"kou\\u001b[2Jrt\\r\"\n",
    );
    let ended = run(&bench.folder, &["check", "orders"]);
    assert!(is_plain(&ended.out) && ended.out.contains("kou\\u001b[2Jrt"), "{:?}", ended.out);
    assert!(ended.out.contains("title holds the control character \\u202e"), "{}", ended.out);
}

/// Sends a request over TCP and gives back the status line.
fn status_of(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    // It may be refused before all of it is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.lines().next().unwrap_or_default().to_string()
}

#[test]
fn the_api_is_there_for_whoever_speaks() {
    let folder = Folder::new(&[
        ("orders/a.toml", &order("")),
        ("orders/a.txt", LIST),
        ("tokens", "ops:0123456789abcdef0123\n"),
    ]);
    fs::set_permissions(folder.file("tokens"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let authority = Authority::start();
    let program = start(&folder, &authority, &["--control", "127.0.0.1:0", "--token-file", "tokens"]);
    let line = program.wait_for(0, "control API on ");
    let address = line.rsplit(' ').next().expect("an address").to_string();
    // As many as there are places, and more; the words of each are as far as it got.
    let mut silent: Vec<TcpStream> = Vec::new();
    for begun in ["", "GET /v1/status HTTP/1.1\r\nHost: "].repeat(40) {
        let mut stream = TcpStream::connect(&address).expect("a connection");
        let _ = stream.write_all(begun.as_bytes());
        silent.push(stream);
    }
    let token = "Authorization: Bearer 0123456789abcdef0123\r\nConnection: close\r\n";
    let ask = |path: &str, host: &str| {
        status_of(&address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}\r\n"))
    };
    assert_eq!(ask("/v1/status", "localhost"), "HTTP/1.1 200 OK");
    let ended = run(&folder, &["order", "lift", "a", "--control", &address, "--token-file", "tokens"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for host in ["[::1].evil.example", "[::1]:53.evil.example", "127.0.0.1:x", "evil.example"] {
        assert_eq!(ask("/v1/status", host), "HTTP/1.1 403 Forbidden", "{host}");
    }
    // Nobody compares that with the names of orders.
    let long = ask(&format!("/v1/orders/{}", "x".repeat(60_000)), "localhost");
    assert!(long.contains(" 431 ") || long.contains(" 414 "), "{long}");
    assert_eq!(
        ask(&format!("/v1/orders/{}", "x".repeat(401)), "localhost"),
        "HTTP/1.1 422 Unprocessable Entity"
    );
    program.wait_for(
        0,
        "tokens: everybody on this machine may read these tokens, and so lift orders (`chmod o-r tokens`",
    );
    drop(silent);
}

#[test]
fn a_pause_outlives_a_kill() {
    let mut bench = Bench::new(STATE);
    let pauses = |bench: &Bench| -> Vec<(Option<String>, String, i64)> {
        let pauses: Pauses = bench.client().get("/v1/pauses").expect("pauses");
        pauses.pauses.into_iter().map(|pause| (pause.group, pause.why, pause.until)).collect()
    };
    let ended = run(&bench.folder, &["pause", "--for", "1h", "--why", "a shop", "--state", "state"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let before = pauses(&bench);
    bench.kill_and_restart();
    let after = pauses(&bench);
    assert_eq!((before.len(), after.len()), (1, 1), "{after:?}");
    let (ends, ended) = (before[0].2, after[0].2);
    assert!(after[0].1 == "a shop" && ends.abs_diff(ended) <= 1, "{before:?} {after:?}");
    // As if the clock had been ahead by years when it was set: an hour was said, and an hour it is.
    bench.program.signal("KILL");
    bench.program.wait();
    let file = bench.folder.file("state/pauses.json");
    let text = fs::read_to_string(&file).expect("pauses");
    let kept: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let until = kept[0]["until"].as_i64().expect("a second");
    fs::write(&file, text.replace(&until.to_string(), &(until + 315_360_000).to_string())).expect("a file");
    bench.program = start(&bench.folder, &bench.authority, STATE);
    let left = pauses(&bench)[0].2 - ends;
    assert!((0..600).contains(&left), "{left}");
    assert_eq!(run(&bench.folder, &["resume", "--state", "state"]).code, Some(0));
    bench.kill_and_restart();
    assert_eq!(pauses(&bench), []);
}

#[test]
fn an_outage_is_seen_by_whoever_looks() {
    let (folder, mut second) =
        (Folder::new(&[("orders/a.toml", &order("")), ("orders/a.txt", LIST)]), Authority::start());
    let mut authority = Authority::start();
    let also = second.addr().to_string();
    let program = start(&folder, &authority, &["--state", "state", "--upstream", &also]);
    let mut bench = Bench { folder, authority: Authority::start(), program };
    let (mark, mut asked) = (bench.program.mark(), 0);
    let health = |bench: &Bench| bench.client().get::<HealthShown>("/v1/health").expect("how it is");
    let mut ask = |bench: &Bench| {
        asked += 1;
        wire::udp(bench.program.addr(), &format!("n{asked}.hopto.org"), A)
    };
    assert!(ask(&bench).show().starts_with("NOERROR") && health(&bench).well);

    second.stop();
    authority.stop();
    // Both are known to be down once each has said so three times, which is how often a question is put to each.
    drop(ask(&bench));
    for server in [authority.addr(), second.addr()] {
        let line = format!("WARN upstream udp://{server} is taken to be down: it refused the connection");
        bench.program.wait_for(mark, &line);
    }
    let shown = health(&bench);
    let trouble = format!("upstream: no server answers: udp://{}, udp://{also}", authority.addr());
    assert_eq!((shown.well, shown.troubles), (false, vec![trouble.clone()]));
    let status = bench.command("status").out;
    // That the last try, by stream, is refused counts as silence.
    let line = format!(
        r"upstream   udp://{} asked=\d+ failed=\d+, DOWN for \d+s, \d+s ago it (refused the connection|did not answer in time)\n",
        authority.addr()
    );
    assert!(status.contains(&format!("problem    {trouble}")), "{status}");
    assert!(regex_lite::Regex::new(&line).expect("a pattern").is_match(&status), "{status}");

    authority.restart();
    assert!(ask(&bench).show().starts_with("NOERROR"));
    bench.program.wait_for(mark, &format!("INFO upstream udp://{} is back after ", authority.addr()));
    assert!(health(&bench).well);
    let log = bench.program.log();
    assert!(!log.contains("hopto"), "no question is logged: {log}");
    assert_eq!(log.matches(" is taken to be down").count(), 2, "once for each: {log}");
    bench.authority = authority;
}
