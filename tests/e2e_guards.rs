//! Guards on the running program: who can keep an order from acting, for how long, and who is told.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use support::authority::{self, Authority, Data, ipv4_of};
use support::process::{Folder, Program, run};
use support::wire::{self, A, Reply};

/// Queries enough that the sample says something: a thousand of one in 64, and some more.
const MANY: u32 = 80_000;
/// Queries under way at one time.
const WINDOW: u32 = 32;

/// A socket of 127.0.0.`host` that talks to the program.
fn socket(host: u8, program: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("a free port");
    socket.connect(program).expect("a server");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    socket
}

/// Asks for these names, one after the other, from an address, and waits for no particular reply.
fn flood(host: u8, program: SocketAddr, name: impl Fn(u32) -> String) {
    let socket = socket(host, program);
    let (mut packet, mut reply) = (Vec::new(), [0; 512]);
    for number in 0..MANY {
        wire::write_query(number as u16, &name(number), A, &mut packet);
        socket.send(&packet).expect("sent");
        if number >= WINDOW {
            // A reply that is lost, or was never sent, costs a moment.
            let _ = socket.recv(&mut reply);
        }
    }
}

/// What a client at 127.0.0.`host` is told.
fn ask(host: u8, program: &Program, name: &str) -> String {
    let socket = socket(host, program.addr());
    let mut reply = [0; 512];
    for _ in 0..50 {
        socket.send(&wire::query(7, name, A)).expect("sent");
        if let Ok(length) = socket.recv(&mut reply) {
            return Reply::read(&reply[..length]).expect("a reply").show();
        }
    }
    panic!("no reply to {name}")
}

/// A program that serves 127.0.0.2 alone, and holds orders back for so many seconds.
fn serve(folder: &Folder, authority: &Authority) -> Program {
    let upstream = authority.addr().to_string();
    let args =
        ["--config", "guard.toml", "--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders"];
    Program::serve(folder, &[&args[..], &["--state", "state"]].concat())
}

/// A configuration of that hold.
fn config(hold: &str) -> String {
    format!("[access]\nallow = [\"127.0.0.2\"]\n[guard]\n{hold}\n")
}

/// An order of this id and kind with one scope.
fn order(id: &str, kind: &str, scope: &str) -> String {
    format!("id = \"{id}\"\ntitle = \"T\"\nkind = \"{kind}\"\n[[scope]]\n{scope}\n")
}

/// Exactly the name that bots ask for.
const EXACT: &str = "match = \"exact\"\nnames = [\"c2.example.org\"]";

#[test]
fn nobody_keeps_a_courts_order_from_acting() {
    // Who is refused, and who is served: a bot behind this resolver is no less loud.
    for host in [1, 2] {
        let folder = Folder::new(&[(
            "orders/a.toml",
            &order("a", "court", "match = \"exact\"\nnames = [\"x.test\"]"),
        )]);
        folder.write("guard.toml", &config(""));
        let authority = Authority::start();
        let mut program = serve(&folder, &authority);
        flood(host, program.addr(), |_| "c2.example.org".to_owned());
        let truth = format!("NOERROR {}", ipv4_of("c2.example.org"));
        assert_eq!(ask(2, &program, "c2.example.org"), truth);
        let mark = program.mark();
        folder.write("orders/c2.toml", &order("c2", "court", EXACT));
        program.wait_for(mark, "order c2 added: 1 name");
        program.wait_for(mark, "reloaded");
        let sinkholed = "NOERROR 0.0.0.0 EDE16 EDE4";
        assert_eq!(ask(2, &program, "c2.example.org"), sinkholed, "flooded from 127.0.0.{host}");
        program.signal("KILL");
        program.wait();
        let program = serve(&folder, &authority);
        assert_eq!(ask(2, &program, "c2.example.org"), sinkholed, "restarted");
    }
}

