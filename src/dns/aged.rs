//! Messages that were kept elsewhere on their way here.

use super::finish;
use super::wire::{self, HEADER_LEN, Header, Message};
use crate::iana::Rtype;

/// Takes `age_s` off every TTL of a message; none falls below zero, and what cannot be read is left as it is.
pub fn count_down(message: &mut [u8], age_s: u32) {
    if age_s == 0 {
        return;
    }
    let offsets = ttl_offsets(message);
    finish::count_down(message, offsets.into_iter(), age_s);
}

/// Where TTLs stand. OPT has flags in its place (RFC 6891 §6.1.3).
fn ttl_offsets(message: &[u8]) -> Vec<u16> {
    let (Some(header), Ok((_, _, _, question))) = (Header::read(message), wire::question(message)) else {
        return Vec::new();
    };
    let records = Message::new(question, message.get(HEADER_LEN + question.len()..).unwrap_or_default());
    let count = header.counts[1..].iter().map(|&count| usize::from(count)).sum();
    let sound = records.records(records.base(), count).map_while(Result::ok);
    let others = sound.filter(|record| record.rtype != Rtype::OPT);
    others.filter_map(|record| u16::try_from(record.ttl_at).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::response;
    use super::*;

    #[test]
    fn all_records_are_older_but_opt() {
        let reply = |[a, b, c]: [u32; 3]| {
            let answer = [format!("x.example {a} A 192.0.2.1")];
            let authority = [format!("example {b} NS ns.example")];
            let additional = [format!("ns.example {c} A 192.0.2.2")];
            let text = |records: &[String; 1]| -> &'static str { records[0].clone().leak() };
            let sections: [&[&str]; 3] = [&[text(&answer)], &[text(&authority)], &[text(&additional)]];
            let mut message = response(0, "x.example", Rtype::A, sections);
            // An OPT with DO, whose flags are no TTL.
            message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
            message[11] += 1;
            message
        };
        let mut message = reply([300, 20, 10]);
        count_down(&mut message, 0);
        assert_eq!(message, reply([300, 20, 10]));
        count_down(&mut message, 15);
        assert_eq!(message, reply([285, 5, 0]));
        for cut in 0..message.len() {
            count_down(&mut message[..cut], 1);
        }
    }
}
