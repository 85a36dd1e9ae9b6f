//! Canaries: innocent names beside an order's, asked for again and again, so that somebody hears of it when one goes dark.
//!
//! They are asked the way a client asks: whole packets into the whole request path, so that whatever makes it stray (an
//! order, a list, an alias, a mistake in the program) is seen where clients would see it. Where the path's answer is no
//! truth, the policy in force is asked who captures the name. An upstream that fails, or lies itself, is another matter and
//! said as such.
//!
//! The client they are is 127.0.0.1, from port 0: they see what its group of clients sees, and only if it may ask.

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::dns::Ede;
use crate::dns::ede::details;
use crate::dns::wire::{self, FLAG_TC, Header, Message};
use crate::forge::attribution;
use crate::iana::{Class, EdeCode, Rcode, Rtype};
use crate::name::Name;
use crate::policy::{Policy, Verdict};
use crate::resolver::Current;
use crate::serve::{Client, Respond, Step};
use crate::time::UnixSeconds;
use crate::transport::Transport;

/// Canaries asked in one round: at the shortest useful interval, a second, still nothing beside real traffic.
pub const MAX_CANARIES: usize = 1024;
/// Canaries under way at one time: a round must not crowd out clients' own questions.
const MAX_AT_ONCE: usize = 8;
/// What a canary announces to take over UDP, in octets (DNS Flag Day 2020).
const PAYLOAD: u16 = 1232;
/// Who asks: this machine, from no port, so that nobody takes it for a client.
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Codes that say that an answer is not what the zone says.
const NOT_THE_TRUTH: [EdeCode; 4] =
    [EdeCode::FORGED_ANSWER, EdeCode::BLOCKED, EdeCode::CENSORED, EdeCode::FILTERED];

/// A canary, and how it fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CanaryStatus {
    /// The order it stands beside.
    pub order: String,
    /// The name.
    pub name: String,
    /// How it fares.
    #[serde(flatten)]
    pub state: CanaryState,
    /// Since when; for one that was not asked yet, since it is known.
    pub since: UnixSeconds,
}

/// How a canary fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum CanaryState {
    /// It was not asked yet.
    Unasked,
    /// Its answer is the truth.
    Ok,
    /// An order captures it.
    Captured {
        /// The order's id.
        by: String,
    },
    /// No truth was to be had, and no order is why.
    Unresolvable {
        /// What came instead.
        why: String,
    },
}

/// A canary that fares otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How it fared.
    pub before: CanaryState,
    /// How it does; none if nobody asks any more, for its order is no longer in force.
    pub now: Option<CanaryState>,
    /// The order it stands beside.
    pub order: String,
    /// The name.
    pub name: String,
}

/// How all canaries fare; shared by whoever asks them and whoever tells.
#[derive(Debug, Default)]
pub struct Canaries {
    known: Mutex<Known>,
}

/// What is known of them.
#[derive(Debug, Default)]
struct Known {
    /// Each, in the order of orders.
    statuses: Vec<CanaryStatus>,
    /// How many are not asked because there are too many.
    left_out: usize,
}

impl Canaries {
    /// Each canary that is asked, in the order of orders.
    pub fn statuses(&self) -> Vec<CanaryStatus> {
        self.known().statuses.clone()
    }

    /// Canaries that are not asked, because there are more than [`MAX_CANARIES`].
    pub fn left_out(&self) -> usize {
        self.known().left_out
    }

    /// Asks each canary of each order that acts at `at` once, and says what is different from the round before.
    pub async fn round<R: Respond>(
        &self,
        respond: &Arc<R>,
        current: &Arc<Current>,
        at: UnixSeconds,
    ) -> Vec<Change> {
        let (asked, left_out) = canaries(&current.policy(), at);
        let mut under_way = JoinSet::new();
        let mut states = vec![CanaryState::Unasked; asked.len()];
        let mut note = |joined: Result<(usize, CanaryState), tokio::task::JoinError>| {
            // A task that panicked has no state: the canary stays unasked, and the panic was logged.
            if let Ok((index, state)) = joined
                && let Some(place) = states.get_mut(index)
            {
                *place = state;
            }
        };
        for (index, (_, name)) in asked.iter().enumerate() {
            if under_way.len() >= MAX_AT_ONCE
                && let Some(joined) = under_way.join_next().await
            {
                note(joined);
            }
            let (respond, current, name) = (Arc::clone(respond), Arc::clone(current), *name);
            under_way.spawn(async move { (index, ask(&*respond, &current, &name, at).await) });
        }
        while let Some(joined) = under_way.join_next().await {
            note(joined);
        }
        self.take(asked, states, left_out, at)
    }

