//! The very loop that reloads, in virtual time: files change, hints come or are lost, work takes its time and fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Cases of the ordinary suite; `SINKSCOPE_INTERLEAVINGS` has as many as it says.
const CASES: u64 = 2_000;
/// The longest that any work takes here.
const LONGEST_WORK: Duration = Duration::from_millis(700);
/// When nothing more is done to files.
const HORIZON: Duration = Duration::from_secs(16);

/// Something that happens to the files or is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Somebody begins to write in place; whether the watcher tells.
    Open { told: bool },
    /// What was written is whole: closed, renamed into place, or saved at once.
    Whole { told: bool },
    /// SIGHUP or a command.
    Asked,
    /// Nothing can be read from now on: there is no descriptor.
    Fails,
    /// It can again.
    Works,
}

/// What happens, in order.
type Events = VecDeque<(Duration, Event)>;

/// Files, time, and what came of it all.
#[derive(Debug, Default)]
struct World {
    now: Duration,
    /// What is yet to happen, in order.
    coming: Events,
    /// Moments that somebody waits for.
    awaited: Vec<Duration>,
    /// How long the next pieces of work take, and at which part of it files are read, in percent.
    pace: VecDeque<(Duration, u32)>,
    /// Whether somebody is writing.
    open: bool,
    /// Whether nothing can be read.
    fails: bool,
    /// Octets written so far: what stamps show.
    written: u64,
    /// Octets written when the stamps were looked at last.
    looked: u64,
    /// The whole versions, by when each was complete.
    versions: Vec<Duration>,
    /// How many of them are in force, and since when each is.
    active: Vec<Duration>,
    /// When reloads began.
    begun: Vec<Duration>,
    /// When it rested last.
    rested: Option<Duration>,
    /// When what is in force was changed and not kept yet.
    unkept: bool,
}

impl World {
    /// Lets happen what happens up to `now`; gives back whether somebody told of files, and whether somebody asked.
    fn happen(&mut self) -> (bool, bool) {
        let (mut told_of, mut asked) = (false, false);
        while let Some((_, event)) = self.coming.front().copied().filter(|(at, _)| *at <= self.now) {
            self.coming.pop_front();
            match event {
                Event::Open { told } => {
                    self.open = true;
                    self.written += 1;
                    told_of |= told;
                }
                Event::Whole { told } => {
                    self.open = false;
                    self.written += 1;
                    self.versions.push(self.now);
                    told_of |= told;
                }
                Event::Asked => asked = true,
                Event::Fails => self.fails = true,
                Event::Works => self.fails = false,
            }
        }
        (told_of, asked)
    }
}

/// Hands in that world.
#[derive(Clone)]
struct Simulated(Arc<Mutex<World>>);

impl Simulated {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Waits until the world's time is `at`.
    async fn wait(&self, at: Duration) {
        std::future::poll_fn(|_| {
            let mut world = self.world();
            if world.now >= at {
                return Poll::Ready(());
            }
            world.awaited.push(at);
            Poll::Pending
        })
        .await;
    }
}

impl Hands for Simulated {
    async fn work(&mut self, work: Work) -> Outcome {
        let (begun, (takes, part)) = {
            let mut world = self.world();
            if matches!(work, Work::Reload(_)) {
                let now = world.now;
                world.begun.push(now);
            }
            (world.now, world.pace.pop_front().unwrap_or_default())
        };
        if work == Work::Look {
            let mut world = self.world();
            let changed = world.written != world.looked;
            world.looked = world.written;
            return Outcome { changed, ..Outcome::default() };
        }
        if work == Work::Rest {
            let mut world = self.world();
            (world.rested, world.unkept) = (Some(world.now), false);
            return Outcome::default();
        }
        self.wait(begun + takes * part / 100).await;
        let (whole, again) = {
            let mut world = self.world();
            world.looked = world.written;
            match (world.fails, world.open) {
                (true, _) => (0, Again::Later),
                (false, true) => (0, Again::Soon),
                (false, false) => (world.versions.len(), Again::No),
            }
        };
        self.wait(begun + takes).await;
        let mut world = self.world();
        while world.active.len() < whole {
            let now = world.now;
            world.active.push(now);
            world.unkept = true;
        }
        Outcome { changed: false, again, more: world.unkept }
    }

