//! Another configuration while the program runs: in force as a whole or not at all, and no query lost over it.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::flood::{Mock, address_of};
use support::process::{Folder, Program, run};
use support::wire::{self, A, Reply};

/// What is said once another configuration is in force.
const IN_FORCE: &str = "the configuration is in force as it is now";
/// What is said of one that cannot be used.
const REFUSED: &str = "the configuration is not used as it is now";

/// An order of this id that sinkholes this name.
fn order(id: &str, name: &str) -> String {
    format!(
        "id = \"{id}\"\ntitle = \"T\"\nkind = \"operator\"\nttl = 10\naddresses = [\"192.0.2.10\"]\n\
         [[scope]]\nmatch = \"exact\"\nnames = [\"{name}\"]\n"
    )
}

/// The common part of all configurations.
fn base(upstream: SocketAddr) -> String {
    format!("[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{upstream}\"]\n")
}

/// Saves a configuration by rename, as editors do, and waits until it is in force.
fn put(folder: &Folder, program: &Program, text: &str) {
    let mark = program.mark();
    save(folder, text);
    program.wait_for(mark, IN_FORCE);
}

/// Saves a configuration by rename.
fn save(folder: &Folder, text: &str) {
    folder.write("new", text);
    std::fs::rename(folder.file("new"), folder.file("sinkscope.toml")).expect("renamed");
}

/// What a client at 127.0.0.`host` is told.
fn ask(host: u8, program: &Program, name: &str) -> Reply {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("a free port");
    socket.connect(program.addr()).expect("a server");
    socket.set_read_timeout(Some(Duration::from_secs(6))).expect("a timeout");
    socket.send(&wire::query(7, name, A)).expect("sent");
    wire::receive(&socket).expect("a reply")
}

