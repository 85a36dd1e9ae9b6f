//! Files that are long, old, moved, or on a full disk; datagrams to syslog and the journal; outlets that stall.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::super::file::LogFile;
use super::super::journald::Journal;
use super::super::outlet::{Batch, Outlet, Sink, Written};
use super::super::syslog::Syslog;
use super::super::{FileSettings, Format, QueryLog, Settings, Target};
use super::*;
use crate::clock::SystemClock;
use crate::time::UnixSeconds;

/// Now, in tests: no file here was begun before.
const NOW: UnixSeconds = 4_000_000_000;

/// Writes a record of each name.
fn put(file: &mut dyn Sink, names: &[&str], now: UnixSeconds) -> Written {
    let messages: Vec<_> = names.iter().map(|name| messages(name)).collect();
    file.write(&mut messages.iter().map(|messages| shown(record(messages))), now)
}

/// The names in a file of lines, one after the other; none if there is no such file.
fn names(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let name = |line: &str| line.split(' ').nth(2).unwrap_or_default().to_owned();
    Some(text.lines().map(name).collect::<Vec<_>>().join(" "))
}

/// A file in a folder.
fn file(folder: &tempfile::TempDir, max_size: u64, max_age_s: i64, keep: u32) -> LogFile {
    let path = folder.path().join("log");
    LogFile::new(FileSettings { path, max_size, max_age_s, keep }, Format::Text)
}

/// The names in the file and in the earlier ones.
fn all(folder: &tempfile::TempDir) -> Vec<String> {
    let path = |number: u32| match number {
        0 => folder.path().join("log"),
        _ => folder.path().join(format!("log.{number}")),
    };
    (0..).map_while(|number| names(&path(number))).collect()
}

#[test]
fn a_long_file_makes_room_for_another_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    // Each line is longer than this: each is one too many for the file before.
    let mut log = file(&folder, 1, 0, 2);
    for name in ["a.example", "b.example", "c.example", "d.example"] {
        log.open(NOW).unwrap();
        assert_eq!(put(&mut log, &[name], NOW).records, 1);
    }
    assert_eq!(all(&folder), ["d.example", "c.example", "b.example"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    // None are kept.
    let folder = tempfile::tempdir().unwrap();
    let mut log = file(&folder, 1, 0, 0);
    log.open(NOW).unwrap();
    put(&mut log, &["a.example"], NOW);
    put(&mut log, &["b.example"], NOW);
    assert_eq!(all(&folder), ["b.example"]);
    // Without a bound it goes on.
    let folder = tempfile::tempdir().unwrap();
    let mut log = file(&folder, 0, 0, 2);
    log.open(NOW).unwrap();
    put(&mut log, &["a.example"], NOW);
    put(&mut log, &["b.example"], NOW + 1_000_000);
    assert_eq!(all(&folder), ["a.example b.example"]);
}

#[test]
fn an_old_file_makes_room_for_another_though_nobody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = file(&folder, 0, 3600, 9);
    log.open(NOW).unwrap();
    put(&mut log, &["a.example"], NOW);
    put(&mut log, &["b.example"], NOW + 3599);
    log.look(NOW + 3599);
    assert_eq!(all(&folder), ["a.example b.example"]);
    log.look(NOW + 3600);
    assert_eq!(all(&folder), ["", "a.example b.example"]);
    // An empty one is not put aside.
    log.look(NOW + 9000);
    put(&mut log, &["c.example"], NOW + 9000);
    assert_eq!(all(&folder), ["c.example", "a.example b.example"]);
    // It is as old as it is when a clock was set back.
    put(&mut log, &["d.example"], NOW);
    assert_eq!(all(&folder), ["d.example", "c.example", "a.example b.example"]);
}

