//! Forged answers: what a captured name gets instead of the truth, and a filtered type.

use std::sync::LazyLock;

use crate::dns::answer::{Answer, Records, Soa, in_class};
use crate::dns::chain::{self, Alias};
use crate::dns::ede::Ede;
use crate::dns::query::{Query, Question};
use crate::dns::truth::Truth;
use crate::dns::wire::{HEADER_LEN, Owner};
use crate::iana::{EdeCode, Rcode, Rtype};
use crate::name::Name;
use crate::policy::{Hit, IssuerKind, LocalData, Order, Rpz, Synthesis};

/// MNAME of the denials written here: under `invalid.`, which never resolves (RFC 6761 §6.4).
static MNAME: LazyLock<Name> = LazyLock::new(|| known("ns.sinkscope.invalid"));
/// RNAME of the denials written here.
static RNAME: LazyLock<Name> = LazyLock::new(|| known("hostmaster.sinkscope.invalid"));

/// The most addresses in one forged answer: more serve nobody, and every answer fits a stream whatever an order lists.
const MAX_ADDRESSES: usize = 64;

/// How long clients remember that a type is filtered, in seconds: as long as an order's answers last at most, so that another
/// configuration reaches them as soon as a lift.
const FILTER_TTL_S: u32 = 60;

/// The forged answer of the name that `hit` captures.
///
/// `captured` is the qname, or a name the truth leads it to. Then `chain` is that truth and its age in seconds: its CNAME
/// records up to `captured` stay, with their TTLs counted down, and the forged data stands at their end.
pub fn forge(
    query: &Query<'_>,
    synthesis: Synthesis,
    hit: &Hit<'_>,
    captured: &Name,
    chain: Option<(&Truth, u32)>,
) -> Answer {
    let mut draft = Draft::new(query, captured, chain);
    let (rcode, given) = match synthesis {
        Synthesis::Refused => return Answer::error(Rcode::REFUSED, Some(attribution(hit.order))),
        Synthesis::Sinkhole => (Rcode::NOERROR, draft.addresses(hit)),
        Synthesis::Nodata => (Rcode::NOERROR, false),
        Synthesis::Nxdomain => (Rcode::NXDOMAIN, false),
        Synthesis::Local => match draft.local(hit, captured) {
            Ok(given) => (Rcode::NOERROR, given),
            Err(code) => return Answer::error(code, Some(attribution(hit.order))),
        },
    };
    draft.finish(rcode, hit, captured, given)
}

/// What a walled garden answers, and its question.
#[derive(Clone, Copy, Debug)]
pub struct Garden<'a> {
    /// What was asked there.
    pub question: &'a Question,
    /// Its answer.
    pub truth: &'a Truth,
    /// Whole seconds since that arrived.
    pub age_s: u32,
}

/// Where the walled garden lies that `hit` sends `captured` to, if it is to be asked for what the client asked for.
///
/// # Errors
/// The rcode that says that there is no such place: the name would be too long.
pub fn garden(query: &Query<'_>, hit: &Hit<'_>, captured: &Name) -> Result<Option<Name>, Rcode> {
    if matches!(query.qtype, Rtype::CNAME | Rtype::ANY) {
        return Ok(None);
    }
    hit.scope.data.as_ref().and_then(|data| alias_of(data, captured)).transpose()
}

/// The target of local data's CNAME for `captured`, if it has one.
fn alias_of(data: &LocalData, captured: &Name) -> Option<Result<Name, Rcode>> {
    let cname = data.records.iter().find(|record| record.rtype == Rtype::CNAME)?;
    let base = Name::from_wire(&cname.rdata).ok()?;
    if !data.prepend {
        return Some(Ok(base));
    }
    // draft-vixie-dnsop-dns-rpz §3.6: a wildcard target "causes the matching QNAME to be prepended to the target". RFC 6672
    // §2.2 has a code for a name that becomes too long by a replacement.
    let mut name = Name::ROOT;
    let pushed = captured.labels().chain(base.labels()).try_for_each(|label| name.push_label(label));
    Some(pushed.map(|()| name).map_err(|_| Rcode::YXDOMAIN))
}

/// [`forge`] where local data leads to a walled garden that has been asked.
pub fn forge_garden(
    query: &Query<'_>,
    hit: &Hit<'_>,
    captured: &Name,
    chain: Option<(&Truth, u32)>,
    garden: &Garden<'_>,
) -> Answer {
    let mut draft = Draft::new(query, captured, chain);
    match draft.local(hit, captured) {
        Ok(true) => {
            draft.garden(garden);
            draft.finish(garden.truth.rcode, hit, captured, true)
        }
        Ok(false) => draft.finish(Rcode::NOERROR, hit, captured, false),
        Err(code) => Answer::error(code, Some(attribution(hit.order))),
    }
}

