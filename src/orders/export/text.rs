//! Names as other programs read them.

use std::fmt;

use crate::name::Name;

/// A name as every zone file parser reads it: whatever is not a letter, digit, hyphen or underscore by its number
/// (RFC 1035 §5.1). No dot at the end; the root is nothing.
pub(super) struct ZoneName<'n>(pub &'n Name);

impl fmt::Display for ZoneName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nearly every name is plain, and its pieces are written whole.
        for (index, label) in self.0.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            match std::str::from_utf8(label) {
                Ok(text) if label.iter().copied().all(is_plain) => f.write_str(text)?,
                _ => label.iter().try_for_each(|&octet| match octet {
                    octet if is_plain(octet) => write!(f, "{}", char::from(octet)),
                    octet => write!(f, "\\{octet:03}"),
                })?,
            }
        }
        Ok(())
    }
}

/// Whether a name means the same wherever it is written: hostname characters and underscores only, and not the root.
pub(super) fn is_plain_name(name: &Name) -> bool {
    !name.is_root() && name.labels().all(|label| label.iter().copied().all(is_plain))
}

/// Whether an octet means itself everywhere.
fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_octets_are_written_by_number() {
        for (given, written, plain) in [
            ("a-b._x.net", "a-b._x.net", true),
            ("a\\.b.net", "a\\046b.net", false),
            ("*.net", "\\042.net", false),
            ("a\\032\\@$.net", "a\\032\\064\\036.net", false),
            (".", "", false),
        ] {
            let name: Name = given.parse().unwrap();
            assert_eq!(
                (ZoneName(&name).to_string().as_str(), is_plain_name(&name)),
                (written, plain),
                "{given}"
            );
        }
    }
}
