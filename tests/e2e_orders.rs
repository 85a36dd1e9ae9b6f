//! Orders that change under the running program: lifted, edited, broken, mended; nobody else notices.

mod support;

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::authority::{Authority, ipv4_of};
use support::flood::{self, Mock, address_of};
use support::process::{Folder, Program};
use support::wire::{self, A, Reply};

/// What a sinkholed name has.
const SINKHOLED: &str = "NOERROR 0.0.0.0 EDE16 EDE4";
/// Within this, a saved file is in force.
const SOON: Duration = Duration::from_secs(1);

/// An order with a list beside it, and more lines.
fn order(id: &str, list: &str, more: &str) -> String {
    format!(
        "id = \"{id}\"\ntitle = \"T\"\nkind = \"court\"\n{more}[[scope]]\nmatch = \"exact\"\nfile = \"{list}\"\n"
    )
}

/// Two orders: `a.toml` with two names below ddns.net, `b.toml` with one below no-ip.org.
fn two_orders() -> Folder {
    Folder::new(&[
        ("orders/a.toml", &order("order-a", "a.txt", "")),
        ("orders/a.txt", "evil.ddns.net\nworse.ddns.net\n"),
        ("orders/b.toml", &order("order-b", "b.txt", "")),
        ("orders/b.txt", "bad.no-ip.org\n"),
    ])
}

/// Saves a file of a folder under a name.
type Save = fn(&Folder, &str, &str);
/// Ways to save a file, as editors do: none may be missed.
const SAVES: [(&str, Save); 4] = [
    ("in place", |folder, name, text| folder.write(name, text)),
    ("by rename", |folder, name, text| {
        folder.write(&format!("{name}.tmp"), text);
        fs::rename(folder.file(&format!("{name}.tmp")), folder.file(name)).expect("renamed");
    }),
    ("with a backup", |folder, name, text| {
        fs::rename(folder.file(name), folder.file(&format!("{name}~"))).expect("renamed");
        folder.write(name, text);
        fs::remove_file(folder.file(&format!("{name}~"))).expect("removed");
    }),
    ("removed first", |folder, name, text| {
        fs::remove_file(folder.file(name)).expect("removed");
        folder.write(name, text);
    }),
];

#[test]
fn a_lift_takes_effect_within_a_second_of_saving() {
    let folder = two_orders();
    let authority = Authority::start();
    let program = Program::of(&folder, authority.addr());
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    let truth = |name: &str| format!("NOERROR {}", ipv4_of(name));
    let neighbours = ["good.ddns.net", "www.evil.ddns.net", "ddns.net", "good.no-ip.org"];
    for name in neighbours {
        assert_eq!(shows(name), truth(name));
    }
    for (how, save) in SAVES {
        assert_eq!(shows("evil.ddns.net"), SINKHOLED, "before lifting {how}");
        let lifted = "lifted = { at = 2014-07-03, by = \"the court\", why = \"settled\" }\n";
        let mark = program.mark();
        let start = Instant::now();
        save(&folder, "orders/a.toml", &order("order-a", "a.txt", lifted));
        program.wait_for(mark, "order order-a, lifted by the court (settled): 2 names no longer held");
        let took = start.elapsed();
        assert_eq!(shows("evil.ddns.net"), truth("evil.ddns.net"), "the next packet after lifting {how}");
        assert_eq!(shows("worse.ddns.net"), truth("worse.ddns.net"));
        assert!(took < SOON, "lifted {how}: {took:?}");
        println!("lifted {how}: in force after {took:?}");
        assert_eq!(shows("bad.no-ip.org"), SINKHOLED, "another order is no part of it");
        for name in neighbours {
            assert_eq!(shows(name), truth(name));
        }

        // Back in force for the next round: the truth in the cache does not matter.
        let mark = program.mark();
        save(&folder, "orders/a.toml", &order("order-a", "a.txt", ""));
        program.wait_for(mark, "order order-a changed: 2 -> 2 names");
    }
    assert_eq!(shows("evil.ddns.net"), SINKHOLED);
    // Nothing was flushed: upstream heard of each neighbour once, and of the lifted names once in four lifts.
    for name in neighbours.iter().chain(&["evil.ddns.net", "worse.ddns.net"]) {
        assert_eq!(authority.asked(name), 1, "{name}");
    }
    assert_eq!(authority.asked("bad.no-ip.org"), 0);
}

