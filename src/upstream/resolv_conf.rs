//! The system's `resolv.conf`: which servers this machine asks (resolv.conf(5)).

use super::server::Server;
use super::settings::MAX_SERVERS;
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

    /// Takes the word behind `nameserver`.
    fn add(&mut self, word: Option<&str>) -> Result<(), String> {
        let word = word.ok_or("nameserver without an address")?;
        let server: Server = word.parse().map_err(|error| format!("{word} is left out: {error}"))?;
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
            ("nameserver fe80::1%7\nnameserver 2001:db8::53", &["[fe80::1%7]:53", "[2001:db8::53]:53"], 0),
            ("nameserver fe80::1%no-such\nnameserver 2001:db8::53", &["[2001:db8::53]:53"], 1),
            (
                "nameserver fe80::1\nnameserver fe80::1%7\nnameserver fe80::1%8",
                &["[fe80::1%7]:53", "[fe80::1%8]:53"],
                1,
            ),
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
        let conf = ResolvConf::read("/etc/resolv.conf", "search x\nnameserver fe80::1%no-such\n");
        let shown = conf.problems[0].to_string();
        let said =
            "warning: /etc/resolv.conf:2: fe80::1%no-such is left out: this machine has no network interface";
        assert!(shown.starts_with(said), "{shown}");
    }

    #[test]
    fn servers_are_bounded() {
        let text: String = (0..40).map(|n| format!("nameserver 10.0.0.{n}\n")).collect();
        let conf = ResolvConf::read("resolv.conf", &text);
        assert_eq!((conf.servers.len(), conf.problems.len()), (MAX_SERVERS, 40 - MAX_SERVERS));
    }
}
