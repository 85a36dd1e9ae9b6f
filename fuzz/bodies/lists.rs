//! Lists of every format: what is read is valid and found again by its line, what is refused is counted, nothing panics.

use sinkscope::orders::lists::line::{Item, Target};
use sinkscope::orders::lists::{self, Format, ListSpec};
use sinkscope::policy::{Name, ScopeKind};

/// Reads octets as a list of every format, line by line and whole.
pub fn run(octets: &[u8]) {
    let lines = 1 + octets.iter().filter(|&&octet| octet == b'\n').count();
    for format in Format::ALL {
        let (mut last, mut captured) = (0, 0);
        lists::each(octets, format, |line, item| {
            assert!(line >= last && line >= 1 && line as usize <= lines, "lines only go up");
            last = line;
            match item {
                Item::Rule(rule) | Item::Off(rule) => {
                    if let Target::Name(name, _) = &rule.target {
                        assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(name));
                        assert!(!name.is_root(), "nobody takes everything");
                    }
                    captured += usize::from(!rule.spares);
                }
                Item::Unusable(why) => assert!(!why.to_string().contains('\n'), "a problem is one line"),
                Item::Skipped(_) => {}
            }
        });
        let bare = ScopeKind::Subtree;
        let spec = ListSpec { format: Some(format), kind: Some(bare), ..ListSpec::new("fuzz", "fuzz.txt") };
        let found = lists::parse(octets, &spec, "fuzz", "fuzz.txt", &mut |path| {
            sinkscope::orders::order_file::ListFile {
                shown: path.to_owned(),
                content: Err((String::from("not there"), String::new())),
            }
        });
        assert!(
            found.reading.listed.is_some() || !found.reading.problems.is_empty(),
            "a refusal has a reason"
        );
        if format == Format::Rpz {
            continue;
        }
        assert!(found.entries <= captured, "nothing is made up");
        let Some(listed) = found.reading.listed else { continue };
        assert_eq!(lists::entries(&listed), found.entries);
        for (scope, names) in listed.order.scopes.iter().zip(&listed.names) {
            if let Some(name) = names.iter().next() {
                assert!(
                    lists::line_of(octets, format, Some(bare), scope.kind, &name).is_some(),
                    "{name} has a line"
                );
            }
            if let Some(patterns) = &scope.patterns {
                assert!(
                    patterns
                        .0
                        .texts()
                        .iter()
                        .all(|text| lists::line_of_pattern(octets, format, text).is_some())
                );
                let _ = patterns.0.first_match(&Name::ROOT);
            }
        }
    }
    let _ = lists::detect(octets);
}
