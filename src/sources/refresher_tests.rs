//! When sources are refreshed, and what others hear of it.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::testing::{Hand, Hosts, Reply, START, Server, list, ok, reply};
use super::*;

/// Settings with a state folder, and no host known.
fn settings(state: &Path) -> Settings {
    Settings::new(Some(state.to_path_buf()), Arc::new(Hosts("")), Hand::new())
}

/// What `work` gives while the refresher runs.
async fn while_running<T>(refresher: &Refresher, work: impl Future<Output = T>) -> T {
    tokio::select! {
        () = refresher.run() => unreachable!("it runs for ever"),
        result = timeout(Duration::from_secs(60), work) => result.expect("an end"),
    }
}

/// A refresher of one file, the hand that moves its clock, and who hears of changes.
struct Bench {
    refresher: Refresher,
    hand: Arc<Hand>,
    hints: mpsc::Receiver<()>,
}

impl Bench {
    /// Looks at a file every 1000 seconds.
    fn new(file: &Path, state: &Path) -> Bench {
        let mut source = Source::new("local", Location::Path(file.to_path_buf()));
        source.refresh = Duration::from_secs(1000);
        let hand = Hand::new();
        let settings = Settings { clock: hand.clone(), ..settings(state) };
        let (refresher, hints) = Refresher::new(vec![source], settings).unwrap();
        Bench { refresher, hand, hints }
    }

    /// How the file stands.
    fn status(&self) -> SourceStatus {
        self.refresher.status().remove(0)
    }

    /// Moves the clock to a second before the next look, and on; then waits for the look. The seconds that were moved.
    async fn next_look(&self) -> u64 {
        let (due, now) = (self.status().due_at.unwrap(), START + i64::try_from(self.hand.seconds()).unwrap());
        let wait = u64::try_from(due - now).unwrap();
        self.hand.advance(wait.saturating_sub(1));
        self.refresher.wake();
        // However often it runs now, it is not yet due.
        for _ in 0..20 {
            yield_now().await;
        }
        assert_eq!(self.status().due_at, Some(due));
        self.hand.advance(2);
        self.refresher.wake();
        while self.status().due_at == Some(due) {
            yield_now().await;
        }
        wait
    }
}

#[tokio::test]
async fn files_are_looked_at_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    let mut bench = Bench::new(&file, &dir.path().join("state"));
    assert_eq!(bench.refresher.path("local"), Some(file.clone()));
    assert_eq!(bench.status().state, SourceState::Never);
    let refresher = bench.refresher.clone();
    while_running(&refresher, async move {
        // It is not there, which is found at once, and looked at again sooner than it would be.
        while bench.status().failures == 0 {
            yield_now().await;
        }
        let waited = bench.next_look().await;
        assert!((269..=330).contains(&waited), "{waited}");
        let status = bench.status();
        assert_eq!((status.failures, status.state), (2, SourceState::Never));
        assert!(status.last_error.unwrap().message.contains("no such file"));

        fs::write(&file, "0.0.0.0 a.example\n").unwrap();
        bench.next_look().await;
        assert_eq!(bench.hints.recv().await, Some(()));
        let found = bench.status();
        assert_eq!((found.state, found.octets, found.failures), (SourceState::Fresh, 18, 0));
        assert_eq!(found.changed_at, Some(START + i64::try_from(bench.hand.seconds()).unwrap()));
        bench.refresher.loaded("local", 1, 2);
        bench.refresher.loaded("nobody", 3, 4);
        assert_eq!((bench.status().entries, bench.status().refused), (1, 2));

        // Looked at and the same: no hint, but a new time of checking.
        let waited = bench.next_look().await;
        assert!((899..=1100).contains(&waited), "{waited}");
        let checked = bench.status();
        assert_eq!(checked.changed_at, found.changed_at);
        assert!(checked.checked_at > found.checked_at);
        assert!(bench.hints.try_recv().is_err());

        fs::write(&file, "0.0.0.0 a.example\n0.0.0.0 b.example\n").unwrap();
        bench.next_look().await;
        assert_eq!(bench.hints.recv().await, Some(()));
        // What the loader said was about what was there before.
        assert_eq!((bench.status().octets, bench.status().refused), (36, 0));
        // Gone: what was loaded from it serves on.
        fs::remove_file(&file).unwrap();
        bench.next_look().await;
        assert_eq!(bench.status().state, SourceState::Failing);
        assert!(bench.hints.try_recv().is_err());
    })
    .await;
}

