//! `sinkscope query`: what a client is told, and what was behind it.

mod support;

use serde_json::Value;
use support::authority::{Authority, Reply};
use support::flood::{Mock, address_of};
use support::process::{Ended, Folder, Program, run};
use support::wire::A;

const CONFIG: &str = "[listen]\nudp = [\"127.0.0.1:0\"]\n[orders]\npaths = [\"orders\"]\nstate = \"state\"\n\
                      [[clients]]\nname = \"default\"\nfilter = [\"AAAA\"]\n";
const ORDER: &str = "id = \"court-1\"\ntitle = \"A title\"\nkind = \"court\"\naddresses = [\"192.0.2.10\"]\n\
                     [[scope]]\nmatch = \"exact\"\nnames = [\"evil.ddns.net\"]\n";

/// A server, and where to ask it.
struct Bench {
    folder: Folder,
    program: Program,
}

impl Bench {
    /// One that forwards there.
    fn of(upstream: std::net::SocketAddr) -> Bench {
        let folder = Folder::new(&[("orders/a.toml", ORDER), ("sinkscope.toml", CONFIG)]);
        let program = Program::serve(&folder, &["--upstream", &upstream.to_string()]);
        Bench { folder, program }
    }

    /// Runs `query` with these words, at this server and its control API.
    fn query(&self, words: &str) -> Ended {
        let server = self.program.addr().to_string();
        let flags = ["--server", &server, "--state", "state"];
        let words = ["query"].into_iter().chain(words.split_whitespace()).chain(flags);
        run(&self.folder, &words.collect::<Vec<_>>())
    }

    /// The same as JSON, with the exit code.
    fn json(&self, words: &str) -> (Option<i32>, Value) {
        let ended = self.query(&format!("{words} --json"));
        (ended.code, serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}")))
    }
}

/// The value of a key in lines for people.
fn line<'t>(text: &'t str, key: &str) -> &'t str {
    let found = text.lines().find_map(|line| line.strip_prefix(&format!("  {key} ")));
    found.unwrap_or_else(|| panic!("no {key} in {text}")).trim()
}

#[test]
fn a_query_says_what_was_behind_its_answer() {
    let upstream = Mock::start();
    let bench = Bench::of(upstream.addr());
    let address = address_of("good.ddns.net").to_string();
    // Fetched, then cached; the upstream that is asked, and how it is.
    let first = bench.query("good.ddns.net");
    assert_eq!((first.code, line(&first.out, "source")), (Some(0), "fetched"), "{first:?}");
    assert_eq!(line(&first.out, "status"), "NOERROR (rd ra)");
    assert!(
        line(&first.out, "upstream").starts_with(&format!("udp://{} up", upstream.addr())),
        "{}",
        first.out
    );
    assert!(line(&first.out, "time").contains(" ms, by UDP, "), "{}", first.out);
    assert!(
        first.out.ends_with(&format!("answer\n  good.ddns.net.  300  IN  A  {address}\n")),
        "{}",
        first.out
    );
    let again = bench.query("GOOD.ddns.net A --tcp");
    assert_eq!((again.code, line(&again.out, "source")), (Some(0), "cached"), "{again:?}");
    assert!(line(&again.out, "time").contains(" ms, by TCP, "), "{}", again.out);
    // Sinkholed: by which order, and what is said with it.
    let sunk = bench.query("evil.ddns.net");
    assert_eq!((sunk.code, line(&sunk.out, "source")), (Some(0), "forged"), "{sunk:?}");
    assert_eq!(line(&sunk.out, "order"), "court-1 (A title): court, sinkhole, evil.ddns.net (exact)");
    assert_eq!(line(&sunk.out, "ede"), "16 Censored: order court-1");
    assert!(
        sunk.out.contains("\n  ede       4 Forged Answer\n") && !sunk.out.contains("upstream"),
        "{}",
        sunk.out
    );
    // For machines.
    let (code, shown) = bench.json("evil.ddns.net");
    assert_eq!(
        (code, &shown["source"], &shown["order"]["order"]),
        (Some(0), &"forged".into(), &"court-1".into())
    );
    assert_eq!(shown["ede"][0], serde_json::json!({"code": 16, "name": "Censored", "text": "order court-1"}));
    let expected = serde_json::json!([
        {"name": "evil.ddns.net.", "ttl": 10, "class": "IN", "type": "A", "data": "192.0.2.10"}
    ]);
    assert_eq!(shown["answer"], expected);
    assert!(shown["time_us"].as_u64().is_some_and(|micros| micros > 0), "{shown}");
    // Answered here, and kept back.
    let local = bench.query("localhost A");
    assert_eq!((local.code, line(&local.out, "source")), (Some(0), "local"), "{local:?}");
    let filtered = bench.query("good.ddns.net AAAA");
    assert_eq!((filtered.code, line(&filtered.out, "source")), (Some(1), "filtered"), "{filtered:?}");
    assert_eq!(line(&filtered.out, "ede"), "17 Filtered: AAAA is filtered for this client");
    assert!(line(&filtered.out, "note").starts_with("AAAA is filtered for this client"), "{}", filtered.out);
}

