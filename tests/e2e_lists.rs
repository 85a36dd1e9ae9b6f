//! Lists and policy zones served by the running program: fetched, kept, refused, and back after a restart without network.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::authority::{Authority, Data, Reply, ipv4_of};
use support::process::{Folder, Program, run};
use support::wire::{self, A};

/// What a name has that a list sinkholes.
const BLOCKED: &str = "NOERROR 0.0.0.0 EDE15 EDE4";
/// What a name has that a policy zone takes away: the zone's SOA stands in the additional section.
const DENIED: &str = "NXDOMAIN EDE15";

/// How long anything may take: a file is at rest after two seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of one file, whatever is asked for.
struct Site {
    addr: SocketAddr,
    /// Status line and body; none hangs up at once.
    page: Arc<Mutex<Option<(&'static str, String)>>>,
}

impl Site {
    fn start(body: &str) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let page = Arc::new(Mutex::new(Some(("200 OK", body.to_owned()))));
        let served = page.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                while lines.next().is_some_and(|line| !line.is_empty()) {}
                let page = served.lock().expect("no panic").clone();
                if let Some((status, body)) = page {
                    let head = format!(
                        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n",
                        body.len()
                    );
                    let _ = (&stream).write_all(format!("{head}\r\n{body}").as_bytes());
                }
            }
        });
        Site { addr, page }
    }

    fn say(&self, status: &'static str, body: &str) {
        *self.page.lock().expect("no panic") = Some((status, body.to_owned()));
    }
}

/// A configuration with a list from there and a zone from a file.
fn config(site: SocketAddr) -> String {
    format!(
        "[orders]\npaths = []\nstate = \"state\"\n\n[[lists]]\nname = \"ads\"\nsource = \"http://{site}/ads.txt\"\n\
         format = \"adblock\"\n\n[[lists]]\nname = \"zone\"\nsource = \"zone.rpz\"\nformat = \"rpz\"\n"
    )
}

const ZONE: &str =
    "$TTL 60\n$ORIGIN rpz.test.\n@ SOA ns host 1 3600 600 86400 60\n@ NS localhost.\nbad.example CNAME .\n";
const ADS: &str =
    "! ads\n||one.example^\n||two.example^\n@@||free.one.example^\n||three.example^$third-party\n";

/// Starts it on a free port.
fn start(folder: &Folder, authority: &Authority) -> Program {
    let upstream = authority.addr().to_string();
    Program::serve(folder, &["--listen", "127.0.0.1:0", "--upstream", &upstream])
}

/// The lists as the program's own command tells of them.
fn lists(folder: &Folder, words: &[&str]) -> Vec<Value> {
    let ended = run(folder, &[&["lists"], words, &["--state", "state", "--json"]].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let shown: Value = serde_json::from_str(&ended.out).expect("JSON");
    shown["lists"].as_array().expect("lists").clone()
}

/// What each of these names has.
fn shown(program: &Program, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| wire::udp(program.addr(), name, A).show()).collect()
}

#[test]
fn a_bad_download_never_takes_a_list_out_of_force() {
    let site = Site::start(ADS);
    let folder = Folder::new(&[("sinkscope.toml", &config(site.addr)), ("zone.rpz", ZONE)]);
    let authority = Authority::start();
    let mut program = start(&folder, &authority);
    program.wait_for(0, "order ads added");
    let names = ["one.example", "x.two.example", "free.one.example", "bad.example", "good.example"];
    let truth = |name: &str| format!("NOERROR {}", ipv4_of(name));
    let expected =
        vec![BLOCKED.to_owned(), BLOCKED.to_owned(), truth(names[2]), DENIED.to_owned(), truth(names[4])];
    assert_eq!(shown(&program, &names), expected);
    let fresh = lists(&folder, &[]);
    assert_eq!(
        (&fresh[0]["state"], &fresh[0]["entries"], &fresh[0]["refused"]),
        (&"fresh".into(), &2.into(), &1.into())
    );
    for (what, status, body, said) in [
        ("a server's error", "404 Not Found", "", "404"),
        ("a page", "200 OK", "<!doctype html><html>moved</html>", "web page"),
        ("nothing", "200 OK", "", "empty"),
        ("no rule that can be used", "200 OK", "one.example##.banner\n", ""),
    ] {
        site.say(status, body);
        let failed = lists(&folder, &["refresh", "ads"]);
        let error = failed[0]["last_error"].as_str().unwrap_or_default();
        assert!(
            failed[0]["state"] == "failed" && !error.is_empty() && error.contains(said),
            "{what}: {failed:?}"
        );
        assert_eq!(shown(&program, &names), expected, "{what}");
    }
    // kill -9, and nobody to fetch from.
    *site.page.lock().expect("no panic") = None;
    program.signal("KILL");
    program.wait();
    let program = start(&folder, &authority);
    assert_eq!(shown(&program, &names), expected, "after a restart without network");
    // And a good one takes its place.
    site.say("200 OK", "||two.example^\n||four.example^\n");
    let mark = program.mark();
    assert_eq!(lists(&folder, &["refresh", "ads"])[0]["state"], "fresh");
    program.wait_for(mark, "order ads changed");
    assert_eq!(shown(&program, &["one.example", "four.example"]), [truth("one.example"), BLOCKED.to_owned()]);
}

