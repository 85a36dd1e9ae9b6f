//! Lists of every format: what is read is valid and found again by its line, what is refused is counted, nothing panics, and
//! what is taken is what the rules say, one by one.

use std::sync::Arc;

use sinkscope::name::Name;
use sinkscope::orders::lists::line::{Item, Rule, Target};
use sinkscope::orders::lists::pattern::PatternSet;
use sinkscope::orders::lists::{self, Format, ListSpec};
use sinkscope::policy::order::Matcher;
use sinkscope::policy::{MatchKind, OrderWithNames, Policy, PolicyZone};

/// Rules that are held against names one by one at most: the naive way is slow.
const MAX_RULES: usize = 40;
/// Names of the machine itself, which are on no list.
const OWN: [&str; 3] = ["localhost", "a.localhost", "broadcasthost"];

/// Reads octets as a list of every format, line by line and whole.
pub fn run(octets: &[u8]) {
    let lines = 1 + octets.iter().filter(|&&octet| octet == b'\n').count();
    for format in Format::ALL {
        let (mut last, mut captured) = (0, 0);
        let (mut rules, mut off) = (Vec::new(), Vec::new());
        lists::each(octets, format, |line, item| {
            assert!(line >= last && line >= 1 && line as usize <= lines, "lines only go up");
            last = line;
            match &item {
                Item::Rule(rule) => rules.push(rule.clone()),
                Item::Off(rule) => off.push(rule.clone()),
                Item::Unusable(_) | Item::Skipped(_) => {}
            }
            match item {
                Item::Rule(rule) | Item::Off(rule) => {
                    assert!(rule.spares || !rule.widened, "nothing takes more than it says");
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
        let bare = MatchKind::Subtree;
        let spec = ListSpec {
            format: Some(format),
            kind: Some(bare),
            allow_public_suffix: true,
            ..ListSpec::new("fuzz", "fuzz.txt")
        };
        let mut open = |path: &str| sinkscope::orders::open::ListFile {
            shown: path.to_owned(),
            content: Err((String::from("not there"), String::new())),
        };
        let found = lists::parse(octets, &spec, "fuzz", "fuzz.txt", &mut open);
        let counted = lists::count(octets, &spec, &mut open).ok();
        assert_eq!(counted, found.reading.listed.as_ref().map(|_| found.entries), "counted or collected");
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
        if rules.len() <= MAX_RULES {
            rules.retain(|rule| !off.iter().any(|other| takes_back(other, rule)));
            compare(&rules, format, &listed, found.reading.refused_lines == 0);
        }
        for (scope, of) in listed.scopes() {
            if let Some(name) = of.names.iter().next() {
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

/// Holds what a list's order takes against its rules: never more than they say, and if all could be used, never less.
fn compare(rules: &[Rule<'_>], format: Format, listed: &OrderWithNames, whole: bool) {
    let zone = PolicyZone { name: "fuzz".into(), orders: vec![Arc::new(listed.clone())] };
    let policy = Policy::compile(&[zone], &[], 1);
    let mut names: Vec<Name> = OWN.iter().filter_map(|name| name.parse().ok()).collect();
    for rule in rules {
        let Target::Name(name, _) = &rule.target else { continue };
        let below = format!("x.{name}").parse();
        names.extend([Some(*name), name.parent(), below.ok()].into_iter().flatten());
    }
    names.retain(|name| !name.is_root());
    let patterns: Vec<Option<PatternSet>> = rules.iter().map(pattern).collect();
    for name in names {
        let own = name.ancestor(1) == "localhost".parse().ok() || name.to_string() == "broadcasthost";
        let mut covering: Vec<&Rule<'_>> = Vec::new();
        for (rule, pattern) in rules.iter().zip(&patterns) {
            if pattern
                .as_ref()
                .map_or_else(|| covers(rule, format, &name), |set| set.first_match(&name).is_some())
            {
                covering.push(rule);
            }
        }
        let spares =
            |important: bool| covering.iter().any(|rule| rule.spares && (rule.important || !important));
        let expected = covering.iter().any(|rule| !rule.spares && !spares(rule.important));
        let taken = policy.verdict(&name, 0).hit().is_some();
        assert!(!(taken && own), "{name} is the machine's own");
        assert!(expected || !taken, "{format}: {name} is taken, and no rule says so");
        // Which short names are the machine's own, the reader alone knows.
        let maybe_own = name.label_count() <= 2;
        assert!(
            taken || !expected || !whole || maybe_own,
            "{format}: {name} is not taken, and a rule says so"
        );
    }
}

/// A rule's pattern, if it has one that is used: what was refused matches nothing, or everything.
fn pattern(rule: &Rule<'_>) -> Option<PatternSet> {
    let Target::Pattern(pattern) = &rule.target else { return None };
    lists::pattern::Checker::default().check(&pattern.regex, !rule.widened).ok()?;
    let set = PatternSet::new(vec![(pattern.written.to_string(), pattern.regex.to_string())]);
    (!set.texts().is_empty()).then_some(set)
}

/// Whether a rule takes another back: they say the same.
fn takes_back(off: &Rule<'_>, rule: &Rule<'_>) -> bool {
    let whom = match (&off.target, &rule.target) {
        (Target::Name(one, kind), Target::Name(other, own)) => {
            one == other && kind.unwrap_or(MatchKind::Subtree) == own.unwrap_or(MatchKind::Subtree)
        }
        (Target::Pattern(one), Target::Pattern(other)) => one.regex == other.regex,
        _ => false,
    };
    whom && !rule.widened && (off.spares, off.important) == (rule.spares, rule.important)
}

/// Whether a rule on a name is about another.
fn covers(rule: &Rule<'_>, format: Format, name: &Name) -> bool {
    let Target::Name(listed, own) = &rule.target else { return false };
    let kind = match own {
        Some(MatchKind::SubtreeBelow) if format == Format::Wildcard => MatchKind::Subtree,
        other => other.unwrap_or(MatchKind::Subtree),
    };
    name.is_at_or_below(listed) && kind.covers(name.label_count() - listed.label_count())
}
