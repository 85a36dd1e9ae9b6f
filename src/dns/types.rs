//! Types by name, as people write them.

use std::borrow::Cow;

/// Types by name (IANA DNS resource record types); any other is TYPE123 (RFC 3597 §5).
pub const TYPES: [(&str, u16); 32] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("CERT", 37),
    ("DNAME", 39),
    ("DS", 43),
    ("SSHFP", 44),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("SPF", 99),
    ("ANY", 255),
    ("URI", 256),
    ("CAA", 257),
    ("AXFR", 252),
];

/// The number of a type written by name, in any case, or as TYPE123.
pub fn type_number(text: &str) -> Option<u16> {
    let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
    known.or_else(|| {
        let (prefix, digits) = text.split_at_checked(4)?;
        let plain = prefix.eq_ignore_ascii_case("TYPE") && digits.bytes().all(|octet| octet.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    })
}

/// The name of a type.
pub fn type_name(number: u16) -> Cow<'static, str> {
    match TYPES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("TYPE{number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_numbers() {
        for (text, number) in
            [("A", Some(1)), ("https", Some(65)), ("TYPE65280", Some(65_280)), ("type1", Some(1))]
        {
            assert_eq!(type_number(text), number, "{text}");
        }
        for text in ["", "TYPE", "TYPE-1", "TYPE65536", "B", "TYPEx", "é€é"] {
            assert_eq!(type_number(text), None, "{text}");
        }
        for (name, number) in TYPES {
            assert_eq!((type_name(number).as_ref(), type_number(name)), (name, Some(number)));
        }
        assert_eq!(type_name(65_280), "TYPE65280");
    }
}
