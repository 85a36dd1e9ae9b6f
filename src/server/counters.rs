//! What listeners did, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters once: as atomics, and as the plain numbers that readers get.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// What listeners did so far; they only grow.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }

        /// A reading of [`Counters`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Reads them all, one after the other.
            pub fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }

        impl Counts {
            /// Names, what is counted, and values, for metrics.
            pub fn named(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii_start(), self.$name),)+]
            }
        }
    };
}

counters! {
    /// Datagrams received.
    udp_received,
    /// Replies sent by datagram.
    udp_sent,
    /// Queries answered by what had expired, or by stream with a failure, because too many wait for an upstream.
    answered_overload,
    /// Datagrams dropped because too many queries wait for an upstream.
    dropped_overload,
    /// Queries without a place to wait: all are taken, and no client has more than theirs.
    pending_full,
    /// Queries without a place to wait: their client has as many as one may have.
    client_full,
    /// Queries that lost their place to a client who had fewer.
    gave_way,
    /// Datagrams dropped because the same one waits already.
    dropped_twice,
    /// Replies by datagram kept back: they came late, and many of their client's queries waited.
    dropped_late,
    /// Errors that senders of malformed packets were not told because others waited to be answered.
    untold_busy,
    /// Datagrams dropped because nobody can be answered at their source: port 0.
    dropped_source,
    /// Datagrams the system dropped because no worker took them in time.
    dropped_by_system,
    /// Errors of receiving or accepting; each is followed by a short pause.
    receive_errors,
    /// Replies that could not be sent.
    send_errors,
    /// TCP connections taken.
    tcp_accepted,
    /// TCP connections closed at once because there are too many, in all or of that client, and none is idle.
    tcp_refused,
    /// TCP connections closed at once because their client is not served.
    tcp_denied,
    /// TCP connections closed because they were idle longest when another needed a place.
    tcp_evicted,
    /// TCP connections closed because nothing came.
    tcp_idle_closed,
    /// TCP connections closed because a message did not come whole in time, or had length zero.
    tcp_bad_closed,
    /// TCP connections closed because their client did not read.
    tcp_slow_closed,
    /// Messages received by TCP.
    tcp_received,
    /// Replies sent by TCP.
    tcp_sent,
    /// Packets that made the resolver panic: a defect.
    panics,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_has_every_counter() {
        let counters = Counters::default();
        counters.udp_received.fetch_add(3, Ordering::Relaxed);
        let counts = counters.read();
        assert_eq!(counts, Counts { udp_received: 3, ..Counts::default() });
        assert_eq!(counts.named()[0], ("udp_received", "Datagrams received.", 3));
        assert_eq!(counts.named().len(), size_of::<Counts>() / size_of::<u64>());
    }
}
