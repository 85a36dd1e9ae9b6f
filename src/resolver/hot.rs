//! The hot path: one worker's own, which answers ordinary datagrams without lock, allocation or waiting.
//!
//! It takes the same steps as [`decide`](super::Resolver::decide), and each answer is the same, octet by octet (a
//! property test holds them together); whatever is not ordinary it leaves to that. It is fast for three reasons:
//!
//! - Replies are poured, not built: a [`mould`] is what `finish` once wrote, cut open where clients differ.
//! - Answers this worker gave before are in its own [`entries`], each in one piece.
//! - That policy leaves such a name alone is remembered for one second and one policy: a verdict is a function of policy,
//!   name and second, so the memory is exact. A new policy makes all of it void at the next packet.

mod entries;
mod forged;
mod mould;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::entries::{Entries, Memo};
use self::forged::ForgedMoulds;
use self::mould::Mould;
use super::Hot;
use super::counters::Counters;
use crate::access::AccessList;
use crate::cache::{Cache, Cached};
use crate::clock::{Clock, Now};
use crate::dns::special::{self, Special};
use crate::dns::wire::HEADER_LEN;
use crate::dns::{Answer, Query, Truth, peek, rtype};
use crate::policy::{Action, Hit, Name, Policy, Verdict, Walks};

/// One worker's own.
pub struct HotPath {
    policy: arc_swap::Cache<Arc<ArcSwap<Policy>>, Arc<Policy>>,
    clock: Arc<dyn Clock>,
    moment: Moment,
    desk: Desk,
    batch: Batch,
}

/// What datagrams that arrived together see.
struct Moment {
    now: Now,
    policy: Arc<Policy>,
    /// Counts the policies seen here, from 1.
    generation: u64,
    /// [`Cache::clears`] when the entries were last emptied.
    clears: u64,
}

/// The datagrams that arrived together, as far as one look at each goes.
#[derive(Default)]
struct Batch {
    /// What was seen of each, none of those that are not ordinary.
    seen: Vec<Option<Seen>>,
    /// The names that policy was asked about.
    names: Vec<Name>,
    /// What it knows of them.
    walks: Walks,
}

/// An ordinary query, seen and to be answered.
struct Seen {
    /// The query, less its question.
    query: Query<'static>,
    /// Octets of the question.
    question_len: usize,
    /// The question's hash.
    hash: u64,
    /// Where its name stands among those that policy was asked about; none if it is known to be clear.
    walk: Option<usize>,
}

/// What answering takes besides the moment.
struct Desk {
    cache: Arc<Cache>,
    access: AccessList,
    special: Special,
    /// This worker's alone: nobody else adds to them.
    counters: Arc<Counters>,
    entries: Entries,
    forged: ForgedMoulds,
    /// Where replies are written to be cut up.
    scratch: Vec<u8>,
}

impl HotPath {
    /// A path that has answered nothing yet and counts in `counters`.
    pub(super) fn new(
        policy: Arc<ArcSwap<Policy>>,
        cache: Arc<Cache>,
        clock: Arc<dyn Clock>,
        (access, special): (AccessList, Special),
        counters: Arc<Counters>,
    ) -> HotPath {
        let mut policy = arc_swap::Cache::new(policy);
        let seen = Arc::clone(policy.load());
        let moment = Moment { now: clock.now(), policy: seen, generation: 1, clears: cache.clears() };
        let (entries, forged) = (Entries::new(), ForgedMoulds::new());
        let desk = Desk { cache, access, special, counters, entries, forged, scratch: Vec::new() };
        HotPath { policy, clock, moment, desk, batch: Batch::default() }
    }
}

impl Hot for HotPath {
    fn begin<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) {
        self.moment.now = self.clock.now();
        let policy = self.policy.load();
        // The policy held here is alive, so another one has another address.
        if !Arc::ptr_eq(policy, &self.moment.policy) {
            self.moment.policy = Arc::clone(policy);
            self.moment.generation += 1;
            self.desk.forged.clear();
        }
        let clears = self.desk.cache.clears();
        if clears != self.moment.clears {
            self.moment.clears = clears;
            self.desk.entries.clear();
        }
        self.batch.look(packets, &self.desk.entries, &self.moment);
    }

    fn answer(&mut self, index: usize, packet: &[u8], from: SocketAddr, out: &mut [u8]) -> Option<usize> {
        let (moment, desk) = (&self.moment, &mut self.desk);
        let seen = self.batch.seen.get(index)?.as_ref()?;
        let question = packet.get(HEADER_LEN..HEADER_LEN + seen.question_len)?;
        let query = Query { question, ..seen.query };
        if !desk.access.allows(from.ip()) {
            return None;
        }
        let entry = desk.entries.find(seen.hash, &query, moment.now.mono);
        // The verdict stands before the cache, here as well: this one fell earlier in the same second.
        if let Some(entry) = entry
            && desk.entries.is_clear(entry, moment.memo())
        {
            let len = desk.entries.pour(entry, &query, moment.now.mono, out)?;
            desk.count(None, None);
            Counters::add_alone(&desk.counters.cached);
            return Some(len);
        }
        let verdict = match seen.walk {
            Some(walk) => moment.policy.verdict_of(&self.batch.walks, walk, moment.now.wall),
            // Its entry made room for another one of this batch.
            None => moment.policy.verdict(&query.qname, moment.now.wall),
        };
        let observed = moment.policy.observed(&query.qname, moment.now.wall);
        let len = match &verdict {
            Verdict::Act(hit) => desk.forge(&query, hit, out)?,
            Verdict::Protected(_) | Verdict::Passthru(_) => {
                desk.tell(&query, seen.hash, entry, moment, None, out)?
            }
            Verdict::Clear => {
                // An observed name is looked at each time, to be counted each time.
                let memo = if observed.is_none() { moment.memo() } else { Memo::NONE };
                desk.tell(&query, seen.hash, entry, moment, Some(memo), out)?
            }
        };
        desk.count(verdict.hit(), observed.as_ref());
        match verdict {
            Verdict::Act(_) => {}
            Verdict::Protected(_) => {
                Counters::add_alone(&desk.counters.protected);
                Counters::add_alone(&desk.counters.cached);
            }
            Verdict::Clear | Verdict::Passthru(_) => Counters::add_alone(&desk.counters.cached),
        }
        Some(len)
    }
}

