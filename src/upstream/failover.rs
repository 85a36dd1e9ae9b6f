//! Asking servers until one answers, in the order that a strategy finds.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::begun::{Begun, Came, Late, Then};
use super::budget::Budget;
use super::failure::Failure;
use super::known::{Known, Tally};
use super::message;
use super::network::Network;
use super::race::{MAX_LINGERING, Race, Rules, Step};
use super::roots::Roots;
use super::server::Server;
use super::settings::{MAX_SERVERS, Settings};
use super::source::Source;
use super::strategy::{Order, Seen, Strategy};
use super::{Ask, AskError, Exchange};
use crate::dns::Question;
use crate::name::Name;

/// A try has at least this long, whatever the settings say: none at all would turn the loop of tries into a busy one.
const MIN_TRY: Duration = Duration::from_millis(10);
/// Upstreams named in an error: it travels as EDE text, which should stay short (RFC 8914 §3).
const MAX_NAMED: usize = 3;

/// Several servers, asked as `E` asks one.
///
/// A server that keeps failing goes to the back of the order for a short time, yet is always in it: when all are
/// down each question tries all of them, so the first question after one is back is answered.
#[derive(Debug)]
pub(super) struct Failover<E> {
    /// Those that another group or another configuration also has are one with theirs: connections, health and counts.
    upstreams: Vec<Arc<Known<E>>>,
    strategy: Strategy,
    /// What those that are in doubt are asked about.
    zone: Name,
    rules: Rules,
    roots: Roots,
    /// Whether cookies are sent to servers that are asked in clear, and from where those are asked.
    in_clear: (bool, Option<Source>),
}

impl<E: Exchange> Failover<E> {
    /// Asks each server of the settings by what one of `others` asks it, if one does, else by what `make` makes for it; in a network of
    /// its own until it is put in another.
    pub(super) fn new<'o>(
        settings: &Settings,
        make: impl Fn(&Server) -> E,
        others: impl IntoIterator<Item = &'o Failover<E>>,
    ) -> Failover<E> {
        let others: Vec<&Failover<E>> = others.into_iter().collect();
        let in_clear = (settings.cookies, settings.source);
        let known = |server: &Server| {
            // Who was believed by other roots has to prove itself anew.
            let others = others.iter().filter(|other| match server.is_encrypted() {
                true => other.roots == settings.roots,
                false => other.in_clear == in_clear,
            });
            others.flat_map(|other| &other.upstreams).find(|known| known.server == *server).cloned()
        };
        let new = |server: &Server| Arc::new(Known::new(server.clone(), make(server)));
        let upstream = |server: &Server| known(server).unwrap_or_else(|| new(server));
        Failover {
            upstreams: settings.servers.iter().take(MAX_SERVERS).map(upstream).collect(),
            strategy: settings.strategy,
            zone: Name::ROOT,
            rules: Rules {
                try_timeout: settings.try_timeout.max(2 * MIN_TRY),
                total_timeout: settings.total_timeout,
                trust_ad: settings.trust_ad,
                hedge: settings.hedge,
                is_alone: settings.servers.len() == 1,
                budget: Budget::default(),
                network: Arc::default(),
                max_per_server: settings.max_per_server.max(1),
                in_flight: Arc::new(Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS))),
                lingering: Arc::new(Semaphore::new(MAX_LINGERING)),
            },
            roots: settings.roots.clone(),
            in_clear,
        }
    }

    /// The same for names of a zone: those that are in doubt are asked about that.
    pub(super) fn about(self, zone: Name) -> Failover<E> {
        Failover { zone, ..self }
    }

    /// The same in a network that others are in, too.
    pub(super) fn within(self, network: &Arc<Network>) -> Failover<E> {
        let rules = Rules { network: Arc::clone(network), ..self.rules };
        Failover { rules, ..self }
    }

    /// What is to be told when the network is another one.
    pub(super) fn network(&self) -> &Arc<Network> {
        &self.rules.network
    }

    /// Those it asks, in the order of the settings.
    pub(super) fn upstreams(&self) -> &[Arc<Known<E>>] {
        &self.upstreams
    }

    /// Each upstream's counts, in the order of the settings.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        self.upstreams.iter().map(|upstream| upstream.tally()).collect()
    }

    /// Forgets what was found out in another network.
    fn catch_up(&self) {
        let changes = self.rules.network.changes();
        self.upstreams.iter().for_each(|upstream| upstream.catch_up(changes));
    }

    /// Has those that are in doubt looked after. One alone is asked in any case, but people want to know.
    fn look_after(&self) {
        let most = self.rules.most(self.upstreams.len());
        self.upstreams.iter().for_each(|upstream| upstream.look_after(self.zone, most));
    }

    /// Finds out, aside, which of several answer and how fast, those of which something is known left out: one that is down is then not
    /// waited for by whoever asks first. Must be called in a tokio runtime.
    pub(super) fn meet(&self) {
        if let servers @ 2.. = self.upstreams.len() {
            let most = self.rules.most(servers);
            self.upstreams.iter().for_each(|upstream| upstream.meet(self.zone, most));
        }
    }

    /// Before a question that is not begun yet.
    fn prepare(&self) {
        self.catch_up();
        self.look_after();
        self.rules.budget.earn();
    }

    /// Who is asked first and its place, if that is so whatever is drawn, and if it can be asked at once. Where all stepped back it is a
    /// matter of who else is asked, and when.
    fn first(&self) -> Option<(usize, &Arc<Known<E>>)> {
        let known_before = self.strategy == Strategy::InOrder || self.upstreams.len() == 1;
        let mut well = self.upstreams.iter().enumerate().filter(|(_, upstream)| upstream.health.is_well());
        let first = well.next().filter(|_| known_before)?;
        let has_room = !first.1.is_full(self.rules.max_per_server);
        (has_room && first.1.exchange.may_begin()).then_some(first)
    }

    /// Asks until there is an answer, or nobody is left; `late` is told what comes after that.
    async fn run(&self, mut race: Race<'_, E>, late: Option<Late>) -> Result<Vec<u8>, AskError> {
        let network = &self.rules.network;
        let changes = network.changes();
        let all_down = !self.upstreams.iter().any(|upstream| upstream.health.is_well());
        loop {
            match race.step().await {
                Step::Went => {}
                Step::Answered(reply) => {
                    // What one of them can answer again, the others may be able to.
                    if all_down {
                        network.came_back(changes);
                    }
                    return Ok(reply);
                }
                Step::Over => return race.end(late).map_err(|failures| explain(&failures)),
            }
        }
    }

    /// The upstreams in the order this question asks them, and how many it asks at once.
    fn order(&self) -> (VecDeque<Arc<Known<E>>>, usize) {
        let seen: Vec<Seen> = self.upstreams.iter().map(|upstream| upstream.seen()).collect();
        let mut draw = || rand::random::<f64>();
        let Order { places, at_once } = self.strategy.order(&seen, &mut draw, || self.rules.budget.spend());
        let order = places.into_iter().filter_map(|place| self.upstreams.get(place).cloned());
        (order.collect(), at_once)
    }
}

