//! How each server is best asked: with EDNS, unless it was seen not to bear it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::begun::{Came, Landing, Outcome};
use super::failure::Failure;
use super::message::{self, Manner};
use super::{Cookied, Exchange};
use crate::dns::Question;

/// How long it is remembered: as long as Unbound remembers what it knows of a host (infra-host-ttl).
const REMEMBERED: Duration = Duration::from_secs(900);
/// Questions in a row that a server was silent to with EDNS and answered without, until it is asked without: one or two may be lost.
const MAX_SILENCES: u32 = 3;

/// Asks a server as `E` does, and once more in another manner where it does not bear the first.
#[derive(Debug)]
pub(super) struct Mannered<E> {
    inner: E,
    start: Instant,
    /// Until when it is asked without EDNS, in milliseconds since the start.
    no_edns_until: AtomicU64,
    /// Until when it is known to bear EDNS: an error is then about the question, and says nothing of others.
    bears_edns_until: AtomicU64,
    /// Questions that it answered without EDNS, as it was asked once it had been silent, since it last answered one with.
    silences: AtomicU32,
}

impl<E> Mannered<E> {
    /// Asks by `inner`; nothing is known.
    pub(super) fn new(inner: E) -> Mannered<E> {
        let [no_edns_until, bears_edns_until] = [const { AtomicU64::new(0) }; 2];
        let silences = AtomicU32::new(0);
        Mannered { inner, start: Instant::now(), no_edns_until, bears_edns_until, silences }
    }

    /// Milliseconds since the start.
    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether something is remembered.
    fn remembers(&self, until: &AtomicU64) -> bool {
        self.millis() < until.load(Ordering::Relaxed)
    }

    /// Whether to ask with EDNS: where a server was silent it is asked without, unless it is known to bear it.
    fn with_edns(&self, wanted: bool) -> bool {
        (wanted || self.remembers(&self.bears_edns_until)) && !self.remembers(&self.no_edns_until)
    }

    /// Notes that it answered without EDNS what it was silent to before.
    fn note_silence(&self) {
        if self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_SILENCES {
            self.silences.store(0, Ordering::Relaxed);
            self.remember(&self.no_edns_until);
        }
    }

    /// Remembers something for a time.
    fn remember(&self, until: &AtomicU64) {
        until.store(self.millis() + REMEMBERED.as_millis() as u64, Ordering::Relaxed);
    }
}

impl<E: Exchange> Mannered<E> {
    /// What came of asking in this manner, or what comes of another one where it was not borne.
    async fn complete(&self, question: &Question, manner: Manner, came: Outcome) -> Outcome {
        match came {
            // RFC 6891 §7: who does not know OPT says FORMERR (or NOTIMP, as some do), and is asked again without it. Others are asked
            // with it meanwhile, and from then on unless that was it: what is asked without has no signatures.
            Ok(reply) if manner.edns && message::may_be_about_edns(&reply) => {
                let plain = self.inner.exchange(question, Manner { edns: false, ..manner }).await;
                if !plain.as_ref().is_ok_and(|plain| !message::may_be_about_edns(plain)) {
                    return Ok(reply);
                }
                if !self.remembers(&self.bears_edns_until) {
                    self.remember(&self.no_edns_until);
                }
                plain
            }
            Ok(reply) => {
                if manner.edns && !self.remembers(&self.bears_edns_until) {
                    self.silences.store(0, Ordering::Relaxed);
                    self.remember(&self.bears_edns_until);
                }
                Ok(reply)
            }
            Err(failure) => Err(failure),
        }
    }
}

impl<E: Exchange> Exchange for Mannered<E> {
    async fn exchange(&self, question: &Question, most: Manner) -> Result<Vec<u8>, Failure> {
        let manner = Manner { edns: self.with_edns(most.edns), ..most };
        let came = self.inner.exchange(question, manner).await;
        if !most.edns && !manner.edns && came.is_ok() && !self.remembers(&self.no_edns_until) {
            self.note_silence();
        }
        self.complete(question, manner, came).await
    }

    /// Where it is known that the usual manner is borne.
    fn may_begin(&self) -> bool {
        let now = self.millis();
        let remembers = |until: &AtomicU64| now < until.load(Ordering::Relaxed);
        remembers(&self.bears_edns_until) && !remembers(&self.no_edns_until) && self.inner.may_begin()
    }

    fn begin(&self, question: &Question, landing: Landing, due: Instant) {
        self.inner.begin(question, landing, due);
    }

