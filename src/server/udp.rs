//! Queries by datagram.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Shared;
use crate::dns::Transport;
use crate::resolver::{Client, Respond, Step};

/// Octets in the largest datagram.
const MAX_DATAGRAM_LEN: usize = 65_535;
/// Datagrams taken in one go before other tasks have their turn.
const BATCH: usize = 64;
/// The pause after an error of the socket that may last, so that a broken one does not eat a core.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves one socket until told to stop, and then until its queries that wait are answered.
///
/// On a wildcard address the system chooses the source of a reply; where several addresses lead here, listen on each.
pub(super) async fn serve<R: Respond>(
    socket: UdpSocket,
    shared: Arc<Shared<R>>,
    mut stop: watch::Receiver<bool>,
) {
    let socket = Arc::new(socket);
    let mut waiting = JoinSet::new();
    let mut packet = vec![0; MAX_DATAGRAM_LEN];
    let mut out = Vec::new();
    loop {
        tokio::select! {
            biased;
            // An error means that the server is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => break,
            _ = socket.readable() => {}
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut packet) {
                Ok((len, from)) => {
                    shared.counters.udp_received.fetch_add(1, Ordering::Relaxed);
                    let packet = packet.get(..len).unwrap_or_default();
                    answer(&socket, &shared, packet, from, &mut out, &mut waiting).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    receive_error(&shared, &error).await;
                    break;
                }
            }
        }
        shared.reap(&mut waiting);
    }
    while waiting.join_next().await.is_some() {}
}

/// Answers one datagram, or has it wait.
pub(super) async fn answer<R: Respond>(
    socket: &Arc<UdpSocket>,
    shared: &Arc<Shared<R>>,
    packet: &[u8],
    from: SocketAddr,
    out: &mut Vec<u8>,
    waiting: &mut JoinSet<()>,
) {
    if from.port() == 0 {
        // Nobody listens there: such a source is forged.
        shared.counters.dropped_source.fetch_add(1, Ordering::Relaxed);
        return;
    }
    match shared.now(packet, Client { addr: from, transport: Transport::Udp }, out) {
        Step::Silence => {}
        Step::Reply => send(socket, shared, out, from).await,
        Step::Later(pending) => {
            let Ok(place) = Arc::clone(&shared.udp_pending).try_acquire_owned() else {
                shared.counters.dropped_overload.fetch_add(1, Ordering::Relaxed);
                return;
            };
            let (socket, shared) = (Arc::clone(socket), Arc::clone(shared));
            waiting.spawn(async move {
                let mut out = Vec::new();
                if shared.respond.later(pending, &mut out).await {
                    send(&socket, &shared, &out, from).await;
                }
                drop(place);
            });
        }
    }
}

/// Sends a reply; one that cannot be sent is counted and gone, as any datagram may be.
async fn send<R: Respond>(socket: &UdpSocket, shared: &Shared<R>, reply: &[u8], to: SocketAddr) {
    let counter = match socket.send_to(reply, to).await {
        Ok(_) => &shared.counters.udp_sent,
        Err(_) => &shared.counters.send_errors,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Takes note of an error that receiving brought.
async fn receive_error<R: Respond>(shared: &Shared<R>, error: &io::Error) {
    // What ICMP says about a reply sent earlier arrives here on some systems; it concerns one client and is over.
    if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) {
        return;
    }
    shared.counters.receive_errors.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(PAUSE).await;
}
