//! Who is writing which file: what is half written is not to be taken for what the file says.
//!
//! A file that is written in place passes through states that nobody meant: empty, then longer and longer. What was read
//! before stays in force until its writer has closed it, which the system tells; where it does not, until nothing more was
//! written for a while. Nothing is refused for being small, it only has to be at rest for longer: so what an operator takes
//! out of a list on purpose acts, too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a file must be at rest to be read though nobody told that it is closed: longer than between two looks at stamps.
pub const STILL: Duration = Duration::from_millis(900);
/// The same when its writer is known to have it open: longer than a slow line stalls.
const STILL_OPEN: Duration = Duration::from_secs(5);
/// The same when it has lost more than half of what it held: that is what a broken transfer looks like.
pub const STILL_SHRUNK: Duration = Duration::from_secs(10);
/// Whoever writes for longer than this may never be done: what is there counts.
const LONGEST: Duration = Duration::from_secs(60);

/// What is known of files that were written lately, by their real paths.
#[derive(Debug, Default)]
pub struct Writers(Mutex<Known>);

/// What is known.
#[derive(Debug, Default)]
struct Known {
    /// Whether anybody tells of writers at all; else every file counts as it is.
    told: bool,
    /// When something was last renamed.
    renamed: Option<Instant>,
    /// Each file that was written.
    files: HashMap<PathBuf, Writing>,
}

/// What is known of the writing of a file.
#[derive(Clone, Copy, Debug)]
struct Writing {
    /// When it began.
    since: Instant,
    /// When something was last written, or the file closed.
    last: Instant,
    /// How far it has got.
    state: State,
}

/// How far writing has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The system told that something was written, and is to tell when it is closed.
    Open,
    /// Stamps have changed; whether somebody is still writing nobody tells.
    Seen,
    /// It is closed, or was put there whole.
    Closed,
}

impl Writers {
    /// From now on somebody tells.
    pub fn begin(&self) {
        self.known().told = true;
    }

    /// Something was written to the file of that real path, which its writer has yet to close.
    pub fn written(&self, path: &Path, now: Instant) {
        self.known().note(path, State::Open, now);
    }

    /// Its writer has closed it, or it was put there whole.
    pub fn closed(&self, path: &Path, now: Instant) {
        let mut known = self.known();
        let since = known.files.get(path).map_or(now, |writing| writing.since);
        known.files.insert(path.to_path_buf(), Writing { since, last: now, state: State::Closed });
    }

    /// A name now stands for another file, or for one more.
    pub fn renamed(&self, path: &Path, now: Instant) {
        self.known().renamed = Some(now);
        self.closed(path, now);
    }

    /// Events were lost: nobody can be relied on to tell of files that are open now.
    pub fn lost(&self) {
        for writing in self.known().files.values_mut().filter(|writing| writing.state == State::Open) {
            writing.state = State::Seen;
        }
    }

    /// A file's stamp is another than at the last look; `replaced` if it is another file.
    pub fn seen(&self, path: &Path, replaced: bool, last_look: Instant, now: Instant) {
        let path = real(path);
        let mut known = self.known();
        let renamed = replaced && known.renamed.is_some_and(|at| at >= last_look);
        match known.files.get(&path).copied() {
            Some(Writing { state: State::Closed, last, .. }) if last >= last_look => {}
            Some(Writing { state: State::Open, .. }) => known.note(&path, State::Open, now),
            // A link that was swapped leads to a file that was there before.
            None if renamed => {}
            _ => known.note(&path, State::Seen, now),
        }
    }

    /// Whether the file may be half written.
    pub fn is_moving(&self, path: &Path, now: Instant) -> bool {
        self.about(path).is_some_and(|writing| {
            let still = match writing.state {
                State::Open => STILL_OPEN,
                State::Seen => STILL,
                State::Closed => Duration::ZERO,
            };
            !writing.is_at_rest(still, now)
        })
    }

    /// Whether a file that lost more than half of what it held may be half written; `replaced` if it is another file than
    /// before. Of one that was not told of it is noted that it was seen now.
    pub fn may_be_cut(&self, path: &Path, replaced: bool, now: Instant) -> bool {
        match self.about(path) {
            Some(writing) => {
                // Closed, and opened again at once to append more: a script that writes line by line.
                let still = if writing.state == State::Closed { STILL } else { STILL_SHRUNK };
                !writing.is_at_rest(still, now)
            }
            None if replaced => false,
            None => {
                let mut known = self.known();
                if known.told {
                    known.note(&real(path), State::Seen, now);
                }
                known.told
            }
        }
    }

