//! Where a server is: at an address that was given, or at those that its host has, looked up when they are needed.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Ask;
use super::failure::{Nowhere, Trouble};
use super::hosts::{Found, Hosts};
use crate::name::Name;

/// Addresses of a host that are tried.
const MAX_TRIED: usize = 8;
/// How long one address is waited for before the next one is tried as well (RFC 8305 §5).
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// Addresses are believed for so long at least: a connection is not to wait for a look-up each time.
const MIN_LIFETIME: Duration = Duration::from_secs(30);
/// And for so long at most, for they are tried before anything new is heard.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// After a look-up that failed, how long the next one waits where there are addresses from before.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The same where there are none, for nothing can be asked meanwhile.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// After how long addresses count as failed when whoever waits for them gives up: somebody may take a connection and never say more.
const HUNG_AFTER: Duration = Duration::from_millis(500);

/// Where one server is.
#[derive(Debug)]
pub(super) enum Places {
    /// There.
    At(SocketAddr),
    /// Wherever its host is.
    Of(Box<Host>),
}

/// Who knows the addresses of hosts.
pub(super) trait Lookup: fmt::Debug + Send + Sync + 'static {
    /// Finds the addresses of a host.
    fn look_up<'a>(&'a self, host: &'a Name) -> Looking<'a>;
}

/// The addresses of a host, to come.
pub(super) type Looking<'a> = Pin<Box<dyn Future<Output = Result<Found, String>> + Send + 'a>>;

/// A host, and what is known of where it is.
#[derive(Debug)]
pub(super) struct Host {
    name: Name,
    port: u16,
    lookup: Arc<dyn Lookup>,
    /// The longest that a look-up may take.
    patience: Duration,
    known: Mutex<Known>,
    /// Held while looking up, so that a burst of connections looks up once.
    looking: tokio::sync::Mutex<()>,
}

/// What is known of where a host is.
#[derive(Debug)]
struct Known {
    /// Those of the last look-up that found some, the one that was connected to last first.
    addresses: Vec<SocketAddr>,
    /// Until when they are believed, or none is looked for.
    until: Instant,
    /// When they were last looked for.
    looked: Instant,
    /// Whether that failed, or the server was at none of them.
    in_doubt: bool,
    /// What went wrong with the last look-up.
    trouble: String,
}

impl<A: Ask> Lookup for Hosts<A> {
    fn look_up<'a>(&'a self, host: &'a Name) -> Looking<'a> {
        Box::pin(self.find(host))
    }
}

impl Places {
    /// Connects to it by `connect`, of several addresses to the first at which that succeeds: a bootstrap may be told an address where
    /// somebody else answers, so what proves that it is the server is part of it. Where it succeeds at none, the host is looked up again
    /// unless it just was, and what is new is tried.
    pub(super) async fn connect<T, E, F>(
        &self,
        connect: impl Fn(SocketAddr) -> F + Send + Sync,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Trouble,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let host = match self {
            Places::At(addr) => return connect(*addr).await,
            Places::Of(host) => host,
        };
        let (mut tried, mut failed) = (Vec::new(), None);
        loop {
            let mut addresses = match host.addresses().await {
                Ok(addresses) => addresses,
                Err(nowhere) => return Err(failed.unwrap_or_else(|| io::Error::other(nowhere).into())),
            };
            addresses.retain(|addr| !tried.contains(addr));
            if let Some(failed) = failed.take_if(|_| addresses.is_empty()) {
                return Err(failed);
            }
            let trying = Trying { host, begun: Instant::now(), is_over: false };
            tried.extend_from_slice(&addresses);
            match first(addresses, &connect).await {
                Ok((addr, connected)) => {
                    trying.over(Some(addr));
                    return Ok(connected);
                }
                Err(error) => {
                    trying.over(None);
                    failed = Some(more_telling(failed, error));
                }
            }
        }
    }
}

