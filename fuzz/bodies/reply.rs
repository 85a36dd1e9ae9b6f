//! Replies as a replay reads them: any octets, and edits of right replies held against a checker that remembers nothing. And
//! replies as upstream may send them, of which only what answers is kept.

use std::cell::RefCell;
use std::sync::Arc;

use sinkscope::dns::wire::Message;
use sinkscope::dns::{Question, Truth, TtlLimits};
use sinkscope::iana::{Class, Rtype};
use sinkscope::name::Name;
use sinkscope::orders::{Filled, order_file};
use sinkscope::policy::PolicyZone;
use sinkscope::trace::inprocess::naive::Naive;
use sinkscope::trace::inprocess::script;
use sinkscope::trace::inprocess::verify::{Checker, Found};
use sinkscope::trace::message::{Edns, put_query};
use sinkscope::trace::replay::Reply;

/// Names that no order here captures, and one that is.
const NAMES: [&str; 4] =
    ["a.example", "www.example.org", "a-rather-long-name.but.still.one.example.net", "evil.example"];
/// Types that the scripted upstream has records of, and one that it has not.
const TYPES: [Rtype; 7] =
    [Rtype::A, Rtype::AAAA, Rtype::CNAME, Rtype::MX, Rtype::TXT, Rtype::HTTPS, Rtype::SOA];
/// The order in force.
const ORDER: &str =
    "id = \"o\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.example\"]\n";

thread_local! {
    /// A checker that remembers truths, and one that reads every reply whole.
    static CHECKERS: RefCell<(Checker, Checker)> = RefCell::new(checkers());
}

/// Reads the octets as a reply, then takes them as edits of one.
pub fn run(octets: &[u8]) {
    if let Some(reply) = Reply::read(octets) {
        assert!(octets.len() > 12 + reply.question().len() - 1, "the question lies within");
        let (_, codes) = reply.codes();
        assert!(codes.count() <= octets.len());
    }
    if let Some((&choice, edits)) = octets.split_first() {
        edited(usize::from(choice), edits);
        canonical(choice, edits);
    }
}

/// Names of an upstream's records: aliases of one another, in zones that redirect one another.
const OWNERS: [&str; 7] = ["a.example", "b.example", "c.b.example", "example", "b.net", "net", "A.Example"];
/// Their types.
const RTYPES: [Rtype; 8] =
    [Rtype::A, Rtype::CNAME, Rtype::DNAME, Rtype::RRSIG, Rtype::AAAA, Rtype::SOA, Rtype::NSEC, Rtype::CNAME];
/// Bounds that let everything through.
const LIMITS: TtlLimits = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3_600 };

/// Any records in an upstream's reply: of the answers kept, each belongs to the name that those before it lead to.
fn canonical(choice: u8, octets: &[u8]) {
    let qname: Name = OWNERS[usize::from(choice) % 6].parse().expect("a name");
    let dnssec_ok = choice >= 128;
    let question = Question {
        qname,
        qtype: Rtype::A,
        qclass: Class::IN,
        dnssec_ok,
        checking_disabled: false,
        asked_for: None,
    };
    let asked = question.octets();
    let records: Vec<&[u8]> = octets.chunks_exact(3).take(40).collect();
    let answers = records.iter().filter(|record| record[0] & 1 == 0).count() as u8;
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, answers, 0, records.len() as u8 - answers, 0, 0];
    message.extend_from_slice(&asked);
    for bit in [0, 1] {
        for record in records.iter().filter(|record| record[0] & 1 == bit) {
            put_upstream(&mut message, record);
        }
    }
    let Ok(truth) = Truth::read(&question, &message, &LIMITS) else { return };
    let told = Message::new(&asked, &truth.octets);
    let mut at = qname;
    let counts = usize::from(truth.answers) + usize::from(truth.authorities);
    for (index, record) in told.records(told.base(), counts).enumerate() {
        let record = record.expect("what was written can be read");
        let (owner, _) = told.name(record.owner_at).expect("a name");
        assert_eq!(usize::from(truth.ttl_offsets[index]), record.ttl_at - told.base());
        if index >= usize::from(truth.answers) {
            assert!(
                matches!(record.rtype, Rtype::SOA | Rtype::RRSIG | Rtype::NSEC),
                "{record:?} in the authority section"
            );
            continue;
        }
        match record.rtype {
            Rtype::A => assert_eq!((owner, at), (at, truth.targets.last().copied().unwrap_or(qname))),
            Rtype::CNAME => {
                assert_eq!(owner, at);
                (at, _) = told.name(record.rdata.start).expect("a target");
            }
            Rtype::DNAME => assert!(owner != at && at.is_at_or_below(&owner), "{owner} redirects {at}"),
            Rtype::RRSIG => assert!(dnssec_ok, "signatures are for who asks"),
            other => panic!("type {other} was not asked for"),
        }
    }
}

