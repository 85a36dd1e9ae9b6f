//! Order files: any text is an order or a list of problems that name the file, never a panic.

use sinkscope::orders::open::{Content, ListFile};
use sinkscope::orders::order_file;

/// Reads octets as an order file whose names files all hold the text's own second half.
pub fn run(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let half = octets.len() / 2;
    let mut open = |path: &str| ListFile {
        shown: path.to_owned(),
        content: Ok(Content::Octets(octets[half..].to_vec())),
    };
    let reading = order_file::parse(&text, "fuzz.toml", &mut open);
    assert!(reading.listed.is_some() || !reading.problems.is_empty(), "a refusal says why");
}
