//! The built program with what it has cached: kept over restarts, shown and forgotten by command.

mod support;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::authority::{Authority, Data, Reply, ipv4_of};
use support::process::{Ended, Folder, PATIENCE, Program, run};
use support::wire::{self, A};

/// AAAA.
const AAAA: u16 = 28;
/// Names that are asked for.
const NAMES: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];
/// An order that takes a name, and one that others lead to.
const ORDER: &str = "id = \"late\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"b.example\", \"target.example\"]\n";

/// A program with a state folder, and its upstream.
struct Bench {
    folder: Folder,
    authority: Authority,
}

impl Bench {
    /// With no order yet.
    fn new() -> Bench {
        let folder = Folder::new(&[]);
        fs::create_dir(folder.file("orders")).expect("a folder");
        Bench { folder, authority: Authority::start() }
    }

    /// Starts it, with more arguments.
    fn start(&self, more: &[&str]) -> Program {
        let upstream = self.authority.addr().to_string();
        let all =
            ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders", "--state", "state"];
        Program::serve(&self.folder, &[&all, more].concat())
    }

    /// Runs a command against it.
    fn command(&self, words: &str) -> Ended {
        let args: Vec<&str> = words.split(' ').chain(["--state", "state"]).collect();
        run(&self.folder, &args)
    }

    /// What a command prints when all goes well.
    fn said(&self, words: &str) -> String {
        let ended = self.command(words);
        assert_eq!(ended.code, Some(0), "{words}: {}{}", ended.out, ended.err);
        ended.out
    }

    /// What a command says as JSON.
    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.said(&format!("{words} --json"))).expect("JSON")
    }

    /// Waits until what a command says as JSON is so.
    fn until(&self, words: &str, is: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.json(words);
            if is(&said) {
                return;
            }
            assert!(Instant::now() < deadline, "{words}: {said}");
            std::thread::yield_now();
        }
    }

    /// The file that it is kept in.
    fn file(&self) -> std::path::PathBuf {
        self.folder.file("state/cache.store")
    }
}

/// What a name of the authority's has.
fn truth(name: &str) -> String {
    format!("NOERROR {}", ipv4_of(name))
}

/// Ends a program and waits for it.
fn end(mut program: Program, signal: &str) -> String {
    program.signal(signal);
    program.wait();
    program.log()
}

