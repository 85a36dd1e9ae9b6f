//! What integration tests share.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

pub mod authority;
pub mod encrypted;
pub mod flood;
pub mod garbage;
pub mod list;
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
