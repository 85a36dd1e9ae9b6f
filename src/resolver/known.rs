//! What a query can rest on without waiting: what was fetched for it, and the cache.

use std::sync::Arc;
use std::time::Duration;

use super::fetch::{Fetched, TOO_MANY};
use crate::cache::{Cache, Cached, Failed};
use crate::dns::{Ede, Question, Truth};
use crate::iana::EdeCode;
use crate::policy::Stamp;

/// Answers at hand.
pub(super) struct Known<'k> {
    cache: &'k Cache,
    fetched: &'k [(Question, Fetched)],
    mono: Duration,
    offline: bool,
}

/// What is known of a question.
pub(super) enum Found {
    /// Its answer.
    Truth {
        /// What upstream said.
        truth: Arc<Truth>,
        /// Whole seconds since it arrived.
        age_s: u32,
        /// Whether somebody else had asked.
        cached: bool,
        /// Until when it is found so; zero if nobody says.
        until: Duration,
    },
    /// That there is none, and why.
    Failure {
        /// The reasons.
        errors: Vec<Ede>,
        /// Whether somebody else had asked.
        cached: bool,
        /// Whether an upstream was asked at all.
        asked: bool,
        /// Until when it is found so; zero if nobody says.
        until: Duration,
    },
    /// Nothing: an upstream is to be asked.
    Unknown,
}

impl<'k> Known<'k> {
    /// What the cache knows at `mono`.
    pub(super) fn cached(cache: &'k Cache, mono: Duration) -> Known<'k> {
        Known { cache, fetched: &[], mono, offline: false }
    }

    /// And what was fetched, which is newer.
    pub(super) fn with(self, fetched: &'k [(Question, Fetched)]) -> Known<'k> {
        Known { fetched, ..self }
    }

    /// The same, but nothing more can be asked: what is unknown has failed without.
    pub(super) fn offline(self) -> Known<'k> {
        Known { offline: true, ..self }
    }

    /// The moment at which it is known.
    pub(super) fn at(&self) -> Duration {
        self.mono
    }

    /// An answer that has expired and may be told all the same.
    pub(super) fn stale(&self, question: &Question) -> Option<Cached> {
        self.cache.stale(question, self.mono)
    }

    /// What may be told where asking has failed: what has expired, or what lacks the signatures that are asked for.
    pub(super) fn at_hand(&self, question: &Question) -> Option<Truth> {
        if let Some(Cached { truth, age_s, .. }) = self.stale(question) {
            return Some(truth.stale(age_s));
        }
        let Cached { truth, age_s, .. } = self.cache.unsigned(question, self.mono)?;
        let mut truth = truth.stale(age_s);
        truth.ede.push(Ede::bare(EdeCode::RRSIGS_MISSING));
        Some(truth)
    }

    /// What is known of `question`.
    pub(super) fn look(&self, question: &Question) -> Found {
        match self.fetched.iter().rev().find(|(asked, _)| asked == question) {
            Some((_, Fetched::Truth(truth))) => {
                let truth = Arc::clone(truth);
                return Found::Truth { truth, age_s: 0, cached: false, until: Duration::ZERO };
            }
            Some((_, Fetched::Failure(errors))) => {
                let errors = errors.to_vec();
                return Found::Failure { errors, cached: false, asked: true, until: Duration::ZERO };
            }
            Some((_, Fetched::TurnedAway)) => return not_asked(),
            None => {}
        }
        if let Some(Cached { truth, age_s, until, .. }) = self.cache.get(question, self.mono) {
            return Found::Truth { truth, age_s, cached: true, until };
        }
        match self.cache.failure(question, self.mono) {
            Some(Failed { errors, until }) => Found::Failure { errors, cached: true, asked: true, until },
            None if self.offline => not_asked(),
            None => Found::Unknown,
        }
    }

    /// Whether it is known of an answer to `question`, fresh or expired, that no rule was about anything of it under that
    /// stamp.
    pub(super) fn is_untouched(&self, question: &Question, stamp: Stamp) -> bool {
        match self.look(question) {
            Found::Truth { truth, .. } => truth.untouched.is(stamp.to_bits()),
            Found::Failure { .. } => {
                let stale = self.stale(question);
                stale.is_some_and(|Cached { truth, .. }| truth.untouched.is(stamp.to_bits()))
            }
            Found::Unknown => false,
        }
    }

    /// [`Known::look`] for questions of our own, where an expired answer is better than none (RFC 8767 §4).
    pub(super) fn look_stale_ok(&self, question: &Question) -> Found {
        match self.look(question) {
            Found::Failure { errors, cached, asked, until } => match self.stale(question) {
                // Once the failure is forgotten, upstream is asked anew.
                Some(Cached { truth, age_s, until: kept, .. }) => {
                    let truth = Arc::new(truth.stale(age_s));
                    Found::Truth { truth, age_s: 0, cached: true, until: until.min(kept) }
                }
                None => Found::Failure { errors, cached, asked, until },
            },
            found => found,
        }
    }
}

/// The failure of a question that there was no room for.
fn not_asked() -> Found {
    Found::Failure { errors: vec![TOO_MANY], cached: false, asked: false, until: Duration::ZERO }
}
