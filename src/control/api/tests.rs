//! The API over real sockets, with orders, lists and pauses made up: what each request gets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::guard::Tokens;
use super::*;
use crate::clients::Clients;
use crate::clients::Group;
use crate::clock::Now;
use crate::control::address::Address;
use crate::control::journal::Journal;
use crate::orders::{LoadedOrder, Loader, Settings};
use crate::policy::{Policy, Verdict, View};
use crate::resolver::outcome::Source;
use crate::resolver::{Current, Generation};

/// What time it is: 2026-01-01.
const AT: UnixSeconds = 1_767_225_600;
/// A token.
const TOKEN: &str = "0123456789abcdef0123";

/// A clock that stands.
struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { mono: std::time::Duration::from_secs(90), wall: AT }
    }
}

/// Two lists, one of which cannot be fetched.
struct SomeLists;

impl Lists for SomeLists {
    fn lists(&self, _at: UnixSeconds) -> Vec<ListStatus> {
        let list = |name: &str, last_error: &str| ListStatus {
            name: name.into(),
            age_s: Some(60),
            entries: 7,
            last_error: last_error.into(),
            ..ListStatus::default()
        };
        vec![list("ads", ""), list("mal\"w\\a\nre", "404 Not Found")]
    }

    fn refresh(&self, name: Option<&str>, _allow_shrink: bool) -> Result<Vec<String>, String> {
        match name {
            None => Ok(vec!["ads".into(), "mal\"w\\a\nre".into()]),
            Some("ads") => Ok(vec!["ads".into()]),
            Some(other) => Err(format!("there is no list \"{other}\"")),
        }
    }
}

/// Pauses for everybody and for kids.
#[derive(Default)]
struct SomePauses(Mutex<Vec<PauseStatus>>);

impl Pauses for SomePauses {
    fn pauses(&self, _now: Now) -> Vec<PauseStatus> {
        self.0.lock().unwrap().clone()
    }

    fn pause(&self, group: Option<&str>, seconds: u32, why: &str, now: Now) -> Result<(), NotPaused> {
        self.resume(group)?;
        let group = group.map(str::to_string);
        let until = now.wall + i64::from(seconds);
        self.0.lock().unwrap().push(PauseStatus { group, until, why: why.into() });
        Ok(())
    }

    fn resume(&self, group: Option<&str>) -> Result<(), NotPaused> {
        if group.is_some_and(|group| group != "kids") {
            return Err(NotPaused::Unknown("there is no such group".into()));
        }
        self.0.lock().unwrap().retain(|pause| pause.group.as_deref() != group);
        Ok(())
    }
}

/// A server of the API and nothing else.
struct Served {
    dir: tempfile::TempDir,
    address: Address,
    policy: Arc<Current>,
    reloads: Mutex<mpsc::Receiver<()>>,
    _runtime: Runtime,
}

/// What is in force: one court order of three names, one that observes, one that has expired.
fn active(policy: Arc<Current>, journal: Journal, dir: &std::path::Path) -> ActivePolicy {
    let orders = dir.join("orders");
    std::fs::create_dir_all(&orders).unwrap();
    let scope = |names: &str, more: &str| format!("{more}\n[[scope]]\nmatch = 'exact'\nnames = [{names}]\n");
    for (file, text) in [
        (
            "a.toml",
            scope(
                "'evil.ddns.net', 'worse.ddns.net', 'bad.no-ip.org'",
                "id = 'a-1'\nttl = 60\nkind = 'court'\nreview_by = 2025-01-01",
            ),
        ),
        ("b.toml", scope("'seen.example'", "id = 'b/2'\naction = 'observe'")),
        ("c.toml", scope("'old.example'", "id = 'c'\nexpires = 2020-01-01")),
    ] {
        std::fs::write(orders.join(file), text).unwrap();
    }
    let loaded = Loader::new(Settings { paths: vec![orders], ..Settings::default() }).load();
    assert_eq!(loaded.orders, 3, "{:?}", loaded.problems);
    let active = ActivePolicy::new(policy, journal);
    let epoch = active.next_epoch();
    let held: Vec<Arc<LoadedOrder>> = loaded.held_orders().cloned().collect();
    active.put(Arc::new(Policy::compile(&loaded.zones, &loaded.protected, epoch)), held);
    active
}

/// One group, "guests" of 192.0.2.0/24, whom no policy zone concerns that may be left out.
fn groups() -> Clients {
    let networks = vec!["192.0.2.0/24".parse().unwrap()];
    let guests = Group::plain("guests", networks, View::NONE);
    Clients::new(&[guests])
}

/// How a server differs from a plain one on a Unix socket.
#[derive(Clone, Copy, Default)]
struct Plan {
    tcp: bool,
    token: bool,
    state: bool,
    bare: bool,
}

