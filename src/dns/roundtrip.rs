//! The whole way through this module, with hickory-proto as the independent party on both ends.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_resolver::proto::op::{Edns, Message, OpCode, Query as Asked};
use hickory_resolver::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, NS, OPT, PTR, SOA, SRV, TXT};
use hickory_resolver::proto::rr::{DNSClass, Name as TheirName, RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;

use super::answer::{Answer, Body, Ede, Records};
use super::finish::{MAX_UDP_LEN, MIN_UDP_LEN, Transport, finish};
use super::query::{Reject, parse};
use super::testing::{Ask, query, question, response, understood};
use super::truth::{Truth, TtlLimits};
use super::wire::{FLAG_AD, FLAG_CD, put_u16};
use super::{rcode, rtype};

/// Limits that change nothing.
const WIDE: TtlLimits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_max_s: u32::MAX };

/// The reply to `packet`.
fn reply(packet: &[u8], answer: &Answer, transport: Transport) -> Vec<u8> {
    let mut out = b"what was there before".to_vec();
    match parse(packet) {
        Ok(query) => finish(&query, answer, transport, &mut out),
        Err(Reject::Answer(query, rcode)) => finish(&query, &Answer::error(rcode, None), transport, &mut out),
        Err(Reject::Drop) => panic!("{packet:02x?}"),
    }
    out
}

/// Names that share suffixes, so that messages are full of pointers.
fn a_name() -> impl Strategy<Value = TheirName> {
    let label = prop_oneof![Just("a"), Just("bb"), Just("ns1"), Just("mail")];
    (vec(label, 0..3), prop_oneof![Just("example.com."), Just("ddns.net."), Just("net.")]).prop_map(
        |(labels, end)| {
            TheirName::from_ascii(labels.iter().map(|l| format!("{l}.")).collect::<String>() + end).unwrap()
        },
    )
}

/// A record of a type with or without names in it.
fn a_record() -> impl Strategy<Value = Record> {
    let data =
        (0..8u8, a_name(), a_name(), any::<u16>()).prop_map(|(kind, first, second, number)| match kind {
            0 => RData::A(A(Ipv4Addr::from(u32::from(number)))),
            1 => RData::CNAME(CNAME(first)),
            2 => RData::NS(NS(first)),
            3 => RData::PTR(PTR(first)),
            4 => RData::MX(MX::new(number, first)),
            5 => RData::SOA(SOA::new(first, second, 1, 2, 3, 4, u32::from(number))),
            6 => RData::SRV(SRV::new(1, 2, number, first)),
            _ => RData::TXT(TXT::new(vec!["some text".to_owned()])),
        });
    (a_name(), 0..100_000u32, data).prop_map(|(name, ttl, data)| Record::from_rdata(name, ttl, data))
}

/// An OPT record as an ordinary one, to be put anywhere.
fn an_opt() -> Record {
    let option = EdnsOption::Unknown(15, b"\0\x16no route".to_vec());
    let data = RData::OPT(OPT::new(vec![(EdnsCode::from(15), option)]));
    let mut record = Record::from_rdata(TheirName::root(), 0, data);
    record.dns_class = DNSClass::from(1232);
    record
}

