//! One task that hears what comes to many sockets.
//!
//! A task a socket takes a turn of the scheduler for each datagram, and a system call to learn that no other one is there. Here sockets
//! have a queue of events of their own, of which the runtime knows as of one descriptor: in one turn whatever is ready is heard.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// Descriptors that a listener takes beside those it listens to: its queue of events, by two names.
pub const LISTENER_DESCRIPTORS: usize = 2;
/// Sockets that are heard in one turn; others are heard in the next.
const TURN: usize = 256;
/// When it looks though nothing is due.
const FAR: Duration = Duration::from_secs(86400);

/// What is listened to.
pub(super) trait Listens: Send + Sync + 'static {
    /// Octets that it hears at once.
    const MAX_LEN: usize;

    /// The socket's descriptor.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Takes in what has come to it, by way of that many octets; whether there may be more.
    fn hear(&self, buffer: &mut [u8]) -> bool;

    /// Does what is due by now, and says when something will be.
    fn look(self: &Arc<Self>, now: Instant) -> Option<Instant>;

    /// Nobody listens any more.
    fn gone(&self);
}

/// Listens to sockets while there are any.
pub(super) struct Listener<L> {
    shared: Arc<Shared<L>>,
}

/// What a listener's task knows.
struct Shared<L> {
    heard: Mutex<Heard<L>>,
    /// What `looks` counts from.
    start: Instant,
    /// When to look what is due, in microseconds since the start.
    looks: AtomicU64,
    /// Told when the task has something to look at: nothing is listened to any more, or something is due sooner than it knows.
    changed: Notify,
}

/// What is listened to, by places.
struct Heard<L> {
    /// Where it is registered, while a task listens.
    registry: Option<Registry>,
    places: Vec<Option<Arc<L>>>,
    /// The places that are free.
    free: Vec<usize>,
}

impl<L> fmt::Debug for Listener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a listener")
    }
}

impl<L> Default for Listener<L> {
    fn default() -> Listener<L> {
        let shared = Shared {
            heard: Mutex::new(Heard { registry: None, places: Vec::new(), free: Vec::new() }),
            start: Instant::now(),
            looks: AtomicU64::new(u64::MAX),
            changed: Notify::new(),
        };
        Listener { shared: Arc::new(shared) }
    }
}

impl<L: Listens> Listener<L> {
    /// Listens to what `make` makes of its place, until that is [removed](Self::remove). Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub(super) fn add(&self, make: impl FnOnce(usize) -> Arc<L>) -> io::Result<Arc<L>> {
        let mut heard = lock(&self.shared.heard);
        if heard.registry.is_none() {
            let poll = Poll::new()?;
            let registry = poll.registry().try_clone()?;
            let poll = followed(poll)?;
            tokio::spawn(listen(Listening { shared: Arc::clone(&self.shared), over: false }, poll));
            heard.registry = Some(registry);
        }
        let place = heard.free.pop().unwrap_or(heard.places.len());
        let listens = make(place);
        let descriptor = listens.descriptor().as_raw_fd();
        // The call cannot fail for want of a registry.
        let registered = heard.registry.as_ref().map_or(Ok(()), |registry| {
            registry.register(&mut SourceFd(&descriptor), Token(place), Interest::READABLE)
        });
        if place == heard.places.len() {
            heard.places.push(None);
        }
        match registered {
            Ok(()) => {
                heard.places[place] = Some(Arc::clone(&listens));
                Ok(listens)
            }
            Err(error) => {
                heard.free.push(place);
                self.shared.changed.notify_one();
                Err(error)
            }
        }
    }

    /// Does not listen any more to this, if it still has its place.
    pub(super) fn remove(&self, place: usize, this: &L) {
        let mut heard = lock(&self.shared.heard);
        let has_it = |there: &mut Arc<L>| std::ptr::eq(Arc::as_ptr(there), this);
        let gone = heard.places.get_mut(place).and_then(|there| there.take_if(has_it));
        if gone.is_none() {
            return;
        }
        if let Some(registry) = &heard.registry {
            // Should that fail, closing it does the same.
            let _ = registry.deregister(&mut SourceFd(&this.descriptor().as_raw_fd()));
        }
        heard.free.push(place);
        if heard.is_empty() {
            self.shared.changed.notify_one();
        }
    }

    /// Looks at that time what is due, or before.
    pub(super) fn look_at(&self, time: Instant) {
        self.shared.look_at(time);
    }
}

impl<L> Heard<L> {
    /// Whether nothing is listened to.
    fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }
}