#[test]
fn a_hold_is_shown_everywhere_and_ends_by_itself() {
    let folder =
        Folder::new(&[("orders/a.toml", &order("a", "court", "match = \"exact\"\nnames = [\"x.test\"]"))]);
    folder.write("guard.toml", &config("hold = 600"));
    let authority = Authority::start();
    let mut program = serve(&folder, &authority);
    flood(2, program.addr(), |number| format!("n{}.example.org", number % 20));
    let mark = program.mark();
    let both = format!("{EXACT}\n[[scope]]\nmatch = \"subtree\"\nnames = [\"example.org\"]");
    folder.write("orders/own.toml", &order("own", "operator", &both));
    let said = program.wait_for(mark, "order own: it would newly take");
    assert!(
        said.contains("held back until") && said.contains("`sinkscope order activate own` ends it"),
        "{said}"
    );
    program.wait_for(mark, "reloaded");
    let (sinkholed, truth) =
        ("NOERROR 0.0.0.0 EDE15 EDE4".to_owned(), format!("NOERROR {}", ipv4_of("n1.example.org")));
    let told = |program: &Program| ["c2.example.org", "n1.example.org"].map(|name| ask(2, program, name));
    assert_eq!(told(&program), [sinkholed.clone(), truth.clone()]);

    // After a restart it goes on, and each command says so.
    program.signal("KILL");
    program.wait();
    let program = serve(&folder, &authority);
    program.wait_for(0, "order own is held back until");
    assert_eq!(told(&program), [sinkholed.clone(), truth]);
    let command = |words: &str| {
        let args: Vec<&str> = words.split(' ').chain(["--state", "state"]).collect();
        let ended = run(&folder, &args);
        assert_eq!(ended.code, Some(0), "{words}: {}{}", ended.out, ended.err);
        ended.out
    };
    for (words, expected) in [
        ("order list", "held      until 20"),
        ("order show own", "held until"),
        ("order show own --json", "\"state\": \"held\""),
        ("order history own", "hold"),
        ("status", "1 held, 1 in-force"),
    ] {
        let said = command(words);
        assert!(said.contains(expected), "{words}: {said}");
    }
    command("order activate own");
    assert_eq!(told(&program), [sinkholed.clone(), sinkholed.clone()]);
    drop(program);

    // One that nobody looks at.
    let folder =
        Folder::new(&[("orders/a.toml", &order("a", "court", "match = \"exact\"\nnames = [\"x.test\"]"))]);
    folder.write("guard.toml", &config("hold = 2"));
    let program = serve(&folder, &authority);
    flood(2, program.addr(), |number| format!("n{}.example.org", number % 20));
    let mark = program.mark();
    folder.write("orders/own.toml", &order("own", "user", "match = \"subtree\"\nnames = [\"example.org\"]"));
    program.wait_for(mark, "held back until");
    program.wait_for(mark, "order own is no longer held back: it acts in full");
    assert_eq!(ask(2, &program, "n1.example.org"), "NOERROR 0.0.0.0 EDE17 EDE4");
}

/// A word of what `explain` says in JSON.
fn explained(folder: &Folder, words: &str, key: &str) -> String {
    let ended = run(folder, &words.split(' ').collect::<Vec<_>>());
    assert_eq!(ended.code, Some(0), "{words}: {}{}", ended.out, ended.err);
    let said: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    said[key].as_str().unwrap_or_else(|| panic!("no {key}: {said:#}")).to_owned()
}

#[test]
fn what_an_answer_leads_to_is_explained() {
    let folder = Folder::new(&[(
        "orders/a.toml",
        &order("a", "court", "match = \"exact\"\nnames = [\"evil.example.net\"]"),
    )]);
    let authority = Authority::start();
    let evil = Data::A(ipv4_of("evil.example.net"));
    let leads = authority::Reply::new().cname("evil.example.net").record("evil.example.net", evil);
    authority.script("shop.example.com", A, leads);
    let upstream = authority.addr().to_string();
    let program = Program::serve(
        &folder,
        &["--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders", "--state", "state"],
    );
    let words = "explain shop.example.com --client 127.0.0.1 --live --state state";
    // Nobody asks an upstream only to explain.
    assert_eq!(explained(&folder, &format!("{words} --json"), "verdict"), "clear");
    assert!(ask(1, &program, "shop.example.com").contains("0.0.0.0"));
    let asked = authority.asked_in_all();
    assert_eq!(explained(&folder, &format!("{words} --json"), "verdict"), "sinkhole");
    let said = run(&folder, &words.split(' ').collect::<Vec<_>>());
    for part in ["leads to evil.example.net, which is captured", "court, sinkhole, evil.example.net (exact)"]
    {
        assert!(said.out.contains(part), "{said:?}");
    }
    let stranger = run(&folder, &words.replace("127.0.0.1", "192.0.2.1").split(' ').collect::<Vec<_>>());
    assert!(stranger.out.contains("this client is not served at all"), "{stranger:?}");
    assert_eq!(authority.asked_in_all(), asked);
}

