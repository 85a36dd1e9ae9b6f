//! Numbers with units.

/// Reads a number of octets: a whole number and a unit, decimal (KB) or binary (KiB).
pub(super) fn octets(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_with_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("67108864", Some(67_108_864)),
            ("64MiB", Some(67_108_864)),
            ("64 mib", Some(67_108_864)),
            ("64M", Some(67_108_864)),
            ("64MB", Some(64_000_000)),
            ("1GiB", Some(1 << 30)),
            ("5kb", Some(5000)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("1TiB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(octets(text), expected, "{text:?}");
        }
    }
}