#[test]
fn every_part_of_a_saved_configuration_comes_into_force() {
    let folder = Folder::new(&[
        ("orders/a.toml", &order("a", "a.ddns.net")),
        ("more/b.toml", &order("b", "b.ddns.net")),
        ("list.txt", "l.ddns.net\n"),
    ]);
    let (one, two) = (Mock::start(), Mock::start());
    let orders = "[orders]\npaths = [\"orders\"]\n";
    let first = format!("{}{orders}[access]\nallow = [\"127.0.0.1\"]\n", base(one.addr()));
    save(&folder, &first);
    let program = Program::serve(&folder, &["--control", "unix:control.sock"]);
    let shows = |host: u8, name: &str| ask(host, &program, name).show();
    let (sunk, truth) = ("NOERROR 192.0.2.10", |name: &str| format!("NOERROR {}", address_of(name)));
    assert!(shows(1, "a.ddns.net").starts_with(sunk));
    assert_eq!(shows(1, "free.ddns.net"), truth("free.ddns.net"));
    assert!(shows(2, "free.ddns.net").starts_with("REFUSED"), "{}", shows(2, "free.ddns.net"));
    // Who is served.
    let open = format!("{}{orders}[access]\nallow = [\"loopback\"]\n", base(one.addr()));
    put(&folder, &program, &open);
    assert_eq!(shows(2, "free.ddns.net"), truth("free.ddns.net"));
    assert_eq!(one.asked(), 1, "what was known is known");
    // Groups.
    let groups = format!(
        "{open}[[clients]]\nname = \"lab\"\naddresses = [\"127.0.0.2/32\"]\nwithout = [\"orders\"]\n"
    );
    put(&folder, &program, &groups);
    assert_eq!(shows(2, "a.ddns.net"), truth("a.ddns.net"));
    assert!(shows(1, "a.ddns.net").starts_with(sunk));
    // Orders, and a list.
    let more = format!(
        "{}[orders]\npaths = [\"more\"]\n[access]\nallow = [\"loopback\"]\n[[lists]]\nname = \"l\"\nsource = \"list.txt\"\nmatch = \"exact\"\n",
        base(one.addr())
    );
    put(&folder, &program, &more);
    assert_eq!(shows(1, "a.ddns.net"), truth("a.ddns.net"));
    assert!(shows(1, "b.ddns.net").starts_with(sunk));
    assert!(ask(1, &program, "l.ddns.net").is_blocked(), "{}", shows(1, "l.ddns.net"));
    let lists = run(&folder, &["lists", "--control", "unix:control.sock"]);
    assert!(lists.out.contains("domains") && lists.code == Some(0), "{lists:?}");
    // How long answers live: what was cached by another rule is not told.
    assert_eq!(ask(1, &program, "free.ddns.net").ttls.len(), 1);
    put(&folder, &program, &format!("{open}[cache]\nmax_ttl = 30\n"));
    assert!(ask(1, &program, "free.ddns.net").ttls.iter().all(|ttl| *ttl <= 30));
    assert_eq!(shows(1, "l.ddns.net"), truth("l.ddns.net"), "the list is gone");
    // One more upstream, and other ways to ask: whoever said what is cached is asked still.
    put(&folder, &program, &format!("{}{orders}", base(one.addr())));
    assert_eq!(shows(1, "free.ddns.net"), truth("free.ddns.net"));
    let before = one.asked();
    let both = base(one.addr())
        .replace("servers = [", &format!("probe_at_start = false\nservers = [\"{}\", ", two.addr()));
    put(&folder, &program, &format!("{both}{orders}"));
    assert_eq!(shows(1, "free.ddns.net"), truth("free.ddns.net"));
    assert_eq!((one.asked(), two.asked()), (before, 0));
    // Upstreams: what others said is no answer of theirs.
    let mark = program.mark();
    put(&folder, &program, &format!("{}{orders}", base(two.addr())));
    program.wait_for(mark, &format!("asking udp://{}", two.addr()));
    assert_eq!(shows(1, "free.ddns.net"), truth("free.ddns.net"));
    assert_eq!((one.asked(), two.asked()), (before, 1));
    // Special names and the log.
    let special = "[special]\nforward = [\"10.in-addr.arpa\"]\n[log]\nlevel = \"debug\"\n";
    put(&folder, &program, &format!("{}{orders}{special}", base(two.addr())));
    assert_eq!(shows(1, "1.0.0.10.in-addr.arpa"), truth("1.0.0.10.in-addr.arpa"));
    let mark = program.mark();
    program.signal("HUP");
    program.wait_for(mark, "reloaded: nothing changed");
    // What takes a restart is said, and the rest is in force.
    let mark = program.mark();
    let elsewhere =
        format!("{}{orders}[guard]\nrecent = 0\n[access]\nallow = [\"127.0.0.1\"]\n", base(two.addr()));
    save(&folder, &elsewhere.replace("127.0.0.1:0", "127.0.0.1:1"));
    program.wait_for(mark, "listen.udp, listen.tcp, guard.recent stays as it was: restart to use it");
    assert!(shows(2, "free.ddns.net").starts_with("REFUSED"));
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_where_it_is_wrong() {
    let folder = Folder::new(&[("orders/a.toml", &order("a", "a.ddns.net"))]);
    let upstream = Mock::start();
    let good = format!("{}[orders]\npaths = [\"orders\"]\n", base(upstream.addr()));
    save(&folder, &good);
    let program = Program::serve(&folder, &["--control", "unix:control.sock"]);
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    let sunk = "NOERROR 192.0.2.10";
    // Where no configuration is in the way of a command.
    let (elsewhere, control) = (Folder::new(&[]), format!("unix:{}", folder.file("control.sock").display()));
    let count = good.lines().count();
    for (wrong, said) in [
        (
            "[acess]\nallow = [\"any\"]\n",
            format!("sinkscope.toml:{}: unknown key `acess` (did you mean `access`?)", count + 1),
        ),
        ("[access]\nallow = [\"127.0.0.\"]\n", format!("sinkscope.toml:{}: ", count + 2)),
        ("[access\n", format!("sinkscope.toml:{}: ", count + 1)),
        ("[cache]\nsize = -1\n", format!("sinkscope.toml:{}: ", count + 2)),
        ("[[lists]]\nname = \"l\"\n", format!("sinkscope.toml:{}: ", count + 1)),
        ("[control]\ntoken_file = \"no-tokens\"\n", "no-tokens: ".to_owned()),
    ] {
        let mark = program.mark();
        save(&folder, &format!("{good}{wrong}"));
        let line = program.wait_for(mark, &said);
        program.wait_for(mark, REFUSED);
        assert!(line.contains("ERROR"), "{line}");
        assert!(shows("a.ddns.net").starts_with(sunk), "{wrong}");
        let status = run(&elsewhere, &["status", "--control", &control]);
        assert!(status.out.contains("configuration: "), "{status:?}");
    }
    // Orders go on changing under the configuration that is in force.
    let mark = program.mark();
    folder.write("orders/b.toml", &order("b", "b.ddns.net"));
    program.wait_for(mark, "order b added: 1 name");
    assert!(shows("b.ddns.net").starts_with(sunk));
    // Paths that are not there, and no file at all.
    let mark = program.mark();
    save(&folder, &good.replace("\"orders\"", "\"no-orders\""));
    program.wait_for(mark, "there are no orders: no such file or folder");
    program.wait_for(mark, REFUSED);
    // What a full disk leaves, and what is cut.
    for (cut, said) in [
        (String::new(), "sinkscope.toml: it is empty"),
        (base(upstream.addr()), "sinkscope.toml: it no longer says where orders are"),
    ] {
        let mark = program.mark();
        save(&folder, &cut);
        program.wait_for(mark, said);
        program.wait_for(mark, REFUSED);
        assert!(shows("a.ddns.net").starts_with(sunk), "{said}");
    }
    let mark = program.mark();
    std::fs::remove_file(folder.file("sinkscope.toml")).expect("removed");
    program.wait_for(mark, "sinkscope.toml: it is gone");
    assert!(shows("a.ddns.net").starts_with(sunk) && shows("b.ddns.net").starts_with(sunk));
    // As it was, it is well again.
    let mark = program.mark();
    save(&folder, &good);
    program.wait_for(mark, "the configuration is again the one in force");
    let status = run(&elsewhere, &["status", "--control", &control]);
    assert!(!status.out.contains("configuration: ") && status.code == Some(0), "{status:?}");
}

#[test]
fn tokens_are_read_anew() {
    let folder = Folder::new(&[("orders/a.toml", &order("a", "a.ddns.net"))]);
    let upstream = Mock::start();
    let private = |text: &str| {
        use std::os::unix::fs::PermissionsExt;
        folder.write("tokens", text);
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.file("tokens"), mode).expect("a mode");
    };
    private("ops:0123456789abcdef0123\n");
    let control = "[control]\nlisten = \"unix:control.sock\"\ntoken_file = \"tokens\"\n";
    save(&folder, &format!("{}[orders]\npaths = [\"orders\"]\n{control}", base(upstream.addr())));
    let program = Program::serve(&folder, &[]);
    let status = |token: &str| {
        folder.write("mine", token);
        run(&folder, &["status", "--token-file", "mine"]).code
    };
    assert_eq!(status("0123456789abcdef0123"), Some(0));
    assert_ne!(status("another-token-of-mine"), Some(0));
    private("ops:another-token-of-mine\n");
    let mark = program.mark();
    program.signal("HUP");
    program.wait_for(mark, "reloaded");
    // A file that was written a moment ago may be half written, and is read a second later.
    let until = Instant::now() + support::process::PATIENCE;
    while status("another-token-of-mine") != Some(0) {
        assert!(Instant::now() < until, "{}", program.log());
    }
    assert_ne!(status("0123456789abcdef0123"), Some(0));
}

