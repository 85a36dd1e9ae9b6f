//! The fuzz targets' bodies on generated input: plain random octets, and mutations of good samples.

#[path = "../fuzz/bodies/lists.rs"]
mod lists;
#[path = "../fuzz/bodies/local.rs"]
mod local;
#[path = "../fuzz/bodies/name_list.rs"]
mod name_list;
#[path = "../fuzz/bodies/order_file.rs"]
mod order_file;
#[path = "../fuzz/bodies/packet.rs"]
mod packet;
#[path = "../fuzz/bodies/policy.rs"]
mod policy;
#[path = "../fuzz/bodies/reply.rs"]
mod reply;
#[path = "../fuzz/bodies/rpz.rs"]
mod rpz;
#[path = "../fuzz/bodies/store.rs"]
mod store;
#[path = "../fuzz/bodies/trace.rs"]
mod trace;

use std::io::Write;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

/// A query with OPT, a reply with a compressed CNAME chain, a query with several oddities.
const PACKETS: [&[u8]; 3] = [
    b"\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\x04Evil\x04ddns\x03net\x00\x00\x01\x00\x01\
      \x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x06\x00\x0f\x00\x02\x00\x00",
    b"\x12\x34\x81\x80\x00\x01\x00\x02\x00\x00\x00\x01\x03www\x04ddns\x03net\x00\x00\x01\x00\x01\
      \xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01a\xc0\x10\xc0\x2a\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01\
      \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00",
    b"\xff\xff\x29\x10\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00\xff\x00\xff\x00\x00\x29\x00\x00\x00\x01\x00\x00\x00\x00",
];
/// An order with most of what an order can have.
const ORDERS: [&[u8]; 2] = [
    br#"id = "a"
title = "b"
kind = "court"
docket = "2:14"
zones = ["ddns.net"]
action = "sinkhole"
addresses = ["192.0.2.1", "2001:db8::1"]
ttl = "30s"
effective = 2014-06-30
expires = 2030-01-01T00:00:00Z
lifted = { at = 2029-01-01, by = "c", why = "d", zones = ["ddns.net"] }

[[scope]]
match = "exact"
names = ["a.ddns.net", "B.ddns.net.", "caf\u00e9.ddns.net"]
file = "x.txt"
family = "f"
tags = ["t"]

[[scope]]
match = "subtree"
names = ["c.ddns.net"]
except = ["d.c.ddns.net"]
except_match = "exact"
action = "nodata"
"#,
    b"id = 1\nkind = \"curt\"\n[[scope]]\nmatch = \"\"\n",
];
/// Lists in the forms people have.
const LISTS: [&[u8]; 3] = [
    b"\xef\xbb\xbf# comment\r\n0.0.0.0 a.example b.example # two\r\n\tC.Example.\n::1 localhost\n",
    b"caf\xc3\xa9.example\nxn--caf-dma.example\n_x.example\n*.w.example\n||y.example^\n",
    b"a..b\n\xff\xfe\n \n1.2.3.4\nserver=/x.example/\n",
];
/// Response policy zones with every trigger and action, layout and directive, and some that are broken.
const ZONES: [&[u8]; 2] = [
    b"$TTL 1h\n@ SOA . . ( 1 1h 15m ; timers\n 30d 2h )\n NS localhost.\na.b CNAME .\n*.b 5 IN CNAME *.\n\
      c IN 6 A 192.0.2.1\n AAAA ::1\n TXT \"x ; y\" z\nd CNAME *.g.\ne CNAME rpz-passthru.\n$ORIGIN f\n@ CNAME rpz-drop.\n\
      $ORIGIN rpz.test.\n24.0.2.0.192.rpz-ip CNAME rpz-tcp-only.\n128.3.zz.db8.2001.rpz-client-ip TYPE99 \\# 1 00\n\
      32.zz.db8.2001.rpz-nsip CNAME .\n*.x.rpz-nsdname HTTPS 1 . alpn=h2\n$INCLUDE x.zone y\n",
    b"@ 9 SOA . . 1 2 3 4 5\nx ( A\ny A 1\nz TXT \"\nw CNAME rpz-x.\n$X\n\\( CNAME .\n9.9.rpz-ip CNAME .\nv..u A 192.0.2.1\n",
];
/// Hosts files, zone files, records and leases of three servers.
const LOCAL: [&[u8]; 7] = [
    b"192.168.1.10 nas.lan nas # x\nfd00::10 nas\nfe80::1%eth0 r\n0.0.0.0 ads.example\n127.0.0.1 localhost\n",
    b"$TTL 1h\n@ SOA a b ( 1 2 3\n 4 5 )\n NS ns\nnas A 192.0.2.1\n*.apps CNAME nas\n$ORIGIN sub.lan.\nx AAAA ::1\n$INCLUDE y\n",
    b"_http._tcp.lan 60 IN SRV 0 0 80 nas",
    b"1714688472 00:11 192.168.1.50 laptop 01\n0 x 192.168.1.51 * *\nduid 00:01\n1714688474 1 fd00::50 laptop 00\n",
    b"lease 192.168.1.50 {\n starts 4 2024/05/02 10:11:12;\n ends epoch 1714688472;\n binding state active;\n \
      uid \"\\001;}\";\n set ddns-fwd-name = \"a.lan\";\n client-hostname \"a\";\n}\nia-na \"x\" { iaaddr fd00::1 { ends never; } }\n",
    b"address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n\
      192.168.1.50,00:11,,3600,1714688472,1,0,0,laptop.lan.,0,\n192.168.1.50,00:11,,0,1714688472,1,0,0,laptop,0,\n",
    b"address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state\n\
      fd00::50,00:01,4294967295,1714688472,1,3000,0,7,128,1,1,laptop,,0\n",
];
/// Lists in the formats that are published.
const PUBLISHED: [&[u8]; 6] = [
    b"[Adblock Plus 2.0]\n! x\n||a.example^\n@@||b.a.example^\n||c.example^$important\n||a.example^$badfilter\n\
      ||d.example^$third-party\n|e.example^\n||*.f.example^\n||ad*.g.example^\n/^p[0-9]+\\./\nx##.ad\n/path/x.\n0.0.0.0 h.example\n",
    b"||a.example^\n@@|a.example^|\n@@||api-v*.a.example^|\n@@-ds.a.example^|\n@@||b.a.example^$client=x\n-x.c.example^\n\
      ||c.example^$important\n@@||d.c.example/x.js\n@@/^x/$important\n@@e.example\n@@||a.example^$ehide\n/x b/\nlocalhost\n",
    b"address=/a.example/0.0.0.0\nserver=/b.example/\nlocal=/c.example/d.example/\nserver=/x/1.2.3.4\naddress=/#/\n",
    b"*.a.example\n.b.example\nc.example # x\n*.*.d\n/^x[0-9]/\nlocalhost\n",
    b"^ads?[0-9]*\\.\n(^|\\.)track\\.example$\n# x\n[\n.*\n(?i)x{2,9}\nx;reply=ip\ny;querytype=A\n",
    b"$TTL 60\n@ SOA a. b. 1 2 3 4 5\n@ NS c.\na.example CNAME .\n*.b.example CNAME *.\nc.example A 192.0.2.1\n",
];
/// Names below one another, cut by 0xff.
const NAMES: [&[u8]; 2] = [b"a.b\xffb\xffc.a.b\xffA.B\xffx", b"com\xffa.com\xffb.a.com\xffcom.a"];

