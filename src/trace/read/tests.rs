use std::io::Cursor;
use std::net::SocketAddr;
use std::time::Duration;

use etherparse::PacketBuilder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::pcap::{header, record_header};
use super::*;
use crate::name::Name;
use crate::trace::message::put_query;

/// A query for A of `name`, its ID 1.
fn query(name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    put_query(&mut message, 1, name.parse::<Name>().unwrap().as_wire(), Rtype::A, None);
    message
}

/// The same as a stream carries it.
fn prefixed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// An IPv4 packet with a UDP query.
fn udp(name: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 53], 64).udp(4000, 53);
    builder.write(&mut packet, &query(name)).unwrap();
    packet
}

/// The same over IPv6.
fn udp6(name: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6([0x20; 16], [0x21; 16], 64).udp(4001, 53);
    builder.write(&mut packet, &query(name)).unwrap();
    packet
}

/// An IPv4 packet with a TCP segment; `flags` of S and F.
fn tcp(port: u16, number: u32, flags: &str, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut builder = PacketBuilder::ipv4([192, 0, 2, 2], [192, 0, 2, 53], 64).tcp(port, 53, number, 1000);
    for flag in flags.chars() {
        builder = if flag == 'S' { builder.syn() } else { builder.fin() };
    }
    builder.write(&mut packet, payload).unwrap();
    packet
}

/// Octets before a packet in an Ethernet frame, with these VLAN tags.
fn ethernet(tags: usize, version: u8) -> Vec<u8> {
    let mut octets = vec![2; 12];
    for _ in 0..tags {
        octets.extend([0x81, 0, 0, 7]);
    }
    octets.extend(if version == 4 { [0x08, 0] } else { [0x86, 0xdd] });
    octets
}

/// A capture of these packets, a second apart.
fn capture(linktype: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = header(linktype);
    for (packet, second) in packets.iter().zip(100..) {
        octets.extend(record_header(Duration::new(second, 5), packet.len()));
        octets.extend(packet);
    }
    octets
}

/// A block of a capture of the next generation.
fn block(kind: u32, body: &[u8], big_endian: bool) -> Vec<u8> {
    let word = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = word(body.len() as u32 + 12);
    [&word(kind)[..], &length, &body, &length].concat()
}

