//! Streams by TCP.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::places::Places;
use super::stream::{Connect, Prove};

/// Opens TCP connections to one server.
#[derive(Debug)]
pub(super) struct Tcp {
    server: Places,
}

/// In clear nobody proves anything.
#[derive(Clone, Copy)]
struct Unproven;

impl Tcp {
    /// Connects to it there.
    pub(super) fn new(server: Places) -> Tcp {
        Tcp { server }
    }
}

impl Connect for Tcp {
    type Stream = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        self.connect_proven(Unproven).await
    }

    async fn connect_proven<P: Prove<TcpStream>>(&self, prove: P) -> io::Result<P::Proven> {
        let connect = move |addr: SocketAddr| {
            let prove = prove.clone();
            async move {
                let stream = TcpStream::connect(addr).await?;
                // What is written is a whole number of messages; to keep back the last part of it would delay its reply.
                stream.set_nodelay(true)?;
                prove.prove(stream).await
            }
        };
        self.server.connect(connect).await
    }

    fn renew(&self) {
        self.server.renew();
    }
}

impl<S: Send + 'static> Prove<S> for Unproven {
    type Proven = S;

    async fn prove(self, stream: S) -> io::Result<S> {
        Ok(stream)
    }
}
