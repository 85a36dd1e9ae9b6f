//! The whole way through this module, with hickory-proto as the independent party on both ends.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_resolver::proto::op::{Edns, Message, OpCode, Query as Asked};
use hickory_resolver::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, NS, OPT, PTR, SOA, SRV, TXT};
use hickory_resolver::proto::rr::{DNSClass, Name as TheirName, RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;

use super::answer::{Answer, Body, Records};
use super::ede::Ede;
use super::finish::{MAX_UDP_LEN, MIN_UDP_LEN, finish};
use super::query::{Reject, parse};
use super::testing::{Ask, query, question, response, understood};
use super::truth::{Truth, TtlLimits};
use super::wire::{FLAG_AD, FLAG_CD, put_u16};
use crate::iana::{Class, EdeCode, Rcode, Rtype};
use crate::transport::Transport;

/// Limits that change nothing.
const WIDE: TtlLimits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };

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

/// A record for an answer section, of a name that may well be the one asked for or led to.
fn an_answer() -> impl Strategy<Value = Record> {
    let name = || prop_oneof![Just("a.ddns.net."), Just("b.ddns.net."), Just("C.example.com."), Just("net.")];
    (a_record(), name(), proptest::option::of(name())).prop_map(|(mut record, owner, target)| {
        record.name = TheirName::from_ascii(owner).unwrap();
        if let Some(target) = target {
            record.data = RData::CNAME(CNAME(TheirName::from_ascii(target).unwrap()));
        }
        record
    })
}

/// What of an answer section answers `a.ddns.net`, where that leads, and whether there is what was asked for.
fn naive(answers: &[Record], qtype: RecordType) -> (Vec<Record>, TheirName, bool) {
    let mut at = TheirName::from_ascii("a.ddns.net.").unwrap();
    let (mut chain, mut seen) = (Vec::new(), vec![at.clone()]);
    loop {
        let own = |kind: RecordType| answers.iter().filter(move |record| record.record_type() == kind);
        let set: Vec<Record> = own(qtype).filter(|record| record.name == at).cloned().collect();
        if qtype != RecordType::CNAME && !set.is_empty() {
            chain.extend(set);
            return (chain, at, true);
        }
        let Some(alias) = own(RecordType::CNAME).find(|record| record.name == at) else {
            return (chain, at, false);
        };
        chain.push(alias.clone());
        let RData::CNAME(CNAME(target)) = &alias.data else { unreachable!("it is an alias") };
        if qtype == RecordType::CNAME || seen.contains(target) {
            return (chain, at, qtype == RecordType::CNAME);
        }
        at = target.clone();
        seen.push(at.clone());
    }
}

/// An OPT record as an ordinary one, to be put anywhere.
fn an_opt() -> Record {
    let option = EdnsOption::Unknown(15, b"\0\x16no route".to_vec());
    let data = RData::OPT(OPT::new(vec![(EdnsCode::from(15), option)]));
    let mut record = Record::from_rdata(TheirName::root(), 0, data);
    record.dns_class = DNSClass::from(1232);
    record
}