/// A capture of the next generation: a section, an interface of raw IP with nanoseconds, one packet in each kind of block.
fn capture_ng(big_endian: bool) -> Vec<u8> {
    let word = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let half = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let section = [&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat();
    let interface =
        [&half(101)[..], &half(0), &word(0), &half(9), &half(1), &[9, 0, 0, 0], &word(0)].concat();
    let packet = udp("ng.example");
    let nanoseconds = 100_000_000_005u64;
    let stamps = [word((nanoseconds >> 32) as u32), word(nanoseconds as u32)].concat();
    let lengths = [word(packet.len() as u32), word(packet.len() as u32)].concat();
    let enhanced = [&word(0)[..], &stamps, &lengths, &packet].concat();
    let old = [&half(0)[..], &half(0), &stamps, &lengths, &packet].concat();
    let simple = [&word(packet.len() as u32)[..], &packet].concat();
    [
        block(u32::from_be_bytes(SECTION), &section, big_endian),
        block(INTERFACE, &interface, big_endian),
        block(6, &enhanced, big_endian),
        block(0x0bad, b"unknown", big_endian),
        block(2, &old, big_endian),
        block(3, &simple, big_endian),
    ]
    .concat()
}
/// Types of blocks.
const SECTION: [u8; 4] = pcapng::SECTION;
const INTERFACE: u32 = 1;

/// A dnstap stream with a client's query, the resolver's own, and a client's query without address and time.
fn dnstap() -> Vec<u8> {
    let field = |number: u8, octets: &[u8]| [&[number << 3 | 2, octets.len() as u8], octets].concat();
    let frame = |kind: u8, extra: &[u8], name: &str| {
        let inner = [&[0x08, kind][..], extra, &field(10, &query(name))].concat();
        let outer = [field(1, b"ns1"), field(14, &inner), vec![0x78, 1]].concat();
        [&(outer.len() as u32).to_be_bytes()[..], &outer].concat()
    };
    let control = |kind: u32, content: &[u8]| {
        let body = [&kind.to_be_bytes()[..], content].concat();
        [&[0; 4][..], &(body.len() as u32).to_be_bytes(), &body].concat()
    };
    let content = [&[0, 0, 0, 1, 0, 0, 0, 22][..], b"protobuf:dnstap.Dnstap"].concat();
    let from =
        [field(4, &[192, 0, 2, 9]), vec![6 << 3, 0xb9, 0x60, 8 << 3, 100, 9 << 3 | 5, 5, 0, 0, 0]].concat();
    [
        control(2, &content),
        frame(5, &from, "tap.example"),
        frame(3, &from, "own.example"),
        frame(1, &[], "bare.example"),
        control(3, &[]),
    ]
    .concat()
}

/// Names, types and what was skipped; the damage if any.
fn read(octets: Vec<u8>) -> (Vec<String>, Skipped, Option<Damage>) {
    let mut reader = match Reader::new(Cursor::new(octets), Options::default()) {
        Ok(reader) => reader,
        Err(error) => {
            return (Vec::new(), Skipped::default(), Some(Damage { offset: 0, what: error.to_string() }));
        }
    };
    let (mut names, mut damage) = (Vec::new(), None);
    for entry in reader.by_ref() {
        match entry {
            Ok(entry) => {
                let (name, qtype, _, _) = crate::dns::wire::question(&entry.message).unwrap();
                names.push(format!("{name} {}", qtype));
            }
            Err(found) => damage = Some(found),
        }
    }
    (names, reader.skipped().clone(), damage)
}

/// The names alone, where nothing is wrong or skipped.
fn names(octets: Vec<u8>) -> Vec<String> {
    let (names, skipped, damage) = read(octets);
    assert_eq!((skipped, damage), (Skipped::default(), None));
    names
}

#[test]
fn text_traces() {
    for (text, expected) in [
        ("a.example A\nb.example AAAA\n", vec!["a.example A", "b.example AAAA"]),
        ("a.example\r\n\n  b.example.\tTYPE65 \n", vec!["a.example A", "b.example HTTPS"]),
        ("# names\n; more\na.example ; here\nb.example # there", vec!["a.example A", "b.example A"]),
        ("\u{feff}a\\046b.example MX", vec!["a\\.b.example MX"]),
        (". NS\n", vec![". NS"]),
        ("", vec![]),
        ("x", vec!["x A"]),
        ("\n\n\n", vec![]),
    ] {
        assert_eq!(names(text.into()), expected, "{text:?}");
    }
}

#[test]
fn bad_lines_are_counted() {
    let text = b"a.example A\nb..example A\n\xff\xfe\nc.example NOTYPE\nd.example\n".to_vec();
    let (names, skipped, damage) = read(text);
    assert_eq!((names, damage), (vec!["a.example A".to_string(), "d.example A".into()], None));
    assert_eq!(skipped.lines, 3);
    assert!(
        skipped.to_string().starts_with("3 lines that are no query (the first is line 2: \"b..example\""),
        "{skipped}"
    );
    let long = [b"x".repeat(100_000), b"\na.example\n".to_vec()].concat();
    let (names, skipped, _) = read(long);
    assert_eq!((names.len(), skipped.lines), (1, 1));
}

#[test]
fn captures_of_every_link() {
    let ip = || udp("udp.example");
    let behind = |head: &[u8]| [head, &ip()].concat();
    let sll = [&[0; 14][..], &[0x08, 0]].concat();
    let sll2 = [&[0x08, 0][..], &[0; 18]].concat();
    for (linktype, packet) in [
        (1, behind(&ethernet(0, 4))),
        (1, behind(&ethernet(1, 4))),
        (1, behind(&ethernet(2, 4))),
        (1, [ethernet(1, 6), udp6("udp.example")].concat()),
        (101, ip()),
        (101, udp6("udp.example")),
        (12, ip()),
        (228, ip()),
        (229, udp6("udp.example")),
        (0, behind(&[2, 0, 0, 0])),
        (108, behind(&[0, 0, 0, 2])),
        (113, behind(&sll)),
        (276, behind(&sll2)),
    ] {
        assert_eq!(names(capture(linktype, &[packet])), ["udp.example A"], "{linktype}");
    }
}

#[test]
fn captures_keep_time_and_client() {
    let micro = |octets: Vec<u8>| {
        let mut octets = octets;
        octets[..4].copy_from_slice(&0xa1b2_c3d4u32.to_le_bytes());
        octets
    };
    let big = {
        let (packet, mut octets) = (udp("big.example"), Vec::new());
        octets.extend([
            0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 101,
        ]);
        for word in [100, 5, packet.len() as u32, packet.len() as u32] {
            octets.extend(word.to_be_bytes());
        }
        [octets, packet].concat()
    };
    let client: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    for (octets, nanoseconds) in [
        (capture(101, &[udp("nano.example")]), 5),
        (micro(capture(101, &[udp("micro.example")])), 5000),
        (big, 5),
        (capture_ng(false), 5),
        (capture_ng(true), 5),
    ] {
        let entry = Reader::new(Cursor::new(octets), Options::default()).unwrap().next().unwrap().unwrap();
        assert_eq!((entry.at, entry.client), (Some(Duration::new(100, nanoseconds)), Some(client)));
    }
}

#[test]
fn all_packet_blocks_are_read() {
    for big_endian in [false, true] {
        assert_eq!(names(capture_ng(big_endian)), ["ng.example A"; 3]);
        let twice = [capture_ng(big_endian), capture_ng(!big_endian)].concat();
        assert_eq!(names(twice).len(), 6, "sections of both orders in one file");
    }
}

#[test]
fn streams_are_put_together() {
    let (first, second) = (prefixed(&query("one.example")), prefixed(&query("two.example")));
    let both = [first.clone(), second.clone()].concat();
    let begin = |port| tcp(port, 99, "S", &[]);
    let at = |number: usize, octets: &[u8]| tcp(5000, 100 + number as u32, "", octets);
    for (what, packets) in [
        ("one segment", vec![begin(5000), at(0, &both)]),
        (
            "octet by octet",
            std::iter::once(begin(5000))
                .chain(both.iter().enumerate().map(|(n, octet)| at(n, &[*octet])))
                .collect(),
        ),
        ("swapped", vec![begin(5000), at(20, &both[20..]), at(0, &both[..20])]),
        ("sent again", vec![begin(5000), at(0, &both[..30]), at(0, &both[..30]), at(10, &both[10..])]),
        ("no SYN seen", vec![at(0, &both)]),
        ("data with SYN and FIN", vec![tcp(5000, 99, "SF", &both)]),
        ("two streams", vec![begin(5000), begin(5001), tcp(5001, 100, "F", &second), at(0, &first)]),
        ("port used again", vec![tcp(5000, 7, "S", &first), tcp(5000, 777, "S", &second)]),
    ] {
        let mut found = names(capture(101, &packets));
        found.sort();
        assert_eq!(found, ["one.example A", "two.example A"], "{what}");
    }
}

#[test]
fn a_gap_is_counted_and_passed() {
    let message = prefixed(&query("one.example"));
    let late: Vec<Vec<u8>> = (0..70).map(|turn| tcp(5000, 1000 + turn * 100, "", &message)).collect();
    let packets = [vec![tcp(5000, 99, "S", &[])], late].concat();
    let (names, skipped, damage) = read(capture(101, &packets));
    assert_eq!(damage, None);
    assert!(!names.is_empty() || skipped.tcp_lost > 0);
    assert!(skipped.tcp_lost >= 65 * message.len() as u64, "{skipped:?}");
}

#[test]
fn other_traffic_is_counted() {
    let response = {
        let mut message = query("r.example");
        message[2] |= 0x80;
        message
    };
    let notify = {
        let mut message = query("n.example");
        message[2] |= 0x20;
        message
    };
    let packet = |port: u16, payload: &[u8]| {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 53], 64)
            .udp(4000, port)
            .write(&mut packet, payload)
            .unwrap();
        packet
    };
    let fragment = {
        let mut packet = udp("f.example");
        packet[6] = 0x20;
        packet
    };
    let packets = [
        packet(53, &response),
        packet(53, &notify),
        packet(54, &query("o.example")),
        packet(53, b"short"),
        fragment,
        vec![0x45; 3],
    ];
    let (names, skipped, damage) = read(capture(101, &packets));
    assert_eq!((names, damage), (vec![], None));
    assert_eq!((skipped.others, skipped.odd, skipped.partial), (3, 2, 1), "{skipped:?}");
}

