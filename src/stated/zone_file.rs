//! Zone files of our own (RFC 1035 §5), to records.

use super::row::{Refusal, fits};
use crate::iana::Rtype;
use crate::local::Record;
use crate::name::Name;
use crate::problem::Problem;
use crate::zonefile::{Findings, Included, ZoneReader};

/// Records of one file that are kept: those of a /16 with both directions, and more.
pub const MAX_RECORDS: usize = 250_000;

/// The records of a file, with their lines; those of files that it includes have the line of that file.
pub type Records = Vec<(u32, Record)>;

/// A file that is included: as the operator would name it, and what it holds, or what is wrong and what to do.
pub type Opened = (String, Result<Vec<u8>, Refusal>);

/// Reads a file, shown as `file`, of this zone, or of any; `open` serves what it includes. What is wrong with single entries comes beside
/// it.
///
/// # Errors
/// What is wrong with the file as a whole.
pub fn read(
    content: &[u8],
    file: &str,
    (zone, ttl_s): (Option<&Name>, u32),
    open: &mut dyn FnMut(&str) -> Opened,
) -> Result<(Records, Vec<Problem>), Problem> {
    let (mut records, mut refused, mut left_out) = (Records::new(), 0usize, 0usize);
    let mut findings = Findings::default();
    let mut include = |path: &str| {
        let (shown, content) = open(path);
        Included { shown, content }
    };
    let reader = ZoneReader::new(zone.copied().unwrap_or(Name::ROOT), &mut include, &mut findings);
    reader.fallback_ttl(ttl_s).read(content, file, &mut |findings, read| {
        let place = (read.file, read.line);
        let apex = zone.unwrap_or(&Name::ROOT);
        if !read.owner.is_at_or_below(apex) {
            // RFC 2181 §5.4.1 leaves such data untrusted; here it would be of another zone than the one that is meant.
            let hint = "names without a dot at their end are relative to the zone, or to $ORIGIN";
            refused += 1;
            return findings.refuse(place.0, place.1, format!("{} is not in zone {apex}", read.owner), hint);
        }
        // What is the zone's own is made here: nobody else serves it.
        if read.rtype == Rtype::SOA || (read.rtype == Rtype::NS && zone == Some(&read.owner)) {
            return;
        }
        if read.rtype == Rtype::NS {
            let what = format!("{}: nobody else is asked about a part of the zone", read.owner);
            return findings.ignore(place.0, place.1, what);
        }
        if let Err((what, hint)) = fits(read.owner, read.rtype) {
            refused += 1;
            return findings.refuse(place.0, place.1, what, hint);
        }
        if records.len() >= MAX_RECORDS {
            left_out += 1;
            return;
        }
        let record =
            Record { owner: read.owner, rtype: read.rtype, ttl_s: read.ttl_s, rdata: read.rdata.into() };
        records.push((read.line, record));
    });
    let is_broken = findings.is_broken();
    let (mut problems, refused_entries) = findings.finish(file);
    let nothing = records.is_empty() && (refused > 0 || refused_entries > 0);
    if (is_broken || nothing)
        && let Some(worst) = problems.iter().rfind(|problem| problem.is_error())
    {
        return Err(worst.clone());
    }
    if left_out > 0 {
        let message = format!("{left_out} records are left out: there are more than {MAX_RECORDS}");
        problems.push(Problem::warning(file, None, message));
    }
    Ok((records, problems.into_iter().map(Problem::as_warning).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `owner ttl type` of each, and `line! what` of each problem.
    fn read_all(text: &str, zone: &str) -> Vec<String> {
        let zone: Option<Name> = (!zone.is_empty()).then(|| zone.parse().unwrap());
        let mut open = |path: &str| {
            let content = match path {
                "more" => Ok(b"inner A 192.0.2.9\n".to_vec()),
                _ => Err(("no such file".to_owned(), String::new())),
            };
            (path.to_owned(), content)
        };
        match read(text.as_bytes(), "zone", (zone.as_ref(), 300), &mut open) {
            Err(problem) => vec![format!("broken! {}", problem.message)],
            Ok((records, problems)) => {
                let each =
                    records.iter().map(|(_, one)| format!("{} {} {}", one.owner, one.ttl_s, one.rtype));
                let bad = problems.iter().map(|one| format!("{}! {}", one.line.unwrap_or(0), one.message));
                each.chain(bad).collect()
            }
        }
    }

    #[test]
    fn zone_files_are_read_as_others_read_them() {
        let soa = "@ IN SOA ns.lan. admin.lan. ( 1 1h 15m 30d 2m )\n";
        for (text, zone, expected) in [
            ("", "lan", &[][..]),
            (
                "nas A 192.0.2.1\nnas.sub AAAA fd00::1\nx.lan. A 192.0.2.2",
                "lan",
                &["nas.lan 300 A", "nas.sub.lan 300 AAAA", "x.lan 300 A"],
            ),
            (
                "$TTL 1h\n@ MX 10 mail\n  TXT \"x\"\nb 5 A 192.0.2.1",
                "lan",
                &["lan 3600 MX", "lan 3600 TXT", "b.lan 5 A"],
            ),
            (&format!("{soa}@ NS ns\nns A 192.0.2.1"), "lan", &["ns.lan 120 A"]),
            (
                "$ORIGIN sub.lan.\nx A 192.0.2.1\n$INCLUDE more",
                "lan",
                &["x.sub.lan 300 A", "inner.sub.lan 300 A"],
            ),
            ("*.apps CNAME nas", "lan", &["*.apps.lan 300 CNAME"]),
            ("x.example. A 192.0.2.1\n", "", &["x.example 300 A"]),
            // What is wrong.
            (
                "a A 192.0.2.1\nb.example. A 192.0.2.1",
                "lan",
                &["a.lan 300 A", "2! b.example is not in zone lan"],
            ),
            (
                "a A 192.0.2.1\nsub NS ns",
                "lan",
                &["a.lan 300 A", "2! sub.lan: nobody else is asked about a part of the zone"],
            ),
            (
                "a A 192.0.2.1\nb DNSKEY 257 3 8 AAAA",
                "lan",
                &["a.lan 300 A", "2! DNSKEY is of DNSSEC, and nothing that is stated here is signed"],
            ),
            (
                "a A 192.0.2.1\nb A 192.0.2\nc ( A",
                "lan",
                &[
                    "a.lan 300 A",
                    "2! \"b A 192.0.2\": expected IPv4 address",
                    "3! a parenthesis is never closed",
                ],
            ),
            ("a A 192.0.2.1\n$INCLUDE gone", "lan", &["broken! $INCLUDE gone: no such file"]),
            ("<html>", "lan", &["broken! \"<html>\": it has no type"]),
        ] {
            assert_eq!(read_all(text, zone), expected, "{text}");
        }
    }
}
