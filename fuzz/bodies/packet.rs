//! Packets: as queries through parse, forge and finish; as upstream replies through truth.

use std::sync::Arc;

use sinkscope::dns::{Answer, Body, Reject, Truth, TtlLimits, finish, parse};
use sinkscope::transport::Transport;

/// Reads octets both ways; whatever is answered must be within limits and echo its query.
pub fn run(octets: &[u8]) {
    let query = match parse(octets) {
        Ok(query) => query,
        Err(Reject::Answer(query, code)) => {
            let mut out = Vec::new();
            finish(&query, &Answer::error(code, None), Transport::Udp, &mut out);
            check(octets, &out, 512);
            return;
        }
        Err(Reject::Drop) => {
            as_reply(octets);
            return;
        }
    };
    for (transport, limit) in [(Transport::Udp, 1232), (Transport::Tcp, 65535)] {
        let mut out = Vec::new();
        finish(&query, &Answer::any(&query), transport, &mut out);
        check(octets, &out, limit);
        assert!(out[12..].starts_with(query.question), "the question is echoed");
        let again = query.key();
        let mut reply = octets.to_vec();
        reply[2] |= 0x80;
        if let Ok(truth) = Truth::read(&again, &reply, &LIMITS) {
            let answer =
                Answer { body: Body::Truth { truth: Arc::new(truth), age_s: 7 }, ..Answer::default() };
            finish(&query, &answer, transport, &mut out);
            check(octets, &out, limit);
        }
    }
}

/// Bounds that let everything through.
const LIMITS: TtlLimits = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3_600 };

/// Octets with QR set, read as the reply to the question they hold.
fn as_reply(octets: &[u8]) {
    if octets.len() < 12 {
        return;
    }
    let mut asked = octets.to_vec();
    asked[2] &= 0x7f;
    asked[6..12].fill(0);
    if let Ok(query) = parse(&asked) {
        let _ = Truth::read(&query.key(), octets, &LIMITS);
    }
}

/// What holds for every reply.
fn check(query: &[u8], reply: &[u8], limit: usize) {
    assert!((12..=limit).contains(&reply.len()), "{} octets", reply.len());
    assert_eq!(reply[..2], query[..2], "the ID is echoed");
    assert_eq!(reply[2] & 0x80, 0x80, "it is a response");
}
