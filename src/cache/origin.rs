//! Whose a cache is.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

/// Whose a cache is: by what rules its answers were taken, and who was asked for them. What others said, or was taken by other rules, is
/// no answer.
///
/// Digests stand for both: a server's address may hold what is nobody's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// By what rules.
    pub(super) rules: u128,
    /// Who was asked about what, in order.
    pub(super) asked: Box<[u64]>,
}

impl Origin {
    /// One of answers that were taken by these rules from these servers.
    pub fn new<A: Hash>(rules: &impl Hash, asked: impl IntoIterator<Item = A>) -> Origin {
        let mut asked: Vec<u64> = asked.into_iter().map(|one| digest(&one).digest()).collect();
        asked.sort_unstable();
        asked.dedup();
        Origin { rules: digest(rules).digest128(), asked: asked.into() }
    }

    /// Whether answers of `before` are answers of this one: they were taken by the same rules, and all who were asked then are asked still.
    pub fn takes(&self, before: &Origin) -> bool {
        self.rules == before.rules && before.asked.iter().all(|one| self.asked.binary_search(one).is_ok())
    }
}

/// The digest of a value, which the same program finds again.
fn digest(value: &impl Hash) -> Xxh3 {
    let mut hasher = Xxh3::new();
    value.hash(&mut hasher);
    // Values of different lengths never have the same octets.
    hasher.write_u8(0xff);
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_said_who_are_asked_still_is_taken() {
        let of = |rules: &str, asked: &[&str]| Origin::new(&rules, asked);
        let before = of("r", &["a", "b"]);
        for (rules, asked, taken) in [
            ("r", &["a", "b"][..], true),
            ("r", &["b", "a", "a"], true),
            ("r", &["c", "b", "a"], true),
            ("r", &["a"], false),
            ("r", &[], false),
            ("R", &["a", "b"], false),
        ] {
            assert_eq!(of(rules, asked).takes(&before), taken, "{rules} {asked:?}");
        }
    }
}
