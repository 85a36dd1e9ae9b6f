//! Who holds a port: the kernel's tables of sockets, and whose descriptors they are (proc(5)).

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A TCP socket that waits for connections, as the kernel's table has it (TCP_LISTEN).
const LISTENS: &str = "0A";
/// Where the table has a socket's inode, counted from its line's begin.
const INODE: usize = 9;

/// The programs that hold sockets by which `addr` is taken, by name; one that may not be looked into is `None`. Empty if nobody does.
pub(super) fn holders(root: &Path, addr: SocketAddr, transport: &str) -> BTreeSet<Option<String>> {
    let read = |table: &str| fs::read_to_string(root.join("proc/net").join(table)).unwrap_or_default();
    let tables = [read(transport), read(&format!("{transport}6"))];
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let inodes: BTreeSet<String> = lines.filter_map(|line| taken_by(line, addr, transport)).collect();
    inodes.iter().map(|inode| program(root, inode)).collect()
}

/// The inode of a line's socket, if that takes `addr`.
fn taken_by(line: &str, addr: SocketAddr, transport: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = address(fields.get(1)?)?;
    let listens = transport == "udp" || *fields.get(3)? == LISTENS;
    let same = local.ip() == addr.ip();
    // A wildcard address takes what comes to any; [::] may take IPv4 as well.
    let covers = |one: IpAddr, other: IpAddr| {
        one.is_unspecified() && (one.is_ipv4() == other.is_ipv4() || one.is_ipv6())
    };
    let meets = same || covers(local.ip(), addr.ip()) || covers(addr.ip(), local.ip());
    (listens && local.port() == addr.port() && meets).then(|| fields.get(INODE).map(ToString::to_string))?
}

/// An address as the table writes it: words of 32 bits in the machine's order, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The program that has a socket open, by name; none if it may not be looked into.
fn program(root: &Path, inode: &str) -> Option<String> {
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir(root.join("proc")).ok()?.flatten().map(|entry| entry.path());
    let has = |process: &Path| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors
            .map(|entry| entry.path())
            .any(|path| fs::read_link(path).is_ok_and(|target| target.as_os_str() == socket.as_str()))
    };
    let numbered = |process: &Path| {
        process.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok())
    };
    // The first process comes last: systemd holds sockets for others, who have them as well while they run.
    let mut holders: Vec<_> = processes.filter(|process| numbered(process) && has(process)).collect();
    holders.sort_by_key(|process| process.ends_with("1"));
    Some(fs::read_to_string(holders.first()?.join("comm")).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        if cfg!(target_endian = "big") {
            return;
        }
        for (text, expected) in [
            ("0100007F:0035", Some("127.0.0.1:53")),
            ("00000000:14B4", Some("0.0.0.0:5300")),
            ("00000000000000000000000001000000:0035", Some("[::1]:53")),
            ("0100007F", None),
            ("0100007:0035", None),
            ("0100007F:x", None),
        ] {
            assert_eq!(address(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_port_is_somebodys() {
        if cfg!(target_endian = "big") {
            return;
        }
        let line = "  1: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   102        0 4711 2 0000000000000000 0";
        for (addr, expected) in [
            ("127.0.0.53:53", true),
            ("0.0.0.0:53", true),
            ("127.0.0.1:53", false),
            ("127.0.0.53:5300", false),
        ] {
            let found = taken_by(line, addr.parse().unwrap(), "udp");
            assert_eq!(found.as_deref() == Some("4711"), expected, "{addr}");
        }
        // A connection is no listener.
        assert_eq!(taken_by(&line.replace(" 07 ", " 01 "), "127.0.0.53:53".parse().unwrap(), "tcp"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_very_process_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let found = holders(Path::new("/"), socket.local_addr().unwrap(), "udp");
        assert_eq!(found, [Some(name.trim().to_owned())].into());
    }
}
