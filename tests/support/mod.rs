//! What integration tests share.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

pub mod authority;
pub mod encrypted;
pub mod flood;
pub mod garbage;
pub mod list;
pub mod mmdb;
pub mod others;
pub mod peers;
pub mod process;
pub mod query;
pub mod quic;
pub mod render;
pub mod rpz;
pub mod scenario;
pub mod script;
pub mod storm;
pub mod unbound;
pub mod wire;

use std::fs;
use std::path::Path;

use sinkscope::config::{self, Config, Sources};

/// Octets from hexadecimal digits; white space is ignored.
pub fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A network from its address and length.
pub fn network(text: &str) -> (std::net::IpAddr, u8) {
    let (address, bits) = text.split_once('/').unwrap_or_else(|| panic!("{text:?} is no network"));
    (address.parse().expect("an address"), bits.parse().expect("a number of bits"))
}

/// A whole client subnet option, as RFC 7871 §6 lays it out.
pub fn subnet_option((address, bits): (std::net::IpAddr, u8), scope: u8) -> Vec<u8> {
    let (family, mut octets) = match address {
        std::net::IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        std::net::IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    octets.truncate(usize::from(bits.div_ceil(8)));
    [&[0, 8, 0, 4 + octets.len() as u8, 0, family, bits, scope], &octets[..]].concat()
}

/// A configuration from text, its paths relative to `folder`; orders are in `orders/` unless it says otherwise.
pub fn config(text: &str, folder: &Path) -> Result<Config, String> {
    let file = folder.join("sinkscope.toml");
    let text = if text.contains("[orders]") {
        text.to_owned()
    } else {
        format!("{text}\n[orders]\npaths = [\"orders\"]\n")
    };
    let text = if text.contains("[upstream]") { text } else { format!("{text}\n[upstream]\nservers = []\n") };
    fs::write(&file, text).expect("a configuration file");
    let sources = Sources { env: Vec::new(), ..Sources::system(Some(file), Vec::new()) };
    config::load(&sources)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