/// A response to `a.ddns.net A` with these records, OPT before the additional record of that number.
fn message(sections: &[Vec<Record>; 3], opt_at: usize) -> Vec<u8> {
    let mut message = Message::response(1, OpCode::Query);
    message.add_query(Asked::query(TheirName::from_ascii("a.ddns.net.").unwrap(), RecordType::A));
    message.answers = sections[0].clone();
    message.authorities = sections[1].clone();
    message.additionals = sections[2].clone();
    if let Some(at) = opt_at.checked_sub(1) {
        message.additionals.insert(at.min(sections[2].len()), an_opt());
    }
    message.to_vec().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_records_survive(
        answers in vec(a_record(), 0..6), authorities in vec(a_record(), 0..4), additionals in vec(a_record(), 0..6),
        opt_at in 0..7usize, age_s in 0..90_000u32,
    ) {
        let sections = [answers, authorities, additionals];
        let upstream = message(&sections, opt_at);
        let truth = Truth::read(&question("a.ddns.net", rtype::A), &upstream, &WIDE).unwrap();
        prop_assert_eq!(truth.ede.len(), usize::from(opt_at > 0));
        let minimum = truth.lifetime_s;
        let has_soa = sections[1].iter().any(|record| record.record_type() == RecordType::SOA);
        let out = reply(&Ask::EDNS.packet("A.ddns.NET", rtype::A), &Answer::truth(Arc::new(truth), age_s), Transport::Tcp);
        let found = understood(&out);
        let expected = sections.map(|section| section.into_iter().map(|mut record| {
            record.ttl = record.ttl.saturating_sub(age_s);
            record
        }).collect::<Vec<_>>());
        // The SOA of a denial is counted down from its least number; all else is as it came.
        let same = |found: &[Record], expected: &[Record]| found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| {
                found.name == expected.name && found.data == expected.data
                    && (found.ttl == expected.ttl || (has_soa && found.record_type() == RecordType::SOA && found.ttl < expected.ttl))
            });
        prop_assert!(same(&found.answers, &expected[0]), "{:?}", found.answers);
        prop_assert!(same(&found.authorities, &expected[1]), "{:?}", found.authorities);
        prop_assert!(same(&found.additionals, &expected[2]), "{:?}", found.additionals);
        prop_assert!(expected.iter().flatten().all(|record| minimum <= record.ttl + age_s || record.ttl == 0));
    }

    #[test]
    fn every_reply_can_be_read(
        id in any::<u16>(), name in "[a-zA-Z0-9-]{1,12}(\\.[a-zA-Z]{1,9}){0,3}", qtype in 1..300u16, qclass in 1..5u16,
        flags in 0..0x0800u16, payload in proptest::option::of(any::<u16>()), dnssec_ok in any::<bool>(),
        rcode in 0..24u16, records in 0..80usize, texts in vec(".{0,300}", 0..4), tcp in any::<bool>(), truncated in any::<bool>(),
    ) {
        let ask = Ask { flags: flags & 0x05ff, payload, dnssec_ok, structured_errors: false };
        let mut packet = ask.packet(&name, qtype);
        packet[..2].copy_from_slice(&id.to_be_bytes());
        let class_at = 12 + name.len() + 2 + 3;
        packet[class_at] = qclass as u8;
        let query = match parse(&packet) {
            Ok(query) => query,
            Err(reject) => return Err(TestCaseError::fail(format!("{reject:?}"))),
        };
        let mut body = Records::default();
        for _ in 0..records {
            body.answer(super::wire::Owner::At(12), rtype::A, 1, 60, &[1, 2, 3, 4]);
        }
        let ede = texts.into_iter().map(|text| Ede { code: 22, text: text.into() }).collect();
        let answer = Answer { rcode, body: Body::Built(body), truncated, ede };
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut out = Vec::new();
        finish(&query, &answer, transport, &mut out);

        let limit = match payload {
            _ if tcp => 65_535,
            None => MIN_UDP_LEN,
            Some(payload) => usize::from(payload).clamp(MIN_UDP_LEN, MAX_UDP_LEN),
        };
        prop_assert!(out.len() <= limit);
        prop_assert_eq!(&out[..2], &packet[..2]);
        prop_assert_eq!(&out[12..12 + query.question.len()], query.question);
        let found = understood(&out);
        let sent_whole = !found.metadata.truncation;
        prop_assert_eq!(found.answers.len(), if sent_whole { records } else { 0 });
        prop_assert_eq!(found.edns.is_some(), payload.is_some());
        prop_assert_eq!(found.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok), payload.is_some() && dnssec_ok);
        prop_assert_eq!(found.metadata.recursion_desired, query.rd);
        prop_assert_eq!(found.metadata.checking_disabled, query.cd);
        prop_assert!(found.metadata.recursion_available && !found.metadata.authoritative && !found.metadata.authentic_data);
        let expected = if rcode > 15 && payload.is_none() { rcode::SERVFAIL } else { rcode };
        let high = found.edns.as_ref().map_or(0, Edns::rcode_high);
        prop_assert_eq!(u16::from(out[3] & 0xf) | u16::from(high) << 4, expected);
    }

    #[test]
    fn no_upstream_message_panics(
        answers in vec(a_record(), 0..4), additionals in vec(a_record(), 0..4), opt_at in 0..5usize,
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut in proptest::option::of(any::<prop::sample::Index>()),
        age_s in any::<u32>(),
    ) {
        let mut message = message(&[answers, Vec::new(), additionals], opt_at);
        for (at, octet) in mutations {
            let at = at.index(message.len());
            message[at] = octet;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(message.len()));
        }
        if let Ok(truth) = Truth::read(&question("a.ddns.net", rtype::A), &message, &WIDE) {
            let packet = Ask::default().packet("a.ddns.net", rtype::A);
            let query = query(&packet);
            let _ = truth.aliases(&query);
            let mut out = Vec::new();
            finish(&query, &Answer::truth(Arc::new(truth), age_s), Transport::Udp, &mut out);
            prop_assert!(out.len() <= MIN_UDP_LEN);
        }
    }

    #[test]
    fn no_octets_panic(octets in vec(any::<u8>(), 0..200)) {
        let mut message = response(0, "a.ddns.net", rtype::A, [&[], &[], &[]]);
        message[6..12].copy_from_slice(&[0, 1, 0, 1, 0, 2]);
        message.extend_from_slice(&octets);
        let _ = Truth::read(&question("a.ddns.net", rtype::A), &message, &WIDE);
        let _ = Truth::read(&question("a.ddns.net", rtype::A), &octets, &WIDE);
    }
}