#[test]
fn a_source_nobody_refreshes_grows_stale() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    fs::write(&file, "0.0.0.0 a.example\n").unwrap();
    let bench = Bench::new(&file, dir.path());
    for (seconds, state) in [(0, SourceState::Fresh), (1200, SourceState::Fresh), (1, SourceState::Stale)] {
        bench.hand.advance(seconds);
        assert_eq!(bench.status().state, state, "{seconds}");
    }
    assert_eq!(bench.status().age_s, Some(1201));
}

#[tokio::test]
async fn downloads_that_are_due_come_a_few_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let sources = (0..9).map(|number| {
        let path = format!("/{number}");
        server.script(&path, [Reply::Held(reply("HTTP/1.1 200 OK", list(9).as_bytes()))]);
        Source::new(format!("list-{number}"), server.url(&path).parse().unwrap())
    });
    let (refresher, mut hints) = Refresher::new(sources.collect(), settings(dir.path())).unwrap();
    while_running(&refresher, async {
        server.until_asked(4).await;
        server.release();
        while refresher.status().iter().any(|status| status.state != SourceState::Fresh) {
            hints.recv().await.unwrap();
        }
    })
    .await;
    assert_eq!((server.asked().len(), server.most_open()), (9, 4));
    for number in 0..9 {
        let path = refresher.path(&format!("list-{number}")).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), list(9));
    }
    assert_eq!(refresher.path("list-9"), None);
}

#[tokio::test]
async fn it_ends_in_the_middle_of_a_download_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/list", [Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf".to_vec())]);
    let source = Source::new("x", server.url("/list").parse().unwrap());
    let (refresher, mut hints) = Refresher::new(vec![source], settings(dir.path())).unwrap();
    let begun = || fs::read_dir(dir.path().join("lists")).unwrap().next().is_some();
    while_running(&refresher, async {
        while !begun() {
            yield_now().await;
        }
    })
    .await;
    // What was under way is told to end, and does so when it next gets its turn.
    while begun() {
        yield_now().await;
    }
    assert!(hints.try_recv().is_err());
    assert_eq!(refresher.status()[0].state, SourceState::Never);
}

#[tokio::test]
async fn one_or_all_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.script("/a", [ok(list(9))]);
    fs::write(dir.path().join("b"), "b.example").unwrap();
    let sources = vec![
        Source::new("adverts", server.url("/a").parse().unwrap()),
        Source::new("own", Location::Path(dir.path().join("b"))),
    ];
    let (refresher, _hints) = Refresher::new(sources, settings(dir.path())).unwrap();
    let error = refresher.refresh(Some("advert"), &RefreshOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no source called \"advert\"; did you mean \"adverts\"?");
    let shown = |refreshed: Vec<Refreshed>| {
        refreshed.iter().map(|one| format!("{} {:?}", one.name, one.outcome)).collect::<Vec<_>>()
    };
    let one = refresher.refresh(Some("adverts"), &RefreshOptions::default()).await.unwrap();
    assert_eq!(shown(one), ["adverts Changed"]);
    let all = refresher.refresh(None, &RefreshOptions::default()).await.unwrap();
    assert_eq!(shown(all), ["adverts Unchanged", "own Unchanged"]);
    let options = RefreshOptions::default();
    let both = tokio::join!(
        refresher.refresh(Some("adverts"), &options),
        refresher.refresh(Some("adverts"), &options)
    );
    assert_eq!(
        [shown(both.0.unwrap()), shown(both.1.unwrap())],
        [["adverts Unchanged"], ["adverts Unchanged"]]
    );
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = |name: &str| Source::new(name, "https://lists.example/".parse().unwrap());
    let mut often = source("often");
    often.refresh = Duration::from_secs(1);
    for (sources, part) in [
        (vec![source("a"), source("b"), source("A")], "two sources are called A and a"),
        (vec![source("a/b")], "cannot be a source's name"),
        (vec![often], "source often: it would be refreshed more often"),
        ((0..1001).map(|number| source(&number.to_string())).collect(), "more than 1000"),
    ] {
        let error = Refresher::new(sources, settings(dir.path())).err().unwrap();
        assert!(error.message().contains(part), "{error}");
    }
    // No folder can be made where a file is.
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Refresher::new(Vec::new(), settings(&dir.path().join("file"))).err().unwrap();
    assert!(matches!(error, SourceError::Disk { work: DiskWork::OpenFolder, .. }), "{error}");
    assert!(Refresher::new(Vec::new(), settings(dir.path())).is_ok());
}