/// A list as people publish it: its settings, its lines, what it takes, and what it leaves alone.
struct Published {
    what: &'static str,
    settings: &'static str,
    lines: &'static str,
    takes: &'static [&'static str],
    leaves: &'static [&'static str],
}

/// Lists that mean more, or less, than a quick look at their lines has it.
const PUBLISHED: [Published; 13] = [
    Published {
        what: "an exact exception",
        settings: "format = \"adblock\"",
        lines: "||sterra.example^\n@@|sterra.example^|\n",
        takes: &["x.sterra.example"],
        leaves: &["sterra.example"],
    },
    Published {
        what: "an exception by pattern",
        settings: "format = \"adblock\"",
        lines: "||trbo.example^\n@@||api-v*.trbo.example^|\n",
        takes: &["trbo.example", "api.trbo.example"],
        leaves: &["api-v4.trbo.example"],
    },
    Published {
        what: "an exception by suffix",
        settings: "format = \"adblock\"",
        lines: "||metric.gs.example^\n@@-ds.metric.gs.example^|\n",
        takes: &["metric.gs.example"],
        leaves: &["x-ds.metric.gs.example"],
    },
    Published {
        what: "an exception for some",
        settings: "format = \"adblock\"",
        lines: "||some.example^\n@@||ok.some.example^$client=192.0.2.1\n",
        takes: &["some.example"],
        leaves: &["ok.some.example"],
    },
    Published {
        what: "an exception for the head of a chain",
        settings: "format = \"adblock\"",
        lines: "||bad.example^\n@@||shop.good.example^\n",
        takes: &["trk.bad.example", "www.good.example"],
        leaves: &["shop.good.example"],
    },
    Published {
        what: "patterns and names, and nothing said",
        settings: "",
        lines: "/^ads[0-9]*\\./\n/banner/\nt.co\nx.com\n",
        takes: &[],
        leaves: &["www.microsoft.com", "netflix.com"],
    },
    Published {
        what: "a pattern and a name, and what names are",
        settings: "match = \"exact\"",
        lines: "/^ads[0-9]*[.]/\nt.example\n",
        takes: &["t.example", "ads1.example"],
        leaves: &["innocent.example"],
    },
    Published {
        what: "patterns with Pi-hole's options",
        settings: "format = \"regex\"",
        lines: "^ads[0-9]*\\.;querytype=A\nbanner;reply=nxdomain\n",
        takes: &["banner.example"],
        leaves: &["ads1.example"],
    },
    Published {
        what: "a pattern between slashes among names",
        settings: "format = \"domains\"\nmatch = \"exact\"",
        lines: "/^c[0-9]\\.example$/\nx.example\n",
        takes: &["c1.example", "x.example"],
        leaves: &["cc.example"],
    },
    Published {
        what: "wildcards",
        settings: "format = \"wildcard\"\nmatch = \"subtree\"",
        lines: "*.ads.roku.example\n",
        takes: &["ads.roku.example", "x.ads.roku.example"],
        leaves: &["roku.example"],
    },
    Published {
        what: "exceptions under passthru",
        settings: "format = \"adblock\"\naction = \"passthru\"\n\n[[lists]]\nname = \"more\"\nsource = \"more.txt\"\n\
                   format = \"domains\"\nmatch = \"subtree\"",
        lines: "@@||free.example^\n@@|one.example^\n",
        takes: &["x.one.example"],
        leaves: &["free.example", "x.free.example", "one.example"],
    },
    Published {
        what: "the machine's own names",
        settings: "format = \"domains\"\nmatch = \"exact\"",
        lines: "localhost\nx.example\n",
        takes: &["x.example"],
        leaves: &["localhost"],
    },
    Published {
        what: "a pattern that matches the machine's own names",
        settings: "format = \"regex\"",
        lines: "^local\n",
        takes: &["local.example"],
        leaves: &["localhost", "x.localhost"],
    },
];

