//! The built program and its query log: files that are moved, and Debian's receivers of dnstap.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::authority::Authority;
use support::process::{Folder, PATIENCE, Program, has_tool, run};
use support::wire::{self, A};

/// Orders that sinkhole, drop and look on.
fn folder() -> Folder {
    let order = |id: &str, action: &str, name: &str| {
        format!(
            "id = \"{id}\"\ntitle = \"T\"\nkind = \"court\"\naction = \"{action}\"\n[[scope]]\nmatch = \"subtree\"\nfamily = \"njRAT\"\nnames = [\"{name}\"]\n"
        )
    };
    Folder::new(&[
        ("orders/a.toml", &order("case-1", "sinkhole", "evil.ddns.net")),
        ("orders/b.toml", &order("case-2", "observe", "watched.ddns.net")),
    ])
}

/// Serves with this in `[query_log]`.
fn serve(folder: &Folder, authority: &Authority, log: &str) -> Program {
    let upstream = authority.addr();
    folder.write(
        "sinkscope.toml",
        &format!(
            "[listen]\nudp = [\"127.0.0.1:0\"]\nworkers = 1\n[upstream]\nservers = [\"{upstream}\"]\n[orders]\npaths = [\"orders\"]\n[query_log]\n{log}"
        ),
    );
    Program::serve(folder, &[])
}