/// A response to `a.ddns.net` with these records, OPT before the additional record of that number.
fn message(sections: &[Vec<Record>; 3], opt_at: usize, qtype: RecordType) -> Vec<u8> {
    let mut message = Message::response(1, OpCode::Query);
    message.add_query(Asked::query(TheirName::from_ascii("a.ddns.net.").unwrap(), qtype));
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
    fn what_answers_survives_in_order(
        answers in vec(an_answer(), 0..8), authorities in vec(a_record(), 0..4), additionals in vec(a_record(), 0..6),
        opt_at in 0..7usize, age_s in 0..90_000u32, qtype in prop_oneof![Just(RecordType::A), Just(RecordType::MX), Just(RecordType::CNAME)],
    ) {
        // A referral is no answer.
        let has = |rtype| authorities.iter().any(|record| record.record_type() == rtype);
        prop_assume!(!answers.is_empty() || !has(RecordType::NS) || has(RecordType::SOA));
        let sections = [answers, authorities, additionals];
        let upstream = message(&sections, opt_at, qtype);
        let truth = Truth::read(&question("a.ddns.net", Rtype(qtype.into())), &upstream, &WIDE).unwrap();
        prop_assert_eq!(truth.ede.len(), usize::from(opt_at > 0));
        let (minimum, strangers) = (truth.lifetime_s, usize::from(truth.strangers));
        let out = reply(&Ask::EDNS.packet("A.ddns.NET", Rtype(qtype.into())), &Answer::truth(Arc::new(truth), age_s), Transport::Tcp);
        let found = understood(&out);
        let [answers, authorities, _] = sections;
        let (chain, end, has_data) = naive(&answers, qtype);
        prop_assert_eq!(strangers, answers.len() - chain.len());
        let soa = authorities.into_iter().find(|record| record.record_type() == RecordType::SOA && record.name.zone_of(&end));
        let soa: Vec<Record> = soa.filter(|_| !has_data).into_iter().collect();
        // The SOA of a denial is counted down from its least number; all else is as it came.
        let same = |found: &[Record], expected: &[Record]| found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| {
                let left = expected.ttl.saturating_sub(age_s);
                found.name == expected.name && found.data == expected.data
                    && (found.ttl == left || (found.record_type() == RecordType::SOA && found.ttl < left))
            });
        prop_assert!(same(&found.answers, &chain), "{:?} {chain:?}", found.answers);
        prop_assert!(same(&found.authorities, &soa), "{:?} {soa:?}", found.authorities);
        prop_assert!(found.additionals.is_empty(), "{:?}", found.additionals);
        prop_assert!(chain.iter().chain(&soa).all(|record| minimum <= record.ttl));
    }

    #[test]
    fn every_reply_can_be_read(
        id in any::<u16>(), name in "[a-zA-Z0-9-]{1,12}(\\.[a-zA-Z]{1,9}){0,3}", qtype in 1..300u16, qclass in 1..5u16,
        flags in 0..0x0800u16, payload in proptest::option::of(any::<u16>()), dnssec_ok in any::<bool>(),
        rcode in 0..24u16, records in 0..80usize, texts in vec(".{0,300}", 0..4), tcp in any::<bool>(), truncated in any::<bool>(),
    ) {
        let ask = Ask { flags: flags & 0x05ff, payload, dnssec_ok, structured_errors: false };
        let mut packet = ask.packet(&name, Rtype(qtype));
        packet[..2].copy_from_slice(&id.to_be_bytes());
        let class_at = 12 + name.len() + 2 + 3;
        packet[class_at] = qclass as u8;
        let query = match parse(&packet) {
            Ok(query) => query,
            Err(reject) => return Err(TestCaseError::fail(format!("{reject:?}"))),
        };
        let mut body = Records::default();
        for _ in 0..records {
            body.answer(super::wire::Owner::At(12), Rtype::A, Class::IN, 60, &[1, 2, 3, 4]);
        }
        let ede = texts.into_iter().map(|text| Ede { code: EdeCode::NO_REACHABLE_AUTHORITY, text: text.into() }).collect();
        let answer = Answer { rcode: Rcode(rcode), body: Body::Built(body), truncated, ede, ..Answer::default() };
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
        let expected = if rcode > 15 && payload.is_none() { Rcode::SERVFAIL } else { Rcode(rcode) };
        let high = found.edns.as_ref().map_or(0, Edns::rcode_high);
        prop_assert_eq!(Rcode(u16::from(out[3] & 0xf) | u16::from(high) << 4), expected);
    }

    #[test]
    fn no_upstream_message_panics(
        answers in vec(a_record(), 0..4), additionals in vec(a_record(), 0..4), opt_at in 0..5usize,
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut in proptest::option::of(any::<prop::sample::Index>()),
        age_s in any::<u32>(),
    ) {
        let mut message = message(&[answers, Vec::new(), additionals], opt_at, RecordType::A);
        for (at, octet) in mutations {
            let at = at.index(message.len());
            message[at] = octet;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(message.len()));
        }
        if let Ok(truth) = Truth::read(&question("a.ddns.net", Rtype::A), &message, &WIDE) {
            let packet = Ask::default().packet("a.ddns.net", Rtype::A);
            let query = query(&packet);
            let _ = truth.aliases(&query);
            let mut out = Vec::new();
            finish(&query, &Answer::truth(Arc::new(truth), age_s), Transport::Udp, &mut out);
            prop_assert!(out.len() <= MIN_UDP_LEN);
        }
    }

    #[test]
    fn no_octets_panic(octets in vec(any::<u8>(), 0..200)) {
        let mut message = response(0, "a.ddns.net", Rtype::A, [&[], &[], &[]]);
        message[6..12].copy_from_slice(&[0, 1, 0, 1, 0, 2]);
        message.extend_from_slice(&octets);
        let _ = Truth::read(&question("a.ddns.net", Rtype::A), &message, &WIDE);
        let _ = Truth::read(&question("a.ddns.net", Rtype::A), &octets, &WIDE);
    }
}

/// A truth for `q.e A`.
fn truth(flags: u16, sections: [&[&str]; 3]) -> Arc<Truth> {
    let message = response(flags, "q.e", Rtype::A, sections);
    Arc::new(Truth::read(&question("q.e", Rtype::A), &message, &WIDE).unwrap())
}

#[test]
fn mixed_case_comes_back_as_it_came() {
    let packet = Ask::default().packet("Q.e", Rtype::A);
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
        let out = reply(&ask.packet("q.e", Rtype::A), &Answer::truth(truth.clone(), 0), Transport::Udp);
        assert_eq!(understood(&out).metadata.authentic_data, expected, "{ask:?}");
    }
}

