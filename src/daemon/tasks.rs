//! The tasks beside answering, each watched: one that breaks off is started again, or ends the process.
//!
//! A task that is gone and missed by nobody is the worst of ends: queries go on, and no order is lifted any more.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;

use crate::control::health::{About, Health};

/// Before a task that broke off is started again. Tests, whose tasks break off on purpose, need not wait for it.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// Tasks that run until this is dropped.
pub(super) struct Tasks {
    running: JoinSet<()>,
    /// What each does, in a word.
    names: HashMap<Id, &'static str>,
    /// Who is told.
    health: Arc<Health>,
}

impl Tasks {
    /// None yet.
    pub(super) fn new(health: Arc<Health>) -> Tasks {
        Tasks { running: JoinSet::new(), names: HashMap::new(), health }
    }

    /// Runs one that nothing can stand in for: if it breaks off, [`Tasks::broken`] says so.
    pub(super) fn vital(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Runs one that is made anew if it breaks off: what it knew is lost, and nothing hangs on it.
    pub(super) fn kept<F, T>(&mut self, name: &'static str, make: F)
    where
        F: Fn() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let health = Arc::clone(&self.health);
        self.vital(name, async move {
            // Dropped with this, it ends.
            let mut task = JoinSet::new();
            task.spawn(make());
            while let Some(Err(_)) = task.join_next().await {
                told_of(&health, name, "by a fault of this program").await;
                task.spawn(make());
            }
        });
    }

    /// Waits until a task has broken off that nothing can stand in for; its name. Those that came to their end are well.
    pub(super) async fn broken(&mut self) -> &'static str {
        loop {
            match self.running.join_next_with_id().await {
                None => return std::future::pending().await,
                Some(Ok((id, ()))) => drop(self.names.remove(&id)),
                Some(Err(error)) => return self.names.remove(&error.id()).unwrap_or_default(),
            }
        }
    }
}

/// Does something on a thread of its own, and again whenever that ends, by an error or a fault: it is to go on until this is
/// dropped.
pub(super) async fn on_a_thread(
    health: &Health,
    name: &'static str,
    work: impl Fn() -> io::Result<()> + Send + Sync + 'static,
) {
    let work = Arc::new(work);
    loop {
        let (say, said) = oneshot::channel();
        let work = Arc::clone(&work);
        let begun = thread::Builder::new().name(name.into()).spawn(move || {
            // Nobody hears it if this was to end.
            let _ = say.send(work());
        });
        let why = match begun {
            Ok(_) => match said.await {
                Ok(Ok(())) => "of itself".to_owned(),
                Ok(Err(error)) => format!("({error})"),
                // What was to be said was dropped with the thread.
                Err(_) => "by a fault of this program".to_owned(),
            },
            Err(error) => format!("({error})"),
        };
        told_of(health, name, &why).await;
    }
}

/// Says that a task broke off, and waits before it is started again.
async fn told_of(health: &Health, name: &str, why: &str) {
    health.say(About::Tasks, None);
    let what = format!("the task \"{name}\" broke off {why}");
    health.say(About::Tasks, Some(&what));
    tracing::error!("{what}: it is started again");
    sleep(PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::timeout;

    #[tokio::test]
    async fn what_breaks_off_is_started_again_or_told_of() {
        let health = Arc::new(Health::default());
        let mut tasks = Tasks::new(Arc::clone(&health));
        tasks.vital("short", async {});
        let begun = Arc::new(AtomicUsize::new(0));
        let (told, again) = tokio::sync::oneshot::channel();
        let told = std::sync::Mutex::new(Some(told));
        tasks.kept("calendar", {
            let (begun, told) = (Arc::clone(&begun), Arc::new(told));
            move || {
                let (begun, told) = (Arc::clone(&begun), Arc::clone(&told));
                async move {
                    assert_ne!(begun.fetch_add(1, Ordering::SeqCst), 0, "the first time it breaks off");
                    let _ = told.lock().unwrap().take().map(|told| told.send(()));
                    std::future::pending::<()>().await;
                }
            }
        });
        tokio::select! {
            name = tasks.broken() => panic!("{name}"),
            again = timeout(Duration::from_secs(20), again) => again.unwrap().unwrap(),
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert_eq!(health.wrong(), ["tasks: the task \"calendar\" broke off by a fault of this program"]);
        tasks.vital("reload", async { panic!("by a fault") });
        assert_eq!(timeout(Duration::from_secs(20), tasks.broken()).await, Ok("reload"));
    }

    #[tokio::test]
    async fn what_ends_on_its_thread_begins_again_whatever_ended_it() {
        let health = Health::default();
        let (told, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let begun = AtomicUsize::new(0);
        let work = move || {
            let _ = told.send(());
            match begun.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("by a fault"),
                1 => Err(io::Error::other("no descriptor is left")),
                _ => Ok(()),
            }
        };
        let four_times = async {
            for _ in 0..4 {
                begins.recv().await.unwrap();
            }
        };
        tokio::select! {
            () = on_a_thread(&health, "control", work) => panic!("it goes on"),
            () = four_times => {}
        }
        assert_eq!(health.wrong(), ["tasks: the task \"control\" broke off of itself"]);
    }
}
