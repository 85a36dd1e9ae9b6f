//! How each server is best asked: with EDNS and in random case, unless it was seen to bear neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Exchange;
use super::failure::Failure;
use super::message::{self, Manner};
use crate::dns::Question;

/// How long it is remembered: as long as Unbound remembers what it knows of a host (infra-host-ttl).
const REMEMBERED: Duration = Duration::from_secs(900);

/// What is known of one server.
#[derive(Debug)]
pub(super) struct Manners {
    start: Instant,
    /// Until when it is asked without EDNS, in milliseconds since the start.
    no_edns_until: AtomicU64,
    /// Until when it is asked in lower case.
    one_case_until: AtomicU64,
}

/// Asks a server as `E` does, and once more in another manner where it does not bear the first.
#[derive(Debug)]
pub(super) struct Mannered<E> {
    inner: E,
    manners: Arc<Manners>,
}

impl Default for Manners {
    /// Nothing is known.
    fn default() -> Manners {
        let (no_edns_until, one_case_until) = (AtomicU64::new(0), AtomicU64::new(0));
        Manners { start: Instant::now(), no_edns_until, one_case_until }
    }
}

impl Manners {
    /// How to ask by datagram now.
    pub(super) fn by_datagram(&self) -> Manner {
        let now = self.millis();
        let past = |until: &AtomicU64| until.load(Ordering::Relaxed) <= now;
        Manner { edns: past(&self.no_edns_until), mixed_case: past(&self.one_case_until), padded: false }
    }

    /// How to ask by stream now: who is not on the way to the server cannot write into it, so there is nothing to guess.
    pub(super) fn by_stream(&self) -> Manner {
        Manner { mixed_case: false, ..self.by_datagram() }
    }

    /// Milliseconds since the start.
    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Remembers something for a time.
    fn remember(&self, until: &AtomicU64) {
        until.store(self.millis() + REMEMBERED.as_millis() as u64, Ordering::Relaxed);
    }
}

impl<E> Mannered<E> {
    /// Asks by `inner`, which goes by `manners`.
    pub(super) fn new(inner: E, manners: Arc<Manners>) -> Mannered<E> {
        Mannered { inner, manners }
    }
}

impl<E: Exchange> Exchange for Mannered<E> {
    async fn exchange(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        let manners = &self.manners;
        let edns = manners.by_datagram().edns;
        match self.inner.exchange(question).await {
            // RFC 6891 §7: who does not know OPT says FORMERR (or NOTIMP, as some do), and is asked again without it.
            Ok(reply) if edns && message::may_be_about_edns(&reply) => {
                manners.remember(&manners.no_edns_until);
                let plain = self.inner.exchange(question).await;
                if plain.as_ref().is_ok_and(|plain| !message::may_be_about_edns(plain)) {
                    return plain;
                }
                // It was not about that.
                manners.no_edns_until.store(0, Ordering::Relaxed);
                Ok(reply)
            }
            Err(Failure::WrongCase) => {
                manners.remember(&manners.one_case_until);
                self.inner.exchange(question).await
            }
            result => result,
        }
    }

    fn guesses(&self) -> u64 {
        self.inner.guesses()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::dns::testing::question;
    use crate::iana::Rtype;

    /// A server that says what a function of the manner it is asked in gives.
    struct Server {
        says: fn(Manner) -> Result<&'static [u8], Failure>,
        manners: Arc<Manners>,
        asked: Mutex<Vec<(bool, bool)>>,
    }

    impl Exchange for Server {
        async fn exchange(&self, _: &Question) -> Result<Vec<u8>, Failure> {
            let manner = self.manners.by_datagram();
            self.asked.lock().unwrap().push((manner.edns, manner.mixed_case));
            (self.says)(manner).map(<[u8]>::to_vec)
        }
    }

    const GOOD: &[u8] = b"\0\0\x81\x80\0\x01\0\0\0\0\0\0";
    const FORMERR: &[u8] = b"\0\0\x81\x81\0\x01\0\0\0\0\0\0";
    const NOTIMP: &[u8] = b"\0\0\x81\x84\0\x01\0\0\0\0\0\0";

    #[tokio::test(start_paused = true)]
    async fn what_a_server_does_not_bear_is_left_out_for_a_time() {
        type Case = (fn(Manner) -> Result<&'static [u8], Failure>, &'static [(bool, bool)], bool);
        let cases: [Case; 5] = [
            (|_| Ok(GOOD), &[(true, true), (true, true)], true),
            (
                |manner| Ok(if manner.edns { FORMERR } else { GOOD }),
                &[(true, true), (false, true), (false, true)],
                true,
            ),
            (
                |manner| Ok(if manner.edns { NOTIMP } else { GOOD }),
                &[(true, true), (false, true), (false, true)],
                true,
            ),
            // Not about EDNS: it is asked with it again.
            (|_| Ok(FORMERR), &[(true, true), (false, true), (true, true), (false, true)], false),
            (
                |manner| if manner.mixed_case { Err(Failure::WrongCase) } else { Ok(GOOD) },
                &[(true, true), (true, false), (true, false)],
                true,
            ),
        ];
        for (says, expected, good) in cases {
            let manners = Arc::new(Manners::default());
            let server = Server { says, manners: Arc::clone(&manners), asked: Mutex::default() };
            let mannered = Mannered::new(server, manners);
            let question = question("x", Rtype::A);
            for _ in 0..2 {
                assert_eq!(mannered.exchange(&question).await.as_deref() == Ok(GOOD), good);
            }
            assert_eq!(*mannered.inner.asked.lock().unwrap(), expected);
            tokio::time::advance(REMEMBERED + Duration::from_secs(1)).await;
            mannered.inner.asked.lock().unwrap().clear();
            let _ = mannered.exchange(&question).await;
            assert_eq!(mannered.inner.asked.lock().unwrap()[0], (true, true));
        }
    }
}