#[test]
fn dnstap_streams() {
    let (found, skipped, damage) = read(dnstap());
    assert_eq!(
        (found, skipped.others, damage),
        (vec!["tap.example A".to_string(), "bare.example A".into()], 1, None)
    );
    let entry = Reader::new(Cursor::new(dnstap()), Options::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.client, Some("192.0.2.9:12345".parse().unwrap()));
    assert_eq!(entry.at, Some(Duration::new(100, 5)));
}

#[test]
fn packed_traces() {
    let gzip = |octets: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, octets).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |octets: &[u8]| {
        ruzstd::encoding::compress_to_vec(octets, ruzstd::encoding::CompressionLevel::Fastest)
    };
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    for (what, octets) in [
        ("gzip", gzip(b"a.example\nb.example\n")),
        ("two members", [gzip(b"a.example\n"), gzip(b"b.example\n")].concat()),
        ("zstd", zstd(b"a.example\nb.example\n")),
        ("two frames", [zstd(b"a.example\n"), zstd(b"b.example\n")].concat()),
        ("skippable first", [skippable.clone(), zstd(b"a.example\nb.example\n")].concat()),
        ("skippable between", [zstd(b"a.example\n"), skippable, zstd(b"b.example\n")].concat()),
    ] {
        assert_eq!(names(octets), ["a.example A", "b.example A"], "{what}");
    }
    assert_eq!(names(gzip(&capture(101, &[udp("a.example")]))), ["a.example A"]);
    assert_eq!(names(zstd(&capture_ng(false))).len(), 3);
    let long: String = (0..20_000).map(|number| format!("n{number}.example\n")).collect();
    assert_eq!(names(zstd(long.as_bytes())).len(), 20_000);
    assert_eq!(names(gzip(long.as_bytes())).len(), 20_000);
    let mut cut = gzip(long.as_bytes());
    cut.truncate(cut.len() / 2);
    let (found, _, damage) = read(cut);
    assert!(!found.is_empty() && damage.is_some(), "what came before the damage is kept");
}

