//! Who is told of each message to and from upstreams as it is on the wire: the query log, if it is to have them.
//!
//! What is not to be told costs a look at whether there is somebody to tell. Nobody waits: a message that finds no room is dropped there,
//! and counted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::querylog::{Carrier, Forwarded, Taps};

/// Who is told.
#[derive(Clone)]
pub struct Watch {
    taps: Arc<Taps>,
    clock: Arc<dyn Clock>,
}

/// The same of one server, asked in one way.
pub(super) struct Watched {
    by: Watch,
    server: SocketAddr,
    carrier: Carrier,
}

/// One query's way there and back.
pub(super) struct Trail {
    of: Arc<Watched>,
    /// When it went out, in nanoseconds of the clock that only goes forward.
    sent: AtomicU64,
}

impl Watch {
    /// Tells these of what comes and goes; when, says that clock, which is read nowhere but for them.
    pub fn new(taps: Arc<Taps>, clock: Arc<dyn Clock>) -> Watch {
        Watch { taps, clock }
    }

    /// The same of one server.
    pub(super) fn of(&self, server: SocketAddr, carrier: Carrier) -> Arc<Watched> {
        Arc::new(Watched { by: self.clone(), server, carrier })
    }
}

impl Trail {
    /// Of a query that has yet to go out.
    pub(super) fn new(of: &Arc<Watched>) -> Trail {
        Trail { of: Arc::clone(of), sent: AtomicU64::new(0) }
    }

    /// The query goes out.
    pub(super) fn goes_out(&self, query: &[u8]) {
        let now = self.of.by.clock.mono();
        self.sent.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.tell(now, None, query);
    }

    /// A reply to it comes.
    pub(super) fn comes_back(&self, reply: &[u8]) {
        let sent = Duration::from_nanos(self.sent.load(Ordering::Relaxed));
        self.tell(sent, Some(self.of.by.clock.mono()), reply);
    }

    /// Tells of a message.
    fn tell(&self, sent: Duration, heard: Option<Duration>, message: &[u8]) {
        let Watched { by, server, carrier } = &*self.of;
        by.taps.note_forwarded(&Forwarded { server: *server, carrier: *carrier, sent, heard, message });
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {:?}, watched", self.server, self.carrier)
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::clock::SystemClock;
    use crate::dns::testing::question;
    use crate::iana::Rtype;
    use crate::querylog::Choice;
    use crate::upstream::channel::Channel;
    use crate::upstream::message::{Manner, Query};
    use crate::upstream::stream::Connection;

    #[tokio::test]
    async fn what_is_told_is_what_is_on_the_wire() {
        let taps = Arc::new(Taps::new(Choice::default(), 1 << 20, 1));
        let watch = Watch::new(Arc::clone(&taps), Arc::new(SystemClock::new()));
        let watched = watch.of("192.0.2.1:853".parse().unwrap(), Carrier::Tls);
        let (ours, mut theirs) = duplex(1 << 16);
        let connection = Connection::new(ours);
        let query = || Query::new(&question("www.example.com", Rtype::A), Manner::USUAL);
        let server = async {
            let mut wire = Vec::new();
            // One that is watched, and one that is not.
            for _ in 0..2 {
                let length = theirs.read_u16().await.unwrap();
                let mut message = vec![0; usize::from(length)];
                theirs.read_exact(&mut message).await.unwrap();
                wire.push(message.clone());
                message[2] |= 0x80;
                theirs.write_u16(length).await.unwrap();
                theirs.write_all(&message).await.unwrap();
                wire.push(message);
            }
            wire
        };
        let asking = async {
            connection.ask(query().watched(Some(&watched))).await.unwrap();
            connection.ask(query().watched(None)).await.unwrap();
        };
        let (wire, ()) = tokio::join!(server, asking);
        let mut octets = Vec::new();
        assert_eq!(taps.take(&mut octets, 1 << 20), 2);
        let (asked, behind) = Forwarded::read(&octets).unwrap();
        let (told, _) = Forwarded::read(behind).unwrap();
        assert_eq!((asked.message, told.message), (&wire[0][..], &wire[1][..]));
        assert_eq!((asked.carrier, asked.server.port(), asked.heard), (Carrier::Tls, 853, None));
        assert_eq!((told.sent, told.heard >= Some(told.sent)), (asked.sent, true));
    }
}