impl Served {
    fn new(plan: Plan) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let policy = Current::of(Policy::not_ready());
        let journal = match plan.state {
            true => Journal::open(dir.path(), AT).unwrap().0,
            false => Journal::in_memory(),
        };
        policy.change(|serving| Generation { clients: Arc::new(groups()), ..serving.clone() });
        let (reload, reloads) = mpsc::channel(1);
        let api = Api {
            active: Arc::new(active(policy.clone(), journal, dir.path())),
            clock: Arc::new(Still),
            started: Now { mono: std::time::Duration::ZERO, wall: AT - 90 },
            kept: None,
            evidence: Some(Box::new(|| types::EvidenceShown {
                seen: 9,
                written: 7,
                coarse: [("networks".to_owned(), 2)].into(),
                ..types::EvidenceShown::default()
            })),
            flushed: Arc::default(),
            reload,
            numbers: Box::new(|| Numbers {
                resolver: [
                    ("queries", None, 12),
                    ("queries_by_stream", None, 5),
                    ("cached", Some(Source::Cached), 4),
                ]
                .map(|(name, source, value)| Reading { name, help: "It is \"so\".", source, value })
                .into(),
                actions: vec![("sinkhole", 3)],
                rcodes: vec![("NOERROR".into(), 9), ("NXDOMAIN".into(), 2)],
                hits: vec![("a-1".into(), 6)],
                waits: Times { counts: [1; 15], sum_us: 2_500 },
                queues: Queues { waiting: 1, max_waiting: 2, connections: 3, max_connections: 4 },
                listeners: vec![("udp_received", "Datagrams received.", 11)],
                upstreams: vec![UpstreamShown {
                    server: "udp://192.0.2.1:53".into(),
                    zones: [".", "fritz.box", "lan", "home.arpa", "10.in-addr.arpa"].map(String::from).into(),
                    groups: vec!["guests".into(), "kids".into()],
                    asked: 5,
                    extra: 2,
                    failed: 1,
                    under_way: 1,
                    full: 7,
                    probes: 3,
                    guesses: 0,
                    cookies: true,
                    cookies_missing: 6,
                    up: false,
                    back_for_s: Some(7),
                    last_failure: Some("refused the connection".into()),
                    last_failure_s: Some(1),
                    failures: [("refused".to_owned(), 1), ("timeout".to_owned(), 0)].into(),
                    reply_us: Some(1500),
                    times: Times { counts: [0; 15], sum_us: 0 },
                }],
                query_log: Some(crate::querylog::Counts {
                    written: 9,
                    dropped: 2,
                    outlets: vec![crate::querylog::OutletCounts {
                        name: "file",
                        written: 8,
                        lost: 1,
                        trouble: Some("no space".into()),
                    }],
                }),
                network_changes: 4,
                outages: vec!["no server answers: udp://192.0.2.1:53".into()],
                cache: CacheShown { entries: 9, octets: 900, max_octets: 1000 },
                local: LocalCounts {
                    zones: 1,
                    records: 8,
                    lease_names: 2,
                    refused_names: 3,
                    files: 4,
                    bad_files: 5,
                },
            }),
            journal_problems: Vec::new(),
            health: Arc::default(),
            refused: Arc::default(),
            reloads: Arc::default(),
            chronicle: None,
            lists: (!plan.bare).then(|| Arc::new(SomeLists) as Arc<dyn Lists>),
            pauses: (!plan.bare).then(|| Arc::new(SomePauses::default()) as Arc<dyn Pauses>),
            canaries: Arc::default(),
            recent: Recent::default(),
            query_log: None,
        };
        let tokens = plan.token.then(|| {
            let path = dir.path().join("tokens");
            std::fs::write(&path, format!("ops:{TOKEN}\n")).unwrap();
            Arc::new(arc_swap::ArcSwap::from_pointee(Tokens::read(&path).unwrap()))
        });
        let address = match plan.tcp {
            true => "127.0.0.1:0".parse().unwrap(),
            false => Address::Unix(dir.path().join("run/control.sock")),
        };
        let bound = listen::bind(&address).unwrap();
        let address = bound.address().unwrap();
        let router = router(Arc::new(api), Arc::new(Guard::new(&address, tokens)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(listen::serve(bound, router, Arc::default()));
        Served { dir, address, policy, reloads: Mutex::new(reloads), _runtime: runtime }
    }

    /// Sends a request with these headers and gives back status, headers and body.
    fn send(&self, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String, String) {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|header| request += &format!("{header}\r\n"));
        request += &format!("\r\n{body}");
        let mut answer = String::new();
        match &self.address {
            Address::Unix(path) => exchange(UnixStream::connect(path).unwrap(), &request, &mut answer),
            Address::Tcp(addr) => exchange(TcpStream::connect(addr).unwrap(), &request, &mut answer),
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_string())
    }

