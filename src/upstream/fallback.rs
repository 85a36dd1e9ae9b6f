//! By datagram, and by stream where that does not do.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::begun::{Came, Landing, Outcome};
use super::case::Case;
use super::failure::Failure;
use super::message::{self, Manner};
use super::{Cookied, Exchange};
use crate::dns::{Question, Truth};

/// How long TCP is waited for where there is something to fall back on: a server may have no TCP, and be silent about that.
const STREAM_WAIT: Duration = Duration::from_millis(500);

/// Asks by datagram first.
#[derive(Debug)]
pub(super) struct Fallback<D, S> {
    datagram: D,
    stream: S,
    /// The case that the datagrams are in.
    case: Arc<Case>,
}

impl<D, S> Fallback<D, S> {
    /// Both ask the same server.
    pub(super) fn new(datagram: D, stream: S, case: Arc<Case>) -> Fallback<D, S> {
        Fallback { datagram, stream, case }
    }
}

impl<D: Exchange, S: Exchange> Fallback<D, S> {
    /// What came by datagram, or what comes by stream where that does not do.
    async fn complete(&self, question: &Question, manner: Manner, came: Outcome) -> Outcome {
        match came {
            // RFC 2181 §9: a truncated reply is not used itself, but asked for again over TCP.
            Ok(reply) if message::is_truncated(&reply) => self.stream.exchange(question, manner).await,
            Ok(reply) if !Truth::is_whole(&reply) => self.stream.exchange(question, manner).await,
            // RFC 7873 §5.3: where the server's own cookie of a moment ago is not good enough for it, TCP is.
            Ok(reply) if message::wants_cookie(&reply) => self.stream.exchange(question, manner).await,
            // More than we said we take: it came in fragments, which are easier to forge than a port and an ID (RFC 9715 §3.1).
            // Where the stream fails, or hangs, it is what there is.
            Ok(reply) if message::is_large(&reply) => self.by_stream(question, manner).await.or(Ok(reply)),
            // RFC 5452 §9.3: where somebody seems to guess, the question may be put again over TCP. Who guesses must not be able to
            // keep anybody from an answer: where TCP fails, or hangs, it is put once more from another port.
            Err(Failure::WrongReply | Failure::WrongCookie) => match self.by_stream(question, manner).await {
                Ok(reply) => Ok(reply),
                Err(_) => match self.datagram.exchange(question, manner).await {
                    Err(Failure::WrongCase(reply)) => self.confirm(question, manner, reply).await,
                    result => result,
                },
            },
            Err(Failure::WrongCase(reply)) => self.confirm(question, manner, reply).await,
            result => result,
        }
    }

    /// What comes by stream in time.
    async fn by_stream(&self, question: &Question, manner: Manner) -> Outcome {
        let by_stream = timeout(STREAM_WAIT, self.stream.exchange(question, manner)).await;
        by_stream.unwrap_or(Err(Failure::TimedOut))
    }

    /// What comes of a question to which a reply in another case came: the server may not keep the case, or somebody has guessed all but
    /// that. It is put again by stream as where somebody guesses, and where that fails, or hangs as of who has no TCP, by another datagram. Whoever
    /// changes the case of that too has guessed twice, or is the server.
    async fn confirm(&self, question: &Question, manner: Manner, changed: Vec<u8>) -> Outcome {
        let confirmed = match self.by_stream(question, manner).await {
            Ok(reply) => reply,
            Err(_) => match self.datagram.exchange(question, manner).await {
                Err(Failure::WrongCase(reply))
                    if !message::is_truncated(&reply) && Truth::is_whole(&reply) =>
                {
                    reply
                }
                // One that keeps the case, for one.
                result => return result,
            },
        };
        if message::say_the_same(&changed, &confirmed) {
            self.case.note_change(question);
        }
        Ok(confirmed)
    }
}

