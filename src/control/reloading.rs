//! Reloading by itself: on request, when files change and when what could not be read may be readable again.
//!
//! What is to be done when is the [`agenda`](super::agenda)'s to say; here it is done, on a thread that gives way to those that
//! answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::agenda::{Again, Agenda, Cause, Outcome, Work, drive};
use super::aside::{Aside, Worker};
use super::configured::{Configuration, Configured};
use super::health::{About, Health};
use super::reload::{Reloader, Report};
use super::reloads::{Reloaded, Reloads};
use super::stamps::Stamps;
use super::watch::Watch;
use crate::clock::Clock;
use crate::log;
use crate::orders::Loaded;
use crate::orders::writers::Writers;
use crate::spares;

/// What goes with a reloader that runs by itself.
pub struct Running {
    /// It.
    pub reloader: Reloader,
    /// Tells of changed files; none without a watcher.
    pub watching: Option<(Watch, mpsc::Receiver<()>)>,
    /// Whether to look at the stamps of files, for changes that nobody tells of.
    pub looks: bool,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told when something does not go as it should.
    pub health: Arc<Health>,
    /// Who is writing which file: the same that the reloader heeds and the watcher tells.
    pub writers: Arc<Writers>,
    /// The configuration, if it may become another.
    pub configuration: Option<Box<dyn Configuration>>,
    /// Counts reloads.
    pub reloads: Arc<Reloads>,
}

/// Reloads when `requests` says so and when files change, until `requests` closes; without looks and a watcher, on request
/// only.
pub async fn run(running: Running, requests: mpsc::Receiver<()>) {
    let Running { reloader, watching, looks, clock, health, writers, configuration, reloads } = running;
    let (watch, hints) = watching.unzip();
    let mut agenda = Agenda::new(looks, reloader.has_more_to_do(), Duration::ZERO);
    if reloader.loaded().wanting {
        agenda.hint(Duration::ZERO);
    }
    let settings = configuration.map(Configured::new);
    let stamps = Stamps::default();
    let thread = ReloadThread { reloader, watch, stamps, looks, clock, health, writers, settings, reloads };
    drive(agenda, Aside::new(thread), hints, requests).await;
}

/// Everything that reloading takes.
struct ReloadThread {
    reloader: Reloader,
    watch: Option<Watch>,
    stamps: Stamps,
    looks: bool,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    writers: Arc<Writers>,
    settings: Option<Configured>,
    reloads: Arc<Reloads>,
}

impl ReloadThread {
    /// Looks at the stamps of all files; whether any has changed.
    fn look(&mut self) -> bool {
        let files = self.files();
        self.stamps.look(&files, &self.writers, Instant::now())
    }

    /// All that a change of is a reason to reload.
    fn files(&self) -> Vec<PathBuf> {
        let settings = self.settings.iter().flat_map(|settings| settings.configuration.files());
        self.reloader.loaded().files.iter().cloned().chain(settings).collect()
    }

    /// Reloads, and once more if that led to folders nobody watched: they may have changed in between.
    fn cover_and_reload(&mut self, cause: Cause) {
        for _ in 0..2 {
            // Watch before reading, so that a change while reading is a hint and not a loss.
            let files = self.files();
            if let Some(watch) = &mut self.watch {
                watch.cover(&files);
            }
            // Whoever began to write a moment ago shows by now, even if nobody told yet.
            if self.looks {
                self.look();
            }
            let next = self.settings.as_mut().and_then(|settings| settings.next(&self.writers, &self.health));
            if let (Some(next), Some(watch)) = (&next, &mut self.watch) {
                watch.lists(next.orders.lists.iter().map(|list| list.path.clone()));
            }
            let is_other = next.is_some();
            let begun = Instant::now();
            let report = self.reloader.reload_as(next, self.clock.now().wall);
            let kept = self.reloader.loaded().wanting || (is_other && !report.settled);
            let reloaded = match report.swapped || report.settled {
                _ if kept => Reloaded::Kept,
                true => Reloaded::Changed,
                false => Reloaded::Unchanged,
            };
            self.reloads.count(reloaded, begun.elapsed(), self.clock.now().wall);
            say(&report, self.reloader.loaded(), cause);
            if let Some(settings) = self.settings.as_mut().filter(|_| is_other) {
                // Whoever came with the configuration did not serve yet when the reload told.
                settings.follow(report.settled, &self.health, || self.reloader.tell());
            }
            self.reloader.say_unknown();
            let files = self.files();
            let new_ground = self.watch.as_mut().is_some_and(|watch| watch.cover(&files));
            if !new_ground {
                break;
            }
        }
    }

    /// What the work has left to do.
    fn outcome(&self) -> Outcome {
        spares::hold();
        let more = self.reloader.has_more_to_do() || (self.looks && self.reloader.unsettled);
        let loaded = self.reloader.loaded();
        let what = "something cannot be read; what was in force stays so, and it is tried again until it can";
        if self.health.say(About::Reload, loaded.wanting.then_some(what)) && loaded.wanting {
            tracing::warn!("{what}");
        }
        let awaiting = loaded.awaiting || self.settings.as_ref().is_some_and(|settings| settings.awaiting);
        let again = match (loaded.wanting, awaiting) {
            (true, _) => Again::Later,
            (false, true) => Again::Soon,
            (false, false) => Again::No,
        };
        Outcome { changed: false, again, more }
    }
}

impl Worker for ReloadThread {
    fn work(&mut self, work: Work) -> Outcome {
        match work {
            Work::Look => {
                spares::hold();
                Outcome { changed: self.look(), ..Outcome::default() }
            }
            Work::Reload(cause) => {
                self.cover_and_reload(cause);
                self.outcome()
            }
            Work::Rest => {
                // Who is to read on request alone gets nothing else.
                if self.looks && self.reloader.unsettled {
                    self.cover_and_reload(Cause::Change);
                    // Once: with a clock that runs wrongly they may never seem settled.
                    self.reloader.unsettled = false;
                }
                self.reloader.rest();
                self.outcome()
            }
        }
    }

    fn broke_off(&mut self) -> Outcome {
        let what = "reading the orders broke off by a fault of this program; what was in force stays so";
        self.health.say(About::Reload, Some(what));
        self.reloads.count(Reloaded::BrokeOff, Duration::ZERO, self.clock.now().wall);
        tracing::error!("{what}: it is tried again");
        Outcome { changed: true, again: Again::Later, more: false }
    }
}

/// Says what came of a reload.
fn say(report: &Report, loaded: &Loaded, cause: Cause) {
    log::problems(&report.problems);
    if report.mended {
        tracing::info!("all problems are mended");
    }
    for change in &report.changes {
        tracing::info!("{change}");
    }
    if report.swapped || cause == Cause::Request {
        tracing::info!(
            orders = loaded.orders,
            names = loaded.names,
            refused_orders = loaded.refused_orders,
            refused_lines = loaded.refused_lines,
            "{}",
            if report.swapped { "reloaded" } else { "reloaded: nothing changed" }
        );
    }
}
