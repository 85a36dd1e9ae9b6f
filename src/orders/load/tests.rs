//! What a loader keeps when files break, go away, come back or quarrel over an id.

use super::*;
use crate::name::{Name, NameList};
use crate::orders::ProtectedSpec;
use crate::orders::files::{self, FilesRead};
use crate::orders::suffix::{self, Covers};
use crate::policy::{MatchKind, Policy};
use std::fs;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A folder of orders and a loader over it.
struct Bench {
    folder: TempDir,
    loader: Loader,
}

impl Bench {
    /// An empty folder as the only path.
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let loader = Loader::new(Settings { paths: vec![folder.path().into()], ..Settings::default() });
        Bench { folder, loader }
    }

    /// Writes a file.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Writes an order with this id over `<id>.example`.
    fn order(&self, file: &str, id: &str) {
        self.write(file, &order(id));
    }

    /// Removes a file.
    fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// Loads; gives back the ids in force and the problems' first lines without the folder's path.
    fn load(&mut self) -> (Vec<String>, Vec<String>) {
        let loaded = self.loader.load();
        let shown = |problem: &Problem| {
            let text = problem.to_string().replace(&format!("{}/", self.folder.path().display()), "");
            text.lines().next().unwrap_or_default().to_string()
        };
        assert_eq!(loaded.orders, ids(&loaded).len());
        (ids(&loaded), loaded.problems.iter().map(shown).collect())
    }
}

/// An order with this id over `<id>.example`.
fn order(id: &str) -> String {
    format!("id = \"{id}\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"{id}.example\"]\n")
}

/// The ids in force.
fn ids(loaded: &Filled) -> Vec<String> {
    loaded.zones.iter().flat_map(|zone| &zone.orders).map(|listed| listed.order.id.clone()).collect()
}

/// No problems.
const NONE: [&str; 0] = [];

#[test]
fn a_folder_is_read_by_name_without_hidden_and_backup_files() {
    let mut bench = Bench::new();
    bench.order("b.toml", "b");
    bench.order("a.toml", "a");
    for ignored in [".c.toml", "#d.toml", "e.toml~", "f.toml.bak", "names.txt"] {
        bench.write(ignored, "not an order");
    }
    fs::create_dir(bench.folder.path().join("sub.toml")).unwrap();
    let (ids, problems) = bench.load();
    assert_eq!((ids, problems), (vec!["a".to_string(), "b".into()], vec![]));
}

#[test]
fn a_file_broken_at_first_is_refused_alone() {
    let mut bench = Bench::new();
    bench.order("a.toml", "a");
    bench.write("b.toml", "id = ");
    let loaded = bench.loader.load();
    assert_eq!((ids(&loaded), loaded.refused_orders, loaded.kept.len()), (vec!["a".to_string()], 1, 0));
    assert_eq!((loaded.names, loaded.problems.len()), (1, 1));
    assert_eq!(loaded.problems[0].line, Some(1));
}

#[test]
fn a_file_broken_later_keeps_its_last_good_version() {
    let mut bench = Bench::new();
    bench.order("a.toml", "a");
    bench.order("b.toml", "b");
    assert_eq!(bench.load().1, NONE);
    bench.write("a.toml", "id = \"a\"\nnope = 1\n");
    for _ in 0..2 {
        let (ids, problems) = bench.load();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(
            problems.last().unwrap(),
            "warning: a.toml: its last good version (order a) stays in force"
        );
        assert!(problems[0].starts_with("error: a.toml:"), "{problems:?}");
    }
    bench.order("a.toml", "a2");
    assert_eq!(bench.load(), (vec!["a2".into(), "b".into()], vec![]));
}

