//! Where the control API is spoken: a Unix socket or a TCP address.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The port that examples use for the API; it has no default of its own.
pub const EXAMPLE_PORT: u16 = 5380;
/// What a Unix socket's address starts with.
pub const UNIX: &str = "unix:";
/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";

/// Where the control API is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket: who may open it may speak.
    Unix(PathBuf),
    /// A TCP address with its port.
    Tcp(SocketAddr),
}

impl Address {
    /// Whether it is reached from this machine alone.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Unix(_) => true,
            Address::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads `unix:PATH` or `ADDRESS:PORT`.
    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err("has no path after \"unix:\"".into()),
                path => Ok(Address::Unix(path.into())),
            };
        }
        let addr = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/').parse();
        addr.map(Address::Tcp).map_err(|_| "is neither unix:PATH nor address:port".into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Address::Tcp(addr) => write!(f, "{addr}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown, local) in [
            ("unix:/run/sinkscope/control.sock", "unix:/run/sinkscope/control.sock", true),
            ("unix:///run/control.sock", "unix:/run/control.sock", true),
            ("unix:state/control.sock", "unix:state/control.sock", true),
            ("127.0.0.1:5380", "127.0.0.1:5380", true),
            ("http://127.0.0.1:5380/", "127.0.0.1:5380", true),
            ("[::1]:5380", "[::1]:5380", true),
            ("[::ffff:127.0.0.1]:5380", "[::ffff:127.0.0.1]:5380", true),
            ("0.0.0.0:5380", "0.0.0.0:5380", false),
            ("192.0.2.1:5380", "192.0.2.1:5380", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (shown, local), "{text}");
        }
        for bad in ["", "unix:", "localhost:5380", "127.0.0.1", "https://127.0.0.1:5380"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
