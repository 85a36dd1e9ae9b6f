//! Pauses of the operator's own lists, as the API has them: groups of clients know until when, this remembers why, and for how
//! long.
//!
//! A pause lasts as long as was said, whatever the machine's date does meanwhile: its end is a moment of the monotonic clock,
//! and what the groups know, a second of the wall clock, is moved along when that is set ([`GroupPauses::tick`]). It is in
//! `<state>/pauses.json` before it begins, so that a restart does not end it. Across a restart there is the wall clock alone, which
//! may have been wrong then or may be now: no more is left than was said.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::types::PauseStatus;
use super::api::{NotPaused, Pauses};
use crate::clients::{Clients, UnknownGroup};
use crate::clock::Now;
use crate::owner;
use crate::problem::Problem;
use crate::resolver::{Current, Generation};
use crate::time::UnixSeconds;

/// The longest pause, in seconds: whoever wants more wants another configuration.
pub const MAX_PAUSE_S: u32 = 604_800;
/// The file's name within the state folder.
const FILE: &str = "pauses.json";
/// Octets of the longest file that is read: a reason for each of as many groups as there may be.
const MAX_OCTETS: u64 = 8 << 20;
/// By how many seconds both clocks may differ, since one of them is read in whole seconds.
const SLACK_S: u64 = 1;

/// Pauses of groups of clients.
#[derive(Debug)]
pub struct GroupPauses {
    /// What queries see.
    current: Arc<Current>,
    /// Where they are kept; none means in memory alone.
    file: Option<PathBuf>,
    /// Those under way: no more than there are groups.
    held: Mutex<Vec<Held>>,
}

/// A pause under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    kept: Kept,
    /// When it ends, as the clock tells monotonic time.
    ends: Duration,
}

/// A pause as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The group; none for everybody.
    group: Option<String>,
    /// How long it was to last when it began.
    seconds: u32,
    /// When it ends by the wall clock, as far as that is right.
    until: UnixSeconds,
    /// Why.
    why: String,
}

impl GroupPauses {
    /// Those of these groups, with what an earlier process left in the state folder; what is wrong with that is told.
    pub fn open(current: Arc<Current>, state: Option<&Path>, now: Now) -> (GroupPauses, Vec<Problem>) {
        let file = state.map(|folder| folder.join(FILE));
        let mut problems = Vec::new();
        let kept = file.as_deref().map_or(Ok(Vec::new()), read).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        let pauses = GroupPauses { current, file, held: Mutex::default() };
        let mut held = Vec::new();
        for mut kept in kept.iter().cloned() {
            kept.seconds = kept.seconds.min(MAX_PAUSE_S);
            // A clock that was ahead then, or was set back since, says that more is left than was said.
            let left = kept.until.saturating_sub(now.wall).clamp(0, kept.seconds.into());
            kept.until = now.wall.saturating_add(left);
            if left == 0 {
                continue;
            }
            match pauses.check(kept.group.as_deref()) {
                Ok(()) => {
                    let ends = now.mono.saturating_add(Duration::from_secs(left.unsigned_abs()));
                    held.push(Held { kept, ends });
                }
                Err(error) => {
                    let place = pauses.file.as_ref().map_or(String::new(), |file| file.display().to_string());
                    problems.push(Problem::warning(place, None, format!("a pause is over: {error}")));
                }
            }
        }
        if !held.iter().map(|held| &held.kept).eq(kept.iter()) {
            pauses.try_keep(&held);
        }
        pauses.show(&held);
        *pauses.held() = held;
        (pauses, problems)
    }

