//! What the program must outlive with every order in its power: a log that cannot be written, no descriptor left, files that
//! are written slowly.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use support::flood::{Mock, address_of};
use support::process::{Folder, PATIENCE, Program, command, has_tool, run};
use support::wire::{self, A};

/// What a sinkholed name has.
const SINKHOLED: &str = "NOERROR 0.0.0.0 EDE16 EDE4";
/// Names in the long list.
const NAMES: usize = 20_000;

/// An order of these names, and more lines.
fn order(id: &str, names: &str, more: &str) -> String {
    format!("id = \"{id}\"\ntitle = \"T\"\nkind = \"court\"\n{more}[[scope]]\nmatch = \"exact\"\n{names}\n")
}

/// Three orders of a name each.
fn three_orders() -> Folder {
    let files = ["a", "b", "c"]
        .map(|id| (format!("orders/{id}.toml"), order(id, &format!("names = [\"{id}.example.net\"]"), "")));
    Folder::new(&files.each_ref().map(|(name, text)| (name.as_str(), text.as_str())))
}

/// What a name has.
fn shows(addr: SocketAddr, name: &str) -> String {
    wire::udp(addr, name, A).show()
}

/// What it has by right.
fn truth(name: &str) -> String {
    format!("NOERROR {}", address_of(name))
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server that nobody hears: killed when dropped.
struct Unheard(Child);

impl Unheard {
    /// Sends a signal by name.
    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The descriptors that a program has open, by number.
fn descriptors(program: &Program) -> BTreeMap<u64, PathBuf> {
    let all = fs::read_dir(format!("/proc/{}/fd", program.id())).expect("its descriptors");
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    all.filter_map(|entry| entry.ok().and_then(|entry| Some((number(&entry)?, entry.path())))).collect()
}

/// Lets a program open descriptors below this number alone; what it has open stays so.
fn limit(program: &Program, below: u64) {
    let args = ["--pid", &program.id().to_string(), &format!("--nofile={below}:")];
    assert!(Command::new("prlimit").args(args).status().expect("prlimit runs").success());
}

/// Leaves a program no descriptor that is free.
fn exhaust(program: &Program) {
    let open = descriptors(program);
    limit(program, (0..).find(|number| !open.contains_key(number)).expect("a number"));
}

/// A port of 127.0.0.1 that is free right now.
fn free() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address")
}

/// Serves the folder's orders with a log that goes there, and says where. Nobody hears it say that its port is taken meanwhile, by
/// what other servers here ask their upstreams from, say: then it is another one.
fn serve(folder: &Folder, upstream: &Mock, log: impl Fn() -> Stdio) -> (Unheard, SocketAddr) {
    for _ in 0..9 {
        let addr = free();
        let mut serve = command(folder.path());
        serve.args(["serve", "--listen", &addr.to_string(), "--upstream", &upstream.addr().to_string()]);
        serve.args(["--orders", "orders", "--state", "state"]).stdout(Stdio::null()).stderr(log());
        let mut server = Unheard(serve.spawn().expect("it starts"));
        while server.0.try_wait().expect("its state").is_none() {
            if TcpStream::connect(addr).is_ok() {
                return (server, addr);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    panic!("it ends whatever its port");
}

/// Everything that makes it log, and then every way to lift an order.
fn lifts_all_the_same(folder: &Folder, addr: SocketAddr, server: &Unheard) {
    for id in ["a", "b", "c"] {
        let name = format!("{id}.example.net");
        assert_eq!(shows(addr, &name), SINKHOLED);
    }
    for _ in 0..3 {
        server.signal("USR1");
    }
    // A file that is broken and mended is worth several lines, and so is a request.
    folder.write("orders/c.toml", "id = ");
    folder.write("orders/d.toml", &order("d", "names = [\"d.example.net\"]", ""));
    until("a new order acts", || shows(addr, "d.example.net") == SINKHOLED);
    server.signal("HUP");
    assert_eq!(shows(addr, "c.example.net"), SINKHOLED, "its last good version stays");
    folder.write("orders/a.toml", &order("a", "names = [\"a.example.net\"]", "lifted = true\n"));
    until("lifted by its file", || shows(addr, "a.example.net") == truth("a.example.net"));
    let ended = run(folder, &["order", "lift", "b", "--state", "state"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(shows(addr, "b.example.net"), truth("b.example.net"), "lifted by command");
    server.signal("USR1");
    folder.write("orders/e.toml", &order("e", "names = [\"e.example.net\"]", ""));
    until("and one more", || shows(addr, "e.example.net") == SINKHOLED);
    let says = |words: &[&str]| run(folder, &[words, &["--state", "state"]].concat()).out;
    until("it says so", || says(&["status"]).contains("log: it cannot be written; "));
}

#[test]
fn a_log_whose_reader_has_gone_harms_nothing() {
    let (folder, upstream) = (three_orders(), Mock::start());
    let (mut server, addr) = serve(&folder, &upstream, Stdio::piped);
    // `| head`: the reader goes after some lines.
    let mut log = BufReader::new(server.0.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("asking") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    drop(log);
    lifts_all_the_same(&folder, addr, &server);
}

#[test]
fn a_log_on_a_full_disk_harms_nothing() {
    let (folder, upstream) = (three_orders(), Mock::start());
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        support::process::skipped("this system has no /dev/full");
        return;
    };
    let (server, addr) = serve(&folder, &upstream, || full.try_clone().expect("a descriptor").into());
    until("it speaks", || folder.file("state/control.sock").exists());
    lifts_all_the_same(&folder, addr, &server);
    // Nothing of it is an end.
    let mut server = server;
    server.signal("TERM");
    assert!(server.0.wait().expect("an end").success());
}

#[test]
fn a_log_that_nobody_reads_harms_nothing() {
    let (folder, upstream) = (three_orders(), Mock::start());
    let (mut server, addr) = serve(&folder, &upstream, Stdio::piped);
    // The reader is there and never reads: the pipe fills up. Counters are several lines each time.
    let log = server.0.stderr.take().expect("a pipe");
    until("it speaks", || folder.file("state/control.sock").exists());
    let socket = folder.file("state/control.sock");
    let lost = || {
        (0..200).for_each(|_| server.signal("USR1"));
        assert!(socket.exists());
        let ended = run(&folder, &["status", "--state", "state"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out.contains("log: it cannot be written; ")
    };
    let deadline = Instant::now() + PATIENCE * 6;
    while !lost() {
        assert!(Instant::now() < deadline, "the pipe does not fill up");
    }
    lifts_all_the_same(&folder, addr, &server);
    drop(log);
}

#[test]
fn lifts_need_no_descriptor_that_is_free() {
    if !has_tool("prlimit", "util-linux") {
        return;
    }
    let (folder, upstream) = (three_orders(), Mock::start());
    let upstream_addr = upstream.addr().to_string();
    let args = ["--listen", "127.0.0.1:0", "--upstream", &upstream_addr, "--orders", "orders"];
    let program = Program::serve(&folder, &[&args[..], &["--state", "state"]].concat());
    until("it speaks", || folder.file("state/control.sock").exists());
    exhaust(&program);
    let addr = program.addr();
    let start = Instant::now();
    let ended = run(&folder, &["order", "lift", "b", "--state", "state"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Whether it can be asked for the truth depends on what descriptors upstream needs; it is told no lie any more.
    assert_ne!(shows(addr, "b.example.net"), SINKHOLED);
    folder.write("orders/a.toml", &order("a", "names = [\"a.example.net\"]", "lifted = true\n"));
    program.wait_for(0, "order a, lifted: 1 name no longer held");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // With descriptors again, what was lifted has the truth.
    limit(&program, 1024);
    for name in ["a.example.net", "b.example.net"] {
        until("the truth", || shows(addr, name) == truth(name));
    }
    assert_eq!(shows(addr, "c.example.net"), SINKHOLED);
}

#[test]
fn what_could_not_be_read_for_want_of_descriptors_is_read_once_it_can() {
    if !has_tool("prlimit", "util-linux") {
        return;
    }
    let (folder, upstream) = (three_orders(), Mock::start());
    let upstream_addr = upstream.addr().to_string();
    let args = ["--listen", "127.0.0.1:0", "--upstream", &upstream_addr, "--orders", "orders"];
    let program = Program::serve(&folder, &[&args[..], &["--state", "state"]].concat());
    let socket = folder.file("state/control.sock");
    until("it speaks", || socket.exists());
    exhaust(&program);
    // What is held back for lifts is used up, too.
    let _silent: Vec<_> = (0..40).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    let is_spare = |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target == Path::new("/"));
    until("no descriptor is left", || !descriptors(&program).values().any(is_spare));
    let mark = program.mark();
    let lifted = order("a", "names = [\"a.example.net\"]", "lifted = true\n");
    // Renamed into its place with an old time: no later look at it has anything new to find.
    folder.write("orders/a.new", &lifted);
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = File::options().write(true).open(folder.file("orders/a.new")).expect("a file");
    file.set_modified(long_ago).expect("a time");
    drop(file);
    fs::rename(folder.file("orders/a.new"), folder.file("orders/a.toml")).expect("renamed");
    program.wait_for(mark, "cannot read it: ");
    // Nobody tells it of anything new: only by trying again can it find out.
    limit(&program, 1024);
    program.wait_for(mark, "order a, lifted: 1 name no longer held");
    assert_eq!(shows(program.addr(), "a.example.net"), truth("a.example.net"));
    // It is said once the reload is over, by a thread that gives way to all others.
    until("all is well", || !run(&folder, &["status", "--state", "state"]).out.contains("reload: "));
}

#[test]
fn a_list_that_is_written_slowly_loses_nobody() {
    let name = |number: usize| format!("n{number}.example.net");
    let list = |count: usize| (0..count).map(|number| name(number) + "\n").collect::<String>();
    let folder = Folder::new(&[
        ("orders/a.toml", &order("a", "file = \"a.txt\"", "")),
        ("orders/b.toml", &order("b", "names = [\"b.example.net\"]", "")),
        ("orders/a.txt", &list(NAMES)),
    ]);
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let addr = program.addr();
    assert_eq!(shows(addr, &name(NAMES - 1)), SINKHOLED);
    // As scp and curl write on a slow line: in place, from the beginning. Another order changes meanwhile.
    let text = list(NAMES) + "new.example.net\n";
    let (first, rest) = text.split_at(text.len() / 20);
    let mut writer = File::create(folder.file("orders/a.txt")).expect("a file");
    writer.write_all(first.as_bytes()).expect("written");
    let mark = program.mark();
    folder.write("orders/b.toml", &order("b", "names = [\"b.example.net\"]", "lifted = true\n"));
    program.wait_for(mark, "order b, lifted: 1 name no longer held");
    let deadline = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < deadline {
        for number in [0, NAMES / 2, NAMES - 1] {
            assert_eq!(shows(addr, &name(number)), SINKHOLED, "{}: {}", name(number), program.log());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mark = program.mark();
    writer.write_all(rest.as_bytes()).expect("written");
    drop(writer);
    program.wait_for(mark, "order a changed: 20000 -> 20001 names");
    assert_eq!(shows(addr, "new.example.net"), SINKHOLED);
    // Most of it is lifted on purpose: closed, and so taken as it is.
    let mark = program.mark();
    let start = Instant::now();
    folder.write("orders/a.txt", &list(3));
    program.wait_for(mark, "order a changed: 20001 -> 3 names");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(shows(addr, &name(NAMES - 1)), truth(&name(NAMES - 1)));
    // And most of a long list by one that is renamed into its place.
    folder.write("orders/a.txt", &text);
    program.wait_for(mark, "order a changed: 3 -> 20001 names");
    folder.write("orders/a.new", &list(2));
    let (mark, start) = (program.mark(), Instant::now());
    fs::rename(folder.file("orders/a.new"), folder.file("orders/a.txt")).expect("renamed");
    program.wait_for(mark, "order a changed: 20001 -> 2 names");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
