//! dnstap as an independent reader sees it: the handshake octet by octet, and fields by their numbers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use super::super::dnstap::{Dnstap, put_forwarded};
use super::super::outlet::{Batch, Outlet, Sink};
use super::super::{Carrier, Choice, Forwarded, Taps, Target};
use super::*;
use crate::clock::{Clock, SystemClock};

/// A field of a message: a number, or octets.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(u64),
    Octets(Vec<u8>),
}

/// The fields of a message by their numbers; each stands there once.
fn fields(mut octets: &[u8]) -> BTreeMap<u64, Field> {
    fn varint(octets: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let octet = octets[0];
            *octets = &octets[1..];
            number |= u64::from(octet & 0x7f) << shift;
            shift += 7;
            if octet < 0x80 {
                return number;
            }
        }
    }
    let mut found = BTreeMap::new();
    while !octets.is_empty() {
        let key = varint(&mut octets);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut octets)),
            2 => {
                let len = varint(&mut octets) as usize;
                let (field, rest) = octets.split_at(len);
                octets = rest;
                Field::Octets(field.to_vec())
            }
            5 => {
                let (field, rest) = octets.split_at(4);
                octets = rest;
                Field::Number(u32::from_le_bytes(field.try_into().unwrap()).into())
            }
            other => panic!("wire type {other}"),
        };
        assert_eq!(found.insert(key >> 3, field), None);
    }
    found
}

/// A control frame with a content type.
fn control(kind: u32, content: &str) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&(12 + content.len() as u32).to_be_bytes());
    for number in [kind, 1, content.len() as u32] {
        frame.extend_from_slice(&number.to_be_bytes());
    }
    frame.extend_from_slice(content.as_bytes());
    frame
}

/// A receiver's part: the frames between START and STOP. It says `accept`, and FINISH at the end.
fn receive(stream: &mut (impl Read + Write), accept: &[u8]) -> Vec<Vec<u8>> {
    let exact = |stream: &mut dyn Read, len: usize| {
        let mut octets = vec![0; len];
        stream.read_exact(&mut octets).map(|()| octets)
    };
    let dnstap = "protobuf:dnstap.Dnstap";
    let ready = control(4, dnstap);
    assert_eq!(exact(stream, ready.len()).unwrap(), ready);
    stream.write_all(accept).unwrap();
    let start = control(2, dnstap);
    let Ok(came) = exact(stream, start.len()) else { return Vec::new() };
    assert_eq!(came, start);
    let mut frames = Vec::new();
    loop {
        let len = u32::from_be_bytes(exact(stream, 4).unwrap().try_into().unwrap());
        if len == 0 {
            assert_eq!(exact(stream, 8).unwrap(), [0, 0, 0, 4, 0, 0, 0, 3], "STOP");
            stream.write_all(&[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5]).unwrap();
            return frames;
        }
        frames.push(exact(stream, len as usize).unwrap());
    }
}

/// Writes records to a receiver and says goodbye.
fn tell(mut dnstap: Dnstap, records: &[Record<'_>]) -> u64 {
    dnstap.open(0).expect("the receiver is there");
    let written = dnstap.write(&mut records.iter().map(|record| shown(record.clone())), 0);
    assert!(written.error.is_none());
    dnstap.close();
    written.records
}

#[test]
fn a_receiver_gets_what_was_on_the_wire_and_why() {
    let messages = messages("www.evil.example");
    let plain = record(&messages);
    let v6 = Record { client: addr("[2001:db8::7]:4096"), transport: Transport::Tcp, ..plain.clone() };
    let records = [Record { decided: sinkholed(), ..plain.clone() }, Record { reply: &[], ..v6 }];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let receiver = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        receive(&mut stream, &control(1, "protobuf:dnstap.Dnstap"))
    });
    assert_eq!(tell(Dnstap::new(Target::Unix(path), Some("me".into()), false), &records), 2);
    let frames = receiver.join().unwrap();
    // The query without a reply is one message.
    assert_eq!(frames.len(), 3);
    let octets = |octets: &[u8]| Field::Octets(octets.to_vec());
    let number = Field::Number;
    let message = |frame: &[u8]| {
        let outer = fields(frame);
        assert_eq!(outer.keys().copied().collect::<Vec<_>>(), [1, 2, 14, 15]);
        assert_eq!((&outer[&1], &outer[&15]), (&octets(b"me"), &number(1)));
        let Field::Octets(message) = &outer[&14] else { panic!("no message") };
        fields(message)
    };
    let [asked, told, other] = [0, 1, 2].map(|index| message(&frames[index]));
    let came = [(8, number(1_404_129_601)), (9, number(500_000_000))];
    let client = [(2, number(1)), (3, number(1)), (4, octets(&[192, 0, 2, 77])), (6, number(5353))];
    let expected = [(1, number(5)), (10, octets(&messages.0))];
    assert_eq!(asked, BTreeMap::from_iter(expected.into_iter().chain(came.clone()).chain(client.clone())));
    let Field::Octets(policy) = &told[&15] else { panic!("no policy") };
    let name: Name = "evil.example".parse().unwrap();
    assert_eq!(
        fields(policy),
        BTreeMap::from([
            (1, octets(b"order")),
            (2, octets(b"2:14-cv-00987")),
            (3, number(6)),
            (4, number(1)),
            (5, octets(name.as_wire())),
        ])
    );
    let answered = [(1, number(6)), (12, number(1_404_129_601)), (13, number(500_042_000))];
    let expected = answered.into_iter().chain([(14, octets(&messages.1)), (15, told[&15].clone())]);
    assert_eq!(told, BTreeMap::from_iter(expected.chain(came).chain(client)));
    let v6 = addr("[2001:db8::7]:4096").ip().to_string().parse::<std::net::Ipv6Addr>().unwrap();
    assert_eq!((&other[&2], &other[&3]), (&number(2), &number(2)));
    assert_eq!((&other[&4], &other[&6]), (&octets(&v6.octets()), &number(4096)));
}