#[test]
fn damage_has_a_place() {
    let good = capture(101, &[udp("a.example"), udp("b.example")]);
    let cut = |length: usize| good[..length].to_vec();
    let claims = {
        let mut octets = good.clone();
        octets[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        octets
    };
    let ng = capture_ng(false);
    let ng_length = {
        let mut octets = ng.clone();
        octets[4] = 13;
        octets
    };
    let tap = dnstap();
    for (octets, kept, offset, what) in [
        (cut(10), 0, 10, "it ends within the file's header"),
        (cut(30), 0, 30, "it ends within a record's header"),
        (cut(50), 0, 50, "it ends within a record"),
        (cut(good.len() - 1), 1, good.len() as u64 - 1, "it ends within a record"),
        (claims, 0, 40, "a record claims 4294967295 octets, above the most of 262144"),
        (ng_length, 0, 12, "a block claims 13 octets"),
        (ng[..ng.len() - 2].to_vec(), 2, ng.len() as u64 - 2, "it ends within a block's end"),
        (tap[..60].to_vec(), 0, 60, "it ends within a frame"),
    ] {
        let (names, _, damage) = read(octets);
        assert_eq!((names.len(), damage), (kept, Some(Damage { offset, what: what.into() })));
    }
}

proptest! {
    /// Whatever is in a file, it is read to an end.
    #[test]
    fn damaged_files_do_no_harm(which in 0..5usize, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<prop::sample::Index>()) {
        let message = prefixed(&query("tcp.example"));
        let zstd = ruzstd::encoding::compress_to_vec(&capture(101, &[udp("z.example")])[..], ruzstd::encoding::CompressionLevel::Fastest);
        let mut octets = match which {
            0 => capture(1, &[[ethernet(1, 4), udp("a.example")].concat(), [ethernet(0, 4), tcp(5000, 1, "S", &message)].concat()]),
            1 => capture_ng(false),
            2 => capture_ng(true),
            3 => dnstap(),
            _ => zstd,
        };
        for (index, octet) in flips {
            let at = index.index(octets.len());
            octets[at] = octet;
        }
        octets.truncate(1 + cut.index(octets.len()));
        let (names, _, _) = read(octets);
        prop_assert!(names.len() <= 3);
    }

    /// The same for what is no trace at all.
    #[test]
    fn noise_does_no_harm(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(octets);
    }
}