impl Batch {
    /// Looks at each packet once, and asks policy about all names of which it is not known what it says.
    fn look<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>, entries: &Entries, moment: &Moment) {
        self.seen.clear();
        self.names.clear();
        for packet in packets {
            // Types that are never resolved, and ANY, are not ordinary (see `Answer::unserved`).
            let ordinary =
                |query: &Query<'_>| query.qtype != rtype::OPT && !(249..=255).contains(&query.qtype);
            let Some(query) = peek(packet).filter(ordinary) else {
                self.seen.push(None);
                continue;
            };
            let hash = entries.hash(&query);
            let mut walk = None;
            if !entries.holds_clear(hash, &query, moment.memo()) {
                walk = Some(self.names.len());
                self.names.push(query.qname);
            }
            let question_len = query.question.len();
            self.seen.push(Some(Seen { query: Query { question: &[], ..query }, question_len, hash, walk }));
        }
        moment.policy.walk(&self.names, &mut self.walks);
    }
}

impl Moment {
    /// What is found clear now is clear for so long.
    fn memo(&self) -> Memo {
        Memo { generation: self.generation, wall: self.now.wall }
    }

    /// Whether nothing that the truth leads to concerns an order: none is captured, and none is observed, which would have
    /// to be counted each time. One that is spared ends the search, as it does in the slow path's review.
    fn is_clean(&self, truth: Option<&Truth>) -> bool {
        for target in truth.map_or(&[][..], |truth| &truth.targets) {
            if self.policy.observed(target, self.now.wall).is_some() {
                return false;
            }
            match self.policy.verdict(target, self.now.wall) {
                Verdict::Clear => {}
                Verdict::Protected(_) | Verdict::Passthru(_) => return true,
                Verdict::Act(_) => return false,
            }
        }
        true
    }
}

impl Desk {
    /// The forged answer to a name that an order captures.
    fn forge(&mut self, query: &Query<'_>, hit: &Hit<'_>, out: &mut [u8]) -> Option<usize> {
        match hit.action {
            Action::Sinkhole | Action::Nodata | Action::Nxdomain | Action::Refused => {
                self.forged.pour(query, hit, &mut self.scratch, out)
            }
            Action::Drop | Action::TcpOnly | Action::Observe | Action::Passthru => None,
        }
    }

    /// The truth, from this worker's own entries, or from the shared cache, which makes it one of them.
    ///
    /// What it leads to is reviewed if there is a memo, which then says how long the outcome holds.
    fn tell(
        &mut self,
        query: &Query<'_>,
        hash: u64,
        entry: Option<usize>,
        moment: &Moment,
        memo: Option<Memo>,
        out: &mut [u8],
    ) -> Option<usize> {
        if let Some(entry) = entry {
            if memo.is_some() && !moment.is_clean(self.entries.leads(entry)) {
                return None;
            }
            self.entries.note_clear(entry, memo.unwrap_or(Memo::NONE));
            return self.entries.pour(entry, query, moment.now.mono, out);
        }
        // Special names are answered here and never cached; so the entries never hold one.
        if special::answer(query, &self.special).is_some() {
            return None;
        }
        let Cached { truth, age_s, stored, .. } = self.cache.get(&query.key(), moment.now.mono)?;
        if memo.is_some() && !moment.is_clean(Some(&truth)) {
            return None;
        }
        let answer = Answer::truth(Arc::clone(&truth), 0);
        let mould = Mould::cast(query, &answer, &mut self.scratch)?;
        let len = mould.pour(query, &[], &truth.ttl_offsets, age_s, out)?;
        if let Some(entry) = self.entries.insert(hash, query, &mould, &truth, stored) {
            self.entries.note_clear(entry, memo.unwrap_or(Memo::NONE));
        }
        Some(len)
    }

    /// Counts a reply, and what orders had to do with it.
    fn count(&self, acted: Option<&Hit<'_>>, observed: Option<&Hit<'_>>) {
        Counters::add_alone(&self.counters.queries);
        Counters::add_alone(&self.counters.replies);
        for hit in [acted, observed].into_iter().flatten() {
            if let Some(counter) = self.counters.action(hit.action) {
                Counters::add_alone(counter);
            }
        }
    }
}
