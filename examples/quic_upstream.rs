//! An upstream that is asked over QUIC, for `checks/outages`: every name has one address.
//!
//!     cargo run --release --example quic_upstream -- 127.0.0.1:8853 CERTIFICATE.pem KEY.pem doq    or h3

#[path = "../tests/support/quic.rs"]
mod quic;

use std::net::UdpSocket;
use std::path::Path;

use quic::{Quic, Spoken};

/// Serves until it is ended.
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [addr, pem, key, spoken] = &args[..] else { panic!("ADDRESS:PORT CERTIFICATE KEY doq|h3") };
    let spoken = if spoken == "h3" { Spoken::Http3 } else { Spoken::Doq };
    let socket = UdpSocket::bind(addr.as_str()).expect("a free port");
    let quic = Quic::start(socket, (Path::new(pem), Path::new(key)), spoken);
    println!("it serves at {}", quic.addr);
    loop {
        std::thread::park();
    }
}
