//! Kea's memfile: a table with commas whose first row names the columns; each change of a lease is a row at its end.
//!
//! Now and then Kea begins a new file and has another process clean up the one before: what still counts of that is in files beside
//! it meanwhile, which whoever reads this hands over as parts.

use super::{Book, Lease, Part, address, number};
use crate::problem::Problem;

/// The lifetime of a lease without end: all ones (RFC 2131 §3.3, RFC 8415 §7.7).
const INFINITE_S: i64 = 0xffff_ffff;
/// The state of a lease that is in use; others are declined, reclaimed, released.
const ASSIGNED: i64 = 0;
/// The type of a lease that is a prefix and not an address.
const PREFIX: i64 = 2;

/// Where the columns are that matter.
struct Columns {
    address: usize,
    lifetime: usize,
    expire: usize,
    host: usize,
    state: Option<usize>,
    lease_type: Option<usize>,
}

impl Columns {
    /// As a first row names them.
    fn of(row: &[u8]) -> Option<Columns> {
        let names: Vec<&[u8]> = row.split(|&octet| octet == b',').map(<[u8]>::trim_ascii).collect();
        let place = |name: &str| names.iter().position(|found| found.eq_ignore_ascii_case(name.as_bytes()));
        Some(Columns {
            address: place("address")?,
            lifetime: place("valid_lifetime")?,
            expire: place("expire")?,
            host: place("hostname")?,
            state: place("state"),
            lease_type: place("lease_type"),
        })
    }
}

/// Reads one.
///
/// # Errors
/// When its first row does not name the columns.
pub(super) fn read(part: &Part<'_>, book: &mut Book) -> Result<(), Problem> {
    let lines = part.content.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii);
    let mut rows = (1u32..).zip(lines).filter(|(_, row)| !row.is_empty());
    let Some((line, first)) = rows.next() else { return Ok(()) };
    let columns = Columns::of(first).ok_or_else(|| {
        let what = "the first row names no address, valid_lifetime, expire and hostname";
        Problem::error(part.file, Some(line), what).hint("it is to be a lease file of Kea's memfile")
    })?;
    for (line, row) in rows {
        let fields: Vec<&[u8]> = row.split(|&octet| octet == b',').collect();
        match lease(&columns, &fields) {
            Some((address, lease)) => book.take(address, lease),
            None => book.refuse(part.file, line, "a row that does not fit the first", ""),
        }
    }
    Ok(())
}

/// What a row says of an address: its lease, or that nobody with a name has it. None if it cannot be read.
fn lease(columns: &Columns, fields: &[&[u8]]) -> Option<(std::net::IpAddr, Option<Lease>)> {
    let of = |column: Option<usize>| column.map_or(Some(0), |column| number(fields.get(column)?));
    let address = address(fields.get(columns.address)?)?;
    let (lifetime, expire) = (of(Some(columns.lifetime))?, of(Some(columns.expire))?);
    let (state, lease_type) = (of(columns.state)?, of(columns.lease_type)?);
    let host = fields.get(columns.host)?.trim_ascii();
    // A lease that is deleted is written as one that lasts no time.
    if state != ASSIGNED || lease_type == PREFIX || lifetime == 0 || host.is_empty() {
        return Some((address, None));
    }
    let ends = (lifetime < INFINITE_S).then_some(expire);
    Some((address, Some(Lease { address, host: host.into(), ends, given: expire.saturating_sub(lifetime) })))
}
