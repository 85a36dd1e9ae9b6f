//! Lists and policy zones served by the running program: fetched, kept, refused, and back after a restart without network.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use support::authority::{Authority, ipv4_of};
use support::process::{Folder, Program, run};
use support::wire::{self, A};

/// What a name has that a list sinkholes.
const BLOCKED: &str = "NOERROR 0.0.0.0 EDE15 EDE4";
/// What a name has that a policy zone takes away: the zone's SOA stands in the additional section.
const DENIED: &str = "NXDOMAIN EDE15";

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