#[test]
fn a_file_that_somebody_takes_away_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("log"), folder.path().join("aside"));
    let mut log = file(&folder, 0, 0, 9);
    log.open(NOW).unwrap();
    put(&mut log, &["a.example"], NOW);
    fs::rename(&path, &aside).unwrap();
    // Until somebody says so, or it is looked for, it is written on: nothing is lost.
    put(&mut log, &["b.example"], NOW);
    log.close();
    log.open(NOW).unwrap();
    put(&mut log, &["c.example"], NOW);
    assert_eq!(
        (names(&aside).unwrap(), names(&path).unwrap()),
        ("a.example b.example".into(), "c.example".into())
    );
    fs::remove_file(&path).unwrap();
    log.look(NOW);
    log.open(NOW).unwrap();
    put(&mut log, &["d.example"], NOW);
    assert_eq!(names(&path).unwrap(), "d.example");
    // Though there is always something to write.
    fs::remove_file(&path).unwrap();
    put(&mut log, &["e.example"], NOW);
    assert_eq!(names(&path).unwrap(), "e.example");
}

#[test]
fn a_full_disk_loses_lines_and_says_how_many() {
    let path = Path::new("/dev/full").to_path_buf();
    let mut log = LogFile::new(FileSettings { path, max_size: 0, max_age_s: 0, keep: 0 }, Format::Json);
    log.open(NOW).unwrap();
    let written = put(&mut log, &["a.example", "b.example"], NOW);
    assert_eq!(written.records, 0);
    assert_eq!(written.error.unwrap().kind(), io::ErrorKind::StorageFull);
    // A folder that is not there.
    let path = Path::new("/nonexistent/log").to_path_buf();
    let mut log = LogFile::new(FileSettings { path, max_size: 0, max_age_s: 0, keep: 0 }, Format::Json);
    assert_eq!(log.open(NOW).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_file_that_cannot_make_room_is_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = file(&folder, 1, 0, 1);
    log.open(NOW).unwrap();
    put(&mut log, &["a.example"], NOW);
    // Something is where the earlier file goes, and is not to be displaced.
    fs::create_dir(folder.path().join("log.1")).unwrap();
    let written = put(&mut log, &["b.example"], NOW);
    assert_eq!((written.records, written.error.unwrap().kind()), (1, io::ErrorKind::IsADirectory));
    assert_eq!(names(&folder.path().join("log")).unwrap(), "a.example b.example");
    fs::remove_dir(folder.path().join("log.1")).unwrap();
    assert!(put(&mut log, &["c.example"], NOW).error.is_none());
    assert_eq!(all(&folder), ["c.example", "a.example b.example"]);
}

#[test]
fn syslog_gets_a_message_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sock");
    let (unix, udp) = (UnixDatagram::bind(&path).unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let targets = [Target::Unix(path), Target::Inet(udp.local_addr().unwrap())];
    let head =
        regex_lite::Regex::new(r"^<30>1 2014-06-30T12:00:01\.500042Z [!-~]+ sinkscope [0-9]+ query - ")
            .unwrap();
    for (target, format) in targets.into_iter().zip([Format::Json, Format::Text]) {
        let is_unix = matches!(target, Target::Unix(_));
        let mut syslog = Syslog::new(target, format);
        syslog.open(NOW).unwrap();
        assert_eq!(put(&mut syslog, &["a.example", "b.example"], NOW).records, 2);
        for name in ["a.example", "b.example"] {
            let mut octets = [0; 2048];
            let len = if is_unix { unix.recv(&mut octets) } else { udp.recv(&mut octets) }.unwrap();
            let text = std::str::from_utf8(&octets[..len]).unwrap();
            let message = head.replace(text, "");
            assert!(head.is_match(text) && message.contains(name) && !message.contains('\n'), "{text}");
            assert_eq!(message.starts_with('{'), format == Format::Json, "{text}");
        }
    }
    let nobody = Target::Unix(folder.path().join("nobody"));
    assert!(Syslog::new(nobody, Format::Json).open(NOW).is_err());
}

#[test]
fn the_journal_gets_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut journal = Journal::at(path, Format::Text);
    journal.open(NOW).unwrap();
    let messages = messages(r"a\010b.evil.example");
    let record = Record { decided: sinkholed(), ..record(&messages) };
    assert_eq!(journal.write(&mut std::iter::once(shown(record)), NOW).records, 1);
    let mut octets = [0; 2048];
    let len = socket.recv(&mut octets).unwrap();
    let text = std::str::from_utf8(&octets[..len]).unwrap();
    let fields: Vec<(&str, &str)> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    let [known @ .., (last, message)] = &fields[..] else { panic!("{text}") };
    assert_eq!(
        known,
        [
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "sinkscope"),
            ("SINKSCOPE_QNAME", r"a\010b.evil.example"),
            ("SINKSCOPE_CLIENT", "192.0.2.77"),
            ("SINKSCOPE_ORDER", "2:14-cv-00987"),
        ]
    );
    assert!(*last == "MESSAGE" && message.contains("order=2:14-cv-00987"), "{text}");
    assert!(text.ends_with('\n'));
}

