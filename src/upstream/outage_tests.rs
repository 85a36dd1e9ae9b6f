//! An hour without a network, in virtual time: whoever asks first once it is back is answered, whatever was tried meanwhile.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::begun::Begun;
use super::case::Case;
use super::channel::{Channel, Opens};
use super::failover::Failover;
use super::failure::Failure;
use super::fallback::Fallback;
use super::hosts::Found;
use super::manners::Mannered;
use super::message::{Manner, Query};
use super::network::Network;
use super::places::{Host, Looking, Lookup, Places};
use super::pool::Pool;
use super::server::Server;
use super::settings::Settings;
use super::{Ask, AskError, Exchange};
use crate::dns::Question;
use crate::dns::testing::question;
use crate::iana::Rtype;
use crate::name::Name;

/// How long it is away.
const AWAY: Duration = Duration::from_secs(3600);
/// Between questions meanwhile, and shortly before it is back.
const SELDOM: Duration = Duration::from_secs(7);
/// The same shortly before it is back.
const OFTEN: Duration = Duration::from_millis(100);
/// Half of a try, after which what brings nothing is left.
const HUNG_AFTER: Duration = Duration::from_millis(750);
/// What timers add.
const AT_ONCE: Duration = Duration::from_millis(20);
/// What was asked so long before the network is back, and not told that nothing came, is answered.
const AT_LEAST: Duration = Duration::from_secs(3);
/// The latest that all is as before where nobody says that the network is back.
const SOON: Duration = Duration::from_secs(2);

/// How a network shows that it is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// What is sent is lost, and what was begun meanwhile comes to nothing later on either.
    Silent,
    /// The system says at once that no way leads there.
    Unreachable,
}

/// A network.
#[derive(Debug, Default)]
struct Net {
    away: Mutex<Option<Away>>,
    /// How often it went away: what was open then is dead.
    outages: AtomicU64,
    /// What is told that it is another one.
    network: Arc<Network>,
}

impl Net {
    /// Goes away, or comes back.
    fn set(&self, away: Option<Away>) {
        *self.away.lock().unwrap() = away;
        self.outages.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes through it.
    async fn pass(&self) -> Result<(), Failure> {
        let away = *self.away.lock().unwrap();
        match away {
            None => Ok(()),
            Some(Away::Silent) => pending().await,
            Some(Away::Unreachable) => Err(Failure::Unreachable),
        }
    }
}

/// Asks by datagram.
#[derive(Debug)]
struct Datagrams(Arc<Net>);

impl Exchange for Datagrams {
    async fn exchange(&self, question: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
        self.0.pass().await?;
        answer(Query::new(question, manner))
    }
}

/// Opens what questions are asked on, at an address or at those of a host.
#[derive(Debug)]
struct Streams {
    net: Arc<Net>,
    places: Places,
}

impl Opens for Streams {
    type Channel = Open;

    const PADDED: bool = false;

    async fn open(&self) -> Result<Open, Failure> {
        let connect = |_| {
            let net = Arc::clone(&self.net);
            async move {
                net.pass().await?;
                let outages = net.outages.load(Ordering::Relaxed);
                Ok(Open { net, outages })
            }
        };
        self.places.connect(connect).await
    }

    fn renew(&self) {
        self.places.renew();
    }
}

/// What was opened before so many outages were over.
#[derive(Debug)]
struct Open {
    net: Arc<Net>,
    outages: u64,
}

impl Channel for Open {
    fn is_closed(&self) -> bool {
        false
    }

