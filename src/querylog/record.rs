//! What is written down of a query, as octets in a ring and back.
//!
//! It is written where answers are made, so it is copied and not understood: whoever reads it has time to.

use std::net::SocketAddr;
use std::time::Duration;

use super::octets::{ADDR_LEN, LENGTH_LEN, Reader, addr_octets, is_forwarded, length, nanos};
use crate::name::Name;
use crate::policy::{Action, MatchKind, Trigger, TriggerType};
use crate::transport::Transport;

/// Orders that only looked on, of which at most so many are told.
const MAX_OBSERVED: usize = 8;
/// Octets of what all records begin with: their length, two times, an address, a port, seven octets that say what is what, and eight
/// numbers of octets.
const HEAD_LEN: usize = LENGTH_LEN + 2 * 8 + ADDR_LEN + 2 + 7 + 8 * 2;

/// A query, what was replied, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'r> {
    /// Who asked.
    pub client: SocketAddr,
    /// How.
    pub transport: Transport,
    /// When it came, by the clock that only goes forward.
    pub came: Duration,
    /// When it was answered, by the same clock.
    pub answered: Duration,
    /// The query as it came; empty if it was too long to be kept.
    pub query: &'r [u8],
    /// Its question.
    pub question: &'r [u8],
    /// The reply as it goes out; empty if there is none.
    pub reply: &'r [u8],
    /// Where what is told came from, in a word.
    pub source: &'r str,
    /// What policy decided.
    pub decided: Decided<'r>,
    /// Ids of orders that only looked on.
    pub observed: Vec<&'r str>,
}

/// What policy decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided<'r> {
    /// No order captures it.
    Clear,
    /// No order may.
    Protected,
    /// An order did.
    By(Cause<'r>),
}

/// The order that decided, and why it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause<'r> {
    /// What happens.
    pub action: Action,
    /// The order's id.
    pub order: &'r str,
    /// The malware family, or nothing.
    pub family: &'r str,
    /// What matched.
    pub trigger: Trigger,
    /// The name that it matched in wire form, if that is not the one asked for but one that its answer leads to.
    pub matched: &'r [u8],
}

impl<'r> Record<'r> {
    /// Puts it in the place of what is in `out`; `observed` stands for its own list, so that nobody has to make one. False if a part is too
    /// long for its number, which no message is, nor any id.
    pub(super) fn write(&self, observed: impl Iterator<Item = &'r str>, out: &mut Vec<u8>) -> bool {
        out.clear();
        // Nearly always it stands in the query.
        let alone = if self.query.is_empty() { self.question } else { &[] };
        let (mut order, mut family, mut matched) = ("", "", &[][..]);
        let (is, action, trigger) = match &self.decided {
            Decided::Clear => (0, Action::Observe, NO_TRIGGER),
            Decided::Protected => (1, Action::Observe, NO_TRIGGER),
            Decided::By(cause) => {
                (order, family, matched) = (cause.order, cause.family, cause.matched);
                (2, cause.action, cause.trigger)
            }
        };
        let lens = self.question.len() | self.query.len() | self.reply.len() | self.source.len();
        if (lens | order.len() | family.len() | matched.len()) > usize::from(u16::MAX) {
            return false;
        }
        let prefix_len = trigger.prefix.map_or(u8::MAX, |(_, len)| len);
        let (on, kind) = (on_number(trigger.on), kind_number(trigger.kind));
        let is_udp = u8::from(self.transport.is_datagram());
        let mut head = [0; HEAD_LEN];
        // All places are known here, so that this is written in registers.
        head[4..12].copy_from_slice(&nanos(self.came).to_ne_bytes());
        head[12..20].copy_from_slice(&nanos(self.answered).to_ne_bytes());
        head[20..37].copy_from_slice(&addr_octets(self.client.ip()));
        head[37..39].copy_from_slice(&self.client.port().to_ne_bytes());
        head[39..46].copy_from_slice(&[
            is_udp,
            is,
            action.index() as u8,
            on,
            kind,
            trigger.labels,
            prefix_len,
        ]);
        head[46..48].copy_from_slice(&len(self.question));
        head[48..50].copy_from_slice(&len(self.query));
        head[50..52].copy_from_slice(&len(alone));
        head[52..54].copy_from_slice(&len(self.reply));
        head[54..56].copy_from_slice(&len(self.source.as_bytes()));
        head[56..58].copy_from_slice(&len(order.as_bytes()));
        head[58..60].copy_from_slice(&len(family.as_bytes()));
        head[60..62].copy_from_slice(&len(matched));
        out.extend_from_slice(&head);
        out.extend_from_slice(self.query);
        if !alone.is_empty() {
            out.extend_from_slice(alone);
        }
        out.extend_from_slice(self.reply);
        out.extend_from_slice(self.source.as_bytes());
        if is == 2 {
            out.extend_from_slice(order.as_bytes());
            out.extend_from_slice(family.as_bytes());
            out.extend_from_slice(matched);
        }
        if let Some((addr, _)) = trigger.prefix {
            out.extend_from_slice(&addr_octets(addr));
        }
        for id in observed.take(MAX_OBSERVED).filter(|id| id.len() <= usize::from(u16::MAX)) {
            out.extend_from_slice(&len(id.as_bytes()));
            out.extend_from_slice(id.as_bytes());
        }
        let whole = (out.len() as u32).to_ne_bytes();
        if let Some(place) = out.first_chunk_mut() {
            *place = whole;
        }
        true
    }