impl<L> Shared<L> {
    /// Looks at that time what is due, or before.
    fn look_at(&self, time: Instant) {
        let time = time.saturating_duration_since(self.start).as_micros();
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        // Rounded down, it might come before what is due.
        let time = time.saturating_add(1);
        if time < self.looks.load(Ordering::Relaxed) && self.looks.fetch_min(time, Ordering::Relaxed) > time {
            self.changed.notify_one();
        }
    }
}

impl<L: Listens> Shared<L> {
    /// Hears what is ready, those of the last turn first that have more; gives those that still have.
    fn hear(&self, mut places: Vec<usize>, events: &Events, buffer: &mut [u8]) -> Vec<usize> {
        places.extend(events.iter().map(|event| event.token().0));
        places.retain(|place| {
            // What hears may put itself out, so the lock is not held.
            let there = lock(&self.heard).places.get(*place).and_then(Clone::clone);
            there.is_some_and(|there| there.hear(buffer))
        });
        places
    }

    /// Does what is due.
    fn look(&self) {
        self.looks.store(u64::MAX, Ordering::Relaxed);
        let all: Vec<_> = lock(&self.heard).places.iter().flatten().cloned().collect();
        let now = Instant::now();
        if let Some(next) = all.iter().filter_map(|there| there.look(now)).min() {
            self.look_at(next);
        }
    }
}

/// Whoever listens. Should it end before it is over, all that it listened to goes with it.
struct Listening<L: Listens> {
    shared: Arc<Shared<L>>,
    over: bool,
}

impl<L: Listens> Drop for Listening<L> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut heard = lock(&self.shared.heard);
        heard.registry = None;
        heard.free.clear();
        let left: Vec<_> = std::mem::take(&mut heard.places).into_iter().flatten().collect();
        drop(heard);
        left.iter().for_each(|left| left.gone());
    }
}

impl<L: Listens> Listening<L> {
    /// Whether nothing is left to listen to; then whoever has something next begins anew.
    fn is_over(&mut self) -> bool {
        let mut heard = lock(&self.shared.heard);
        if heard.is_empty() {
            heard.registry = None;
            self.over = true;
        }
        self.over
    }
}

/// A queue of events that the runtime tells of.
#[expect(
    deprecated,
    reason = "the call that replaces it is unsafe, for it relies on a descriptor that stays the same: mio's does"
)]
fn followed(poll: Poll) -> io::Result<AsyncFd<Poll>> {
    AsyncFd::with_interest(poll, tokio::io::Interest::READABLE)
}

/// Listens until there is nothing to listen to.
async fn listen<L: Listens>(mut listening: Listening<L>, mut poll: AsyncFd<Poll>) {
    let shared = Arc::clone(&listening.shared);
    let (mut events, mut buffer) = (Events::with_capacity(TURN), vec![0; L::MAX_LEN]);
    let mut more = Vec::new();
    let (mut look, mut looks) = (pin!(sleep(FAR)), None);
    while !listening.is_over() {
        tokio::select! {
            ready = poll.readable_mut() => {
                let Ok(mut ready) = ready else { return };
                events.clear();
                match ready.get_inner_mut().poll(&mut events, Some(Duration::ZERO)) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
                // Were there more, they would be told in the next turn; what comes from here on makes it ready once more.
                if events.iter().count() < TURN {
                    ready.clear_ready();
                }
                more = shared.hear(more, &events, &mut buffer);
            }
            () = yield_now(), if !more.is_empty() => {
                events.clear();
                more = shared.hear(more, &events, &mut buffer);
            }
            () = shared.changed.notified() => {}
            () = &mut look => {
                looks = None;
                shared.look();
            }
        }
        let earliest = shared.looks.load(Ordering::Relaxed);
        if looks.replace(earliest) != Some(earliest) {
            let far = Instant::now() + FAR;
            look.as_mut().reset(far.min(shared.start + Duration::from_micros(earliest)));
        }
    }
}