    async fn go_on(&self, question: &Question, came: Came) -> Result<Vec<u8>, Failure> {
        let came = self.inner.go_on(question, came).await;
        self.complete(question, Manner::USUAL, came).await
    }

    fn renew(&self) {
        // It may have been somebody on the way who did not bear it.
        self.no_edns_until.store(0, Ordering::Relaxed);
        self.inner.renew();
    }

    fn guesses(&self) -> u64 {
        self.inner.guesses()
    }

    fn cookied(&self) -> Cookied {
        self.inner.cookied()
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
        asked: Mutex<Vec<bool>>,
    }

    impl Exchange for Server {
        async fn exchange(&self, _: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
            self.asked.lock().unwrap().push(manner.edns);
            (self.says)(manner).map(<[u8]>::to_vec)
        }
    }

    const GOOD: &[u8] = b"\0\0\x81\x80\0\x01\0\0\0\0\0\0";
    const FORMERR: &[u8] = b"\0\0\x81\x81\0\x01\0\0\0\0\0\0";
    const NOTIMP: &[u8] = b"\0\0\x81\x84\0\x01\0\0\0\0\0\0";

    #[tokio::test(start_paused = true)]
    async fn what_a_server_does_not_bear_is_left_out_for_a_time() {
        type Case = (fn(Manner) -> Result<&'static [u8], Failure>, &'static [bool], bool);
        let cases: [Case; 4] = [
            (|_| Ok(GOOD), &[true, true], true),
            (|manner| Ok(if manner.edns { FORMERR } else { GOOD }), &[true, false, false], true),
            (|manner| Ok(if manner.edns { NOTIMP } else { GOOD }), &[true, false, false], true),
            // Not about EDNS: it is asked with it again.
            (|_| Ok(FORMERR), &[true, false, true, false], false),
        ];
        for (says, expected, good) in cases {
            let mannered = Mannered::new(Server { says, asked: Mutex::default() });
            let question = question("x", Rtype::A);
            for _ in 0..2 {
                assert_eq!(mannered.exchange(&question, Manner::USUAL).await.as_deref() == Ok(GOOD), good);
            }
            assert_eq!(*mannered.inner.asked.lock().unwrap(), expected);
            tokio::time::advance(REMEMBERED + Duration::from_secs(1)).await;
            mannered.inner.asked.lock().unwrap().clear();
            let _ = mannered.exchange(&question, Manner::USUAL).await;
            assert!(mannered.inner.asked.lock().unwrap()[0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_to_edns_is_asked_without() {
        let says: fn(Manner) -> Result<&'static [u8], Failure> =
            |manner| if manner.edns { Err(Failure::TimedOut) } else { Ok(GOOD) };
        let mut mannered = Mannered::new(Server { says, asked: Mutex::default() });
        let question = question("x", Rtype::A);
        // As a race asks: once more without where nothing came.
        let ask = async |mannered: &Mannered<Server>| {
            if mannered.exchange(&question, Manner::USUAL).await.is_err() {
                let _ = mannered.exchange(&question, Manner { edns: false, ..Manner::USUAL }).await;
            }
            std::mem::take(&mut *mannered.inner.asked.lock().unwrap()).len()
        };
        for tries in [2, 2, 2, 1, 1] {
            assert_eq!(ask(&mannered).await, tries);
        }
        tokio::time::advance(REMEMBERED + Duration::from_secs(1)).await;
        assert_eq!(ask(&mannered).await, 2);
        // One that answered with EDNS lately has lost a datagram, or is down: it is asked the same again.
        mannered.inner.says = |_| Ok(GOOD);
        assert_eq!(ask(&mannered).await, 1);
        mannered.inner.says = says;
        for _ in 0..5 {
            assert_eq!(ask(&mannered).await, 2);
        }
        assert!(
            mannered.remembers(&mannered.bears_edns_until) && !mannered.remembers(&mannered.no_edns_until)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_about_one_question_says_nothing_of_others_where_edns_is_borne() {
        let says: fn(Manner) -> Result<&'static [u8], Failure> = |_| Ok(GOOD);
        let mut mannered = Mannered::new(Server { says, asked: Mutex::default() });
        let question = question("x", Rtype::A);
        let _ = mannered.exchange(&question, Manner::USUAL).await;
        mannered.inner.says = |manner| Ok(if manner.edns { FORMERR } else { GOOD });
        for _ in 0..2 {
            assert_eq!(mannered.exchange(&question, Manner::USUAL).await.as_deref(), Ok(GOOD));
        }
        let expected = [true, true, false, true, false];
        assert_eq!(*mannered.inner.asked.lock().unwrap(), expected);
    }
}
