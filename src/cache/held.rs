//! What is held of some names, to be shown or forgotten.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::key::Key;
use super::shelf::Packed;
use super::{Cache, Failed};
use crate::dns::{Question, Truth};

/// How often what is to be forgotten is looked for: an answer may be copied for a [kin](Question::kin) behind the back of a look, so one
/// that finds something is followed by another.
const MAX_LOOKS: usize = 4;

/// An answer as it is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// The question it answers.
    pub question: Question,
    /// It.
    pub truth: Arc<Truth>,
    /// Whole seconds since it came.
    pub age_s: u32,
    /// Seconds it has left; 0 for one that has expired.
    pub left_s: u32,
    /// How long it is kept still, expired or not.
    pub kept: Duration,
    /// Whether it was asked for networks of clients, of which it says itself whom it is for.
    pub is_for_networks: bool,
}

/// What is held of some questions.
#[derive(Clone, Debug, Default)]
pub struct AllHeld {
    /// Answers.
    pub answers: Vec<Held>,
    /// Failures, each with what it came of.
    pub failures: Vec<(Question, Failed)>,
    /// How many more there are of either.
    pub left_out: usize,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Answers.
    pub answers: u64,
    /// Failures.
    pub failures: u64,
}

impl Cache {
    /// What is held at `now` of the questions that are meant, `most` of them at most. All that is held is looked through, a few at a time;
    /// nothing that is looked at counts as asked for.
    pub fn held(&self, is_meant: impl Fn(&Question) -> bool, now: Duration, most: usize) -> AllHeld {
        let mut all = AllHeld::default();
        let mut show = |packed: Packed<'_>| {
            let Some(question) = Key::question(packed.key()).filter(&is_meant) else { return };
            let Some(entry) = packed.entry() else { return };
            let left_s = entry.left_s(now);
            let end = entry.end(if entry.truth.may_be_stale() { self.max_stale } else { Duration::ZERO });
            if left_s == 0 && !self.keeps(&entry, now) {
                return;
            }
            if all.answers.len() == most {
                all.left_out += 1;
                return;
            }
            let (age_s, kept) = (entry.age_s(now), end.saturating_sub(now));
            let is_for_networks = !Key::is_plain(packed.key());
            all.answers.push(Held { question, truth: entry.truth, age_s, left_s, kept, is_for_networks });
        };
        let Ok(()) = self.truths.each::<Infallible>(|packed| {
            show(packed);
            Ok(())
        });
        for (key, _) in &self.failures {
            let Some(question) = Key::question(&key).filter(&is_meant) else { continue };
            match self.failure(&question, now) {
                Some(_) if all.failures.len() == most => all.left_out += 1,
                failed => all.failures.extend(failed.map(|failed| (question, failed))),
            }
        }
        all
    }

    /// Forgets what is held of the questions that are meant. Who keeps copies of anything drops them all.
    pub fn forget(&self, is_meant: impl Fn(&Question) -> bool) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let is_meant = |key: &[u8]| Key::question(key).is_some_and(|question| is_meant(&question));
        for _ in 0..MAX_LOOKS {
            let before = forgotten.answers;
            let Ok(()) = self.truths.each::<Infallible>(|packed| {
                if is_meant(packed.key()) && self.truths.remove(packed.key()) {
                    forgotten.answers += 1;
                }
                Ok(())
            });
            if forgotten.answers == before {
                break;
            }
        }
        for (key, _) in &self.failures {
            if is_meant(&key) && self.failures.remove(&**key).is_some() {
                forgotten.failures += 1;
            }
        }
        // Last, so that copies made meanwhile are dropped too.
        self.clears.fetch_add(1, Ordering::Release);
        forgotten
    }

    /// Failures that are remembered, or were until a moment ago.
    pub fn failures(&self) -> u64 {
        self.failures.entry_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::TtlLimits;
    use crate::dns::testing::{question, response};
    use crate::iana::Rtype;

    /// Virtual time in seconds.
    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    /// A cache with an answer for ten seconds to each of these questions, and a minute for which it is told then.
    fn cache(questions: &[Question]) -> Cache {
        let cache = Cache::new(1 << 20).keep_stale(at(60));
        let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
        for asked in questions {
            let answer = format!("{} 10 A 192.0.2.1", asked.qname);
            let message = response(0, &asked.qname.to_string(), asked.qtype, [&[&answer], &[], &[]]);
            cache.put(asked, Truth::read(asked, &message, &limits).unwrap().into(), at(0));
        }
        cache
    }

    #[test]
    fn answers_and_failures_are_held_for_as_long_as_they_are_good_for_something() {
        let (asked, other) = (question("q.e", Rtype::A), question("x.e", Rtype::A));
        let cache = cache(&[asked]);
        cache.put_failure(&other, &[], at(20));
        // When it is looked at; then age, seconds left and seconds kept of the answer, and whether the failure is there.
        for (s, expected, failed) in [
            (4, Some((4, 6, 66)), true),
            (20, Some((20, 0, 50)), true),
            (69, Some((69, 0, 1)), false),
            (70, None, false),
        ] {
            let held = cache.held(|_| true, at(s), 9);
            let found = held.answers.iter().map(|held| (held.age_s, held.left_s, held.kept.as_secs()));
            assert_eq!((found.collect::<Vec<_>>(), held.left_out), (Vec::from_iter(expected), 0), "{s}");
            let failures: Vec<_> = held.failures.iter().map(|(question, _)| *question).collect();
            assert_eq!(failures, if failed { vec![other] } else { Vec::new() }, "{s}");
        }
    }

    #[test]
    fn what_is_beyond_the_bound_is_counted() {
        let questions = [Rtype::A, Rtype::ANY].map(|qtype| question("q.e", qtype));
        let cache = cache(&questions);
        for (most, expected) in [(0, (0, 2)), (1, (1, 1)), (2, (2, 0))] {
            let held = cache.held(|question| question.qname == questions[0].qname, at(0), most);
            assert_eq!((held.answers.len(), held.left_out), expected);
        }
        assert!(cache.held(|question| question.qtype == Rtype::MX, at(0), 9).answers.is_empty());
    }

    #[test]
    fn what_is_meant_is_forgotten_and_nothing_else() {
        let questions = ["a.e", "b.e", "c.e"].map(|name| question(name, Rtype::A));
        let signed = Question { dnssec_ok: true, ..questions[0] };
        let cache = cache(&[questions[0], questions[1], signed]);
        cache.put_failure(&questions[0], &[], at(0));
        cache.put_failure(&questions[2], &[], at(0));
        let clears = cache.clears();
        let forgotten = cache.forget(|question| question.qname == questions[0].qname);
        assert_eq!(forgotten, Forgotten { answers: 2, failures: 1 });
        assert!(cache.clears() > clears, "whoever keeps copies is told");
        let there = questions.each_ref().map(|asked| cache.get(asked, at(0)).is_some());
        assert_eq!(there, [false, true, false]);
        assert!(cache.failure(&questions[2], at(0)).is_some());
        assert_eq!(cache.forget(|_| false), Forgotten::default());
    }
}
