//! DNS cookies (RFC 7873, RFC 9018): a server that is asked by datagram gives us one, and shows it with each reply from then on.
//!
//! Who forges replies has to guess 64 bits more than port, ID and case. Nothing is asked of a server for that but an option: one question at
//! a time tries whether it knows cookies, others go without meanwhile, and where nothing comes of it none is sent for a while.
//!
//! A cookie of ours is drawn for each try, so it is sent again only beside the one that the server gave for it. Both belong to
//! the address we were asked from: from another one they are not shown, for that would tell who we are.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Octets of a client cookie (RFC 7873 §4).
pub(super) const CLIENT_LEN: usize = 8;
/// Octets of both cookies at least: a server's has 8 to 32 (RFC 7873 §4).
const MIN_LEN: usize = CLIENT_LEN + 8;
/// Octets of both cookies at most.
const MAX_LEN: usize = CLIENT_LEN + 32;
/// How long a server that gave none is asked without: RFC 9018 §3 has five minutes as its example.
const REST: Duration = Duration::from_secs(300);
/// So often is that time doubled, at most, where a server was silent to a question with a cookie: 80 minutes.
const MAX_DOUBLINGS: u32 = 4;
/// How long a cookie of ours is shown to a server: as long as c-ares shows one. It need not be changed often (RFC 9018 §3).
const MAX_AGE: Duration = Duration::from_secs(86_400);
/// Replies in a row without the cookie that was due, until the server is taken to have none any more.
const MAX_MISSING: u32 = 3;

/// A cookie of ours, and behind it the one that the server gave for it, if it did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Cookie {
    len: u8,
    octets: [u8; MAX_LEN],
}

/// What one server gave us, shared by all who ask it.
#[derive(Debug)]
pub(super) struct Cookies {
    /// None where no cookies are sent.
    state: Option<Mutex<State>>,
    /// Replies that were not taken, for want of the cookie that was due.
    refused: AtomicU64,
}

/// What is known of a server.
#[derive(Debug)]
enum State {
    /// It is asked without, until then.
    Without(Instant),
    /// A question asks it for one, since then; before that so many did and were never answered.
    Trying { cookie: Cookie, address: IpAddr, since: Instant, in_vain: u32 },
    /// It gave one to this address, and so many replies in a row lacked it.
    Given { cookie: Cookie, address: IpAddr, since: Instant, missing: u32 },
}

/// What cookies came to, as it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookied {
    /// Whether the server gives them.
    pub given: bool,
    /// Replies that were not taken, for want of the cookie that was due: forged ones, as far as one can tell.
    pub refused: u64,
}

impl Cookie {
    /// A new one of ours. RFC 9018 §3: 64 bits of entropy.
    fn fresh() -> Cookie {
        let mut octets = [0; MAX_LEN];
        octets[..CLIENT_LEN].copy_from_slice(&rand::random::<[u8; CLIENT_LEN]>());
        Cookie { len: CLIENT_LEN as u8, octets }
    }

    /// Both, as a server sends them.
    fn read(data: &[u8]) -> Option<Cookie> {
        let mut octets = [0; MAX_LEN];
        if !(MIN_LEN..=MAX_LEN).contains(&data.len()) {
            return None;
        }
        octets[..data.len()].copy_from_slice(data);
        Some(Cookie { len: data.len() as u8, octets })
    }

    /// As they stand in the option.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl fmt::Debug for Cookie {
    /// It is nobody's to know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a cookie of {} octets", self.len)
    }
}

impl Cookies {
    /// Of a server of which nothing is known; `sent` says whether any are sent.
    pub(super) fn new(sent: bool) -> Cookies {
        let state = sent.then(|| Mutex::new(State::Without(Instant::now())));
        Cookies { state, refused: AtomicU64::new(0) }
    }

    /// The cookie that a question from this address carries, if it does.
    pub(super) fn carried(&self, address: IpAddr) -> Option<Cookie> {
        let mut state = lock(self.state.as_ref()?);
        let now = Instant::now();
        let in_vain = match &*state {
            State::Given { cookie, address: to, since, .. } if *to == address && now < *since + MAX_AGE => {
                return Some(*cookie);
            }
            State::Without(until) if now < *until => return None,
            State::Trying { since, in_vain, .. } if now < *since + REST * (1 << in_vain) => return None,
            State::Trying { in_vain, .. } => (in_vain + 1).min(MAX_DOUBLINGS),
            State::Given { .. } | State::Without(_) => 0,
        };
        let cookie = Cookie::fresh();
        *state = State::Trying { cookie, address, since: now, in_vain };
        Some(cookie)
    }