#[test]
fn what_is_explained_for_a_client_is_what_it_gets() {
    let config = "[orders]\npaths = [\"own\", \"court\"]\n[access]\nallow = [\"loopback\"]\n\
                  [[clients]]\nname = \"guests\"\naddresses = [\"127.0.0.2\"]\nwithout = [\"own\"]\n";
    let names = |names: &str| format!("match = \"exact\"\nnames = [{names}]");
    let drafted = order("draft", "operator", &names("\"draft.test\""));
    let folder = Folder::new(&[
        ("guard.toml", config),
        ("own/own.toml", &order("own", "operator", &names("\"own.test\", \"spared.test\""))),
        ("own/draft.toml", &drafted.replacen("\n[[", "\nstanding = \"drafted\"\n[[", 1)),
        ("court/court.toml", &order("court", "court", &names("\"court.test\", \"lifted.test\""))),
    ]);
    let authority = Authority::start();
    let upstream = authority.addr().to_string();
    let args =
        ["--config", "guard.toml", "--listen", "127.0.0.1:0", "--upstream", &upstream, "--state", "state"];
    let program = Program::serve(&folder, &args);
    let command = |words: &str| {
        let ended = run(&folder, &words.split(' ').chain(["--state", "state"]).collect::<Vec<_>>());
        assert_eq!(ended.code, Some(0), "{words}: {}{}", ended.out, ended.err);
        ended.out
    };
    let all = ["own.test", "spared.test", "draft.test", "court.test", "lifted.test", "free.test"];
    // Whether clients outside and inside the group get what is explained, asked at the server and read from its journal.
    let check = |step: &str, journal: bool| {
        let mut sinkholed = String::new();
        for (host, name) in [1, 2].into_iter().flat_map(|host| all.map(|name| (host, name))) {
            let is_sinkholed = ask(host, &program, name).starts_with("NOERROR 0.0.0.0");
            let words =
                format!("explain {name} --client 127.0.0.{host} --json --state state --config guard.toml");
            let verdict = if is_sinkholed { "sinkhole" } else { "clear" };
            assert_eq!(
                explained(&folder, &format!("{words} --live"), "verdict"),
                verdict,
                "{step}: {host} {name}"
            );
            if journal {
                assert_eq!(
                    explained(&folder, &words, "verdict"),
                    verdict,
                    "{step}: {host} {name}, by the journal"
                );
            }
            sinkholed.push(if is_sinkholed { 'x' } else { '-' });
        }
        sinkholed
    };
    assert_eq!(check("as the files say", true), "xx-xx----xx-");
    command("order lift court --name lifted.test --why settled");
    command("order activate draft");
    command("order lift own --name spared.test");
    assert_eq!(check("stated", true), "x-xx-----x--");
    let exported = command("export --format domains --config guard.toml");
    let lines: Vec<&str> = exported.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["court.test", "draft.test", "own.test"], "{exported}");
    assert!(!exported.contains("drafted only"), "{exported}");
    // Who lifted it, and why, is told.
    let said =
        run(&folder, &["explain", "lifted.test", "--live", "--state", "state", "--config", "guard.toml"]);
    assert!(said.out.contains("lifted by command") && said.out.contains("settled"), "{said:?}");
    command("pause --for 10m --why test");
    assert_eq!(check("paused", false), "---x-----x--");
    let said = run(&folder, &["explain", "own.test", "--client", "127.0.0.1", "--live", "--state", "state"]);
    assert!(said.out.contains("127.0.0.1 (group default, paused)"), "{said:?}");
}

#[test]
fn an_order_is_tried_without_any_configuration() {
    let folder =
        Folder::new(&[("order.toml", &order("o", "operator", EXACT)), ("asked.txt", "c2.example.org A\n")]);
    let ended = run(&folder, &["impact", "order.toml", "--trace", "asked.txt"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(!ended.out.contains("configured orders"), "{}", ended.out);
}
