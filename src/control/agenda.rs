//! What the reload has to do next, and when: whatever was heard and not yet acted upon, as state.
//!
//! A hint, a request, something that failed and a timer are each a field here, set when it is heard and cleared when the work
//! that answers it begins. Nothing is held by a future that somebody may drop: [`drive`] waits for channels and for one
//! moment, and loses nothing whichever comes first.

use std::time::Duration;

use tokio::sync::mpsc;

/// How long it must be quiet before a change counts as whole: editors save in several steps.
pub const QUIET: Duration = Duration::from_millis(150);
/// How long a stream of changes can postpone a reload; with [`QUIET`] and the load itself, a save counts within a second.
pub const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at the stamps of all files: what nobody tells of is found within about a second.
pub const LOOK: Duration = Duration::from_secs(1);
/// A look that takes long makes the next one wait this many times as long: looks take two percent of one core at most.
const LOOK_SHARE: u32 = 50;
/// How long nothing must have happened before compiled orders are kept: longer than files take to settle, and than it
/// takes somebody to save twice. Also far longer than an idle worker takes to look at the policy.
pub const REST: Duration = Duration::from_secs(3);
/// The first pause before what failed is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause: what was wanting may be there again at any moment.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Why a reload happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it: what came of it is said even if nothing did.
    Request,
    /// Files may have changed.
    Change,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Read what changed, and put it in force.
    Reload(Cause),
    /// Look whether the files still have the stamps they had.
    Look,
    /// Nothing has happened for a while: keep what is in force, and let go of what is not.
    Rest,
}

/// Whether something is to be read once more though nobody may tell of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// All was read.
    #[default]
    No,
    /// A file is being written: it is whole soon.
    Soon,
    /// Something could not be had: it is tried after ever longer pauses.
    Later,
    /// Something is known to be due after so long.
    In(Duration),
}

/// What came of some work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What a look found: files have changed.
    pub changed: bool,
    /// What a reload left.
    pub again: Again,
    /// Whether there is something to do once nothing has happened for a while.
    pub more: bool,
}

/// What is to be done. All times are since one moment, whichever it is.
#[derive(Debug)]
pub struct Agenda {
    /// When the first and the last hint came that no reload has begun after.
    hinted: Option<(Duration, Duration)>,
    /// Whether somebody asked and no reload has begun since.
    asked: bool,
    /// When something is to be read once more.
    again: Option<Duration>,
    /// How long the next pause is before what failed is tried again.
    pause: Duration,
    /// When to look at stamps next; none if nobody looks.
    look: Option<Duration>,
    /// When it has been quiet for long enough.
    rest: Option<Duration>,
    /// When the work under way began.
    began: Duration,
    /// How long it must be quiet before a change counts as whole, and how long that can be postponed.
    settling: (Duration, Duration),
}

impl Agenda {
    /// Nothing was heard yet at `now`; `more` as in [`Outcome`]. With `looks` stamps are looked at, at once for the first time:
    /// what changed while nobody watched is found by it.
    pub fn new(looks: bool, more: bool, now: Duration) -> Agenda {
        Agenda {
            hinted: None,
            asked: false,
            again: None,
            pause: FIRST_PAUSE,
            look: looks.then_some(now),
            rest: more.then_some(now + REST),
            began: now,
            settling: (QUIET, LONGEST_WAIT),
        }
    }

    /// The same, with other times that it must be quiet, and that this can be postponed.
    #[must_use]
    pub fn settling(self, quiet: Duration, longest: Duration) -> Agenda {
        Agenda { settling: (quiet, longest), ..self }
    }

    /// Files may have changed.
    pub fn hint(&mut self, now: Duration) {
        let first = self.hinted.map_or(now, |(first, _)| first);
        self.hinted = Some((first, now));
    }

    /// Somebody asks for a reload.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// What is next, and when: in the past if it is due.
    pub fn next(&self) -> Option<(Duration, Work)> {
        let (quiet, longest) = self.settling;
        let settled = self.hinted.map(|(first, last)| (last + quiet).min(first + longest));
        let all = [
            (self.asked.then_some(Duration::ZERO), Work::Reload(Cause::Request)),
            (settled, Work::Reload(Cause::Change)),
            (self.again, Work::Reload(Cause::Change)),
            (self.look, Work::Look),
            (self.rest, Work::Rest),
        ];
        all.into_iter().filter_map(|(at, work)| Some((at?, work))).min_by_key(|(at, _)| *at)
    }

    /// Begins what is due, if anything is; [`Agenda::done`] is to follow. What is heard from now on is a reason to do it again.
    pub fn take(&mut self, now: Duration) -> Option<Work> {
        let (_, work) = self.next().filter(|(at, _)| *at <= now)?;
        self.began = now;
        match work {
            Work::Reload(_) => (self.hinted, self.asked, self.again, self.rest) = (None, false, None, None),
            Work::Look => self.look = None,
            Work::Rest => self.rest = None,
        }
        Some(work)
    }

    /// Takes note of what came of the work taken last.
    pub fn done(&mut self, work: Work, outcome: Outcome, now: Duration) {
        match work {
            Work::Look => {
                self.look = Some(now + LOOK.max((now - self.began) * LOOK_SHARE));
                if outcome.changed {
                    self.hint(now);
                }
                return;
            }
            // What is to be read once more stays so: this is no reload.
            Work::Rest if outcome.again == Again::No => {}
            Work::Reload(_) | Work::Rest => {
                let pause = match outcome.again {
                    Again::No => None,
                    Again::Soon => Some(LOOK),
                    Again::Later => Some(self.pause),
                    Again::In(time) => Some(time),
                };
                self.pause = match outcome.again {
                    Again::Later => (self.pause * 2).min(LONGEST_PAUSE),
                    Again::No | Again::Soon | Again::In(_) => FIRST_PAUSE,
                };
                self.again = pause.map(|pause| now + pause);
            }
        }
        self.rest = outcome.more.then_some(now + REST);
    }
}

/// Who does the work, and whose time it is: a test brings time of its own.
pub trait Hands {
    /// Does it.
    fn work(&mut self, work: Work) -> impl Future<Output = Outcome> + Send;
    /// The time since the moment that the agenda counts from.
    fn now(&self) -> Duration;
    /// Waits until then.
    fn until(&self, at: Duration) -> impl Future<Output = ()> + Send;
}

/// Has everything done that `hints` and `requests` ask for and that time brings, until `requests` closes.
pub async fn drive<H: Hands>(
    mut agenda: Agenda,
    mut hands: H,
    mut hints: Option<mpsc::Receiver<()>>,
    mut requests: mpsc::Receiver<()>,
) {
    loop {
        while let Some(work) = agenda.take(hands.now()) {
            let outcome = hands.work(work).await;
            agenda.done(work, outcome, hands.now());
        }
        let moment = async {
            match agenda.next() {
                Some((at, _)) => hands.until(at).await,
                None => std::future::pending().await,
            }
        };
        // A branch that is dropped has taken nothing: `recv` is cancel safe, and what it gives becomes state at once.
        tokio::select! {
            request = requests.recv() => match request {
                Some(()) => agenda.ask(),
                None => return,
            },
            hint = heard(&mut hints) => match hint {
                Some(()) => agenda.hint(hands.now()),
                None => hints = None,
            },
            () = moment => {}
        }
    }
}

/// The next hint; waits for ever if there are none to come.
async fn heard(hints: &mut Option<mpsc::Receiver<()>>) -> Option<()> {
    match hints {
        Some(hints) => hints.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
