//! What a loader makes of lists: zones of their own, kept when they break, found again when forgotten.

use super::*;
use crate::orders::explain::explain;
use crate::orders::lists::{FetchSpec, Format, ListSpec};
use crate::policy::{MatchKind, Policy, PolicyZone, Verdict};
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// A folder with an orders folder in it, and a loader over that and lists.
struct Bench {
    folder: TempDir,
    loader: Loader,
}

impl Bench {
    /// With these lists, whose paths are names in the folder.
    fn new(lists: Vec<ListSpec>) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let orders = folder.path().join("orders");
        fs::create_dir(&orders).unwrap();
        let lists = lists.into_iter().map(|list| ListSpec { path: folder.path().join(&list.path), ..list });
        let settings = Settings { paths: vec![orders], lists: lists.collect(), ..Settings::default() };
        let bench = Bench { folder, loader: Loader::new(settings) };
        bench.order("own", "own.example");
        bench
    }

    /// Writes a file.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Writes an order over one name.
    fn order(&self, id: &str, name: &str) {
        let text = format!("id = \"{id}\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"{name}\"]\n");
        self.write(&format!("orders/{id}.toml"), &text);
    }

    /// Loads; gives back zones with the ids in them, and the problems' first lines, without the folder's path.
    fn load(&mut self) -> (Vec<String>, Vec<String>) {
        let loaded = self.loader.load();
        (zones(&loaded), self.problems(&loaded))
    }

    /// The problems' first lines, without the folder's path.
    fn problems(&self, loaded: &Loaded) -> Vec<String> {
        let base = format!("{}/", self.folder.path().display());
        let shown = |problem: &Problem| problem.to_string().replace(&base, "");
        loaded
            .problems
            .iter()
            .map(|problem| shown(problem).lines().next().unwrap_or_default().to_string())
            .collect()
    }

    /// How the first file of the first list stands.
    fn first(&mut self) -> ListFileResult {
        self.loader.load().lists[0].files[0].clone()
    }
}

/// Zones by the last part of their names, with the ids in them.
fn zones(loaded: &Filled) -> Vec<String> {
    let ids = |zone: &PolicyZone| {
        zone.orders.iter().map(|listed| listed.order.id.clone()).collect::<Vec<_>>().join(" ")
    };
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_string();
    loaded.zones.iter().map(|zone| format!("{}: {}", last(&zone.name), ids(zone))).collect()
}

/// The names of `count` lines.
fn lines(count: usize) -> String {
    (0..count).map(|index| format!("n{index}.example\n")).collect()
}

/// A list of names that match exactly.
fn exact(name: &str) -> ListSpec {
    ListSpec { kind: Some(MatchKind::Exact), ..ListSpec::new(name, name) }
}

/// No problems.
const NONE: [&str; 0] = [];

#[test]
fn lists_are_policy_zones_behind_those_of_orders() {
    let mut bench = Bench::new(vec![exact("b"), ListSpec::new("a", "a")]);
    bench.write("a", "||x.example^\n");
    bench.write("b", &lines(2));
    let (zones, problems) = bench.load();
    assert_eq!((zones, problems), (vec!["orders: own".into(), "b: b".into(), "a: a".into()], vec![]));
    let loaded = bench.loader.load();
    assert_eq!((loaded.orders, loaded.names, loaded.lists.len()), (3, 4, 2));
    let file = &loaded.lists[1].files[0];
    assert_eq!((file.format, file.entries, &file.state), (Some(Format::Adblock), 1, &ListState::Current));
    assert!(loaded.files.iter().any(|file| file.ends_with("a")), "watched");
    assert_eq!(
        loaded.zones[1].orders[0].order.scopes[0].source,
        bench.folder.path().join("b").display().to_string()
    );
}