#[test]
fn a_zone_is_given_back_alone() {
    let folder = two_orders();
    let list = "evil.ddns.net\nbad.no-ip.org\n";
    folder.write("orders/a.txt", list);
    fs::remove_file(folder.file("orders/b.toml")).expect("removed");
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let mark = program.mark();
    folder.write("orders/a.toml", &order("order-a", "a.txt", "lifted = { zones = [\"ddns.net\"] }\n"));
    program.wait_for(mark, "reloaded");
    assert_eq!(wire::udp(program.addr(), "evil.ddns.net", A).addresses, [address_of("evil.ddns.net")]);
    assert_eq!(wire::udp(program.addr(), "bad.no-ip.org", A).show(), SINKHOLED);
}

#[test]
fn a_failing_edit_changes_nothing() {
    let folder = two_orders();
    // A name of both: the first order decides.
    folder.write("orders/b.txt", "bad.no-ip.org\nworse.ddns.net\n");
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    let sinkholed = |after: &str| {
        for name in ["evil.ddns.net", "worse.ddns.net", "bad.no-ip.org"] {
            assert_eq!(shows(name), SINKHOLED, "{name} after {after}");
        }
        assert_eq!(shows("good.ddns.net"), format!("NOERROR {}", address_of("good.ddns.net")));
        // Its rank among the orders is as it was, too.
        let decisive = wire::udp(program.addr(), "worse.ddns.net", A).ede[0].1.clone();
        assert!(decisive.contains("order-a"), "{decisive} after {after}");
    };
    sinkholed("the start");
    let good = order("order-a", "a.txt", "");
    for (broken, place) in [
        ("id = \n".to_owned(), "orders/a.toml:1: "),
        (good.replace("match", "mach"), "orders/a.toml:5: "),
        (good.replace("a.txt", "gone.txt"), "orders/a.toml:6: "),
        (order("order-a", "a.txt", "zones = [\"no-ip.org\"]\n"), "orders/a.txt:1: outside the order's zones"),
        (order("order-b", "a.txt", ""), "orders/a.toml: the id order-b is taken by orders/b.toml"),
        (order("order-a", "a.txt", "max_names = 1\n"), "orders/a.toml:4: lists 2 names and declares"),
    ] {
        let mark = program.mark();
        folder.write("orders/a.toml", &broken);
        let line = program.wait_for(mark, place);
        assert!(line.contains(" ERROR "), "{line:?} after {broken:?}");
        sinkholed(&broken);
        let mark = program.mark();
        folder.write("orders/a.toml", &good);
        program.wait_for(mark, "all problems are mended");
        sinkholed("mending");
    }
    assert!(!program.log().contains("reloaded"), "nothing changed:\n{}", program.log());
    // What is wrong with one order holds up no other.
    let mark = program.mark();
    folder.write("orders/a.toml", "id = \n");
    program.wait_for(mark, " ERROR ");
    let mark = program.mark();
    folder.write("orders/b.toml", &order("order-b", "b.txt", "lifted = true\n"));
    program.wait_for(mark, "order order-b, lifted: 2 names no longer held");
    assert_eq!(shows("bad.no-ip.org"), format!("NOERROR {}", address_of("bad.no-ip.org")));
    assert_eq!(shows("evil.ddns.net"), SINKHOLED);
}

#[test]
fn a_list_of_names_is_edited() {
    let folder = two_orders();
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    let truth = |name: &str| format!("NOERROR {}", address_of(name));
    assert_eq!(shows("new.ddns.net"), truth("new.ddns.net"));
    for (round, (how, save)) in SAVES.iter().enumerate() {
        let mark = program.mark();
        let start = Instant::now();
        save(&folder, "orders/a.txt", &format!("evil.ddns.net\nnew.ddns.net\nround{round}.ddns.net\n"));
        program.wait_for(mark, "order order-a changed: 2 -> 3 names");
        assert!(start.elapsed() < SOON, "saved {how}: {:?}", start.elapsed());
        assert_eq!(shows("new.ddns.net"), SINKHOLED, "saved {how}");
        assert_eq!(shows(&format!("round{round}.ddns.net")), SINKHOLED);
        assert_eq!(shows("worse.ddns.net"), truth("worse.ddns.net"));
        let mark = program.mark();
        save(&folder, "orders/a.txt", "evil.ddns.net\nworse.ddns.net\n");
        program.wait_for(mark, "order order-a changed: 3 -> 2 names");
        assert_eq!(shows("new.ddns.net"), truth("new.ddns.net"));
        assert_eq!(shows("worse.ddns.net"), SINKHOLED);
    }
    // A new order and one that goes.
    let mark = program.mark();
    folder.write(
        "orders/c.toml",
        &order("order-c", "b.txt", "").replace("file = \"b.txt\"", "names = [\"c.ddns.net\"]"),
    );
    program.wait_for(mark, "order order-c added: 1 name");
    assert_eq!(shows("c.ddns.net"), SINKHOLED);
    let mark = program.mark();
    fs::remove_file(folder.file("orders/c.toml")).expect("removed");
    program.wait_for(mark, "order order-c removed: 1 name");
    assert_eq!(shows("c.ddns.net"), truth("c.ddns.net"));
}

