//! Replies as a replay reads them: any octets, and edits of right replies held against a checker that remembers nothing.

use std::cell::RefCell;
use std::sync::Arc;

use sinkscope::dns::special::Special;
use sinkscope::orders::{Loaded, order_file};
use sinkscope::policy::{Name, PolicyZone};
use sinkscope::trace::inprocess::naive::Naive;
use sinkscope::trace::inprocess::script;
use sinkscope::trace::inprocess::verify::{Checker, Found};
use sinkscope::trace::message::{Edns, put_query};
use sinkscope::trace::replay::Reply;

/// Names that no order here captures, and one that is.
const NAMES: [&str; 4] =
    ["a.example", "www.example.org", "a-rather-long-name.but.still.one.example.net", "evil.example"];
/// Types that the scripted upstream has records of, and one that it has not.
const TYPES: [u16; 7] = [1, 28, 5, 15, 16, 65, 6];
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
    }
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
fn truth(packet: &[u8], name: &Name, qtype: u16, reply: &mut Vec<u8>) {
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
    let naive = Arc::new(Naive::new(&Loaded { zones: vec![zone], ..Loaded::default() }, 0));
    (Checker::new(Arc::clone(&naive), Special::default()), Checker::reading(naive, Special::default()))
}
