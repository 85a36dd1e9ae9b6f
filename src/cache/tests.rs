//! The cache beside a naive twin, in virtual time.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dns::TtlLimits;
use crate::dns::subnet::{AskedFor, Scope, Subnet};
use crate::dns::testing::{question, response};
use crate::iana::{Class, Rcode, Rtype};

/// A truth that lives `lifetime_s`.
fn truth(lifetime_s: u32) -> Arc<Truth> {
    let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
    let message = response(0, "q.e", Rtype::A, [&[&format!("q.e {lifetime_s} A 1.2.3.4")], &[], &[]]);
    let truth = Truth::read(&question("q.e", Rtype::A), &message, &limits).unwrap();
    assert_eq!(truth.lifetime_s, lifetime_s);
    Arc::new(truth)
}

/// Virtual time in milliseconds.
fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn entries_age_and_expire() {
    let cache = Cache::new(1 << 20);
    let asked = question("q.e", Rtype::A);
    cache.put(&asked, truth(10), at(5_000));
    for (ms, expected) in [
        (4_000, Some((0, 10))),
        (5_000, Some((0, 10))),
        (5_999, Some((0, 10))),
        (6_000, Some((1, 9))),
        (14_999, Some((9, 1))),
        (15_000, None),
        (5_000, None), // gone for good
    ] {
        let found = cache.get(&asked, at(ms)).map(|cached| (cached.age_s, cached.left_s));
        assert_eq!(found, expected, "{ms}");
    }
    assert!(cache.is_empty());
}

#[test]
fn expired_answers_are_kept_for_a_while_and_never_got() {
    let cache = Cache::new(1 << 20).keep_stale(at(60_000));
    let asked = question("q.e", Rtype::A);
    cache.put(&asked, truth(10), at(5_000));
    for (ms, expected) in [
        (4_000, None),
        (14_999, None),
        (15_000, Some((10, 0))),
        (74_999, Some((69, 0))),
        (75_000, None),
        (15_000, Some((10, 0))), // asking takes nothing away
    ] {
        let found = cache.stale(&asked, at(ms)).map(|cached| (cached.age_s, cached.left_s));
        assert_eq!(found, expected, "{ms}");
    }
    assert!(cache.get(&asked, at(15_000)).is_none());
    assert!(cache.stale(&asked, at(15_000)).is_some(), "it is kept though it was asked for");
    assert!(cache.get(&asked, at(75_000)).is_none());
    assert!(cache.is_empty(), "it has gone when it is of no use any more");
    cache.put(&asked, truth(10), at(5_000));
    cache.put(&asked, truth(0), at(16_000));
    assert!(cache.is_empty(), "what replaces it need not be kept itself");
}

#[test]
fn a_failure_lasts_longer_where_an_expired_answer_is_told() {
    let cache = Cache::new(1 << 20).keep_stale(at(100_000));
    let (asked, other) = (question("q.e", Rtype::A), question("x.e", Rtype::A));
    cache.put(&asked, truth(10), at(0));
    for question in [&asked, &other] {
        cache.put_failure(question, &[], at(80_000));
    }
    // How long they are said to last, too.
    let (long, short) = (Some(at(110_000)), Some(at(81_000)));
    for (ms, of_asked, of_other) in [
        (80_999, long, short),
        (81_000, long, None),
        (109_999, long, None),
        // Too old from here on, and with it the failure.
        (110_000, None, None),
    ] {
        let found =
            [&asked, &other].map(|question| cache.failure(question, at(ms)).map(|failed| failed.until));
        assert_eq!(found, [of_asked, of_other], "{ms}");
    }
}

#[test]
fn only_data_is_told_when_it_has_expired() {
    let cache = Cache::new(1 << 20).keep_stale(at(60_000));
    let asked = question("q.e", Rtype::A);
    for (rcode, kept) in [
        (Rcode::NOERROR, true),
        (Rcode::NXDOMAIN, true),
        (Rcode::REFUSED, false),
        (Rcode::NOTIMP, false),
        (Rcode::SERVFAIL, false),
    ] {
        cache.put(&asked, Arc::new(Truth { rcode, ..(*truth(10)).clone() }), at(0));
        assert_eq!(cache.stale(&asked, at(10_000)).is_some(), kept, "{rcode}");
    }
}

