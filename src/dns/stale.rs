//! Truth beyond its TTL, told for want of a newer one (RFC 8767).

use super::ede::Ede;
use super::truth::Truth;
use crate::iana::{EdeCode, Rcode};

/// The TTL of expired records, in seconds. RFC 8767 §4: it "MUST" be greater than 0, "with a RECOMMENDED value of 30 seconds".
pub const STALE_TTL_S: u32 = 30;

impl Truth {
    /// Whether it may be told when it has expired: RFC 8767 §4 takes NOERROR and NXDOMAIN for data, and nothing else.
    pub fn may_be_stale(&self) -> bool {
        self.lifetime_s > 0 && matches!(self.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
    }

    /// The same `age_s` seconds after it arrived, as it is told for want of a newer one: records that have not expired are counted
    /// down, the others get [`STALE_TTL_S`], and if there are such, the first EDE says what it is. It is not to be cached.
    #[must_use]
    pub fn stale(&self, age_s: u32) -> Truth {
        let mut octets = self.octets.clone();
        for &offset in &*self.ttl_offsets {
            let ttl = octets.get_mut(usize::from(offset)..).and_then(|rest| rest.first_chunk_mut::<4>());
            if let Some(ttl) = ttl {
                let left_s = u32::from_be_bytes(*ttl).saturating_sub(age_s);
                *ttl = if left_s == 0 { STALE_TTL_S } else { left_s }.to_be_bytes();
            }
        }
        let code = (age_s >= self.lifetime_s).then_some(match self.rcode {
            Rcode::NXDOMAIN => EdeCode::STALE_NXDOMAIN_ANSWER,
            _ => EdeCode::STALE_ANSWER,
        });
        Truth {
            octets,
            ttl_offsets: self.ttl_offsets.clone(),
            targets: self.targets.clone(),
            addresses: self.addresses.clone(),
            // The same records lead to the same.
            untouched: self.untouched.clone(),
            asks: self.asks.clone(),
            // Signatures expire as well: what was validated then may not be valid now.
            authentic: false,
            lifetime_s: 0,
            ede: code.map(Ede::bare).into_iter().chain(self.ede.iter().cloned()).collect(),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TtlLimits;
    use super::super::testing::{question, response};
    use super::*;
    use crate::iana::Rtype;

    #[test]
    fn expired_records_last_thirty_seconds_and_others_what_they_have_left() {
        let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
        let records: &[&str] = &["q.e 100 CNAME x.e.", "x.e 5 A 1.2.3.4"];
        let message = response(0, "q.e", Rtype::A, [records, &[], &[]]);
        let mut truth = Truth::read(&question("q.e", Rtype::A), &message, &limits).unwrap();
        truth.authentic = true;
        for (age_s, expected) in
            [(5, [95, 30]), (99, [1, 30]), (100, [30, 30]), (4_000_000_000, [30, 30]), (4, [96, 1])]
        {
            let stale = truth.stale(age_s);
            let ttls: Vec<u32> = stale
                .ttl_offsets
                .iter()
                .map(|&at| u32::from_be_bytes(*stale.octets[usize::from(at)..].first_chunk().unwrap()))
                .collect();
            assert_eq!(ttls, expected, "{age_s}");
            assert_eq!((stale.lifetime_s, stale.authentic), (0, false));
            assert!(truth.may_be_stale() && !stale.may_be_stale());
            assert_eq!(stale.targets, truth.targets);
        }
    }

    #[test]
    fn the_code_tells_nxdomain_from_the_rest() {
        let limits = TtlLimits { min_s: 0, max_s: 9, negative_min_s: 0, negative_max_s: 9 };
        let soa: &[&str] = &["e 5 SOA 5"];
        for (rcode, code) in [(0, EdeCode::STALE_ANSWER), (3, EdeCode::STALE_NXDOMAIN_ANSWER)] {
            let message = response(rcode, "q.e", Rtype::A, [&[], soa, &[]]);
            let mut truth = Truth::read(&question("q.e", Rtype::A), &message, &limits).unwrap();
            truth.ede = vec![Ede::bare(EdeCode(7))];
            let codes: Vec<EdeCode> = truth.stale(9).ede.iter().map(|ede| ede.code).collect();
            assert_eq!(codes, [code, EdeCode(7)]);
        }
    }
}
