//! Name lists: every name read is valid and found again by its text; what is refused is counted.

use sinkscope::name::Name;
use sinkscope::orders::names::{self, Names};

/// Reads octets as a list, entry by entry and whole.
pub fn run(octets: &[u8]) {
    let (mut good, mut bad, mut last) = (0, 0, 0);
    for (line, entry) in Names::new(octets) {
        assert!(line >= last && line > 0, "lines only go up");
        last = line;
        match entry {
            Ok(name) => {
                good += 1;
                assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name), "its text is the same name");
            }
            Err(_) => bad += 1,
        }
    }
    let mut seen = 0;
    let (problems, refused) = names::visit(octets, "fuzz.txt", |_, _| seen += 1);
    assert_eq!(seen, good, "both ways read the same names");
    assert!(refused <= bad, "no more lines are refused than words");
    assert_eq!(refused > 0, !problems.is_empty() && bad > 0, "a refusal is reported");
}
