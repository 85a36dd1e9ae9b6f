//! Zones and what becomes of them: tables of one-liners, golden refusals, and zones made up and read back.

mod forms;
mod made_up;
mod refusals;

use super::*;
use crate::orders::open::{Content, ListFile};
use crate::policy::LocalRecord;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What every zone here starts with: three lines.
const HEAD: &str = "$TTL 60\n@ SOA localhost. admin.rpz.test. 7 1h 15m 30d 2m\n NS localhost.\n";

/// A subscriber's use of `rpz.test`, the default one.
fn spec() -> RpzSpec {
    RpzSpec {
        name: "rpz".into(),
        kind: IssuerKind::Operator,
        origin: Some(name("rpz.test")),
        fallback: "list.name".parse().expect("a name"),
        wildcards: Wildcards::Draft,
        action_override: ActionOverride::Given,
        max_ttl_s: 3600,
        without_rd: false,
        break_dnssec: false,
    }
}

/// A name.
fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Reads a zone whose included files are these.
fn read(text: &str, spec: &RpzSpec, files: &[(&str, &str)]) -> Parsed {
    let mut open = |path: &str| {
        let found = files.iter().find(|(name, _)| *name == path);
        let missing = || ("no such file".to_string(), "write it".to_string());
        let content = found.map(|(_, text)| Content::Octets(text.as_bytes().to_vec())).ok_or_else(missing);
        ListFile { shown: format!("dir/{path}"), content }
    };
    parse(text.as_bytes(), spec, "rpz.zone", &mut open)
}

/// The rules of [`HEAD`] and these lines, which must be sound.
fn rules(lines: &str, spec: &RpzSpec) -> Vec<String> {
    let reading = read(&format!("{HEAD}{lines}"), spec, &[]);
    assert_eq!(reading.problems, [], "{lines}");
    assert_eq!(reading.refused_lines, 0);
    shown(&reading.listed.unwrap())
}

/// The refusals and warnings of [`HEAD`] and these lines, without file and severity; lines count from the first behind it.
fn complaints(lines: &str) -> Vec<String> {
    let reading = read(&format!("{HEAD}{lines}"), &spec(), &[]);
    assert!(reading.listed.is_some(), "{:?}", reading.problems);
    let complaint = |problem: &crate::problem::Problem| {
        let line = problem.line.map_or(0, |line| line - 3);
        format!("{line}: {}", problem.message)
    };
    reading.problems.iter().map(complaint).collect()
}

/// Every rule of an order on a line of its own, in the order of its scopes.
fn shown(listed: &OrderWithNames) -> Vec<String> {
    let mut all = Vec::new();
    for (scope, of) in listed.scopes() {
        assert!(of.exceptions.is_empty());
        for name in of.names.iter() {
            let mut line = format!("{} {} {name}: {}", scope.on, scope.kind, scope.action.unwrap());
            if let Some(ttl_s) = scope.ttl_s {
                line += &format!(" {ttl_s}");
            }
            if let Some(data) = &scope.data {
                let prepend = if data.prepend { "*." } else { "" };
                for record in &data.records {
                    line += &format!(" {} {prepend}{}", record.ttl_s, data_shown(record));
                }
            }
            all.push(line);
        }
    }
    all
}

/// A record's type and data, for people.
fn data_shown(record: &LocalRecord) -> String {
    let rdata = &*record.rdata;
    match record.rtype {
        Rtype::A => format!("A {}", Ipv4Addr::from(<[u8; 4]>::try_from(rdata).unwrap())),
        Rtype::CNAME => format!("CNAME {}", Name::from_wire(rdata).unwrap()),
        Rtype::TXT => format!("TXT {}", String::from_utf8_lossy(&rdata[1..]).escape_debug()),
        Rtype::AAAA => format!("AAAA {}", Ipv6Addr::from(<[u8; 16]>::try_from(rdata).unwrap())),
        Rtype(other) => {
            format!("TYPE{other} {}", rdata.iter().map(|octet| format!("{octet:02x}")).collect::<String>())
        }
    }
}