    /// The same with the headers that a plain client sends.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, body) =
            self.send(method, path, &["Host: localhost", "Content-Type: application/json"], body);
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Whether a query for a name would be acted on.
    fn captures(&self, name: &str) -> bool {
        matches!(self.policy.policy().verdict(&name.parse().unwrap(), AT), Verdict::Act(..))
    }
}

/// Sends and reads until the other side closes.
fn exchange(mut stream: impl Read + Write, request: &str, answer: &mut String) {
    // It may have been refused and closed before all of it was sent.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_string(answer);
}

#[test]
fn what_each_request_gets() {
    let served = Served::new(Plan::default());
    // Method, path, body, status; a JSON pointer into the answer and what is there. They build on each other.
    let cases = [
        ("GET", "/v1/orders", "", 200, "/orders/0/id", json!("a-1")),
        ("GET", "/v1/orders", "", 200, "/orders/0/state", json!("in-force")),
        ("GET", "/v1/orders", "", 200, "/orders/0/bound_s", json!(60)),
        ("GET", "/v1/orders", "", 200, "/orders/0/review_due", json!(true)),
        ("GET", "/v1/orders", "", 200, "/orders/2/state", json!("lapsed")),
        ("GET", "/v1/orders/a-1", "", 200, "/names", json!(3)),
        ("GET", "/v1/orders/b%2F2", "", 200, "/action", json!("observe")),
        ("GET", "/v1/orders/nobody", "", 404, "/error", json!("there is no order \"nobody\"")),
        (
            "GET",
            "/v1/orders/a1",
            "",
            404,
            "/hint",
            json!("did you mean \"a-1\"; for an order that is yet to come, set `ahead`"),
        ),
        (
            "POST",
            "/v1/orders/a-1/lift",
            "{\"names\": [\"EVIL.ddns.net.\"], \"why\": \"settled\"}",
            200,
            "/records/0/names/name",
            json!("evil.ddns.net"),
        ),
        ("GET", "/v1/orders/a-1", "", 200, "/statements/0/standing", json!("lifted")),
        ("GET", "/v1/orders/a-1", "", 200, "/statements/0/why", json!("settled")),
        ("GET", "/v1/orders", "", 200, "/orders/0/exceptions", json!(1)),
        ("POST", "/v1/orders/a-1/lift", "{\"zones\": [\"no-ip.org\"]}", 200, "/bound_s", json!(60)),
        (
            "POST",
            "/v1/orders/a-1/lift",
            "{\"names\": [\"not-in-it.example\"]}",
            200,
            "/notes/1",
            json!("not-in-it.example is not in it: this changes nothing now"),
        ),
        (
            "POST",
            "/v1/orders/a-1/restore",
            "{\"names\": [\"not-in-it.example\"]}",
            200,
            "/records/0/standing",
            Value::Null,
        ),
        (
            "POST",
            "/v1/orders/a-1/restore",
            "{\"names\": [\"not-in-it.example\"]}",
            200,
            "/notes/0",
            json!("nothing was stated about it: nothing changed"),
        ),
        ("POST", "/v1/orders/a-1/observe", "", 200, "/state", json!("observing")),
        ("POST", "/v1/orders/a-1/observe", "", 200, "/durable", json!(false)),
        ("POST", "/v1/orders/a-1/lift", "{}", 200, "/records/0/from", json!("observing")),
        ("POST", "/v1/orders/a-1/restore", "", 200, "/records/0/from", json!("lifted")),
        ("POST", "/v1/orders/c/activate", "", 200, "/notes/1", json!("it has expired: its file says when")),
        ("GET", "/v1/cache?name=a.example", "", 200, "/answers", json!([])),
        ("GET", "/v1/cache?name=a.example&type=HTTPS", "", 200, "/left_out", json!(0)),
        ("GET", "/v1/cache", "", 400, "/hint", json!("it takes `name` and `type`; `name` must be given")),
        ("GET", "/v1/cache?name=a.example&type=X", "", 422, "/error", json!("unknown type \"X\"")),
        ("GET", "/v1/cache?name=a..b", "", 422, "/hint", json!("write it as example.com")),
        ("GET", "/v1/cache/stats", "", 200, "/caches/0/entries", json!(0)),
        ("GET", "/v1/cache/stats", "", 200, "/kept/file", Value::Null),
        ("POST", "/v1/cache/flush", "{\"all\": true}", 200, "/answers", json!(0)),
        (
            "POST",
            "/v1/cache/flush",
            "{\"name\": \"a.example\", \"subtree\": true}",
            200,
            "/failures",
            json!(0),
        ),
        (
            "POST",
            "/v1/cache/flush",
            "{}",
            422,
            "/hint",
            json!("give `name`, perhaps with `subtree`, or else `all`"),
        ),
        ("POST", "/v1/cache/flush", "{\"name\": \"a\", \"all\": true}", 422, "/error", {
            json!("it must be said what is to be forgotten, and by one means")
        }),
        ("POST", "/v1/orders/new/lift", "", 404, "/error", json!("there is no order \"new\"")),
        ("POST", "/v1/orders/new/lift", "{\"ahead\": true}", 200, "/state", Value::Null),
        ("GET", "/v1/orders", "", 200, "/unknown/0/order", json!("new")),
        ("POST", "/v1/orders/new/restore", "", 200, "/records/0/standing", Value::Null),
        (
            "POST",
            "/v1/orders/a-1/lift",
            "{\"name\": \"x\"}",
            422,
            "/hint",
            json!("/v1/openapi.json describes what this path takes"),
        ),
        (
            "POST",
            "/v1/orders/a-1/lift",
            "lift it",
            422,
            "/hint",
            json!("/v1/openapi.json describes what this path takes"),
        ),
        (
            "POST",
            "/v1/orders/a-1/lift",
            "{\"names\": [\"a..b\"]}",
            422,
            "/hint",
            json!("write it as example.com"),
        ),
        ("GET", "/v1/orders/a-1/lift", "", 405, "/error", json!("this path does not take that method")),
        ("GET", "/v1/journal?order=a-1&limit=1", "", 200, "/records/0/verb", json!("restore")),
        ("GET", "/v1/journal?limit=1", "", 200, "/records/0/order", json!("new")),
        ("GET", "/v1/journal", "", 200, "/records/0/who", json!(own_uid())),
        (
            "GET",
            "/v1/journal?limit=many",
            "",
            400,
            "/hint",
            json!("it takes `order`, `orders_only` and `limit`"),
        ),
        ("GET", "/v1/status", "", 200, "/uptime_s", json!(90)),
        ("GET", "/v1/status", "", 200, "/orders/in-force", json!(2)),
        ("GET", "/v1/status", "", 200, "/resolver/queries", json!(12)),
        ("GET", "/v1/lists", "", 200, "/lists/0/name", json!("ads")),
        ("POST", "/v1/lists/refresh", "", 200, "/lists/1", json!("mal\"w\\a\nre")),
        ("POST", "/v1/lists/refresh", "{\"name\": \"ads\"}", 200, "/lists/0", json!("ads")),
        (
            "POST",
            "/v1/lists/refresh",
            "{\"name\": \"none\"}",
            404,
            "/error",
            json!("there is no list \"none\""),
        ),
        ("GET", "/v1/pauses", "", 200, "/pauses", json!([])),
        (
            "POST",
            "/v1/pause",
            "{\"seconds\": 60, \"group\": \"kids\"}",
            200,
            "/pauses/0/until",
            json!(AT + 60),
        ),
        (
            "POST",
            "/v1/pause",
            "{\"seconds\": 60, \"group\": \"cats\"}",
            404,
            "/error",
            json!("there is no such group"),
        ),
        (
            "POST",
            "/v1/pause",
            "{\"seconds\": 0}",
            422,
            "/error",
            json!("`seconds` is 0; expected 1 to 604800"),
        ),
        ("POST", "/v1/pause", "", 422, "/hint", json!("/v1/openapi.json describes what this path takes")),
        ("POST", "/v1/resume", "{\"group\": \"kids\"}", 200, "/pauses", json!([])),
        (
            "POST",
            "/v1/reload",
            "",
            202,
            "/message",
            json!("orders are read again; the log says what came of it"),
        ),
        (
            "POST",
            "/v1/reload",
            "",
            202,
            "/message",
            json!("orders are read again; the log says what came of it"),
        ),
        ("GET", "/v1/explain?name=WORSE.ddns.net.", "", 200, "/verdict", json!("sinkhole")),
        ("GET", "/v1/explain?name=worse.ddns.net&client=192.0.2.7", "", 200, "/order", json!("a-1")),
        ("GET", "/v1/explain?name=worse.ddns.net&client=192.0.2.7", "", 200, "/group", json!("guests")),
        (
            "GET",
            "/v1/explain?name=seen.example",
            "",
            200,
            "/captures/0/fate",
            json!("observes: counted, changes no answer"),
        ),
        (
            "GET",
            "/v1/explain?name=seen.example&client=::ffff:192.0.2.7",
            "",
            200,
            "/captures/0/fate",
            json!("its policy zone is left out for this client at this time"),
        ),
        ("GET", "/v1/explain?name=old.example", "", 200, "/verdict", json!("clear")),
        ("GET", "/v1/explain?name=old.example&at=2019-06-01", "", 200, "/verdict", json!("sinkhole")),
        (
            "GET",
            "/v1/explain?name=worse.ddns.net&type=TXT",
            "",
            200,
            "/answer",
            json!("sinkhole, NODATA, TTL 60 s"),
        ),
        ("GET", "/v1/explain?name=a..b", "", 400, "/hint", json!("write it as example.com")),
        ("GET", "/v1/explain?name=a.b&type=AAA", "", 400, "/error", json!("unknown type \"AAA\"")),
        (
            "GET",
            "/v1/explain?name=a.b&at=noon",
            "",
            400,
            "/hint",
            json!("write 2014-06-30T12:00:00Z or Unix seconds"),
        ),
        (
            "GET",
            "/v1/explain?name=a.b&who=me",
            "",
            400,
            "/hint",
            json!("it takes `name`, `client`, `type` and `at`; `name` must be given"),
        ),
        ("GET", "/v1/recent", "", 200, "/one_in", json!(64)),
        ("GET", "/v1/canaries", "", 200, "/left_out", json!(0)),
        ("GET", "/v1/counters", "", 200, "/told", json!(false)),
        ("GET", "/v1/queries", "", 501, "/error", json!("this server has no query log")),
        ("GET", "/v2/orders", "", 404, "/error", json!("there is no such path")),
        ("GET", "/", "", 404, "/error", json!("there is no such path")),
    ];
    for (method, path, body, status, pointer, expected) in cases {
        let (found, answer) = served.ask(method, path, body);
        assert_eq!(found, status, "{method} {path} {body}: {answer:#}");
        assert_eq!(
            answer.pointer(pointer),
            Some(&expected),
            "{method} {path} {body}: {pointer} in {answer:#}"
        );
    }
    assert!(served.reloads.lock().unwrap().try_recv().is_ok(), "a reload was asked for");
    assert!(served.reloads.lock().unwrap().try_recv().is_err(), "and a second one would see the same");
}

