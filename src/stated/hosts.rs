//! Hosts files (hosts(5)): an address and its names, a line each.

use std::net::IpAddr;
use std::str;

use crate::name::{Name, NameList};
use crate::orders::names;
use crate::problem::Problem;
use crate::zonefile::Findings;

/// Names of one file that are kept. Larger files are lists of what is to be blocked, for which `[[lists]]` is made.
pub const MAX_NAMES: usize = 250_000;
/// What to do about a line that is none.
const HINT: &str = "an address and its names: 192.168.1.10 nas.lan nas";

/// The names of a file.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// The address of each line, how many names it has, and its number.
    lines: Vec<(IpAddr, u32, u32)>,
    /// All names, as they stand there.
    names: NameList,
}

impl Hosts {
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Each name with its address and its line.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, u32, Name)> + '_ {
        let lines = self.lines.iter().flat_map(|(address, names, line)| {
            std::iter::repeat_n((*address, *line), usize::try_from(*names).unwrap_or_default())
        });
        lines.zip(self.names.iter()).map(|((address, line), name)| (address, line, name))
    }
}

/// Reads a file, shown as `file`; what is wrong with single lines comes beside it.
///
/// # Errors
/// When nothing of it can be read.
pub fn read(content: &[u8], file: &str) -> Result<(Hosts, Vec<Problem>), Problem> {
    let (mut hosts, mut findings, mut left_out, mut refused) =
        (Hosts::default(), Findings::default(), 0usize, 0usize);
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    for (line, text) in (1u32..).zip(content.split(|&octet| octet == b'\n')) {
        let text = text.split(|&octet| octet == b'#').next().unwrap_or_default();
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(first) = words.next() else { continue };
        // An address on one interface of this machine means nothing to others.
        if first.contains(&b'%') {
            continue;
        }
        let address = str::from_utf8(first).ok().and_then(|word| word.parse::<IpAddr>().ok());
        let Some(address) = address else {
            refused += 1;
            findings.refuse(file, line, format!("\"{}\" is no address", shown(first)), HINT);
            continue;
        };
        let (mut count, mut is_bare) = (0, true);
        for word in words {
            is_bare = false;
            let name = str::from_utf8(word).map_err(|_| format!("\"{}\": not UTF-8", shown(word)));
            match name.and_then(|word| names::name(word).map_err(|why| why.to_string())) {
                // Lists of what is to be blocked name it.
                _ if word == b"0.0.0.0" => {}
                _ if word.starts_with(b"*") => {
                    refused += 1;
                    let hint = "write it into the row: records = [\"*.apps.lan A 192.168.1.10\"]";
                    findings.refuse(
                        file,
                        line,
                        format!("\"{}\": a hosts file has no wildcards", shown(word)),
                        hint,
                    );
                }
                // What the machine calls itself is built in, or means nothing to others.
                Ok(name) if names::is_own(&name) => {}
                Ok(_) if hosts.names.len() >= MAX_NAMES => left_out += 1,
                Ok(name) => {
                    hosts.names.push(&name);
                    count += 1;
                }
                Err(why) => {
                    refused += 1;
                    findings.refuse(file, line, why, HINT);
                }
            }
        }
        if is_bare {
            refused += 1;
            findings.refuse(file, line, "an address without a name", HINT);
        }
        if count > 0 {
            hosts.lines.push((address, count, line));
        }
    }
    hosts.names.shrink_to_fit();
    let (mut problems, _) = findings.finish(file);
    if let Some(first) = problems.first().filter(|_| hosts.is_empty() && refused > 0) {
        return Err(first.clone());
    }
    if left_out > 0 {
        let message = format!("{left_out} names are left out: there are more than {MAX_NAMES}");
        let hint = "names to be blocked belong into [[lists]], which hold millions";
        problems.push(Problem::warning(file, None, message).hint(hint));
    }
    Ok((hosts, problems.into_iter().map(Problem::as_warning).collect()))
}

/// A word as a report shows it.
fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `address name` of each, and `line! what` of each problem.
    fn read_all(text: &[u8]) -> Vec<String> {
        match read(text, "hosts") {
            Err(problem) => vec![format!("broken! {}", problem.message)],
            Ok((hosts, problems)) => {
                let each = hosts.iter().map(|(address, _, name)| format!("{address} {name}"));
                let bad = problems.iter().map(|one| format!("{}! {}", one.line.unwrap_or(0), one.message));
                each.chain(bad).collect()
            }
        }
    }

    #[test]
    fn hosts_files_are_read_as_the_system_reads_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("# all comment\n\n  \t\n", &[]),
            ("192.168.1.10 nas", &["192.168.1.10 nas"]),
            (
                "192.168.1.10\tnas.lan nas  storage # the box\r\n",
                &["192.168.1.10 nas.lan", "192.168.1.10 nas", "192.168.1.10 storage"],
            ),
            ("\u{feff}192.168.1.10 NAS.Lan.", &["192.168.1.10 nas.lan"]),
            ("fd00::10 nas\n192.168.1.10 nas#tight", &["fd00::10 nas", "192.168.1.10 nas"]),
            ("fe80::1%eth0 router\n192.168.1.1 router", &["192.168.1.1 router"]),
            (
                "0.0.0.0 ads.example\n127.0.0.1 tracker.example\n:: ads.example",
                &["0.0.0.0 ads.example", "127.0.0.1 tracker.example", ":: ads.example"],
            ),
            ("0.0.0.0 0.0.0.0\n127.0.1.1 box", &["127.0.1.1 box"]),
            (
                "127.0.0.1 localhost localhost.localdomain\n::1 ip6-localhost ip6-loopback\n255.255.255.255 broadcasthost\nff02::1 ip6-allnodes",
                &[],
            ),
            ("127.0.0.1 a.localhost nas", &["127.0.0.1 nas"]),
            (
                "192.168.1.10 b\u{fc}ro.lan my_printer",
                &["192.168.1.10 xn--bro-hoa.lan", "192.168.1.10 my_printer"],
            ),
            // What is wrong costs itself only.
            ("192.168.1 nas\n192.168.1.10 ok", &["192.168.1.10 ok", "1! \"192.168.1\" is no address"]),
            (
                "192.168.1.10 ok a..b\n192.168.1.11",
                &[
                    "192.168.1.10 ok",
                    "1! \"a..b\": a label is empty (two dots in a row, or a leading dot)",
                    "2! an address without a name",
                ],
            ),
            ("192.168.1.10 ok\nnas 192.168.1.10", &["192.168.1.10 ok", "2! \"nas\" is no address"]),
            ("192.168.1.10 *.lan ok", &["192.168.1.10 ok", "1! \"*.lan\": a hosts file has no wildcards"]),
            ("<html>\n", &["broken! \"<html>\" is no address"]),
        ] {
            assert_eq!(read_all(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(
            read_all(b"192.168.1.10 ok caf\xe9"),
            ["192.168.1.10 ok", "1! \"caf\u{fffd}\": not UTF-8"]
        );
    }

    #[test]
    fn there_is_an_end_to_names_and_to_reports() {
        let many: String = (0..MAX_NAMES + 2).map(|n| format!("0.0.0.0 n{n}\n")).collect();
        let (hosts, problems) = read(many.as_bytes(), "hosts").unwrap();
        assert_eq!((hosts.len(), problems.len()), (MAX_NAMES, 1));
        assert_eq!(problems[0].message, "2 names are left out: there are more than 250000");
        let bad = format!("192.168.1.10 ok\n{}", "x\n".repeat(1000));
        assert_eq!(read(bad.as_bytes(), "hosts").unwrap().1.len(), 21);
    }
}
