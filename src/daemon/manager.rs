//! What the service manager is told, by systemd's protocol (sd_notify(3)): that we serve, reload or end, and that we are alive. Where no
//! manager listens, nothing is said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use crate::control::client::reachable;
use crate::control::reloads::Reloads;

/// How often a sign of life is given within the time that the manager waits for one: sd_watchdog_enabled(3) recommends twice; with
/// four, three may be missed.
const BEATS: u32 = 4;
/// How often it is looked whether a reload is over.
const LOOK: Duration = Duration::from_millis(50);
/// How long a reload may take before the manager is told that we serve, whatever it does: less than systemd waits by default (90 s).
const RELOAD_LIMIT: Duration = Duration::from_secs(80);
/// A query for what is always answered, `localhost.` (RFC 6761 §6.3): ID 0x5357, RD, one question of type A and class IN.
const QUERY: &[u8] = b"\x53\x57\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";

/// Tells that we serve; `status` is for people.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that we end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("answering what is under way")]);
}

/// Tells that we reload, and that we serve once a reload has ended after this. (One that had begun before may be the first to end; the one
/// that was asked for follows it at once.)
pub(super) fn reloading(reloads: &Arc<Reloads>) {
    // systemd.service(5), Type=notify-reload: RELOADING=1 goes with the time, by which it knows that this is the answer to its signal.
    let Ok(now) = NotifyState::monotonic_usec_now() else { return };
    tell(&[NotifyState::Reloading, now]);
    let (reloads, before) = (Arc::clone(reloads), count(reloads));
    tokio::spawn(async move {
        let over = async {
            while count(&reloads) == before {
                sleep(LOOK).await;
            }
        };
        let _ = timeout(RELOAD_LIMIT, over).await;
        tell(&[NotifyState::Ready]);
    });
}

/// How often the manager wants a sign of life; none if it does not.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// Gives signs of life for as long as queries are read: `received` counts them, and while nobody asks, we do, at `addr`. (What comes to
/// nothing in a flood is no sign of death as long as others are read.)
pub(super) async fn live(limit: Duration, addr: Option<SocketAddr>, received: impl Fn() -> u64) {
    let beat = limit / BEATS;
    let mut before = None;
    loop {
        let now = received();
        let reads = before.replace(now).is_some_and(|before| before != now);
        let alive = match addr {
            Some(addr) if !reads => matches!(timeout(beat, answers(reachable(addr))).await, Ok(Ok(()))),
            _ => true,
        };
        if alive {
            tell(&[NotifyState::Watchdog]);
        }
        sleep(beat).await;
    }
}

/// Asks a listener, and waits for whatever it says.
async fn answers(addr: SocketAddr) -> std::io::Result<()> {
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(addr).await?;
    socket.send(QUERY).await?;
    socket.recv(&mut [0; 512]).await.map(|_| ())
}

/// Reloads that have ended.
fn count(reloads: &Reloads) -> u64 {
    reloads.counts().map(|(_, count)| count).sum()
}

/// Says it to the manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told how we are: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_answers_is_alive() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        let serve = async {
            let mut query = [0; 512];
            let (len, client) = server.recv_from(&mut query).await.unwrap();
            assert_eq!(&query[..len], QUERY);
            server.send_to(&query[..len], client).await.unwrap();
        };
        let (answered, ()) = tokio::join!(answers(addr), serve);
        answered.unwrap();
    }
}
