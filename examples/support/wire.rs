//! What examples that answer queries have to read of them.

/// Octets in a message header (RFC 1035 §4.1.1).
pub const HEADER_LEN: usize = 12;

/// Where the one question of a query ends; none when it is anything else.
pub fn question_end(octets: &[u8]) -> Option<usize> {
    let header = octets.get(..HEADER_LEN)?;
    if header[2] & 0xf8 != 0 || header[4..6] != [0, 1] {
        return None;
    }
    let mut at = HEADER_LEN;
    loop {
        match *octets.get(at)? {
            0 => break,
            len @ 1..=63 => at += 1 + usize::from(len),
            _ => return None,
        }
    }
    (octets.len() >= at + 5).then_some(at + 5)
}