/// What a client is told of a type that its group is told nothing of: that the name has none.
///
/// RFC 2308 §5 has a denial without an SOA not cached, and clients would ask before each connection; with one that stands at the name
/// itself only this type of this name is denied, for [`FILTER_TTL_S`].
pub fn filtered(query: &Query<'_>) -> Answer {
    let mut records = Records::default();
    let (owner, ttl_s) = (&query.qname, FILTER_TTL_S);
    records.authority(&Soa { owner, mname: &MNAME, rname: &RNAME, serial: 1, ttl_s });
    let why = format!("{} is filtered for this client", query.qtype);
    Answer::built(Rcode::NOERROR, records).with_ede(Ede::new(EdeCode::FILTERED, why))
}

/// Who is behind a forged answer: the code says what sort of authority, the text which order.
pub fn attribution(order: &Order) -> Ede {
    let code = match order.authority.kind {
        kind if kind.is_external() => EdeCode::CENSORED,
        IssuerKind::User => EdeCode::FILTERED,
        _ => EdeCode::BLOCKED,
    };
    match &order.authority.docket {
        None => Ede::new(code, format!("order {}", order.id)),
        Some(docket) => Ede::new(code, format!("order {}, docket {docket}", order.id)),
    }
}

/// Where the SOA of a denial stands: at the order's closest zone around the captured name, else at the listed name.
pub(crate) fn denial_owner(hit: &Hit<'_>, captured: &Name) -> Name {
    let zones = hit.order.zones.iter().filter(|zone| captured.is_at_or_below(zone));
    match zones.max_by_key(|zone| zone.as_wire().len()) {
        Some(zone) => *zone,
        None => hit.trigger.name(captured),
    }
}

/// Records under way: those of the chain first, then data or a denial for the name they end at.
struct Draft<'q> {
    query: &'q Query<'q>,
    records: Records,
    /// The name the next record belongs to, and where in the message it stands.
    owner: (Name, usize),
}

