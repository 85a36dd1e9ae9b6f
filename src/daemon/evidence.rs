//! Evidence's part of the daemon: what it is kept by, its two threads, and what is told of it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::tasks::{self, Tasks};
use crate::clock::Clock;
use crate::config::{Config, Evidence};
use crate::control::api::types::EvidenceShown;
use crate::control::health::{About, Health};
use crate::evidence::FILE;
use crate::evidence::keeper::{Fares, Keeper, Settings};
use crate::orders::time;
use crate::resolver::Current;
use crate::resolver::sightings::Sightings;
use crate::system;

/// How long the end waits for what was counted to be on the disk.
pub(super) const FLUSHING: Duration = Duration::from_secs(5);

/// Who keeps it, if it is to be kept.
pub(super) fn keeper(
    config: &Config,
    (sightings, current): (Sightings, Arc<Current>),
    clock: Arc<dyn Clock>,
    health: &Arc<Health>,
) -> Option<Arc<Keeper>> {
    let folder = config.orders.state.as_ref().filter(|_| config.evidence.on)?;
    let health = Arc::clone(health);
    let tell = Box::new(move |what: Option<&str>| health.say(About::Evidence, what));
    let keeper =
        Keeper::new(folder.join(FILE), settings(&config.evidence), (sightings, current), clock, tell);
    keeper.open();
    Some(Arc::new(keeper))
}

/// What is decided about it.
pub(super) fn settings(evidence: &Evidence) -> Settings {
    let Evidence { privacy, flush, keep_days, max_size, memory, .. } = *evidence;
    Settings { privacy, flush, keep_days, max_octets: max_size, memory }
}

/// Has it counted and written until the end.
pub(super) fn run(tasks: &mut Tasks, keeper: &Arc<Keeper>, health: &Arc<Health>) {
    let (counter, of) = (Arc::clone(keeper), Arc::clone(health));
    tasks.vital("evidence", async move {
        tasks::on_a_thread(&of, "evidence", move || {
            system::give_way();
            counter.count()
        })
        .await;
    });
    let (writer, of) = (Arc::clone(keeper), Arc::clone(health));
    tasks.vital("evidence on disk", async move {
        tasks::on_a_thread(&of, "evidence-db", move || {
            system::give_way();
            writer.write()
        })
        .await;
    });
}

/// Writes what is left, aside; told when that is done.
pub(super) fn end(keeper: &Arc<Keeper>) -> oneshot::Receiver<()> {
    let (done, told) = oneshot::channel();
    let keeper = Arc::clone(keeper);
    let ending = thread::Builder::new().name("evidence-end".into()).spawn(move || {
        keeper.end();
        // Whoever waited may have given up.
        let _ = done.send(());
    });
    if let Err(error) = ending {
        tracing::warn!("the last of evidence is not written: there is no thread to write it ({error})");
    }
    told
}

/// How it fares, as the API tells it.
pub(super) fn shown(fares: Fares) -> EvidenceShown {
    EvidenceShown {
        seen: fares.seen,
        written: fares.written,
        lost: fares.lost,
        flushes: fares.flushes,
        failures: fares.failures,
        trimmed: fares.trimmed,
        octets: fares.octets,
        last: (fares.last > 0).then(|| time::rfc3339(fares.last)),
        coarse: fares.coarse.named().into_iter().map(|(what, count)| (what.to_owned(), count)).collect(),
    }
}
