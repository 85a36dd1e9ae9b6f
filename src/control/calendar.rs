//! What comes by itself at its second: orders that begin, end, or want to be looked at again. Said once.
//!
//! The first two need no help, nor does the end of a hold: a verdict looks at windows with the time it is given. This only tells
//! people, and clears away what is over.

use std::sync::Arc;
use std::time::Duration;

use super::active_policy::ActivePolicy;
use super::health::{About, Health};
use super::lifecycle::said;
use super::pauses::GroupPauses;
use super::record::Record;
use crate::clock::Clock;
use crate::log;
use crate::orders::time;
use crate::policy::{Order, Standing};
use crate::time::UnixSeconds;

/// Between two looks: what comes is told within its second.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks whether the journal is in its place: a change looks by itself, this is for the next start. The thread that
/// looks has ended before the next one does.
const LOOK: u32 = 15;

/// Something that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What to say.
    pub text: String,
    /// Whether somebody has to do something.
    pub is_warning: bool,
}

/// What came for an order after `from`, up to `to`.
pub fn events(order: &Order, from: UnixSeconds, to: UnixSeconds) -> Vec<Event> {
    let came = |when: Option<UnixSeconds>| when.is_some_and(|when| from < when && when <= to);
    let mut events = Vec::new();
    let mut add = |text, is_warning| events.push(Event { text, is_warning });
    let (id, window) = (&order.id, &order.window);
    if came(window.effective) {
        add(format!("order {id} is effective from now on"), false);
    }
    if came(window.expires) {
        add(format!("order {id} has expired"), false);
    }
    for lift in order.lifts.iter().filter(|lift| lift.zones.is_empty() && came(lift.at)) {
        add(format!("order {id} is lifted from now on{}", said(lift)), false);
    }
    if let Some(by) = window.review_by.filter(|by| came(Some(*by))) {
        add(format!("order {id} was to be reviewed by {}: is it still needed?", time::show(by)), true);
    }
    events
}

/// Tells what comes, until it is dropped; of reviews also those that were due before it began. Has pauses end in time, keeps the
/// journal in its place, and looks after the log, which cannot tell of itself.
pub async fn run(
    active: Arc<ActivePolicy>,
    pauses: Arc<GroupPauses>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut calendar = Calendar::default();
    for tick in (0..LOOK).cycle() {
        ticks.tick().await;
        let now = clock.now();
        health.say(About::Log, log::trouble().as_deref());
        if tick == 0 {
            let active = active.clone();
            let kept = tokio::task::spawn_blocking(move || active.keep_journal()).await;
            let trouble = kept
                .ok()
                .and_then(Result::err)
                .map(|error| format!("what is on record may be lost: {error}"));
            if health.say(About::Journal, trouble.as_deref())
                && let Some(trouble) = trouble
            {
                tracing::warn!("journal: {trouble}");
            }
        }
        if pauses.tick(now) {
            let pauses = pauses.clone();
            // A panic of it is told by the runtime; the next change is the next reason to write.
            let _ = tokio::task::spawn_blocking(move || pauses.keep()).await;
        }
        for event in calendar.tell(&active, now.wall) {
            if event.is_warning {
                tracing::warn!("{}", event.text);
            } else {
                tracing::info!("{}", event.text);
            }
        }
    }
}

/// What was told so far.
#[derive(Debug, Default)]
struct Calendar {
    /// Up to when.
    told: Option<UnixSeconds>,
    /// Reviews that were told of: orders with their times, so that a new time is told again.
    reviews: std::collections::HashSet<(String, UnixSeconds)>,
}

impl Calendar {
    /// What is new at `at`.
    fn tell(&mut self, active: &ActivePolicy, at: UnixSeconds) -> Vec<Event> {
        let first = self.told.is_none();
        let since = self.told.replace(at).unwrap_or(at);
        let seen = active.seen();
        let held = &seen.held;
        let mut new = Vec::new();
        let over = active.lapse(at);
        if first {
            // Those that ended while nobody served are history.
            let under_way = seen.stated.holds().filter(|record| {
                held.iter().any(|held| {
                    held.order.id == record.order
                        && record.stands(Some(&held.order), at) == Some(Standing::Held)
                })
            });
            new.extend(under_way.map(|record| Event { text: held_text(record), is_warning: true }));
        } else {
            let ended = |record: &Arc<Record>| {
                format!("order {} is no longer held back: it acts in full", record.order)
            };
            new.extend(over.iter().map(|record| Event { text: ended(record), is_warning: false }));
        }
        let due =
            |order: &Order| order.window.review_by.filter(|by| *by <= at).map(|by| (order.id.clone(), by));
        for order in held.iter().map(|held| &held.order) {
            new.extend(events(order, since, at).into_iter().filter(|event| !event.is_warning));
            if let Some(review) = due(order).filter(|review| !self.reviews.contains(review)) {
                let by = review.1;
                new.extend(events(order, by - 1, by).into_iter().filter(|event| event.is_warning));
                self.reviews.insert(review);
            }
        }
        // Of orders that went nothing is remembered.
        self.reviews.retain(|review| held.iter().any(|held| due(&held.order).as_ref() == Some(review)));
        new
    }
}

/// That an order is held back, and until when.
fn held_text(record: &Record) -> String {
    let until = record.hold().and_then(|window| window.expires).unwrap_or(record.unix);
    format!("order {} is held back until {} ({})", record.order, time::show(until), record.why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::journal::Journal;
    use crate::orders::LoadedOrder;
    use crate::policy::{Policy, Window};
    use crate::resolver::Current;

    #[test]
    fn what_comes_is_told_once_at_its_second() {
        let policy = Current::of(Policy::empty());
        let active = ActivePolicy::new(policy, Journal::in_memory());
        let put = |review_by| {
            let mut order = Order::new("a");
            order.window = Window { effective: Some(100), expires: Some(200), review_by: Some(review_by) };
            let held = LoadedOrder { order, names: 1, digest: 0, examples: Vec::new() };
            active.put(Arc::new(Policy::empty()), vec![Arc::new(held)]);
        };
        put(50);
        let mut calendar = Calendar::default();
        let review = "order a was to be reviewed by 1970-01-01T00:00:50Z: is it still needed?";
        for (at, expected) in [
            (60, &[review][..]),
            (99, &[]),
            (100, &["order a is effective from now on"]),
            (100, &[]),
            (150, &[]),
            (205, &["order a has expired"]),
            (300, &[]),
        ] {
            let told: Vec<String> = calendar.tell(&active, at).into_iter().map(|event| event.text).collect();
            assert_eq!(told, expected, "at {at}");
        }
        // Reviewed, and the file has another date.
        put(310);
        assert_eq!(calendar.tell(&active, 309), []);
        assert!(calendar.tell(&active, 310)[0].is_warning);
        assert_eq!(calendar.tell(&active, 311), []);
    }
}
