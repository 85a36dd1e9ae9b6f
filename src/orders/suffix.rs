//! The Public Suffix List as the guard asks it: what would a subtree of this name take?

use psl::Psl;

use crate::policy::Name;

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
    let labels: Vec<&[u8]> = name.labels().collect();
    let mut asked_below = false;
    // The compiled list is a decision tree over labels from the root: it asks for one label more than the
    // name has exactly when every label was known and rules continue below.
    let mut reversed = labels.iter().rev().copied();
    let info = psl::List.find(std::iter::from_fn(|| {
        let label = reversed.next();
        asked_below |= label.is_none();
        label
    }));
    let octets: usize = labels.iter().map(|label| label.len() + 1).sum::<usize>() - 1;
    if info.typ.is_some() && info.len == octets {
        Covers::Suffix
    } else if asked_below {
        Covers::SuffixesBelow
    } else {
        Covers::Nothing
    }
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
}
