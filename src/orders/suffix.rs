//! The Public Suffix List as the guard asks it: what would a subtree of this name take?

use psl::Type;

use crate::name::{MAX_LABELS, Name};
use crate::suffixes;

/// What a subtree of some name holds of the Public Suffix List.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// No public suffix.
    Nothing,
    /// The name is a public suffix, or a top-level domain, which the list treats alike when it does not know it.
    Suffix,
    /// The name is none itself, but there are some below it: `amazonaws.com`, `kawasaki.jp`.
    SuffixesBelow,
}

/// What a subtree of `name` would cover.
///
/// The compiled list cannot be enumerated, so the suffixes below are noticed and not named. It knows the
/// list of the day it was built; suffixes added later are not seen.
pub fn covers(name: &Name) -> Covers {
    if name.label_count() < 2 {
        // "If no rules match, the prevailing rule is '*'": every top-level domain is a public suffix.
        return Covers::Suffix;
    }
    // Every name of every list comes by here: no allocation.
    let wire = name.as_wire();
    let (mut starts, mut count, mut at) = ([0_u8; MAX_LABELS], 0, 0);
    for label in name.labels() {
        starts[count] = at as u8;
        count += 1;
        at += 1 + label.len();
    }
    let mut asked_below = false;
    // The compiled list is a decision tree over labels from the root: it asks for one label more than the
    // name has exactly when every label was known and rules continue below.
    let mut reversed = starts[..count].iter().rev().map(|start| {
        let (length, label) = wire[usize::from(*start)..].split_first().unwrap_or((&0, &[]));
        &label[..usize::from(*length)]
    });
    let info = suffixes::find(&mut std::iter::from_fn(|| {
        let label = reversed.next();
        asked_below |= label.is_none();
        label
    }));
    // Text has no length octet in front and no root behind.
    let octets = wire.len() - 2;
    if info.typ.is_some() && info.len == octets {
        Covers::Suffix
    } else if asked_below {
        Covers::SuffixesBelow
    } else {
        Covers::Nothing
    }
}

/// The domain as its owner has it: the public suffix and one label more. A name that is a public suffix is itself.
///
/// `x.ddns.net` for `www.x.ddns.net`: the list's private section counts, so customers of one provider stay apart.
pub fn registrable(name: &Name) -> Name {
    name.ancestor(suffix(name).0 + 1).unwrap_or(*name)
}

/// The domain as a registry delegates it: `ddns.net` for `www.x.ddns.net`. The list's private section is passed over,
/// for whoever is told to take the zone takes all of a provider's customers.
pub fn delegated(name: &Name) -> Name {
    let mut above = *name;
    loop {
        match suffix(&above) {
            (labels, true) if labels > 1 => above = above.ancestor(labels - 1).unwrap_or(Name::ROOT),
            (labels, _) => return name.ancestor(labels + 1).unwrap_or(*name),
        }
    }
}

/// Labels of a name's public suffix, at least 1 unless it is the root, and whether the suffix is a private one.
fn suffix(name: &Name) -> (usize, bool) {
    let labels: Vec<&[u8]> = name.labels().collect();
    let info = suffixes::find(&mut labels.iter().rev().copied());
    let mut octets = 0;
    let within = labels.iter().rev().take_while(|label| {
        octets += label.len() + 1;
        octets <= info.len + 1
    });
    (within.count().max(labels.len().min(1)), info.typ == Some(Type::Private))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_their_ancestors_are_known() {
        use Covers::*;
        for (name, expected) in [
            (".", Suffix),
            ("com", Suffix),
            ("uk", Suffix),
            ("co.uk", Suffix),
            ("no-such-top-level-domain", Suffix),
            ("ddns.net", Suffix),
            ("zapto.org", Suffix),
            ("xn--55qx5d.cn", Suffix),
            ("foo.kawasaki.jp", Suffix),
            ("kawasaki.jp", SuffixesBelow),
            ("amazonaws.com", SuffixesBelow),
            ("compute.amazonaws.com", SuffixesBelow),
            ("city.kawasaki.jp", Nothing),
            ("x.city.kawasaki.jp", Nothing),
            ("a.foo.kawasaki.jp", Nothing),
            ("evil.ddns.net", Nothing),
            ("a.b.ddns.net", Nothing),
            ("example.com", Nothing),
            ("sinkscope.example", Nothing),
            ("bbc.co.uk", Nothing),
            ("www.bbc.co.uk", Nothing),
            ("a\\.b.com", Nothing),
        ] {
            assert_eq!(covers(&name.parse().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn domains_by_owner_and_by_registry() {
        for (name, owned, sold) in [
            ("www.x.ddns.net", "x.ddns.net", "ddns.net"),
            ("x.ddns.net", "x.ddns.net", "ddns.net"),
            ("ddns.net", "ddns.net", "ddns.net"),
            ("www.bbc.co.uk", "bbc.co.uk", "bbc.co.uk"),
            ("bbc.co.uk", "bbc.co.uk", "bbc.co.uk"),
            ("co.uk", "co.uk", "co.uk"),
            ("a.b.github.io", "b.github.io", "github.io"),
            ("b.s3.amazonaws.com", "b.s3.amazonaws.com", "amazonaws.com"),
            ("a.b.sinkscope.example", "sinkscope.example", "sinkscope.example"),
            ("example", "example", "example"),
            (".", ".", "."),
        ] {
            let name: Name = name.parse().unwrap();
            assert_eq!(registrable(&name).to_string(), owned, "{name}");
            assert_eq!(delegated(&name).to_string(), sold, "{name}");
        }
    }
}
