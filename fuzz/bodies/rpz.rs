//! Response policy zones: any text is a zone or a list of problems, never a panic, and what is refused takes nothing with it.

use sinkscope::name::Name;
use sinkscope::orders::open::{Content, ListFile};
use sinkscope::orders::order_file::Parsed;
use sinkscope::orders::rpz::{self, ActionOverride, RpzSpec, Wildcards};
use sinkscope::policy::{IssuerKind, TriggerType, prefix};

/// Reads octets as a zone whose included files all hold the text's own second half, then with a good record behind it.
pub fn run(octets: &[u8]) {
    let reading = read(octets);
    assert!(reading.listed.is_some() || !reading.problems.is_empty(), "a refusal says why");
    assert!(reading.problems.len() <= 45, "what is reported is bounded");
    let Some(listed) = reading.listed else { return };
    assert!(listed.order.rpz.is_some(), "a zone says what it is");
    for (scope, of) in listed.scopes() {
        assert!(!of.names.is_empty(), "no scope is empty");
        assert!(of.exceptions.is_empty(), "a zone has no exceptions");
        if matches!(scope.on, TriggerType::ClientIp | TriggerType::ResponseIp | TriggerType::NsIp) {
            for name in of.names.iter() {
                let (address, len) = prefix::from_name(&name).expect("addresses are prefixes");
                assert_eq!(prefix::to_name(address, len, scope.on), name, "prefixes are written in one way");
            }
        }
    }
    // Whatever stands in front of it, the last record is read: an open parenthesis takes at most so many lines with it.
    let more = [octets, &b"\n".repeat(300), b"\nfuzz-end.rpz.test. 60 IN A 192.0.2.1\n"].concat();
    let end: Name = "fuzz-end".parse().expect("a name");
    if let Some(listed) = read(&more).listed {
        let found = listed.names().any(|names| names.iter().any(|name| name == end));
        assert!(found, "the last record is read");
    }
}

/// Reads octets as the zone `rpz.test`.
fn read(octets: &[u8]) -> Parsed {
    let spec = RpzSpec {
        name: "fuzz".into(),
        kind: IssuerKind::User,
        origin: "rpz.test".parse().ok(),
        fallback: "list.name".parse().expect("a name"),
        wildcards: Wildcards::Draft,
        action_override: ActionOverride::Given,
        max_ttl_s: 300,
        without_rd: false,
        break_dnssec: false,
    };
    let half = octets.len() / 2;
    let mut open = |path: &str| ListFile {
        shown: path.to_owned(),
        content: Ok(Content::Octets(octets[half..].to_vec())),
    };
    rpz::parse(octets, &spec, "fuzz.zone", &mut open)
}