#[test]
fn every_part_of_the_question_counts() {
    let cache = Cache::new(1 << 20);
    let asked = question("q.e", Rtype::A);
    cache.put(&asked, truth(10), at(0));
    let others = [
        question("x.e", Rtype::A),
        question("q.e", Rtype::AAAA),
        Question { qclass: Class::CH, ..asked },
        Question { dnssec_ok: true, ..asked },
    ];
    assert!(cache.get(&question("Q.E", Rtype::A), at(0)).is_some());
    for other in others {
        assert!(cache.get(&other, at(0)).is_none(), "{other:?}");
    }
}

/// The four questions of one name and type: with nothing, CD, DO, both.
fn by_flags() -> [Question; 4] {
    let with = |(dnssec_ok, checking_disabled)| Question {
        dnssec_ok,
        checking_disabled,
        ..question("q.e", Rtype::A)
    };
    [(false, false), (false, true), (true, false), (true, true)].map(with)
}

/// What upstream says to whoever asks for signatures: an address for 10 s and its signature for 4.
fn signed() -> Arc<Truth> {
    let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
    let asked = Question { dnssec_ok: true, ..question("q.e", Rtype::A) };
    let message = response(0x20, "q.e", Rtype::A, [&["q.e 10 A 1.2.3.4", "q.e 4 RRSIG 1"], &[], &[]]);
    Arc::new(Truth::read(&asked, &message, &limits).unwrap())
}

#[test]
fn an_answer_serves_those_who_ask_for_less_of_it() {
    // By the flags of what was put (nothing, CD, DO, both), those for whom it is an answer: fresh, and when it has expired.
    for (put, fresh, stale) in [
        (0, [true, true, false, false], [true, true, false, false]),
        (1, [false, true, false, false], [false, true, false, false]),
        (2, [true, true, true, true], [true, true, true, true]),
        (3, [false, false, false, true], [false, false, false, true]),
    ] {
        let questions = by_flags();
        let cache = || {
            let cache = Cache::new(1 << 20).keep_stale(at(60_000));
            cache.put(&questions[put], if put < 2 { truth(4) } else { signed() }, at(0));
            cache
        };
        for (index, asked) in questions.iter().enumerate() {
            let (first, cache) = (cache(), cache());
            let found = first.get(asked, at(1_000));
            assert_eq!(found.is_some(), fresh[index], "{put} {index}");
            if let Some(found) = found {
                assert_eq!((found.age_s, found.left_s, found.stored), (1, 3, at(0)));
                assert_eq!(
                    found.truth.answers,
                    1 + u16::from(asked.dnssec_ok),
                    "signatures are for who asks for them"
                );
                assert_eq!(found.truth.authentic, put >= 2);
                let again = first.get(asked, at(1_000)).expect("it is there once more");
                assert!(Arc::ptr_eq(&again.truth, &found.truth), "it is kept as it is told");
            }
            assert_eq!(cache.stale(asked, at(4_000)).is_some(), stale[index], "expired: {put} {index}");
            assert!(cache.get(asked, at(4_000)).is_none());
        }
    }
}

#[test]
fn an_answer_without_the_signatures_asked_for_is_one_for_want_of_any() {
    let [asked, _, signed, both] = by_flags();
    let cache = Cache::new(1 << 20).keep_stale(at(60_000));
    cache.put(&asked, truth(10), at(0));
    for asked in [&signed, &both] {
        let found = |ms| cache.unsigned(asked, at(ms)).map(|cached| (cached.age_s, cached.left_s));
        assert_eq!([1_000, 10_000, 70_000].map(found), [Some((1, 9)), Some((10, 0)), None]);
        assert!(cache.stale(asked, at(10_000)).is_none(), "nobody is kept from asking by it");
        cache.put_failure(asked, &[], at(10_000));
        assert_eq!(cache.failure(asked, at(10_000)).map(|failed| failed.until), Some(at(11_000)));
    }
    assert!(cache.unsigned(&asked, at(1_000)).is_none(), "who does not ask for them has an answer");
}