/// Who this process is at the other end of a socket.
fn own_uid() -> String {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    format!("uid {}", std::fs::metadata(dir.path()).unwrap().uid())
}

#[test]
fn what_is_stated_takes_effect_before_it_is_answered() {
    let served = Served::new(Plan { state: true, ..Plan::default() });
    // What is posted, and which of evil.ddns.net, worse.ddns.net and bad.no-ip.org are captured then.
    for (path, body, expected) in [
        ("a-1/lift", "", [false, false, false]),
        ("a-1/restore", "", [true, true, true]),
        ("a-1/lift", "{\"names\": [\"evil.ddns.net\"]}", [false, true, true]),
        ("a-1/lift", "{\"zones\": [\"ddns.net\"]}", [false, false, true]),
        ("a-1/activate", "{\"names\": [\"evil.ddns.net\"]}", [true, false, true]),
        ("a-1/observe", "", [true, false, false]),
        ("a-1/restore", "{\"zones\": [\"ddns.net\"]}", [true, false, false]),
        ("a-1/restore", "", [true, true, true]),
        ("a-1/lift", "{\"names\": [\"ddns.net\"], \"match\": \"subtree-below\"}", [true, false, true]),
    ] {
        let epoch = served.policy.policy().epoch();
        let (status, answer) = served.ask("POST", &format!("/v1/orders/{path}"), body);
        let captured = ["evil.ddns.net", "worse.ddns.net", "bad.no-ip.org"].map(|name| served.captures(name));
        assert_eq!((status, captured), (200, expected), "{path} {body}: {answer:#}");
        assert!(answer["durable"] == true && served.policy.policy().epoch() > epoch, "{path}");
    }
    // It is all in the file, and another process would have it so.
    let policy = Current::of(Policy::not_ready());
    let (journal, problems) = Journal::open(served.dir.path(), AT).unwrap();
    assert_eq!((journal.records().len(), problems.len()), (9, 0));
    active(policy.clone(), journal, served.dir.path());
    let captured =
        |name: &str| matches!(policy.policy().verdict(&name.parse().unwrap(), AT), Verdict::Act(..));
    assert_eq!(["evil.ddns.net", "worse.ddns.net", "bad.no-ip.org"].map(captured), [true, false, true]);
}

