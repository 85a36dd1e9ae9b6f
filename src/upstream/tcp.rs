//! Streams by TCP.

use std::io;

use tokio::net::TcpStream;

use super::places::Places;
use super::stream::Connect;

/// Opens TCP connections to one server.
#[derive(Debug)]
pub(super) struct Tcp {
    server: Places,
}

impl Tcp {
    /// Connects to it there.
    pub(super) fn new(server: Places) -> Tcp {
        Tcp { server }
    }
}

impl Connect for Tcp {
    type Stream = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = self.server.connect(TcpStream::connect).await?;
        // What is written is a whole number of messages; to keep back the last part of it would delay its reply.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn renew(&self) {
        self.server.renew();
    }
}
