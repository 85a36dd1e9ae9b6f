//! The configuration as a reload sees it: read when it is whole, refused without harm, said once.

use std::path::PathBuf;
use std::time::Instant;

use super::blast::BlastLimit;
use super::health::{About, Health};
use crate::log;
use crate::orders::Settings;
use crate::orders::files::Stamp;
use crate::orders::writers::Writers;
use crate::problem::Problem;
use crate::resolver::Generation;

/// The configuration, which may become another while it serves.
pub trait Configuration: Send + Sync {
    /// Where it is read from, there or not: a change there is a reason to reload.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads it anew; none if it is as it was when it was last put in force.
    ///
    /// # Errors
    /// What is wrong with it, if it cannot be used: then all stays as it is.
    fn look(&mut self) -> Result<Option<Next>, Vec<Problem>>;

    /// What was looked at last is in force, as far as answers depend on it: the rest is to follow. Gives back what is to be
    /// said.
    fn follow(&mut self) -> Vec<Problem>;
}

/// What another configuration makes of a reload.
pub struct Next {
    /// Where orders are read from.
    pub orders: Settings,
    /// How much an order may newly take.
    pub blast: Option<BlastLimit>,
    /// Makes the generation that goes with the orders out of the one that serves.
    pub settle: Box<Settle>,
}

/// Makes a generation out of another.
pub type Settle = dyn FnOnce(&Generation) -> Generation + Send + Sync;

/// A configuration, and what was made of it last.
pub(super) struct Configured {
    /// It.
    pub(super) configuration: Box<dyn Configuration>,
    /// Its files when they were last read.
    read: Vec<(PathBuf, Option<Stamp>)>,
    /// What was wrong with it then.
    refused: Vec<Problem>,
    /// Whether it is being written, and to be read soon.
    pub(super) awaiting: bool,
}

impl Configured {
    /// One that was read a moment ago, and found good.
    pub(super) fn new(configuration: Box<dyn Configuration>) -> Configured {
        let read = stamps(&*configuration);
        Configured { configuration, read, refused: Vec::new(), awaiting: false }
    }

    /// What a reload is to go by if it is another than the one in force. One that cannot be used is said, and changes nothing.
    pub(super) fn next(&mut self, writers: &Writers, health: &Health) -> Option<Next> {
        let now = stamps(&*self.configuration);
        self.awaiting =
            now.iter().any(|(path, stamp)| may_be_half(writers, path, stamp.as_ref(), &self.read));
        if self.awaiting {
            return None;
        }
        self.read = now;
        match self.configuration.look() {
            Ok(next) => {
                if !self.refused.is_empty() && next.is_none() {
                    tracing::info!("the configuration is again the one in force");
                }
                self.well(health);
                next
            }
            Err(problems) => {
                self.refuse(problems, health);
                None
            }
        }
    }

    /// Has the rest follow what is in force now, then `tell` it what was loaded; a configuration that did not come into force is
    /// refused with what kept it.
    pub(super) fn follow(&mut self, settled: bool, health: &Health, tell: impl FnOnce()) {
        if settled {
            let said = self.configuration.follow();
            tell();
            tracing::info!("the configuration is in force as it is now");
            log::problems(&said);
            return;
        }
        let message = "what it says of orders and lists cannot be put in force";
        let hint = "see what was said of them; it is tried again when a file changes";
        self.refuse(vec![Problem::error("configuration", None, message).hint(hint)], health);
    }

    /// Nothing is wrong with it.
    fn well(&mut self, health: &Health) {
        self.refused.clear();
        health.say(About::Configuration, None);
    }

    /// Says what is wrong with it, once.
    fn refuse(&mut self, problems: Vec<Problem>, health: &Health) {
        if self.refused != problems {
            log::problems(&problems);
            tracing::error!("the configuration is not used as it is now; the one before stays in force");
        }
        let first = problems.iter().find(|problem| problem.is_error()).map(ToString::to_string);
        health.say(About::Configuration, Some(&first.unwrap_or_default().replace('\n', "; ")));
        self.refused = problems;
    }
}

/// The files of a configuration as they are.
fn stamps(configuration: &dyn Configuration) -> Vec<(PathBuf, Option<Stamp>)> {
    configuration.files().into_iter().map(|file| (file.clone(), Stamp::of(&file))).collect()
}

/// Whether a file of the configuration may be half written: it is open, or holds less than half of what it held and was not
/// put there whole. An empty file is a configuration too, and one that would let go of every order.
fn may_be_half(
    writers: &Writers,
    path: &PathBuf,
    now: Option<&Stamp>,
    before: &[(PathBuf, Option<Stamp>)],
) -> bool {
    let at = Instant::now();
    let before = before.iter().find(|(other, _)| other == path).and_then(|(_, stamp)| stamp.as_ref());
    let (Some(now), Some(before)) = (now, before) else {
        return now.is_some() && writers.is_moving(path, at);
    };
    let shrunk = now.size() < before.size() / 2;
    writers.is_moving(path, at) || (shrunk && writers.may_be_cut(path, !now.is_same_file(before), at))
}