#[test]
fn a_file_removed_takes_its_order_along_and_is_named_once() {
    let mut bench = Bench::new();
    bench.order("a.toml", "a");
    bench.order("b.toml", "b");
    bench.load();
    bench.remove("a.toml");
    let gone = vec!["warning: a.toml: the file is gone: order a is no longer in force".to_string()];
    assert_eq!(bench.load(), (vec!["b".into()], gone));
    assert_eq!(bench.load(), (vec!["b".into()], vec![]));
    // Whoever comes back starts anew: no good version is remembered from before.
    bench.write("a.toml", "broken");
    assert_eq!(bench.load().0, ["b"]);
}

#[test]
fn a_names_file_that_vanishes_breaks_its_order() {
    let mut bench = Bench::new();
    bench.write("a.toml", "id = \"a\"\n[[scope]]\nmatch = \"exact\"\nfile = \"a.txt\"\n");
    bench.write("a.txt", "a.example\nb.example\n");
    assert_eq!(bench.load(), (vec!["a".into()], vec![]));
    bench.remove("a.txt");
    let (ids, problems) = bench.load();
    assert_eq!(ids, ["a"]);
    assert_eq!(problems[0], "error: a.toml:4: cannot read a.txt: no such file");
    let loaded = bench.loader.load();
    assert_eq!((loaded.names, loaded.kept.len()), (2, 1));
    assert!(loaded.files.iter().any(|file| file.ends_with("a.txt")), "a missing file is watched too");
    bench.write("a.txt", "c.example\n");
    assert_eq!(bench.load(), (vec!["a".into()], vec![]));
}

#[test]
fn a_list_emptied_keeps_what_it_held() {
    let mut bench = Bench::new();
    bench.write("a.toml", "id = \"a\"\n[[scope]]\nmatch = \"exact\"\nfile = \"a.txt\"\n");
    bench.write("a.txt", "a.example\n");
    bench.load();
    bench.write("a.txt", "");
    let loaded = bench.loader.load();
    assert_eq!((loaded.names, loaded.refused_orders), (1, 1));
}

#[test]
fn a_path_that_vanishes_keeps_everything() {
    let mut bench = Bench::new();
    bench.order("a.toml", "a");
    bench.load();
    let moved = bench.folder.path().with_extension("moved");
    fs::rename(bench.folder.path(), &moved).unwrap();
    let loaded = bench.loader.load();
    fs::rename(&moved, bench.folder.path()).unwrap();
    assert_eq!(ids(&loaded), ["a"]);
    assert!(loaded.problems[0].is_error() && loaded.problems[0].message.contains("no such file"));
    assert_eq!(bench.load(), (vec!["a".into()], vec![]));
}

#[test]
fn paths_that_are_no_orders() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.txt");
    fs::write(&file, "a.example\n").unwrap();
    let missing = folder.path().join("none");
    let paths = vec![file, missing, folder.path().into()];
    let loaded = Loader::new(Settings { paths, ..Settings::default() }).load();
    let messages: Vec<&str> = loaded.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        ["not an order file", "cannot read it: no such file", "the directory holds no order files (*.toml)"]
    );
    assert_eq!(loaded.zones.len(), 3, "positions stay as configured");
}

#[test]
fn one_id_serves_once() {
    let mut bench = Bench::new();
    bench.order("a.toml", "one");
    bench.order("b.toml", "one");
    let (ids, problems) = bench.load();
    assert_eq!(ids, ["one"]);
    assert!(problems[0].starts_with("error: b.toml: the id one is taken by "), "{problems:?}");
    assert!(problems[0].ends_with("a.toml"), "{problems:?}");
    // With the first gone the second may serve, although it did not change.
    bench.remove("a.toml");
    assert_eq!(bench.load().0, ["one"]);
}

#[test]
fn an_id_in_force_is_not_taken_away_by_an_edit_elsewhere() {
    let mut bench = Bench::new();
    bench.order("a.toml", "a");
    bench.order("b.toml", "b");
    bench.load();
    bench.order("a.toml", "b");
    let (ids, problems) = bench.load();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    // Two files may swap ids in one step.
    bench.order("a.toml", "b");
    bench.order("b.toml", "a");
    assert_eq!(bench.load(), (vec!["b".into(), "a".into()], vec![]));
}