#[test]
fn of_expired_answers_the_newest_is_told_and_none_that_was_refreshed_since() {
    let [asked, _, with, _] = by_flags();
    let cache = Cache::new(1 << 20).keep_stale(at(60_000));
    let age = |ms| cache.stale(&asked, at(ms)).map(|cached| cached.age_s);
    cache.put(&with, signed(), at(0));
    cache.put(&asked, truth(4), at(5_000));
    assert_eq!(age(20_000), Some(15));
    cache.put(&with, signed(), at(20_000));
    assert_eq!(age(30_000), Some(10));
    // It was told something that is not to be kept.
    cache.put(&asked, truth(0), at(30_000));
    assert_eq!(age(30_000), None);
}

#[test]
fn a_lifetime_of_zero_is_not_kept() {
    let cache = Cache::new(1 << 20);
    cache.put(&question("q.e", Rtype::A), truth(0), at(0));
    assert!(cache.is_empty());
}

#[test]
fn failures_are_remembered_for_a_moment() {
    let asked = question("q.e", Rtype::A);
    let why = [Ede::new(EdeCode::NO_REACHABLE_AUTHORITY, "no upstream")];
    let errors = vec![why[0].clone(), Ede::bare(EdeCode::CACHED_ERROR)];
    let replayed = Some(Failed { errors, until: at(1_000) });
    let cache = Cache::new(1 << 20);
    assert_eq!(cache.failure(&asked, at(0)), None);
    cache.put_failure(&asked, &why, at(0));
    assert_eq!(cache.failure(&asked, at(999)), replayed);
    assert_eq!(cache.failure(&question("x.e", Rtype::A), at(0)), None);
    assert_eq!(cache.failure(&asked, at(1_000)), None);

    cache.put_failure(&asked, &why, at(0));
    cache.put(&asked, truth(0), at(1));
    assert_eq!(cache.failure(&asked, at(2)), None, "an answer ends the failure");

    for (asked_for_ms, kept_ms) in [(0, 1_000), (5_000, 5_000), (900_000, 300_000)] {
        let cache = Cache::new(1 << 20).failure_lifetimes(at(asked_for_ms), at(0));
        cache.put_failure(&asked, &why, at(0));
        assert!(cache.failure(&asked, at(kept_ms - 1)).is_some());
        assert!(cache.failure(&asked, at(kept_ms)).is_none());
    }
}

#[test]
fn what_fails_again_is_remembered_longer() {
    let asked = question("q.e", Rtype::A);
    let cache = Cache::new(1 << 20).failure_lifetimes(at(1_000), at(6_000));
    let fails = |ms| {
        cache.put_failure(&asked, &[], at(ms));
        cache.failure(&asked, at(ms)).map(|failed| failed.until.as_millis() as u64 - ms)
    };
    // Each is met with when the one before is over: at once, or later, but no more than the longest time after.
    let [second, third, fourth] = [1_000, 1_000 + 2_000 + 5_999, 20_000];
    assert_eq!([0, second, third].map(fails), [Some(1_000), Some(2_000), Some(4_000)]);
    assert_eq!(fails(third + 500), Some(4_000), "that is the same one");
    assert_eq!(fails(third + 4_500), Some(6_000), "no longer than that");
    assert_eq!(fails(third + 10_500), Some(6_000));
    assert_eq!(fails(third + 10_500 + 6_000 + 6_000), Some(1_000), "it was over for so long");
    assert_eq!(fails(third + fourth + 3_600_000), Some(1_000));
    // So it is once there was an answer.
    assert_eq!(fails(third + fourth + 3_601_000), Some(2_000));
    cache.put(&asked, truth(0), at(third + fourth + 3_603_000));
    assert_eq!(fails(third + fourth + 3_603_000), Some(1_000));
    cache.forget_failures();
    assert_eq!(fails(third + fourth + 3_604_000), Some(1_000));
    assert_eq!(cache.failure(&question("x.e", Rtype::A), at(0)), None);
}

#[test]
fn what_is_asked_for_often_outlasts_what_is_asked_for_once() {
    outlast(|cache, popular| drop(cache.get(popular, at(0))));
    // Who has a copy may as well tell that it is asked for.
    outlast(Cache::note_asked);
}