#[test]
fn a_receiver_gets_what_upstreams_are_asked_and_say() {
    let (query, reply) = messages("www.example.com");
    let sent = Duration::from_micros(1_500_000);
    let told = |server: &str, carrier, heard: bool| Forwarded {
        server: addr(server),
        carrier,
        sent,
        heard: heard.then_some(Duration::from_micros(1_700_001)),
        message: if heard { &reply } else { &query },
    };
    let octets = |octets: &[u8]| Field::Octets(octets.to_vec());
    let number = Field::Number;
    let (v4, v6) = (octets(&[192, 0, 2, 1]), octets(&[&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat()));
    let family = |v6: bool, port| [(2, number(if v6 { 2 } else { 1 })), (7, number(port))];
    // Of what carries it: the protocol, and which HTTP.
    for (server, carrier, expected) in [
        ("192.0.2.1:53", Carrier::Udp, vec![(3, number(1)), (5, v4.clone())]),
        ("192.0.2.1:53", Carrier::Tcp, vec![(3, number(2)), (5, v4.clone())]),
        ("[2001:db8::1]:853", Carrier::Tls, vec![(3, number(3)), (5, v6.clone())]),
        ("192.0.2.1:443", Carrier::Http2, vec![(3, number(4)), (5, v4.clone()), (16, number(2))]),
        // Looked up, so its address is not known where it is told.
        ("0.0.0.0:443", Carrier::Http3, vec![(3, number(4)), (16, number(3))]),
        ("192.0.2.1:853", Carrier::Quic, vec![(3, number(7)), (5, v4.clone())]),
    ] {
        let mut frames: Vec<BTreeMap<u64, Field>> = Vec::new();
        for heard in [false, true] {
            let mut message = Vec::new();
            put_forwarded(&told(server, carrier, heard), BEGAN, &mut message);
            frames.push(fields(&message));
        }
        let came = [(8, number(1_404_129_601)), (9, number(500_000_000))];
        let server = addr(server);
        let common = || expected.clone().into_iter().chain(family(server.is_ipv6(), server.port().into()));
        let asked = [(1, number(7)), (10, octets(&query))];
        assert_eq!(frames[0], common().chain(came.clone()).chain(asked).collect());
        let replied = [(12, number(1_404_129_601)), (13, number(700_001_000)), (14, octets(&reply))];
        assert_eq!(frames[1], common().chain(came).chain([(1, number(8))]).chain(replied).collect());
    }
}

#[test]
fn upstreams_go_to_who_wants_them_and_are_nobodys_loss_else() {
    let messages = messages("www.example.com");
    let (query, reply) = &messages;
    let taps = Taps::new(Choice::default(), 1 << 20, 1);
    let sent = Duration::from_secs(1);
    let forwarded = |heard, message| Forwarded {
        server: addr("192.0.2.1:53"),
        carrier: Carrier::Udp,
        sent,
        heard,
        message,
    };
    taps.note_forwarded(&forwarded(None, query));
    taps.note(&record(&messages), std::iter::empty());
    taps.note_forwarded(&forwarded(Some(sent * 2), reply));
    let mut octets = Vec::new();
    assert_eq!((taps.take(&mut octets, 1 << 20), taps.counts()), (3, (3, 0)));
    // Each is read as what it is.
    let (first, behind) = Forwarded::read(&octets).expect("a message");
    assert_eq!((first, Record::read(&octets)), (forwarded(None, query), None));
    let (second, behind) = Record::read(behind).expect("a record");
    assert_eq!(
        (second, Forwarded::read(behind).map(|(last, _)| last)),
        (record(&messages), Some(forwarded(Some(sent * 2), reply)))
    );
    for (wants, frames) in [(false, 2), (true, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tap.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let receiver = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            receive(&mut stream, &control(1, "protobuf:dnstap.Dnstap"))
        });
        let dnstap = Dnstap::new(Target::Unix(path), None, wants);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let outlet = Outlet::new("dnstap", Box::new(dnstap), show(Addresses::Full), clock);
        outlet.hand(&Arc::new(Batch { octets: octets.clone(), count: 3, began: BEGAN }));
        outlet.end();
        outlet.run();
        assert_eq!(receiver.join().unwrap().len(), frames);
        let counts = outlet.counts();
        assert_eq!((counts.written, counts.lost), (if wants { 3 } else { 1 }, 0));
    }
}