/// What a lock holds; whoever panicked with it left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A socket that counts what comes, and takes so many at a time.
    struct Counts {
        socket: UnixDatagram,
        place: usize,
        at_a_time: usize,
        heard: AtomicUsize,
        turns: AtomicUsize,
        /// Tells when it is looked at, or gone.
        told: std::sync::mpsc::Sender<Option<Instant>>,
    }

    impl Listens for Counts {
        const MAX_LEN: usize = 1;

        fn descriptor(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }

        fn hear(&self, buffer: &mut [u8]) -> bool {
            self.turns.fetch_add(1, Ordering::Relaxed);
            for _ in 0..self.at_a_time {
                if self.socket.recv(buffer).is_err() {
                    return false;
                }
                self.heard.fetch_add(1, Ordering::Relaxed);
            }
            true
        }

        fn look(self: &Arc<Counts>, now: Instant) -> Option<Instant> {
            self.told.send(Some(now)).unwrap();
            None
        }

        fn gone(&self) {
            self.told.send(None).unwrap();
        }
    }

    /// Something that is listened to, and who says something to it, and hears what it tells.
    fn counts(
        listener: &Listener<Counts>,
        at_a_time: usize,
    ) -> (Arc<Counts>, UnixDatagram, std::sync::mpsc::Receiver<Option<Instant>>) {
        let (socket, says) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let (told, tells) = std::sync::mpsc::channel();
        let make = |place| {
            let [heard, turns] = [const { AtomicUsize::new(0) }; 2];
            Arc::new(Counts { socket, place, at_a_time, heard, turns, told })
        };
        (listener.add(make).unwrap(), says, tells)
    }

    /// Gives way until that is so.
    async fn until(what: impl Fn() -> bool) {
        while !what() {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn whatever_is_ready_is_heard_and_nobody_waits_for_one_who_has_much() {
        let listener = Listener::default();
        let all: Vec<_> = (0..2 * TURN + 3).map(|_| counts(&listener, 2)).collect();
        let (much, _) = (&all[7].0, (0..9).for_each(|_| drop(all[7].1.send(b"x"))));
        for (_, says, _) in &all {
            says.send(b"x").unwrap();
        }
        until(|| all.iter().all(|(counts, ..)| counts.heard.load(Ordering::Relaxed) > 0)).await;
        until(|| much.heard.load(Ordering::Relaxed) == 10).await;
        assert!(much.turns.load(Ordering::Relaxed) >= 5);
        // What has nothing more is left alone.
        let turns = |index: usize| all[index].0.turns.load(Ordering::Relaxed);
        let before = turns(0);
        all[1].1.send(b"x").unwrap();
        until(|| all[1].0.heard.load(Ordering::Relaxed) == 2).await;
        assert_eq!(turns(0), before);
    }

    #[tokio::test]
    async fn what_is_removed_is_heard_no_more_and_its_place_is_anothers() {
        let listener = Listener::default();
        let (first, says, _tells) = counts(&listener, 9);
        let (other, other_says, _others) = counts(&listener, 9);
        listener.remove(first.place, &first);
        // That is no new one's end, though it has the place.
        let (second, second_says, _seconds) = counts(&listener, 9);
        assert_eq!(second.place, first.place);
        listener.remove(first.place, &first);
        for says in [&says, &other_says, &second_says] {
            says.send(b"x").unwrap();
        }
        until(|| [&other, &second].iter().all(|counts| counts.heard.load(Ordering::Relaxed) == 1)).await;
        assert_eq!(first.heard.load(Ordering::Relaxed), 0);
        // Where nothing is left the task ends, and begins anew.
        listener.remove(other.place, &other);
        listener.remove(second.place, &second);
        until(|| lock(&listener.shared.heard).registry.is_none()).await;
        let (third, says, _tells) = counts(&listener, 9);
        says.send(b"x").unwrap();
        until(|| third.heard.load(Ordering::Relaxed) == 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_looked_at_in_time_and_once() {
        let listener = Listener::default();
        let (_counts, _says, tells) = counts(&listener, 1);
        let start = Instant::now();
        for ms in [50, 20, 90] {
            listener.look_at(start + Duration::from_millis(ms));
        }
        sleep(Duration::from_secs(1)).await;
        // The next look is what the first one says there is to look at: here nothing.
        let looked: Vec<_> = tells.try_iter().flatten().collect();
        assert_eq!(looked.len(), 1);
        assert!((20..=22).contains(&(looked[0] - start).as_millis()), "{looked:?}");
        // Days later, too.
        sleep(3 * FAR).await;
        listener.look_at(Instant::now() + Duration::from_millis(5));
        sleep(Duration::from_millis(10)).await;
        assert_eq!(tells.try_iter().flatten().count() - 3, 1, "and one each day");
    }

    #[test]
    fn with_the_runtime_all_is_gone() {
        let listener = Listener::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_counts, _says, tells) = runtime.block_on(async { counts(&listener, 1) });
        drop(runtime);
        assert_eq!(tells.try_recv(), Ok(None));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (counts, says, _tells) = counts(&listener, 1);
            says.send(b"x").unwrap();
            until(|| counts.heard.load(Ordering::Relaxed) == 1).await;
        });
    }
}