    fn now(&self) -> Duration {
        self.world().now
    }

    async fn until(&self, at: Duration) {
        self.wait(at).await;
    }
}

/// What happens in one case, and whether the watcher is alive: then it may lose hints no longer.
fn plan(random: &mut StdRng) -> (Events, VecDeque<(Duration, u32)>, bool) {
    let watched = random.random_bool(0.5);
    let mut events = Vec::new();
    let mut at = Duration::from_millis(random.random_range(0..4000));
    let (mut open, mut fails) = (false, false);
    for _ in 0..random.random_range(1..12) {
        let told = watched || random.random_bool(0.3);
        let event = match random.random_range(0..10) {
            0 | 1 => Event::Asked,
            2 if fails => Event::Works,
            2 if random.random_bool(0.3) => Event::Fails,
            3 | 4 if !open => Event::Open { told },
            _ => Event::Whole { told },
        };
        open = match event {
            Event::Open { .. } => true,
            Event::Whole { .. } => false,
            _ => open,
        };
        fails = (fails || event == Event::Fails) && event != Event::Works;
        events.push((at, event));
        // Close together, at the edges of what is waited for, or anywhere.
        at += match random.random_range(0..6) {
            0 => Duration::from_millis(random.random_range(0..3)),
            1 => QUIET - Duration::from_millis(1) + Duration::from_millis(random.random_range(0..3)),
            2 => LONGEST_WAIT - Duration::from_millis(2) + Duration::from_millis(random.random_range(0..5)),
            3 | 4 => REST - Duration::from_millis(random.random_range(0..300)),
            _ => Duration::from_millis(random.random_range(0..2500)),
        };
        if at > HORIZON {
            break;
        }
    }
    if fails {
        events.push((at, Event::Works));
    }
    if open {
        events.push((at, Event::Whole { told: watched }));
    }
    let pace = (0..200).map(|_| {
        let long = random.random_bool(0.2);
        let most = if long { LONGEST_WORK } else { Duration::from_millis(5) };
        (random.random_range(Duration::ZERO..=most), random.random_range(0..=100))
    });
    (events.into(), pace.collect(), watched)
}

/// Runs one case; gives back what became of it.
fn run(seed: u64) -> (World, Vec<(Duration, Event)>, bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let (coming, pace, watched) = plan(&mut random);
    let planned: Vec<_> = coming.iter().copied().collect();
    let world = Arc::new(Mutex::new(World { coming, pace, ..World::default() }));
    let (hint, hints) = mpsc::channel(1);
    let (request, requests) = mpsc::channel(1);
    let agenda = Agenda::new(true, false, Duration::ZERO);
    let driven = drive(agenda, Simulated(world.clone()), Some(hints), requests);
    let mut driven = std::pin::pin!(driven);
    let mut context = Context::from_waker(Waker::noop());
    let end = HORIZON * 2;
    loop {
        world.lock().unwrap().awaited.clear();
        assert!(driven.as_mut().poll(&mut context).is_pending(), "it goes on as long as somebody can ask");
        let (told, asked) = {
            let mut world = world.lock().unwrap();
            let next = world.coming.front().map(|(at, _)| *at);
            let Some(next) = world.awaited.iter().copied().chain(next).min() else { break };
            if next > end {
                break;
            }
            world.now = world.now.max(next);
            world.happen()
        };
        // As the watcher and the signal do: a full channel holds one already.
        if told {
            let _ = hint.try_send(());
        }
        if asked {
            let _ = request.try_send(());
        }
    }
    drop((hint, request));
    assert!(driven.as_mut().poll(&mut context).is_ready(), "it ends when nobody can ask any more");
    let world = std::mem::take(&mut *world.lock().unwrap());
    (world, planned, watched)
}