/// A truth for `q.e A`.
fn truth(flags: u16, sections: [&[&str]; 3]) -> Arc<Truth> {
    let message = response(flags, "q.e", rtype::A, sections);
    Arc::new(Truth::read(&question("q.e", rtype::A), &message, &WIDE).unwrap())
}

#[test]
fn mixed_case_comes_back_as_it_came() {
    let packet = Ask::default().packet("Q.e", rtype::A);
    let out = reply(&packet, &Answer::truth(truth(0, [&["q.e 60 A 1.2.3.4"], &[], &[]]), 7), Transport::Udp);
    assert_eq!(out[12..21], packet[12..21]);
    assert_eq!(understood(&out).answers[0].ttl, 53);
}

#[test]
fn authentic_data_goes_to_those_who_understand_it() {
    let authentic = truth(FLAG_AD, [&["q.e 60 A 1.2.3.4"], &[], &[]]);
    let plain = truth(0, [&["q.e 60 A 1.2.3.4"], &[], &[]]);
    let dnssec = Ask { dnssec_ok: true, ..Ask::EDNS };
    let ad = Ask { flags: FLAG_AD, ..Ask::default() };
    let ad_cd = Ask { flags: FLAG_AD | FLAG_CD, ..Ask::default() };
    for (ask, truth, expected) in [
        (Ask::default(), &authentic, false),
        (Ask::EDNS, &authentic, false),
        (ad, &authentic, true),
        (ad_cd, &authentic, true),
        (dnssec, &authentic, true),
        (ad, &plain, false),
        (dnssec, &plain, false),
    ] {
        let out = reply(&ask.packet("q.e", rtype::A), &Answer::truth(truth.clone(), 0), Transport::Udp);
        assert_eq!(understood(&out).metadata.authentic_data, expected, "{ask:?}");
    }
}