#[test]
fn a_loser_that_falls_back_keeps_its_old_id_from_newcomers() {
    let mut bench = Bench::new();
    bench.order("b.toml", "b");
    bench.order("c.toml", "c");
    bench.load();
    // c wants b, which stays with b; so c keeps serving c, which the new file a may then not take.
    bench.order("c.toml", "b");
    bench.order("a.toml", "c");
    let (ids, problems) = bench.load();
    assert_eq!(ids, ["b", "c"]);
    assert_eq!(problems.iter().filter(|problem| problem.contains("is taken by")).count(), 2, "{problems:?}");
}

#[test]
fn a_path_given_twice_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, order("a")).unwrap();
    let loaded =
        Loader::new(Settings { paths: vec![file, folder.path().into()], ..Settings::default() }).load();
    assert_eq!((loaded.orders, loaded.problems.len(), loaded.problems[0].is_error()), (1, 1, false));
}

#[test]
fn unchanged_files_are_not_read_again_once_settled() {
    let mut bench = Bench::new();
    bench.order("a.toml", "a");
    bench.load();
    let path = bench.folder.path().join("a.toml");
    let first = bench.loader.entries[&path].good.clone().unwrap();
    let entry = bench.loader.entries.get_mut(&path).unwrap();
    assert!(!entry.is_settled(), "a file written just now may change again unseen");
    // As if the file had been written long before it was read.
    entry.files = FilesRead::settled(std::mem::take(&mut entry.files.stamps));
    bench.load();
    assert!(Arc::ptr_eq(&first.held, &bench.loader.entries[&path].good.as_ref().unwrap().held));
    bench.write("a.toml", &(order("a") + "family = \"f\"\n"));
    bench.load();
    assert_eq!(
        bench.loader.entries[&path].good.as_ref().unwrap().held.order.scopes[0].family.as_deref(),
        Some("f")
    );
}

#[test]
fn what_changed_under_a_stamp_that_cannot_show_it_is_seen_by_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        let mut files = FilesRead::default();
        files.read(&path, || files::read_list(&path)).unwrap();
        files
    };
    let mut files = read("a.example\n");
    assert!(!files.is_settled() && files.hold_the_same(SystemTime::now()));
    assert!(!files.is_settled(), "it may change again within the same tick");
    // A file system whose clock ticks coarsely: the other content has the same stamp.
    let before = std::mem::take(&mut files.stamps);
    files.stamps = read("b.example\n").stamps;
    assert!(files.have_their_stamps() && !files.hold_the_same(SystemTime::now()));
    fs::write(&path, "a.example\n").unwrap();
    files.stamps = before;
    assert!(!files.have_their_stamps() && !files.hold_the_same(SystemTime::now()));
    let mut files = read("a.example\n");
    assert!(files.hold_the_same(SystemTime::now() + Duration::from_secs(60)) && files.is_settled());
}

#[test]
fn order_files_that_are_not_utf8_are_told_by_line() {
    let mut bench = Bench::new();
    fs::write(bench.folder.path().join("a.toml"), b"id = \"a\"\ntitle = \"caf\xe9\"\n").unwrap();
    assert_eq!(bench.load().1, ["error: a.toml:2: not UTF-8"]);
}

