//! Reading a response policy zone of a million records: time, memory, and that every rule is there.
//!
//! `cargo bench --bench rpz`; `RPZ_RECORDS=5000000` for another number. Two shapes: a feed, every name with a wildcard and one
//! action; and local data, every tenth name with an address of its own.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use sinkscope::name::Name;
use sinkscope::orders::open::{ListFile, Open};
use sinkscope::orders::rpz::{self, ActionOverride, RpzSpec, Wildcards};
use sinkscope::policy::{Action, IssuerKind, Policy, PolicyZone, Verdict};

/// Every this many names one is looked up afterwards.
const SAMPLE: usize = 997;

fn main() {
    let records: usize =
        std::env::var("RPZ_RECORDS").map_or(1_000_000, |number| number.parse().expect("a number"));
    for (shape, own_data) in [("feed", false), ("local data", true)] {
        let zone = zone(records, own_data);
        let spec = RpzSpec {
            name: "bench".into(),
            kind: IssuerKind::Operator,
            origin: None,
            fallback: "list.name".parse().expect("a name"),
            wildcards: Wildcards::Draft,
            action_override: ActionOverride::Given,
            max_ttl_s: 300,
            without_rd: false,
            break_dnssec: false,
        };
        let open: &mut Open<'_> = &mut |path: &str| ListFile {
            shown: path.to_owned(),
            content: Err(("nothing is included".to_owned(), String::new())),
        };
        let (before, start) = (resident_octets(), Instant::now());
        let reading = rpz::parse(zone.as_bytes(), &spec, "bench.zone", open);
        let read = start.elapsed();
        let taken = resident_octets().saturating_sub(before);
        assert_eq!((reading.problems.len(), reading.refused_lines), (0, 0));
        let listed = reading.listed.expect("a zone");
        let scopes = listed.order.scopes.len();
        let start = Instant::now();
        let zones = [PolicyZone { name: "bench".into(), orders: vec![Arc::new(listed)] }];
        let policy = Policy::compile(&zones, &[], 1);
        let compiled = start.elapsed();
        let mut looked = 0;
        for number in (0..records / 2).step_by(SAMPLE) {
            let action = if own_data && number % 10 == 0 { Action::LOCAL } else { Action::NXDOMAIN };
            for text in [name(number), format!("x.{}", name(number))] {
                let name: Name = text.parse().expect("a name");
                let Verdict::Act(_, hit) = policy.verdict(&name, 0) else { panic!("{name} escapes") };
                assert_eq!(hit.action, action, "{name}");
            }
            let free: Name = format!("x{}", name(number)).parse().expect("a name");
            assert_eq!(policy.verdict(&free, 0), Verdict::Clear, "{free}");
            looked += 1;
        }
        assert!(looked > 0, "there was something to check");
        println!(
            "{shape}: {records} records, {:.1} MB: read {:.2} s ({:.0} ns a record), resident {:.0} MB more, {scopes} scopes; \
             compiled {:.2} s; {looked} names checked",
            zone.len() as f64 / 1e6,
            read.as_secs_f64(),
            read.as_secs_f64() * 1e9 / records as f64,
            taken as f64 / 1e6,
            compiled.as_secs_f64(),
        );
    }
}

/// A zone of so many records: each name, and all below it.
fn zone(records: usize, own_data: bool) -> String {
    let mut zone =
        String::from("$ORIGIN rpz.bench.\n$TTL 60\n@ SOA localhost. . 1 1h 15m 30d 2h\n NS localhost.\n");
    for number in 0..records / 2 {
        let name = name(number);
        let data = match own_data && number % 10 == 0 {
            true => format!("A 192.0.{}.{}", number / 10 / 256 % 256, number / 10 % 256),
            false => "CNAME .".to_owned(),
        };
        let _ = write!(zone, "{name} {data}\n*.{name} {data}\n");
    }
    zone
}

/// A name of a length that listed names have.
fn name(number: usize) -> String {
    format!("listed-{:08x}.zone{}.example", number.wrapping_mul(2_654_435_761) as u32, number % 1000)
}

/// Octets of memory the process has resident; 0 where the system does not say.
fn resident_octets() -> usize {
    let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}