#[test]
fn a_list_that_breaks_keeps_its_last_good_version() {
    let mut bench = Bench::new(vec![exact("l")]);
    bench.write("l", &lines(10));
    assert_eq!(bench.load().1, NONE);
    let kept = "warning: l: its last good version (order l) stays in force";
    for (text, why) in [
        ("", "the list is empty"),
        ("\n  \n", "the list is empty"),
        ("<!DOCTYPE html>\n<html>n0.example</html>\n", "a web page, not a list"),
        ("# nothing\n", "no format that is known"),
        ("a b\nc d\n", "no format that is known"),
        (&lines(4), "has 4 entries where its last good version has 10: fewer than half"),
    ] {
        bench.write("l", text);
        let (zones, problems) = bench.load();
        assert_eq!(zones[1], "l: l");
        assert_eq!(problems, [format!("error: l: {why}"), kept.to_string()]);
        let first = bench.first();
        assert_eq!((first.entries, first.state), (10, ListState::Old(why.into())));
        assert_eq!(bench.loader.load().refused_orders, 1);
    }
    bench.write("l", &lines(5));
    assert_eq!(bench.load(), (vec!["orders: own".into(), "l: l".into()], vec![]));
    assert_eq!(bench.first().state, ListState::Current);
    fs::remove_file(bench.folder.path().join("l")).unwrap();
    assert_eq!(bench.load().1, ["error: l: cannot read it: no such file", kept]);
    assert_eq!(bench.first().entries, 5);
}

#[test]
fn patterns_count_as_entries_of_a_list() {
    let mut bench = Bench::new(vec![ListSpec { format: Some(Format::Regex), ..ListSpec::new("l", "l") }]);
    bench.write("l", "^a\n^b\n^c\n");
    assert_eq!(bench.first().entries, 3);
    bench.write("l", "^a\n");
    assert_eq!(
        bench.first().state,
        ListState::Old("has 1 entries where its last good version has 3: fewer than half".into())
    );
    bench.write("l", "^a\n^x\n^c\n");
    let before = bench.loader.load();
    bench.write("l", "^a\n^y\n^c\n");
    assert!(bench.loader.look().differs(&before), "other patterns are another policy");
}

#[test]
fn a_list_may_shrink_if_its_settings_say_so() {
    let mut bench = Bench::new(vec![ListSpec { allow_shrink: true, ..exact("l") }]);
    bench.write("l", &lines(10));
    bench.load();
    bench.write("l", &lines(1));
    assert_eq!(bench.load().1, NONE);
    assert_eq!(bench.first().entries, 1);
}

#[test]
fn a_list_refused_at_first_is_refused_alone() {
    let mut bench = Bench::new(vec![ListSpec::new("l", "l"), exact("m")]);
    bench.write("l", &lines(3));
    bench.write("m", &lines(3));
    let (zones, problems) = bench.load();
    assert_eq!(zones, ["orders: own", "l: ", "m: m"]);
    assert_eq!(
        problems,
        ["error: l: looks like format = \"domains\", and nothing says what a name on it covers"]
    );
    assert!(matches!(bench.first().state, ListState::Refused(_)));
}

#[test]
fn a_list_not_fetched_yet_is_awaited() {
    let fetch = FetchSpec {
        url: "https://lists.example/l".into(),
        refresh: Duration::from_secs(86_400),
        max_octets: 1 << 20,
        sha256: None,
        minisign_key: None,
        bootstrap: Vec::new(),
    };
    let mut bench = Bench::new(vec![ListSpec { fetch: Some(fetch), ..exact("l") }]);
    assert_eq!(bench.load().1, ["warning: l: list l is not fetched yet"]);
    assert_eq!(bench.first().state, ListState::Awaited);
    let loaded = bench.loader.load();
    assert_eq!((loaded.refused_orders, loaded.lists[0].url.as_deref()), (0, Some("https://lists.example/l")));
    bench.write("l", &lines(2));
    assert_eq!(bench.load().1, NONE);
    fs::remove_file(bench.folder.path().join("l")).unwrap();
    assert_eq!(bench.load().0[1], "l: l");
    assert_eq!(bench.first().state, ListState::Old("the copy that was fetched is gone".into()));
}