#[test]
fn protected_names_are_read_and_compared() {
    let mut bench = Bench::new();
    bench.order("a.toml", "www");
    bench.write("safe.list", "example\nb..ad\n");
    bench.loader.settings.protected = vec![
        ProtectedSpec {
            kind: MatchKind::SubtreeBelow,
            names: vec!["Bank.example".into(), "bad..name".into()],
            file: Some(bench.folder.path().join("safe.list")),
            source: "conf:7".into(),
        },
        ProtectedSpec {
            file: Some("/nonexistent/list".into()),
            source: "conf:9".into(),
            ..ProtectedSpec::default()
        },
    ];
    let loaded = bench.loader.load();
    let groups: Vec<Vec<Name>> = loaded.protected.iter().map(|group| group.names.iter().collect()).collect();
    assert_eq!(groups, [vec!["example".parse().unwrap()], vec!["bank.example".parse().unwrap()]]);
    let (_, problems) = bench.load();
    assert_eq!(
        problems,
        [
            "error: safe.list:2: \"b..ad\": a label is empty (two dots in a row, or a leading dot)",
            "error: conf:7: a protected name is refused: \"bad..name\": a label is empty (two dots in a row, or a leading dot)",
            "error: conf:9: cannot read the protected names in /nonexistent/list: no such file",
            "warning: a.toml: protected names are listed and will not be captured: www.example",
        ]
    );
    bench.remove("safe.list");
    assert_eq!(bench.loader.load().protected.len(), 2, "a group that cannot be read stays as it was");
}

#[test]
fn names_of_what_stays_are_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let protected = ProtectedSpec { names: vec!["safe.example".into()], ..ProtectedSpec::default() };
    let settings =
        Settings { paths: vec![folder.path().into()], protected: vec![protected], ..Settings::default() };
    let mut bench = Bench { folder, loader: Loader::new(settings) };
    let many: String = (0..100).map(|number| format!("n{number}.example\n")).collect();
    bench.write("a.toml", "id = \"a\"\n[[scope]]\nmatch = \"subtree\"\nfile = \"a.txt\"\n");
    bench.write("a.txt", &format!("{many}safe.example\n"));
    bench.order("b.toml", "b");
    let before = bench.loader.load();
    let (policy, compiled) = before.compile(1);
    let before = bench.loader.forget_names(compiled);
    let fates = |policy: &Policy| {
        ["n7.example", "x.n7.example", "safe.example", "b.example", "c.example", "d.example"]
            .map(|name| format!("{:?}", policy.verdict(&name.parse::<Name>().unwrap(), 0)).starts_with("Act"))
    };
    assert_eq!(fates(&policy), [true, true, false, true, false, false]);
    // One changes, one comes.
    bench.order("b.toml", "d");
    bench.order("c.toml", "c");
    let scan = bench.loader.look();
    let now = bench.loader.fill_changed(scan, &before).unwrap();
    let zones = &now.difference.zones;
    assert_eq!(now.difference.stays, HashSet::from(["a".to_owned()]));
    let names: Vec<usize> =
        zones[0].orders.iter().map(|listed| listed.names().map(NameList::len).sum()).collect();
    let ids: Vec<&str> = zones[0].orders.iter().map(|listed| listed.order.id.as_str()).collect();
    assert_eq!((names, ids), (vec![0, 1, 1], vec!["a", "d", "c"]));
    let (made, compiled) = now.compile(&policy, 2).unwrap();
    let now = compiled.loaded();
    assert_eq!(now.conflicts, before.conflicts, "what was found about protected names still holds");
    assert_eq!((now.conflicts.len(), now.problems.len()), (1, 1));
    assert_eq!(fates(&made), [true, true, false, false, true, true]);
    // Names that nobody has, and what is protected now: then all are read.
    bench.loader.forget_names(compiled);
    let scan = bench.loader.look();
    assert!(bench.loader.fill_changed(scan, &Loaded::default()).is_err());
    bench.loader.settings.protected[0].names.push("n7.example".into());
    let scan = bench.loader.look();
    let scan = bench.loader.fill_changed(scan, &before).unwrap_err();
    let now = bench.loader.fill(scan, &policy);
    assert_eq!((now.conflicts.len(), now.zones[0].orders[0].names().next().unwrap().len()), (1, 101));
}

/// The folder that is shipped with the program.
fn shipped() -> Filled {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("blocklists");
    Loader::new(Settings { paths: vec![folder], ..Settings::default() }).load()
}

