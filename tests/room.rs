//! No order waits for a list: what finds no room is left out and named, and everything else is in force.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sinkscope::control::reload::Reloader;
use sinkscope::orders::{ListSpec, Settings};
use sinkscope::policy::{Policy, Verdict};
use sinkscope::resolver::Current;

/// A time at which everything here is in force.
const AT: i64 = 1_800_000_000;

/// A folder of orders, and so many Adblock lists of a pattern each.
fn settings(folder: &Path, lists: usize) -> Settings {
    let list = |index: usize| {
        let file = folder.join(format!("l{index}.txt"));
        let text = format!("/^ads{index}[0-9]\\./\n||listed{index}.example^\n");
        fs::write(&file, text).expect("a file");
        ListSpec::new(format!("l{index}"), file)
    };
    let orders = folder.join("orders");
    fs::create_dir_all(&orders).expect("a folder");
    Settings { paths: vec![orders], lists: (0..lists).map(list).collect(), ..Settings::default() }
}

/// Writes the order `id` on `name`.
fn order(folder: &Path, id: &str, name: &str) {
    let text =
        format!("id = '{id}'\ntitle = 'T'\nkind = 'court'\n[[scope]]\nmatch = 'exact'\nnames = ['{name}']\n");
    fs::write(folder.join(format!("orders/{id}.toml")), text).expect("a file");
}

/// The order that captures a name.
fn captor(policy: &Current, name: &str) -> Option<String> {
    let policy = policy.policy();
    match policy.verdict(&name.parse().expect("a name"), AT) {
        Verdict::Act(_, hit) => Some(hit.order.id.clone()),
        _ => None,
    }
}

/// Loads so many lists, then a new order; gives back what is in force and what was said of the lists.
fn loaded(folder: &Path, lists: usize) -> (Arc<Current>, Reloader) {
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(folder, lists), policy.clone());
    order(folder, "first", "first.example.com");
    assert!(reloader.reload(AT).swapped);
    order(folder, "second", "second.example.com");
    assert!(reloader.reload(AT).swapped, "a new order acts whatever the lists are");
    for id in ["first", "second"] {
        assert_eq!(captor(&policy, &format!("{id}.example.com")).as_deref(), Some(id));
    }
    (policy, reloader)
}

#[test]
fn a_household_of_lists_with_patterns_fits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (policy, _) = loaded(folder.path(), 70);
    for index in [0, 63, 64, 65, 69] {
        let id = format!("l{index}");
        assert_eq!(captor(&policy, &format!("ads{index}7.example.org")), Some(id.clone()));
        assert_eq!(captor(&policy, &format!("www.listed{index}.example")), Some(id));
    }
}

#[test]
fn lists_that_find_no_room_are_named_and_hold_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (policy, mut reloader) = loaded(folder.path(), 258);
    assert_eq!(captor(&policy, "ads2557.example.org").as_deref(), Some("l255"));
    for index in [256, 257] {
        assert_eq!(captor(&policy, &format!("ads{index}7.example.org")), None);
        assert_eq!(
            captor(&policy, &format!("listed{index}.example")),
            None,
            "half a list would be another one"
        );
        let file = &reloader.loaded().lists[index].files[0];
        assert!(
            (file.state.as_str(), file.entries) == ("refused", 0) && file.state.why().contains("256"),
            "{file:?}"
        );
    }
    let named = |reloader: &Reloader| {
        let problems = reloader.loaded().problems.iter();
        problems.filter(|one| one.is_error() && one.message.contains("is left out")).count()
    };
    assert_eq!(named(&reloader), 2);
    // Looking again finds nothing new, and what was said stands.
    let again = reloader.reload(AT);
    assert!(!again.swapped && again.problems.is_empty(), "{again:?}");
    assert_eq!(named(&reloader), 2);
    // A list left out whose file goes away takes nothing with it.
    fs::write(folder.path().join("l257.txt"), "\u{0}").expect("a file");
    order(folder.path(), "third", "third.example.com");
    assert!(reloader.reload(AT).swapped);
    assert_eq!(captor(&policy, "third.example.com").as_deref(), Some("third"));
}
