//! The name of an address, which its PTR record has.

use std::fmt::Write;
use std::net::IpAddr;

use crate::name::Name;

/// The name under `in-addr.arpa` (RFC 1035 §3.5) or `ip6.arpa` (RFC 3596 §2.5).
pub(super) fn reverse(address: IpAddr) -> Option<Name> {
    let mut text = String::with_capacity(72);
    // Writing to a string cannot fail.
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let _ = write!(text, "{d}.{c}.{b}.{a}.in-addr.arpa");
        }
        IpAddr::V6(address) => {
            for octet in address.octets().iter().rev() {
                let _ = write!(text, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            text.push_str("ip6.arpa");
        }
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_turned_round() {
        // The first is RFC 1035 §3.5's, the last RFC 3596 §2.5's.
        let long = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa";
        for (address, expected) in [
            ("10.2.0.52", "52.0.2.10.in-addr.arpa"),
            ("192.168.1.10", "10.1.168.192.in-addr.arpa"),
            ("::ffff:192.168.1.10", "10.1.168.192.in-addr.arpa"),
            ("4321:0:1:2:3:4:567:89ab", long),
        ] {
            assert_eq!(reverse(address.parse().unwrap()).unwrap().to_string(), expected);
        }
    }
}
