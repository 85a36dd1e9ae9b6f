//! What a denial denies beside the question it was said to.

use std::sync::Arc;
use std::time::Duration;

use super::{Cache, Cut};
use crate::dns::testing::{name, question, response};
use crate::dns::{Question, Truth, TtlLimits};
use crate::iana::{Class, Rcode, Rtype};

/// Flags of a denial, and of one that was validated.
const DENIED: u16 = 3;
const VALIDATED: u16 = 0x23;
const WIDE: TtlLimits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };

/// Virtual time in seconds.
fn at(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// Has the cache hear that at 0.
fn hear(cache: &Cache, asked: &Question, flags: u16, sections: [&[&str]; 3]) {
    let message = response(flags, &asked.qname.to_string(), asked.qtype, sections);
    cache.put(asked, Arc::new(Truth::read(asked, &message, &WIDE).unwrap()), at(0));
}

/// Has it hear that `qname` is denied for 60 seconds.
fn deny(cache: &Cache, qname: &str, flags: u16) {
    hear(cache, &question(qname, Rtype::A), flags, [&[], &["e 300 SOA 60"], &[]]);
}

/// The rcode of what it knows of a name and type.
fn told(cache: &Cache, qname: &str, qtype: Rtype) -> Option<Rcode> {
    cache.get(&question(qname, qtype), at(1)).map(|cached| cached.truth.rcode)
}

#[test]
fn a_denied_name_is_denied_whatever_is_asked_and_so_is_what_is_below() {
    for (cut, flags, below) in [
        (Cut::Off, VALIDATED, false),
        (Cut::Validated, DENIED, false),
        (Cut::Validated, VALIDATED, true),
        (Cut::All, DENIED, true),
    ] {
        let cache = Cache::new(1 << 20).cutting(cut, []);
        deny(&cache, "a.b.e", flags);
        for (qname, qtype, denied) in [
            ("a.b.e", Rtype::A, true),
            ("A.b.e", Rtype::AAAA, true),
            ("a.b.e", Rtype::DS, true),
            ("x.a.b.e", Rtype::A, below),
            ("x.y.z.a.b.e", Rtype::TXT, below),
            ("xa.b.e", Rtype::A, false),
            ("b.e", Rtype::A, false),
            ("x.b.e", Rtype::A, false),
            ("e", Rtype::A, false),
            (".", Rtype::A, false),
        ] {
            let expected = denied.then_some(Rcode::NXDOMAIN);
            assert_eq!(told(&cache, qname, qtype), expected, "{cut:?} {flags} {qname} {qtype}");
        }
        let other = Question { qclass: Class::CH, ..question("a.b.e", Rtype::A) };
        assert!(cache.get(&other, at(1)).is_none(), "another class is another tree");
        assert_eq!(cache.len(), 1, "nothing more is kept for it");
        cache.clear();
        assert_eq!(told(&cache, "x.a.b.e", Rtype::A), None);
    }
}

#[test]
fn what_is_told_below_is_the_denial_and_ends_with_it() {
    let cache = Cache::new(1 << 20).cutting(Cut::All, []).keep_stale(at(600));
    deny(&cache, "b.e", VALIDATED);
    let asked = question("a.b.e", Rtype::AAAA);
    for (s, left) in [(0, Some(60)), (59, Some(1)), (60, None)] {
        assert_eq!(cache.get(&asked, at(s)).map(|cached| cached.left_s), left, "{s}");
    }
    let found = cache.get(&asked, at(20)).unwrap();
    assert_eq!((found.age_s, found.stored, found.until), (20, at(0), at(60)));
    assert!(found.truth.authentic && found.truth.asks.is_seen_to());
    // It reads as if it had been said to that question.
    let said = response(VALIDATED, "a.b.e", Rtype::AAAA, [&[], &["e 60 SOA 60"], &[]]);
    assert_eq!(*found.truth, Truth::read(&asked, &said, &WIDE).unwrap());
    // What has expired says nothing of others.
    assert!(cache.stale(&question("b.e", Rtype::A), at(70)).is_some());
    assert!(cache.stale(&asked, at(70)).is_none());
}

#[test]
fn some_denials_are_about_nothing_else() {
    let asked = question("q.e", Rtype::A);
    for (flags, sections) in [
        // The name that is denied is the chain's end.
        (DENIED, [&["q.e 300 CNAME x.e"][..], &["e 300 SOA 60"], &[]]),
        // It says not how long that lasts.
        (DENIED, [&[], &[], &[]]),
        // There are names of other types.
        (0, [&[], &["e 300 SOA 60"], &[]]),
        // It is an order, or somebody's wish, there.
        (DENIED, [&[], &["e 300 SOA 60"], &[". 0 OPT 15=blocked"]]),
        (DENIED, [&[], &["e 300 SOA 60"], &[". 0 OPT 17="]]),
        (DENIED, [&[], &["e 300 SOA 60"], &[". 0 OPT 16="]]),
        (DENIED, [&[], &["e 300 SOA 60"], &[". 0 OPT 4="]]),
    ] {
        let cache = Cache::new(1 << 20).cutting(Cut::All, []);
        hear(&cache, &asked, flags, sections);
        for (qname, qtype) in [("q.e", Rtype::AAAA), ("a.q.e", Rtype::A), ("x.e", Rtype::A)] {
            assert_eq!(told(&cache, qname, qtype), None, "{flags} {sections:?} {qname}");
        }
    }
}

#[test]
fn what_exists_is_not_denied_any_more_nor_what_it_is_below() {
    let cache = || {
        let cache = Cache::new(1 << 20).cutting(Cut::All, []);
        deny(&cache, "b.e", DENIED);
        cache
    };
    for (qname, flags, sections, denied) in [
        ("b.e", 0, [&["b.e 9 MX t"][..], &[], &[]], false),
        ("a.b.e", 0, [&["a.b.e 9 MX t"], &[], &[]], false),
        ("a.b.e", 0, [&[], &["e 300 SOA 60"], &[]], false),
        // Its alias exists, whatever its end is.
        ("a.b.e", DENIED, [&["a.b.e 9 CNAME x.e"], &["e 300 SOA 60"], &[]], false),
        ("c.e", 0, [&["c.e 9 MX t"], &[], &[]], true),
        ("e", 0, [&["e 9 MX t"], &[], &[]], true),
    ] {
        let cache = cache();
        assert_eq!(told(&cache, "y.b.e", Rtype::AAAA), Some(Rcode::NXDOMAIN));
        hear(&cache, &question(qname, Rtype::MX), flags, sections);
        let expected = denied.then_some(Rcode::NXDOMAIN);
        assert_eq!(told(&cache, "y.b.e", Rtype::AAAA), expected, "{qname}");
        assert_eq!(told(&cache, "b.e", Rtype::A), Some(Rcode::NXDOMAIN), "what was said to a question stays");
    }
    // Who knows an address of a name and denies it for another type does not know what a denial is.
    let cache = Cache::new(1 << 20).cutting(Cut::All, []);
    hear(&cache, &question("b.e", Rtype::AAAA), 0, [&["b.e 9 AAAA 2001:db8::1"], &[], &[]]);
    deny(&cache, "b.e", DENIED);
    assert_eq!(told(&cache, "b.e", Rtype::TXT), None);
}

#[test]
fn who_asks_for_proof_is_told_it_and_others_are_not() {
    let by = |qname, (dnssec_ok, checking_disabled)| Question {
        dnssec_ok,
        checking_disabled,
        ..question(qname, Rtype::A)
    };
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    // By the flags it was said to, those to which it is an answer: as of answers (`Question::kin`).
    for (put, answers) in [
        (0, [true, true, false, false]),
        (1, [false, true, false, false]),
        (2, [true, true, true, true]),
        (3, [false, false, false, true]),
    ] {
        let cache = Cache::new(1 << 20).cutting(Cut::All, []);
        let proof: &[&str] = &["e 300 SOA 60", "e 300 RRSIG 6", "e 300 NSEC f", "e 300 RRSIG 47"];
        let proof = if put < 2 { &proof[..1] } else { proof };
        hear(&cache, &by("b.e", flags[put]), DENIED, [&[], proof, &[]]);
        for (index, other) in flags.into_iter().enumerate() {
            for qname in ["b.e", "a.b.e"] {
                let asked = Question { qtype: Rtype::MX, ..by(qname, other) };
                let found = cache.get(&asked, at(1));
                assert_eq!(found.is_some(), answers[index], "{put} {index} {qname}");
                let told = found.map_or(0, |cached| cached.truth.authorities);
                let expected = if !answers[index] {
                    0
                } else if other.0 {
                    4
                } else {
                    1
                };
                assert_eq!(told, expected, "{put} {index} {qname}");
            }
        }
    }
}

#[test]
fn what_one_denies_is_nothing_to_those_who_are_asked_about_a_zone_below() {
    let cache = || Cache::new(1 << 20).cutting(Cut::All, [name("lan.e"), name("x.y")]);
    let above = cache();
    deny(&above, "e", DENIED);
    for (qname, qtype, denied) in [
        ("a.e", Rtype::A, true),
        ("lan.e", Rtype::A, false),
        ("a.lan.e", Rtype::A, false),
        ("xlan.e", Rtype::A, true),
        // Whoever is asked about the parent is asked for DS.
        ("lan.e", Rtype::DS, true),
        ("a.lan.e", Rtype::DS, false),
        ("x.y", Rtype::A, false),
    ] {
        let expected = denied.then_some(Rcode::NXDOMAIN);
        assert_eq!(told(&above, qname, qtype), expected, "{qname} {qtype}");
    }
    let inside = cache();
    deny(&inside, "lan.e", DENIED);
    for (qname, qtype, denied) in
        [("a.lan.e", Rtype::A, true), ("lan.e", Rtype::MX, true), ("lan.e", Rtype::DS, false)]
    {
        let expected = denied.then_some(Rcode::NXDOMAIN);
        assert_eq!(told(&inside, qname, qtype), expected, "{qname} {qtype}");
    }
    // What the parent's servers say of the zone's DS is not what the zone's say.
    let parent = cache();
    hear(&parent, &question("lan.e", Rtype::DS), DENIED, [&[], &["e 300 SOA 60"], &[]]);
    assert_eq!(told(&parent, "lan.e", Rtype::DS), Some(Rcode::NXDOMAIN));
    assert_eq!([told(&parent, "lan.e", Rtype::A), told(&parent, "a.lan.e", Rtype::A)], [None, None]);
}

#[test]
fn many_denials_take_no_more_room_and_none_is_wrong() {
    let cache = Cache::new(1 << 16).cutting(Cut::All, []);
    (0..1_000).for_each(|n| deny(&cache, &format!("n{n}.e"), DENIED));
    let denied = (0..1_000).filter(|n| told(&cache, &format!("a.n{n}.e"), Rtype::A).is_some()).count();
    // There are 64 marks.
    assert!((1..=64).contains(&denied), "{denied}");
    assert_eq!((0..1_000).filter(|n| told(&cache, &format!("a.m{n}.e"), Rtype::A).is_some()).count(), 0);
    let deep = format!("{}e", "a.".repeat(100));
    deny(&cache, &deep, DENIED);
    assert_eq!(told(&cache, &format!("b.c.{deep}"), Rtype::A), Some(Rcode::NXDOMAIN));
    assert_eq!(told(&cache, &deep[2..], Rtype::A), None);
}