#[test]
fn what_is_no_answer_ends_with_1() {
    let mut upstream = Authority::start();
    let bench = Bench::of(upstream.addr());
    upstream.script("gone.ddns.net", A, Reply::nxdomain().soa());
    upstream.script("long.ddns.net", A, Reply::new().a([192, 0, 2, 1].into()).truncated_over_udp());
    let (code, gone) = bench.json("gone.ddns.net");
    assert_eq!(
        (code, &gone["status"], &gone["source"]),
        (Some(1), &"NXDOMAIN".into(), &"fetched".into()),
        "{gone}"
    );
    assert_eq!(gone["authority"][0]["type"], "SOA", "{gone}");
    assert_eq!(bench.json("long.ddns.net").0, Some(0));
    upstream.stop();
    let (code, failed) = bench.json("other.ddns.net");
    assert_eq!((code, &failed["status"], &failed["source"]), (Some(1), &"SERVFAIL".into(), &"failed".into()));
    assert!(failed["ede"][0]["code"].is_u64(), "{failed}");
    assert_eq!(bench.json("other.ddns.net").1["source"], "cached-failure");
    // Without the control API there is an answer still, and it is said that nobody knows where it is from.
    let server = bench.program.addr().to_string();
    let alone = run(&bench.folder, &["query", "evil.ddns.net", "--server", &server]);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert!(line(&alone.out, "source").starts_with("not known: "), "{}", alone.out);
}

#[test]
fn what_cannot_be_asked_says_what_to_do() {
    let folder = Folder::new(&[("sinkscope.toml", "[listen]\nudp = [\"127.0.0.1:0\"]\n")]);
    for (words, code, said) in [
        (&["query", "a.example", "BOGUS"][..], 2, "unknown type \"BOGUS\""),
        (&["query", "a..example"], 2, "invalid value 'a..example'"),
        (&["query"], 2, "<NAME>"),
        (&["query", "a.example", "--server", "nowhere"], 2, "write 192.0.2.1, 127.0.0.1:5300 or [::1]:5300"),
        (&["query", "a.example"], 2, "the configuration has no listener with a port"),
        (
            &["query", "a.example", "--server", "127.0.0.1:1"],
            1,
            "127.0.0.1:1: nobody listens there\n  hint: ",
        ),
        (&["query", "a.example", "--server", "127.0.0.1:1", "--tcp"], 1, "127.0.0.1:1: nobody listens there"),
    ] {
        let ended = run(&folder, words);
        assert_eq!(ended.code, Some(code), "{words:?}: {}", ended.err);
        assert!(ended.err.contains(said), "{words:?}: {}", ended.err);
    }
}
