//! The truth by question, for as long as it lasts, and a while longer: expired it may be told when nobody knows better
//! (RFC 8767).
//!
//! Only upstream's word is kept here, never a forged answer: an order that comes or goes leaves nothing behind. Time is
//! an argument; no library's own clock decides anything.

mod denials;
#[cfg(test)]
mod denials_tests;
pub mod held;
mod key;
pub mod origin;
mod ring;
mod shelf;
mod shelves;
pub mod store;
mod tailored;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use self::denials::Cut;
use self::denials::Denials;
use self::key::Key;
pub use self::origin::Origin;
use self::shelves::Shelves;
use self::tailored::Lengths;
use crate::dns::{Ede, Question, Truth};
use crate::iana::EdeCode;
use crate::name::Name;

/// How long a failure is remembered unless told otherwise. RFC 9520 §3.2: "at least 1 second".
pub const FAILURE: Duration = Duration::from_secs(1);
/// How long at most, unless told otherwise, where it fails again and again: as long as if an expired answer were told.
pub const LONG_FAILURE: Duration = STALE_RECHECK;
/// The longest time a failure may be remembered (RFC 9520 §3.2).
pub const MAX_FAILURE: Duration = Duration::from_secs(300);
/// How long a failure is remembered where an expired answer is told meanwhile. RFC 8767 §5, the failure recheck timer:
/// "no more frequently than every 30 seconds".
pub const STALE_RECHECK: Duration = Duration::from_secs(30);
/// The most failures remembered: an outage under load fills it, and older ones then make room.
const MAX_FAILURES: u64 = 16_384;

/// Answers and failures by question. Shared by all workers; bounded.
#[derive(Clone, Debug)]
pub struct Cache {
    truths: Arc<Shelves>,
    failures: moka::sync::Cache<Box<[u8]>, Failure>,
    /// How long a failure is remembered: the first time, and at most.
    failure_lifetimes: [Duration; 2],
    /// Until when failures may be remembered, in milliseconds.
    failures_until_ms: Arc<AtomicU64>,
    /// How long expired answers are kept; 0 is not at all.
    max_stale: Duration,
    /// How often everything was forgotten.
    clears: Arc<AtomicU64>,
    /// Whether any answer with signatures was ever put. Where nobody asks for them, nobody looks.
    holds_signed: Arc<AtomicBool>,
    /// Which names are denied whatever is asked of them.
    denials: Arc<Denials>,
    /// Which of these deny what is below, too.
    cut: Cut,
    /// Zones whose names are asked of others than those above them.
    forwarded: Arc<HashSet<Name>>,
    /// At which lengths there are answers for networks of clients.
    lengths: Arc<Lengths>,
}

/// An answer from the cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// What upstream said.
    pub truth: Arc<Truth>,
    /// Whole seconds since it arrived.
    pub age_s: u32,
    /// Seconds it has left: at least 1, or 0 for one that has expired.
    pub left_s: u32,
    /// When it arrived, on the clock of `now`.
    pub stored: Duration,
    /// Until when it stays what it is, on the same clock: until it expires, or is not even kept as an expired one.
    pub until: Duration,
    /// Whether it was said to this very question, and not made of the denial of another one: that can be taken back before it ends, by
    /// whatever says that the name exists, so nobody keeps a copy.
    pub own: bool,
}

impl Cached {
    /// Whether it is in the last part of its life: time to ask for it anew, if that is worth it.
    pub fn is_ending(&self) -> bool {
        self.left_s <= self.truth.last_share_s()
    }
}

/// A failure from the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why, EDE 13 (Cached Error) last.
    pub errors: Vec<Ede>,
    /// Until when it is remembered, on the clock of `now`.
    pub until: Duration,
}

/// A truth and when it came.
#[derive(Clone, Debug)]
struct Entry {
    truth: Arc<Truth>,
    stored: Duration,
}

