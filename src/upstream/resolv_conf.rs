//! The system's `resolv.conf`: which servers this machine asks (resolv.conf(5)).

use std::net::SocketAddr;

use super::forward::MAX_SERVERS;
use super::server::Server;
use crate::problem::Problem;

/// What a `resolv.conf` says about servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers in their order, each once, 16 at most.
    pub servers: Vec<Server>,
    /// Lines that could not be used; none of them stops the rest.
    pub problems: Vec<Problem>,
}

impl ResolvConf {
    /// Reads the text of `file`, which is named in problems only.
    pub fn read(file: &str, text: &str) -> ResolvConf {
        let mut read = ResolvConf::default();
        for (number, line) in (1u32..).zip(text.lines()) {
            // Comments start with either sign; glibc ignores whatever follows the address.
            if line.trim_start().starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_whitespace();
            if words.next() == Some("nameserver")
                && let Err(message) = read.add(words.next())
            {
                read.problems.push(Problem::warning(file, Some(number), message));
            }
        }
        read
    }

    /// Without the servers that are this process: asking them would go round in circles.
    ///
    /// A wildcard address in `listen` stands for every loopback address of its family at that port; whether another
    /// address belongs to this machine cannot be seen from here.
    #[must_use]
    pub fn leaving_out(mut self, listen: &[SocketAddr]) -> ResolvConf {
        self.servers.retain(|server| !listen.iter().any(|own| is_own(server.addr, *own)));
        self
    }

    /// Takes the word behind `nameserver`.
    fn add(&mut self, word: Option<&str>) -> Result<(), String> {
        let word = word.ok_or("nameserver without an address")?;
        if word.contains('%') {
            return Err(format!("{word} is bound to one interface and is left out"));
        }
        let server: Server = word.parse().map_err(|error| format!("left out: {error}"))?;
        if self.servers.contains(&server) {
            return Ok(());
        }
        if self.servers.len() == MAX_SERVERS {
            return Err(format!("{word} is left out: only the first {MAX_SERVERS} servers are used"));
        }
        self.servers.push(server);
        Ok(())
    }
}

/// Whether a query to `server` arrives at a listener on `own`.
fn is_own(server: SocketAddr, own: SocketAddr) -> bool {
    let same_family = server.is_ipv4() == own.is_ipv4();
    let wildcard = own.ip().is_unspecified() && server.ip().is_loopback();
    server.port() == own.port() && same_family && (server.ip() == own.ip() || wildcard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(conf: &ResolvConf) -> Vec<String> {
        conf.servers.iter().map(|server| server.addr.to_string()).collect()
    }

    #[test]
    fn nameserver_lines_are_read() {
        for (text, servers, problems) in [
            ("", &[][..], 0),
            ("nameserver 9.9.9.9\n", &["9.9.9.9:53"], 0),
            ("nameserver\t9.9.9.9\r\nnameserver 1.1.1.1", &["9.9.9.9:53", "1.1.1.1:53"], 0),
            ("  nameserver 9.9.9.9   # the first\n", &["9.9.9.9:53"], 0),
            ("# nameserver 1.1.1.1\n;nameserver 1.1.1.1\nnameserver ::1", &["[::1]:53"], 0),
            ("search example.com\noptions ndots:5 edns0\nnameserver 10.0.0.2", &["10.0.0.2:53"], 0),
            ("nameserver 9.9.9.9\nnameserver 9.9.9.9", &["9.9.9.9:53"], 0),
            ("nameserver fe80::1%eth0\nnameserver 2001:db8::53", &["[2001:db8::53]:53"], 1),
            ("nameserver\nnameserver dns.example\nnameserver 0.0.0.0", &[], 3),
            ("nameservers 9.9.9.9\nNAMESERVER 9.9.9.9", &[], 0),
        ] {
            let conf = ResolvConf::read("resolv.conf", text);
            assert_eq!(shown(&conf), servers, "{text:?}");
            assert_eq!(conf.problems.len(), problems, "{text:?}: {:?}", conf.problems);
        }
    }

    #[test]
    fn problems_name_file_and_line() {
        let conf = ResolvConf::read("/etc/resolv.conf", "search x\nnameserver fe80::1%eth0\n");
        let shown = conf.problems[0].to_string();
        assert!(shown.starts_with("warning: /etc/resolv.conf:2: fe80::1%eth0 is bound"), "{shown}");
    }

    #[test]
    fn servers_are_bounded() {
        let text: String = (0..40).map(|n| format!("nameserver 10.0.0.{n}\n")).collect();
        let conf = ResolvConf::read("resolv.conf", &text);
        assert_eq!((conf.servers.len(), conf.problems.len()), (MAX_SERVERS, 40 - MAX_SERVERS));
    }

    #[test]
    fn the_process_itself_is_left_out() {
        let text = "nameserver 127.0.0.1\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 9.9.9.9\n";
        for (listen, left) in [
            (&[][..], &["127.0.0.1:53", "127.0.0.53:53", "[::1]:53", "9.9.9.9:53"][..]),
            (&["127.0.0.1:53"], &["127.0.0.53:53", "[::1]:53", "9.9.9.9:53"]),
            (&["127.0.0.1:5300"], &["127.0.0.1:53", "127.0.0.53:53", "[::1]:53", "9.9.9.9:53"]),
            (&["0.0.0.0:53"], &["[::1]:53", "9.9.9.9:53"]),
            (&["[::]:53"], &["127.0.0.1:53", "127.0.0.53:53", "9.9.9.9:53"]),
            (&["0.0.0.0:53", "[::]:53"], &["9.9.9.9:53"]),
            (&["9.9.9.9:53", "[::1]:53"], &["127.0.0.1:53", "127.0.0.53:53"]),
        ] {
            let own: Vec<SocketAddr> = listen.iter().map(|addr| addr.parse().unwrap()).collect();
            let conf = ResolvConf::read("resolv.conf", text).leaving_out(&own);
            assert_eq!(shown(&conf), left, "{listen:?}");
        }
    }
}
