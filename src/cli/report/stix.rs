//! A report as STIX 2.1: for each order and family what was sighted, how often and between when, with indicators for its names.
//!
//! Clients are no part of it: what is shared with many is what was asked for, not by whom.

use serde_json::{Value, json};

use crate::evidence::read::OrderReport;
use crate::orders::time;
use crate::time::UnixSeconds;

/// The most that a sighting counts (STIX 2.1 §5.2.1: "an integer between 0 and 999,999,999 inclusive").
const MAX_COUNT: u64 = 999_999_999;

/// The bundle as of a second.
pub(super) fn bundle(reports: &[OrderReport], now: UnixSeconds) -> Value {
    let at = time::rfc3339(now);
    let object = |kind: &str| json!({"type": kind, "spec_version": "2.1", "id": id(kind), "created": at, "modified": at});
    let mut identity = object("identity");
    with(&mut identity, json!({"name": "Sinkscope", "identity_class": "system"}));
    let where_sighted = [identity["id"].clone()];
    let mut objects = vec![identity];
    for report in reports {
        let name = if report.family.is_empty() { &report.order } else { &report.family };
        let mut malware = object("malware");
        with(&mut malware, json!({"name": name, "is_family": true, "labels": labels(report)}));
        let mut sighting = object("sighting");
        with(
            &mut sighting,
            json!({
                "sighting_of_ref": malware["id"],
                "where_sighted_refs": where_sighted,
                "first_seen": report.first,
                "last_seen": report.last,
                "count": report.queries.min(MAX_COUNT),
                "summary": true,
                "description": format!("{} queries of about {} clients", report.queries, report.clients),
            }),
        );
        for most in &report.names {
            let mut indicator = object("indicator");
            let pattern = format!("[domain-name:value = '{}']", quoted(&most.what));
            with(
                &mut indicator,
                json!({"name": most.what, "pattern": pattern, "pattern_type": "stix", "valid_from": report.first}),
            );
            let mut indicates = object("relationship");
            with(
                &mut indicates,
                json!({"relationship_type": "indicates", "source_ref": indicator["id"], "target_ref": malware["id"]}),
            );
            objects.extend([indicator, indicates]);
        }
        objects.extend([malware, sighting]);
    }
    json!({"type": "bundle", "id": id("bundle"), "objects": objects})
}

/// Adds properties to an object.
fn with(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// The order's id, and the words that it has for reports.
fn labels(report: &OrderReport) -> Vec<String> {
    std::iter::once(format!("order:{}", report.order)).chain(report.tags.iter().cloned()).collect()
}

/// An identifier: the type and a random UUID (RFC 9562 §5.4).
fn id(kind: &str) -> String {
    let random: u128 = rand::random();
    // Version 4 and the variant, where they have their bits.
    let uuid = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{uuid:032x}");
    format!("{kind}--{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A text in a pattern (STIX 2.1 §9.1): a quote and a backslash have a backslash before them.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_random_uuids() {
        let (one, other) = (id("malware"), id("malware"));
        assert_ne!(one, other);
        let uuid = one.strip_prefix("malware--").unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4', "{uuid}");
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        assert_eq!(quoted("it's \\032"), "it\\'s \\\\032");
    }
}