#[test]
fn rejected_requests_get_their_rcode() {
    let mut version_1 = Ask::EDNS.packet("q.e", rtype::A);
    let version_at = version_1.len() - 5;
    version_1[version_at] = 1;
    let out = reply(&version_1, &Answer::default(), Transport::Udp);
    let found = understood(&out);
    assert_eq!((u16::from(found.metadata.response_code), found.edns.unwrap().version()), (rcode::BADVERS, 0));

    let mut no_question = vec![0xab, 0xcd, 1, 0];
    [0, 0, 0, 0].into_iter().for_each(|count| put_u16(&mut no_question, count));
    let out = reply(&no_question, &Answer::default(), Transport::Udp);
    assert_eq!(out, [0xab, 0xcd, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn upstreams_details_are_passed_on() {
    let truth = truth(2, [&[], &[], &[". 0 OPT 22=down"]]);
    for (ask, expected) in [(Ask::EDNS, true), (Ask::default(), false)] {
        let out = reply(&ask.packet("q.e", rtype::A), &Answer::truth(truth.clone(), 0), Transport::Udp);
        assert_eq!(out.ends_with(b"\0\x0f\0\x06\0\x16down"), expected);
        assert_eq!(u16::from(understood(&out).metadata.response_code), rcode::SERVFAIL);
    }
}

#[test]
fn what_does_not_fit_goes_in_order() {
    // 21 octets of header and question, 19 a record, 11 of OPT, and 6 a detail beside its text.
    let record = |owner: &str| format!("{owner} 60 A 1.2.3.4");
    let some = |owner: &str, count: usize| vec![record(owner); count];
    let cases: &[(usize, usize, usize, usize, bool, usize)] = &[
        // answers, additionals, text -> additionals, TC, octets of text
        (2, 2, 100, 2, false, 100),
        (20, 2, 100, 2, false, 0),  // the text goes
        (20, 10, 100, 0, false, 0), // then the additional section
        (30, 0, 100, 0, true, 100), // then all records, and there is room for the text again
        (30, 5, 600, 0, true, 0),   // unless it is too long itself
    ];
    for &(answers, additionals, text, left, truncated, text_left) in cases {
        let sections = [some("q.e", answers), some("n.e", additionals)];
        let [answers, additionals] =
            sections.each_ref().map(|s| s.iter().map(String::as_str).collect::<Vec<_>>());
        let answer = Answer::truth(truth(0, [&answers, &[], &additionals]), 0)
            .with_ede(Ede { code: 16, text: "x".repeat(text).into() });
        let ask = Ask { payload: Some(100), ..Ask::EDNS };
        let out = reply(&ask.packet("q.e", rtype::A), &answer, Transport::Udp);
        let found = understood(&out);
        assert!(out.len() <= MIN_UDP_LEN);
        assert_eq!((found.metadata.truncation, found.additionals.len()), (truncated, left));
        assert_eq!(found.answers.len(), if truncated { 0 } else { answers.len() });
        assert_eq!(out.iter().filter(|&&octet| octet == b'x').count(), text_left);
        let whole = understood(&reply(&ask.packet("q.e", rtype::A), &answer, Transport::Tcp));
        assert_eq!((whole.answers.len(), whole.additionals.len()), (answers.len(), additionals.len()));
    }
}

#[test]
fn a_bare_code_gives_way_before_the_answer_does() {
    // 25 records of 19 octets with header, question and OPT leave 5 octets: one less than a code takes.
    let answers = vec!["q.e 60 A 1.2.3.4"; 25];
    let answer = Answer::truth(truth(0, [&answers, &[], &[]]), 0).with_ede(Ede::bare(22));
    let ask = Ask { payload: Some(512), ..Ask::EDNS };
    let out = reply(&ask.packet("q.e", rtype::A), &answer, Transport::Udp);
    assert_eq!((out.len(), understood(&out).answers.len()), (507, 25));
}

#[test]
fn a_truncated_truth_stays_truncated() {
    let truth = truth(super::wire::FLAG_TC, [&["q.e 60 A 1.2.3.4"], &[], &[]]);
    let found =
        understood(&reply(&Ask::default().packet("q.e", rtype::A), &Answer::truth(truth, 0), Transport::Tcp));
    assert!(found.metadata.truncation && found.answers.is_empty());
}

#[test]
fn any_gets_the_minimal_answer() {
    let packet = Ask::default().packet("q.e", rtype::ANY);
    let found = understood(&reply(&packet, &Answer::any(&query(&packet)), Transport::Udp));
    assert_eq!((found.answers.len(), found.answers[0].record_type()), (1, RecordType::HINFO));
    assert_eq!(found.answers[0].ttl, 3600);
}

#[test]
fn a_pointer_behind_opt_moves_with_its_target() {
    // Two records behind OPT share a name that stands nowhere before it.
    let name = |text: &str| TheirName::from_ascii(text).unwrap();
    let records = vec![
        Record::from_rdata(
            name("late.ns.example.com."),
            60,
            RData::MX(MX::new(1, name("mx.late.ns.example.com."))),
        ),
        Record::from_rdata(
            name("mx.late.ns.example.com."),
            60,
            RData::PTR(PTR(name("ptr.mx.late.ns.example.com."))),
        ),
        Record::from_rdata(name("ptr.mx.late.ns.example.com."), 60, RData::A(A(Ipv4Addr::LOCALHOST))),
    ];
    let mut moved = 0;
    for opt_at in 1..=4 {
        let upstream = message(&[Vec::new(), Vec::new(), records.clone()], opt_at);
        let truth = Truth::read(&question("a.ddns.net", rtype::A), &upstream, &WIDE).unwrap();
        moved += usize::from(!upstream.windows(truth.octets.len()).any(|window| *window == *truth.octets));
        let out = reply(
            &Ask::default().packet("a.ddns.net", rtype::A),
            &Answer::truth(Arc::new(truth), 0),
            Transport::Tcp,
        );
        assert_eq!(understood(&out).additionals, records, "{opt_at}");
    }
    assert_eq!(moved, 3, "OPT stood before something three times");
}

#[test]
fn a_pointer_into_opt_is_refused() {
    let mut upstream = response(0, "a.ddns.net", rtype::A, [&[], &[], &[". 0 OPT ", "x 60 A 1.2.3.4"]]);
    let owner_at = upstream.len() - 17;
    let opt_at = owner_at - 11;
    // "x" becomes a pointer to the root that owns OPT, one octet shorter than it was.
    upstream.splice(owner_at..owner_at + 3, [0xc0, opt_at as u8]);
    let read = Truth::read(&question("a.ddns.net", rtype::A), &upstream, &WIDE);
    assert_eq!(read, Err(super::truth::BadTruth::Malformed));
}