    /// Takes down what a round found.
    fn take(
        &self,
        asked: Vec<(String, Name)>,
        states: Vec<CanaryState>,
        left_out: usize,
        at: UnixSeconds,
    ) -> Vec<Change> {
        let mut known = self.known();
        let statuses = std::mem::take(&mut known.statuses);
        let mut before: HashMap<(String, String), (CanaryState, UnixSeconds)> = statuses
            .into_iter()
            .map(|status| ((status.order, status.name), (status.state, status.since)))
            .collect();
        let mut changes = Vec::new();
        for ((order, name), state) in asked.into_iter().zip(states) {
            let name = name.to_string();
            let old = before.remove(&(order.clone(), name.clone()));
            let (old, old_since) = old.unwrap_or((CanaryState::Unasked, at));
            let since = if old.same_as(&state) { old_since } else { at };
            if !old.same_as(&state) {
                let (order, name) = (order.clone(), name.clone());
                changes.push(Change { before: old, now: Some(state.clone()), order, name });
            }
            known.statuses.push(CanaryStatus { order, name, state, since });
        }
        let gone = before.into_iter().filter(|(_, (state, _))| state.is_alarm());
        let gone = gone.map(|((order, name), (before, _))| Change { before, now: None, order, name });
        changes.extend(gone);
        known.left_out = left_out;
        changes
    }

    /// What is known; it is whole whatever happened to who held it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks all canaries again and again, a round about every `interval`, for ever; zero asks none until it is another. Alarms go to the log: one
/// line when one begins, one when it ends.
pub async fn run<R: Respond>(
    respond: Arc<R>,
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    mut interval: watch::Receiver<Duration>,
    canaries: Arc<Canaries>,
) {
    let mut left_out = 0;
    // The first round is soon after the start, so that a bad order is heard of before anybody complains.
    let mut soon = true;
    loop {
        let every = *interval.borrow_and_update();
        let wait = if soon { every / 10 } else { every };
        // Jitter, lest several servers ask the same upstream at the same moment for ever.
        let jitter = rand::rng().random_range(0.9..1.1);
        tokio::select! {
            () = tokio::time::sleep(wait.mul_f64(jitter)), if !every.is_zero() => {}
            changed = interval.changed() => match changed {
                Ok(()) => continue,
                // Whoever could set another is gone, as the process soon is.
                Err(_) => std::future::pending().await,
            },
        }
        soon = false;
        if !current.load().policy.is_ready() {
            continue;
        }
        for change in canaries.round(&respond, &current, clock.now().wall).await {
            change.log();
        }
        if left_out != canaries.left_out() {
            left_out = canaries.left_out();
            tracing::warn!("{left_out} canaries are not asked: there are more than {MAX_CANARIES}");
        }
    }
}

impl CanaryState {
    /// Whether somebody should look.
    pub fn is_alarm(&self) -> bool {
        matches!(self, CanaryState::Captured { .. } | CanaryState::Unresolvable { .. })
    }