impl Places {
    /// The way there may be another one by now: what was not found is looked for again at once.
    pub(super) fn renew(&self) {
        if let Places::Of(host) = self {
            host.lock().renew();
        }
    }
}

impl Host {
    /// Looks it up by `lookup` when that is first needed, and waits for no longer than `patience`.
    pub(super) fn new(name: Name, port: u16, lookup: Arc<dyn Lookup>, patience: Duration) -> Host {
        let now = Instant::now();
        let (addresses, trouble) = (Vec::new(), String::new());
        let known = Known { addresses, until: now, looked: now, in_doubt: false, trouble };
        let known = Mutex::new(known);
        Host { name, port, lookup, patience, known, looking: tokio::sync::Mutex::default() }
    }

    /// Its addresses: those that are known, if they are still believed or nothing better can be had.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Nowhere> {
        if let Some(known) = self.lock().current() {
            return known;
        }
        let _looking = self.looking.lock().await;
        // Another connection may just have looked.
        if let Some(known) = self.lock().current() {
            return known;
        }
        let looking = timeout(self.patience, self.lookup.look_up(&self.name));
        let found = looking.await.unwrap_or_else(|_| Err("no answer came in time".to_owned()));
        let mut known = self.lock();
        known.note(found, self.port);
        known.told()
    }

    /// What is known; whoever panicked with it left it whole.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What is to be told without looking; none if somebody has to look.
    fn current(&self) -> Option<Result<Vec<SocketAddr>, Nowhere>> {
        (Instant::now() < self.until).then(|| self.told())
    }

    /// The addresses, or why there are none.
    fn told(&self) -> Result<Vec<SocketAddr>, Nowhere> {
        match self.addresses.is_empty() {
            true => Err(Nowhere(self.trouble.clone())),
            false => Ok(self.addresses.clone()),
        }
    }

    /// Notes what a look-up came to. Where it found nothing, what was known before is used on.
    fn note(&mut self, found: Result<Found, String>, port: u16) {
        self.looked = Instant::now();
        self.in_doubt = false;
        let found = found.and_then(|found| match found.addresses.is_empty() {
            true => Err("it has no address".to_owned()),
            false => Ok(found),
        });
        match found {
            Ok(found) => {
                self.addresses = by_turns(&found.addresses, port);
                self.until = self.looked + found.lifetime.clamp(MIN_LIFETIME, MAX_LIFETIME);
            }
            Err(trouble) => {
                (self.trouble, self.in_doubt) = (trouble, true);
                let again = if self.addresses.is_empty() { RETRY_SOON } else { RETRY_AFTER };
                self.until = self.looked + again;
            }
        }
    }

    /// Notes that one was connected to: the next connection begins with it.
    fn prefer(&mut self, addr: SocketAddr) {
        if let Some(place) = self.addresses.iter().position(|other| *other == addr) {
            self.addresses[..=place].rotate_right(1);
        }
    }

    /// Notes that it is worth to look again, if there is a doubt: what kept it from being found may be over.
    fn renew(&mut self) {
        if self.in_doubt {
            self.until = Instant::now();
        }
    }

    /// Notes that the server is at none of them: they are looked up anew, unless they just were.
    fn doubt(&mut self) {
        self.in_doubt = true;
        self.until = self.until.min(self.looked + RETRY_AFTER);
    }
}

/// Addresses that are being tried. Given up after a while, they are doubted like those that failed.
struct Trying<'h> {
    host: &'h Host,
    begun: Instant,
    is_over: bool,
}

impl Trying<'_> {
    /// The server is at this one, or at none of them.
    fn over(mut self, at: Option<SocketAddr>) {
        self.is_over = true;
        match at {
            Some(addr) => self.host.lock().prefer(addr),
            None => self.host.lock().doubt(),
        }
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.begun.elapsed() >= HUNG_AFTER {
            self.host.lock().doubt();
        }
    }
}

