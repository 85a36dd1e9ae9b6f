//! Streams by TCP.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::stream::Connect;

/// Opens TCP connections to one server.
#[derive(Debug)]
pub(super) struct Tcp {
    server: SocketAddr,
}

impl Tcp {
    /// Connects to this address.
    pub(super) fn new(server: SocketAddr) -> Tcp {
        Tcp { server }
    }
}

impl Connect for Tcp {
    type Stream = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.server).await?;
        // What is written is a whole number of messages; to keep back the last part of it would delay its reply.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