    /// Whether it is no news after the other: how an upstream fails may differ from round to round.
    fn same_as(&self, other: &CanaryState) -> bool {
        matches!((self, other), (CanaryState::Unresolvable { .. }, CanaryState::Unresolvable { .. }))
            || self == other
    }
}

impl Change {
    /// Says it, unless it is no news: an alarm, another one, or the end of one.
    fn log(&self) {
        match &self.now {
            Some(CanaryState::Captured { .. }) => tracing::error!("{self}"),
            Some(CanaryState::Unresolvable { .. }) => tracing::warn!("{self}"),
            _ if self.before.is_alarm() => tracing::info!("{self}"),
            _ => {}
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { order, name, .. } = self;
        write!(f, "canary {name} of order {order} ")?;
        match &self.now {
            Some(CanaryState::Captured { by }) => {
                write!(f, "IS CAPTURED by order {by}: innocent names go dark with it")
            }
            Some(CanaryState::Unresolvable { why }) => {
                write!(f, "does not resolve, which no order is behind: {why}")
            }
            Some(CanaryState::Ok) => f.write_str("resolves again"),
            Some(CanaryState::Unasked) => f.write_str("could not be asked"),
            None => f.write_str("is no longer asked for: its order is not in force"),
        }
    }
}

/// The canaries to ask, each with its order's id, and how many there are beyond those: those of the orders that act, whatever
/// their files say.
fn canaries(policy: &Policy, at: UnixSeconds) -> (Vec<(String, Name)>, usize) {
    let mut all =
        policy.acting(at).flat_map(|order| order.canaries.iter().map(|name| (order.id.clone(), *name)));
    let asked = all.by_ref().take(MAX_CANARIES).collect();
    (asked, all.count())
}

/// Asks for a name, and judges what comes.
async fn ask<R: Respond>(respond: &R, current: &Current, name: &Name, at: UnixSeconds) -> CanaryState {
    let mut reply = put(respond, name, Transport::Udp).await;
    let truncated = reply.as_ref().is_some_and(|reply| reply.truncated);
    if truncated {
        reply = put(respond, name, Transport::Tcp).await;
    }
    // The policy is read after the answer came. If it was swapped in between, the two may disagree for this round; the next
    // round asks and reads under one policy.
    let policy = current.policy();
    if let Some(reply) = &reply {
        let ours =
            reply.ede.iter().find_map(|ede| policy.orders().iter().find(|order| attribution(order) == *ede));
        if let Some(order) = ours {
            return CanaryState::Captured { by: order.id.clone() };
        }
    }
    let why = match &reply {
        Some(reply) => reply.complaint(),
        None => Some(String::from("there is no answer at all")),
    };
    // Silence, and the detour over TCP, bear no order's name.
    if (truncated || reply.is_none())
        && let Verdict::Act(_, hit) = policy.verdict(name, at)
    {
        return CanaryState::Captured { by: hit.order.id.clone() };
    }
    match why {
        Some(why) => CanaryState::Unresolvable { why },
        None => CanaryState::Ok,
    }
}

/// What matters of a reply.
struct Reply {
    rcode: Rcode,
    truncated: bool,
    ede: Vec<Ede>,
}

impl Reply {
    /// Reads it; none if it cannot be read.
    fn read(octets: &[u8]) -> Option<Reply> {
        let header = Header::read(octets).filter(Header::is_response)?;
        let (_, _, _, question) = wire::question(octets).ok()?;
        let records = octets.get(wire::HEADER_LEN + question.len()..)?;
        let message = Message::new(question, records);
        let count = header.counts.iter().skip(1).map(|count| usize::from(*count)).sum();
        let mut reply =
            Reply { rcode: header.rcode(None), truncated: header.flags & FLAG_TC != 0, ede: Vec::new() };
        for record in message.records(message.base(), count) {
            let record = record.ok()?;
            if record.rtype == Rtype::OPT {
                reply.rcode = header.rcode(Some(&record));
                reply.ede = details(message.rdata(&record).ok()?);
            }
        }
        Some(reply)
    }

    /// What is wrong with it; nothing if it is the truth.
    fn complaint(&self) -> Option<String> {
        let lie = self.ede.iter().any(|ede| NOT_THE_TRUTH.contains(&ede.code));
        let denial = match self.rcode {
            Rcode::NOERROR | Rcode::NXDOMAIN if !lie => return None,
            Rcode::NOERROR | Rcode::NXDOMAIN => String::from("an upstream answers untruthfully"),
            other => other.name().map_or_else(|| format!("rcode {}", other.0), str::to_owned),
        };
        let details = self.ede.iter().map(|ede| {
            let text =
                if ede.text.is_empty() { String::new() } else { format!(" \"{}\"", ede.text.escape_debug()) };
            format!(", EDE {} {}{text}", ede.code.0, ede.code.name().unwrap_or_default())
        });
        let hint = if self.ede.iter().any(|ede| ede.code == EdeCode::PROHIBITED) {
            ": let [access] allow have \"loopback\", from where canaries are asked"
        } else {
            ""
        };
        Some(denial + &details.collect::<String>() + hint)
    }
}

/// Puts a question for a name's IPv4 addresses to the resolver; none if it stays silent, or answers gibberish.
async fn put<R: Respond>(respond: &R, name: &Name, transport: Transport) -> Option<Reply> {
    let mut out = Vec::new();
    let client = Client { addr: CLIENT, transport };
    match respond.now(&packet(rand::random(), name), client, &mut out) {
        Step::Reply => Reply::read(&out),
        Step::Drop => None,
        Step::Later(pending) => {
            let replied = respond.later(&pending, &mut out).await;
            if replied { Reply::read(&out) } else { None }
        }
    }
}

/// A query as a stub resolver sends it: RD, and EDNS, without which nobody tells an EDE.
fn packet(id: u16, name: &Name) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [id, wire::FLAG_RD, 1, 0, 0, 1] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(name.as_wire());
    wire::put_u16(&mut out, Rtype::A);
    wire::put_u16(&mut out, Class::IN);
    // RFC 6891 §6.1.2: root, OPT, payload size, extended RCODE and flags, no options.
    wire::put_record(&mut out, wire::Owner::Name(&Name::ROOT), Rtype::OPT, Class(PAYLOAD), 0, &[]);
    out
}

#[cfg(test)]
mod tests;