/// Whether popular names outlast others, if `ask` is how they are asked for.
fn outlast(ask: impl Fn(&Cache, &Question)) {
    let cache = Cache::new(1 << 20);
    let (popular, once) =
        (|n| question(&format!("p{n}.e"), Rtype::A), |n| question(&format!("o{n}.e"), Rtype::A));
    (0..100).for_each(|n| cache.put(&popular(n), truth(1000), at(0)));
    // Ten times as many as there is room for.
    for n in 0..100_000 {
        cache.put(&once(n), truth(1000), at(0));
        // Each popular name is asked for while a tenth of the room fills.
        ask(&cache, &popular(n / 10 % 100));
    }
    let kept = (0..100).filter(|n| cache.get(&popular(*n), at(0)).is_some()).count();
    assert!(kept >= 98, "{kept}");
    assert!((8_000..12_000).contains(&cache.len()), "{}", cache.len());
}

#[test]
fn bytes_are_bounded() {
    let cache = Cache::new(64 << 10);
    let one = truth(1000);
    for index in 0..2_000 {
        cache.put(&question(&format!("host{index}.example"), Rtype::A), one.clone(), at(0));
    }
    let (len, bytes) = (cache.len(), cache.bytes());
    assert_eq!(cache.truths.iter().count() as u64, len);
    assert!(len > 400 && len < 700, "{len}");
    assert!(bytes <= 64 << 10 && bytes > 48 << 10, "{bytes}");
    cache.clear();
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
}

