//! What the command line says, word for word: `tests/golden/` holds it. SINKSCOPE_BLESS=1 writes it anew, to be read.

mod support;

use std::fmt::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};

use serde_json::Value;
use support::flood::Mock;
use support::process::{Ended, Folder, Program, command, golden, in_folder, program, run, skipped};
use support::wire::{self, A};

/// A time for explanations that do not change with it.
const AT: &str = "2026-01-01";

/// A good order of one name; lines may follow the title.
fn order(more: &str) -> String {
    format!(
        "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n{more}[[scope]]\nmatch = \"exact\"\nnames = [\"evil.ddns.net\"]\n"
    )
}

#[test]
fn ten_bad_inputs_of_ten_kinds() {
    /// What is wrong, the files, a name to explain.
    type Case = (&'static str, Vec<(&'static str, String)>, &'static str);
    let listed = |list: &str| {
        vec![
            ("o/a.toml", order("").replace("names = [\"evil.ddns.net\"]", "file = \"a.txt\"")),
            ("o/a.txt", list.to_owned()),
        ]
    };
    let cases: [Case; 12] = [
        ("not TOML", vec![("o/a.toml", "id = \"a\nkind = \"court\"\n".into())], "evil.ddns.net"),
        ("unknown key", vec![("o/a.toml", order("docet = \"1:23\"\n"))], "evil.ddns.net"),
        ("unknown word", vec![("o/a.toml", order("action = \"sinkhol\"\n"))], "evil.ddns.net"),
        ("value of another type", vec![("o/a.toml", order("zones = 24\n"))], "evil.ddns.net"),
        ("missing list", vec![("o/a.toml", listed("")[0].1.clone())], "evil.ddns.net"),
        (
            "lines that are no names",
            listed("evil.ddns.net\n||ads.ddns.net^\na..b.ddns.net\nhttp://x.ddns.net/\n*.y.ddns.net\n"),
            "evil.ddns.net",
        ),
        ("outside its zones", vec![("o/a.toml", order("zones = [\"no-ip.org\"]\n"))], "evil.ddns.net"),
        (
            "public suffix",
            vec![("o/a.toml", order("").replace("exact", "subtree").replace("evil.ddns.net", "ddns.net"))],
            "innocent.ddns.net",
        ),
        (
            "more names than declared",
            listed("evil.ddns.net\nworse.ddns.net\n")
                .into_iter()
                .map(|(name, text)| (name, text.replace("kind", "max_names = 1\nkind")))
                .collect(),
            "worse.ddns.net",
        ),
        (
            "one id twice",
            vec![("o/a.toml", order("")), ("o/b.toml", order("").replace("evil", "other"))],
            "other.ddns.net",
        ),
        (
            "ends before it begins",
            vec![("o/a.toml", order("effective = 2014-07-03\nexpires = 2014-06-30\n"))],
            "evil.ddns.net",
        ),
        ("not text", vec![], "evil.ddns.net"),
    ];
    let mut transcript = String::new();
    for (what, files, name) in cases {
        let folder = Folder::new(&[]);
        files.iter().for_each(|(name, text)| folder.write(name, text));
        if files.is_empty() {
            std::fs::create_dir(folder.file("o")).expect("a folder");
            std::fs::write(folder.file("o/a.toml"), b"id = \"\xff\"\n").expect("a file");
        }
        let _ = writeln!(transcript, "# {what}");
        let checked = run(&folder, &["check", "o"]);
        assert_eq!(checked.code, Some(1), "{what}: {checked:?}");
        assert!(
            checked.out.starts_with("error: o/a.t") || checked.out.starts_with("error: o/b.toml"),
            "{what}: {checked:?}"
        );
        show(&mut transcript, "check o", &checked);
        let explain = ["explain", name, "--orders", "o", "--at", AT];
        let explained = run(&folder, &explain);
        assert_eq!(explained.code, Some(0), "{what}: {explained:?}");
        assert!(explained.out.contains("see sinkscope check"), "{what}: {explained:?}");
        show(&mut transcript, &explain.join(" "), &explained);
        // Machines learn the same.
        let json = run(&folder, &["check", "o", "--json"]);
        let report: Value = serde_json::from_str(&json.out).expect("JSON");
        assert_eq!((json.code, report["errors"].as_u64() > Some(0)), (Some(1), true), "{what}: {json:?}");
        transcript.push('\n');
    }
    golden("bad-inputs.txt", &transcript);
}