    /// Holds pauses against both clocks, every second or so: what is over ends, and when the wall clock was set, what the groups
    /// know is moved along.
    ///
    /// Returns true if they are to be [kept](GroupPauses::keep) anew.
    pub fn tick(&self, now: Now) -> bool {
        let mut held = self.held();
        let before = held.len();
        // It ends now also for a wall clock that was set back.
        held.retain(|pause| now.mono < pause.ends);
        let mut changed = held.len() != before;
        for pause in held.iter_mut() {
            let until = wall_end(pause.ends, now);
            if until.abs_diff(pause.kept.until) > SLACK_S {
                (pause.kept.until, changed) = (until, true);
            }
        }
        self.show(&held);
        changed
    }

    /// Whether a pause of that group, or of everybody, could be.
    fn check(&self, group: Option<&str>) -> Result<(), UnknownGroup> {
        self.current.load().clients.check(group)
    }

    /// Has queries see these pauses and no others. A group that another configuration took out has none, and again its own once
    /// it is back.
    fn show(&self, held: &[Held]) {
        let paused = |clients: &Clients| {
            let mut clients = clients.clone();
            // Everybody's always are: it has no name.
            let _ = clients.resume(None);
            for Held { kept, .. } in held {
                let _ = clients.pause(kept.group.as_deref(), kept.until);
            }
            clients
        };
        let serving = &self.current.load().clients;
        if !paused(serving).is_paused_like(serving) {
            self.current.change(|serving| Generation {
                clients: Arc::new(paused(&serving.clients)),
                ..serving.clone()
            });
        }
    }

    /// Writes down what is under way. Blocks for as long as the disk takes.
    pub fn keep(&self) {
        let held = self.held();
        self.try_keep(&held);
    }

    /// Writes pauses down; a disk that does not take them costs no more than what a restart knows.
    fn try_keep(&self, held: &[Held]) {
        if let Err(error) = self.write(held) {
            tracing::warn!("pauses are not written down, so a restart takes up those of before: {error}");
        }
    }

    /// Writes pauses down.
    fn write(&self, held: &[Held]) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let kept: Vec<&Kept> = held.iter().map(|held| &held.kept).collect();
        owner::write(file, &serde_json::to_vec_pretty(&kept)?)
    }

    /// Those under way. A thread that panicked with them left them as they were or as they were to become.
    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pauses for GroupPauses {
    fn pauses(&self, now: Now) -> Vec<PauseStatus> {
        let held = self.held();
        let mut under_way: Vec<PauseStatus> = held
            .iter()
            .filter(|pause| now.mono < pause.ends)
            .map(|pause| PauseStatus {
                group: pause.kept.group.clone(),
                until: wall_end(pause.ends, now),
                why: pause.kept.why.clone(),
            })
            .collect();
        under_way.sort_by(|one, other| one.group.cmp(&other.group));
        under_way
    }

    fn pause(&self, group: Option<&str>, seconds: u32, why: &str, now: Now) -> Result<(), NotPaused> {
        self.check(group).map_err(|error| NotPaused::Unknown(error.to_string()))?;
        let ends = now.mono.saturating_add(Duration::from_secs(seconds.into()));
        let until = now.wall.saturating_add(seconds.into());
        let (group, why) = (group.map(str::to_string), why.to_string());
        let mut held = self.held();
        let mut next = held.clone();
        next.retain(|pause| pause.kept.group != group);
        next.push(Held { kept: Kept { group: group.clone(), seconds, until, why }, ends });
        self.write(&next).map_err(|error| NotPaused::NotKept(error.to_string()))?;
        *held = next;
        self.show(&held);
        Ok(())
    }

    fn resume(&self, group: Option<&str>) -> Result<(), NotPaused> {
        let mut held = self.held();
        self.check(group).map_err(|error| NotPaused::Unknown(error.to_string()))?;
        held.retain(|pause| group.is_some() && pause.kept.group.as_deref() != group);
        self.show(&held);
        // It is over whether that can be written down or not.
        self.try_keep(&held);
        Ok(())
    }
}

/// The second of the wall clock at which a moment of the monotonic clock comes.
fn wall_end(ends: Duration, now: Now) -> UnixSeconds {
    let left = ends.saturating_sub(now.mono);
    let left_s = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    now.wall.saturating_add(i64::try_from(left_s).unwrap_or(i64::MAX))
}