#[test]
fn what_is_not_on_record_does_not_take_effect() {
    let served = Served::new(Plan { state: true, ..Plan::default() });
    std::fs::create_dir(served.dir.path().join("orders.journal")).unwrap();
    let (status, answer) = served.ask("POST", "/v1/orders/a-1/lift", "");
    assert_eq!(status, 500, "{answer}");
    assert!(answer["error"].as_str().unwrap().ends_with("nothing was changed"), "{answer}");
    assert!(served.captures("evil.ddns.net"));
    assert_eq!(served.ask("GET", "/v1/orders", "").1["orders"][0]["state"], "in-force");
}

#[test]
fn what_nobody_wired_says_so() {
    let served = Served::new(Plan { bare: true, ..Plan::default() });
    for (method, path, body) in [
        ("GET", "/v1/lists", ""),
        ("POST", "/v1/lists/refresh", ""),
        ("GET", "/v1/pauses", ""),
        ("POST", "/v1/pause", "{\"seconds\": 1}"),
        ("POST", "/v1/resume", ""),
    ] {
        let (status, answer) = served.ask(method, path, body);
        let said = answer["error"].as_str().is_some_and(|error| error.starts_with("this server has no "));
        assert_eq!((status, said), (501, true), "{path}: {answer}");
    }
}