/// Right replies, for the names and types the body knows, and edits of them: how, where, what.
const REPLIES: [&[u8]; 4] =
    [b"\x00", b"\x81\x05\x20\x01", b"\x84\x05\x02\x81\x04\x21\x05", b"\x0e\x0c\x0d\x7f"];
/// Traces of every format, plain and packed.
static TRACES: LazyLock<Vec<&'static [u8]>> = LazyLock::new(|| {
    let text = b"# comment\na.example A\nb.example TYPE65\n..\nc.example".to_vec();
    let mut query = Vec::new();
    let name: sinkscope::name::Name = "www.example.org".parse().unwrap();
    sinkscope::trace::message::put_query(&mut query, 1, name.as_wire(), sinkscope::iana::Rtype::A, None);
    let entry = sinkscope::trace::Entry { message: query.clone(), ..Default::default() };
    let mut writer =
        sinkscope::trace::make::Writer::new(Vec::new(), sinkscope::trace::make::Format::Pcap).unwrap();
    (0..3).for_each(|_| writer.write(&entry).unwrap());
    let pcap = writer.finish().unwrap();
    // The capture's frames again: a section, an interface of Ethernet, enhanced packet blocks.
    let block = |kind: u32, body: &[u8]| {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, &body, &length].concat()
    };
    let frame = &pcap[24 + 16..24 + (pcap.len() - 24) / 3];
    let length = (frame.len() as u32).to_le_bytes();
    let packet = [&[0; 12][..], &length, &length, frame].concat();
    let section = [&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat();
    let interface = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0];
    let pcapng =
        [block(0x0a0d_0d0a, &section), block(1, &interface), block(6, &packet), block(6, &packet)].concat();
    // A dnstap stream: a start, a client's query, a stop.
    let inner = [&[8, 5, 0x52, query.len() as u8][..], &query].concat();
    let outer = [&[0x72, inner.len() as u8][..], &inner].concat();
    let control = |kind: u8| [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, kind];
    let dnstap = [&control(2)[..], &(outer.len() as u32).to_be_bytes(), &outer, &control(3)].concat();
    let gzip = |octets: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(octets).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |octets: &[u8]| {
        ruzstd::encoding::compress_to_vec(octets, ruzstd::encoding::CompressionLevel::Fastest)
    };
    let packed = [gzip(&text), zstd(&text), gzip(&pcap), zstd(&dnstap)];
    [text, pcap, pcapng, dnstap].into_iter().chain(packed).map(|trace| &*trace.leak()).collect()
});