/// One step of the comparison.
#[derive(Clone, Debug)]
enum Step {
    Put { name: u8, lifetime_s: u32 },
    Get { name: u8 },
    Stale { name: u8 },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8, 0..20u32).prop_map(|(name, lifetime_s)| Step::Put { name, lifetime_s }),
        (0..6u8).prop_map(|name| Step::Get { name }),
        (0..6u8).prop_map(|name| Step::Get { name }),
        (0..6u8).prop_map(|name| Step::Stale { name }),
        (0..8_000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_answers_like_a_map(steps in vec(step(), 0..60), max_stale_ms in 0..30_000u64) {
        let cache = Cache::new(1 << 24).keep_stale(at(max_stale_ms));
        let mut twin: HashMap<u8, (u64, u32)> = HashMap::new();
        let mut ms = 0;
        for step in steps {
            let asked = |name: u8| question(&format!("n{name}.e"), Rtype::A);
            match step {
                Step::Wait { ms: more } => ms += more,
                Step::Put { name, lifetime_s } => {
                    cache.put(&asked(name), truth(lifetime_s), at(ms));
                    twin.remove(&name);
                    if lifetime_s > 0 {
                        twin.insert(name, (ms, lifetime_s));
                    }
                }
                Step::Stale { name } => {
                    let expected = twin.get(&name).is_some_and(|&(stored, lifetime_s)| {
                        let end = stored + u64::from(lifetime_s) * 1000;
                        ms >= end && ms < end + max_stale_ms
                    });
                    let found = cache.stale(&asked(name), at(ms));
                    prop_assert_eq!(found.is_some(), expected);
                    prop_assert!(found.is_none_or(|cached| cached.left_s == 0));
                }
                Step::Get { name } => {
                    let expected = twin.get(&name).and_then(|&(stored, lifetime_s)| {
                        let age_s = ((ms - stored) / 1000) as u32;
                        (age_s < lifetime_s).then(|| (age_s, lifetime_s - age_s, lifetime_s))
                    });
                    let found = cache.get(&asked(name), at(ms));
                    let found = found.map(|cached| (cached.age_s, cached.left_s, cached.truth.lifetime_s));
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}

/// A truth for ten seconds with that address, for whom `scope` says.
fn tailored(asked: &Question, scope: Option<Scope>, address: &str) -> Arc<Truth> {
    let answer = format!("{} 10 A {address}", asked.qname);
    let message = response(0, &asked.qname.to_string(), asked.qtype, [&[&answer], &[], &[]]);
    let truth = Truth::read(&Question { asked_for: None, ..*asked }, &message, &TtlLimits::NONE).unwrap();
    Arc::new(Truth { scope, ..truth })
}

#[test]
fn networks_of_one_question_are_bounded_and_never_mixed_up() {
    let cache = Cache::new(8 << 20);
    let other = question("x.e", Rtype::A);
    let asked_for = |number: u32| {
        let subnet = Subnet::of(std::net::Ipv4Addr::from_bits(0x0b00_0000 + (number << 8)).into(), 24);
        AskedFor { subnet, is_longest: true }
    };
    let of = |number: u32, question: Question| Question { asked_for: Some(asked_for(number)), ..question };
    cache.put(&of(7, other), tailored(&other, Some(asked_for(7).own()), "192.0.2.1"), at(0));
    let asked = question("q.e", Rtype::A);
    for number in 0..10_000 {
        let address = std::net::Ipv4Addr::from_bits(number).to_string();
        cache.put(&of(number, asked), tailored(&asked, Some(asked_for(number).own()), &address), at(0));
    }
    assert!(cache.len() <= 257, "{}", cache.len());
    let mut there = 0;
    for number in 0..10_000 {
        if let Some(found) = cache.get(&of(number, asked), at(1)) {
            there += 1;
            let own: std::net::IpAddr = std::net::Ipv4Addr::from_bits(number).into();
            assert_eq!(&found.truth.addresses[..], [own]);
        }
    }
    assert!((200..=256).contains(&there), "{there}");
    assert!(cache.get(&of(7, other), at(1)).is_some(), "another name's networks have their own places");
    assert!(cache.get(&asked, at(1)).is_none() && cache.stale(&of(1, asked), at(1)).is_none());
}

/// Whom an answer is for, and whether exactly; none for all.
type Whom = Option<(Subnet, bool)>;

proptest! {
    /// Against a list that is looked through: who asks is told the answer for the smallest network around him.
    #[test]
    fn the_smallest_network_around_is_told(
        said in proptest::collection::vec((0..16u32, prop_oneof![Just(16u8), Just(20), Just(24)], 0..34u8), 0..12),
        asked in (0..16u32, prop_oneof![Just(16u8), Just(20), Just(24)]),
    ) {
        let cache = Cache::new(1 << 20);
        let whole = question("q.e", Rtype::A);
        let asked_for = |(number, len): (u32, u8)| {
            // Some share 20 bits, and some 16.
            let address = 0x0b00_0000 + ((number & 3) << 8) + (number >> 2 << 14);
            AskedFor { subnet: Subnet::of(std::net::Ipv4Addr::from_bits(address).into(), len), is_longest: len == 24 }
        };
        let mut twin: Vec<(Vec<u8>, Whom, u8)> = Vec::new();
        for (index, (number, len, told)) in (1..).zip(said) {
            let asked_for = asked_for((number, len));
            let of = asked_for.subnet;
            let scope = match told {
                0 => None,
                told => Some(Scope { of: of.within(told), exact: told > len && len < 24, told }),
            };
            let asked = Question { asked_for: Some(asked_for), ..whole };
            cache.put(&asked, tailored(&whole, scope, &format!("192.0.2.{index}")), at(0));
            let whom = scope.map(|scope| (scope.of, scope.exact));
            // Two that share a place have it one after the other.
            let place = Key::of(&asked, scope.as_ref()).as_bytes().to_vec();
            twin.retain(|(other, ..)| *other != place);
            twin.push((place, whom, index));
        }
        let asked_for = asked_for(asked);
        let subnet = asked_for.subnet;
        let fits = |whom: &Whom| match whom {
            None => true,
            Some((of, true)) => *of == subnet && !asked_for.is_longest,
            Some((of, false)) => of.bits() <= subnet.bits() && subnet.within(of.bits()) == *of,
        };
        let rank = |whom: &Whom| whom.map_or((0, false), |(of, exact)| (of.bits(), exact));
        let expected = twin.iter().filter(|(_, whom, _)| fits(whom)).max_by_key(|(_, whom, _)| rank(whom));
        let found = cache.get(&Question { asked_for: Some(asked_for), ..whole }, at(1));
        let last = |truth: &Truth| match truth.addresses[0] {
            std::net::IpAddr::V4(v4) => v4.octets()[3],
            std::net::IpAddr::V6(_) => unreachable!(),
        };
        prop_assert_eq!(found.map(|found| last(&found.truth)), expected.map(|(.., index)| *index));
    }
}