#[test]
fn a_page_of_another_site_gets_nothing() {
    let json = "Content-Type: application/json";
    for (token, headers, expected) in [
        (false, &["Host: localhost:5380", json][..], 200),
        (false, &["Host: evil.example", json], 403),
        (false, &["Host: localhost", json, "Origin: http://evil.example"], 403),
        (false, &["Host: localhost", "Content-Type: text/plain"], 415),
        (true, &["Host: localhost", json], 401),
        (true, &["Host: localhost", json, "Authorization: Bearer 0123456789abcdef0123"], 200),
        (true, &["Host: localhost", json, "Authorization: Bearer 0123456789abcdef012x"], 401),
    ] {
        let served = Served::new(Plan { tcp: true, token, ..Plan::default() });
        let (status, head, body) = served.send("POST", "/v1/orders/a-1/lift", headers, "");
        assert_eq!(status, expected, "{headers:?}: {body}");
        assert_eq!(served.captures("evil.ddns.net"), expected != 200, "{headers:?}");
        assert_eq!(head.contains("\r\nwww-authenticate: bearer"), expected == 401, "{headers:?}");
        assert!(!head.contains("access-control"), "no other origin is let in: {head}");
        if token && expected == 200 {
            let (_, _, journal) = served.send("GET", "/v1/journal", headers, "");
            assert!(journal.contains("\"who\":\"token ops\""), "{journal}");
        }
    }
}

#[test]
fn what_would_act_on_a_terminal_is_refused() {
    let served = Served::new(Plan { state: true, ..Plan::default() });
    for bad in ["a\\nb", "\\u001b[2J", "\\r", "\\t", "\\u007f", "\\u009b", "\\u202e", "\\u2028", "\\u0000"] {
        for (path, body) in [
            ("/v1/orders/a-1/lift", format!("{{\"why\": \"{bad}\"}}")),
            ("/v1/orders/a-1/lift", format!("{{\"by\": \"{bad}\"}}")),
            ("/v1/orders/a-1/lift", format!("{{\"names\": [\"{bad}.example\"]}}")),
            ("/v1/orders/a-1/lift", format!("{{\"zones\": [\"{bad}.example\"]}}")),
            ("/v1/pause", format!("{{\"seconds\": 60, \"why\": \"{bad}\"}}")),
            ("/v1/pause", format!("{{\"seconds\": 60, \"group\": \"{bad}\"}}")),
            ("/v1/resume", format!("{{\"group\": \"{bad}\"}}")),
            ("/v1/lists/refresh", format!("{{\"name\": \"{bad}\"}}")),
        ] {
            let (status, answer) = served.ask("POST", path, &body);
            let said =
                answer["error"].as_str().is_some_and(|error| error.contains("holds the control character"));
            assert_eq!((status, said), (422, true), "{path} {body}: {answer}");
        }
    }
    for id in ["a%0Ab", "%1B%5B2J", "%C2%9B", "%E2%80%AE", "%7F", "%00"] {
        for path in [format!("/v1/orders/{id}/lift"), format!("/v1/orders/{id}/restore")] {
            assert_eq!(served.ask("POST", &path, "{\"ahead\": true}").0, 422, "{path}");
        }
        assert_eq!(served.ask("GET", &format!("/v1/orders/{id}"), "").0, 422, "{id}");
    }
    assert!(served.captures("evil.ddns.net"));
    assert_eq!(served.ask("GET", "/v1/journal", "").1["records"], json!([]));
    assert_eq!(served.ask("GET", "/v1/pauses", "").1["pauses"], json!([]));
    // Text of any script is text.
    let (status, answer) =
        served.ask("POST", "/v1/orders/a-1/lift", "{\"why\": \"\u{5d4}\u{5e1}\u{5db}\u{5dd} \u{2713}\"}");
    assert_eq!(
        (status, answer["records"][0]["why"].as_str()),
        (200, Some("\u{5d4}\u{5e1}\u{5db}\u{5dd} \u{2713}"))
    );
}