/// A sink that writes when it is let, and tells what became of it.
struct Gate {
    open: Receiver<io::Result<()>>,
    written: Arc<Mutex<u64>>,
}

impl Sink for Gate {
    fn open(&mut self, _now: UnixSeconds) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, records: &mut dyn Iterator<Item = Shown<'_>>, _now: UnixSeconds) -> Written {
        if let Ok(Err(error)) = self.open.recv() {
            return Written { records: 0, error: Some(error) };
        }
        let count = records.count() as u64;
        *self.written.lock().unwrap() += count;
        Written { records: count, error: None }
    }
}

#[test]
fn an_outlet_that_stalls_loses_what_is_counted_and_goes_on() {
    let messages = messages("www.example.com");
    let octets = written(&record(&messages)).repeat(10);
    let batch = Arc::new(Batch { octets, count: 10, began: BEGAN });
    let (gate, open) = channel();
    let written = Arc::new(Mutex::new(0));
    let sink = Gate { open, written: Arc::clone(&written) };
    let outlet = Outlet::new("test", Box::new(sink), show(Addresses::Full), Arc::new(SystemClock::new()));
    // Nobody takes them: sixteen wait, the others are lost.
    for _ in 0..20 {
        outlet.hand(&batch);
    }
    assert!(outlet.is_full());
    assert_eq!(outlet.counts().lost, 40);
    gate.send(Err(io::Error::other("the disk is on fire"))).unwrap();
    (0..15).for_each(|_| gate.send(Ok(())).unwrap());
    outlet.end();
    thread::scope(|scope| {
        scope.spawn(|| outlet.run());
        outlet.wait_end(Instant::now() + Duration::from_secs(20));
    });
    let counts = outlet.counts();
    assert_eq!((counts.written, counts.lost, counts.trouble), (150, 50, None));
    assert_eq!(*written.lock().unwrap(), 150);
}

#[test]
fn a_log_writes_what_was_answered_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let file = FileSettings { path: path.clone(), max_size: 0, max_age_s: 0, keep: 0 };
    let settings = Settings { file: Some(file), buffer: 1 << 20, ..Settings::default() };
    assert!(!settings.is_off() && Settings::default().is_off());
    let clock = Arc::new(SystemClock::new());
    let log = QueryLog::new(&settings, 2, clock, Box::new(|_| None)).expect("it is on");
    let log = Arc::new(log);
    for (index, _) in log.outlets() {
        let log = Arc::clone(&log);
        thread::spawn(move || log.let_out(index));
    }
    let taps = log.taps();
    let collector = Arc::clone(&log);
    thread::spawn(move || collector.collect());
    let messages = messages("www.example.com");
    let mut tap = taps.tap();
    (0..100).for_each(|_| tap.note(&record(&messages), std::iter::empty()));
    (0..100).for_each(|_| taps.note(&record(&messages), std::iter::empty()));
    log.end();
    let counts = log.counts();
    assert_eq!(
        (counts.written, counts.dropped, counts.outlets[0].written, counts.outlets[0].lost),
        (200, 0, 200, 0)
    );
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 200);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}