#[test]
fn what_is_shipped_has_no_problems() {
    let loaded = shipped();
    assert_eq!(loaded.problems, []);
    assert_eq!(
        ids(&loaded),
        ["us-nv-2014-cv-00987", "noip-demonstration", "sample-actions", "sample-scopes"]
    );
    // 2026-08-01: long after the real order ended.
    assert_eq!(crate::orders::lint::lint(&loaded, 1_785_542_400), []);
    for listed in loaded.zones.iter().flat_map(|zone| &zone.orders).take(2) {
        assert_eq!(listed.order.zones.len(), 24);
        let names = listed.names().next().unwrap();
        for zone in &listed.order.zones {
            assert_eq!(suffix::covers(zone), Covers::Suffix, "{zone}");
            assert!(names.iter().any(|name| name.is_at_or_below(zone)), "{zone} has no sample");
        }
        for name in names.iter().map(|name| name.to_string()) {
            assert!(
                name.contains("sinkscope-") || name.contains("xn--sinkscope-"),
                "{name} is not marked as a sample"
            );
        }
    }
}

#[test]
fn what_is_shipped_takes_what_it_says() {
    let loaded = shipped();
    let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
    let (in_2014, today) = (1_404_259_200, 1_785_542_400);
    for (name, at, expected) in [
        ("sinkscope-sample-3.ddns.net", today, "noip-demonstration sinkhole"),
        ("x.sinkscope-sample-3.ddns.net", today, ""),
        ("sinkscope-neighbour.ddns.net", today, ""),
        ("ddns.net", today, ""),
        ("sinkscope-lapsed-3.ddns.net", today, ""),
        ("sinkscope-lapsed-3.ddns.net", in_2014, "us-nv-2014-cv-00987 sinkhole"),
        ("exact.sinkscope.example", today, "sample-scopes sinkhole"),
        ("x.exact.sinkscope.example", today, ""),
        ("x.subtree.sinkscope.example", today, "sample-scopes sinkhole"),
        ("below.sinkscope.example", today, ""),
        ("x.below.sinkscope.example", today, "sample-scopes sinkhole"),
        ("zone.example", today, "sample-scopes sinkhole"),
        ("x.zone.example", today, "sample-scopes sinkhole"),
        ("x.www.zone.example", today, ""),
        ("drop.action.example", today, "sample-actions drop"),
        ("tcp-only.action.example", today, "sample-actions tcp-only"),
        ("observe.action.example", today, ""),
        ("passthru.action.example", today, "sample-actions passthru"),
    ] {
        let verdict = policy.verdict(&name.parse().unwrap(), at);
        let shown = verdict.hit().map_or_else(String::new, |hit| format!("{} {}", hit.order.id, hit.action));
        assert_eq!(shown, expected, "{name}");
    }
}

