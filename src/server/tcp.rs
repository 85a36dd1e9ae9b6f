//! TCP: connections are taken in, and each is served as a stream.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Shared;
use super::counters::count;
use super::stream;
use crate::serve::{Client, Respond};
use crate::transport::Transport;

/// The pause after an error of accepting: it mostly means that file descriptors ran out, and those take time to come back.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until told to stop, and then waits for those it has.
pub(super) async fn serve<R: Respond>(
    listener: TcpListener,
    shared: Arc<Shared<R>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the server is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        shared.reap(&mut open);
        match accepted {
            // Who is not served would hold a place for nothing: no answer of theirs needs one.
            Ok((_, from)) if !shared.respond.serves(from.ip()) => count(&shared.counters.tcp_denied),
            Ok((stream, from)) => match shared.connections.admit(from.ip()) {
                Some((place, closed, evicted)) => {
                    count(&shared.counters.tcp_accepted);
                    if evicted {
                        count(&shared.counters.tcp_evicted);
                    }
                    let ends = (stop.clone(), closed);
                    let client = Client { addr: from, transport: Transport::Tcp };
                    // A reply is one write and must not wait for the client's acknowledgement of the last.
                    let _ = stream.set_nodelay(true);
                    open.spawn(stream::serve(stream.into_split(), client, place, Arc::clone(&shared), ends));
                }
                None => count(&shared.counters.tcp_refused),
            },
            Err(error) if is_of_one_client(&error) => {}
            Err(_) => {
                count(&shared.counters.receive_errors);
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Whether accepting failed because the client was gone already.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
