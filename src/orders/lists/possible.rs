//! Whether a pattern can match any name at all: one that cannot was meant otherwise, and must not pass for one in force.
//!
//! The pattern's automaton and that of all names as text run side by side, from the start on; what they reach together is what
//! names can make the pattern do. Nearly every pattern matches after a few steps. Where it takes too many the answer is yes:
//! a pattern that matches nothing harms nobody, and one that is refused by mistake lets names escape.

use std::collections::{HashSet, VecDeque};

use regex_automata::Input;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

use crate::name::{MAX_LABEL_LEN, MAX_NAME_LEN};

/// Octets of states that are built at most.
const MAX_CACHE_OCTETS: usize = 1 << 20;
/// Places visited at most: each is a state of the pattern and how far into a label it is.
const MAX_PLACES: usize = 20_000;
/// Octets that stand for themselves in a name as text, but for those in [`ESCAPED`]; all others are `\\DDD` (RFC 1035 §5.1).
const PLAIN: std::ops::RangeInclusive<u8> = 0x21..=0x7e;
/// Octets that have a backslash before them.
const ESCAPED: [u8; 8] = [b'.', b'\\', b'"', b';', b'(', b')', b'@', b'$'];

/// Where both automata are.
#[derive(Clone, Copy)]
struct Place {
    state: LazyStateID,
    /// Octets of the label so far.
    label: usize,
    /// Octets of the name so far, the lengths of labels included.
    name: usize,
}

/// Whether some name matches, or it would take too long to tell.
pub(super) fn matches_a_name(regex: &str) -> bool {
    let dfa = DFA::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false).case_insensitive(true))
        .thompson(thompson::Config::new().utf8(false))
        .configure(
            DFA::config()
                .cache_capacity(MAX_CACHE_OCTETS)
                .skip_cache_capacity_check(true)
                // States are kept by number here, so none may be forgotten.
                .minimum_cache_clear_count(Some(0)),
        )
        .build(regex);
    // It compiled before; if it does not here, whoever compiles it says so.
    dfa.map_or(true, |dfa| {
        // How far into a label a state was reached seldom matters: nearly every pattern is done by the first search, which
        // looks at each state once.
        search(&dfa, false) == Some(true) || search(&dfa, true).unwrap_or(true)
    })
}

/// Whether a match is reached; none if that takes too much. Only if it is `exact` a no is certain.
fn search(dfa: &DFA, exact: bool) -> Option<bool> {
    let cache = &mut dfa.create_cache();
    let steps = steps(dfa);
    let start = dfa.start_state_forward(cache, &Input::new("")).ok()?;
    let mut seen = Seen { places: HashSet::new(), exact };
    let mut places = VecDeque::from([Place { state: start, label: 0, name: 0 }]);
    while let Some(place) = places.pop_front() {
        if place.label > 0 {
            let ended = dfa.next_eoi_state(cache, place.state).ok()?;
            if ended.is_match() {
                return Some(true);
            }
            let next = Place { state: step(dfa, cache, place.state, b".")?, label: 0, name: place.name + 1 };
            if next.state.is_match() {
                return Some(true);
            }
            seen.visit(next, &mut places);
        }
        for octets in &steps {
            let next = Place {
                state: step(dfa, cache, place.state, octets)?,
                label: place.label + 1,
                name: place.name + 1,
            };
            // What matched before the last octet is a name's beginning, and this octet ends one.
            if next.state.is_match() {
                return Some(true);
            }
            seen.visit(next, &mut places);
        }
        if seen.places.len() > MAX_PLACES {
            return None;
        }
    }
    Some(false)
}

/// Places that were seen.
struct Seen {
    /// States, with how far into a label.
    places: HashSet<(LazyStateID, usize)>,
    /// Whether that is told exactly, and not only whether it is behind a dot.
    exact: bool,
}