/// Which of two failures says more: that somebody else is there is what has to be looked into, and is not hidden by an address where
/// there is nobody.
fn more_telling<E: Trouble>(before: Option<E>, now: E) -> E {
    match before {
        Some(before) if before.is_of_certificate() => before,
        _ => now,
    }
}

/// Addresses in the order they are tried: those of IPv6 and IPv4 by turns (RFC 8305 §4).
fn by_turns(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let mut six = addresses.iter().filter(|ip| ip.is_ipv6());
    let mut four = addresses.iter().filter(|ip| ip.is_ipv4());
    let mut turns: Vec<&IpAddr> = Vec::new();
    while turns.len() < MAX_TRIED {
        let before = turns.len();
        turns.extend(six.next());
        turns.extend(four.next());
        if turns.len() == before {
            break;
        }
    }
    turns.into_iter().take(MAX_TRIED).map(|ip| SocketAddr::new(*ip, port)).collect()
}

/// Connects to the first of some addresses at which that succeeds. The next one is tried when the last one fails, or
/// does not come to anything for a while; all are given up with the future (RFC 8305 §5).
async fn first<T, E, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), E>
where
    T: Send + 'static,
    E: Trouble,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut left = addresses.into_iter();
    let mut trying = JoinSet::new();
    let mut failed = None;
    loop {
        match left.next() {
            Some(addr) => {
                let connecting = connect(addr);
                trying.spawn(async move { connecting.await.map(|connected| (addr, connected)) });
            }
            None if trying.is_empty() => {
                return Err(failed.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable).into()));
            }
            None => {}
        }
        tokio::select! {
            Some(tried) = trying.join_next() => match tried {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => failed = Some(more_telling(failed, error)),
                Err(broken) => failed = Some(io::Error::other(broken).into()),
            },
            () = sleep(NEXT_AFTER), if left.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;

    use super::*;

    /// What look-ups come to, one after the other.
    type Script = Arc<Mutex<VecDeque<Result<Found, String>>>>;

    /// Look-ups that come to this, and then to nothing.
    #[derive(Debug)]
    struct Scripted(Script);

    impl Lookup for Scripted {
        fn look_up<'a>(&'a self, host: &'a Name) -> Looking<'a> {
            assert_eq!(*host, "dns.example".parse().unwrap());
            let next = self.0.lock().unwrap().pop_front();
            Box::pin(async move {
                match next {
                    Some(found) => found,
                    None => pending().await,
                }
            })
        }
    }

    /// What a look-up comes to: addresses, and how long they are good for.
    fn found(addresses: &[&str], seconds: u64) -> Result<Found, String> {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Ok(Found { addresses, lifetime: Duration::from_secs(seconds) })
    }

    /// A host whose look-ups come to this, and those that are left.
    fn host(script: Vec<Result<Found, String>>) -> (Places, Script) {
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let lookup = Arc::new(Scripted(Arc::clone(&script)));
        let name = "dns.example".parse().unwrap();
        (Places::Of(Box::new(Host::new(name, 853, lookup, Duration::from_secs(2)))), script)
    }

    /// Connects: to those that end in an odd octet at once, never to those that end in zero, and else fails.
    async fn connect(addr: SocketAddr) -> io::Result<SocketAddr> {
        let octet = match addr.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        match octet {
            0 => pending().await,
            odd if odd % 2 == 1 => Ok(addr),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_lets_itself_be_connected_to_is_taken() {
        for (addresses, expected, took_ms) in [
            (&["192.0.2.1", "192.0.2.3"][..], Some("192.0.2.1:853"), 0),
            (&["192.0.2.1", "2001:db8::1"], Some("[2001:db8::1]:853"), 0),
            (&["2001:db8::2", "192.0.2.2", "192.0.2.1"], Some("192.0.2.1:853"), 0),
            (&["2001:db8::", "192.0.2.1"], Some("192.0.2.1:853"), 250),
            (&["2001:db8::", "192.0.2.0", "192.0.2.2", "192.0.2.3"], Some("192.0.2.3:853"), 500),
            (&["192.0.2.2", "2001:db8::2"], None, 0),
        ] {
            let (places, _) = host(vec![found(addresses, 300)]);
            let begun = Instant::now();
            let connected = places.connect(connect).await;
            assert_eq!(
                connected.as_ref().ok().map(SocketAddr::to_string).as_deref(),
                expected,
                "{addresses:?}"
            );
            assert_eq!(begun.elapsed().as_millis(), took_ms, "{addresses:?}");
            if let Err(error) = connected {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_connection_begins_where_the_last_one_was() {
        let (places, _) = host(vec![found(&["2001:db8::", "192.0.2.1"], 300)]);
        for took_ms in [250, 0, 0] {
            let begun = Instant::now();
            places.connect(connect).await.unwrap();
            assert_eq!(begun.elapsed().as_millis(), took_ms);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_looked_up_again_when_they_end_and_used_on_while_that_fails() {
        let no = |why: &str| Err(why.to_owned());
        let script =
            vec![found(&["192.0.2.1"], 60), no("nobody there"), found(&[], 60), found(&["192.0.2.3"], 1)];
        let (places, left) = host(script);
        for (seconds, expected, left_then) in [
            (0, 1, 3),
            (59, 1, 3),
            // The next look-up fails, and no other one is made for ten seconds.
            (2, 1, 2),
            (9, 1, 2),
            // A host that has no address any more is not believed either.
            (2, 1, 1),
            (11, 3, 0),
            // What is good for a second is believed for thirty.
            (29, 3, 0),
        ] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let addr = places.connect(connect).await.unwrap();
            let place = (addr.to_string(), left.lock().unwrap().len());
            assert_eq!(place, (format!("192.0.2.{expected}:853"), left_then));
        }
        // A look-up that hangs is not waited for longer than is said.
        tokio::time::advance(Duration::from_secs(2)).await;
        let begun = Instant::now();
        assert_eq!(places.connect(connect).await.unwrap().to_string(), "192.0.2.3:853");
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_all_fail_are_looked_up_again() {
        let (places, left) = host(vec![found(&["192.0.2.2"], 3600), found(&["192.0.2.1"], 3600)]);
        for seconds in [0, 1, 8] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            places.connect(connect).await.unwrap_err();
            assert_eq!(left.lock().unwrap().len(), 1, "not more often than every ten seconds");
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        places.connect(connect).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_begin_to_fail_are_looked_up_within_the_same_connection() {
        let none = || Err("nobody there".to_owned());
        for (next, expected, left_then) in [
            (found(&["192.0.2.2", "192.0.2.3"], 60), Some("192.0.2.3:853"), 1),
            // What has just failed is not tried again, nor is looked up once more what just was.
            (found(&["192.0.2.2"], 60), None, 1),
            (found(&["192.0.2.2", "192.0.2.4"], 60), None, 1),
            (none(), None, 1),
        ] {
            let (places, left) = host(vec![found(&["192.0.2.2"], 3600), next.clone(), none()]);
            let refused = |connected: io::Result<SocketAddr>| connected.map_err(|error| error.kind());
            let begin = refused(places.connect(connect).await);
            assert_eq!(begin, Err(io::ErrorKind::ConnectionRefused));
            tokio::time::advance(RETRY_AFTER).await;
            let tried = Mutex::new(Vec::new());
            let noted = |addr| {
                tried.lock().unwrap().push(addr);
                connect(addr)
            };
            let then = refused(places.connect(noted).await);
            let expected = expected.map(|addr| addr.parse().unwrap());
            assert_eq!(then, expected.ok_or(io::ErrorKind::ConnectionRefused), "{next:?}");
            assert_eq!(left.lock().unwrap().len(), left_then, "{next:?}");
            let mut tried = tried.into_inner().unwrap();
            let all = tried.len();
            tried.sort_unstable();
            tried.dedup();
            assert_eq!(tried.len(), all, "each once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_somebody_else_answers_all_day_look_ups_are_few() {
        let (places, left) = host(vec![found(&["192.0.2.2"], 86_400); 100]);
        for _ in 0..6000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            places.connect(connect).await.unwrap_err();
        }
        assert_eq!(100 - left.lock().unwrap().len(), 6, "one in ten seconds of this minute");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_hang_are_looked_up_again() {
        for (waited_ms, left_then) in [(499, 1), (500, 0)] {
            let (places, left) = host(vec![found(&["192.0.2.0"], 3600), found(&["192.0.2.1"], 3600)]);
            let hanging = timeout(Duration::from_millis(waited_ms), places.connect(connect)).await;
            assert!(hanging.is_err());
            tokio::time::advance(RETRY_AFTER).await;
            let _ = timeout(Duration::from_millis(499), places.connect(connect)).await;
            assert_eq!(left.lock().unwrap().len(), left_then, "{waited_ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn that_somebody_else_is_there_is_what_is_told() {
        let other = |addr: SocketAddr| {
            std::future::ready(match addr.ip().to_string().as_str() {
                "192.0.2.1" => {
                    Err(io::Error::other(rustls::Error::from(rustls::CertificateError::NotValidForName)))
                }
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            })
        };
        for addresses in [["192.0.2.1", "192.0.2.2"], ["192.0.2.2", "192.0.2.1"]] {
            let (places, _) = host(vec![found(&addresses, 60)]);
            let failed: io::Result<()> = places.connect(other).await;
            assert!(failed.unwrap_err().is_of_certificate(), "{addresses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_not_found_is_told_and_asked_for_again_soon() {
        let (places, left) =
            host(vec![Err("nobody there".to_owned()), found(&[], 60), found(&["192.0.2.1"], 60)]);
        for (millis, said, left_then) in
            [(0, "nobody there", 2), (999, "nobody there", 2), (2, "it has no address", 1), (1000, "", 0)]
        {
            tokio::time::advance(Duration::from_millis(millis)).await;
            let said_then =
                places.connect(connect).await.map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!((said_then.as_str(), left.lock().unwrap().len()), (said, left_then));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_found_is_looked_up_at_once_when_the_network_is_another_one() {
        let no = || Err("nobody there".to_owned());
        let script =
            vec![no(), found(&["192.0.2.2"], 60), found(&["192.0.2.1"], 60), no(), found(&["192.0.2.3"], 60)];
        let (places, left) = host(script);
        for (seconds, is_renewed, connects, left_then) in [
            (0, false, false, 4),
            // It would not be looked up for another second.
            (0, false, false, 4),
            (0, true, false, 3),
            // None of them could be connected to; they would be looked up after ten.
            (0, false, false, 3),
            (0, true, true, 2),
            // Nothing was wrong.
            (1, true, true, 2),
            (60, false, true, 1),
            (0, true, true, 0),
        ] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            if is_renewed {
                places.renew();
            }
            let outcome = (places.connect(connect).await.is_ok(), left.lock().unwrap().len());
            assert_eq!(outcome, (connects, left_then));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_connections_looks_up_once() {
        let (places, left) = host(vec![found(&["192.0.2.1"], 60), found(&["192.0.2.3"], 60)]);
        let (a, b, c) =
            tokio::join!(places.connect(connect), places.connect(connect), places.connect(connect));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!(left.lock().unwrap().len(), 1);
    }

    #[test]
    fn families_are_tried_by_turns_and_addresses_are_bounded() {
        let many: Vec<IpAddr> = (0..20).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        assert_eq!(by_turns(&many, 853).len(), MAX_TRIED);
        let mixed: Vec<IpAddr> = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let turns: Vec<String> = by_turns(&mixed, 1).iter().map(ToString::to_string).collect();
        assert_eq!(turns, ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
    }
}
