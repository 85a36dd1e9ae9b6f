//! Canaries by virtual time, against a resolver that says what it is told, and against the real one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::access::AccessList;
use crate::cache::Cache;
use crate::clock::Now;
use crate::dns::chaos::Identity;
use crate::dns::testing::{name, response};
use crate::dns::{Question, TtlLimits};
use crate::iana::Rtype;
use crate::local::{LocalNames, Special, Stated};
use crate::orders::order_file;
use crate::policy::{MatchKind, Override, PolicyZone, Standing, Window};
use crate::resolver::fetch::Rules;
use crate::resolver::{Current, Resolver, Settings};
use crate::upstream::{Ask, AskError};

const AT: UnixSeconds = 1_000_000_000;

/// Says what a script tells it to, after a while.
struct Scripted {
    /// What becomes of a name: a line of [`Scripted::reply`].
    script: Mutex<HashMap<String, &'static str>>,
    /// How many are under way, and the most there were.
    under_way: [AtomicUsize; 2],
    /// How many were asked.
    asked: AtomicUsize,
}

impl Scripted {
    fn new(script: &[(&str, &'static str)]) -> Arc<Scripted> {
        let script = script.iter().map(|(name, line)| ((*name).to_string(), *line)).collect();
        let (under_way, asked) = Default::default();
        Arc::new(Scripted { script: Mutex::new(script), under_way, asked })
    }

    /// From now on the name fares so.
    fn set(&self, name: &str, line: &'static str) {
        self.script.lock().unwrap().insert(name.into(), line);
    }

    /// The reply that a line stands for: a number is the rcode, `16=text` an EDE, `tc` truncates over UDP, `tc-both`
    /// always; "silent" is none, and so is "garbage", in a way.
    fn reply(&self, packet: &[u8], client: Client) -> Option<Vec<u8>> {
        let (qname, ..) = wire::question(packet).unwrap();
        let line = self.script.lock().unwrap().get(&qname.to_string()).copied().unwrap_or("0");
        let (mut flags, mut options) = (0, Vec::new());
        for word in line.split('|') {
            match word {
                "silent" => return None,
                "garbage" => return Some(vec![1, 2, 3]),
                "tc" if client.transport == Transport::Tcp => {}
                "tc" | "tc-both" => flags |= FLAG_TC,
                code if !code.contains('=') => flags |= code.parse::<u16>().unwrap(),
                ede => options.push(ede),
            }
        }
        let opt = format!(". 0 OPT {}", options.join(" "));
        Some(response(flags, &qname.to_string(), Rtype::A, [&[], &[], &[&opt]]))
    }
}

impl Respond for Scripted {
    type Pending = Option<Vec<u8>>;
    type Hot = ();

    fn hot(&self) {}

    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Option<Vec<u8>>> {
        assert!(client.addr.ip().is_loopback());
        self.asked.fetch_add(1, Ordering::SeqCst);
        let reply = self.reply(packet, client);
        // Every other one waits.
        if packet[0].is_multiple_of(2) {
            return Step::Later(reply);
        }
        match reply {
            Some(reply) => {
                *out = reply;
                Step::Reply
            }
            None => Step::Drop,
        }
    }

    fn serves(&self, client: std::net::IpAddr) -> bool {
        client.is_loopback()
    }

    fn answer_from_cache(&self, _pending: &Option<Vec<u8>>, _out: &mut Vec<u8>) -> Step<()> {
        panic!("a canary may wait")
    }

    async fn later(&self, pending: &Option<Vec<u8>>, out: &mut Vec<u8>) -> bool {
        let [now, most] = &self.under_way;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        now.fetch_sub(1, Ordering::SeqCst);
        out.clear();
        out.extend(pending.iter().flatten());
        pending.is_some()
    }
}

/// A policy of these orders, each as id, lines, names.
fn policy(orders: &[(&str, &str, &str)]) -> Arc<Current> {
    let read = orders.iter().map(|(id, lines, names)| {
        let text = format!("id = '{id}'\n{lines}\n[[scope]]\nmatch = 'exact'\nnames = [{names}]\n");
        let reading = order_file::parse(&text, "o.toml", &mut |_| panic!("no files"));
        Arc::new(reading.listed.unwrap_or_else(|| panic!("{:?}", reading.problems)))
    });
    let zones = [PolicyZone { name: "zone".into(), orders: read.collect() }];
    Current::of(Policy::compile(&zones, &[], 1))
}

/// A court's order with these canaries.
fn court(canaries: &str) -> String {
    format!("kind = 'court'\ncanaries = [{canaries}]")
}

fn captured(by: &str) -> CanaryState {
    CanaryState::Captured { by: by.into() }
}

/// One that does not resolve, for this reason.
fn unresolvable(why: &str) -> CanaryState {
    CanaryState::Unresolvable { why: why.into() }
}

#[tokio::test]
async fn replies_are_judged() {
    let orders = policy(&[
        ("x", &court("'c.example'"), "'evil.example'"),
        ("list", "action = 'drop'", "'dropped.example'"),
    ]);
    let orders_that_drop = policy(&[
        ("x", &court("'c.example'"), "'evil.example'"),
        ("list", "action = 'tcp-only'", "'c.example'"),
    ]);
    for (policy, line, expected) in [
        (&orders, "0", CanaryState::Ok),
        (&orders, "3", CanaryState::Ok),
        (&orders, "tc", CanaryState::Ok),
        (&orders, "0|3=stale", CanaryState::Ok),
        (&orders, "2", unresolvable("SERVFAIL")),
        (&orders, "2|22=down", unresolvable("SERVFAIL, EDE 22 No Reachable Authority \"down\"")),
        (&orders, "5", unresolvable("REFUSED")),
        (&orders, "4", unresolvable("NOTIMP")),
        (&orders, "12", unresolvable("rcode 12")),
        (&orders, "silent", unresolvable("there is no answer at all")),
        (&orders, "garbage", unresolvable("there is no answer at all")),
        (
            &orders,
            "0|16=order-x",
            unresolvable("an upstream answers untruthfully, EDE 16 Censored \"order-x\""),
        ),
        (&orders, "3|15=theirs", unresolvable("an upstream answers untruthfully, EDE 15 Blocked \"theirs\"")),
        (&orders, "0|4=", unresolvable("an upstream answers untruthfully, EDE 4 Forged Answer")),
        (
            &orders,
            "5|18=",
            unresolvable(
                "REFUSED, EDE 18 Prohibited: let [access] allow have \"loopback\", from where canaries are asked",
            ),
        ),
        // What bears no name is asked of the policy.
        (&orders_that_drop, "silent", captured("list")),
        (&orders_that_drop, "tc", captured("list")),
        (&orders_that_drop, "tc-both", captured("list")),
        (&orders_that_drop, "0", CanaryState::Ok),
    ] {
        let (scripted, canaries) = (Scripted::new(&[("c.example", line)]), Canaries::default());
        canaries.round(&scripted, policy, AT).await;
        let found: Vec<CanaryStatus> = canaries.statuses();
        let expected =
            CanaryStatus { order: "x".into(), name: "c.example".into(), state: expected, since: AT };
        assert_eq!(found, [expected], "{line}");
    }
}

#[tokio::test]
async fn an_alarm_begins_once_and_ends_once() {
    let policy = policy(&[("x", &court("'c.example', 'd.example'"), "'evil.example'")]);
    let (scripted, canaries) = (Scripted::new(&[]), Canaries::default());
    let mut said = Vec::new();
    for (at, line) in
        [(0, "0"), (30, "2"), (60, "2|22=down"), (90, "3|15=theirs"), (120, "0"), (150, "0"), (180, "5")]
    {
        scripted.set("c.example", line);
        let changes = canaries.round(&scripted, &policy, AT + at).await;
        let news = changes.iter().filter(|change| change.before != CanaryState::Unasked);
        said.extend(news.map(|change| format!("{at} {change}")));
        let since: Vec<i64> = canaries.statuses().iter().map(|status| status.since - AT).collect();
        let expected = [0, 30, 30, 30, 120, 120, 180][(at / 30) as usize];
        assert_eq!(since, [expected, 0], "{at}");
    }
    // Its order ends, and with it the alarm.
    policy.put(Arc::new(Policy::empty()));
    let changes = canaries.round(&scripted, &policy, AT + 210).await;
    said.extend(changes.iter().map(|change| format!("210 {change}")));
    assert_eq!(canaries.statuses(), []);
    assert_eq!(
        said,
        [
            "30 canary c.example of order x does not resolve, which no order is behind: SERVFAIL",
            "120 canary c.example of order x resolves again",
            "180 canary c.example of order x does not resolve, which no order is behind: REFUSED",
            "210 canary c.example of order x is no longer asked for: its order is not in force",
        ]
    );
}

#[tokio::test]
async fn only_orders_in_force_have_canaries_asked() {
    for (lines, expected) in [
        ("", 1),
        ("effective = 2001-09-10", 0),
        ("effective = 2001-09-09", 1),
        ("expires = 2001-09-09", 0),
        ("lifted = true", 0),
        ("lifted = 2001-09-10", 1),
        ("standing = 'observing'", 0),
        ("standing = 'drafted'", 0),
    ] {
        let policy = policy(&[("x", &format!("{}\n{lines}", court("'c.example'")), "'evil.example'")]);
        let (scripted, canaries) = (Scripted::new(&[]), Canaries::default());
        canaries.round(&scripted, &policy, AT).await;
        assert_eq!(canaries.statuses().len(), expected, "{lines}");
        let suspended = policy.policy().with_overrides(&[Override::suspension("x")], 2);
        policy.put(Arc::new(suspended));
        canaries.round(&scripted, &policy, AT).await;
        assert_eq!(canaries.statuses(), [], "{lines}");
    }
}

#[tokio::test]
async fn what_is_stated_decides_whether_an_order_acts() {
    use Standing::{Drafted, Held, InForce, Lifted, Observing};
    let always = Window::ALWAYS;
    let hold = Window { effective: Some(AT), expires: Some(AT + 1), review_by: None };
    // What the file says, what is stated about which names, and whether the canary is asked.
    for (lines, standing, names, window, expected) in [
        ("standing = 'drafted'", InForce, None, always, 1),
        ("standing = 'drafted'", Observing, None, always, 0),
        ("standing = 'drafted'", InForce, Some("evil.example"), always, 1),
        ("standing = 'drafted'\nexpires = 2001-09-09", InForce, None, always, 0),
        ("lifted = true", InForce, None, always, 0),
        ("", Lifted, None, always, 0),
        ("", Drafted, None, always, 0),
        ("", Lifted, Some("evil.example"), always, 1),
        // Held back, it still acts on the names it lists.
        ("", Held, None, hold, 1),
    ] {
        let policy = policy(&[("x", &format!("{}\n{lines}", court("'c.example'")), "'evil.example'")]);
        let names = names.map(|text: &str| (text.parse().unwrap(), MatchKind::Subtree));
        let statement = Override { order: "x".into(), names, standing, window, over_names: false };
        let stated = policy.policy().with_overrides(&[statement], 2);
        policy.put(Arc::new(stated));
        let (scripted, canaries) = (Scripted::new(&[]), Canaries::default());
        canaries.round(&scripted, &policy, AT).await;
        assert_eq!(canaries.statuses().len(), expected, "{lines} {standing}");
    }
}

#[tokio::test]
async fn a_round_is_bounded() {
    let ids: Vec<String> = (0..17).map(|order| format!("order-{order}")).collect();
    let lines: Vec<String> = ids
        .iter()
        .map(|id| {
            let names: Vec<String> = (0..64).map(|number| format!("'c{number}.{id}.example'")).collect();
            court(&names.join(", "))
        })
        .collect();
    let orders: Vec<(&str, &str, &str)> =
        ids.iter().zip(&lines).map(|(id, lines)| (id.as_str(), lines.as_str(), "'evil.example'")).collect();
    let (policy, scripted, canaries) = (policy(&orders), Scripted::new(&[]), Canaries::default());
    let changes = canaries.round(&scripted, &policy, AT).await;
    assert_eq!((changes.len(), canaries.statuses().len(), canaries.left_out()), (1024, 1024, 64));
    assert_eq!(scripted.asked.load(Ordering::SeqCst), 1024);
    let most = scripted.under_way[1].load(Ordering::SeqCst);
    assert!((2..=MAX_AT_ONCE).contains(&most), "{most}");
}

#[test]
fn a_status_is_plain_json() {
    let status = |state| CanaryStatus { order: "x".into(), name: "c.example".into(), state, since: 7 };
    for (state, expected) in [
        (CanaryState::Ok, r#"{"order":"x","name":"c.example","state":"ok","since":7}"#),
        (captured("y"), r#"{"order":"x","name":"c.example","state":"captured","by":"y","since":7}"#),
        (
            unresolvable("SERVFAIL"),
            r#"{"order":"x","name":"c.example","state":"unresolvable","why":"SERVFAIL","since":7}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&status(state)).unwrap(), expected);
    }
}

/// Knows a few names; others are beyond reach.
struct World;

impl Ask for World {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        let qname = question.qname.to_string();
        let reply = |answers: &[&str]| Ok(response(0, &qname, Rtype::A, [answers, &[], &[]]));
        match qname.as_str() {
            "good.example" => reply(&["good.example 60 A 192.0.2.1"]),
            "alias.example" => reply(&["alias.example 60 CNAME evil.example", "evil.example 60 A 192.0.2.2"]),
            _ => Err(AskError::NoneReachable("all down".into())),
        }
    }
}

/// A clock that stands.
struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { mono: Duration::from_secs(1000), wall: AT }
    }
}

#[tokio::test]
async fn the_real_resolver_is_seen_through() {
    let canaries =
        "'good.example', 'listed.example', 'alias.example', 'dropped.example', 'tcp.example', 'down.example'";
    let policy = policy(&[
        ("x", &court(canaries), "'evil.example'"),
        ("list", "kind = 'user'", "'listed.example'"),
        ("drops", "action = 'drop'", "'dropped.example'"),
        ("detour", "action = 'tcp-only'", "'tcp.example'"),
    ]);
    let settings = |allow: &str| Settings {
        clients: Arc::default(),
        recent: Default::default(),
        access: AccessList::parse(&[allow]).unwrap(),
        local: Arc::new(LocalNames::compile(
            &Special { forward: vec![name("example")], ..Special::default() },
            Stated::default(),
        )),
        identity: Identity::default(),
        rotate: true,
        dns64: None,
        ecs: Default::default(),
        rules: Rules::new(TtlLimits { min_s: 0, max_s: 600, negative_min_s: 0, negative_max_s: 300 }, 16),
    };
    let resolver = |allow| {
        let cache = Arc::new(Cache::new(1 << 20));
        Arc::new(Resolver::new(policy.clone(), cache, Arc::new(World), Arc::new(Still), settings(allow)))
    };
    let known = Canaries::default();
    known.round(&resolver("loopback"), &policy, AT).await;
    let states: Vec<CanaryState> = known.statuses().into_iter().map(|status| status.state).collect();
    assert_eq!(
        states,
        [
            CanaryState::Ok,
            captured("list"),
            captured("x"),
            captured("drops"),
            captured("detour"),
            unresolvable("SERVFAIL, EDE 22 No Reachable Authority \"all down\""),
        ]
    );
    let changes = known.round(&resolver("192.0.2.0/24"), &policy, AT).await;
    assert!(changes[0].to_string().contains("let [access] allow have \"loopback\""), "{}", changes[0]);
}

#[tokio::test]
async fn it_asks_from_when_it_is_switched_on_until_it_is_stopped() {
    let policy = policy(&[("x", &court("'c.example'"), "'evil.example'")]);
    let (scripted, canaries) = (Scripted::new(&[]), Arc::new(Canaries::default()));
    let (interval, every) = tokio::sync::watch::channel(Duration::ZERO);
    let asking =
        tokio::spawn(run(scripted.clone(), policy.clone(), Arc::new(Still), every, canaries.clone()));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scripted.asked.load(Ordering::SeqCst), 0);
    interval.send_replace(Duration::from_nanos(10));
    let twice = async {
        while scripted.asked.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), twice).await.unwrap();
    asking.abort();
    assert_eq!(canaries.statuses()[0].since, AT);
}