#[test]
fn what_was_cached_is_there_after_a_restart_and_judged_anew() {
    let mut bench = Bench::new();
    bench.authority.script("short.example", A, Reply::new().a(ipv4_of("short.example")).ttl(1));
    bench.authority.script("none.example", A, Reply::nxdomain().soa());
    let leads = Reply::new().cname("target.example").record("target.example", Data::A(ipv4_of("x")));
    bench.authority.script("leads.example", A, leads);
    let names = NAMES.iter().chain(&["short.example", "none.example", "leads.example"]);
    let program = bench.start(&[]);
    for name in names {
        wire::udp(program.addr(), name, A);
    }
    let log = end(program, "TERM");
    assert!(!log.contains("kept"), "nothing was wrong: {log}");
    let mode = fs::metadata(bench.file()).expect("it is kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!bench.folder.file("state/cache.store.new").exists());

    // An order that came while nothing ran, and nobody to ask.
    bench.folder.write("orders/late.toml", ORDER);
    bench.authority.stop();
    let program = bench.start(&[]);
    let log = program.log();
    assert!(log.contains("is cached again: 6 answers, 1 that have expired beside them, 0 too old"), "{log}");
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    for (name, expected) in [
        ("a.example", truth("a.example").as_str()),
        ("c.example", &truth("c.example")),
        ("none.example", "NXDOMAIN"),
        ("b.example", "NOERROR 0.0.0.0 EDE16 EDE4"),
    ] {
        assert_eq!(shows(name), expected, "{name}");
    }
    let captured = shows("leads.example");
    assert!(captured.contains("0.0.0.0") && captured.contains("EDE16"), "{captured}");
    let stale = shows("short.example");
    assert!(stale.starts_with(&truth("short.example")) && stale.contains("EDE3"), "{stale}");
    let stats = bench.json("cache show --stats");
    assert_eq!((&stats["kept"]["restored"], &stats["caches"][0]["entries"]), (&7.into(), &7.into()));
    end(program, "TERM");

    // Once more, with what was captured among it: an order takes nothing from the cache.
    let program = bench.start(&[]);
    fs::remove_file(bench.folder.file("orders/late.toml")).expect("it is there");
    program.signal("HUP");
    program.wait_for(0, "order late removed");
    assert_eq!(wire::udp(program.addr(), "b.example", A).show(), truth("b.example"));
}

#[test]
fn a_kill_loses_what_came_since_it_was_last_written() {
    let mut bench = Bench::new();
    let program = bench.start(&["--set", "cache.persist_interval=1"]);
    NAMES.iter().for_each(|name| {
        wire::udp(program.addr(), name, A);
    });
    bench.until("cache show --stats", |stats| stats["kept"]["answers"] == 4);
    end(program, "KILL");
    bench.authority.stop();
    let program = bench.start(&[]);
    for name in NAMES {
        assert_eq!(wire::udp(program.addr(), name, A).show(), truth(name));
    }
}

#[test]
fn what_is_damaged_or_not_ours_is_set_aside_and_what_is_of_others_not_used() {
    let bench = Bench::new();
    let program = bench.start(&[]);
    wire::udp(program.addr(), "a.example", A);
    end(program, "TERM");
    let good = fs::read(bench.file()).expect("it is kept");
    let bad = bench.folder.file("state/cache.store.bad");
    let other = Authority::start();
    let other = other.addr().to_string();
    let flipped = |place: usize| {
        let mut octets = good.clone();
        octets[place] ^= 1;
        octets
    };
    let future = {
        let mut octets = good[..good.len() - 16].to_vec();
        octets[16..24].copy_from_slice(&i64::MAX.to_le_bytes());
        let sum = xxhash_rust::xxh3::xxh3_128(&octets);
        octets.extend_from_slice(&sum.to_le_bytes());
        octets
    };
    for (what, octets, mode, more, said, is_bad) in [
        ("cut", good[..good.len() / 2].to_vec(), 0o600, &[][..], "it is damaged", true),
        ("empty", Vec::new(), 0o600, &[], "it is damaged", true),
        ("altered", flipped(good.len() / 2), 0o600, &[], "it is damaged", true),
        ("of another version", flipped(8), 0o600, &[], "another version wrote it", true),
        ("anybody's", good.clone(), 0o666, &[], "everybody may write to it (mode 0666)", true),
        ("of tomorrow", future, 0o600, &[], "which is yet to come by this machine's clock", false),
        ("of others", good.clone(), 0o600, &["--upstream", &other], "it is of other upstreams", false),
        (
            "of other rules",
            good.clone(),
            0o600,
            &["--set", "cache.max_ttl=60"],
            "or was taken by other rules",
            false,
        ),
        (
            "too long",
            vec![0; 200 << 10],
            0o600,
            &["--set", "cache.size=64KiB"],
            "longer than all that may be cached",
            true,
        ),
    ] {
        let _ = fs::remove_file(&bad);
        fs::write(bench.file(), &octets).expect("written");
        fs::set_permissions(bench.file(), fs::Permissions::from_mode(mode)).expect("permissions");
        let upstream = bench.authority.addr().to_string();
        let mut args = vec!["--listen", "127.0.0.1:0", "--orders", "orders", "--state", "state"];
        if !more.contains(&"--upstream") {
            args.extend(["--upstream", &upstream]);
        }
        let program = Program::serve(&bench.folder, &[&args, more].concat());
        let log = program.log();
        assert!(log.contains("what was cached is not used again") && log.contains(said), "{what}: {log}");
        assert_eq!(bad.exists(), is_bad, "{what}");
        if is_bad {
            assert_eq!(fs::read(&bad).expect("it is there"), octets, "{what}");
        }
        assert_eq!(bench.json("cache show --stats")["caches"][0]["entries"], 0, "{what}");
        assert_eq!(wire::udp(program.addr(), "a.example", A).show(), truth("a.example"), "{what}");
        end(program, "KILL");
    }
}

#[test]
fn who_wants_nothing_kept_finds_nothing_kept() {
    let bench = Bench::new();
    let program = bench.start(&[]);
    wire::udp(program.addr(), "a.example", A);
    end(program, "TERM");
    for name in ["cache.store.new", "cache.store.bad"] {
        fs::write(bench.folder.file("state").join(name), "x").expect("written");
    }
    let program = bench.start(&["--set", "cache.persist=false"]);
    wire::udp(program.addr(), "a.example", A);
    let gone = || {
        ["cache.store", "cache.store.new", "cache.store.bad"]
            .iter()
            .all(|name| !bench.folder.file("state").join(name).exists())
    };
    assert!(gone(), "{}", program.log());
    assert!(bench.said("cache show --stats").contains("kept on disk: no"));
    end(program, "TERM");
    assert!(gone());
}

#[test]
fn a_disk_that_takes_nothing_is_told_of_once_and_ends_nothing() {
    let bench = Bench::new();
    fs::create_dir_all(bench.folder.file("state/cache.store.new/in the way")).expect("a folder");
    fs::set_permissions(bench.folder.file("state"), fs::Permissions::from_mode(0o700)).expect("permissions");
    let program = bench.start(&["--set", "cache.persist_interval=1"]);
    wire::udp(program.addr(), "a.example", A);
    let line = program.wait_for(0, "cannot be kept in state");
    assert!(line.contains("WARN") && line.contains("a restart begins without"), "{line}");
    bench.until("status", |status| {
        status["troubles"].to_string().contains("cache: what is cached cannot be kept")
    });
    // It is well for all that: a restart would only lose what is cached.
    assert_eq!(wire::udp(program.addr(), "a.example", A).show(), truth("a.example"));
    fs::remove_dir_all(bench.folder.file("state/cache.store.new")).expect("it is there");
    wire::udp(program.addr(), "b.example", A);
    bench.until("status", |status| status["troubles"].as_array().is_some_and(Vec::is_empty));
    let log = end(program, "TERM");
    assert_eq!(log.matches("cannot be kept").count(), 1, "{log}");
}

#[test]
fn what_is_cached_is_shown_and_forgotten_by_command() {
    let bench = Bench::new();
    let leads = Reply::new().cname("target.example").record("target.example", Data::A(ipv4_of("x")));
    bench.authority.script("leads.example", A, leads);
    bench.authority.script("none.example", A, Reply::nxdomain().soa());
    bench.authority.script("fails.example", A, Reply::new().rcode(2));
    let program = bench.start(&[]);
    let ask = |name: &str, qtype: u16| {
        // Often enough to be one of a worker's own.
        for _ in 0..4 {
            wire::udp(program.addr(), name, qtype);
        }
        bench.authority.asked(name)
    };
    for name in ["a.example", "b.example", "w.b.example", "leads.example", "none.example"] {
        assert_eq!(ask(name, A), 1, "{name}");
    }
    assert_eq!(ask("a.example", AAAA), 2);
    let shown = bench.said("cache show leads.example");
    for part in
        ["leads.example A", ": NOERROR, ", " left, came ", "leads.example. ", " IN CNAME target.example."]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = bench.said("cache show none.example");
    assert!(shown.contains("NXDOMAIN") && shown.contains(" IN SOA "), "{shown}");
    assert_eq!(bench.said("cache show nobody.example"), "nothing is cached of nobody.example\n");
    let types = |words: &str| -> Vec<String> {
        let answers = bench.json(words)["answers"].as_array().expect("a list").clone();
        answers.iter().map(|answer| answer["type"].as_str().expect("a type").to_owned()).collect()
    };
    assert_eq!(types("cache show A.Example."), ["A", "AAAA"]);
    assert_eq!(types("cache show a.example --type aaaa"), ["AAAA"]);
    // A failure lasts a second: another one comes while it is looked for.
    let failed = (0..20).any(|_| {
        wire::udp(program.addr(), "fails.example", A);
        bench.said("cache show fails.example").contains("failed, asked again in")
    });
    assert!(failed);
    let status = bench.said("status");
    assert!(status.contains("cache      6 answers in "), "{status}");

    // Each forgets some; then how often each is asked for upstream.
    let flush = |words: &str| bench.said(&format!("cache flush {words}"));
    let mark = program.mark();
    assert!(flush("a.example --type AAAA").starts_with("1 answer and "));
    assert_eq!((ask("a.example", AAAA), ask("a.example", A)), (3, 3));
    assert!(flush("A.example").starts_with("2 answers and "));
    assert_eq!(ask("a.example", A), 4);
    assert!(flush("--subtree b.example").starts_with("2 answers and "));
    assert_eq!((ask("b.example", A), ask("w.b.example", A), ask("leads.example", A)), (2, 2, 1));
    assert!(flush("--all").starts_with("5 answers and "));
    assert_eq!((ask("leads.example", A), ask("none.example", A)), (2, 2));
    let line = program.wait_for(mark, "flushed b.example and below by uid ");
    assert!(line.contains("2 answers and"), "{line}");
    assert_eq!(bench.json("cache show --stats")["flushed"], 10);
    for (words, error) in [
        ("cache flush", "required"),
        ("cache flush a.example --all", "cannot be used with"),
        ("cache flush a..b", "\"a..b\""),
        ("cache flush a.example --type NONE", "unknown type \"NONE\""),
        ("cache show", "required"),
    ] {
        let ended = bench.command(words);
        assert!(ended.code != Some(0) && ended.err.contains(error), "{words}: {}", ended.err);
    }
}

#[test]
fn what_was_forgotten_is_not_on_the_disk_either() {
    let bench = Bench::new();
    let program = bench.start(&[]);
    wire::udp(program.addr(), "a.example", A);
    end(program, "TERM");
    let program = bench.start(&[]);
    assert!(bench.file().exists());
    assert!(bench.said("cache flush a.example").starts_with("1 answer and "));
    assert!(!bench.file().exists(), "a kill brings nothing back");
    end(program, "TERM");
    let program = bench.start(&[]);
    assert_eq!(bench.json("cache show a.example")["answers"].as_array().map(Vec::len), Some(0));
    drop(program);
}

#[test]
fn groups_with_upstreams_of_their_own_have_what_is_theirs() {
    let mut bench = Bench::new();
    let family = Authority::start();
    let text = format!(
        "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{}\"]\n[orders]\npaths = [\"orders\"]\nstate = \"state\"\n\
         [[clients]]\nname = \"kids\"\naddresses = [\"127.0.0.2\"]\n[[forward]]\ngroups = [\"kids\"]\nservers = [\"{}\"]\n",
        bench.authority.addr(),
        family.addr()
    );
    family.script("a.example", A, Reply::new().a([192, 0, 2, 7].into()));
    bench.folder.write("sinkscope.toml", &text);
    let program = Program::serve(&bench.folder, &[]);
    let by_kids = |program: &Program| {
        let socket = UdpSocket::bind("127.0.0.2:0").expect("loopback");
        socket.connect(program.addr()).expect("a server");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket.send(&wire::query(7, "a.example", A)).expect("sent");
        wire::receive(&socket).expect("a reply").show()
    };
    let asked = |program: &Program| (wire::udp(program.addr(), "a.example", A).show(), by_kids(program));
    let expected = (truth("a.example"), "NOERROR 192.0.2.7".to_owned());
    assert_eq!(asked(&program), expected);
    end(program, "TERM");
    let family_asked = family.asked_in_all();
    bench.authority.stop();
    let program = Program::serve(&bench.folder, &[]);
    assert_eq!(asked(&program), expected);
    assert_eq!(family.asked("a.example"), family_asked.min(1));
    let shown = bench.said("cache show a.example");
    assert!(shown.contains("a.example A: ") && shown.contains("a.example A (for kids): "), "{shown}");
    assert!(bench.said("cache flush a.example").starts_with("2 answers and "));
    assert_eq!(by_kids(&program), "NOERROR 192.0.2.7");
    assert_eq!(family.asked("a.example"), 2);
}
