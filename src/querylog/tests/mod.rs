//! The log from its rings to what is read of it, with times and disks that the tests choose.

mod lines;
mod outlets;
mod rings;
mod taps;

use std::net::SocketAddr;
use std::time::Duration;

use super::shown::{Show, Shown};
use super::{Addresses, Cause, Decided, Record, Settings};
use crate::iana::Rtype;
use crate::name::Name;
use crate::policy::{Action, MatchKind, Trigger};
use crate::trace::message::put_query;
use crate::transport::Transport;

/// 2014-06-30T12:00:00Z, when the other clock stood at zero.
const BEGAN: Duration = Duration::from_secs(1_404_129_600);

/// A query and the reply to it: an address, and by EDNS the errors 16 and 4.
fn messages(name: &str) -> (Vec<u8>, Vec<u8>) {
    let mut query = Vec::new();
    let name: Name = name.parse().expect("a name");
    put_query(&mut query, 7, name.as_wire(), Rtype::A, None);
    let mut reply = query.clone();
    (reply[2], reply[3], reply[7], reply[11]) = (0x81, 0x80, 1, 1);
    reply.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x0a\0\x04\xc0\0\x02\x01");
    reply.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0e\0\x0f\0\x04\0\x10hm\0\x0f\0\x02\0\x04");
    (query, reply)
}

/// A record of these messages that nobody decided anything about.
fn record<'r>((query, reply): &'r (Vec<u8>, Vec<u8>)) -> Record<'r> {
    Record {
        client: "192.0.2.77:5353".parse().expect("an address"),
        transport: Transport::Udp,
        came: Duration::from_micros(1_500_000),
        answered: Duration::from_micros(1_500_042),
        query,
        question: &query[12..],
        reply,
        source: "cached",
        decided: Decided::Clear,
        observed: Vec::new(),
    }
}

/// What an order does, which lists the parent of what is asked for.
fn sinkholed() -> Decided<'static> {
    let trigger = Trigger::new(2, MatchKind::Subtree);
    let (order, family) = ("2:14-cv-00987", "Bladabindi");
    Decided::By(Cause { action: Action::SINKHOLE, order, family, trigger, matched: b"" })
}

/// What is shown to everybody, of everybody.
fn show(addresses: Addresses) -> Show {
    let group_of: super::GroupOf = Box::new(|_| None);
    Show::new(&Settings { addresses, ..Settings::default() }, &std::sync::Arc::new(group_of))
}

/// A record as it is shown.
fn shown(record: Record<'_>) -> Shown<'_> {
    show(Addresses::Full).show(record, BEGAN).expect("it is shown")
}

/// Octets of a record as they stand in a ring.
fn written(record: &Record<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    assert!(record.write(record.observed.iter().copied(), &mut octets));
    octets
}

/// An address of a client.
fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
