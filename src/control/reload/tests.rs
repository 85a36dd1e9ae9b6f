//! Reloads of files in a folder, and what they put in force.

use super::*;
use crate::clock::SystemClock;
use crate::control::reloading::{Running, run};
use crate::control::watch::Watch;
use crate::policy::Verdict;
use crate::resolver::Generation;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// An order with these names, and more lines.
fn order(id: &str, names: &str, more: &str) -> String {
    format!(
        "id = '{id}'\ntitle = 'T'\nkind = 'operator'\n{more}\n[[scope]]\nmatch = 'exact'\nnames = [{names}]\n"
    )
}

fn settings(dir: &Path) -> orders::Settings {
    orders::Settings { paths: vec![dir.to_path_buf()], ..orders::Settings::default() }
}

fn captured(policy: &Current, name: &str) -> bool {
    matches!(policy.policy().verdict(&name.parse().unwrap(), 1_000_000), Verdict::Act(..))
}

#[test]
fn each_change_is_said_and_takes_effect() {
    let dir = tempfile::tempdir().unwrap();
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(dir.path()), policy.clone());
    let file = dir.path().join("a.toml");
    let lifted = "lifted = true";
    // What the file holds (none: it is removed), what is said, whether x.example.com is captured then.
    let steps: [(Option<String>, &[&str], bool); 8] = [
        (Some(order("a", "'x.example.com'", "")), &["order a added: 1 name"], true),
        (Some(order("a", "'x.example.com'", "")), &[], true),
        (Some(order("a", "'x.example.com', 'y.example.com'", "")), &["order a changed: 1 -> 2 names"], true),
        (Some("id = ".into()), &[], true),
        (Some(order("a", "'x.example.com'", lifted)), &["order a, lifted: 1 name no longer held"], false),
        (Some(order("a", "'x.example.com'", "")), &["order a changed: 1 -> 1 name"], true),
        (
            Some(order("b", "'y.example.com'", "")),
            &["order b added: 1 name", "order a removed: 1 name"],
            false,
        ),
        (None, &["order b removed: 1 name"], false),
    ];
    for (step, (text, said, expected)) in steps.into_iter().enumerate() {
        match &text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let report = reloader.reload(1_000_000);
        assert_eq!(report.changes, said, "step {step}: {text:?} {:?}", report.problems);
        assert_eq!(captured(&policy, "x.example.com"), expected, "step {step}: {text:?}");
    }
}

#[test]
fn a_configuration_that_breaks_off_half_way_leaves_the_one_before() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(old.path().join("a.toml"), order("a", "'a.example.com'", "")).unwrap();
    fs::write(new.path().join("b.toml"), order("b", "'b.example.com'", "")).unwrap();
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(old.path()), policy.clone());
    reloader.reload(1_000_000);
    let by = |settle| Next { orders: settings(new.path()), blast: None, settle };
    let broken = catch_unwind(AssertUnwindSafe(|| {
        reloader.reload_as(Some(by(Box::new(|_| panic!("half way")))), 1_000_000)
    }));
    assert!(broken.is_err());
    assert!(captured(&policy, "a.example.com") && !captured(&policy, "b.example.com"));
    // Orders of the one before are read where they were, and its changes come into force.
    fs::write(old.path().join("a.toml"), order("a", "'a.example.com', 'c.example.com'", "")).unwrap();
    reloader.reload(1_000_000);
    let at = |name: &str| captured(&policy, name);
    assert_eq!((at("a.example.com"), at("b.example.com"), at("c.example.com")), (true, false, true));
    // The same configuration once more, whole.
    let report = reloader.reload_as(Some(by(Box::new(Generation::clone))), 1_000_000);
    assert!(report.settled);
    let at = |name: &str| captured(&policy, name);
    assert_eq!((at("a.example.com"), at("b.example.com"), at("c.example.com")), (false, true, false));
}

#[test]
fn what_has_ended_is_let_go_before_the_rest_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(dir.path()), policy.clone());
    for id in ["a", "b", "c"] {
        let text = order(id, &format!("'{id}.example.com'"), "");
        fs::write(dir.path().join(format!("{id}.toml")), text).unwrap();
    }
    reloader.reload(1_000_000);
    let old = policy.policy();
    fs::write(dir.path().join("a.toml"), order("a", "'a.example.com'", "lifted = true")).unwrap();
    fs::remove_file(dir.path().join("b.toml")).unwrap();
    // What a reload does first.
    let scan = reloader.loader.look();
    reloader.let_go(&scan, false, 1_000_000);
    let others = || ["a", "b", "c"].map(|id| captured(&policy, &format!("{id}.example.com")));
    assert!(policy.policy().is_compiled_with(&old), "nothing was compiled");
    assert_eq!(others(), [false, false, true]);
    assert!(reloader.reload(1_000_000).swapped && !policy.policy().is_compiled_with(&old));
    assert_eq!(others(), [false, false, true]);
    assert!(reloader.active.seen().suspended.is_empty());
    // A reload that comes no further, and files that are as they were before it.
    let text = order("c", "'c.example.com'", "");
    fs::write(dir.path().join("c.toml"), order("c", "'c.example.com'", "lifted = true")).unwrap();
    let scan = reloader.loader.look();
    reloader.let_go(&scan, false, 1_000_000);
    assert_eq!(others(), [false, false, false]);
    fs::write(dir.path().join("c.toml"), text).unwrap();
    assert!(!reloader.reload(1_000_000).swapped, "there is nothing new");
    assert_eq!(others(), [false, false, true]);
}