#[test]
fn a_folder_is_one_zone_and_each_file_an_order() {
    let mut bench = Bench::new(vec![exact("l")]);
    let folder = bench.folder.path().join("l");
    fs::create_dir(&folder).unwrap();
    assert_eq!(bench.load().1, ["warning: l: the directory holds no lists"]);
    for file in ["l/b.txt", "l/a b", "l/.hidden", "l/old~"] {
        bench.write(file, &lines(2));
    }
    assert_eq!(bench.load().0, ["orders: own", "l: l/a_b l/b.txt"]);
    bench.write("l/c.txt", "");
    fs::remove_file(folder.join("b.txt")).unwrap();
    let (zones, problems) = bench.load();
    assert_eq!(zones[1], "l: l/a_b");
    assert_eq!(
        problems,
        [
            "warning: l/b.txt: the file is gone: order l/b.txt is no longer in force",
            "error: l/c.txt: the list is empty"
        ]
    );
    fs::remove_file(folder.join("c.txt")).unwrap();
    bench.load();
    let moved = bench.folder.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    let (zones, problems) = bench.load();
    assert_eq!(zones[1], "l: l/a_b");
    assert_eq!(problems[0], "error: l: cannot read it: no such file");
    fs::rename(&moved, &folder).unwrap();
    assert_eq!(bench.load().1, NONE);
}

#[test]
fn ids_and_files_are_taken_once() {
    let same = ListSpec { path: "l".into(), ..exact("other") };
    let mut bench = Bench::new(vec![exact("own"), exact("l"), same]);
    bench.write("own", &lines(1));
    bench.write("l", &lines(1));
    let (zones, problems) = bench.load();
    assert_eq!(zones, ["orders: own", "own: ", "l: l", "other: "]);
    assert_eq!(
        problems,
        [
            "error: l: read already, for an earlier list or order",
            "error: own: the id own is taken by orders/own.toml"
        ]
    );
}

#[test]
fn names_forgotten_are_read_again_or_taken_from_the_policy_in_force() {
    let adblock = ListSpec::new("l", "l");
    let text = "||a.example^\n@@||ok.a.example^\n||b.example^$important\n|c.example^\n/^p/\n";
    let asked =
        ["a.example", "x.a.example", "ok.a.example", "b.example", "c.example", "x.c.example", "own.example"];
    let verdicts =
        |policy: &Policy| asked.map(|name| policy.verdict(&name.parse().unwrap(), 0) != Verdict::Clear);
    let expected = [true, true, false, true, true, false, true];
    for broken in [false, true] {
        let mut bench = Bench::new(vec![adblock.clone()]);
        bench.write("l", text);
        let loaded = bench.loader.load();
        let (policy, compiled) = loaded.compile(1);
        assert_eq!(verdicts(&policy), expected);
        bench.loader.forget_names(compiled);
        if broken {
            bench.write("l", "<html>");
        }
        bench.order("more", "more.example");
        let scan = bench.loader.look();
        let loaded = bench.loader.fill(scan, &policy);
        assert_eq!(loaded.lists[0].files[0].entries, 4);
        assert!(
            !bench.problems(&loaded).iter().any(|problem| problem.contains("lost")),
            "{:?}",
            loaded.problems
        );
        let again = Policy::compile(&loaded.zones, &loaded.protected, 2);
        assert_eq!(verdicts(&again), expected, "broken: {broken}");
        assert_ne!(again.verdict(&"more.example".parse().unwrap(), 0), Verdict::Clear);
    }
}