impl Seen {
    /// Takes a place up unless it was seen, no match leads on from it, or no name is that long. The first to reach a place has
    /// the shortest name.
    fn visit(&mut self, place: Place, places: &mut VecDeque<Place>) {
        // A name ends with the root's length, and starts with the first label's.
        let fits = place.label <= MAX_LABEL_LEN && place.name + 2 <= MAX_NAME_LEN;
        let label = if self.exact { place.label } else { place.label.min(1) };
        if fits && !place.state.is_dead() && self.places.insert((place.state, label)) {
            places.push_back(place);
        }
    }
}

/// The state behind some octets, or at the first match on the way there; none if there is no room for it.
fn step(dfa: &DFA, cache: &mut Cache, from: LazyStateID, octets: &[u8]) -> Option<LazyStateID> {
    let mut state = from;
    for &octet in octets {
        state = dfa.next_state(cache, state, octet).ok()?;
        if state.is_match() {
            break;
        }
    }
    Some(state)
}

/// What an octet of a label can be as text, of those that the pattern does not tell apart one.
fn steps(dfa: &DFA) -> Vec<Vec<u8>> {
    let classes = dfa.byte_classes();
    let mut seen = HashSet::new();
    let mut steps = Vec::new();
    for octet in 0..=u8::MAX {
        // Names are in lower case.
        if octet.is_ascii_uppercase() {
            continue;
        }
        let text = match octet {
            _ if ESCAPED.contains(&octet) => vec![b'\\', octet],
            _ if PLAIN.contains(&octet) => vec![octet],
            _ => format!("\\{octet:03}").into_bytes(),
        };
        if seen.insert(text.iter().map(|&octet| classes.get(octet)).collect::<Vec<u8>>()) {
            steps.push(text);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use proptest::prelude::*;

    #[test]
    fn what_no_name_matches_is_known() {
        for regex in [
            "^ads[0-9]*\\.;querytype=A",
            "banner;reply=nxdomain",
            "/^c[0-9]\\.example$/",
            "a b",
            "a\\.\\.b",
            "^\\.example$",
            "example\\.$",
            "x^y",
            "a$b",
            "^$",
            "[A-Z&&[a-c]&&[x-z]]",
            "^[a-z]{64}",
            "[a-z]{64}",
            "\\.[a-z]{70}\\.",
            "[a-z.]{256}",
            "^0\\.0\\.0\\.0 x",
            "(a b|c d)\\.example",
            "\\bx \\b",
            "\\n",
        ] {
            assert!(!matches_a_name(regex), "{regex}");
        }
        for regex in [
            "^ads[0-9]*\\.",
            "(^|\\.)x$",
            ".",
            "TRACK",
            "^a\\.b\\.c\\.d\\.e\\.f\\.g\\.h$",
            "^[^.]+$",
            "^[a-z]{63}$",
            "[a-z.]{253}",
            "x\\bx|y\\b",
            "_",
            "0/25\\.2\\.0\\.192",
            "\\\\;",
            "\\\\032",
            "a*",
            ";",
            "(^|x)\\.a",
            "",
            "x-{20}y.*z{20}",
        ] {
            assert!(matches_a_name(regex), "{regex}");
        }
    }

    proptest! {
        #[test]
        fn what_matches_a_name_can(labels in proptest::collection::vec("[a-z0-9_ \\\\;-]{1,5}", 1..4), cut in any::<(u8, u8)>(), edges in any::<(bool, bool)>()) {
            // A piece of a name's own text, as a pattern of it.
            let wire = labels.iter().flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat()).chain([0]);
            let name = Name::from_wire(&wire.collect::<Vec<u8>>()).unwrap().to_string();
            let from = usize::from(cut.0) % name.len();
            let piece = &name[from..from + 1 + usize::from(cut.1) % (name.len() - from)];
            let start = if edges.0 && from == 0 { "^" } else { "" };
            let end = if edges.1 && name.ends_with(piece) { "$" } else { "" };
            let pattern = format!("{start}{}{end}", regex_lite::escape(piece));
            let compiled = regex_lite::RegexBuilder::new(&pattern).case_insensitive(true).build().unwrap();
            prop_assume!(compiled.is_match(&name));
            prop_assert!(matches_a_name(&pattern), "{} matches {}", pattern, name);
        }
    }
}
