//! The program under a service manager: what it tells one, sockets that it is passed, and the unit that comes with it. The manager is
//! played by the test, by systemd's protocol (sd_notify(3), sd_listen_fds(3)).

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use support::process::{Folder, PATIENCE, Program, command, has_tool, in_folder, program};
use support::wire::{self, A};

/// How long a sign of life may take in these tests, in microseconds, and as the time after which a second one is overdue.
const WATCHDOG_US: &str = "400000";
/// Queries that come while nobody serves: what a socket of the usual size holds.
const HELD: u16 = 100;

/// An order of one name.
const ORDER: &str = "id = \"a\"\ntitle = \"T\"\nkind = \"operator\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"listed.example\"]\n";

/// What a manager hears.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// Listens in a folder.
    fn new(folder: &Folder) -> Manager {
        let socket = UnixDatagram::bind(folder.file("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit");
        Manager { socket }
    }

    /// The next message, if one comes soon.
    fn next(&self) -> Option<String> {
        let mut octets = [0; 4096];
        let len = self.socket.recv(&mut octets).ok()?;
        Some(String::from_utf8_lossy(&octets[..len]).into_owned())
    }

    /// The next message but signs of life.
    fn hear(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.next() {
                Some(said) if said != "WATCHDOG=1\n" => return said,
                _ => {}
            }
        }
        panic!("the manager hears nothing");
    }

    /// Waits for a sign of life.
    fn hear_life(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.next().is_none_or(|said| said != "WATCHDOG=1\n") {
            assert!(Instant::now() < deadline, "no sign of life");
        }
    }
}

/// A folder with that order.
fn folder() -> Folder {
    Folder::new(&[("blocklists/a.toml", ORDER)])
}

/// What a server says of a name.
fn ask(client: &UdpSocket, id: u16, name: &str) {
    client.send(&wire::query(id, name, A)).expect("a query");
}

#[test]
fn the_manager_is_told_that_it_serves_reloads_lives_and_ends() {
    let folder = folder();
    let manager = Manager::new(&folder);
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9"]);
    serve.env("NOTIFY_SOCKET", folder.file("notify")).env("WATCHDOG_USEC", WATCHDOG_US);
    let mut program = Program::start(serve).expect("it serves");
    assert_eq!(manager.hear(), "READY=1\nSTATUS=1 orders are in force\n");
    manager.hear_life();
    // Who reads nothing gives none.
    program.signal("STOP");
    while manager.next().is_some() {}
    assert_eq!(manager.next(), None);
    program.signal("CONT");
    manager.hear_life();

    program.signal("HUP");
    let said = manager.hear();
    let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&said);
    assert!(time.trim().parse::<u64>().expect("microseconds") > 0, "{said}");
    assert_eq!(manager.hear(), "READY=1\n");
    manager.hear_life();

    program.signal("TERM");
    assert!(manager.hear().starts_with("STOPPING=1\n"));
    assert!(program.wait().success());
}

#[test]
fn who_watches_another_process_is_not_told() {
    let folder = folder();
    let manager = Manager::new(&folder);
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9"]);
    serve
        .env("NOTIFY_SOCKET", folder.file("notify"))
        .env("WATCHDOG_USEC", WATCHDOG_US)
        .env("WATCHDOG_PID", "1");
    let program = Program::start(serve).expect("it serves");
    assert!(manager.hear().starts_with("READY=1\n"));
    assert_eq!(manager.next(), None, "{}", program.log());
}

/// The program as a manager starts it that holds these sockets.
fn activated(folder: &Folder, sockets: &[&dyn AsFd], args: &[&str]) -> Program {
    for socket in sockets {
        fcntl_setfd(socket.as_fd(), FdFlags::empty()).expect("a descriptor that is passed on");
    }
    let from = |socket: &&dyn AsFd| socket.as_fd().as_raw_fd();
    let away: Vec<String> =
        (200..).zip(sockets).map(|(to, socket)| format!("{to}<&{}", from(socket))).collect();
    let moves: Vec<String> =
        (3..).zip(200..).take(sockets.len()).map(|(to, from)| format!("{to}<&{from} {from}<&-")).collect();
    // Bash, whose redirections know descriptors above 9; first out of the way, for one may stand where another is to be.
    let script = format!(
        "exec {} {}; LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={} exec {} serve --upstream 127.0.0.1:9 {}",
        away.join(" "),
        moves.join(" "),
        sockets.len(),
        vec!["dns"; sockets.len()].join(":"),
        program(),
        args.join(" "),
    );
    let mut bash = in_folder(Command::new("bash"), folder.path());
    bash.args(["-c", &script]);
    Program::start(bash).expect("it serves")
}