#[test]
fn recursion_is_available_but_to_those_who_may_not_ask() {
    let refused = Answer::error(Rcode::REFUSED, None);
    for (answer, available) in [(Answer::default(), true), (refused, true), (Answer::prohibited(), false)] {
        for mut packet in [Ask::default().packet("q.e", Rtype::A), Ask::EDNS.packet("q.e", Rtype::A)] {
            for rd in [true, false] {
                packet[2] = u8::from(rd);
                let flags = understood(&reply(&packet, &answer, Transport::Udp)).metadata;
                assert_eq!((flags.recursion_desired, flags.recursion_available), (rd, available));
            }
        }
    }
}

#[test]
fn rejected_requests_get_their_rcode() {
    let mut version_1 = Ask::EDNS.packet("q.e", Rtype::A);
    let version_at = version_1.len() - 5;
    version_1[version_at] = 1;
    let out = reply(&version_1, &Answer::default(), Transport::Udp);
    let found = understood(&out);
    assert_eq!(
        (Rcode(found.metadata.response_code.into()), found.edns.unwrap().version()),
        (Rcode::BADVERS, 0)
    );

    let mut no_question = vec![0xab, 0xcd, 1, 0];
    [0u16; 4].into_iter().for_each(|count| put_u16(&mut no_question, count));
    let out = reply(&no_question, &Answer::default(), Transport::Udp);
    assert_eq!(out, [0xab, 0xcd, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn upstreams_details_are_passed_on() {
    let truth = truth(2, [&[], &[], &[". 0 OPT 22=down"]]);
    for (ask, expected) in [(Ask::EDNS, true), (Ask::default(), false)] {
        let out = reply(&ask.packet("q.e", Rtype::A), &Answer::truth(truth.clone(), 0), Transport::Udp);
        assert_eq!(out.ends_with(b"\0\x0f\0\x06\0\x16down"), expected);
        assert_eq!(Rcode(understood(&out).metadata.response_code.into()), Rcode::SERVFAIL);
    }
}

#[test]
fn what_does_not_fit_goes_in_order() {
    // 21 octets of header and question, 16 a record, 11 of OPT, and 6 a detail beside its text.
    let cases: &[(usize, usize, bool, usize)] = &[
        // answers, text -> TC, octets of text
        (2, 100, false, 100),
        (29, 100, false, 0),  // the text goes
        (30, 100, false, 0),  // then the code, of which a test below is
        (31, 100, true, 100), // then all records, and there is room for the text again
        (31, 600, true, 0),   // unless it is too long itself
    ];
    for &(answers, text, truncated, text_left) in cases {
        let records = vec!["q.e 60 A 1.2.3.4"; answers];
        let answer = Answer::truth(truth(0, [&records, &[], &["n.e 60 A 1.2.3.4"]]), 0)
            .with_ede(Ede { code: EdeCode::CENSORED, text: "x".repeat(text).into() });
        let ask = Ask { payload: Some(100), ..Ask::EDNS };
        let out = reply(&ask.packet("q.e", Rtype::A), &answer, Transport::Udp);
        let found = understood(&out);
        assert!(out.len() <= MIN_UDP_LEN);
        assert_eq!((found.metadata.truncation, found.additionals.len()), (truncated, 0), "{answers} {text}");
        assert_eq!(found.answers.len(), if truncated { 0 } else { answers });
        assert_eq!(out.iter().filter(|&&octet| octet == b'x').count(), text_left);
        let whole = understood(&reply(&ask.packet("q.e", Rtype::A), &answer, Transport::Tcp));
        assert_eq!(whole.answers.len(), answers);
    }
}

#[test]
fn a_bare_code_gives_way_before_the_answer_does() {
    // 30 records of 16 octets with header, question and OPT would leave no octet: with a payload of 517 they leave 5, one
    // less than a code takes.
    let answers = vec!["q.e 60 A 1.2.3.4"; 30];
    let answer =
        Answer::truth(truth(0, [&answers, &[], &[]]), 0).with_ede(Ede::bare(EdeCode::NO_REACHABLE_AUTHORITY));
    let ask = Ask { payload: Some(517), ..Ask::EDNS };
    let out = reply(&ask.packet("q.e", Rtype::A), &answer, Transport::Udp);
    assert_eq!((out.len(), understood(&out).answers.len()), (512, 30));
}

#[test]
fn a_truncated_truth_stays_truncated() {
    let truth = truth(super::wire::FLAG_TC, [&["q.e 60 A 1.2.3.4"], &[], &[]]);
    let found =
        understood(&reply(&Ask::default().packet("q.e", Rtype::A), &Answer::truth(truth, 0), Transport::Tcp));
    assert!(found.metadata.truncation && found.answers.is_empty());
}

#[test]
fn any_gets_the_minimal_answer() {
    let packet = Ask::default().packet("q.e", Rtype::ANY);
    let found = understood(&reply(&packet, &Answer::any(&query(&packet)), Transport::Udp));
    assert_eq!((found.answers.len(), found.answers[0].record_type()), (1, RecordType::HINFO));
    assert_eq!(found.answers[0].ttl, 3600);
}
