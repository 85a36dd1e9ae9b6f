//! Listening for the API's clients: a socket that its owner alone may open, or a TCP address; few connections, none for long.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::control::address::Address;
use crate::spares;

/// Connections at one time: commands, a dashboard or two, a collector of metrics.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and a connection idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one connection may last: whoever needs more makes another.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Octets held of a request that is not taken yet; also the longest head.
const BUFFER: usize = 64 << 10;
/// Connections that wait to be taken.
const BACKLOG: i32 = 64;
/// After an error of accepting, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection, as far as the system tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of that user, by a Unix socket.
    Unix(Option<u32>),
    /// Somebody by TCP.
    Tcp,
}

/// A listener that has its address.
#[derive(Debug)]
pub enum Bound {
    /// A Unix socket, to be removed in the end.
    Unix(UnixListener, Removed),
    /// A TCP listener.
    Tcp(TcpListener),
}

/// A socket's file, removed when this is dropped.
#[derive(Debug)]
pub struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Somebody removed it before: so be it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes an address. A socket that a killed server left behind is replaced.
///
/// # Errors
/// When it cannot be had.
pub fn bind(address: &Address) -> io::Result<Bound> {
    match address {
        Address::Unix(path) => bind_unix(path),
        Address::Tcp(addr) => {
            let listener = TcpListener::bind(addr)?;
            listener.set_nonblocking(true)?;
            Ok(Bound::Tcp(listener))
        }
    }
}

/// Takes a socket's path for its owner alone.
fn bind_unix(path: &Path) -> io::Result<Bound> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::other("something that is no socket is there"));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let removed = Removed(path.to_path_buf());
    // Between these two nobody can connect: it does not listen yet.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Bound::Unix(socket.into(), removed))
}

impl Bound {
    /// The address it really has: it matters for port 0.
    pub fn address(&self) -> Option<Address> {
        match self {
            Bound::Unix(_, path) => Some(Address::Unix(path.0.clone())),
            Bound::Tcp(listener) => listener.local_addr().ok().map(Address::Tcp),
        }
    }
}

/// Serves until it is dropped; counts the connections that were one too many.
///
/// # Errors
/// When the runtime does not take the listener.
pub async fn serve(bound: Bound, router: Router, refused: Arc<AtomicU64>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    match bound {
        Bound::Unix(listener, removed) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            // Declared last, so dropped first: a successor that no longer hears this server may have taken the path.
            let _removed = removed;
            loop {
                let taken = listener.accept().await.map(|(stream, _)| {
                    let peer = Peer::Unix(stream.peer_cred().ok().map(|cred| cred.uid()));
                    (stream, peer)
                });
                take(taken, &room, &router, &refused).await;
            }
        }
        Bound::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let taken = listener.accept().await.map(|(stream, _)| (stream, Peer::Tcp));
                take(taken, &room, &router, &refused).await;
            }
        }
    }
}

/// Serves a connection aside; those beyond the bound are closed at once.
async fn take<S>(taken: io::Result<(S, Peer)>, room: &Arc<Semaphore>, router: &Router, refused: &AtomicU64)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (stream, peer) = match taken {
        Ok(taken) => taken,
        // Whoever lifts an order is let in even so.
        Err(error) if spares::give_up(&error) => return,
        Err(error) => {
            tracing::debug!("the control API cannot take a connection: {error}");
            tokio::time::sleep(PAUSE).await;
            return;
        }
    };
    let Ok(permit) = room.clone().try_acquire_owned() else {
        refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
    tokio::spawn(async move {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        // What goes wrong on a connection is its client's concern.
        let _ = tokio::time::timeout(MAX_AGE, connection).await;
        drop(permit);
    });
}