    /// Whether a reply is taken, by the cookie that the question carried and the one that came with it, if one did; notes what that says of
    /// the server.
    ///
    /// RFC 7873 §5.3: a client "MUST discard the response if it contains an illegal COOKIE option length or an incorrect Client Cookie
    /// value. If the client is expecting the response to contain a COOKIE option and it is missing, the response MUST be discarded." It is
    /// expected where the server gave one before.
    pub(super) fn takes(&self, sent: &[u8], came: Option<&[u8]>) -> bool {
        let Some(state) = &self.state else { return true };
        let client = sent.get(..CLIENT_LEN).unwrap_or(sent);
        match came {
            Some(data) if data.starts_with(client) && is_legal(data.len()) => {
                match Cookie::read(data) {
                    Some(cookie) => lock(state).give(client, cookie),
                    // Ours alone, come back: it does not know what that is.
                    None => lock(state).lack(client),
                }
                return true;
            }
            Some(_) => {}
            None if sent.len() == CLIENT_LEN => {
                lock(state).lack(client);
                return true;
            }
            None => lock(state).miss(client),
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Asks without for a while, if a server is just being tried; whether it was. For one that may not bear cookies.
    pub(super) fn stop_trying(&self) -> bool {
        let Some(mut state) = self.state.as_ref().map(lock) else { return false };
        let tried = matches!(*state, State::Trying { .. });
        if tried {
            *state = State::Without(Instant::now() + REST);
        }
        tried
    }

    /// Forgets all: the way to the server may be another one.
    pub(super) fn forget(&self) {
        if let Some(state) = &self.state {
            *lock(state) = State::Without(Instant::now());
        }
    }

    /// What it came to.
    pub(super) fn cookied(&self) -> Cookied {
        let given = self.state.as_ref().is_some_and(|state| matches!(*lock(state), State::Given { .. }));
        Cookied { given, refused: self.refused.load(Ordering::Relaxed) }
    }
}

impl State {
    /// The server gave a cookie for this one of ours. What it gave for another one, which nobody shows any more, is let go.
    fn give(&mut self, client: &[u8], given: Cookie) {
        match self {
            State::Trying { cookie, address, since, .. } if cookie.octets() == client => {
                let (address, since) = (*address, *since);
                *self = State::Given { cookie: given, address, since, missing: 0 };
            }
            State::Given { cookie, missing, .. } if cookie.octets.starts_with(client) => {
                (*cookie, *missing) = (given, 0);
            }
            State::Trying { .. } | State::Given { .. } | State::Without(_) => {}
        }
    }

    /// The server gave none for this one of ours.
    fn lack(&mut self, client: &[u8]) {
        if let State::Trying { cookie, since, .. } = self
            && cookie.octets() == client
        {
            *self = State::Without(*since + REST);
        }
    }

    /// A reply did not show the cookie that the server had given for this one of ours.
    fn miss(&mut self, client: &[u8]) {
        if let State::Given { cookie, missing, .. } = self
            && cookie.octets.starts_with(client)
        {
            *missing += 1;
            if *missing >= MAX_MISSING {
                *self = State::Without(Instant::now() + REST);
            }
        }
    }
}

/// Whether an option may have so many octets: one cookie, or two (RFC 7873 §4).
fn is_legal(len: usize) -> bool {
    len == CLIENT_LEN || (MIN_LEN..=MAX_LEN).contains(&len)
}

/// What a lock holds; whoever panicked with it left it whole.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    const SERVERS: &[u8] = b"a server's";

    /// What the next question carries.
    fn carried(cookies: &Cookies) -> Option<Vec<u8>> {
        cookies.carried(HERE).map(|cookie| cookie.octets().to_vec())
    }

    /// Cookies that a server has given.
    fn given() -> (Cookies, Vec<u8>) {
        let cookies = Cookies::new(true);
        let tried = carried(&cookies).unwrap();
        let both = [&tried, SERVERS].concat();
        assert!(cookies.takes(&tried, Some(&both)));
        (cookies, both)
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_tries_and_all_show_what_it_was_given() {
        let cookies = Cookies::new(true);
        let tried = carried(&cookies).unwrap();
        assert_eq!((tried.len(), carried(&cookies)), (CLIENT_LEN, None));
        let both = [&tried, SERVERS].concat();
        assert!(cookies.takes(&tried, Some(&both)) && cookies.cookied().given);
        assert_eq!((carried(&cookies), carried(&cookies)), (Some(both.clone()), Some(both.clone())));
        // Each reply may bring another one.
        let next = [&tried, &b"another one"[..]].concat();
        assert!(cookies.takes(&both, Some(&next)));
        assert_eq!(carried(&cookies), Some(next.clone()));
        // From another address all begins anew, and so it does in another network, and after a day.
        let elsewhere = cookies.carried(THERE).unwrap();
        assert!(elsewhere.octets().len() == CLIENT_LEN && elsewhere.octets() != tried);
        // What comes to the one before is its reply, and no more.
        assert!(cookies.takes(&next, Some(&next)) && !cookies.cookied().given);
        for change in [Cookies::forget, |_: &Cookies| {}] {
            let (cookies, both) = given();
            tokio::time::advance(MAX_AGE - Duration::from_secs(1)).await;
            assert_eq!(carried(&cookies), Some(both.clone()));
            change(&cookies);
            tokio::time::advance(Duration::from_secs(1)).await;
            let anew = carried(&cookies).unwrap();
            assert!(anew.len() == CLIENT_LEN && anew != both[..CLIENT_LEN]);
        }
        assert_eq!(carried(&Cookies::new(false)), None);
    }

    #[test]
    fn replies_are_taken_by_the_cookie_they_show() {
        let ours = [7; CLIENT_LEN];
        let with = |rest: &[u8]| Some([&ours, rest].concat());
        for (sent, came, taken) in [
            // Tried for the first time: none is none, a wrong one is wrong.
            (&ours[..], None, true),
            (&ours, with(&[]), true),
            (&ours, with(&[1; 8]), true),
            (&ours, with(&[1; 32]), true),
            (&ours, with(&[1; 7]), false),
            (&ours, with(&[1; 33]), false),
            (&ours, Some(vec![8; 16]), false),
            (&ours, Some(vec![7; 7]), false),
            (&ours, Some(Vec::new()), false),
            // Given before.
            (&[7; 16], None, false),
            (&[7; 16], with(&[2; 8]), true),
            (&[7; 16], with(&[]), true),
            (&[7; 16], Some(vec![8; 16]), false),
        ] {
            let cookies = Cookies::new(true);
            assert_eq!(cookies.takes(sent, came.as_deref()), taken, "{sent:?} {came:?}");
            assert_eq!(cookies.cookied().refused, u64::from(!taken));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_none_is_asked_without_for_a_time() {
        let answers: [fn(&Cookies, &[u8]); 3] = [
            |cookies, tried| assert!(cookies.takes(tried, None)),
            |cookies, tried| assert!(cookies.takes(tried, Some(tried))),
            |cookies, _| assert!(cookies.stop_trying() && !cookies.stop_trying()),
        ];
        for answer in answers {
            let cookies = Cookies::new(true);
            let tried = carried(&cookies).unwrap();
            answer(&cookies, &tried);
            assert_eq!(carried(&cookies), None);
            tokio::time::advance(REST).await;
            // RFC 9018 §3: never the same one again.
            assert_ne!(carried(&cookies).unwrap(), tried);
        }
        // Who is silent to it is tried less and less often, and may answer late.
        let cookies = Cookies::new(true);
        let mut tried = carried(&cookies).unwrap();
        for minutes in [5, 10, 20, 40, 80, 80] {
            tokio::time::advance(Duration::from_secs(60 * minutes - 1)).await;
            assert_eq!(carried(&cookies), None);
            tokio::time::advance(Duration::from_secs(1)).await;
            tried = carried(&cookies).unwrap();
        }
        assert!(cookies.takes(&tried, Some(&[&tried, SERVERS].concat())) && cookies.cookied().given);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_none_any_more_is_asked_without_once_that_is_sure() {
        let (cookies, both) = given();
        for _ in 1..MAX_MISSING {
            assert!(!cookies.takes(&both, None));
        }
        // One reply that shows it, and all before it were forged or another server's.
        assert!(cookies.takes(&both, Some(&both)));
        for _ in 1..MAX_MISSING {
            assert!(!cookies.takes(&both, None));
            // A wrong one says nothing of the server.
            assert!(!cookies.takes(&both, Some(&[0; 16])));
        }
        assert_eq!(carried(&cookies), Some(both.clone()));
        assert!(!cookies.takes(&both, None));
        assert_eq!(carried(&cookies), None);
        tokio::time::advance(REST).await;
        assert_eq!(carried(&cookies).unwrap().len(), CLIENT_LEN);
    }
}
