//! Names of some zones are asked of somebody else.

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
    /// Whom to ask about each zone, those with the most labels first.
    routes: Vec<(Name, A)>,
}

impl<A> Router<A> {
    /// Asks `default` unless a name is in one of the zones; of two for the same zone the first counts.
    pub(super) fn new(default: A, mut routes: Vec<(Name, A)>) -> Router<A> {
        routes.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.label_count()));
        Router { default, routes }
    }

    /// All who may be asked, the default first.
    pub(super) fn all(&self) -> impl Iterator<Item = &A> {
        std::iter::once(&self.default).chain(self.routes.iter().map(|(_, ask)| ask))
    }

    /// Whom to ask this.
    fn route(&self, question: &Question) -> &A {
        // RFC 4035 §3.1.4.1: a zone's DS records are its parent's, so whoever knows the zone need not know them.
        let above = if question.qtype == Rtype::DS { question.qname.parent() } else { None };
        let name = above.unwrap_or(question.qname);
        let route = self.routes.iter().find(|(zone, _)| name.is_at_or_below(zone));
        route.map_or(&self.default, |(_, ask)| ask)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iana::Class;

    #[test]
    fn the_closest_zone_decides() {
        let zones = ["example", "a.b.example", "b.example", "b.example", "test"];
        let routes = zones.iter().enumerate().map(|(n, zone)| (zone.parse().unwrap(), n)).collect();
        let router = Router::new(99, routes);
        for (name, qtype, expected) in [
            ("example", Rtype::A, 0),
            ("www.example", Rtype::A, 0),
            ("xb.example", Rtype::A, 0),
            ("B.Example", Rtype::A, 2),
            ("x.b.example", Rtype::A, 2),
            ("a.b.example", Rtype::NS, 1),
            ("x.y.a.b.example", Rtype::A, 1),
            ("test", Rtype::SOA, 4),
            ("notexample", Rtype::A, 99),
            (".", Rtype::NS, 99),
            // DS is asked of whoever knows the parent.
            ("a.b.example", Rtype::DS, 2),
            ("x.a.b.example", Rtype::DS, 1),
            ("example", Rtype::DS, 99),
            (".", Rtype::DS, 99),
        ] {
            let (qname, qclass) = (name.parse().unwrap(), Class::IN);
            let question = Question { qname, qtype, qclass, dnssec_ok: false, checking_disabled: false };
            assert_eq!(*router.route(&question), expected, "{name} {qtype}");
        }
        assert_eq!(router.all().count(), 6);
        assert_eq!(Router::new((), vec![(Name::ROOT, ())]).all().count(), 2);
    }
}