/// What one of two configurations makes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    One,
    Two,
}

/// Hosts that ask: served by both, in a group by the first, and served by the second alone.
const HOSTS: [u8; 3] = [1, 3, 4];
/// Names of each kind.
const NAMES: usize = 50;
/// Queries under way from each host at one time.
const WINDOW: usize = 16;

/// Which configuration a reply is of; none if it is of neither, or of both at once.
///
/// The first: 198... for 600 seconds, orders sinkhole to 192.0.2.10 for 10 seconds but not for host 3, and host 4 is not
/// served. The second: 199... for 3,600 seconds, a list sinkholes to 192.0.2.20 for 20 seconds, for everybody.
fn by(host: u8, listed: bool, reply: &Reply) -> Option<By> {
    let octets = match reply.addresses[..] {
        [std::net::IpAddr::V4(address)] => address.octets(),
        _ => [0; 4],
    };
    let ttl = reply.ttls.first().copied().unwrap_or(0);
    let one = match (host, listed) {
        (4, _) => reply.rcode == 5,
        (1, true) => octets == [192, 0, 2, 10] && ttl == 10,
        _ => octets[0] == 198 && (1..=600).contains(&ttl),
    };
    let two = match listed {
        true => octets == [192, 0, 2, 20] && ttl == 20,
        false => octets[0] == 199 && (3000..=3600).contains(&ttl),
    };
    match (one, two) {
        (true, false) => Some(By::One),
        (false, true) => Some(By::Two),
        _ => None,
    }
}