#[test]
fn what_is_long_is_refused_before_it_is_compared() {
    let served = Served::new(Plan::default());
    let long = "x".repeat(401);
    assert_eq!(served.ask("GET", &format!("/v1/orders/{long}"), "").0, 422);
    assert_eq!(served.ask("POST", &format!("/v1/orders/{long}/lift"), "{\"ahead\": true}").0, 422);
    assert_eq!(served.ask("POST", "/v1/lists/refresh", &format!("{{\"name\": \"{long}\"}}")).0, 422);
    assert_eq!(served.ask("POST", "/v1/resume", &format!("{{\"group\": \"{long}\"}}")).0, 422);
    // A head of more than 8 KiB is not read to its end (RFC 6585 \u{a7}5).
    for head in [8 << 10, 60_000] {
        let (status, _, _) =
            served.send("GET", &format!("/v1/orders/{}", "x".repeat(head)), &["Host: localhost"], "");
        assert!(matches!(status, 414 | 431), "{head}: {status}");
        let header = format!("X: {}", "x".repeat(head));
        assert_eq!(served.send("GET", "/v1/status", &["Host: localhost", &header], "").0, 431, "{head}");
    }
    assert_eq!(served.ask("GET", "/v1/status", "").0, 200);
}

/// Connects and says nothing, or begins to say something.
fn silent(address: &Address, begun: &str) -> Box<dyn Read> {
    match address {
        Address::Unix(path) => {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            Box::new(stream)
        }
        Address::Tcp(addr) => {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            Box::new(stream)
        }
    }
}

#[test]
fn whoever_speaks_is_heard_however_many_are_silent() {
    let half = "POST /v1/orders/a-1/lift HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    for tcp in [false, true] {
        let served = Served::new(Plan { tcp, ..Plan::default() });
        for begun in ["", "GET /v1/sta", half] {
            let open: Vec<_> = (0..100).map(|_| silent(&served.address, begun)).collect();
            for round in 0..10 {
                assert_eq!(served.ask("GET", "/v1/status", "").0, 200, "tcp {tcp}, {begun:?}, round {round}");
            }
            drop(open);
        }
        assert!(served.captures("evil.ddns.net"));
    }
}

#[test]
fn bodies_are_bounded() {
    let served = Served::new(Plan::default());
    let (status, answer) = served.ask("POST", "/v1/orders/a-1/lift", &" ".repeat(MAX_BODY + 1));
    assert_eq!(status, 413, "{answer}");
    let names: Vec<String> = (0..1001).map(|index| format!("\"n{index}.example\"")).collect();
    let (status, answer) =
        served.ask("POST", "/v1/orders/a-1/lift", &format!("{{\"names\": [{}]}}", names.join(",")));
    assert_eq!((status, answer["error"].as_str()), (422, Some("more than 1000 names")));
    let why = format!("{{\"why\": \"{}\"}}", "x".repeat(1025));
    assert_eq!(served.ask("POST", "/v1/orders/a-1/lift", &why).0, 422);
    for _ in 0..4 {
        let part: Vec<String> =
            names[..1000].iter().map(|name| name.replace("example", &format!("e{:x}", why.len()))).collect();
        assert_eq!(
            served.ask("POST", "/v1/orders/a-1/lift", &format!("{{\"names\": [{}]}}", part.join(","))).0,
            200
        );
    }
    assert_eq!(served.ask("GET", "/v1/status", "").1["statements"], 1000, "the same again is the same");
}

#[test]
fn statements_are_bounded() {
    let served = Served::new(Plan::default());
    let lift = |from: usize, count: usize| {
        let names: Vec<String> = (from..from + count).map(|index| format!("\"n{index}.example\"")).collect();
        served.ask("POST", "/v1/orders/a-1/lift", &format!("{{\"names\": [{}]}}", names.join(","))).0
    };
    let got: Vec<u16> = (0..5).map(|round| lift(round * 1000, 1000)).collect();
    assert_eq!(got, [200, 200, 200, 200, 409]);
    assert_eq!((lift(4000, 96), lift(4096, 1)), (200, 409));
    assert_eq!(served.ask("POST", "/v1/orders/a-1/restore", "{\"names\": [\"n0.example\"]}").0, 200);
    assert_eq!(lift(4096, 1), 200);
}