impl Entry {
    /// How old it is, in whole seconds. Another thread may have read its clock before the entry was stored by this one's: that is age 0.
    fn age_s(&self, now: Duration) -> u32 {
        u32::try_from(now.saturating_sub(self.stored).as_secs()).unwrap_or(u32::MAX)
    }

    /// Seconds it has left.
    fn left_s(&self, now: Duration) -> u32 {
        self.truth.lifetime_s.saturating_sub(self.age_s(now))
    }

    /// When it expires, or `after` that.
    fn end(&self, after: Duration) -> Duration {
        let lifetime = Duration::from_secs(self.truth.lifetime_s.into());
        self.stored.saturating_add(lifetime).saturating_add(after)
    }

    /// The answer to `asked` as it is told to whoever asks `question`, its kin.
    fn told_to(&self, question: &Question, asked: &Question) -> Option<Arc<Truth>> {
        match asked.dnssec_ok && !question.dnssec_ok {
            true => self.truth.unsigned(question).map(Arc::new),
            false => Some(Arc::clone(&self.truth)),
        }
    }

    /// What it is to somebody who asks.
    fn at(self, now: Duration, until: Duration) -> Cached {
        let (age_s, left_s) = (self.age_s(now), self.left_s(now));
        Cached { truth: self.truth, age_s, left_s, stored: self.stored, until, own: true }
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A failure, when it came and why.
#[derive(Clone, Debug)]
struct Failure {
    ede: Arc<[Ede]>,
    stored: Duration,
    /// How long it is remembered.
    lifetime: Duration,
}

impl Failure {
    /// Until when it is remembered, or `after` that.
    fn end(&self, after: Duration) -> Duration {
        self.stored.saturating_add(self.lifetime).saturating_add(after)
    }
}

impl Cache {
    /// A cache of at most about `max_bytes` octets of answers, keys and bookkeeping included; 0 keeps none.
    pub fn new(max_bytes: u64) -> Cache {
        let failures = moka::sync::Cache::new(MAX_FAILURES);
        Cache {
            truths: Arc::new(Shelves::new(max_bytes)),
            failures,
            failures_until_ms: Arc::default(),
            failure_lifetimes: [FAILURE, LONG_FAILURE],
            max_stale: Duration::ZERO,
            clears: Arc::default(),
            holds_signed: Arc::default(),
            denials: Arc::new(Denials::new(max_bytes)),
            cut: Cut::default(),
            forwarded: Arc::default(),
            lengths: Arc::default(),
        }
    }

    /// The same cache, but failures are remembered for `first`, and twice as long each time that the question fails again, up to `most`;
    /// both are held between 1 and 300 seconds (RFC 9520 §3.2).
    #[must_use]
    pub fn failure_lifetimes(mut self, first: Duration, most: Duration) -> Cache {
        let first = first.clamp(FAILURE, MAX_FAILURE);
        self.failure_lifetimes = [first, most.clamp(first, MAX_FAILURE)];
        self
    }

    /// The same cache, but answers are kept for `max_stale` after they have expired, or until there is no room for them
    /// (RFC 8767 §5, the maximum stale timer); zero keeps none.
    #[must_use]
    pub fn keep_stale(mut self, max_stale: Duration) -> Cache {
        self.max_stale = max_stale;
        self
    }

    /// The same cache, but these denials deny what is below a name, too; names of these zones are asked of others than those above them,
    /// and what is said of the one is nothing to the other.
    #[must_use]
    pub fn cutting(mut self, cut: Cut, forwarded: impl IntoIterator<Item = Name>) -> Cache {
        (self.cut, self.forwarded) = (cut, Arc::new(forwarded.into_iter().collect()));
        self
    }

    /// The answer to `question`, if it is known and has not expired at `now`: its own, or a [kin](Question::kin)'s, which is its own
    /// from then on, or that its name is denied.
    pub fn get(&self, question: &Question, now: Duration) -> Option<Cached> {
        if question.asked_for.is_some() {
            return self.get_tailored(question, now);
        }
        let key = Key::new(question);
        match self.truths.get(key.as_bytes()) {
            Some(entry) if entry.left_s(now) > 0 => {
                let until = entry.end(Duration::ZERO);
                return Some(entry.at(now, until));
            }
            Some(entry) if !self.keeps(&entry, now) => {
                // Should a fresh answer have come in between, it goes too: one more question upstream, no wrong answer.
                self.truths.remove(key.as_bytes());
            }
            Some(_) | None => {}
        }
        let Some((entry, kin)) = self.kin(question, |entry| entry.left_s(now) > 0) else {
            return self.denied(question, now);
        };
        let entry = Entry { truth: entry.told_to(question, &kin)?, stored: entry.stored };
        // Without its signatures it may end sooner.
        if entry.left_s(now) == 0 {
            return None;
        }
        self.truths.insert(key.as_bytes(), &entry);
        let until = entry.end(Duration::ZERO);
        Some(entry.at(now, until))
    }

    /// The same for one that is asked for a network. What denies other names, or this one of another type, was not said to it.
    fn get_tailored(&self, question: &Question, now: Duration) -> Option<Cached> {
        let is_fresh = |entry: &Entry| entry.left_s(now) > 0;
        let entry = match self.own(question, is_fresh) {
            Some(entry) => entry,
            None => {
                let (entry, kin) = self.kin(question, is_fresh)?;
                Entry { truth: entry.told_to(question, &kin)?, stored: entry.stored }
            }
        };
        let until = entry.end(Duration::ZERO);
        Some(entry.at(now, until)).filter(|cached| cached.left_s > 0)
    }

    /// Notes that `question` is asked for, where its answer is told by whoever has a copy.
    pub fn note_asked(&self, question: &Question) {
        self.truths.note_asked(Key::new(question).as_bytes());
    }

    /// The answer to `question`, if it has expired at `now`, but not longer ago than such answers are kept: its own, or a kin's that came
    /// later.
    pub fn stale(&self, question: &Question, now: Duration) -> Option<Cached> {
        let is_stale = |entry: &Entry| entry.left_s(now) == 0 && self.keeps(entry, now);
        let own = self.own(question, is_stale);
        let kin = self.kin(question, |entry| {
            is_stale(entry) && own.as_ref().is_none_or(|own| own.stored < entry.stored)
        });
        let entry = match kin {
            Some((entry, kin)) => Entry { truth: entry.told_to(question, &kin)?, ..entry },
            None => own?,
        };
        let until = entry.end(self.max_stale);
        Some(entry.at(now, until))
    }

    /// The answer that lacks the signatures which `question` asks for, expired or not: for want of any other. It is not to keep anybody from
    /// asking for one that has them, for to whoever validates it is none.
    pub fn unsigned(&self, question: &Question, now: Duration) -> Option<Cached> {
        let unsigned = question.dnssec_ok.then(|| question.unsigned())?;
        let entry = self.own(&unsigned, |entry| self.keeps(entry, now))?;
        let until = entry.end(self.max_stale);
        Some(entry.at(now, until))
    }

    /// The first answer of those to a question's kin that will do.
    fn kin(&self, question: &Question, will_do: impl Fn(&Entry) -> bool) -> Option<(Entry, Question)> {
        if !self.may_have_kin(question) {
            return None;
        }
        question.kin().find_map(|kin| Some((self.own(&kin, &will_do)?, kin)))
    }

    /// Whether there may be an answer to a question's kin.
    fn may_have_kin(&self, question: &Question) -> bool {
        question.checking_disabled || self.holds_signed.load(Ordering::Acquire)
    }

    /// Whether an expired entry is still good for something.
    fn keeps(&self, entry: &Entry, now: Duration) -> bool {
        entry.truth.may_be_stale() && now < entry.end(self.max_stale)
    }

    /// Remembers an answer from `now` on, in place of the one before, and forgets that the question failed. One whose
    /// lifetime is 0 is not remembered.
    pub fn put(&self, question: &Question, truth: Arc<Truth>, now: Duration) {
        if self.has_failures(now) {
            self.failures.invalidate(Key::asked(question).as_bytes());
        }
        self.note_scope(&truth);
        if question.dnssec_ok {
            self.holds_signed.store(true, Ordering::Release);
        }
        self.note_name(question, &truth, now);
        if truth.lifetime_s > 0 {
            let key = Key::of(question, truth.scope.as_ref());
            self.truths.insert(key.as_bytes(), &Entry { truth, stored: now });
        } else {
            // RFC 8767 §4: it has "refreshed the data" all the same, and that of its kin.
            for refreshed in question.kin().chain([*question]) {
                self.truths.remove(Key::of(&refreshed, truth.scope.as_ref()).as_bytes());
            }
        }
    }

    /// Remembers that the question could not be resolved, and why (RFC 9520 §2: timeouts, refusals, network errors).
    pub fn put_failure(&self, question: &Question, ede: &[Ede], now: Duration) {
        let key = Key::asked(question);
        let [first, most] = self.failure_lifetimes;
        // RFC 9520 §3.2 would have a failure that persists remembered longer and longer. One that nobody met with for that long is over.
        let before = if self.has_failures(now) { self.failures.get(key.as_bytes()) } else { None };
        let lifetime = match before.filter(|before| now < before.end(most)) {
            None => first,
            Some(before) if now < before.end(Duration::ZERO) => before.lifetime,
            Some(before) => before.lifetime.saturating_mul(2).min(most),
        };
        let failure = Failure { ede: ede.into(), stored: now, lifetime };
        // Before it is there: whoever could find it must look.
        let until = millis(now.saturating_add(self.longest_failure())).saturating_add(1);
        self.failures_until_ms.fetch_max(until, Ordering::AcqRel);
        self.failures.insert(key.as_bytes().into(), failure);
    }

    /// The question's failure of a moment ago, or up to [`STALE_RECHECK`] ago where an expired answer is known; none if it did
    /// not fail, or that is too long ago.
    pub fn failure(&self, question: &Question, now: Duration) -> Option<Failed> {
        if !self.has_failures(now) {
            return None;
        }
        let key = Key::asked(question);
        let failure = self.failures.get(key.as_bytes())?;
        let recheck = if self.stale(question, now).is_some() { STALE_RECHECK } else { Duration::ZERO };
        let until = failure.end(Duration::ZERO).max(failure.stored.saturating_add(recheck));
        // It is left there for the next one to last longer.
        if now >= until {
            return None;
        }
        let errors = failure.ede.iter().cloned().chain([Ede::bare(EdeCode::CACHED_ERROR)]).collect();
        Some(Failed { errors, until })
    }

    /// Forgets that questions failed: why they did is over.
    pub fn forget_failures(&self) {
        self.failures.invalidate_all();
    }

    /// How long a failure may be remembered, and then that it was one.
    fn longest_failure(&self) -> Duration {
        let [_, most] = self.failure_lifetimes;
        most.max(STALE_RECHECK).saturating_add(most)
    }

    /// Whether any failure may be remembered at `now`. Where nothing fails, nobody looks.
    fn has_failures(&self, now: Duration) -> bool {
        millis(now) < self.failures_until_ms.load(Ordering::Acquire)
    }

    /// Answers held, expired ones not yet asked for again included.
    pub fn len(&self) -> u64 {
        self.truths.len() as u64
    }

    /// Whether it holds no answer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of the answers held.
    pub fn bytes(&self) -> u64 {
        self.truths.held()
    }

    /// The most octets it takes, with all that leads to answers.
    pub fn max_bytes(&self) -> u64 {
        self.truths.capacity()
    }

    /// How often everything was forgotten: who keeps copies of what it gave out drops them when this changes.
    pub fn clears(&self) -> u64 {
        self.clears.load(Ordering::Acquire)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.truths.clear();
        self.denials.clear();
        self.failures.invalidate_all();
        // Last, so that copies made meanwhile are dropped too.
        self.clears.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
