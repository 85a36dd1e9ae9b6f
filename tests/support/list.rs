//! Lists as scenarios write them.

use sinkscope::orders::lists::{Format, ListSpec};
use sinkscope::policy::{Action, IssuerKind, MatchKind};

/// The settings of the list `name` from a statement's words.
pub fn spec(name: &str, words: &[&str]) -> ListSpec {
    let mut spec = ListSpec::new(name, "");
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("format", word) => spec.format = Format::ALL.into_iter().find(|one| one.as_str() == word),
            ("match", "exact") => spec.kind = Some(MatchKind::Exact),
            ("match", "subtree") => spec.kind = Some(MatchKind::Subtree),
            ("match", "subtree-below") => spec.kind = Some(MatchKind::SubtreeBelow),
            ("action", word) => {
                spec.action = Action::ALL
                    .into_iter()
                    .find(|one| one.as_str() == word)
                    .unwrap_or_else(|| panic!("no action {word:?}"));
            }
            ("kind", "user") => spec.authority = IssuerKind::User,
            _ => panic!("a list has no switch {word:?}"),
        }
    }
    spec
}
