//! The floor under every UDP server here: receives batches and sends each datagram back as a reply, doing nothing else.
//!
//!     cargo run --release --example echo -- 127.0.0.1:5399

use std::net::UdpSocket;

use sinkscope::batch::{Inbox, Outbox, SLOT_LEN, SLOTS};

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5399".to_owned());
    let socket = UdpSocket::bind(&addr)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let (mut inbox, mut outbox) = (Inbox::new(SLOTS, SLOT_LEN), Outbox::new(SLOTS, SLOT_LEN));
    loop {
        inbox.receive(&socket, true)?;
        for datagram in inbox.iter() {
            if let Some(out) = outbox.slot() {
                out[..datagram.octets.len()].copy_from_slice(datagram.octets);
                // QR: what comes back is a response.
                out[2] |= 0x80;
                outbox.commit(datagram.octets.len(), Some(&datagram.route));
            }
        }
        outbox.send(&socket, true);
    }
}
