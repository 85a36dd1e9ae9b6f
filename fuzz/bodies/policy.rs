//! Names listed and names asked for, against a naive twin.

use std::sync::Arc;

use sinkscope::name::Name;
use sinkscope::policy::{ListedScope, MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Verdict};

/// Reads octets as names, lists the first half by turns in the three scope kinds, asks for all.
pub fn run(octets: &[u8]) {
    let names: Vec<Name> = octets.split(|octet| *octet == 0xff).filter_map(wire).take(64).collect();
    let (listed, _) = names.split_at(names.len().div_ceil(2));
    let kinds = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];
    let of_kind = |turn: usize| listed.iter().skip(turn).step_by(kinds.len()).copied().collect::<Vec<Name>>();
    let groups: Vec<(MatchKind, Vec<Name>)> =
        kinds.iter().copied().zip((0..kinds.len()).map(of_kind)).collect();
    let zone = PolicyZone { name: String::new(), orders: vec![Arc::new(order(&groups))] };
    let policy = Policy::compile(&[zone], &[], 1);
    for name in &names {
        let expected =
            groups.iter().any(|(kind, listed)| listed.iter().any(|trigger| covers(*kind, trigger, name)));
        let captured = matches!(policy.verdict(name, 0), Verdict::Act(..));
        assert_eq!(captured, expected, "{name}");
    }
}

/// A name from octets that need not be one: they are cut into labels of at most 63.
fn wire(octets: &[u8]) -> Option<Name> {
    let mut name = Name::ROOT;
    for label in octets.split(|octet| *octet == b'.').filter(|label| !label.is_empty()) {
        name.push_label(label).ok()?;
    }
    Some(name)
}

/// What a scope kind says, label by label.
fn covers(kind: MatchKind, trigger: &Name, name: &Name) -> bool {
    let (mut above, mut below): (Vec<&[u8]>, Vec<&[u8]>) =
        (trigger.labels().collect(), name.labels().collect());
    above.reverse();
    below.reverse();
    match kind {
        MatchKind::Exact => above == below,
        MatchKind::Subtree => below.starts_with(&above),
        MatchKind::SubtreeBelow => below.starts_with(&above) && below.len() > above.len(),
    }
}

/// One order with a scope for each group.
fn order(groups: &[(MatchKind, Vec<Name>)]) -> OrderWithNames {
    let scope = |(kind, names): &(MatchKind, Vec<Name>)| {
        ListedScope::new(Scope::new(*kind), names.iter().copied().collect())
    };
    OrderWithNames::new(Order::new("fuzz"), groups.iter().map(scope).collect(), Vec::new())
}
