//! Random case toward one server (draft-vixie-dnsext-dns0x20), until it was seen to change it.
//!
//! A reply with the right ID, at the right port, in another case is from a server that does not keep the case, or from somebody who has yet to
//! guess that. So one alone says nothing: the server is asked otherwise once it has changed the case of several questions, and
//! confirmed by another way each time what it said. Then it is asked in random case again after a while.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::message::Manner;
use super::server::Server;
use crate::dns::Question;
use crate::iana::Rtype;
use crate::name::Name;

/// Different questions whose case a server has to change...
const CHANGES: usize = 3;
/// ... within this time.
const WITHIN: Duration = Duration::from_secs(60);
/// How long it is then asked in lower case: as long as Unbound remembers what it knows of a host (infra-host-ttl).
const REMEMBERED: Duration = Duration::from_secs(900);

/// The case that one server is asked in.
#[derive(Debug)]
pub(super) struct Case {
    /// Who, as it is told.
    server: String,
    /// Whether the settings have it asked in random case.
    is_random: bool,
    start: Instant,
    /// Until when it is asked in lower case, in milliseconds since the start.
    lower_until: AtomicU64,
    /// Whether that was told: once will do.
    is_told: AtomicBool,
    /// Whose case it changed, and when; at most [`CHANGES`].
    changed: Mutex<Vec<(Name, Rtype, Instant)>>,
}

impl Case {
    /// Random unless the settings of the server have it otherwise.
    pub(super) fn of(server: &Server) -> Case {
        Case {
            server: format!("{server:#}"),
            is_random: server.random_case,
            start: Instant::now(),
            lower_until: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            changed: Mutex::default(),
        }
    }

    /// The same manner in a case that the server bears.
    pub(super) fn borne(&self, manner: Manner) -> Manner {
        Manner { mixed_case: manner.mixed_case && self.is_random && !self.is_lower(), ..manner }
    }

    /// Whether it is asked in lower case for a while.
    fn is_lower(&self) -> bool {
        match self.lower_until.load(Ordering::Relaxed) {
            // Mostly: the time is of no interest.
            0 => false,
            until => self.millis() < until,
        }
    }

    /// Notes that the server has changed the case of a question, and that the reply was its own.
    pub(super) fn note_change(&self, question: &Question) {
        let now = Instant::now();
        let mut changed = self.changed();
        changed.retain(|(_, _, at)| now < *at + WITHIN);
        if !changed.iter().any(|(name, rtype, _)| (name, rtype) == (&question.qname, &question.qtype)) {
            changed.push((question.qname, question.qtype, now));
        }
        if changed.len() < CHANGES {
            return;
        }
        changed.clear();
        self.lower_until.store(self.millis() + REMEMBERED.as_millis() as u64, Ordering::Relaxed);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{} changes the case of questions: it is asked in lower case for 15 minutes at a time, which is easier to forge replies to (random_case = false has it always so)",
                self.server
            );
        }
    }

    /// Forgets what it was seen to change: it may have been somebody on the way.
    pub(super) fn forget(&self) {
        self.lower_until.store(0, Ordering::Relaxed);
        self.changed().clear();
    }

    /// Milliseconds since the start.
    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What it changed; whoever panicked with it left it whole.
    fn changed(&self) -> MutexGuard<'_, Vec<(Name, Rtype, Instant)>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::testing::question;

    #[tokio::test(start_paused = true)]
    async fn several_questions_within_a_minute_decide() {
        for (questions, seconds, is_lower) in [
            (&[("a", Rtype::A), ("b", Rtype::A)][..], 0, false),
            (&[("a", Rtype::A), ("b", Rtype::A), ("c", Rtype::A)], 0, true),
            (&[("a", Rtype::A), ("b", Rtype::A), ("c", Rtype::A)], 29, true),
            (&[("a", Rtype::A), ("b", Rtype::A), ("c", Rtype::A)], 30, false),
            (&[("a", Rtype::A), ("a", Rtype::AAAA), ("b", Rtype::A)], 0, true),
            // One that is asked again and again is one.
            (&[("a", Rtype::A), ("a", Rtype::A), ("b", Rtype::A), ("a", Rtype::A)], 0, false),
        ] {
            let case = Case::of(&"192.0.2.1".parse().unwrap());
            for (name, rtype) in questions {
                assert!(case.borne(Manner::USUAL).mixed_case, "{questions:?}");
                case.note_change(&question(name, *rtype));
                tokio::time::advance(Duration::from_secs(seconds)).await;
            }
            assert_eq!(!case.borne(Manner::USUAL).mixed_case, is_lower, "{questions:?} {seconds}");
            assert!(case.changed().len() < CHANGES);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn random_case_comes_back() {
        let case = Case::of(&"192.0.2.1".parse().unwrap());
        let change = || ["a", "b", "c"].iter().for_each(|name| case.note_change(&question(name, Rtype::A)));
        for _ in 0..2 {
            change();
            tokio::time::advance(REMEMBERED - Duration::from_millis(1)).await;
            assert!(!case.borne(Manner::USUAL).mixed_case);
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(case.borne(Manner::USUAL).mixed_case);
        }
        change();
        case.forget();
        assert!(case.borne(Manner::USUAL).mixed_case);
        assert_eq!(case.borne(Manner::PLAIN), Manner::PLAIN, "none is added");
    }

    #[tokio::test]
    async fn who_is_to_be_asked_in_lower_case_always_is() {
        let server = Server { random_case: false, ..Server::udp(([192, 0, 2, 1], 53).into()) };
        assert_eq!(Case::of(&server).borne(Manner::USUAL), Manner::PLAIN);
    }
}
