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

use super::peer::Peer;
use super::places::Places;
use crate::control::address::Address;
use crate::owner;
use crate::spares;

/// How long a request's head may take, and a connection idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The same while places are scarce: far longer than a client takes that has something to say.
const SCARCE_HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one connection may last: whoever needs more makes another.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Octets held of a request that is not taken yet, the least that hyper takes; also the longest head. Ids and tokens have some
/// hundred octets at most.
const BUFFER: usize = 8 << 10;
/// Connections that wait to be taken.
const BACKLOG: i32 = 64;
/// After an error of accepting, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two looks whether the socket's file is still there: who wants an order lifted at once finds it within a second.
const LOOK: Duration = Duration::from_secs(1);

/// A listener that has its address.
#[derive(Debug)]
pub enum Bound {
    /// A Unix socket, and its file, to be removed in the end unless somebody else sees to that.
    Unix(UnixListener, PathBuf, Option<Removed>),
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
        Address::Unix(path) => {
            let (listener, removed) = bind_unix(path)?;
            Ok(Bound::Unix(listener, path.clone(), Some(removed)))
        }
        Address::Tcp(addr) => {
            let listener = TcpListener::bind(addr)?;
            listener.set_nonblocking(true)?;
            Ok(Bound::Tcp(listener))
        }
    }
}

/// Takes a socket's path for its owner alone.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, Removed)> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        owner::make_folder(folder)?;
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
    Ok((socket.into(), removed))
}

impl Bound {
    /// The address it really has: it matters for port 0.
    pub fn address(&self) -> Option<Address> {
        match self {
            Bound::Unix(_, path, _) => Some(Address::Unix(path.clone())),
            Bound::Tcp(listener) => listener.local_addr().ok().map(Address::Tcp),
        }
    }

    /// The same listener once more, for whoever takes over from one that broke off.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn again(&self) -> io::Result<Bound> {
        Ok(match self {
            Bound::Unix(listener, path, _) => Bound::Unix(listener.try_clone()?, path.clone(), None),
            Bound::Tcp(listener) => Bound::Tcp(listener.try_clone()?),
        })
    }

    /// What removes the socket's file when it is dropped, if there is one: from now on the caller's.
    pub fn removed(&mut self) -> Option<Removed> {
        match self {
            Bound::Unix(_, _, removed) => removed.take(),
            Bound::Tcp(_) => None,
        }
    }
}

/// Serves until it is dropped; counts the connections that were one too many: turned away, or ended for another's sake.
///
/// # Errors
/// When the runtime does not take the listener.
pub async fn serve(bound: Bound, router: Router, refused: Arc<AtomicU64>) -> io::Result<()> {
    let places = Arc::new(Places::default());
    match bound {
        Bound::Unix(listener, path, removed) => {
            let mut listener = tokio::net::UnixListener::from_std(listener)?;
            // Declared last, so dropped first: a successor that no longer hears this server may have taken the path.
            let mut _removed = removed;
            let (mut looks, mut is_told) = (tokio::time::interval(LOOK), false);
            loop {
                // Neither loses anything when it is dropped: both say so.
                let taken = tokio::select! {
                    taken = listener.accept() => taken,
                    _ = looks.tick() => {
                        if is_gone(&path) {
                            // It removes the file when it is dropped, which must not be the new one.
                            drop(_removed.take());
                            let anew = bind_unix(&path)
                                .and_then(|(anew, removed)| Ok((tokio::net::UnixListener::from_std(anew)?, removed)));
                            match anew {
                                Ok((anew, removed)) => {
                                    tracing::warn!("{} was gone; it is there again", path.display());
                                    (listener, _removed, is_told) = (anew, Some(removed), false);
                                }
                                Err(error) if !is_told => {
                                    tracing::warn!("{} is gone: {error}; {}", path.display(), owner::CLOSED);
                                    is_told = true;
                                }
                                Err(_) => {}
                            }
                        }
                        continue;
                    }
                };
                let taken = taken.map(|(stream, _)| {
                    let peer = Peer::Unix(stream.peer_cred().ok().map(|cred| cred.uid()));
                    (stream, peer)
                });
                take(taken, &places, &router, &refused).await;
            }
        }
        Bound::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let taken =
                    listener.accept().await.map(|(stream, from)| (stream, Peer::Tcp(Some(from.ip()))));
                take(taken, &places, &router, &refused).await;
            }
        }
    }
}

/// Whether the socket's file was taken away, with its folder or without.
fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Serves a connection aside; those for which there is no place are closed at once.
async fn take<S>(taken: io::Result<(S, Peer)>, places: &Arc<Places>, router: &Router, refused: &AtomicU64)
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
    let head_timeout = if places.are_scarce() { SCARCE_HEAD_TIMEOUT } else { HEAD_TIMEOUT };
    let Some(place) = places.take(&peer).map(Arc::new) else {
        refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    if place.was_taken {
        refused.fetch_add(1, Ordering::Relaxed);
    }
    let router = router.clone().layer(Extension(peer)).layer(Extension(place.clone()));
    tokio::spawn(async move {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        // What goes wrong on a connection is its client's concern.
        tokio::select! {
            _ = tokio::time::timeout(MAX_AGE, connection) => {}
            () = place.lost() => {}
        }
    });
    // It is heard before the next one comes: many at once would have its place taken before it was looked at.
    tokio::task::yield_now().await;
}
