//! Lists' part of the daemon: who fetches them, and how each is.

use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use crate::clock::Clock;
use crate::config::Orders;
use crate::control::api;
use crate::control::api::types::ListStatus;
use crate::orders::lists::{self, ListSpec};
use crate::orders::open::ListFile;
use crate::orders::{ListFileResult, Loaded};
use crate::resolver::Current;
use crate::sources::{
    Bootstrap, Digest, Limits, Location, RefreshOptions, Refresher, Settings, Source, SourceState,
    SourceStatus,
};
use crate::system;
use crate::time::UnixSeconds;

/// The lists that are configured now, which another configuration may replace.
pub(super) struct Lists {
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    /// Those that serve; none if none are configured.
    serving: ArcSwapOption<Feeds>,
    /// Those that are to be run next, until somebody does.
    next: Mutex<Option<Running>>,
    /// Told when there is a next, or none any more.
    replaced: Notify,
}

/// Lists to be run, and what tells that one has changed.
pub(super) type Running = (Feeds, mpsc::Receiver<()>);

impl Lists {
    /// None yet.
    pub(super) fn new(current: Arc<Current>, clock: Arc<dyn Clock>) -> Lists {
        let (serving, next) = (ArcSwapOption::empty(), Mutex::default());
        Lists { current, clock, serving, next, replaced: Notify::new() }
    }

    /// Prepares for the lists of `orders`, whose paths are filled in; those that serve go on meanwhile.
    ///
    /// # Errors
    /// When a list cannot be fetched by what is said of it, or its copies cannot be kept.
    pub(super) fn prepare(&self, orders: &mut Orders) -> io::Result<Option<Running>> {
        Feeds::open(orders, &self.current, &self.clock, self.serving.load().as_deref())
    }

    /// Fills in the paths of lists that are those that serve.
    pub(super) fn fill(&self, orders: &mut Orders) {
        if let Some(feeds) = &*self.serving.load() {
            feeds.fill(orders);
        }
    }

    /// Puts these in the place of those that serve.
    pub(super) fn replace(&self, next: Option<Running>) {
        self.serving.store(next.as_ref().map(|(feeds, _)| Arc::new(feeds.clone())));
        // What is to be run is whole whatever happened to who held it.
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.replaced.notify_one();
    }

    /// Takes note of what the loader made of each list.
    pub(super) fn loaded(&self, loaded: &Loaded) {
        if let Some(feeds) = &*self.serving.load() {
            feeds.loaded(loaded);
        }
    }