/// `SINKSCOPE_RELOADS=100 SINKSCOPE_RATE=20000` asks for that many reloads at that many queries a second.
#[test]
fn no_query_is_lost_or_of_two_configurations() {
    let number = |key: &str, default: usize| {
        std::env::var(key).map_or(default, |text| text.parse().expect("a number"))
    };
    let (reloads, rate) = (number("SINKSCOPE_RELOADS", 6), number("SINKSCOPE_RATE", 3000));
    let listed: Vec<String> = (0..NAMES).map(|index| format!("\"listed{index}.ddns.net\"")).collect();
    let folder = Folder::new(&[
        ("orders/a.toml", &order("a", "x.ddns.net").replace("\"x.ddns.net\"", &listed.join(", "))),
        ("list.txt", &listed.join("\n").replace('"', "")),
    ]);
    let (one, two) = (Mock::start(), Mock::start());
    two.be_other();
    let first = format!(
        "{}[orders]\npaths = [\"orders\"]\n[access]\nallow = [\"127.0.0.1\", \"127.0.0.3\"]\n[cache]\nmin_ttl = 600\nmax_ttl = 600\n\
         [[clients]]\nname = \"lab\"\naddresses = [\"127.0.0.3/32\"]\nwithout = [\"orders\"]\n",
        base(one.addr())
    );
    let second = format!(
        "{}[orders]\npaths = []\n[access]\nallow = [\"loopback\"]\n[cache]\nmin_ttl = 3600\nmax_ttl = 3600\n\
         [[lists]]\nname = \"l\"\nsource = \"list.txt\"\nmatch = \"exact\"\naddresses = [\"192.0.2.20\"]\nttl = 20\n",
        base(two.addr())
    );
    save(&folder, &first);
    let program = Program::serve(&folder, &[]);
    // Even while one is in force, odd while another is on its way.
    let (phase, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (wrong, answered) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let of_phase = |phase: usize| if (phase / 2).is_multiple_of(2) { By::One } else { By::Two };
    let client = |host: u8| {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("a free port");
        socket.connect(program.addr()).expect("a server");
        socket.set_read_timeout(Some(Duration::from_secs(6))).expect("a timeout");
        let (begun, mut sent) = (Instant::now(), 0_usize);
        let mut under_way: Vec<Option<(usize, usize)>> = vec![None; 1 << 16];
        let (mut buffer, mut packet, mut open) = ([0; 1024], Vec::new(), 0);
        while open > 0 || !done.load(Ordering::SeqCst) {
            let due = (begun.elapsed().as_secs_f64() * rate as f64 / HOSTS.len() as f64) as usize;
            while open < WINDOW && sent < due && !done.load(Ordering::SeqCst) {
                let name = format!("{}{}.ddns.net", ["listed", "free"][sent % 2], sent / 2 % NAMES);
                wire::write_query(sent as u16, &name, A, &mut packet);
                under_way[usize::from(sent as u16)] = Some((sent, phase.load(Ordering::SeqCst)));
                socket.send(&packet).expect("sent");
                (sent, open) = (sent + 1, open + 1);
            }
            if open == 0 {
                std::thread::yield_now();
                continue;
            }
            let Ok(length) = wire::uninterrupted(|| socket.recv(&mut buffer)) else {
                wrong.lock().expect("no panic").push(format!("host {host}: {open} queries are lost"));
                return;
            };
            let reply = Reply::read(&buffer[..length]).expect("a reply");
            let Some((index, then)) = under_way[usize::from(reply.id)].take() else { continue };
            open -= 1;
            answered.fetch_add(1, Ordering::Relaxed);
            let found = by(host, index % 2 == 0, &reply);
            let now = phase.load(Ordering::SeqCst);
            let sure = (then == now && now % 2 == 0).then(|| of_phase(now));
            if found.is_none() || sure.is_some_and(|sure| found != Some(sure)) {
                wrong
                    .lock()
                    .expect("no panic")
                    .push(format!("after {:?}, host {host}, {sure:?}: {found:?} {reply:?}", begun.elapsed()));
            }
        }
    };
    /// Says that it is done when it goes, also if that is because something failed.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        let _done = Done(&done);
        for host in HOSTS {
            let client = &client;
            scope.spawn(move || client(host));
        }
        for round in 0..reloads {
            phase.fetch_add(1, Ordering::SeqCst);
            put(&folder, &program, if round % 2 == 0 { &second } else { &first });
            phase.fetch_add(1, Ordering::SeqCst);
            // Some queries under this one alone.
            let from = answered.load(Ordering::Relaxed);
            while answered.load(Ordering::Relaxed) < from + 200 && wrong.lock().expect("no panic").is_empty()
            {
                std::thread::yield_now();
            }
        }
    });
    let (answered, wrong) = (answered.into_inner(), wrong.into_inner().expect("no panic"));
    println!(
        "{reloads} reloads, {answered} answers, {:.0} a second, {} wrong",
        answered as f64 / start.elapsed().as_secs_f64(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} wrong, the first: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(answered > 200 * reloads, "{answered}");
}
