//! Who is connected by stream, within bounds.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::access::client_of;

/// The shortest idle time, however few places are left: a query that follows at once still finds its connection.
const MIN_IDLE: Duration = Duration::from_millis(200);

/// Who is connected, within bounds. Connections with nothing under way are kept by how long that is so: whoever comes when
/// all places are taken has the place of the one that is idle longest.
#[derive(Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
}

/// All connections.
#[derive(Debug, Default)]
struct Open {
    /// How many there may be.
    limit: usize,
    /// How many of one client.
    limit_per_client: usize,
    connections: HashMap<Id, Connection>,
    clients: HashMap<IpAddr, Theirs>,
    /// Those with nothing under way, the longest so first.
    idle: BTreeMap<Turn, Id>,
    /// The next connection's.
    next_id: Id,
    /// The turn of whichever falls idle next.
    next_turn: Turn,
}

/// Names a connection; no two have the same.
type Id = u64;
/// Grows with every connection that falls idle.
type Turn = u64;

/// One client's connections.
#[derive(Debug, Default)]
struct Theirs {
    count: usize,
    /// Those with nothing under way, the longest so first.
    idle: BTreeMap<Turn, Id>,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    client: IpAddr,
    /// Queries that are not answered yet.
    under_way: usize,
    /// Its place among the idle, if it is.
    turn: Option<Turn>,
    /// Told when its place was given to another.
    close: oneshot::Sender<()>,
}

/// A connection's place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    id: Id,
}

/// What came of asking for a place: whether another connection had to go for it, and what tells when this one has to.
pub(super) type Admitted = (Place, oneshot::Receiver<()>, bool);

/// A query under way on a connection, which so long is not idle.
pub(super) struct UnderWay {
    open: Arc<Mutex<Open>>,
    id: Id,
    /// Its place among those of the connection.
    _place: OwnedSemaphorePermit,
}

impl Connections {
    /// Room for `limit` connections, `limit_per_client` of them from one client.
    pub(super) fn new((limit, limit_per_client): (usize, usize)) -> Connections {
        let open = Open { limit, limit_per_client, ..Open::default() };
        Connections { open: Arc::new(Mutex::new(open)) }
    }

    /// Sets other bounds, as in [`Connections::new`], for whoever comes from now on.
    pub(super) fn bound(&self, (limit, limit_per_client): (usize, usize)) {
        let mut open = lock(&self.open);
        (open.limit, open.limit_per_client) = (limit, limit_per_client);
    }

    /// Who is connected, and how many may be.
    pub(super) fn taken(&self) -> (usize, usize) {
        let open = lock(&self.open);
        (open.connections.len(), open.limit)
    }

    /// A place for a connection from `ip`, if there is one or one can be made: of the client's own if it has all it may have,
    /// of anybody's if all are taken.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Admitted> {
        let client = client_of(ip);
        let mut open = lock(&self.open);
        let theirs = open.clients.get(&client);
        let idlest = match theirs {
            Some(theirs) if theirs.count >= open.limit_per_client => Some(&theirs.idle),
            _ if open.connections.len() >= open.limit => Some(&open.idle),
            _ => None,
        };
        let gone = match idlest {
            Some(idle) => Some(*idle.first_key_value()?.1),
            None => None,
        };
        if let Some(connection) = gone.and_then(|gone| open.remove(gone)) {
            // It may have ended at this moment.
            let _ = connection.close.send(());
        }
        let (close, closed) = oneshot::channel();
        let id = open.add(client, close);
        Some((Place { open: Arc::clone(&self.open), id }, closed, gone.is_some()))
    }

    /// How long a connection that falls idle now may be so: `full` while half of the places are free, then the less the
    /// fewer are. RFC 7766 §6.2.3: "Servers MAY use zero timeouts when they are experiencing heavy load or are under attack."
    pub(super) fn idle_time(&self, full: Duration) -> Duration {
        let (taken, limit) = {
            let open = lock(&self.open);
            (open.connections.len(), open.limit)
        };
        let share = (2.0 * limit.saturating_sub(taken) as f64 / limit.max(1) as f64).min(1.0);
        full.mul_f64(share).max(MIN_IDLE.min(full))
    }
}

impl Place {
    /// Notes a query that came.
    pub(super) fn begin(&self, place: OwnedSemaphorePermit) -> UnderWay {
        lock(&self.open).begin(self.id);
        UnderWay { open: Arc::clone(&self.open), id: self.id, _place: place }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.open).end(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.open).remove(self.id);
    }
}

impl Open {
    /// Notes a connection, which is idle until its first query is there.
    fn add(&mut self, client: IpAddr, close: oneshot::Sender<()>) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        self.clients.entry(client).or_default().count += 1;
        self.connections.insert(id, Connection { client, under_way: 0, turn: None, close });
        self.rest(id);
        id
    }

    /// Forgets a connection, if it is there.
    fn remove(&mut self, id: Id) -> Option<Connection> {
        self.wake(id);
        let connection = self.connections.remove(&id)?;
        if let Some(theirs) = self.clients.get_mut(&connection.client) {
            theirs.count -= 1;
            if theirs.count == 0 {
                self.clients.remove(&connection.client);
            }
        }
        Some(connection)
    }

    /// One more query is under way.
    fn begin(&mut self, id: Id) {
        self.wake(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.under_way += 1;
        }
    }

    /// One query is answered.
    fn end(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.under_way -= 1;
            if connection.under_way == 0 {
                self.rest(id);
            }
        }
    }

    /// A connection has nothing under way from now on.
    fn rest(&mut self, id: Id) {
        let turn = self.next_turn;
        self.next_turn += 1;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.turn = Some(turn);
        self.idle.insert(turn, id);
        if let Some(theirs) = self.clients.get_mut(&connection.client) {
            theirs.idle.insert(turn, id);
        }
    }

    /// A connection is not idle, if it was.
    fn wake(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(turn) = connection.turn.take() else { return };
        self.idle.remove(&turn);
        if let Some(theirs) = self.clients.get_mut(&connection.client) {
            theirs.idle.remove(&turn);
        }
    }
}

/// The connections; whoever panicked with them left them whole.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