#[test]
fn policy_fields_are_those_of_the_action_and_the_trigger() {
    use crate::policy::TriggerType;
    let messages = messages("www.evil.example");
    let plain = record(&messages);
    let actions = [
        (Action::SINKHOLE, Some(6)),
        (Action::LOCAL, Some(6)),
        (Action::NXDOMAIN, Some(1)),
        (Action::NODATA, Some(2)),
        (Action::Passthru, Some(3)),
        (Action::TCP_ONLY, Some(5)),
        (Action::REFUSED, None),
    ];
    let (v4, whole) = (addr("192.0.2.0:1").ip(), Trigger::new(3, MatchKind::Exact));
    let of = |on, prefix| Trigger { on, prefix, ..whole };
    let triggers = [
        (whole, 1, b"\x03www\x04evil\x07example\0".to_vec()),
        (of(TriggerType::ClientIp, Some((v4, 24))), 2, vec![192, 0, 2, 0]),
        (of(TriggerType::ResponseIp, Some((v4, 24))), 3, vec![192, 0, 2, 0]),
        (of(TriggerType::NsDname, None), 4, b"\x03www\x04evil\x07example\0".to_vec()),
        (of(TriggerType::NsIp, Some((v4, 24))), 5, vec![192, 0, 2, 0]),
    ];
    let causes: Vec<(Cause<'_>, Option<u64>, u64, Vec<u8>)> = actions
        .iter()
        .flat_map(|(action, number)| {
            triggers.iter().map(move |(trigger, on, value)| {
                let cause =
                    Cause { action: *action, order: "o", family: "", trigger: *trigger, matched: b"" };
                (cause, *number, *on, value.clone())
            })
        })
        .collect();
    let records: Vec<Record<'_>> =
        causes.iter().map(|(cause, ..)| Record { decided: Decided::By(*cause), ..plain.clone() }).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Inet(listener.local_addr().unwrap());
    // Who accepts without naming a kind takes any.
    let receiver = thread::spawn(move || {
        receive(&mut listener.accept().unwrap().0, &[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1])
    });
    assert_eq!(tell(Dnstap::new(target, None, false), &records), records.len() as u64);
    let frames = receiver.join().unwrap();
    assert_eq!(frames.len(), 2 * records.len());
    for (frame, (cause, action, on, value)) in frames.iter().skip(1).step_by(2).zip(&causes) {
        let Field::Octets(message) = &fields(frame)[&14] else { panic!("no message") };
        let Field::Octets(policy) = fields(message)[&15].clone() else { panic!("no policy") };
        let policy = fields(&policy);
        assert_eq!(policy.get(&3), action.map(Field::Number).as_ref(), "{cause:?}");
        assert_eq!((&policy[&4], &policy[&5]), (&Field::Number(*on), &Field::Octets(value.clone())));
    }
}

#[test]
fn who_speaks_otherwise_is_told_nothing() {
    for (accept, why) in [
        (control(1, "protobuf:other"), "the receiver takes no dnstap"),
        (control(5, "protobuf:dnstap.Dnstap"), "the receiver does not speak Frame Streams"),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), "the receiver does not speak Frame Streams"),
        (
            [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1].to_vec(),
            "the receiver does not speak Frame Streams",
        ),
        (Vec::new(), "failed to fill whole buffer"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Inet(listener.local_addr().unwrap());
        let receiver = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut ready = vec![0; control(4, "protobuf:dnstap.Dnstap").len()];
            stream.read_exact(&mut ready).unwrap();
            stream.write_all(&accept).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let error = Dnstap::new(target, None, false).open(0).expect_err("nobody takes it");
        assert_eq!(error.to_string(), why);
        receiver.join().unwrap();
    }
}

#[test]
fn a_receiver_that_has_gone_is_found_out_before_it_is_written_to() {
    let messages = messages("www.example.com");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut dnstap = Dnstap::new(Target::Inet(listener.local_addr().unwrap()), None, false);
    let receiver = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let len = control(4, "protobuf:dnstap.Dnstap").len();
        let mut octets = vec![0; len];
        stream.read_exact(&mut octets).unwrap();
        stream.write_all(&control(1, "protobuf:dnstap.Dnstap")).unwrap();
        stream.read_exact(&mut octets).unwrap();
        listener
    });
    dnstap.open(0).unwrap();
    // It is closed when the thread has ended.
    let listener = receiver.join().unwrap();
    let written = dnstap.write(&mut std::iter::once(shown(record(&messages))), 0);
    assert_eq!(written.records, 0);
    assert_eq!(written.error.unwrap().to_string(), "the receiver has gone");
    // The next one is another connection.
    let receiver = thread::spawn(move || {
        receive(&mut listener.accept().unwrap().0, &control(1, "protobuf:dnstap.Dnstap"))
    });
    assert_eq!(tell(dnstap, &[record(&messages)]), 1);
    assert_eq!(receiver.join().unwrap().len(), 2);
}
