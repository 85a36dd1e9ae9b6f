//! The query log's part of the daemon: its threads.

use std::sync::Arc;

use super::tasks::{self, Tasks};
use crate::clock::Clock;
use crate::control::health::Health;
use crate::querylog::{QueryLog, Settings};
use crate::resolver::Current;
use crate::upstream::Watch;

/// The log as it was asked for, of so many threads that answer; none if it is off.
pub(super) fn open(
    settings: &Settings,
    answering: usize,
    clock: &Arc<dyn Clock>,
    current: &Arc<Current>,
) -> Option<Arc<QueryLog>> {
    let current = Arc::clone(current);
    let group_of = move |addr| {
        let generation = current.load();
        let clients = &generation.clients;
        let name = (clients.groups() > 1).then(|| clients.name(clients.group_of(addr)));
        name.flatten().map(str::to_owned)
    };
    QueryLog::new(settings, answering, Arc::clone(clock), Box::new(group_of)).map(Arc::new)
}

/// Who is told what upstreams are asked, if somebody is to be.
pub(super) fn watch(
    log: Option<&Arc<QueryLog>>,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Option<Watch> {
    let log = log.filter(|_| settings.dnstap_forwarder)?;
    Some(Watch::new(log.taps(), Arc::clone(clock)))
}

/// Starts its threads, each of which is started again if it breaks off: records wait meanwhile.
pub(super) fn run(log: &Arc<QueryLog>, tasks: &mut Tasks, health: &Arc<Health>) {
    let each = |name: &'static str, work: Box<dyn Fn() -> std::io::Result<()> + Send + Sync>| {
        let health = Arc::clone(health);
        tasks.vital("query log", async move { tasks::on_a_thread(&health, name, work).await });
    };
    let mut each = each;
    let collected = Arc::clone(log);
    each("query log", Box::new(move || collected.collect()));
    for (index, name) in log.outlets() {
        let log = Arc::clone(log);
        each(name, Box::new(move || log.let_out(index)));
    }
}
