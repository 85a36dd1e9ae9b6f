//! Names of some zones are asked of somebody else.

use std::collections::HashMap;

use super::begun::{Begun, Late, Then};
use super::{Ask, AskError};
use crate::dns::Question;
use crate::iana::Rtype;
use crate::name::Name;

/// Asks by zone: of those that a name is in, the one with the most labels decides.
#[derive(Debug)]
pub(super) struct Router<A> {
    /// Whom to ask about names that are in none of the zones.
    default: A,
    /// Whom to ask about names in which zones.
    groups: Vec<(Vec<Name>, A)>,
    /// The group of each zone.
    by_zone: HashMap<Name, usize>,
    /// Labels in the longest zone.
    deepest: usize,
}

impl<A> Router<A> {
    /// Asks `default` unless a name is in one of the zones; of two groups for the same zone the first counts.
    pub(super) fn new(default: A, groups: Vec<(Vec<Name>, A)>) -> Router<A> {
        let mut by_zone = HashMap::new();
        for (group, (zones, _)) in groups.iter().enumerate().rev() {
            by_zone.extend(zones.iter().map(|zone| (*zone, group)));
        }
        let deepest = by_zone.keys().map(Name::label_count).max().unwrap_or(0);
        Router { default, groups, by_zone, deepest }
    }

    /// Whom to ask about names that are in none of the zones.
    pub(super) fn default(&self) -> &A {
        &self.default
    }

    /// All who may be asked and about which zones, the default first, which is asked about the root's.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[Name], &A)> {
        let groups = self.groups.iter().map(|(zones, ask)| (&zones[..], ask));
        std::iter::once((&[Name::ROOT][..], &self.default)).chain(groups)
    }

    /// Whom to ask this.
    fn route(&self, question: &Question) -> &A {
        if self.by_zone.is_empty() {
            return &self.default;
        }
        // RFC 4035 §3.1.4.1: a zone's DS records are its parent's, so whoever knows the zone need not know them.
        let above = if question.qtype == Rtype::DS { question.qname.parent() } else { None };
        let name = above.unwrap_or(question.qname);
        let depths = (0..=name.label_count().min(self.deepest)).rev();
        let closest = depths.filter_map(|labels| self.by_zone.get(&name.ancestor(labels)?)).next();
        closest.and_then(|group| self.groups.get(*group)).map_or(&self.default, |(_, ask)| ask)
    }
}

impl<A: Ask> Ask for Router<A> {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        self.route(question).ask(question).await
    }

    fn may_begin(&self, question: &Question) -> bool {
        self.route(question).may_begin(question)
    }

    fn begin(&self, question: &Question, then: Then) {
        self.route(question).begin(question, then);
    }

    async fn go_on(&self, question: &Question, begun: Begun, late: Late) -> Result<Vec<u8>, AskError> {
        self.route(question).go_on(question, begun, late).await
    }

    fn asked_of(&self, question: &Question) -> Vec<String> {
        self.route(question).asked_of(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::testing::question;

    #[test]
    fn the_closest_zone_decides() {
        let zones = ["example", "a.b.example", "b.example test", "b.example", "168.192.in-addr.arpa"];
        let read = |zones: &str| zones.split(' ').map(|zone| zone.parse().unwrap()).collect();
        let groups = zones.iter().enumerate().map(|(n, zones)| (read(zones), n)).collect();
        let router = Router::new(99, groups);
        for (name, qtype, expected) in [
            ("example", Rtype::A, 0),
            ("www.example", Rtype::A, 0),
            ("xb.example", Rtype::A, 0),
            ("B.Example", Rtype::A, 2),
            ("x.b.example", Rtype::A, 2),
            ("a.b.example", Rtype::NS, 1),
            ("x.y.a.b.example", Rtype::A, 1),
            ("test", Rtype::SOA, 2),
            ("1.2.168.192.in-addr.arpa", Rtype::PTR, 4),
            ("1.2.169.192.in-addr.arpa", Rtype::PTR, 99),
            ("notexample", Rtype::A, 99),
            (".", Rtype::NS, 99),
            // DS is asked of whoever knows the parent.
            ("a.b.example", Rtype::DS, 2),
            ("x.a.b.example", Rtype::DS, 1),
            ("example", Rtype::DS, 99),
            (".", Rtype::DS, 99),
        ] {
            assert_eq!(*router.route(&question(name, qtype)), expected, "{name} {qtype}");
        }
        let all: Vec<(usize, usize)> = router.all().map(|(zones, group)| (zones.len(), *group)).collect();
        assert_eq!(all, [(1, 99), (1, 0), (1, 1), (2, 2), (1, 3), (1, 4)]);
        assert_eq!(*Router::new(99, Vec::new()).route(&question("example", Rtype::A)), 99);
    }
}