/// Appends an upstream's record: owner and section, type, and what it holds.
fn put_upstream(message: &mut Vec<u8>, record: &[u8]) {
    let name = |choice: u8| OWNERS[usize::from(choice) % 7].split('.');
    let put = |out: &mut Vec<u8>, choice: u8| {
        for label in name(choice) {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    };
    let rtype = RTYPES[usize::from(record[1]) % 8];
    put(message, record[0] / 2);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, record[2]]);
    let mut rdata = Vec::new();
    match rtype {
        Rtype::A => rdata.extend([192, 0, 2, record[2]]),
        Rtype::AAAA => rdata.extend([record[2]; 16]),
        Rtype::RRSIG => {
            rdata.extend(RTYPES[usize::from(record[2]) % 8].to_be_bytes());
            rdata.extend([0; 17]);
        }
        Rtype::SOA => {
            put(&mut rdata, record[2]);
            rdata.extend([0; 21]);
        }
        _ => put(&mut rdata, record[2]),
    }
    message.extend((rdata.len() as u16).to_be_bytes());
    message.extend(rdata);
}

/// Edits of a right reply: what remembers and what reads whole say the same of it.
fn edited(choice: usize, edits: &[u8]) {
    let name: Name = NAMES[choice % 4].parse().expect("a name");
    let qtype = TYPES[choice / 4 % 7];
    let edns = (choice >= 128).then_some(Edns { payload: 1232, dnssec_ok: false });
    let (mut packet, mut reply) = (Vec::new(), Vec::new());
    put_query(&mut packet, 0x1234, name.as_wire(), qtype, edns);
    truth(&packet, &name, qtype, &mut reply);
    CHECKERS.with_borrow_mut(|(remembering, reading)| {
        let first = reading.check(&packet, Some(&reply));
        assert_eq!(first == Found::Truth, choice % 4 != 3, "{first:?}");
        assert_eq!(first, remembering.check(&packet, Some(&reply)));
        for edit in edits.chunks_exact(3).take(16) {
            let target = if edit[0] & 8 == 0 { &mut reply } else { &mut packet };
            let place = usize::from(edit[1]) % target.len().max(1);
            match edit[0] & 7 {
                _ if target.is_empty() => target.push(edit[2]),
                0 => target.insert(place, edit[2]),
                1 => target.truncate(place),
                2 => target.push(edit[2]),
                3 => {
                    target.remove(place);
                }
                _ => target[place] = edit[2],
            }
            let (found, again) =
                (reading.check(&packet, Some(&reply)), remembering.check(&packet, Some(&reply)));
            assert_eq!(found, again, "{packet:x?} {reply:x?}");
        }
    });
}

/// What the scripted upstream says, as the resolver tells it.
fn truth(packet: &[u8], name: &Name, qtype: Rtype, reply: &mut Vec<u8>) {
    let question = 12 + name.as_wire().len() + 4;
    reply.extend_from_slice(&packet[..question]);
    reply[2..4].copy_from_slice(&[0x81, 0x80]);
    if let Some(rdata) = script::truth(name, qtype) {
        reply[7] = 1;
        reply.extend([0xc0, 12]);
        reply.extend_from_slice(&packet[question - 4..question]);
        reply.extend([0, 0, 0, 60, 0, rdata.len() as u8]);
        reply.extend_from_slice(&rdata);
    }
    reply.extend_from_slice(&packet[question..]);
}

/// Checkers over [`ORDER`].
fn checkers() -> (Checker, Checker) {
    let order = order_file::parse(ORDER, "o.toml", &mut |_| unreachable!("it names no file"));
    let listed = Arc::new(order.listed.expect("a sound order"));
    let zone = PolicyZone { name: "o".into(), orders: vec![listed] };
    let naive = Arc::new(Naive::new(&Filled::of(vec![zone], Vec::new()), 0));
    (Checker::new(Arc::clone(&naive), Arc::default()), Checker::reading(naive, Arc::default()))
}