#[test]
fn bad_arguments() {
    let folder = Folder::new(&[("orders/a.toml", &order(""))]);
    let mut transcript = String::new();
    for (line, code) in [
        ("explain a..b", 2),
        ("explain evil.ddns.net --type AAA", 2),
        ("explain evil.ddns.net --at noon", 2),
        ("explain evil.ddns.net --client 1.2.3", 2),
        ("explain", 2),
        ("explain evil.ddns.net --orders nowhere --at 2026-01-01", 0),
        ("check nowhere", 1),
        ("chek", 2),
        ("config --log-level loud", 2),
        ("config --set listn.udp=3", 2),
        ("config --set cache.size", 2),
    ] {
        let ended = run(&folder, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        show(&mut transcript, line, &ended);
        transcript.push('\n');
    }
    golden("bad-arguments.txt", &transcript);
}

#[test]
fn what_keeps_it_from_starting() {
    let folder = Folder::new(&[
        ("orders/a.toml", &order("")),
        ("unknown.toml", "[listen]\nupd = [\"127.0.0.1:5300\"]\n[upstrem]\nservers = []\n"),
        ("broken.toml", "[listen\n"),
        ("missing.toml", "[orders]\npaths = [\"orders\", \"no-such-orders/\"]\n"),
        (
            "upstream.toml",
            "[upstream]\nservers = [\"quic://192.0.2.1\", \"dot://192.0.2.1\", \"tls://dns.example\", \"localhost\", \"192.0.2.1:0\"]\n",
        ),
    ]);
    let mut transcript = String::new();
    for (line, code) in [
        ("serve --config gone.toml", 2),
        ("serve --config unknown.toml", 2),
        ("serve --config broken.toml", 2),
        ("serve --config missing.toml --listen 127.0.0.1:0", 1),
        ("serve --config upstream.toml", 2),
        ("serve --upstream foo://bar", 2),
        ("serve --upstrem 127.0.0.1", 2),
        ("serve --listen localhost:53", 2),
        ("serve --orders orders --listen [fe80::1%no-such]:5300", 2),
    ] {
        let ended = run(&folder, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        assert_eq!(ended.out, "", "{line}: nothing but answers goes to standard output");
        show(&mut transcript, line, &ended);
        transcript.push('\n');
    }
    // By environment.
    let set = command(folder.path()).arg("serve").env("SINKSCOPE_LISTEN__UPD", "127.0.0.1:0").output();
    show(&mut transcript, "serve, with SINKSCOPE_LISTEN__UPD set", &ended(&folder, &set.expect("it runs")));
    golden("start-failures.txt", &transcript);
}

#[test]
fn a_taken_port() {
    let folder = Folder::new(&[("orders/a.toml", &order(""))]);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut transcript = String::new();
    let addrs = [udp.local_addr().expect("an address"), tcp.local_addr().expect("an address")];
    for (holder, addr) in ["udp", "tcp"].into_iter().zip(addrs) {
        // Port 0 for the other, lest it be in the way as well.
        let listen = format!("listen.{holder}={addr}");
        let other = format!("listen.{}=127.0.0.1:0", if holder == "udp" { "tcp" } else { "udp" });
        let ended = run(&folder, &["serve", "--orders", "orders", "--set", &listen, "--set", &other]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let (port, next) = (addr.port(), addr.port() + 1);
        let err = ended.err.replace(&port.to_string(), "PORT").replace(&next.to_string(), "NEXT");
        show(&mut transcript, &format!("serve, {holder} port taken"), &Ended { err, ..ended });
    }
    golden("port-taken.txt", &transcript);
}

#[test]
fn a_privileged_port() {
    /// A privileged port nobody uses here: DNS over TLS (RFC 7858).
    const PORT: &str = "127.0.0.1:853";
    let folder = Folder::new(&[("orders/a.toml", &order(""))]);
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse().is_ok_and(|first: u16| first <= 853) {
        return skipped("no port is privileged here (net.ipv4.ip_unprivileged_port_start)");
    }
    if UdpSocket::bind(PORT).is_ok() {
        // We may: then so may the program.
        let program =
            Program::serve(&folder, &["--listen", PORT, "--orders", "orders", "--upstream", "127.0.0.1:9"]);
        assert_eq!(
            wire::udp(program.addr(), "evil.ddns.net", A).addresses,
            [std::net::Ipv4Addr::UNSPECIFIED]
        );
    }
    // Without the capability, root has no more right than anybody else.
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set=-net_bind_service", "--", &program()]);
    let able = Command::new("setpriv").args(["--bounding-set=-net_bind_service", "true"]).output();
    let mut serve = match able {
        Ok(output) if output.status.success() => in_folder(without, folder.path()),
        _ if UdpSocket::bind(PORT).is_err() => command(folder.path()),
        _ => {
            return skipped(
                "this user may take port 853, and setpriv (util-linux) cannot take that right away",
            );
        }
    };
    let output = serve.args(["serve", "--orders", "orders", "--listen", PORT]).output().expect("it runs");
    let mut found = ended(&folder, &output);
    assert_eq!(found.code, Some(1), "{found:?}");
    found.err = found.err.replace(&program(), "PROGRAM");
    let mut transcript = String::new();
    show(&mut transcript, &format!("serve --listen {PORT}"), &found);
    golden("port-privileged.txt", &transcript);
}

#[test]
fn the_configuration_in_effect() {
    let folder = Folder::new(&[(
        "sinkscope.toml",
        "[listen]\nudp = [\"127.0.0.1:5300\"]\n\n[orders]\npaths = [\"orders/\"]\n\n[cache]\nsize = \"1MiB\"\nmax_ttl = 60\n",
    )]);
    let output = command(folder.path())
        .args(["config", "--upstream", "127.0.0.1:5999", "--set", "cache.max_ttl=90", "--log-level", "warn"])
        .env("SINKSCOPE_CACHE__SIZE", "2MiB")
        .output()
        .expect("it runs");
    let mut transcript = String::new();
    show(
        &mut transcript,
        "config --upstream 127.0.0.1:5999 --set cache.max_ttl=90 --log-level warn",
        &ended(&folder, &output),
    );
    golden("config.txt", &transcript);
    // What it prints is a configuration, and the same one.
    let again = Folder::new(&[("sinkscope.toml", &String::from_utf8(output.stdout).expect("text"))]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
    };
    let second = run(&again, &["config"]);
    assert_eq!(second.code, Some(0), "{second:?}");
    let first = transcript.split_once('\n').expect("a line").1;
    assert_eq!(values(first)[..values(&second.out).len()], values(&second.out));
}

#[test]
fn the_schema_describes_every_key() {
    let folder = Folder::new(&[]);
    let ended = run(&folder, &["config", "--schema"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    golden("schema.json", &ended.out);
    let schema: Value = serde_json::from_str(&ended.out).expect("JSON");
    let sections = schema["properties"].as_object().expect("sections");
    for section in ["listen", "upstream", "orders", "cache", "access", "log"] {
        assert!(sections.contains_key(section), "{section}");
    }
    // Every key that the printed configuration has is in the schema.
    let config = run(&folder, &["config", "--upstream", "127.0.0.1:1"]);
    let config: toml::Table = config.out.parse().expect("TOML");
    let mut keys = 0;
    for (section, table) in &config {
        let reference =
            schema["properties"][section]["$ref"].as_str().expect("a reference").trim_start_matches('#');
        for key in table.as_table().expect("a section").keys() {
            let leaf = &schema.pointer(reference).expect("a section")["properties"][key];
            assert!(leaf["description"].as_str().is_some_and(|text| !text.is_empty()), "{section}.{key}");
            keys += 1;
        }
    }
    assert!(keys > 15, "{keys}");
}

#[test]
fn explanations_of_the_shipped_orders() {
    let folder = Folder::new(&[]);
    folder.copy_from_project("blocklists");
    let mut transcript = String::new();
    for line in [
        "explain Sinkscope-Sample-3.DDNS.net. --at 2026-01-01",
        "explain sinkscope-sample-3.ddns.net --type AAAA --client 192.0.2.7 --at 2026-01-01",
        "explain sinkscope-sample-3.ddns.net --type HTTPS --at 2026-01-01",
        "explain sinkscope-sample-3.ddns.net --at 2014-06-29",
        "explain sinkscope-lapsed-1.3utilities.com --at 2026-01-01",
        "explain sinkscope-lapsed-1.3utilities.com --at 2014-07-01",
        "explain innocent.ddns.net --at 2026-01-01",
        "explain ddns.net --at 2026-01-01",
        "explain child.sinkscope-sample-3.ddns.net --at 2026-01-01",
        "explain sinkscope-s\u{e4}mple-36.noip.me --at 2026-01-01",
        "explain a.subtree.sinkscope.example --at 2026-01-01",
        "explain below.sinkscope.example --at 2026-01-01",
        "explain innocent.zone.example --at 2026-01-01",
        "explain nxdomain.action.example --at 2026-01-01",
        "explain tcp-only.action.example --at 2026-01-01",
        "explain observe.action.example --at 2026-01-01",
        "explain passthru.action.example --at 2026-01-01",
        "explain sinkscope-sample-3.ddns.net --at 2026-01-01 --json",
    ] {
        let ended = run(&folder, &line.split(' ').collect::<Vec<_>>());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{line}");
        show(&mut transcript, line, &ended);
        transcript.push('\n');
    }
    let clean = run(&folder, &["check"]);
    assert_eq!((clean.code, clean.err.as_str()), (Some(0), ""));
    show(&mut transcript, "check", &clean);
    golden("explain.txt", &transcript);
}

#[test]
fn what_is_explained_is_what_happens() {
    let folder = Folder::new(&[]);
    folder.copy_from_project("blocklists");
    let upstream = Mock::start();
    let upstream_addr = upstream.addr().to_string();
    let args = ["--listen", "127.0.0.1:0", "--upstream", &upstream_addr, "--orders", "blocklists"];
    let program = Program::serve(&folder, &args);
    for (name, verdict, shown) in [
        ("sinkscope-sample-3.ddns.net", "sinkhole", "NOERROR 0.0.0.0 EDE16 EDE4"),
        ("innocent.ddns.net", "clear", ""),
        ("exact.sinkscope.example", "sinkhole", "NOERROR 0.0.0.0 EDE15 EDE4"),
        ("child.exact.sinkscope.example", "clear", ""),
        ("a.subtree.sinkscope.example", "sinkhole", "NOERROR 0.0.0.0 EDE15 EDE4"),
        ("below.sinkscope.example", "clear", ""),
        ("a.below.sinkscope.example", "sinkhole", "NOERROR 0.0.0.0 EDE15 EDE4"),
        ("a.zone.example", "sinkhole", "NOERROR 0.0.0.0 EDE15 EDE4"),
        ("innocent.zone.example", "clear", ""),
        ("sinkhole.action.example", "sinkhole", "NOERROR 192.0.2.1 EDE15 EDE4"),
        ("nodata.action.example", "nodata", "NOERROR EDE15"),
        ("nxdomain.action.example", "nxdomain", "NXDOMAIN EDE15"),
        ("refused.action.example", "refused", "REFUSED EDE15"),
        ("tcp-only.action.example", "tcp-only", "NOERROR TC"),
        ("observe.action.example", "clear", ""),
        ("passthru.action.example", "passthru", ""),
    ] {
        let explained = run(&folder, &["explain", name, "--json"]);
        let explained: Value = serde_json::from_str(&explained.out).expect("JSON");
        assert_eq!(explained["verdict"], verdict, "{name}");
        let truth = format!("NOERROR {}", support::flood::address_of(name));
        let expected = if shown.is_empty() { truth.as_str() } else { shown };
        let reply = wire::udp(program.addr(), name, A);
        assert_eq!(reply.show(), expected, "{name}");
        if let Some(ttl) = explained["ttl"].as_u64() {
            assert!(reply.ttls.iter().all(|found| u64::from(*found) == ttl), "{name}: {reply:?}");
        }
        if reply.is_blocked() {
            let order = explained["decides"]["order"].as_str().expect("an order");
            assert!(reply.ede[0].1.contains(order), "{name}: {reply:?}");
        }
    }
    // No answer at all, and the truth by the other transport.
    let silent = wire::client_of(program.addr());
    silent.send(&wire::query(1, "drop.action.example", A)).expect("sent");
    silent.send(&wire::query(2, "nodata.action.example", A)).expect("sent");
    assert_eq!(wire::receive(&silent).expect("the second reply").id, 2);
    silent.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
    assert_eq!(wire::receive(&silent), None);
    let truth = wire::tcp(program.addr(), "tcp-only.action.example", A);
    assert_eq!(truth.addresses, [support::flood::address_of("tcp-only.action.example")]);
}

/// What a run came to, as if on a terminal.
fn show(transcript: &mut String, line: &str, ended: &Ended) {
    let _ = writeln!(transcript, "$ sinkscope {line}");
    let _ = write!(transcript, "{}{}", ended.out, ended.err);
    let code = ended.code.expect("no signal ended it");
    if code != 0 {
        let _ = writeln!(transcript, "(exit code {code})");
    }
}

/// The same from what the system says.
fn ended(folder: &Folder, output: &Output) -> Ended {
    let text = |octets: &[u8]| folder.anonymous(&String::from_utf8_lossy(octets));
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