/// What was cached, as a file, and blocks of it.
static STORES: LazyLock<Vec<&'static [u8]>> = LazyLock::new(|| {
    use sinkscope::cache::store::{Stored, Writer};
    use sinkscope::cache::{Cache, Origin};
    use sinkscope::dns::{Question, Truth, TtlLimits};
    use sinkscope::iana::{Class, Rtype};
    let cache = Cache::new(1 << 20);
    let limits = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3_600 };
    for (place, dnssec_ok) in [(0, false), (1, true)] {
        let name: sinkscope::name::Name = ["www.ddns.net", "a.b.net"][place].parse().unwrap();
        let asked = Question {
            qname: name,
            qtype: Rtype::A,
            qclass: Class::IN,
            dnssec_ok,
            checking_disabled: dnssec_ok,
            asked_for: None,
        };
        let mut message = b"\0\0\x81\xa0\0\x01\0\x02\0\0\0\x01".to_vec();
        message.extend(asked.octets());
        let target = u16::try_from(message.len() + 12).unwrap() | 0xc000;
        message.extend(b"\xc0\x0c\0\x05\0\x01\0\0\x02\x58\0\x04\x01x\xc0\x10");
        message.extend(target.to_be_bytes());
        message.extend(b"\0\x01\0\x01\0\0\x02\x58\0\x04\xc0\0\x02\x01");
        message.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\x09\0\x0f\0\x05\0\x16far");
        let truth = Truth::read(&asked, &message, &limits).unwrap();
        cache.put(&asked, truth.into(), std::time::Duration::ZERO);
    }
    let mut writer = Writer::new(Vec::new(), 1_800_000_000, u64::MAX).unwrap();
    let origin = Origin::new(&"rules", ["a server"]);
    writer.cache(&origin, &cache, std::time::Duration::from_secs(5)).unwrap();
    let (file, written) = writer.end().unwrap();
    assert_eq!(written.answers, 2);
    let file: &'static [u8] = file.leak();
    let block = Stored::read(file).unwrap().caches[0].blocks[0];
    vec![file, &file[16..file.len() - 16], block, block]
});

/// Random octets, or a sample with some octets changed, cut or doubled.
fn input(samples: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let random = prop::collection::vec(any::<u8>(), 0..300);
    let edits = prop::collection::vec((any::<Index>(), any::<u8>(), 0..4u8), 0..6);
    let mutated = (prop::sample::select(samples), edits).prop_map(|(sample, edits)| {
        edits.into_iter().fold(sample.to_vec(), |mut octets, (place, octet, how)| {
            let place = place.index(octets.len().max(1));
            match how {
                _ if octets.is_empty() => octets.push(octet),
                0 => octets[place] = octet,
                1 => octets.insert(place, octet),
                2 => octets.truncate(place),
                _ => octets.extend_from_within(place..),
            }
            octets
        })
    });
    prop_oneof![1 => random, 4 => mutated]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn packets(octets in input(&PACKETS)) {
        packet::run(&octets);
    }

    #[test]
    fn order_files(octets in input(&ORDERS)) {
        order_file::run(&octets);
    }

    #[test]
    fn name_lists(octets in input(&LISTS)) {
        name_list::run(&octets);
    }

    #[test]
    fn names_of_our_own(octets in input(&LOCAL)) {
        local::run(&octets);
    }

    #[test]
    fn zones(octets in input(&ZONES)) {
        rpz::run(&octets);
    }

    #[test]
    fn policies(octets in input(&NAMES)) {
        policy::run(&octets);
    }

    #[test]
    fn traces(octets in input(&TRACES)) {
        trace::run(&octets);
    }

    #[test]
    fn stores(octets in input(&STORES)) {
        store::run(&octets);
    }

    #[test]
    fn replies(octets in input(&REPLIES)) {
        reply::run(&octets);
    }
}

proptest! {
    // Each compiles many patterns, which takes its time without optimization.
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn published_lists(octets in input(&PUBLISHED)) {
        lists::run(&octets);
    }
}

#[test]
fn the_samples_are_what_they_claim() {
    assert!(sinkscope::dns::parse(PACKETS[0]).is_ok());
    let mut open = |path: &str| sinkscope::orders::open::ListFile {
        shown: path.to_owned(),
        content: Ok(sinkscope::orders::open::Content::Octets(b"e.ddns.net\n".to_vec())),
    };
    let text = std::str::from_utf8(ORDERS[0]).unwrap();
    let reading = sinkscope::orders::order_file::parse(text, "sample.toml", &mut open);
    assert!(reading.listed.is_some(), "{:?}", reading.problems);
    for (sample, queries) in TRACES.iter().zip([3, 3, 2, 1, 3, 3, 3, 1]) {
        let reader = sinkscope::trace::read::Reader::new(*sample, Default::default()).unwrap();
        assert_eq!(reader.map(Result::unwrap).count(), queries, "{sample:x?}");
    }
    if let Ok(folder) = std::env::var("SINKSCOPE_SEEDS") {
        // Somewhere for libFuzzer to start from.
        for (number, sample) in TRACES.iter().enumerate() {
            std::fs::write(format!("{folder}/{number}"), sample).unwrap();
        }
    }
}