/// What an earlier process left.
fn read(path: &Path) -> Result<Vec<Kept>, Problem> {
    let bad = |why: String| {
        let problem =
            Problem::warning(path.display().to_string(), None, format!("no pause is taken up again: {why}"));
        problem.hint("pause again what is to be paused")
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(bad(error.to_string())),
    };
    let metadata = file.metadata().map_err(|error| bad(error.to_string()))?;
    owner::check(path, &metadata).map_err(|problem| bad(problem.message))?;
    let mut octets = Vec::new();
    (&mut file).take(MAX_OCTETS).read_to_end(&mut octets).map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&octets).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Group;
    use crate::policy::{Policy, View};
    use std::fs;

    /// 2026-01-01.
    const AT: UnixSeconds = 1_767_225_600;
    /// Ten years.
    const YEARS: i64 = 315_360_000;

    fn serving() -> Arc<Current> {
        let group = Group::plain("kids", Vec::new(), View::ALL);
        let current = Current::of(Policy::empty());
        let clients = Arc::new(Clients::new(&[group]));
        current.change(|serving| Generation { clients, ..serving.clone() });
        current
    }

    /// That many seconds after the start by the monotonic clock, while the wall clock says `wall`.
    fn now(mono_s: u64, wall: UnixSeconds) -> Now {
        Now { mono: Duration::from_secs(mono_s), wall }
    }

    fn told(group: Option<&str>, until: UnixSeconds, why: &str) -> PauseStatus {
        PauseStatus { group: group.map(str::to_string), until, why: why.into() }
    }

    /// Whether lists are left aside for everybody.
    fn is_paused(pauses: &GroupPauses, at: UnixSeconds) -> bool {
        pauses.current.load().clients.view(0, at) == View::NONE
    }

    #[test]
    fn a_pause_is_told_with_its_reason_until_it_ends() {
        let (pauses, problems) = GroupPauses::open(serving(), None, now(0, AT));
        assert_eq!((pauses.pauses(now(0, AT)), problems), (vec![], vec![]));
        pauses.pause(Some("kids"), 50, "", now(0, AT)).unwrap();
        pauses.pause(None, 100, "a shop does not open", now(0, AT)).unwrap();
        let house = told(None, AT + 100, "a shop does not open");
        assert_eq!(pauses.pauses(now(10, AT + 10)), [house.clone(), told(Some("kids"), AT + 50, "")]);
        assert_eq!(pauses.pauses(now(50, AT + 50)), [house]);
        let NotPaused::Unknown(error) = pauses.pause(Some("kid"), 50, "", now(0, AT)).unwrap_err() else {
            panic!("nothing is written")
        };
        assert!(error.contains("did you mean \"kids\"?"), "{error}");
        pauses.resume(None).unwrap();
        assert_eq!(pauses.pauses(now(10, AT + 10)), []);
        assert!(!is_paused(&pauses, AT + 10));
    }

    #[test]
    fn it_lasts_as_long_as_was_said_whatever_the_date_does() {
        for moved in [0, 1, -1, 3_600, -3_600, YEARS, -YEARS] {
            let (pauses, _) = GroupPauses::open(serving(), None, now(7, AT));
            pauses.pause(None, 100, "", now(7, AT)).unwrap();
            let mut kept = false;
            // The clock is set after 40 seconds.
            for second in 0..=120 {
                let wall = AT + second + if second >= 40 { moved } else { 0 };
                kept |= pauses.tick(now(7 + second.unsigned_abs(), wall)) && second < 100;
                let expected = second < 100;
                // By a second the two may differ that are read at different parts of one.
                let about = moved.abs() <= 1 && (99..=101).contains(&second);
                assert!(about || is_paused(&pauses, wall) == expected, "{moved}: second {second}");
                let left: Vec<UnixSeconds> = pauses
                    .pauses(now(7 + second.unsigned_abs(), wall))
                    .iter()
                    .map(|pause| pause.until - wall)
                    .collect();
                assert_eq!(
                    left,
                    if expected { vec![100 - second] } else { vec![] },
                    "{moved}: second {second}"
                );
            }
            assert_eq!(kept, moved.abs() > 1, "{moved}: a new end is written down");
            assert_eq!(
                pauses.current.load().clients.pauses(UnixSeconds::MIN + 1),
                [],
                "{moved}: it is cleared away"
            );
        }
    }

    #[test]
    fn a_restart_goes_on_and_never_beyond_what_was_said() {
        // How the clock is off when the process begins again 30 seconds later, and how much is left then.
        for (moved, expected) in
            [(0, 70), (50, 20), (100, 0), (YEARS, 0), (-20, 90), (-30, 100), (-YEARS, 100)]
        {
            let dir = tempfile::tempdir().unwrap();
            let (pauses, _) = GroupPauses::open(serving(), Some(dir.path()), now(5, AT));
            pauses.pause(None, 100, "a shop", now(5, AT)).unwrap();
            drop(pauses);
            let wall = AT + 30 + moved;
            let (pauses, problems) = GroupPauses::open(serving(), Some(dir.path()), now(0, wall));
            let left: Vec<(UnixSeconds, String)> = pauses
                .pauses(now(0, wall))
                .into_iter()
                .map(|pause| (pause.until - wall, pause.why))
                .collect();
            let said = if expected == 0 { vec![] } else { vec![(expected, "a shop".to_owned())] };
            assert_eq!((left, problems), (said, vec![]), "{moved}");
            assert_eq!(is_paused(&pauses, wall), expected > 0, "{moved}");
            // Once more at the same second: what was capped is not granted anew.
            drop(pauses);
            let (pauses, _) = GroupPauses::open(serving(), Some(dir.path()), now(0, wall + 10));
            assert_eq!(!pauses.pauses(now(0, wall + 10)).is_empty(), expected > 10, "{moved}");
            pauses.resume(None).unwrap();
            drop(pauses);
            let (pauses, _) = GroupPauses::open(serving(), Some(dir.path()), now(0, wall + 11));
            assert_eq!(pauses.pauses(now(0, wall + 11)), [], "{moved}");
        }
    }

    #[test]
    fn what_cannot_be_written_down_does_not_begin_and_what_cannot_be_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        for (text, expected) in [
            ("{", "no pause is taken up again"),
            ("[{\"group\":null}]", "no pause is taken up again"),
            (
                "[{\"group\":\"cats\",\"seconds\":9,\"until\":9223372036854775807,\"why\":\"\"}]",
                "a pause is over",
            ),
            ("[{\"group\":null,\"seconds\":4294967295,\"until\":9223372036854775807,\"why\":\"\"}]", ""),
            ("[{\"group\":null,\"seconds\":0,\"until\":-9223372036854775808,\"why\":\"\"}]", ""),
        ] {
            fs::write(&file, text).unwrap();
            let (pauses, problems) = GroupPauses::open(serving(), Some(dir.path()), now(0, AT));
            let said: String = problems.iter().map(|problem| problem.message.as_str()).collect();
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{text}: {said}");
            let most = pauses.pauses(now(0, AT)).iter().map(|pause| pause.until - AT).max().unwrap_or(0);
            assert!(most <= MAX_PAUSE_S.into(), "{text}");
        }
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let (pauses, _) = GroupPauses::open(serving(), Some(dir.path()), now(0, AT));
        let refused = pauses.pause(None, 10, "", now(0, AT));
        assert!(matches!(refused, Err(NotPaused::NotKept(_))), "{refused:?}");
        assert!(!is_paused(&pauses, AT) && pauses.pauses(now(0, AT)).is_empty());
    }
}
