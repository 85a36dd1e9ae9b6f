//! Whether the network is still the one in which servers were found to be down.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// How often the way to servers became another one. What is believed of a server was found out under one of these numbers, and is
/// forgotten under the next: whoever looks later finds it all the same, so nobody needs to be told.
#[derive(Debug, Default)]
pub struct Network {
    changes: AtomicU64,
    /// Told to questions under way, each time that links or addresses changed.
    moves: watch::Sender<()>,
}

impl Network {
    /// It is another one: what was believed of servers no longer holds, and what is under way may be lost.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.moves.send_replace(());
    }

    /// Where a question under way hears of it.
    pub(super) fn moves(&self) -> watch::Receiver<()> {
        self.moves.subscribe()
    }

    /// How often it became another one.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Somebody answered when all had been down since it was that one. Of many who hear that at once, one changes it. Questions under
    /// way are not told: whoever has just come back is not to be asked all of them at once.
    pub(super) fn came_back(&self, since: u64) {
        let _ = self.changes.compare_exchange(since, since + 1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The address that a server would be asked from; none where no way leads to it. Nothing is sent.
pub(super) fn way_to(server: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_hear_that_it_is_back_one_changes_it() {
        let network = Network::default();
        network.changed();
        for (since, expected) in [(1, 2), (1, 2), (2, 3), (7, 3)] {
            network.came_back(since);
            assert_eq!(network.changes(), expected);
        }
    }

    #[test]
    fn ways_are_known_without_asking() {
        assert_eq!(way_to("127.0.0.1:53".parse().unwrap()), Some(Ipv4Addr::LOCALHOST.into()));
        // To the broadcast address no socket is connected that has not asked for that.
        assert_eq!(way_to("255.255.255.255:53".parse().unwrap()), None);
    }
}