#[test]
fn a_signal_reloads() {
    let folder = two_orders();
    let upstream = Mock::start();
    folder.write(
        "sinkscope.toml",
        &format!(
            "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{}\"]\n[orders]\npaths = [\"orders\"]\nwatch = false\n",
            upstream.addr()
        ),
    );
    let program = Program::serve(&folder, &[]);
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    folder.write("orders/a.txt", "evil.ddns.net\n");
    assert_eq!(shows("worse.ddns.net"), SINKHOLED);
    let mark = program.mark();
    program.signal("HUP");
    program.wait_for(mark, "order order-a changed: 2 -> 1 name");
    program.wait_for(mark, "reloaded");
    assert_eq!(shows("worse.ddns.net"), format!("NOERROR {}", address_of("worse.ddns.net")));
    assert_eq!(shows("evil.ddns.net"), SINKHOLED);
    let mark = program.mark();
    program.signal("HUP");
    program.wait_for(mark, "reloaded: nothing changed");
}

#[test]
fn no_query_is_lost_or_wrong_while_orders_are_reloaded() {
    /// Reloads to see while queries go on.
    const RELOADS: usize = 10;
    /// Listed names, each asked for as often as its neighbour.
    const NAMES: usize = 500;
    /// At most so many queries, should reloading take for ever.
    const MOST: usize = 2_000_000;
    let list = |round: usize| {
        let names: Vec<String> = (0..NAMES).map(|index| format!("listed{index}.ddns.net")).collect();
        format!("{}\nround{}.ddns.net\n", names.join("\n"), round % 2)
    };
    let folder = two_orders();
    folder.write("orders/a.txt", &list(0));
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let (reloads, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (wrong, count) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let name_of = |index: usize| match index % 4 {
        0 | 2 => format!("listed{}.ddns.net", index / 2 % NAMES),
        1 => format!("free{}.ddns.net", index / 4 % NAMES),
        // New each time: these go all the way.
        _ => format!("miss{}.ddns.net", index % 40_000),
    };
    let tally = std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=RELOADS {
                let mark = program.mark();
                // By rename: a file that is read half written is short, and rightly so.
                let (_, save) = SAVES[1];
                save(&folder, "orders/a.txt", &list(round));
                if round % 2 == 0 {
                    program.signal("HUP");
                }
                program.wait_for(mark, "order order-a changed: 501 -> 501 names");
                reloads.fetch_add(1, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        // In batches until all reloads are seen. Patience without end: one query sent again is one that was lost.
        let mut sum = flood::Tally::default();
        while !done.load(Ordering::SeqCst) && count.load(Ordering::Relaxed) < MOST {
            let offset = count.fetch_add(4000, Ordering::Relaxed);
            let question = |index: usize, name: &mut String| {
                *name = name_of(offset + index);
                A
            };
            let tally =
                flood::ask_all(program.addr(), 4000, Duration::from_secs(15), question, |index, packet| {
                    let name = name_of(offset + index);
                    let reply = Reply::read(packet).expect("a well-formed reply");
                    let expected = match name.starts_with("listed") {
                        true => SINKHOLED.to_owned(),
                        false => format!("NOERROR {}", address_of(&name)),
                    };
                    if reply.qname != name || reply.show() != expected {
                        wrong.lock().expect("the list").push(format!("{name}: {}", reply.show()));
                    }
                });
            sum.answered += tally.answered;
            sum.resent += tally.resent;
            sum.lost += tally.lost;
        }
        sum
    });
    println!("{} queries during {} reloads: {tally:?}", tally.answered, reloads.load(Ordering::SeqCst));
    assert_eq!(*wrong.lock().expect("the list"), Vec::<String>::new());
    assert_eq!((tally.resent, tally.lost, reloads.load(Ordering::SeqCst)), (0, 0, RELOADS));
    assert!(tally.answered >= 4000, "{tally:?}");
}

/// A folder with a list long enough that reading it takes a moment.
fn long_list() -> Folder {
    let folder = Folder::new(&[("orders/a.toml", &order("order-a", "a.txt", ""))]);
    let list: String = (0..LONG).map(|index| format!("h{index}.ddns.net\n")).collect();
    folder.write("orders/a.txt", &list);
    folder
}

/// Names in it.
const LONG: usize = 100_000;

#[test]
fn compiled_orders_are_kept_and_survive_a_kill() {
    let folder = long_list();
    let authority = Authority::start();
    let upstream = authority.addr().to_string();
    let serve = || {
        let args =
            ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders", "--state", "state"];
        Program::serve(&folder, &[&args[..], &["--log-level", "debug"]].concat())
    };
    let kept = "the compiled orders that were kept are in force";
    let shows = |program: &Program, name: &str| wire::udp(program.addr(), name, A).show();
    {
        let program = serve();
        assert!(!program.log().contains("kept"), "there was none: {}", program.log());
        program.wait_for(0, "kept the compiled orders in state");
        program.signal("KILL");
    }
    {
        let program = serve();
        assert!(program.log().contains(kept), "{}", program.log());
        assert_eq!(shows(&program, "h7.ddns.net"), SINKHOLED);
        assert_eq!(shows(&program, "good.ddns.net"), format!("NOERROR {}", ipv4_of("good.ddns.net")));
        // An edit is noticed, and what it leaves alone is read again.
        let mark = program.mark();
        folder.write("orders/b.toml", &order("order-b", "b.txt", ""));
        folder.write("orders/b.txt", "bad.no-ip.org\n");
        program.wait_for(mark, "order order-b added: 1 name");
        assert_eq!(shows(&program, "bad.no-ip.org"), SINKHOLED);
        assert_eq!(shows(&program, "h99999.ddns.net"), SINKHOLED);
        program.signal("KILL");
    }
    {
        let program = serve();
        assert!(program.log().contains("are not used: files have come or gone"), "{}", program.log());
        for name in ["bad.no-ip.org", "h7.ddns.net"] {
            assert_eq!(shows(&program, name), SINKHOLED, "{name}");
        }
    }
    // Half of it written over: found by its checksum, and the lists serve.
    let mut octets = fs::read(folder.file("state/orders.snapshot")).expect("the snapshot");
    let half = octets.len() / 2;
    octets[half..].fill(0x55);
    fs::remove_file(folder.file("state/orders.snapshot")).expect("removed");
    fs::write(folder.file("state/orders.snapshot"), &octets).expect("written");
    fs::remove_file(folder.file("orders/b.toml")).expect("removed");
    let program = serve();
    assert!(program.log().contains("are not used: its checksum is wrong"), "{}", program.log());
    assert_eq!(shows(&program, "h7.ddns.net"), SINKHOLED);
}

#[test]
fn until_orders_are_loaded_clients_can_be_told_so() {
    let folder = long_list();
    let authority = Authority::start();
    let upstream = authority.addr().to_string();
    let probe = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let listen = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("its address")
    };
    probe.connect(listen).expect("connected");
    probe.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
    let mut serve = support::process::command(folder.path());
    serve.args(["serve", "--listen", &listen.to_string(), "--upstream", &upstream, "--orders", "orders"]);
    serve.args(["--set", "orders.while_loading=not-ready"]);
    let starting = std::thread::spawn(move || Program::start(serve));
    let mut reply = [0; 1232];
    let (mut not_ready, start) = (0, Instant::now());
    // Refused or unanswered while nothing listens there yet.
    loop {
        assert!(start.elapsed() < Duration::from_secs(60), "no right answer");
        let _ = probe.send(&wire::query(1, "h7.ddns.net", A));
        let Ok(length) = probe.recv(&mut reply) else { continue };
        match Reply::read(&reply[..length]).expect("a reply").show().as_str() {
            "SERVFAIL EDE14" => not_ready += 1,
            SINKHOLED => break,
            other => panic!("a listed name was answered {other}"),
        }
    }
    assert!(not_ready > 0, "a hundred thousand names were read before anybody could ask");
    let program = starting.join().expect("it started").unwrap_or_else(|log| panic!("{log}"));
    assert_eq!(authority.asked_in_all(), 0, "{}", program.log());
}