#[test]
fn sockets_that_are_passed_are_served_and_a_restart_loses_nothing() {
    let folder = folder();
    let (udp, tcp) =
        (UdpSocket::bind("127.0.0.1:0").expect("a port"), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let (at, tcp_at) = (udp.local_addr().expect("an address"), tcp.local_addr().expect("an address"));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.connect(at).expect("an address");
    client.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let reply = || {
        let mut reply = [0; 512];
        let len = client.recv(&mut reply).expect("a reply");
        assert_eq!((len > 12, reply[3] & 15, reply[7]), (true, 0, 1), "a sinkhole answer");
        u16::from_be_bytes([reply[0], reply[1]])
    };

    let mut first = activated(&folder, &[&udp, &tcp], &[]);
    assert_eq!((&first.udp[..], &first.tcp[..]), (&[at][..], &[tcp_at][..]), "there and nowhere else");
    ask(&client, 1, "listed.example");
    assert_eq!(reply(), 1);
    first.signal("TERM");
    assert!(first.wait().success());

    // Nobody serves; who asks now is answered by the next one.
    (0..HELD).for_each(|id| ask(&client, id, "listed.example"));
    let mut connection = TcpStream::connect(tcp_at).expect("the manager listens");
    let query = wire::query(7, "listed.example", A);
    connection.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).expect("a query");
    let second = activated(&folder, &[&udp, &tcp], &[]);
    let mut answered: Vec<u16> = (0..HELD).map(|_| reply()).collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..HELD).collect::<Vec<u16>>(), "{}", second.log());
    connection.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut head = [0; 4];
    connection.read_exact(&mut head).expect("a reply");
    assert_eq!(head[2..], [0, 7]);
}

#[test]
fn what_is_configured_besides_is_taken_besides_and_what_is_no_listener_is_told() {
    let folder = folder();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = udp.local_addr().expect("an address");
    let odd = UnixDatagram::unbound().expect("a socket");
    let program = activated(&folder, &[&odd, &udp], &["--listen", "127.0.0.1:0"]);
    assert_eq!((program.udp.len(), program.tcp.len()), (2, 1), "{}", program.log());
    assert!(program.udp.contains(&at));
    program
        .wait_for(0, "the socket \"dns\" that the service manager passed is not used: it has no IP address");
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let folder = folder();
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9"]);
    serve.env("LISTEN_PID", "1").env("LISTEN_FDS", "3");
    let program = Program::start(serve).expect("it serves");
    let own: &[SocketAddr] = &program.udp;
    assert_eq!(own.len(), 1);
}

/// What `/proc` says of each thread under a key.
fn of_threads(program: &Program, key: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", program.id())).expect("threads");
    let status = tasks.map(|task| {
        std::fs::read_to_string(task.expect("a thread").path().join("status")).expect("its status")
    });
    let line =
        |status: String| status.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()));
    status.map(|status| line(status).unwrap_or_else(|| panic!("no {key}"))).collect()
}

#[test]
fn every_thread_gives_up_what_no_resolver_needs_unless_told_otherwise() {
    let folder = folder();
    let args = ["--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9"];
    for (more, seccomp, privileges) in
        [(&[][..], "2", "1"), (&["--set", "process.confine=false"][..], "0", "0")]
    {
        let program = Program::serve(&folder, &[&args[..], more].concat());
        // This very test may run confined.
        let is_so = |key, value: &str| of_threads(&program, key).iter().all(|found| found == value);
        let outer = std::fs::read_to_string("/proc/self/status").expect("a status");
        if outer.contains("Seccomp:\t0\n") && outer.contains("NoNewPrivs:\t0\n") {
            assert!(is_so("Seccomp:", seccomp) && is_so("NoNewPrivs:", privileges), "{more:?}");
        }
    }
}

#[test]
fn root_goes_on_as_somebody_else_who_has_the_state() {
    let folder = folder();
    // Where the program is, and its folder, must be open to that user.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a mode");
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "127.0.0.1:9",
        "--state",
        "state",
        "--set",
        "process.user=65532:65533",
    ];
    let program = Program::serve(&folder, &args);
    if of_threads(&program, "Uid:").contains(&"0\t0\t0\t0".to_owned()) {
        panic!("a thread is root still");
    }
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("this process")) != 0 {
        program.wait_for(0, "only root can become");
        return;
    }
    for (key, expected) in
        [("Uid:", "65532\t65532\t65532\t65532"), ("Gid:", "65533\t65533\t65533\t65533"), ("Groups:", "65533")]
    {
        assert!(
            of_threads(&program, key).iter().all(|found| found == expected),
            "{key} {:?}",
            of_threads(&program, key)
        );
    }
    assert!(of_threads(&program, "CapEff:").iter().all(|found| found.trim_start_matches('0').is_empty()));
    let state = std::fs::metadata(folder.file("state")).expect("a state folder");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&state), 65532);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.connect(program.addr()).expect("an address");
    client.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    ask(&client, 1, "listed.example");
    assert!(client.recv(&mut [0; 512]).expect("a reply") > 12);
    program.wait_for(0, "control API on");
}

#[test]
fn the_unit_is_as_closed_as_systemd_calls_ok() {
    if !has_tool("systemd-analyze", "systemd") {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd/sinkscope.service");
    let output = Command::new("systemd-analyze").args(["security", "--offline=yes"]).arg(unit).output();
    let said = String::from_utf8(output.expect("systemd-analyze").stdout).expect("UTF-8");
    let last = said.trim().lines().last().unwrap_or_default();
    assert!(last.contains("Overall exposure level") && last.contains(" OK "), "{last}");
}