#[test]
fn what_is_being_written_stays_as_it_was() {
    use crate::orders::writers::{STILL, STILL_SHRUNK, Writers};
    use std::time::Duration;
    let names = |count: usize| (0..count).map(|number| format!("n{number}.example\n")).collect::<String>();
    let mut bench = Bench::new();
    let writers = Arc::new(Writers::default());
    bench.loader = bench.loader.heeding(writers.clone());
    writers.begin();
    let path = bench.folder.path().canonicalize().unwrap().join("a.txt");
    bench.write("a.toml", &order("a").replace("names = [\"a.example\"]", "file = \"a.txt\""));
    bench.write("a.txt", &names(1000));
    let load = |bench: &mut Bench| {
        let loaded = bench.loader.load();
        let problems: Vec<String> = loaded.problems.iter().map(|problem| problem.message.clone()).collect();
        (loaded.names, loaded.awaiting, problems)
    };
    let ago = |time: Duration| Instant::now().checked_sub(time).unwrap();
    assert_eq!(load(&mut bench), (1000, false, vec![]));
    // Somebody has it open.
    bench.write("a.txt", &names(10));
    writers.written(&path, Instant::now());
    assert_eq!(load(&mut bench), (1000, true, vec![]));
    // Nobody tells any more whether it is closed; it was at rest for a moment, and lacks most of what it held.
    writers.lost();
    writers.seen(&path, false, ago(STILL), ago(STILL));
    let cut = "gives 10 names where its last good version has 1000: fewer than half".to_owned();
    assert_eq!(load(&mut bench), (1000, true, vec![cut.clone()]));
    // One that lacks less need not wait for so long.
    bench.write("a.txt", &names(600));
    assert_eq!(load(&mut bench), (600, false, vec![]));
    bench.write("a.txt", &names(10));
    assert_eq!(load(&mut bench), (600, true, vec![cut.replace("1000", "600")]));
    // At rest for long it is what somebody wants, and so it is once it is closed.
    writers.seen(&path, false, ago(STILL_SHRUNK), ago(STILL_SHRUNK));
    assert_eq!(load(&mut bench), (10, false, vec![]));
    bench.write("a.txt", &names(1000));
    assert_eq!(load(&mut bench), (1000, false, vec![]));
    bench.write("a.txt", &names(10));
    writers.closed(&path, ago(STILL));
    assert_eq!(load(&mut bench), (10, false, vec![]));
    // A lift in the order's own file waits for nobody who writes its names.
    bench.write("a.txt", &names(1000));
    assert_eq!(load(&mut bench), (1000, false, vec![]));
    bench.write("a.txt", &names(10));
    writers.written(&path, Instant::now());
    bench.write(
        "a.toml",
        &format!("lifted = true\n{}", order("a").replace("names = [\"a.example\"]", "file = \"a.txt\"")),
    );
    assert_eq!(load(&mut bench), (10, false, vec![]));
    writers.closed(&path, ago(STILL));
    // Renamed into its place it is whole, told of or not.
    bench.write("a.txt", &names(1000));
    load(&mut bench);
    writers.tidy(Instant::now() + Duration::from_secs(100));
    bench.write("b.txt", &names(10));
    fs::rename(path.with_file_name("b.txt"), &path).unwrap();
    assert_eq!(load(&mut bench), (10, false, vec![]));
}

#[test]
fn protected_names_that_are_being_written_go_on_protecting() {
    use crate::orders::writers::Writers;
    let mut bench = Bench::new();
    bench.order("a.toml", "a");
    bench.write("innocent.txt", "one.example\ntwo.example\n");
    let path = bench.folder.path().canonicalize().unwrap().join("innocent.txt");
    let spec = ProtectedSpec { file: Some(path.clone()), ..ProtectedSpec::default() };
    let writers = Arc::new(Writers::default());
    bench.loader.settings.protected = vec![spec];
    bench.loader = bench.loader.heeding(writers.clone());
    let protects =
        |bench: &mut Bench| bench.loader.load().protected.first().map_or(0, |group| group.names.len());
    assert_eq!(protects(&mut bench), 2);
    bench.write("innocent.txt", "one.example\n");
    writers.written(&path, Instant::now());
    assert_eq!(protects(&mut bench), 2);
    writers.closed(&path, Instant::now());
    assert_eq!(protects(&mut bench), 1);
}

#[test]
fn what_could_not_be_read_is_read_again_though_no_stamp_changes() {
    let mut bench = Bench::new();
    bench.write("a.toml", &order("a").replace("names = [\"a.example\"]", "file = \"a.txt\""));
    // A link to itself: neither there nor not there, as a file is for whom the system has nothing left.
    let path = bench.folder.path().join("a.txt");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let loaded = bench.loader.load();
    assert_eq!((loaded.orders, loaded.wanting), (0, true));
    assert!(bench.loader.is_unsettled());
    fs::remove_file(&path).unwrap();
    assert!(!bench.loader.load().wanting, "a file that is not there shows when it comes");
    bench.write("a.txt", "a.example\n");
    let loaded = bench.loader.load();
    assert_eq!((loaded.orders, loaded.wanting), (1, false));
}