#[test]
fn an_explanation_names_list_and_line() {
    let mut bench = Bench::new(vec![ListSpec::new("ads", "ads.txt")]);
    bench.write("ads.txt", "! x\n||a.example^\n|b.a.example^\n/^p[0-9]/\n");
    let loaded = bench.loader.load();
    let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
    let base = format!("{}/", bench.folder.path().display());
    for (asked, expected) in [
        ("b.a.example", vec!["ads b.a.example ads.txt:3", "ads a.example ads.txt:2"]),
        ("x.a.example", vec!["ads a.example ads.txt:2"]),
        ("p1.other", vec!["ads /^p[0-9]/ ads.txt:4"]),
        ("other", vec![]),
    ] {
        let explanation =
            explain(&loaded, &policy, &crate::policy::Asker::ANYBODY, &asked.parse().unwrap(), 0);
        let said = explanation.matches.iter().map(|found| {
            let what = found.pattern.map_or_else(|| found.trigger.to_string(), String::from);
            let place = crate::orders::locate::place(&found.scope.source, found.line);
            format!("{} {what} {}", found.zone_name, place.replace(&base, ""))
        });
        assert_eq!(said.collect::<Vec<_>>(), expected, "{asked} {:?}", loaded.problems);
    }
}

#[test]
fn a_zone_includes_what_is_below_its_folder_and_shows_nothing_of_it() {
    let spec = ListSpec { format: Some(Format::Rpz), ..ListSpec::new("zone", "zones/a.zone") };
    let mut bench = Bench::new(vec![spec.clone()]);
    let head = "$TTL 60\n@ SOA . . 1 2 3 4 5\na.example CNAME .\n";
    fs::create_dir_all(bench.folder.path().join("zones/sub")).unwrap();
    bench.write("secret.txt", "PASSWORD=hunter2\nmore words here\nb.example CNAME .\n");
    bench.write("zones/sub/secret.txt", "PASSWORD=hunter2\n$SECRET hunter2\nb.example CNAME .\n");
    let absolute = bench.folder.path().join("secret.txt").display().to_string();
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        bench.folder.path().join("secret.txt"),
        bench.folder.path().join("zones/link"),
    )
    .unwrap();
    let inside = bench.folder.path().join("zones/sub/secret.txt").display().to_string();
    for (written, taken) in [
        ("../secret.txt", false),
        ("sub/../../secret.txt", false),
        (absolute.as_str(), false),
        ("link", !cfg!(unix)),
        ("/proc/self/environ", false),
        ("sub/secret.txt", true),
        (inside.as_str(), true),
    ] {
        bench.write("zones/a.zone", &format!("{head}$INCLUDE {written}\n"));
        bench.loader = Loader::new(bench.loader.settings.clone());
        let loaded = bench.loader.load();
        let problems: Vec<String> = loaded
            .problems
            .iter()
            .map(|problem| format!("{problem} {}", problem.details.join(" ")))
            .collect();
        assert!(
            !problems.is_empty()
                && !problems.iter().any(|text| text.contains("hunter2") || text.contains("PATH=")),
            "{written}: {problems:?}"
        );
        let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
        let captured = matches!(policy.verdict(&"b.example".parse().unwrap(), 0), Verdict::Act(..));
        assert_eq!(captured, taken, "{written}: {problems:?}");
        if taken {
            assert!(problems[0].contains("secret.txt:1: an entry"), "{problems:?}");
        } else {
            // A part that is missing refuses the zone whole.
            assert!(
                problems.iter().any(|text| text.contains("a.zone:4: $INCLUDE")),
                "{written}: {problems:?}"
            );
        }
    }
    // Whoever serves a zone has no say in which files are read here.
    let fetch = FetchSpec {
        url: "http://lists.example/".into(),
        refresh: Duration::from_secs(60),
        max_octets: 1 << 20,
        sha256: None,
        minisign_key: None,
        bootstrap: Vec::new(),
    };
    let mut bench = Bench::new(vec![ListSpec { fetch: Some(fetch), path: "a.zone".into(), ..spec }]);
    bench.write("b.zone", "b.example CNAME .\n");
    bench.write("a.zone", &format!("{head}$INCLUDE b.zone\n"));
    let (_, problems) = bench.load();
    assert!(
        problems.iter().any(|text| text.contains("a zone that is fetched includes nothing")),
        "{problems:?}"
    );
}