impl<'q> Draft<'q> {
    /// The steps of the chain that leads to the captured name, if one does.
    fn new(query: &'q Query<'q>, captured: &Name, chain: Option<(&Truth, u32)>) -> Draft<'q> {
        let mut draft = Draft { query, records: Records::default(), owner: (query.qname, HEADER_LEN) };
        if let Some((truth, age_s)) = chain.filter(|_| *captured != query.qname) {
            // A chain that does not lead there would be a caller's mistake; the forged data then stands at the qname itself.
            let steps = truth.aliases(query).unwrap_or_default();
            chain::path(&steps, captured).iter().for_each(|step| draft.alias(step, age_s));
        }
        draft
    }

    /// The answer, with the zone's SOA and the order's name; `given` says whether it has data for the name.
    fn finish(mut self, rcode: Rcode, hit: &Hit<'_>, captured: &Name, given: bool) -> Answer {
        match &hit.order.rpz {
            // draft-vixie-dnsop-dns-rpz §6: "that modified answer will include in its additional section the SOA RR of the
            // policy zone". A denial has none in its authority section, so that nobody behind us remembers it.
            Some(rpz) => self.policy_soa(rpz),
            None if !given => self.denial(hit, captured),
            None => {}
        }
        let structured_errors = self.query.edns.is_some_and(|edns| edns.structured_errors);
        let answer = Answer::built(rcode, self.records).with_ede(attribution(hit.order));
        // A client that asks for structured errors takes the first code for the reason: it gets one only.
        if given && !structured_errors { answer.with_ede(Ede::bare(EdeCode::FORGED_ANSWER)) } else { answer }
    }

    /// Appends a record at the current owner.
    fn answer(&mut self, rtype: Rtype, ttl_s: u32, rdata: &[u8]) {
        let (name, at) = self.owner;
        self.records.answer(Owner::shortest(at, &name), rtype, in_class(self.query), ttl_s, rdata);
    }

    /// Appends a step of the chain and moves to its target. Names are written folded, as they are kept; a client compares
    /// them without case (RFC 4343 §3).
    fn alias(&mut self, step: &Alias, age_s: u32) {
        self.answer(Rtype::CNAME, step.ttl_s.saturating_sub(age_s), step.target.as_wire());
        let end = HEADER_LEN + self.query.question.len() + self.records.octets.len();
        self.owner = (step.target, end - step.target.as_wire().len());
    }

    /// Appends the scope's records of the type asked for, or its CNAME; false when it has neither.
    fn local(&mut self, hit: &Hit<'_>, captured: &Name) -> Result<bool, Rcode> {
        let Some(data) = &hit.scope.data else { return Ok(false) };
        if let Some(target) = alias_of(data, captured) {
            let ttl_s = data.records.first().map_or(hit.ttl_s(), |record| record.ttl_s);
            self.answer(Rtype::CNAME, ttl_s, target?.as_wire());
            return Ok(true);
        }
        // draft-vixie-dnsop-dns-rpz §3.6: "If the requested type (QTYPE) is ANY, then all of these Local Data RRsets are
        // returned. Otherwise, the RRset of the requested RR type is returned".
        let wanted = |rtype: Rtype| rtype == self.query.qtype || self.query.qtype == Rtype::ANY;
        let records: Vec<_> =
            data.records.iter().filter(|record| wanted(record.rtype)).take(MAX_ADDRESSES).collect();
        for record in &records {
            self.answer(record.rtype, record.ttl_s, &record.rdata);
        }
        Ok(!records.is_empty())
    }

    /// Appends what a walled garden answered.
    fn garden(&mut self, garden: &Garden<'_>) {
        // A question that it does not answer would be a caller's mistake: then the alias stands alone.
        let answers = garden.truth.owned_answers(&garden.question.octets()).unwrap_or_default();
        for record in answers.iter().take(MAX_ADDRESSES) {
            let ttl_s = record.ttl_s.saturating_sub(garden.age_s);
            self.records.answer(
                Owner::Name(&record.owner),
                record.rtype,
                in_class(self.query),
                ttl_s,
                &record.rdata,
            );
        }
    }

    /// Appends the SOA of the zone that changed the answer.
    fn policy_soa(&mut self, rpz: &Rpz) {
        self.records.additional(&rpz.origin, Rtype::SOA, rpz.soa_ttl_s, &rpz.soa);
    }

    /// Appends the order's addresses of the type asked for; false when there are none to give.
    fn addresses(&mut self, hit: &Hit<'_>) -> bool {
        let order = hit.order;
        let before = self.records.answers;
        match self.query.qtype {
            Rtype::A => {
                for address in order.sinkhole.v4.iter().take(MAX_ADDRESSES) {
                    self.answer(Rtype::A, hit.ttl_s(), &address.octets());
                }
            }
            Rtype::AAAA => {
                for address in order.sinkhole.v6.iter().take(MAX_ADDRESSES) {
                    self.answer(Rtype::AAAA, hit.ttl_s(), &address.octets());
                }
            }
            _ => {}
        }
        self.records.answers > before
    }

    /// Appends the SOA that lets resolvers behind us remember a denial, for as long as the order says and no longer
    /// (RFC 2308 §3).
    fn denial(&mut self, hit: &Hit<'_>, captured: &Name) {
        let owner = denial_owner(hit, captured);
        let (serial, ttl_s) = (hit.order.revision, hit.ttl_s());
        self.records.authority(&Soa { owner: &owner, mname: &MNAME, rname: &RNAME, serial, ttl_s });
    }
}