impl<D: Exchange, S: Exchange> Exchange for Fallback<D, S> {
    async fn exchange(&self, question: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
        if manner.by_stream {
            return self.stream.exchange(question, manner).await;
        }
        let came = self.datagram.exchange(question, manner).await;
        self.complete(question, manner, came).await
    }

    fn may_begin(&self) -> bool {
        self.datagram.may_begin()
    }

    fn begin(&self, question: &Question, landing: Landing, due: Instant) {
        self.datagram.begin(question, landing, due);
    }

    async fn go_on(&self, question: &Question, came: Came) -> Result<Vec<u8>, Failure> {
        let came = self.datagram.go_on(question, came).await;
        self.complete(question, Manner::USUAL, came).await
    }

    fn renew(&self) {
        self.datagram.renew();
        self.stream.renew();
    }

    fn guesses(&self) -> u64 {
        self.datagram.guesses()
    }

    fn cookied(&self) -> Cookied {
        self.datagram.cookied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;
    use std::sync::Mutex;

    use super::*;
    use crate::dns::testing::question;
    use crate::iana::Rtype;

    /// Says the same whatever is asked.
    struct Says(Result<&'static [u8], Failure>);

    impl Exchange for Says {
        async fn exchange(&self, _: &Question, _: Manner) -> Result<Vec<u8>, Failure> {
            self.0.clone().map(<[u8]>::to_vec)
        }
    }

    /// What a server answers by datagram, one time after the other.
    struct Scripted(Mutex<VecDeque<Result<Vec<u8>, Failure>>>);

    impl Exchange for Scripted {
        async fn exchange(&self, _: &Question, _: Manner) -> Result<Vec<u8>, Failure> {
            self.0.lock().unwrap().pop_front().unwrap_or(Err(Failure::TimedOut))
        }
    }

    /// Never says a word.
    struct Hangs;

    impl Exchange for Hangs {
        async fn exchange(&self, _: &Question, _: Manner) -> Result<Vec<u8>, Failure> {
            pending().await
        }
    }

    /// The case of a server of which nothing is known.
    fn case() -> Arc<Case> {
        Arc::new(Case::of(&"192.0.2.1".parse().unwrap()))
    }

    /// A reply to `x.` A that holds an address.
    fn address(last: u8) -> Vec<u8> {
        let head = [0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1];
        [&head[..], &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]].concat()
    }

    /// Whether three questions whose replies these are have random case left, and what the last one came to.
    async fn after_three(datagrams: &[Result<Vec<u8>, Failure>], stream: impl Exchange) -> (bool, Outcome) {
        let case = case();
        let fallback = Fallback::new(Scripted(Mutex::default()), stream, Arc::clone(&case));
        let mut last = Err(Failure::TimedOut);
        for name in ["a", "b", "c"] {
            assert!(case.borne(Manner::USUAL).mixed_case, "{name}");
            fallback.datagram.0.lock().unwrap().extend(datagrams.iter().cloned());
            last = fallback.exchange(&question(name, Rtype::A), Manner::USUAL).await;
            fallback.datagram.0.lock().unwrap().clear();
        }
        (!case.borne(Manner::USUAL).mixed_case, last)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_in_another_case_is_confirmed_before_it_says_something_of_the_server() {
        let by_stream = |last| Scripted(Mutex::new((0..3).map(|_| Ok(address(last))).collect()));
        let none = || Says(Err(Failure::Refused));
        let (changed, kept) = (|last| Err(Failure::WrongCase(address(last))), |last| Ok(address(last)));
        // It says the same by TCP: it is the server.
        assert_eq!(after_three(&[changed(1)], by_stream(1)).await, (true, Ok(address(1))));
        // Somebody has guessed all but the letters: the truth is told, and nothing is left.
        assert_eq!(after_three(&[changed(6)], by_stream(1)).await, (false, Ok(address(1))));
        // The same without TCP, which refuses or hangs.
        assert_eq!(after_three(&[changed(1), changed(1)], none()).await, (true, Ok(address(1))));
        assert_eq!(after_three(&[changed(1), changed(1)], Hangs).await, (true, Ok(address(1))));
        assert_eq!(after_three(&[changed(6), changed(1)], none()).await, (false, Ok(address(1))));
        assert_eq!(after_three(&[changed(6), kept(1)], none()).await, (false, Ok(address(1))));
        // After a guess of another kind as well.
        let guess = || Err(Failure::WrongReply);
        assert_eq!(after_three(&[guess(), changed(1), changed(1)], none()).await, (true, Ok(address(1))));
        let cut = || Err(Failure::WrongCase(address(1)[..30].to_vec()));
        assert_eq!(after_three(&[changed(1), cut()], none()).await, (false, cut()));
    }

    #[tokio::test]
    async fn truncated_replies_and_guesses_lead_to_the_stream() {
        // Header, and `x.` A as the question.
        let message = |flags: u8, answers: u8, rest: &[u8]| -> &'static [u8] {
            let head = [0, 0, flags, 0x80, 0, 1, 0, answers, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1];
            [&head, rest].concat().leak()
        };
        let (whole, truncated, cut) =
            (message(0x81, 0, &[]), message(0x83, 0, &[]), message(0x81, 1, &[0xc0, 12, 0]));
        let large = message(0x81, 0, &[0; 1300]);
        let mut bad_cookie = [message(0x81, 0, &[0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0])].concat();
        (bad_cookie[3], bad_cookie[11]) = (0x87, 1);
        let bad_cookie = &*bad_cookie.leak();
        let by_stream = || Ok(&b"\0\0\x81\x80tcp"[..]);
        for (datagram, stream, expected) in [
            (Ok(whole), Err(Failure::Refused), Ok(whole)),
            (Ok(truncated), by_stream(), by_stream()),
            (Ok(truncated), Err(Failure::Refused), Err(Failure::Refused)),
            (Ok(cut), by_stream(), by_stream()),
            (Ok(cut), Err(Failure::Refused), Err(Failure::Refused)),
            // What came in fragments is used where there is nothing better.
            (Ok(large), by_stream(), by_stream()),
            (Ok(large), Err(Failure::Refused), Ok(large)),
            (Err(Failure::WrongReply), by_stream(), by_stream()),
            (Err(Failure::WrongReply), Err(Failure::Refused), Err(Failure::WrongReply)),
            (Err(Failure::WrongCookie), by_stream(), by_stream()),
            (Ok(bad_cookie), by_stream(), by_stream()),
            (Ok(bad_cookie), Err(Failure::Refused), Err(Failure::Refused)),
            (Err(Failure::TimedOut), by_stream(), Err(Failure::TimedOut)),
            (Err(Failure::Refused), by_stream(), Err(Failure::Refused)),
            (Err(Failure::Busy), by_stream(), Err(Failure::Busy)),
        ] {
            let question = question("x", Rtype::A);
            let said = Fallback::new(Says(datagram.clone()), Says(stream), case())
                .exchange(&question, Manner::PLAIN)
                .await;
            assert_eq!(said, expected.map(<[u8]>::to_vec), "{datagram:?}");
        }
        // Who is to be asked by stream is asked by nothing else.
        let manner = Manner { by_stream: true, ..Manner::PLAIN };
        let both = Fallback::new(Says(Ok(whole)), Says(by_stream()), case());
        assert_eq!(both.exchange(&question("x", Rtype::A), manner).await, by_stream().map(<[u8]>::to_vec));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_hangs_keeps_nobody_from_what_there_is() {
        let large: &[u8] =
            [&[0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1], &[0; 1300][..]]
                .concat()
                .leak();
        for (datagram, expected) in
            [(Ok(large), Ok(large.to_vec())), (Err(Failure::WrongReply), Err(Failure::WrongReply))]
        {
            let begun = Instant::now();
            let both = Fallback::new(Says(datagram), Hangs, case());
            let said = both.exchange(&question("x", Rtype::A), Manner::PLAIN).await;
            assert_eq!((said, begun.elapsed()), (expected, STREAM_WAIT));
        }
    }
}
