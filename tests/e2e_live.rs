//! What is asked just now, as the running program tells it: events of the control API, `log --follow` without a file, and `top`.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use support::authority::Authority;
use support::process::{Folder, PATIENCE, Program, command, has_tool, in_folder, program, run};
use support::wire::{self, A};

/// An order.
const ORDER: &str = "id = \"case-1\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"subtree\"\nnames = [\"evil.ddns.net\"]\n";

/// Serves with a control API, and with this in its configuration.
fn serve(folder: &Folder, authority: &Authority, more: &str) -> Program {
    let upstream = authority.addr();
    folder.write("orders/a.toml", ORDER);
    folder.write(
        "sinkscope.toml",
        &format!(
            "[listen]\nudp = [\"127.0.0.1:0\"]\nworkers = 1\n[upstream]\nservers = [\"{upstream}\"]\n[orders]\npaths = [\"orders\"]\nstate = \"state\"\n{more}"
        ),
    );
    Program::serve(folder, &[])
}

/// A program that runs on, and is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines of a stream as they come.
fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).all(|line| tell.send(line).is_ok());
    });
    told
}

/// Octets of a stream as they come.
fn octets(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut portion = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut portion) {
            if tell.send(portion[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    told
}

/// Asks until a line comes that has this in it: whoever listens may only be about to.
fn asked_until(addr: SocketAddr, name: &str, told: &mpsc::Receiver<String>) -> String {
    let begun = std::time::Instant::now();
    loop {
        wire::udp(addr, name, A);
        while let Ok(line) = told.recv_timeout(Duration::from_millis(100)) {
            if line.contains(name) {
                return line;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "nothing is told of {name}");
    }
}

#[test]
fn queries_are_events_for_who_listens_and_nobodys_else() {
    let (folder, authority) = (Folder::new(&[]), Authority::start());
    let program = serve(
        &folder,
        &authority,
        "[control]\nlisten = \"127.0.0.1:0\"\n[query_log]\nlive = true\naddresses = \"prefix\"\n",
    );
    let said = program.wait_for(0, "control API on ");
    let control = said.rsplit(' ').next().expect("an address").to_owned();
    // Nobody hears this.
    wire::udp(program.addr(), "before.evil.ddns.net", A);
    let mut stream = TcpStream::connect(&control).expect("the API");
    write!(stream, "GET /v1/queries HTTP/1.1\r\nHost: {control}\r\n\r\n").expect("a request");
    let told = lines(stream.try_clone().expect("a stream"));
    let line = asked_until(program.addr(), "a.evil.ddns.net", &told);
    let data: Value = serde_json::from_str(line.strip_prefix("data: ").expect("data")).expect("JSON");
    assert_eq!(
        (&data["client"], &data["verdict"], &data["order"]),
        (&"127.0.0.0".into(), &"sinkhole".into(), &"case-1".into())
    );
    assert_eq!(data.get("port"), None);
    let line = asked_until(program.addr(), "www.example.com", &told);
    assert!(line.contains("\"verdict\":\"clear\""), "{line}");
    // A log for who listens is written nowhere.
    let left: Vec<_> = fs::read_dir(folder.file("state"))
        .expect("the state")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("quer")), "{left:?}");
    // Who has gone costs nothing.
    drop(stream);
}

#[test]
fn follow_shows_what_the_server_tells_where_there_is_no_file() {
    let (folder, authority) = (Folder::new(&[]), Authority::start());
    let program = serve(&folder, &authority, "[query_log]\nlive = true\n");
    let mut log = command(folder.path());
    log.args(["log", "--follow", "--sinkholed"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut log = Running(log.spawn().expect("it starts"));
    let told = lines(log.0.stdout.take().expect("its output"));
    wire::udp(program.addr(), "www.example.com", A);
    let line = asked_until(program.addr(), "b.evil.ddns.net", &told);
    assert!(
        line.contains(
            " 127.0.0.1       b.evil.ddns.net A NOERROR sinkhole order=case-1 trigger=evil.ddns.net"
        ),
        "{line}"
    );
    let ended = run(&folder, &["log"]);
    assert!(ended.code == Some(2) && ended.err.contains("sinkscope log --follow"), "{ended:?}");
}

#[test]
fn top_tells_programs_what_is_so() {
    let (folder, authority) = (Folder::new(&[]), Authority::start());
    let program = serve(&folder, &authority, "[query_log]\nlive = true\n");
    let addr = program.addr();
    // Asked for as long as it counts.
    let (end, ended) = mpsc::channel::<()>();
    let asking = std::thread::spawn(move || {
        while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
            wire::udp(addr, "a.evil.ddns.net", A);
            wire::udp(addr, "www.example.com", A);
        }
    });
    let said = [run(&folder, &["top", "--once", "--json"]), run(&folder, &["top", "--once"])];
    drop(end);
    asking.join().expect("it asks");
    let moment: Value =
        serde_json::from_str(&said[0].out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let rate = |what: &str| {
        let sources = moment["sources"].as_array().expect("sources");
        let of = sources.iter().find(|source| source["what"] == what).expect("a source");
        of["per_second"].as_f64().expect("a number")
    };
    assert!(rate("sinkholed") > 0.0 && rate("cached") > 0.0, "{moment:#}");
    assert_eq!(moment["orders"][0]["order"], "case-1");
    let names: Vec<&str> = moment["lately"]["names"]
        .as_array()
        .expect("names")
        .iter()
        .filter_map(|name| name["what"].as_str())
        .collect();
    assert!(names.contains(&"a.evil.ddns.net") && names.contains(&"www.example.com"), "{names:?}");
    assert_eq!(moment["lately"]["clients"][0]["what"], "127.0.0.1");
    assert_eq!(said[1].code, Some(0));
    for expected in ["sinkscope top  ", "case-1", "│sinkholed ", "  127.0.0.1", "  www.example.com"] {
        assert!(said[1].out.contains(expected), "{expected}:\n{}", said[1].out);
    }
}

#[test]
fn without_a_query_log_top_counts_and_says_what_is_missing() {
    let (folder, authority) = (Folder::new(&[]), Authority::start());
    let _program = serve(&folder, &authority, "");
    let ended = run(&folder, &["top", "--once"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("│this server has no query log: set `live = true` in"), "{}", ended.out);
    let ended = run(&folder, &["log", "--follow"]);
    assert!(
        ended.code == Some(1) && ended.err.contains("hint: set `live = true` in [query_log]"),
        "{ended:?}"
    );
    for (words, said) in [(&["top"][..], "this is no terminal"), (&["top", "--json"], "say --once as well")] {
        let ended = run(&folder, words);
        assert!(ended.code == Some(2) && ended.err.contains(said), "{ended:?}");
    }
}

#[test]
fn a_terminal_is_given_back_by_key_and_by_signal() {
    if !has_tool("script", "bsdutils") {
        return;
    }
    let (folder, authority) = (Folder::new(&[]), Authority::start());
    let _program = serve(&folder, &authority, "");
    for by_key in [true, false] {
        // It writes its id before it becomes what is looked at, so that the signal is for it alone.
        let shell = format!("stty rows 30 cols 100; echo $$ > pid; exec {} top", program());
        let mut script = in_folder(Command::new("script"), folder.path());
        script.args(["-qec", &shell, "/dev/null"]).env("TERM", "xterm");
        let mut script =
            Running(script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts"));
        let said = octets(script.0.stdout.take().expect("its output"));
        let mut all = String::new();
        let mut read_until = |text: &str| {
            while !all.contains(text) {
                let more = said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{all:?} has no {text:?}"));
                all.push_str(&String::from_utf8_lossy(&more));
            }
        };
        // xterm's other screen, and back to the one before.
        read_until("\x1b[?1049h");
        read_until("quits");
        if by_key {
            script.0.stdin.as_mut().expect("its keys").write_all(b"q").expect("a key");
        } else {
            let kill = "kill -TERM $(cat pid)";
            assert!(
                Command::new("sh")
                    .args(["-c", kill])
                    .current_dir(folder.path())
                    .status()
                    .expect("a shell")
                    .success()
            );
        }
        read_until("\x1b[?1049l");
    }
}