/// Waits until something is so.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The lines of a file, once there are so many.
fn lines(path: &Path, count: usize) -> Vec<Value> {
    until("so many lines", || {
        let text = fs::read_to_string(path).ok()?;
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn queries_of_all_kinds_are_lines_of_a_file_that_may_be_moved() {
    let (folder, authority) = (folder(), Authority::start());
    let mut program = serve(&folder, &authority, "file = \"queries.log\"\n");
    let path = folder.file("queries.log");
    let addr = program.addr();
    for name in ["www.example.com", "www.example.com", "a.evil.ddns.net", "x.watched.ddns.net"] {
        wire::udp(addr, name, A);
    }
    wire::tcp(program.tcp[0], "a.evil.ddns.net", A);
    let found = lines(&path, 5);
    let of = |line: &Value| {
        let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        let keys = [
            "transport",
            "qname",
            "qtype",
            "rcode",
            "source",
            "verdict",
            "order",
            "family",
            "trigger",
            "match",
        ];
        keys.map(text).join(" ")
    };
    let mut all: Vec<String> = found.iter().map(of).collect();
    all.sort();
    assert_eq!(
        all,
        [
            "tcp a.evil.ddns.net A NOERROR forged sinkhole case-1 njRAT evil.ddns.net subtree",
            "udp a.evil.ddns.net A NOERROR forged sinkhole case-1 njRAT evil.ddns.net subtree",
            "udp www.example.com A NOERROR cached clear - - - -",
            "udp www.example.com A NOERROR fetched clear - - - -",
            "udp x.watched.ddns.net A NOERROR fetched clear - - - -",
        ]
    );
    for line in &found {
        assert_eq!(line["client"], "127.0.0.1");
        let observed = if of(line).contains("watched") { serde_json::json!(["case-2"]) } else { Value::Null };
        assert_eq!(line["observed"], observed);
        let ede = if of(line).contains("evil") { serde_json::json!([16, 4]) } else { Value::Null };
        assert_eq!(line["ede"], ede, "{line}");
    }
    // Moved away, and the server told.
    let aside = folder.file("aside");
    fs::rename(&path, &aside).expect("moved");
    program.signal("HUP");
    until("another file", || path.exists().then_some(()));
    wire::udp(addr, "b.evil.ddns.net", A);
    assert_eq!(lines(&path, 1)[0]["qname"], "b.evil.ddns.net");
    assert_eq!(lines(&aside, 5).len(), 5);
    // What was answered last is there when it has ended.
    wire::udp(addr, "c.evil.ddns.net", A);
    program.signal("TERM");
    assert!(program.wait().success(), "{}", program.log());
    assert_eq!(lines(&path, 2).len(), 2);
    let ended = run(&folder, &["log", "--name", "b.evil.ddns.net"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 1), "{ended:?}");
    assert!(
        ended.out.contains(" b.evil.ddns.net A NOERROR sinkhole order=case-1 trigger=evil.ddns.net "),
        "{}",
        ended.out
    );
}

#[test]
fn only_what_is_asked_for_is_logged_and_no_more_of_clients() {
    let (folder, authority) = (folder(), Authority::start());
    let log = "file = \"q.log\"\nformat = \"text\"\nonly = \"sinkholed\"\naddresses = \"prefix\"\n";
    let program = serve(&folder, &authority, log);
    for name in
        ["www.example.com", "www.example.com", "a.evil.ddns.net", "x.watched.ddns.net", "b.evil.ddns.net"]
    {
        wire::udp(program.addr(), name, A);
    }
    let text = until("two lines", || {
        let text = fs::read_to_string(folder.file("q.log")).ok()?;
        (text.lines().count() >= 2).then_some(text)
    });
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(names, ["a.evil.ddns.net", "b.evil.ddns.net"]);
    assert!(
        text.lines().all(|line| line.split(' ').nth(1) == Some("127.0.0.0") && !line.contains(" port=")),
        "{text}"
    );
}

#[test]
fn without_a_disk_answers_go_on_and_the_loss_is_counted() {
    let (folder, authority) = (folder(), Authority::start());
    let log = "file = \"gone/q.log\"\n[control]\nlisten = \"unix:control.sock\"\n";
    let program = serve(&folder, &authority, log);
    program.wait_for(0, "the query log cannot be written (file: No such file or directory");
    for _ in 0..100 {
        assert_eq!(wire::udp(program.addr(), "a.evil.ddns.net", A).show(), "NOERROR 0.0.0.0 EDE16 EDE4");
    }
    let status = run(&folder, &["status", "--control", "unix:control.sock"]);
    assert!(status.out.contains("query log: file: No such file or directory"), "{status:?}");
    // The disk is there again: what waited meanwhile is not lost.
    fs::create_dir(folder.file("gone")).expect("a folder");
    program.wait_for(0, "the query log is written again (file)");
    assert_eq!(lines(&folder.file("gone/q.log"), 100).len(), 100);
}

#[test]
fn a_disk_that_goes_meanwhile_is_written_to_once_it_is_back() {
    let (folder, authority) = (folder(), Authority::start());
    folder.write("logs/here", "");
    folder.write("tmp/here", "");
    // Temporary files elsewhere: only by `process.writable` may it write to a folder that it did not begin with.
    let mut command = support::process::command(folder.path());
    command.env("TMPDIR", folder.file("tmp"));
    let upstream = authority.addr().to_string();
    let set = ["query_log.file=logs/q.log", "process.writable=[\".\"]"];
    command.args(["serve", "--listen", "127.0.0.1:0", "--orders", "orders", "--upstream", &upstream]);
    command.args(set.iter().flat_map(|set| ["--set", set]));
    let program = Program::start(command).unwrap_or_else(|log| panic!("it does not serve:\n{log}"));
    let ask = |count: usize| {
        for _ in 0..count {
            assert_eq!(wire::udp(program.addr(), "a.evil.ddns.net", A).show(), "NOERROR 0.0.0.0 EDE16 EDE4");
        }
    };
    ask(10);
    assert_eq!(lines(&folder.file("logs/q.log"), 10).len(), 10);
    let mark = program.mark();
    fs::remove_dir_all(folder.file("logs")).expect("the disk goes");
    ask(100);
    program.wait_for(mark, "the query log cannot be written (file: No such file or directory");
    // However busy it is, what waited meanwhile is not lost.
    fs::create_dir(folder.file("logs")).expect("the disk is back");
    until("a log that is written again", || {
        ask(10);
        program.log().contains("the query log is written again (file)").then_some(())
    });
    assert!(lines(&folder.file("logs/q.log"), 110).len() >= 110);
}

/// Debian's `fstrm_capture`, which writes what it gets to a file, and says so in another one with `.log` behind.
struct Capture(Child);

impl Capture {
    /// Listens by these options and writes to that file.
    fn start(folder: &Folder, options: &[&str], file: &str) -> Capture {
        let log = fs::File::create(folder.file(&format!("{file}.log"))).expect("a log");
        let child = Command::new("fstrm_capture")
            .args(["-ddd", "-t", "protobuf:dnstap.Dnstap", "-w", file])
            .args(options)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("fstrm_capture starts");
        Capture(child)
    }

    /// Has it end, with all in the file that it got.
    fn end(mut self) {
        let kill = format!("kill -TERM {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        self.0.wait().expect("its end");
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Debian's `dnstap-ldns` reads in a file: a line each, without the time.
fn read(folder: &Folder, file: &str) -> Vec<String> {
    let out = Command::new("dnstap-ldns").args(["-q", "-r", file]).current_dir(folder.path()).output();
    let out = out.expect("dnstap-ldns runs");
    let text = String::from_utf8(out.stdout).expect("text");
    text.lines().filter_map(|line| line.splitn(3, ' ').nth(2).map(str::to_owned)).collect()
}

#[test]
fn debians_receiver_gets_queries_and_replies_and_may_be_started_again() {
    if !has_tool("fstrm_capture", "fstrm-bin") || !has_tool("dnstap-ldns", "dnstap-ldns") {
        return;
    }
    let (folder, authority) = (folder(), Authority::start());
    // Nobody listens yet: what is asked meanwhile waits.
    let mut program = serve(&folder, &authority, "dnstap = \"unix:tap.sock\"\n");
    program.wait_for(0, "the query log cannot be written (dnstap: No such file or directory");
    let addr = program.addr();
    wire::udp(addr, "www.example.com", A);
    wire::tcp(program.tcp[0], "a.evil.ddns.net", A);
    let capture = Capture::start(&folder, &["-u", "tap.sock"], "first.fstrm");
    program.wait_for(0, "the query log is written again (dnstap)");
    // A stream that is begun anew was ended before: both sides say what they have of it.
    program.signal("HUP");
    until("the stream's end", || {
        let said = fs::read_to_string(folder.file("first.fstrm.log")).ok()?;
        said.contains("closing (read 4 frames").then_some(())
    });
    capture.end();
    let mut found = read(&folder, "first.fstrm");
    found.iter_mut().for_each(|line| {
        *line = line.split(' ').filter(|word| !word.ends_with('b')).collect::<Vec<_>>().join(" ")
    });
    found.sort();
    assert_eq!(
        found,
        [
            "CQ 127.0.0.1 TCP \"a.evil.ddns.net.\" IN A",
            "CQ 127.0.0.1 UDP \"www.example.com.\" IN A",
            "CR 127.0.0.1 TCP \"a.evil.ddns.net.\" IN A",
            "CR 127.0.0.1 UDP \"www.example.com.\" IN A",
        ]
    );
    // Another one at the same place.
    let mark = program.mark();
    wire::udp(addr, "b.evil.ddns.net", A);
    program.wait_for(mark, "the query log cannot be written (dnstap: ");
    let capture = Capture::start(&folder, &["-u", "tap.sock"], "second.fstrm");
    until("the receiver", || {
        wire::udp(addr, "c.evil.ddns.net", A);
        program.log().lines().skip(mark).any(|line| line.contains("is written again (dnstap)")).then_some(())
    });
    wire::udp(addr, "last.evil.ddns.net", A);
    program.signal("TERM");
    assert!(program.wait().success(), "{}", program.log());
    capture.end();
    let found = read(&folder, "second.fstrm");
    assert!(found.iter().any(|line| line.contains("CR") && line.contains("last.evil.ddns.net")), "{found:?}");
}

#[test]
fn debians_receiver_gets_what_upstreams_are_asked_if_it_wants_that() {
    if !has_tool("fstrm_capture", "fstrm-bin") || !has_tool("dnstap-ldns", "dnstap-ldns") {
        return;
    }
    let (folder, authority) = (folder(), Authority::start());
    let capture = Capture::start(&folder, &["-u", "tap.sock"], "all.fstrm");
    let log = "file = \"q.log\"\ndnstap = \"unix:tap.sock\"\ndnstap_forwarder = true\nsample = 1000000\n";
    let mut program = serve(&folder, &authority, log);
    // What is cached or forged is asked of nobody.
    for name in ["www.example.com", "www.example.com", "a.evil.ddns.net", "other.example.com"] {
        wire::udp(program.addr(), name, A);
    }
    program.signal("TERM");
    assert!(program.wait().success(), "{}", program.log());
    capture.end();
    let found = read(&folder, "all.fstrm");
    let of = |kind: &str| {
        let lines = found.iter().filter(|line| line.starts_with(kind));
        let mut names: Vec<String> = lines.map(|line| line.to_ascii_lowercase()).collect();
        names.iter_mut().for_each(|line| *line = line.split('"').nth(1).unwrap_or_default().to_owned());
        names.sort();
        names
    };
    for kind in ["FQ ", "FR "] {
        assert_eq!(of(kind), ["other.example.com.", "www.example.com."], "{found:?}");
    }
    assert!(found.iter().all(|line| line.starts_with('F') && line.contains(" UDP ")), "{found:?}");
    // Lines are about clients.
    assert_eq!(fs::read_to_string(folder.file("q.log")).unwrap_or_default(), "");
}

#[test]
fn debians_receiver_loses_nothing_by_tcp() {
    if !has_tool("fstrm_capture", "fstrm-bin") || !has_tool("dnstap-ldns", "dnstap-ldns") {
        return;
    }
    let (folder, authority) = (folder(), Authority::start());
    // A port that is free now; if somebody takes it meanwhile, nobody answers and the test says so.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let capture = Capture::start(&folder, &["-a", "127.0.0.1", "-p", &port.to_string()], "all.fstrm");
    let mut program = serve(&folder, &authority, &format!("dnstap = \"tcp://127.0.0.1:{port}\"\n"));
    for index in 0..1000 {
        wire::udp(program.addr(), &format!("n{}.evil.ddns.net", index % 100), A);
    }
    program.signal("TERM");
    assert!(program.wait().success(), "{}", program.log());
    capture.end();
    let found = read(&folder, "all.fstrm");
    let count = |kind: &str| found.iter().filter(|line| line.starts_with(kind)).count();
    assert_eq!((count("CQ "), count("CR ")), (1000, 1000));
}
