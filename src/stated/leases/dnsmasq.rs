//! dnsmasq's file: a line for each lease, `expiry hardware-address address name client-id`, those of IPv6 behind a line `duid`.
//!
//! It is written in place, emptied first, and stays open: half of it is what a reader may see at any time.

use super::{Book, Lease, Part, address, number};

/// Lines that say something of another sort.
const OTHERS: [&[u8]; 3] = [b"duid", b"agent-info", b"vendorclass"];
/// No lease ended before this second of 2001: where the machine has no clock that can be relied on (`HAVE_BROKEN_RTC`), what stands
/// in front is how long a lease lasts, and when that began nobody knows.
const FIRST_END: i64 = 1_000_000_000;

/// Reads one.
pub(super) fn read(part: &Part<'_>, book: &mut Book) {
    for (line, text) in (1u32..).zip(part.content.split(|&octet| octet == b'\n')) {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(first) = words.next().filter(|word| !OTHERS.contains(word)) else { continue };
        let (_, second, third) = (words.next(), words.next(), words.next());
        let (Some(expiry), Some(address), Some(host)) = (number(first), second.and_then(address), third)
        else {
            let hint = "time, hardware address, address, name, as dnsmasq writes them";
            book.refuse(part.file, line, "no lease of dnsmasq's", hint);
            continue;
        };
        let ends = (expiry >= FIRST_END).then_some(expiry);
        let given = ends.unwrap_or(i64::MAX);
        let lease = (host != b"*").then(|| Lease { address, host: host.into(), ends, given });
        book.take(address, lease);
    }
}