    /// Forgets what is over.
    pub fn tidy(&self, now: Instant) {
        self.known().files.retain(|_, writing| !writing.is_at_rest(LONGEST, now));
    }

    /// What is known of a file.
    fn about(&self, path: &Path) -> Option<Writing> {
        self.known().files.get(&real(path)).copied()
    }

    /// What is known; it is whole whatever happened to who held it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes note of a write.
    fn note(&mut self, path: &Path, state: State, now: Instant) {
        let fresh = Writing { since: now, last: now, state };
        let writing = self.files.entry(path.to_path_buf()).or_insert(fresh);
        let since = if writing.state == State::Closed { now } else { writing.since };
        *writing = Writing { since, ..fresh };
    }
}

impl Writing {
    /// Whether nothing was written for `still`, or it has gone on for so long that it may never end.
    fn is_at_rest(&self, still: Duration, now: Instant) -> bool {
        let over = |from: Instant, least| now.saturating_duration_since(from) >= least;
        over(self.last, still) || (self.state != State::Closed && over(self.since, LONGEST))
    }
}

/// Where a path really leads, as the system names it when it tells of changes.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to one file, in milliseconds since the first of them.
    enum Step {
        Written(u64),
        Closed(u64),
        Seen(u64),
        Replaced(u64),
        Lost,
    }

    #[test]
    fn a_file_is_read_once_it_is_whole() {
        use Step::*;
        let path = Path::new("/no/such/names.txt");
        // What happens; then, at which times it may be half written, and at which if it has lost more than half.
        type Case<'c> = (&'c [Step], &'c [(u64, bool, bool)]);
        let cases: [Case<'_>; 7] = [
            (&[], &[(0, false, true), (9_999, false, true), (10_001, false, false)]),
            (&[Written(0), Closed(1)], &[(151, false, true), (902, false, false)]),
            (
                // A slow line, which stalls.
                &[Written(0), Written(1_000), Written(5_000)],
                &[(5_150, true, true), (9_000, true, true), (10_001, false, true), (15_001, false, false)],
            ),
            (&[Written(0), Written(1_000), Closed(4_000)], &[(4_150, false, true), (4_901, false, false)]),
            (&[Seen(0), Seen(1_000)], &[(1_150, true, true), (1_901, false, true), (11_001, false, false)]),
            // Told of as closed before the look that finds the change.
            (&[Written(0), Closed(1), Seen(500)], &[(600, false, true), (1_000, false, false)]),
            (&[Written(0), Lost, Replaced(300)], &[(1_150, true, true), (1_250, false, true)]),
        ];
        for (number, (steps, expected)) in cases.iter().enumerate() {
            let (writers, start) = (Writers::default(), Instant::now());
            let at = |ms: u64| start + Duration::from_millis(ms);
            writers.begin();
            for step in *steps {
                match *step {
                    Written(ms) => writers.written(path, at(ms)),
                    Closed(ms) => writers.closed(path, at(ms)),
                    Seen(ms) => writers.seen(path, false, at(ms.saturating_sub(1_000)), at(ms)),
                    Replaced(ms) => writers.seen(path, true, at(ms), at(ms)),
                    Lost => writers.lost(),
                }
            }
            for (ms, moving, cut) in *expected {
                let found = (writers.is_moving(path, at(*ms)), writers.may_be_cut(path, false, at(*ms)));
                assert_eq!(found, (*moving, *cut), "case {number} at {ms}");
            }
        }
    }

    #[test]
    fn whoever_never_stops_holds_up_nothing_for_ever() {
        let (writers, start, path) = (Writers::default(), Instant::now(), Path::new("/no/such/log"));
        let mut held = 0;
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            writers.written(path, now);
            held += u32::from(writers.is_moving(path, now));
        }
        assert_eq!(held, 60);
        writers.tidy(start + Duration::from_secs(500));
        assert!(!writers.is_moving(path, start + Duration::from_secs(100)));
    }

    #[test]
    fn where_nobody_tells_every_file_counts_as_it_is() {
        let (writers, now, path) = (Writers::default(), Instant::now(), Path::new("/no/such/names.txt"));
        assert!(!writers.is_moving(path, now) && !writers.may_be_cut(path, false, now));
        // And so does one that was renamed into its place.
        writers.begin();
        assert!(!writers.may_be_cut(path, true, now));
        writers.renamed(Path::new("/no/such/..data"), now);
        writers.seen(path, true, now, now);
        assert!(!writers.is_moving(path, now));
    }
}