/// Every change is in force within its bound, whatever happens around it; every request begins a reload; and in the end what is
/// in force is kept.
#[test]
fn no_interleaving_loses_a_change() {
    let cases = std::env::var("SINKSCOPE_INTERLEAVINGS").ok().and_then(|text| text.parse().ok());
    let (mut changes, mut slowest) = (0, Duration::ZERO);
    for seed in 0..cases.unwrap_or(CASES) {
        let (world, planned, watched) = run(seed);
        let about = || format!("case {seed}, watched {watched}: {planned:?}\n{world:?}");
        assert_eq!(world.active.len(), world.versions.len(), "lost: {}", about());
        // What holds a change up by right: somebody writes on, or nothing can be read.
        let held_up = |from: Duration| {
            let (mut until, mut since) = (from, None);
            let (mut open, mut fails) = (false, false);
            for (at, event) in &planned {
                match event {
                    Event::Open { .. } => open = true,
                    Event::Whole { .. } => open = false,
                    Event::Fails => fails = true,
                    Event::Works => fails = false,
                    Event::Asked => {}
                }
                if (open || fails) && since.is_none() {
                    since = Some(*at);
                }
                if !open
                    && !fails
                    && let Some(begun) = since.take()
                    && begun <= until + LOOK + LONGEST_WAIT + LONGEST_WORK * 2
                    && *at > from
                {
                    until = *at;
                }
            }
            until
        };
        for (whole, active) in world.versions.iter().zip(&world.active) {
            let free = held_up(*whole);
            // One piece of work may be under way, and one may have read just before; then it is its own turn.
            let told = LONGEST_WAIT + LONGEST_WORK * 2;
            let mut bound = if watched { told } else { told + LOOK + LONGEST_WORK };
            if free > *whole {
                bound += LONGEST_PAUSE + LONGEST_WORK;
            }
            assert!(*active <= free + bound, "{whole:?} in force at {active:?}: {}", about());
            changes += 1;
            if watched && free == *whole {
                slowest = slowest.max(*active - *whole);
            }
        }
        for (at, _) in planned.iter().filter(|(_, event)| *event == Event::Asked) {
            let begun = world.begun.iter().any(|begun| begun >= at && *begun <= *at + LONGEST_WORK);
            assert!(begun, "asked at {at:?} and not heard: {}", about());
        }
        assert!(!world.unkept, "not kept: {}", about());
    }
    println!("{changes} changes, the slowest of those told of after {slowest:?}");
    assert!(changes > 0);
}

#[test]
fn what_failed_is_tried_again_after_ever_longer_pauses() {
    let mut agenda = Agenda::new(false, false, Duration::ZERO);
    let mut now = Duration::ZERO;
    agenda.ask();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let work = agenda.take(now).unwrap();
        agenda.done(work, Outcome { again: Again::Later, ..Outcome::default() }, now);
        let (at, work) = agenda.next().unwrap();
        assert_eq!((work, agenda.take(at - Duration::from_millis(1))), (Work::Reload(Cause::Change), None));
        pauses.push((at - now).as_millis());
        now = at;
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 4000, 4000]);
    // Once it is read, nothing is left to do, and the next failure begins anew.
    let work = agenda.take(now).unwrap();
    agenda.done(work, Outcome::default(), now);
    assert_eq!(agenda.next(), None);
    agenda.ask();
    let work = agenda.take(now).unwrap();
    agenda.done(work, Outcome { again: Again::Later, ..Outcome::default() }, now);
    assert_eq!(agenda.next().unwrap().0 - now, FIRST_PAUSE);
}

#[test]
fn hints_are_gathered_but_not_for_ever() {
    let mut agenda = Agenda::new(false, false, Duration::ZERO);
    let ms = Duration::from_millis;
    agenda.hint(ms(1000));
    assert_eq!(agenda.next(), Some((ms(1150), Work::Reload(Cause::Change))));
    // Somebody who never stops.
    for at in 1000..1500 {
        agenda.hint(ms(at));
    }
    assert_eq!(agenda.take(ms(1499)), None);
    assert_eq!(agenda.take(ms(1500)), Some(Work::Reload(Cause::Change)));
    assert_eq!(agenda.next(), None);
}

#[test]
fn looks_that_take_long_are_rare() {
    let mut agenda = Agenda::new(true, false, Duration::ZERO);
    for (takes, next) in [(Duration::from_millis(1), LOOK), (Duration::from_secs(1), LOOK * 50)] {
        let (at, work) = agenda.next().unwrap();
        assert_eq!((work, agenda.take(at)), (Work::Look, Some(Work::Look)));
        agenda.done(work, Outcome::default(), at + takes);
        assert_eq!(agenda.next(), Some((at + takes + next, Work::Look)));
    }
}
