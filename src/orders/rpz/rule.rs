//! One record of an RPZ: which trigger its owner is (draft-vixie-dnsop-dns-rpz §4), and which action it says (§3).

use crate::name::Name;
use crate::policy::{Action, MatchKind, TriggerType, prefix};

/// A trigger: what it is held against, how it matches, and the name that stands for it in a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    /// What it is held against.
    pub on: TriggerType,
    /// How it matches.
    pub kind: MatchKind,
    /// The name, or the prefix as a name; with its `rpz-` label, if it has one.
    pub name: Name,
    /// The owner relative to the zone, its `rpz-` label taken off: what the old PASSTHRU points to (§10).
    pub selfname: Name,
}

/// What the target of a CNAME says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One of the encoded actions.
    Encoded(Action),
    /// A walled garden.
    Garden,
    /// A walled garden behind a `*`, where the captured name goes.
    GardenBelow,
}

/// The trigger that `owner` is in the zone `apex`.
///
/// # Errors
/// Why it is none.
pub(super) fn trigger(owner: &Name, apex: &Name) -> Result<Trigger, String> {
    let relative = relative(owner, apex).ok_or_else(|| format!("{owner} is not below {apex}"))?;
    let mut kind = MatchKind::Exact;
    let mut name = relative;
    if name.labels().next() == Some(b"*") {
        kind = MatchKind::SubtreeBelow;
        name = name.parent().unwrap_or(Name::ROOT);
    }
    let top = name.labels().last().unwrap_or_default();
    let on = match TriggerType::ALL.iter().find(|on| prefix::label(**on) == Some(top)) {
        Some(on) => *on,
        None if top.starts_with(b"rpz-") => {
            return Err(format!("{} is no trigger that is known", String::from_utf8_lossy(top)));
        }
        None => TriggerType::Qname,
    };
    // The label was found at the end of the name, so there is a rest, if only the root.
    let selfname = match prefix::label(on) {
        Some(label) => Name::from_wire(&[&[label.len() as u8], label, b"\0"].concat())
            .ok()
            .and_then(|label| self::relative(&relative, &label))
            .unwrap_or(Name::ROOT),
        None => relative,
    };
    if matches!(on, TriggerType::ClientIp | TriggerType::ResponseIp | TriggerType::NsIp) {
        if kind != MatchKind::Exact {
            return Err("an address prefix has no wildcard".into());
        }
        let (address, len) = prefix::from_name(&name).map_err(|why| format!("no address prefix: {why}"))?;
        name = prefix::to_name(address, len, on);
    }
    Ok(Trigger { on, kind, name, selfname })
}

/// What a CNAME to `target` says at this trigger.
///
/// # Errors
/// Why it says nothing.
pub(super) fn meaning(target: &Name, trigger: &Trigger, origin: Option<&Name>) -> Result<Meaning, String> {
    let top = target.labels().last().unwrap_or_default();
    let wildcard = target.labels().next() == Some(b"*");
    if target.is_root() {
        return Ok(Meaning::Encoded(Action::NXDOMAIN));
    }
    if wildcard && target.label_count() == 1 {
        return Ok(Meaning::Encoded(Action::NODATA));
    }
    if top.starts_with(b"rpz-") {
        return match (top, target.label_count()) {
            (b"rpz-passthru", 1) => Ok(Meaning::Encoded(Action::Passthru)),
            (b"rpz-drop", 1) => Ok(Meaning::Encoded(Action::DROP)),
            (b"rpz-tcp-only", 1) => Ok(Meaning::Encoded(Action::TCP_ONLY)),
            // §2 and §3.6: an action of a later format must not be read as a walled garden.
            _ => Err(format!("{target} is no action that is known")),
        };
    }
    // Before PASSTHRU had an encoding of its own, it was a CNAME to the trigger's own name (§10).
    if *target == trigger.selfname {
        return Ok(Meaning::Encoded(Action::Passthru));
    }
    let forgot_dot = origin
        .and_then(|origin| relative(target, origin))
        .filter(|word| word.label_count() == 1 && word.labels().any(|label| label.starts_with(b"rpz-")));
    if let Some(word) = forgot_dot {
        return Err(format!("{word} without a dot at its end is the name {target}"));
    }
    Ok(if wildcard { Meaning::GardenBelow } else { Meaning::Garden })
}

/// `name` without `zone` at its end; none if it is not below it.
fn relative(name: &Name, zone: &Name) -> Option<Name> {
    if name == zone || !name.is_at_or_below(zone) {
        return None;
    }
    let keep = name.as_wire().len() - zone.as_wire().len();
    let mut wire = [0; crate::name::MAX_NAME_LEN];
    wire.get_mut(..keep)?.copy_from_slice(name.as_wire().get(..keep)?);
    Name::from_wire(wire.get(..keep + 1)?).ok()
}