#[cfg(test)]
impl<E: Exchange> Failover<E> {
    /// How many questions more may be listened for once they are over.
    pub(super) fn may_linger(&self) -> usize {
        self.rules.lingering.available_permits()
    }

    /// Has every server have answered somebody else just now, and at once.
    pub(super) fn answered(&self) {
        self.upstreams.iter().for_each(|upstream| upstream.replied(Instant::now(), false));
    }

    /// How each upstream is asked, in the order of the settings.
    pub(super) fn exchanges(&self) -> impl Iterator<Item = &E> {
        self.upstreams.iter().map(|upstream| &upstream.exchange)
    }
}

impl<E: Exchange> Ask for Failover<E> {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        let Ok(_permit) = self.rules.in_flight.try_acquire() else { return Err(AskError::Overloaded) };
        if self.upstreams.is_empty() {
            return Err(AskError::NoneReachable("no upstream is configured".to_owned()));
        }
        self.prepare();
        self.run(Race::new(&self.rules, question, Instant::now(), self.order()), None).await
    }

    fn may_begin(&self, _: &Question) -> bool {
        self.catch_up();
        self.first().is_some()
    }

    fn begin(&self, question: &Question, then: Then) {
        let first = self.first();
        let room = first.and_then(|(_, known)| known.enter(self.rules.max_per_server));
        let Some(((place, known), room)) = first.zip(room) else { return then(Err(Begun::nothing())) };
        self.look_after();
        self.rules.budget.earn();
        known.asked(false);
        let at = Instant::now();
        let due = at + self.rules.wait(known, self.rules.most(self.upstreams.len()));
        // Where another one may be asked as well, that is for whoever goes on.
        let hedge = self.rules.hedge_at(known, at, due).filter(|_| self.upstreams.len() > 1);
        let (asked, believed) = (Arc::clone(known), self.rules.believes(&known.server));
        let landing = move |came| {
            drop(room);
            then(match came {
                Came::Reply(Ok(reply)) if message::is_final(&reply) => Ok(asked.heard(reply, at, believed)),
                came => Err(Begun { place, at, due, came }),
            });
        };
        known.exchange.begin(question, Box::new(landing), hedge.unwrap_or(due));
    }

    async fn go_on(&self, question: &Question, begun: Begun, late: Late) -> Result<Vec<u8>, AskError> {
        let Ok(_permit) = self.rules.in_flight.try_acquire() else { return Err(AskError::Overloaded) };
        if self.upstreams.is_empty() {
            return Err(AskError::NoneReachable("no upstream is configured".to_owned()));
        }
        let known = self.upstreams.get(begun.place);
        if known.is_none() {
            self.prepare();
        }
        let mut race = Race::new(&self.rules, question, begun.at, self.order());
        if let Some(known) = known {
            race.take_over(known, begun);
        }
        self.run(race, Some(late)).await
    }

    fn asked_of(&self, _: &Question) -> Vec<String> {
        self.upstreams.iter().map(|upstream| format!("{:#}", upstream.server)).collect()
    }
}

/// All failures as one error: the network's only if no server was merely silent.
pub(super) fn explain(failures: &[(Server, Failure)]) -> AskError {
    if !failures.is_empty() && failures.iter().all(|(_, failure)| *failure == Failure::Busy) {
        return AskError::Overloaded;
    }
    let mut text = String::new();
    for (index, (server, failure)) in failures.iter().take(MAX_NAMED).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{server:#} {failure}");
    }
    if let Some(more @ 1..) = failures.len().checked_sub(MAX_NAMED) {
        let _ = write!(text, "; {more} more failed");
    }
    if !failures.is_empty() && failures.iter().all(|(_, failure)| failure.is_said()) {
        AskError::Network(text)
    } else {
        AskError::NoneReachable(text)
    }
}
