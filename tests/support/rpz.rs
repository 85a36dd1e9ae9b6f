//! Response policy zones as scenarios write them.

use sinkscope::orders::rpz::{ActionOverride, RpzSpec, Wildcards};
use sinkscope::policy::{Action, IssuerKind};

/// What a zone starts with that says no SOA of its own.
const HEAD: &str = "$TTL 60\n@ SOA . . 1 2 3 4 60\n@ NS localhost.\n";

/// The use and the text of the zone `name` from a statement's words and block.
pub fn zone(name: &str, words: &[&str], block: &str) -> (RpzSpec, String) {
    let mut spec = RpzSpec {
        name: name.to_owned(),
        kind: IssuerKind::Operator,
        origin: Some(name.parse().expect("a zone's name")),
        fallback: "list.name".parse().expect("a name"),
        wildcards: Wildcards::Draft,
        action_override: ActionOverride::Given,
        max_ttl_s: 3600,
        without_rd: true,
        break_dnssec: true,
    };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("wildcards", "draft") => spec.wildcards = Wildcards::Draft,
            ("wildcards", "unbound") => spec.wildcards = Wildcards::Unbound,
            ("wildcards", "closest") => spec.wildcards = Wildcards::Closest,
            ("action", word) => spec.action_override = overriding(word),
            ("cname", target) => {
                let prepend = target.starts_with("*.");
                let target = target.trim_start_matches("*.").parse().expect("a target");
                spec.action_override = ActionOverride::Cname { target, prepend };
            }
            ("max_ttl", seconds) => spec.max_ttl_s = seconds.parse().expect("seconds"),
            ("kind", "user") => spec.kind = IssuerKind::User,
            ("without_rd", "no") => spec.without_rd = false,
            ("break_dnssec", "no") => spec.break_dnssec = false,
            _ => panic!("a zone has no switch {word:?}"),
        }
    }
    let head = if block.lines().any(|line| line.starts_with("@ SOA ")) { "" } else { HEAD };
    (spec, format!("{head}{block}\n"))
}

/// The override of that name (draft-vixie-dnsop-dns-rpz §6.1).
fn overriding(word: &str) -> ActionOverride {
    match word {
        "given" => ActionOverride::Given,
        "disabled" => ActionOverride::Action(Action::Observe),
        "nxdomain" => ActionOverride::Action(Action::NXDOMAIN),
        "nodata" => ActionOverride::Action(Action::NODATA),
        "passthru" => ActionOverride::Action(Action::Passthru),
        "drop" => ActionOverride::Action(Action::DROP),
        "tcp-only" => ActionOverride::Action(Action::TCP_ONLY),
        "local-data-or-passthru" => ActionOverride::LocalDataOrPassthru,
        "local-data-or-disabled" => ActionOverride::LocalDataOrDisabled,
        other => panic!("no override {other:?}"),
    }
}