#[test]
fn a_policy_that_would_lack_an_order_is_not_put_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(dir.path()), policy.clone());
    for id in ["a", "b"] {
        let text = order(id, &format!("'{id}.example.com'"), "");
        fs::write(dir.path().join(format!("{id}.toml")), text).unwrap();
    }
    reloader.reload(1_000_000);
    // The file no longer gives the names of a, and (which never is) the policy in force does not either.
    fs::write(dir.path().join("a.toml"), "id = ").unwrap();
    fs::write(dir.path().join("b.toml"), order("b", "'c.example.com'", "")).unwrap();
    let good = reloader.active.base();
    reloader.active.put(Arc::new(Policy::empty()), Vec::new());
    let report = reloader.reload(1_000_000);
    assert!(!report.swapped, "{report:?}");
    assert!(report.problems.iter().any(|problem| problem.message.ends_with("a are lost")), "{report:?}");
    // Once they are found again, it goes on.
    reloader.active.put(good, Vec::new());
    assert!(reloader.reload(1_000_000).swapped);
    assert!(captured(&policy, "a.example.com") && captured(&policy, "c.example.com"));
}

#[test]
fn nothing_changed_swaps_nothing_and_problems_are_said_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.toml"), "id = ").unwrap();
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(dir.path()), policy.clone());
    let first = reloader.reload(0);
    assert!(first.swapped && !first.problems.is_empty());
    let epoch = policy.policy().epoch();
    let second = reloader.reload(0);
    assert!(!second.swapped && second.problems.is_empty() && !second.mended, "{second:?}");
    assert_eq!(policy.policy().epoch(), epoch);
    fs::write(dir.path().join("bad.toml"), order("a", "'x.example.com'", "")).unwrap();
    let third = reloader.reload(0);
    assert!(third.swapped && third.mended, "{third:?}");
    assert_ne!(policy.policy().epoch(), epoch);
}

/// Runs a reloader without a watcher, in real time.
fn run_unwatched(reloader: Reloader) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (request, requests) = mpsc::channel(1);
    let running = Running {
        reloader,
        watching: None,
        looks: true,
        clock: Arc::new(SystemClock::new()),
        health: Arc::default(),
        writers: Arc::default(),
        configuration: None,
        reloads: Arc::default(),
    };
    (request, tokio::spawn(run(running, requests)))
}

/// Waits until a name is captured, or is not.
async fn until(policy: &Current, name: &str, is: bool) {
    let holds = async {
        while captured(policy, name) != is {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), holds).await.unwrap();
}

#[tokio::test]
async fn what_no_watcher_tells_of_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    fs::write(&file, order("a", "'x.example.com'", "")).unwrap();
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(dir.path()), policy.clone());
    reloader.reload(0);
    // Between the load and the first look.
    fs::write(&file, order("a", "'x.example.com', 'y.example.com'", "")).unwrap();
    let (_request, _task) = run_unwatched(reloader);
    until(&policy, "y.example.com", true).await;
    fs::write(dir.path().join("new"), order("a", "'x.example.com'", "lifted = true")).unwrap();
    fs::rename(dir.path().join("new"), &file).unwrap();
    until(&policy, "x.example.com", false).await;
    fs::write(dir.path().join("b.toml"), order("b", "'b.example.com'", "")).unwrap();
    until(&policy, "b.example.com", true).await;
}

#[tokio::test]
async fn a_reload_that_breaks_off_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    fs::write(&file, order("a", "'x.example.com'", "")).unwrap();
    let policy = Current::of(Policy::empty());
    let times = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let told = {
        let times = times.clone();
        move |_: &Loaded| {
            let time = times.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert!(time == 0 || time > 3, "by a fault");
        }
    };
    let mut reloader = Reloader::new(settings(dir.path()), policy.clone()).on_loaded(Some(Box::new(told)));
    reloader.reload(0);
    let (request, task) = run_unwatched(reloader);
    request.send(()).await.unwrap();
    fs::write(&file, order("a", "'x.example.com'", "lifted = true")).unwrap();
    until(&policy, "x.example.com", false).await;
    fs::write(&file, order("a", "'x.example.com'", "")).unwrap();
    until(&policy, "x.example.com", true).await;
    while times.load(std::sync::atomic::Ordering::SeqCst) < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(request);
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn saved_files_and_requests_reload() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    fs::write(&file, order("a", "'x.example.com'", "")).unwrap();
    let policy = Current::of(Policy::empty());
    let mut reloader = Reloader::new(settings(dir.path()), policy.clone());
    reloader.reload(0);
    let (mut watch, hints) = Watch::new(Arc::default(), Arc::default()).unwrap();
    watch.cover(&reloader.loaded().files);
    let (request, requests) = mpsc::channel(1);
    let running = Running {
        reloader,
        watching: Some((watch, hints)),
        looks: true,
        clock: Arc::new(SystemClock::new()),
        health: Arc::default(),
        writers: Arc::default(),
        configuration: None,
        reloads: Arc::default(),
    };
    let task = tokio::spawn(run(running, requests));

    fs::write(&file, order("a", "'x.example.com'", "lifted = true")).unwrap();
    let lifted = async {
        while captured(&policy, "x.example.com") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), lifted).await.unwrap();

    // Without a change on request nothing is swapped, and it ends when nobody can ask any more.
    request.send(()).await.unwrap();
    drop(request);
    tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
    assert!(!captured(&policy, "x.example.com"));
}
