//! Replays against a small server in the test, and through the command line.

use std::io::Cursor;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sinkscope::trace::feed::{Pace, Source};
use sinkscope::trace::read::{Options, Reader};
use sinkscope::trace::replay::{self, Progress, Report, Settings};

/// A server that sends each query back as a response.
struct Echo {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    clients: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Answers what `answer` makes of the query of each number; nothing where it makes nothing.
    fn start(answer: impl Fn(u64, &mut Vec<u8>) -> usize + Send + 'static) -> Echo {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let addr = socket.local_addr().unwrap();
        let (stop, seen, clients) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let shared = (stop.clone(), seen.clone(), clients.clone());
        let thread = thread::spawn(move || {
            let (stop, seen, clients) = shared;
            let (mut buffer, mut from) = ([0; 4096], std::collections::HashSet::new());
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                let number = seen.fetch_add(1, Ordering::Relaxed);
                if from.insert(peer) {
                    clients.fetch_add(1, Ordering::Relaxed);
                }
                let mut message = buffer[..length].to_vec();
                message[2] |= 0x80;
                for _ in 0..answer(number, &mut message) {
                    socket.send_to(&message, peer).unwrap();
                }
            }
        });
        Echo { addr, stop, seen, clients, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A text trace of this many names.
fn trace(names: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.txt");
    let text: String =
        (0..names).map(|name| format!("n{name}.example {}\n", ["A", "AAAA"][name % 2])).collect();
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Settings that end soon.
fn settings(server: SocketAddr) -> Settings {
    Settings {
        server,
        pace: Pace::Full,
        flows: 16,
        threads: 1,
        in_flight: 32,
        timeout: Duration::from_secs(1),
        run_for: None,
        count: None,
        longest: Some(Duration::from_secs(20)),
        warm_up: None,
        pid: None,
        name: "echo".into(),
        trace: "trace".into(),
    }
}

/// Replays that many names.
fn replay(names: usize, settings: &Settings) -> Report {
    let (_folder, path) = trace(names);
    replay::run(&Source::File(path, Options::default()), settings, &Progress::default()).unwrap()
}

#[test]
fn every_query_is_answered_and_counted() {
    // At a rate no more than a socket's buffer holds, however late the server gets its turn.
    for (pace, threads, names) in [
        (Pace::Full, 1, 1000),
        (Pace::Full, 3, 1000),
        (Pace::Rate(5_000.0), 1, 260),
        (Pace::Rate(5_000.0), 2, 260),
    ] {
        let echo = Echo::start(|_, _| 1);
        let report = replay(names, &Settings { pace, threads, ..settings(echo.addr) });
        assert_eq!(
            (report.sent, report.received, report.lost),
            (names as u64, names as u64, 0),
            "{pace:?}: {report}"
        );
        assert_eq!((report.unexpected, report.mismatched, report.unsent), (0, 0, 0));
        assert_eq!(report.rcodes["NOERROR"], report.sent);
        assert_eq!(echo.seen.load(Ordering::Relaxed), report.sent);
        assert!(echo.clients.load(Ordering::Relaxed) > 8, "many sockets are used");
        assert!(report.latency_us["p50"] > 0.0 && report.latency_us["max"] >= report.latency_us["p99"]);
        assert_eq!(report.series.iter().map(|interval| interval.received).sum::<u64>(), report.sent);
    }
}

#[test]
fn a_rate_takes_its_time() {
    let echo = Echo::start(|_, _| 1);
    let report = replay(200, &Settings { pace: Pace::Rate(1000.0), ..settings(echo.addr) });
    assert!((0.19..2.0).contains(&report.elapsed_s), "{}", report.elapsed_s);
}

#[test]
fn original_times_are_kept_or_scaled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcap");
    let output = path.to_str().unwrap();
    let options =
        ["--count=250", "--rate=1000", "--format=pcap", "--listed=0", "--siblings=0", "--clients=5"];
    assert!(sinkscope(&[&["trace", "make", "-o", output][..], &options].concat()).status.success());
    let echo = Echo::start(|_, _| 1);
    let source = Source::File(path, Options::default());
    for (speed, least_s) in [(1.0, 0.15), (4.0, 0.04)] {
        let settings = Settings { pace: Pace::Original(speed), ..settings(echo.addr) };
        let report = replay::run(&source, &settings, &Progress::default()).unwrap();
        assert_eq!((report.sent, report.received), (250, 250), "{report}");
        assert!(report.elapsed_s > least_s && report.elapsed_s < 5.0, "{report}");
    }
    let report = replay(20, &Settings { pace: Pace::Original(1.0), ..settings(echo.addr) });
    assert!(report.notes.iter().any(|note| note.contains("no time stamps")), "{report}");
}

#[test]
fn losses_are_counted() {
    let echo = Echo::start(|number, _| usize::from(number % 10 != 0));
    let report = replay(500, &settings(echo.addr));
    assert_eq!((report.sent, report.received, report.lost), (500, 450, 50), "{report}");
}

#[test]
fn late_replies_stay_lost() {
    // The server stops for a while: what it then answers has been given up long since.
    let echo = Echo::start(|number, _| {
        if number == 50 {
            thread::sleep(Duration::from_millis(120));
        }
        1
    });
    let timeout = Duration::from_millis(40);
    let report = replay(500, &Settings { pace: Pace::Rate(2000.0), timeout, ..settings(echo.addr) });
    assert_eq!((report.sent, report.received + report.lost), (500, 500), "{report}");
    assert!(report.lost > 0 && report.unexpected <= report.lost, "{report}");
    assert_eq!(report.mismatched, 0, "{report}");
}

#[test]
fn a_stall_shows_in_all_who_waited() {
    let echo = Echo::start(|number, _| {
        if number == 50 {
            thread::sleep(Duration::from_millis(120));
        }
        1
    });
    let report = replay(250, &Settings { pace: Pace::Rate(2000.0), ..settings(echo.addr) });
    assert_eq!((report.sent, report.received), (250, 250), "{report}");
    // Some 200 of the 250 were due while it lasted, at 0 to 100 ms before its end.
    assert!(report.latency_us["p50"] > 20_000.0 && report.latency_us["max"] >= 100_000.0, "{report}");
}

#[test]
fn wrong_replies_are_told_from_right_ones() {
    let echo = Echo::start(|number, message| match number % 4 {
        // Another name, a cut question, a second copy.
        0 => {
            message[13] ^= 1;
            1
        }
        1 => {
            message.truncate(14);
            1
        }
        2 => 2,
        _ => 1,
    });
    let report = replay(400, &settings(echo.addr));
    assert_eq!(
        (report.sent, report.received, report.lost, report.mismatched),
        (400, 200, 200, 200),
        "{report}"
    );
    // The last copies may come when nobody listens any more.
    assert!((90..=100).contains(&report.unexpected), "{report}");
}

#[test]
fn codes_are_told() {
    let echo = Echo::start(|number, message| {
        message[3] |= [0, 3, 5][number as usize % 3];
        if number % 2 == 0 {
            message[2] |= 0x02;
            message[11] = 1;
            message.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0f\0\x02\0\x10");
        }
        1
    });
    let report = replay(300, &settings(echo.addr));
    for code in ["NOERROR", "NXDOMAIN", "REFUSED"] {
        assert_eq!(report.rcodes[code], 100, "{report}");
    }
    assert_eq!((report.edes["16 Censored"], report.truncated), (150, 150));
}

#[test]
fn counts_and_warm_ups_go_round_the_trace() {
    let echo = Echo::start(|_, _| 1);
    let report = replay(10, &Settings { count: Some(95), warm_up: Some(25), ..settings(echo.addr) });
    assert_eq!((report.sent, report.received), (95, 95), "{report}");
    assert_eq!(echo.seen.load(Ordering::Relaxed), 120);
    let report = replay(10, &Settings { warm_up: Some(u64::MAX), ..settings(echo.addr) });
    assert_eq!((report.sent, echo.seen.load(Ordering::Relaxed)), (10, 140));
}

#[test]
fn time_is_a_bound() {
    let echo = Echo::start(|_, _| 1);
    let report = replay(10, &Settings { run_for: Some(Duration::from_millis(100)), ..settings(echo.addr) });
    assert!(report.sent > 10 && report.received == report.sent, "{report}");
    assert!(report.elapsed_s < 5.0);
}

#[test]
fn nobody_there_is_said() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = replay(40, &Settings { timeout: Duration::from_millis(50), ..settings(nobody) });
    assert_eq!((report.sent, report.received, report.lost), (40, 0, 40));
    let forever = Settings { count: Some(u64::MAX), warm_up: Some(1 << 40), ..settings(nobody) };
    let report = replay(40, &Settings { timeout: Duration::from_millis(50), ..forever });
    assert_eq!(report.received, 0, "and it ends");
    assert!(report.notes.iter().any(|note| note.contains("no reply at all")), "{report}");
}

#[test]
fn reports_are_whole() {
    let echo = Echo::start(|_, _| 1);
    let settings = Settings { pid: Some(std::process::id()), name: "<echo>".into(), ..settings(echo.addr) };
    let report = replay(300, &settings);
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!((json["sent"].as_u64(), json["rcodes"]["NOERROR"].as_u64()), (Some(300), Some(300)));
    if cfg!(target_os = "linux") {
        assert!(json["server_cpu"]["us_per_query"].as_f64().unwrap() > 0.0);
    }
    let html = report.html();
    assert_eq!(html.matches("<svg").count(), 3);
    assert!(html.contains("&lt;echo&gt;") && !html.contains("http") && !html.contains("NaN"), "{html}");
}

/// The program with these arguments.
fn sinkscope(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sinkscope"))
        .args(args)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap()
}

#[test]
fn made_traces_come_out_as_text_and_capture() {
    let orders = concat!(env!("CARGO_MANIFEST_DIR"), "/blocklists");
    let make = |extra: &[&str]| {
        let output =
            sinkscope(&[&["trace", "make", "--count", "500", "--orders", orders][..], extra].concat());
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let text = make(&[]);
    assert_eq!(text, make(&[]), "the same again");
    assert_ne!(text, make(&["--seed", "2"]));
    assert_eq!(String::from_utf8(text).unwrap().lines().count(), 500);
    let capture = make(&["--format", "pcap"]);
    let read = Reader::new(Cursor::new(capture), Options::default()).unwrap().map(Result::unwrap).count();
    assert_eq!(read, 500);
}

#[test]
fn the_command_line_replays() {
    let echo = Echo::start(|_, _| 1);
    let (folder, path) = trace(50);
    let (server, html) = (echo.addr.to_string(), folder.path().join("r.html"));
    let (path, html) = (path.to_str().unwrap(), html.to_str().unwrap());
    let output = sinkscope(&["replay", path, "--server", &server, "--json", "--html", html]);
    assert!(output.status.success(), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["received"].as_u64(), Some(50));
    assert!(std::fs::read_to_string(html).unwrap().ends_with("</html>\n"));
    let output = sinkscope(&[
        "replay",
        "--make",
        "--listed=0 --siblings=0 --made-names=10",
        "--count",
        "70",
        "--server",
        &server,
    ]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("received              70   100.000 %"),
        "{output:?}"
    );
}

#[test]
fn other_machines_are_spared() {
    let (_folder, path) = trace(1);
    let output = sinkscope(&["replay", path.to_str().unwrap(), "--server", "192.0.2.1:53"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-remote"), "{output:?}");
    let output = sinkscope(&["replay", "/nonexistent/trace"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/trace: "), "{output:?}");
}

#[test]
fn the_request_path_is_examined() {
    let orders = concat!(env!("CARGO_MANIFEST_DIR"), "/blocklists");
    let make = "--made-names=200 --listed=40% --siblings=30%";
    let output = sinkscope(&[
        "replay",
        "--in-process",
        "--verify",
        "--make",
        make,
        "--count",
        "3000",
        "--threads",
        "2",
        "--orders",
        orders,
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["queries"].as_u64(), json["verified"]["wrong"].as_u64()), (Some(3000), Some(0)));
    assert!(json["verified"]["acted"]["sinkhole"].as_u64() > Some(800), "{json}");
}