#[test]
fn published_lists_take_what_they_mean_and_no_more() {
    let authority = Authority::start();
    for name in ["shop.good.example", "www.good.example"] {
        let chain = Reply::new().cname("trk.bad.example");
        authority.script(name, A, chain.record("trk.bad.example", Data::A(ipv4_of("trk.bad.example"))));
    }
    let more = "free.example\none.example\n";
    let mut wrong = Vec::new();
    for Published { what, settings, lines, takes, leaves } in PUBLISHED {
        let config =
            format!("[orders]\npaths = []\n\n[[lists]]\nname = \"l\"\nsource = \"l.txt\"\n{settings}\n");
        let folder = Folder::new(&[("sinkscope.toml", &config), ("l.txt", lines), ("more.txt", more)]);
        let program = start(&folder, &authority);
        for (names, taken) in [(takes, true), (leaves, false)] {
            for name in names {
                let reply = wire::udp(program.addr(), name, A).show();
                if reply.contains("EDE15") != taken {
                    wrong.push(format!("{what}: {name}: {reply}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_was_assumed_of_a_list_is_said() {
    let config = "[orders]\npaths = []\nstate = \"state\"\n\n[[lists]]\nname = \"w\"\nsource = \"w.txt\"\n\n[[lists]]\nname = \"d\"\n\
                  source = \"d.txt\"\nmatch = \"exact\"\n\n[[lists]]\nname = \"e\"\nsource = \"e.txt\"\n";
    let folder = Folder::new(&[
        ("sinkscope.toml", config),
        ("w.txt", "*.ads.example\n"),
        ("d.txt", "t.co\n/banner/\nlocalhost\n"),
        ("e.txt", "@@||a.example^\n"),
    ]);
    let wildcard = "wildcard by its first lines (*.x takes what is below x, not x)";
    let domains = "domains by its first lines (names are exact)";
    let checked = run(&folder, &["check"]);
    for said in [
        format!("list w: {wildcard}, 1 entry, in force"),
        format!("list d: {domains}, 2 entries, 1 names of the machine itself skipped, in force"),
        "has 1 exceptions, and nothing that they could spare from".to_owned(),
        "action = \"passthru\" makes exceptions the list".to_owned(),
    ] {
        assert!(checked.out.contains(&said), "{said}\n{}", checked.out);
    }
    let program = start(&folder, &Authority::start());
    program.wait_for(0, &format!("list w is read as {wildcard}"));
    let shown = lists(&folder, &[]);
    assert_eq!((&shown[0]["read_as"], &shown[1]["read_as"]), (&wildcard.into(), &domains.into()));
}

#[test]
fn a_restart_takes_lists_and_zones_from_the_snapshot_unless_they_changed() {
    let site = Site::start(ADS);
    let folder = Folder::new(&[("sinkscope.toml", &config(site.addr)), ("zone.rpz", ZONE)]);
    let authority = Authority::start();
    let mut program = start(&folder, &authority);
    program.wait_for(0, "order ads added");
    let names = ["one.example", "x.two.example", "free.one.example", "bad.example", "other.example"];
    let truth = |name: &str| format!("NOERROR {}", ipv4_of(name));
    let expected =
        vec![BLOCKED.to_owned(), BLOCKED.to_owned(), truth(names[2]), DENIED.to_owned(), truth(names[4])];
    assert_eq!(shown(&program, &names), expected);
    let snapshot = folder.file("state/orders.snapshot");
    let deadline = Instant::now() + PATIENCE;
    while !snapshot.exists() && Instant::now() < deadline {
        thread::yield_now();
    }
    *site.page.lock().expect("no panic") = None;
    program.signal("KILL");
    program.wait();
    let mut program = start(&folder, &authority);
    program.wait_for(0, "the compiled orders that were kept are in force");
    assert_eq!(shown(&program, &names), expected, "from the snapshot");
    let told = lists(&folder, &[]);
    assert_eq!((&told[0]["entries"], &told[0]["read_as"]), (&2.into(), &"adblock".into()), "{told:?}");
    program.signal("KILL");
    program.wait();
    // Behind its back.
    fs::write(folder.file("zone.rpz"), ZONE.replace("bad.example", "other.example")).expect("a zone");
    let program = start(&folder, &authority);
    program.wait_for(0, "zone.rpz has changed since it was written");
    let changed = vec![
        expected[0].clone(),
        expected[1].clone(),
        expected[2].clone(),
        truth(names[3]),
        DENIED.to_owned(),
    ];
    assert_eq!(shown(&program, &names), changed, "read anew");
}
