//! What a made trace is like.

use std::path::PathBuf;
use std::str::FromStr;

use crate::iana::Rtype;
use crate::orders::time;
use crate::time::UnixSeconds;

/// What a made trace is like; also its options on the command line.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct Spec {
    /// Popular names, one a line, the most popular first [default: made names]
    #[arg(long, value_name = "FILE")]
    pub popular: Option<PathBuf>,
    /// How many popular names to make when no file is given
    #[arg(long, value_name = "NAMES", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub made_names: u32,
    /// Exponent of Zipf's law over popular names; 0 makes all alike
    #[arg(long, value_name = "EXPONENT", default_value_t = 1.0, value_parser = exponent)]
    pub zipf: f64,
    /// Share of queries for names that orders capture
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub listed: Share,
    /// Share of queries for innocent neighbours of listed names
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub siblings: Share,
    /// Take only the neighbours at or below the zones in this file, one a line [default: of every listed name]
    #[arg(long, value_name = "FILE")]
    pub sibling_zones: Option<PathBuf>,
    /// Share of queries for names asked once: cache misses
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    pub unique: Share,
    /// Types and their weights
    #[arg(long, value_name = "TYPE=WEIGHT,...", default_value = "A=60,AAAA=25,HTTPS=10,PTR=2,TXT=2,MX=1")]
    pub types: Types,
    /// Share of queries with EDNS
    #[arg(long, value_name = "SHARE", default_value = "90%")]
    pub edns: Share,
    /// Share of queries with EDNS that set DO
    #[arg(long, value_name = "SHARE", default_value = "20%")]
    pub dnssec: Share,
    /// How many clients ask
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    pub clients: u32,
    /// Share of clients that speak IPv6
    #[arg(long, value_name = "SHARE", default_value = "20%")]
    pub ipv6: Share,
    /// Queries a second, by the time stamps
    #[arg(long, value_name = "QPS", default_value_t = 1000.0, value_parser = rate)]
    pub rate: f64,
    /// Time of the first query: 2026-01-01, 2026-01-01T12:00:00Z or Unix seconds
    #[arg(long, value_name = "TIME", default_value = "2026-01-01", value_parser = time::parse)]
    pub start: UnixSeconds,
    /// The same seed makes the same trace
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A part of the whole, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let (digits, scale) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
        let share = digits.trim().parse().map(|number: f64| number / scale);
        share
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Share)
            .ok_or_else(|| "expected a share such as 5% or 0.05, at most 100%".into())
    }
}

/// Types and how often each is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Types(pub Vec<(Rtype, f64)>);

impl FromStr for Types {
    type Err = String;

    fn from_str(text: &str) -> Result<Types, String> {
        let one = |item: &str| {
            let (name, weight) = item.split_once('=').unwrap_or((item, "1"));
            let qtype = name.trim().parse().map_err(|_| format!("no type is called {name:?}"))?;
            let weight =
                weight.trim().parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
            Ok((qtype, weight.ok_or_else(|| format!("the weight of {name} is no number"))?))
        };
        let types = text.split(',').map(one).collect::<Result<Vec<_>, String>>()?;
        if types.iter().any(|(_, weight)| *weight > 0.0) {
            Ok(Types(types))
        } else {
            Err("no type has a weight above 0".into())
        }
    }
}

/// Reads Zipf's exponent.
fn exponent(text: &str) -> Result<f64, String> {
    // Above 5, all but one query in thirty ask for the first name.
    text.parse()
        .ok()
        .filter(|number| (0.0..=5.0).contains(number))
        .ok_or_else(|| "expected a number from 0 to 5".into())
}

/// Reads a rate in queries a second.
pub fn rate(text: &str) -> Result<f64, String> {
    // One a day to far more than a machine sends.
    text.parse()
        .ok()
        .filter(|number| (1e-5..=1e9).contains(number))
        .ok_or_else(|| "expected queries a second, above 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, expected) in
            [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("100%", 1.0), ("1", 1.0), ("0.1%", 0.001)]
        {
            assert_eq!(text.parse(), Ok(Share(expected)), "{text}");
        }
        for text in ["", "%", "101%", "1.1", "-1", "nan", "x"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn types() {
        let types = vec![(Rtype::A, 2.0), (Rtype::AAAA, 1.0), (Rtype(65_280), 0.5)];
        assert_eq!("A=2,aaaa, TYPE65280=0.5".parse(), Ok(Types(types)));
        for text in ["", "A=x", "A=0", "B=1", "A=-1", "A=inf", "A,,"] {
            assert!(text.parse::<Types>().is_err(), "{text}");
        }
    }
}