    async fn ask(&self, query: Query) -> Result<Vec<u8>, Failure> {
        if self.net.outages.load(Ordering::Relaxed) != self.outages {
            pending::<()>().await;
        }
        answer(query)
    }
}

/// Looks up hosts by asking servers.
#[derive(Debug)]
struct Hosts(Failover<Datagrams>);

impl Lookup for Hosts {
    fn look_up<'a>(&'a self, _: &'a Name) -> Looking<'a> {
        Box::pin(async {
            ask(&self.0).await.map_err(|error| error.to_string())?;
            let addresses = vec!["192.0.2.1".parse().unwrap()];
            Ok(Found { addresses, lifetime: Duration::from_secs(300) })
        })
    }
}

/// The query as its reply.
fn answer(query: Query) -> Result<Vec<u8>, Failure> {
    let mut message = query.octets().to_vec();
    message[2] |= 0x80;
    query.take(message)
}

/// Streams to an address.
fn streams(net: &Arc<Net>) -> Pool<Streams> {
    let places = Places::At(([192, 0, 2, 1], 53).into());
    Pool::new(Streams { net: Arc::clone(net), places }, HUNG_AFTER)
}

/// Streams to a host, whose addresses are asked for in the same network.
fn to_host(net: &Arc<Net>) -> Pool<Streams> {
    let ask = Failover::new(&settings(1), |_: &Server| Datagrams(Arc::clone(net)), None);
    let lookup = Arc::new(Hosts(ask.within(&net.network)));
    let host = Host::new("dns.example".parse().unwrap(), 853, lookup, Duration::from_secs(2));
    Pool::new(Streams { net: Arc::clone(net), places: Places::Of(Box::new(host)) }, HUNG_AFTER)
}

/// So many servers.
fn settings(servers: u16) -> Settings {
    let at = |port| Server::udp(([192, 0, 2, 1], port).into());
    Settings { servers: (1..=servers).map(at).collect(), ..Settings::default() }
}

/// Asks as the resolver does: what comes too late is listened for as well.
async fn ask<E: Exchange>(group: &Failover<E>) -> Result<Vec<u8>, AskError> {
    group.go_on(&question("x", Rtype::A), Begun::nothing(), Box::new(drop)).await
}

/// Asks so many servers, each by what `make` makes, before, while and after the network is away.
async fn endure<E: Exchange>(
    servers: u16,
    away: Away,
    is_told: bool,
    is_there_before: bool,
    make: impl Fn(&Arc<Net>) -> E,
) -> Result<(), String> {
    let net = Arc::<Net>::default();
    let group = Failover::new(&settings(servers), |_: &Server| Mannered::new(make(&net)), None);
    let group = Arc::new(group.within(&net.network));
    if is_there_before {
        ask(&group).await.map_err(|error| format!("before: {error}"))?;
    }

    net.set(Some(away));
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    while begun.elapsed() < AWAY {
        let group = Arc::clone(&group);
        let at = begun.elapsed();
        asking.spawn(async move { (at, ask(&group).await.is_ok(), begun.elapsed()) });
        sleep(if at + 2 * SELDOM < AWAY { SELDOM } else { OFTEN }).await;
    }
    net.set(None);
    let back = Instant::now();
    if is_told {
        net.network.changed();
    }
    let mut answered = ask(&group).await.is_ok();
    if is_told && !(answered && back.elapsed() < AT_ONCE) {
        return Err(format!("the first after {:?}: {answered}", back.elapsed()));
    }
    while !answered && back.elapsed() < SOON {
        sleep(OFTEN).await;
        answered = ask(&group).await.is_ok();
    }
    if back.elapsed() > SOON {
        return Err(format!("only after {:?}: {answered}", back.elapsed()));
    }
    for count in 0..20 {
        let begun = Instant::now();
        ask(&group).await.map_err(|error| format!("{count}: {error}"))?;
        if begun.elapsed() > AT_ONCE {
            return Err(format!("{count} took {:?}", begun.elapsed()));
        }
    }
    // What was still under way, and has a little time left, is asked again when the network is back.
    while let Some(result) = asking.join_next().await {
        let (at, answered, ended) = result.map_err(|error| error.to_string())?;
        if is_told && matches!(away, Away::Silent) && at + AT_LEAST > AWAY && ended >= AWAY && !answered {
            return Err(format!("what was asked at {at:?} was not answered"));
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_an_hour_without_a_network_the_first_question_is_answered() {
    for away in [Away::Silent, Away::Unreachable] {
        for servers in [1, 2] {
            // Whether the system says that the network is back, and whether it was there when all began.
            for (is_told, before) in [(true, true), (true, false), (false, true), (false, false)] {
                let case = format!("{away:?}, {servers} servers, told: {is_told}, there before: {before}");
                let by_datagram = |net: &Arc<Net>| Datagrams(Arc::clone(net));
                let by_both = |net: &Arc<Net>| {
                    let case = Case::of(&Server::udp(([192, 0, 2, 1], 53).into()));
                    Fallback::new(by_datagram(net), streams(net), Arc::new(case))
                };
                assert_eq!(endure(servers, away, is_told, before, by_datagram).await, Ok(()), "{case}");
                assert_eq!(endure(servers, away, is_told, before, by_both).await, Ok(()), "both; {case}");
                assert_eq!(endure(servers, away, is_told, before, streams).await, Ok(()), "streams; {case}");
                assert_eq!(endure(servers, away, is_told, before, to_host).await, Ok(()), "a host; {case}");
            }
        }
    }
}