    /// Fetches what is due, and has the orders reloaded when something has changed, for ever.
    pub(super) async fn run(self: Arc<Self>, reload: mpsc::Sender<()>) {
        let (mut running, mut served): (Option<Running>, bool) = (None, false);
        loop {
            let work = async {
                match running.take() {
                    Some((feeds, changes)) => feeds.run(changes, reload.clone()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.replaced.notified() => {}
                () = work => {}
            }
            // Whoever was replaced may have had something to tell: a copy taken since the orders were read.
            if served {
                let _ = reload.try_send(());
            }
            running = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
            served = running.is_some();
        }
    }
}

impl api::Lists for Lists {
    fn lists(&self, at: UnixSeconds) -> Vec<ListStatus> {
        self.serving.load().as_deref().map(|feeds| feeds.lists(at)).unwrap_or_default()
    }

    fn refresh(&self, name: Option<&str>, allow_shrink: bool) -> Result<Vec<String>, String> {
        match &*self.serving.load() {
            Some(feeds) => feeds.refresh(name, allow_shrink),
            None => Err("no lists are configured".to_owned()),
        }
    }
}

/// The configured lists: fetched on time, read by the loader, told of over the API.
#[derive(Clone)]
pub(super) struct Feeds {
    refresher: Refresher,
    /// Names of those that are fetched on demand right now.
    refreshing: Arc<Mutex<HashSet<String>>>,
    /// How each list was read, by its name.
    read_as: Arc<Mutex<HashMap<String, String>>>,
    runtime: Handle,
}

impl Feeds {
    /// Prepares for the lists of `orders`, whose paths are filled in; none if there are none. Asks nobody yet: what earlier
    /// runs fetched serves at once, and so does what `before` did.
    ///
    /// # Errors
    /// When a list cannot be fetched by what is said of it, or its copies cannot be kept.
    fn open(
        orders: &mut Orders,
        current: &Arc<Current>,
        clock: &Arc<dyn Clock>,
        before: Option<&Feeds>,
    ) -> io::Result<Option<Running>> {
        let specs = &orders.settings.lists;
        if specs.is_empty() {
            return Ok(None);
        }
        let sources =
            specs.iter().map(source).collect::<Result<Vec<Source>, String>>().map_err(io::Error::other)?;
        // The servers that queries go to find the hosts of lists, too: the system's resolver may be this program.
        let lookup = Arc::new(Bootstrap::new(Arc::clone(current)));
        let mut settings = Settings::new(orders.state.clone(), lookup, Arc::clone(clock));
        let known: HashMap<String, ListSpec> =
            specs.iter().map(|spec| (spec.name.clone(), spec.clone())).collect();
        settings.accept = Arc::new(move |name, octets| match known.get(name) {
            Some(spec) => aside(|| usable(spec, octets)),
            None => Err("there is no such list".to_owned()),
        });
        let opened = match before {
            Some(feeds) => feeds.refresher.renewed(sources, settings),
            None => Refresher::new(sources, settings),
        };
        let (refresher, changes) = opened.map_err(|error| io::Error::other(error.to_string()))?;
        let feeds = Feeds {
            refresher,
            refreshing: Arc::default(),
            read_as: Arc::default(),
            runtime: Handle::current(),
        };
        feeds.fill(orders);
        Ok(Some((feeds, changes)))
    }

    /// Fills in where the copies of fetched lists are.
    fn fill(&self, orders: &mut Orders) {
        for spec in orders.settings.lists.iter_mut().filter(|spec| spec.fetch.is_some()) {
            spec.path = self.refresher.path(&spec.name).unwrap_or_default();
        }
    }

    /// Fetches what is due, and has the orders reloaded when something has changed, for ever.
    async fn run(self, mut changes: mpsc::Receiver<()>, reload: mpsc::Sender<()>) {
        let passing_on = async {
            while changes.recv().await.is_some() {
                // A full channel holds a request that has not begun yet: it will see this change, too.
                let _ = reload.try_send(());
            }
        };
        tokio::join!(self.refresher.run(), passing_on);
    }

    /// Takes note of what the loader made of each list.
    fn loaded(&self, loaded: &Loaded) {
        for list in &loaded.lists {
            let entries = list.files.iter().map(|file| file.entries as u64).sum();
            let refused = list.files.iter().map(|file| file.refused_lines as u64).sum();
            self.refresher.loaded(&list.name, entries, refused);
            let mut ways: Vec<String> = list.files.iter().map(ListFileResult::read_as).collect();
            ways.sort();
            ways.dedup();
            ways.retain(|way| !way.is_empty());
            let read_as = ways.join("; ");
            let before = self.read_as().insert(list.name.clone(), read_as.clone());
            if before.as_ref() != Some(&read_as) && !read_as.is_empty() {
                tracing::info!("list {} is read as {read_as}", list.name);
            }
        }
    }

    /// How each list was read.
    fn read_as(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        // A map of texts is whole whatever happened to who held it.
        self.read_as.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names being fetched on demand.
    fn refreshing(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A set of names is whole whatever happened to who held it.
        self.refreshing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feeds {
    /// How each is.
    fn lists(&self, at: UnixSeconds) -> Vec<ListStatus> {
        let refreshing = self.refreshing().clone();
        let read_as = self.read_as().clone();
        let shown = |status: SourceStatus| {
            let read_as = read_as.get(&status.name).cloned().unwrap_or_default();
            ListStatus { read_as, ..shown(status, &refreshing, at) }
        };
        self.refresher.status().into_iter().map(shown).collect()
    }

    /// Has one fetched now, or all.
    ///
    /// # Errors
    /// There is none of that name.
    fn refresh(&self, name: Option<&str>, allow_shrink: bool) -> Result<Vec<String>, String> {
        let known: Vec<String> = self.refresher.status().into_iter().map(|status| status.name).collect();
        let wanted: Vec<String> = match name {
            None => known,
            Some(name) if known.iter().any(|known| known == name) => vec![name.to_owned()],
            Some(name) => {
                let near = crate::keys::nearest(name, known.iter().map(String::as_str));
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return Err(format!("there is no list {name}{near}"));
            }
        };
        for name in &wanted {
            if !self.refreshing().insert(name.clone()) {
                continue;
            }
            let (feeds, name) = (self.clone(), name.clone());
            self.runtime.spawn(async move {
                let options = RefreshOptions { allow_shrink, ..RefreshOptions::default() };
                // What came of it stands in the list's status.
                let _ = feeds.refresher.refresh(Some(&name), &options).await;
                feeds.refreshing().remove(&name);
            });
        }
        Ok(wanted)
    }
}

/// A list as a source to be fetched or looked at.
fn source(spec: &ListSpec) -> Result<Source, String> {
    let Some(fetch) = &spec.fetch else {
        return Ok(Source::new(&spec.name, Location::Path(spec.path.clone())));
    };
    let wrong = |what: &dyn std::fmt::Display| format!("{}: list {}: {what}", spec.source, spec.name);
    let url = fetch.url.parse().map_err(|error| wrong(&error))?;
    let minisign =
        fetch.minisign_key.as_deref().map(str::parse).transpose().map_err(|error| wrong(&error))?;
    Ok(Source {
        refresh: fetch.refresh,
        limits: Limits { max_octets: fetch.max_octets, ..Limits::default() },
        sha256: fetch.sha256.map(Digest),
        minisign,
        min_entries: spec.min_entries as u64,
        max_shrink_percent: if spec.allow_shrink { 100 } else { 50 },
        addresses: fetch.bootstrap.clone(),
        ..Source::new(&spec.name, Location::Url(url))
    })
}

/// Looks at a list on a thread that gives way: a long one takes seconds, and threads that wait for work take up other work.
fn aside(look: impl FnOnce() -> Result<usize, String> + Send) -> Result<usize, String> {
    thread::scope(|scope| {
        let looking = thread::Builder::new().name("list".into()).spawn_scoped(scope, || {
            system::give_way();
            look()
        });
        let looking = looking.map_err(|error| format!("there is no thread to look at it: {error}"))?;
        // A fault is told by whoever asked for this.
        looking.join().unwrap_or_else(|fault| resume_unwind(fault))
    })
}

/// How many entries of a list can be used; why not, if none.
///
/// The loader reads the list again once that has taken its place: handing over what is read here would keep its names in memory
/// until then, to save a quarter of a second on a thread that gives way. So they are counted, and not even collected.
fn usable(spec: &ListSpec, octets: &[u8]) -> Result<usize, String> {
    // What an RPZ includes would have to be fetched as well.
    let mut open = |name: &str| ListFile {
        shown: name.to_owned(),
        content: Err((
            "a list that is fetched includes nothing".to_owned(),
            "have it served in one piece".to_owned(),
        )),
    };
    lists::count(octets, spec, &mut open).map_err(|problem| problem.message)
}

/// A source as the API tells of it.
fn shown(status: SourceStatus, refreshing: &HashSet<String>, at: UnixSeconds) -> ListStatus {
    ListStatus {
        refreshing: refreshing.contains(&status.name),
        state: match status.state {
            SourceState::Failing => "failed".to_owned(),
            state => state.word().to_owned(),
        },
        source: status.location,
        read_as: String::new(),
        checked: status.checked_at,
        age_s: status.age_s,
        next_s: status.due_at.map(|due| u64::try_from(due.saturating_sub(at)).unwrap_or(0)),
        entries: status.entries,
        refused: status.refused,
        last_error: status.last_error.map_or_else(String::new, |failure| match failure.hint.is_empty() {
            true => failure.message,
            false => format!("{} ({})", failure.message, failure.hint),
        }),
        name: status.name,
    }
}