#[test]
fn a_socket_is_its_owners_and_a_dead_one_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let address = Address::Unix(path.clone());
    let first = listen::bind(&address).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(listen::bind(&address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(first);
    assert!(!path.exists());
    // As a killed process leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists() && listen::bind(&address).is_ok());
    std::fs::write(&path, "a file").unwrap();
    assert!(listen::bind(&address).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[test]
fn every_path_is_described() {
    let (document, served) = (openapi::document(&routes::routes()), Served::new(Plan::default()));
    let routes = routes::routes();
    assert_eq!(document["paths"].as_object().unwrap().len(), routes.len());
    for route in routes {
        let operation = &document["paths"][route.path][route.method];
        let good = &operation["responses"][route.gives.0.to_string()];
        assert!(good.is_object() && operation["summary"] == route.summary, "{}", route.path);
        assert_eq!(operation["requestBody"].is_object(), route.takes.is_some(), "{}", route.path);
        // What is described is there, by that method, and gives a status that is described.
        let (status, _) = served.ask(&route.method.to_uppercase(), &route.path.replace("{id}", "a-1"), "");
        assert!(operation["responses"][status.to_string()].is_object(), "{} gives {status}", route.path);
    }
    // Whatever it refers to is in it.
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn upstreams_that_do_not_answer_are_told_and_are_no_fault_of_this_process() {
    let served = Served::new(Plan::default());
    let (status, body) = served.ask("GET", "/v1/health", "");
    let troubles = ["upstream: no server answers: udp://192.0.2.1:53", "query log: file: no space"];
    assert_eq!((status, body), (200, json!({ "well": false, "troubles": troubles })));
    let (_, status) = served.ask("GET", "/v1/status", "");
    assert_eq!(status["troubles"], json!(troubles));
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let served = Served::new(Plan::default());
    let (status, head, body) = served.send("GET", "/v1/metrics", &["Host: localhost"], "");
    assert!(status == 200 && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for expected in [
        "sinkscope_build_info{version=\"0.1.0\"} 1",
        "# HELP sinkscope_resolver_queries_total It is \"so\".",
        "sinkscope_resolver_queries_total 12",
        "sinkscope_queries_total{transport=\"udp\"} 7",
        "sinkscope_queries_total{transport=\"tcp\"} 5",
        "sinkscope_answers_total{source=\"cached\"} 4",
        "sinkscope_replies_total{rcode=\"NXDOMAIN\"} 2",
        "sinkscope_answer_wait_seconds_bucket{le=\"0.001\"} 2",
        "sinkscope_answer_wait_seconds_bucket{le=\"+Inf\"} 15",
        "sinkscope_answer_wait_seconds_sum 0.0025",
        "sinkscope_waiting_queries 1",
        "sinkscope_tcp_connections_max 4",
        "sinkscope_upstream_reply_duration_seconds_count{server=\"udp://192.0.2.1:53\",groups=\"guests kids\"} 0",
        "sinkscope_orders_in_force{kind=\"court\"} 1",
        "sinkscope_order_hits_total{order=\"a-1\"} 6",
        "sinkscope_orders_untold 2",
        "sinkscope_reloads_total{result=\"changed\"} 0",
        "sinkscope_verdicts_total{action=\"sinkhole\"} 3",
        "sinkscope_listener_udp_received_total 11",
        "sinkscope_upstream_failures_total{server=\"udp://192.0.2.1:53\",groups=\"guests kids\"} 1",
        "sinkscope_upstream_extra_total{server=\"udp://192.0.2.1:53\",groups=\"guests kids\"} 2",
        "sinkscope_upstream_up{server=\"udp://192.0.2.1:53\",groups=\"guests kids\"} 0",
        "sinkscope_upstream_reply_seconds{server=\"udp://192.0.2.1:53\",groups=\"guests kids\"} 0.0015",
        "sinkscope_upstream_zone{server=\"udp://192.0.2.1:53\",groups=\"guests kids\",zone=\"home.arpa\"} 1",
        "sinkscope_upstream_failures_by_kind_total{server=\"udp://192.0.2.1:53\",groups=\"guests kids\",kind=\"timeout\"} 0",
        "sinkscope_cache_entries 9",
        "sinkscope_local_zones 1",
        "sinkscope_local_refused_lease_names 3",
        "sinkscope_local_bad_files 5",
        "sinkscope_cache_bytes 900",
        "sinkscope_evidence_queries_total 9",
        "sinkscope_evidence_written_total 7",
        "sinkscope_evidence_coarse_total{what=\"networks\"} 2",
        "sinkscope_trouble{about=\"upstream\"} 1",
        "sinkscope_network_changes_total 4",
        "sinkscope_query_log_records_total 9",
        "sinkscope_query_log_dropped_total 2",
        "sinkscope_query_log_written_total{outlet=\"file\"} 8",
        "sinkscope_query_log_lost_total{outlet=\"file\"} 1",
        "sinkscope_trouble{about=\"query log\"} 1",
        "sinkscope_orders{state=\"in-force\"} 2",
        "sinkscope_orders{state=\"lapsed\"} 1",
        "sinkscope_orders_review_due 1",
        "sinkscope_list_age_seconds{list=\"ads\"} 60",
        "sinkscope_list_failed{list=\"mal\\\"w\\\\a\\nre\"} 1",
    ] {
        assert!(body.lines().any(|line| line == expected), "{expected} in\n{body}");
    }
    let mut family = "";
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            let is_counter = rest.ends_with(" counter");
            assert_eq!(family.ends_with("_total"), is_counter, "{line}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let name =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert_eq!(name, family, "samples stand below their family");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
}