    /// The record at the start of `octets`, and what stands behind it; none if there is another entry, or no whole one.
    pub fn read(octets: &'r [u8]) -> Option<(Record<'r>, &'r [u8])> {
        if is_forwarded(octets) {
            return None;
        }
        let (octets, behind) = octets.split_at_checked(length(octets)?)?;
        let mut left = Reader(octets.get(LENGTH_LEN..)?);
        let came = Duration::from_nanos(u64::from_ne_bytes(left.chunk()?));
        let answered = Duration::from_nanos(u64::from_ne_bytes(left.chunk()?));
        let ip = left.addr()?;
        let client = SocketAddr::new(ip, left.number()?);
        let [is_udp, is, action, on, kind, labels, prefix_len] = left.chunk()?;
        let transport = if is_udp == 1 { Transport::Udp } else { Transport::Tcp };
        let question_len = usize::from(left.number()?);
        let mut lens = [0; 7];
        for len in &mut lens {
            *len = usize::from(left.number()?);
        }
        let [query, alone, reply] = [left.octets(lens[0])?, left.octets(lens[1])?, left.octets(lens[2])?];
        let question =
            if query.is_empty() { alone } else { query.get(HEADER_LEN..HEADER_LEN + question_len)? };
        let [source, order, family] = [left.text(lens[3])?, left.text(lens[4])?, left.text(lens[5])?];
        let matched = left.octets(lens[6])?;
        let prefix = match prefix_len {
            u8::MAX => None,
            len => Some((left.addr()?, len)),
        };
        let decided = match is {
            0 => Decided::Clear,
            1 => Decided::Protected,
            _ => {
                let action = *Action::ALL.get(usize::from(action))?;
                let on = *TriggerType::ALL.get(usize::from(on))?;
                let trigger = Trigger { labels, kind: *KINDS.get(usize::from(kind))?, on, prefix };
                Decided::By(Cause { action, order, family, trigger, matched })
            }
        };
        let mut observed = Vec::new();
        while !left.0.is_empty() {
            let len = usize::from(left.number()?);
            observed.push(left.text(len)?);
        }
        let record =
            Record { client, transport, came, answered, query, question, reply, source, decided, observed };
        Some((record, behind))
    }

    /// The order that decided, if one did.
    pub fn cause(&self) -> Option<&Cause<'r>> {
        match &self.decided {
            Decided::By(cause) => Some(cause),
            Decided::Clear | Decided::Protected => None,
        }
    }

    /// The name asked for.
    pub fn qname(&self) -> Option<Name> {
        Name::at_start_of(self.question)
    }

    /// The listed name that decided; of triggers on servers the name at which they took hold. None for those on addresses.
    pub fn listed(&self) -> Option<Name> {
        let cause = self.cause().filter(|cause| cause.trigger.prefix.is_none())?;
        let matched = if cause.matched.is_empty() { self.question } else { cause.matched };
        Name::at_start_of(matched).map(|matched| cause.trigger.name(&matched))
    }
}

/// What matched where nothing did.
const NO_TRIGGER: Trigger = Trigger::new(0, MatchKind::Exact);

/// Octets in front of a message's question (RFC 1035 §4.1.1).
const HEADER_LEN: usize = 12;

/// How names match, by number.
const KINDS: [MatchKind; 3] = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];

/// A number of octets, of which two are enough.
fn len(octets: &[u8]) -> [u8; 2] {
    (octets.len() as u16).to_ne_bytes()
}

/// Where a sort of trigger stands in [`TriggerType::ALL`].
fn on_number(on: TriggerType) -> u8 {
    match on {
        TriggerType::ClientIp => 0,
        TriggerType::Qname => 1,
        TriggerType::ResponseIp => 2,
        TriggerType::NsDname => 3,
        TriggerType::NsIp => 4,
    }
}

/// Where a way to match stands in [`KINDS`].
fn kind_number(kind: MatchKind) -> u8 {
    match kind {
        MatchKind::Exact => 0,
        MatchKind::Subtree => 1,
        MatchKind::SubtreeBelow => 2,
    }
}