/// A name that is right by its spelling here; tests read every one.
fn known(text: &str) -> Name {
    text.parse().unwrap_or(Name::ROOT)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use hickory_resolver::proto::op::Message;
    use hickory_resolver::proto::rr::RecordType;

    use super::*;
    use crate::dns::finish::finish;
    use crate::dns::testing::{Ask, name, query, question, response, understood};
    use crate::dns::truth::TtlLimits;
    use crate::policy::Synthesis::{Local, Nodata, Nxdomain, Refused, Sinkhole};
    use crate::policy::order::Authority;
    use crate::policy::{self, Act, Action, MatchKind, Scope, Trigger};
    use crate::transport::Transport;

    /// An order in force for `listed.ddns.net` and below.
    fn order(kind: IssuerKind, zones: &[&str]) -> Order {
        Order {
            revision: 7,
            authority: Authority {
                kind,
                docket: Some("2:14-cv-00987-GMN-GWF".into()),
                ..Authority::default()
            },
            zones: zones.iter().map(|zone| name(zone)).collect(),
            scopes: vec![Scope::new(MatchKind::Subtree)],
            sinkhole: policy::Sinkhole {
                v4: vec![Ipv4Addr::new(192, 0, 2, 1)],
                v6: vec![Ipv6Addr::LOCALHOST],
            },
            ..Order::new("us-nv-2014-cv-00987")
        }
    }

    /// The forged answer as it goes out.
    fn forged(order: &Order, synthesis: Synthesis, ask: Ask, qname: &str, qtype: Rtype) -> Message {
        let packet = ask.packet(qname, qtype);
        let query = query(&packet);
        let trigger = Trigger::new(3, MatchKind::Subtree);
        let action = Action::Act(Act::Answer(synthesis));
        let hit = Hit { order, scope: &order.scopes[0], trigger, action, zone: 0 };
        let mut out = Vec::new();
        finish(&query, &forge(&query, synthesis, &hit, &query.qname, None), Transport::Udp, &mut out);
        understood(&out)
    }

    /// Records of a section as `owner TTL type data`, SOA by its owner and TTL alone.
    fn lines(records: &[hickory_resolver::proto::rr::Record]) -> Vec<String> {
        let line = |record: &hickory_resolver::proto::rr::Record| match record.record_type() {
            RecordType::SOA => format!("{} {} SOA", record.name, record.ttl),
            kind => format!("{} {} {kind} {}", record.name, record.ttl, record.data),
        };
        records.iter().map(line).collect()
    }

    /// The EDE options of a reply, as code and text.
    fn details(reply: &Message) -> Vec<(u16, String)> {
        use hickory_resolver::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
        let options = &reply.edns.as_ref().map(|edns| edns.options().options.clone()).unwrap_or_default();
        let read = |(code, option): &(EdnsCode, EdnsOption)| match option {
            EdnsOption::Unknown(_, data) if u16::from(*code) == 15 => {
                Some((u16::from_be_bytes([data[0], data[1]]), String::from_utf8(data[2..].to_vec()).unwrap()))
            }
            _ => None,
        };
        options.iter().filter_map(read).collect()
    }

    /// What is made and the type asked for; then rcode, answers, authorities and EDE codes.
    type Case = (Synthesis, Rtype, u16, &'static [&'static str], &'static [&'static str], &'static [u16]);

    const LISTED: &str = "Listed.DDNS.net";
    const SOA: &str = "ddns.net. 10 SOA";
    const TEXT: &str = "order us-nv-2014-cv-00987, docket 2:14-cv-00987-GMN-GWF";

    #[test]
    fn each_action_and_type_has_its_answer() {
        let order = order(IssuerKind::Court, &["net", "ddns.net", "no-ip.org"]);
        let cases: &[Case] = &[
            (Sinkhole, Rtype::A, 0, &["Listed.DDNS.net. 10 A 192.0.2.1"], &[], &[16, 4]),
            (Sinkhole, Rtype::AAAA, 0, &["Listed.DDNS.net. 10 AAAA ::1"], &[], &[16, 4]),
            (Sinkhole, Rtype::HTTPS, 0, &[], &[SOA], &[16]),
            (Sinkhole, Rtype::SVCB, 0, &[], &[SOA], &[16]),
            (Sinkhole, Rtype::ANY, 0, &[], &[SOA], &[16]),
            (Sinkhole, Rtype::CNAME, 0, &[], &[SOA], &[16]),
            (Nodata, Rtype::A, 0, &[], &[SOA], &[16]),
            (Nxdomain, Rtype::A, 3, &[], &[SOA], &[16]),
            (Refused, Rtype::A, 5, &[], &[], &[16]),
            (Local, Rtype::A, 0, &[], &[SOA], &[16]),
        ];
        for &(synthesis, qtype, rcode, answers, authorities, codes) in cases {
            let reply = forged(&order, synthesis, Ask::EDNS, LISTED, qtype);
            assert_eq!(u16::from(reply.metadata.response_code), rcode, "{synthesis:?} {qtype}");
            assert_eq!(lines(&reply.answers), answers, "{synthesis:?} {qtype}");
            assert_eq!(lines(&reply.authorities), authorities, "{synthesis:?} {qtype}");
            let found: Vec<u16> = details(&reply).iter().map(|(code, _)| *code).collect();
            assert_eq!(found, codes, "{synthesis:?} {qtype}");
            assert!(details(&reply).first().is_none_or(|(_, text)| text == TEXT));
        }
    }

    #[test]
    fn codes_say_who_stands_behind_it() {
        for (kind, code) in [
            (IssuerKind::Court, 16),
            (IssuerKind::LawEnforcement, 16),
            (IssuerKind::Registry, 16),
            (IssuerKind::Operator, 15),
            (IssuerKind::User, 17),
        ] {
            let mut order = order(kind, &[]);
            let ask = Ask { structured_errors: true, ..Ask::EDNS };
            let found = details(&forged(&order, Sinkhole, ask, LISTED, Rtype::A));
            assert_eq!(found, [(code, TEXT.to_owned())], "structured errors leave out code 4");
            order.authority.docket = None;
            let found = details(&forged(&order, Nodata, ask, LISTED, Rtype::A));
            assert_eq!(found, [(code, "order us-nv-2014-cv-00987".to_owned())]);
        }
    }

    #[test]
    fn without_edns_there_is_no_detail() {
        let reply = forged(&order(IssuerKind::Court, &[]), Sinkhole, Ask::default(), LISTED, Rtype::A);
        assert_eq!((reply.answers.len(), reply.edns.is_none()), (1, true));
    }

    #[test]
    fn without_addresses_or_zones_a_denial_stands_at_the_listed_name() {
        let mut order = order(IssuerKind::Operator, &["no-ip.org"]);
        order.sinkhole.v4.clear();
        let reply = forged(&order, Sinkhole, Ask::EDNS, "a.listed.ddns.net", Rtype::A);
        assert_eq!(
            (lines(&reply.answers), lines(&reply.authorities)),
            (vec![], vec!["listed.ddns.net. 10 SOA".into()])
        );
        order.sinkhole.v4 = vec![Ipv4Addr::LOCALHOST; 70_000];
        let packet = Ask::EDNS.packet(LISTED, Rtype::A);
        let query = query(&packet);
        let trigger = Trigger::new(3, MatchKind::Exact);
        let hit = Hit { order: &order, scope: &order.scopes[0], trigger, action: Action::SINKHOLE, zone: 0 };
        let mut out = Vec::new();
        finish(&query, &forge(&query, Sinkhole, &hit, &query.qname, None), Transport::Tcp, &mut out);
        assert_eq!(understood(&out).answers.len(), MAX_ADDRESSES);
    }

    #[test]
    fn a_chain_stays_up_to_the_captured_name() {
        let order = order(IssuerKind::Court, &["ddns.net"]);
        let sections: [&[&str]; 3] = [
            &[
                "listed.ddns.net 60 CNAME beyond.e",
                "x.b.e 50 CNAME listed.ddns.net",
                "b.b.b.e 60 A 1.2.3.4",
                "a.e 60 DNAME b.e",
                "beyond.e 60 A 6.6.6.6",
            ],
            &[],
            &[],
        ];
        let limits = TtlLimits { min_s: 0, max_s: 1000, negative_min_s: 0, negative_max_s: 100 };
        let message = response(0, "x.a.e", Rtype::A, sections);
        let truth = Truth::read(&question("x.a.e", Rtype::A), &message, &limits).unwrap();
        assert_eq!(truth.targets.len(), 3);
        let packet = Ask::EDNS.packet("X.a.E", Rtype::A);
        let query = query(&packet);
        let captured = name("listed.ddns.net");
        let trigger = Trigger::new(3, MatchKind::Exact);
        let chain = ["X.a.E. 40 CNAME x.b.e.", "x.b.e. 30 CNAME listed.ddns.net."];
        for (synthesis, last, authorities, rcode) in [
            (Sinkhole, Some("listed.ddns.net. 10 A 192.0.2.1"), 0, 0),
            (Nodata, None, 1, 0),
            (Nxdomain, None, 1, 3),
        ] {
            let action = Action::Act(Act::Answer(synthesis));
            let hit = Hit { order: &order, scope: &order.scopes[0], trigger, action, zone: 0 };
            let mut out = Vec::new();
            finish(
                &query,
                &forge(&query, synthesis, &hit, &captured, Some((&truth, 20))),
                Transport::Udp,
                &mut out,
            );
            let reply = understood(&out);
            assert_eq!(lines(&reply.answers), chain.into_iter().chain(last).collect::<Vec<_>>());
            assert_eq!(
                (reply.authorities.len(), u16::from(reply.metadata.response_code)),
                (authorities, rcode)
            );
            assert!(!reply.metadata.authentic_data);
        }
    }

    #[test]
    fn constants_are_names() {
        assert!(!MNAME.is_root() && !RNAME.is_root());
    }
}
