//! One client socket and its queries under way.

use std::net::UdpSocket;

/// Queries under way or just ended that a flow's ring remembers: far more than a window.
const RING_LEN: usize = 1024;
/// Overdue queries that a flow remembers beside them; while there are more, it sends nothing.
const MAX_LATE: usize = 4096;

/// A connected socket; a reply is matched by socket and ID, and must echo its question.
#[derive(Debug)]
pub(super) struct Flow {
    /// The socket.
    pub socket: UdpSocket,
    /// Queries whose reply is awaited.
    pub in_flight: usize,
    /// The queries numbered `head` to `next`, each at its number modulo the length.
    ring: Box<[Slot]>,
    head: u32,
    next: u32,
    /// Queries that are overdue, by the low half of their number, oldest first. They are out of the ring: one that is
    /// lost must not hold up those behind it.
    late: Vec<(u16, Slot)>,
    /// Makes IDs differ between flows and runs: what comes late from another run does not match.
    salt: u16,
}

/// A query under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// When it should have been sent, in nanoseconds after the start.
    pub due_ns: u64,
    /// When it was.
    pub sent_ns: u64,
    /// Its question's [`check`].
    check: u64,
    waiting: bool,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Match {
    /// This query, which is under way no longer.
    Answers(Slot),
    /// None that is under way: it is late, or a second one.
    Nothing,
    /// Its ID fits a query whose question it does not echo.
    Wrong,
}

impl Flow {
    /// A flow over this socket.
    pub(super) fn new(socket: UdpSocket, salt: u16) -> Flow {
        let ring = vec![Slot::default(); RING_LEN].into();
        Flow { socket, in_flight: 0, ring, head: 0, next: 0, late: Vec::new(), salt }
    }

    /// Notes a query and gives its ID; none while there is no room.
    pub(super) fn begin(&mut self, check: u64, due_ns: u64, sent_ns: u64) -> Option<u16> {
        loop {
            let number = self.next;
            if number.wrapping_sub(self.head) as usize >= RING_LEN {
                return None;
            }
            self.next = number.wrapping_add(1);
            // IDs go round; one that is still waited for is left out.
            let free = self.late.iter().all(|(late, _)| *late != number as u16);
            *self.slot(number) = Slot { due_ns, sent_ns, check, waiting: free };
            if free {
                self.in_flight += 1;
                return Some(number as u16 ^ self.salt);
            }
        }
    }

    /// Matches a reply.
    pub(super) fn end(&mut self, id: u16, check: u64) -> Match {
        let low = id ^ self.salt;
        // The ring is shorter than 2^16, so the low half of a number tells it.
        let ahead = u32::from(low.wrapping_sub(self.head as u16));
        if ahead < self.next.wrapping_sub(self.head) {
            let slot = self.slot(self.head.wrapping_add(ahead));
            if slot.waiting {
                if slot.check != check {
                    return Match::Wrong;
                }
                slot.waiting = false;
                let slot = *slot;
                self.in_flight -= 1;
                while self.head != self.next && !self.slot(self.head).waiting {
                    self.head = self.head.wrapping_add(1);
                }
                return Match::Answers(slot);
            }
        }
        match self.late.iter().position(|(late, _)| *late == low) {
            None => Match::Nothing,
            Some(place) if self.late[place].1.check != check => Match::Wrong,
            Some(place) => {
                self.in_flight -= 1;
                Match::Answers(self.late.remove(place).1)
            }
        }
    }

    /// When the last query was sent, while any is under way.
    pub(super) fn last_sent_ns(&self) -> Option<u64> {
        let last = self.next.wrapping_sub(1) as usize % RING_LEN;
        (self.in_flight > 0).then(|| self.ring[last].sent_ns)
    }

    /// Queries under way that are not overdue.
    pub(super) fn prompt(&self) -> usize {
        self.in_flight - self.late.len()
    }

    /// Queries sent at or before `limit_ns` are overdue.
    pub(super) fn age(&mut self, limit_ns: u64) {
        while self.head != self.next {
            let number = self.head;
            let slot = *self.slot(number);
            if slot.waiting {
                if slot.sent_ns > limit_ns || self.late.len() == MAX_LATE {
                    break;
                }
                self.late.push((number as u16, slot));
                self.slot(number).waiting = false;
            }
            self.head = number.wrapping_add(1);
        }
    }

    /// Gives up overdue queries sent at or before `limit_ns`; says how many.
    pub(super) fn expire(&mut self, limit_ns: u64) -> u64 {
        let lost = self.late.partition_point(|(_, slot)| slot.sent_ns <= limit_ns);
        self.late.drain(..lost);
        self.in_flight -= lost;
        lost as u64
    }

    /// The place of the query of this number.
    fn slot(&mut self, number: u32) -> &mut Slot {
        &mut self.ring[number as usize % RING_LEN]
    }
}

/// A number that differs between different questions, given whole; the case of letters does not matter, as some servers
/// change it.
pub(super) fn check(question: &[u8]) -> u64 {
    // Bit 5 tells cases apart; that it also tells some other octets apart matters little here.
    const FOLD: u64 = 0x2020_2020_2020_2020;
    // 2^64 divided by the golden ratio, as multiplicative hashing has it.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (chunks, rest) = question.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    chunks.iter().chain([&last]).fold(question.len() as u64, |hash, chunk| {
        ((hash ^ (u64::from_le_bytes(*chunk) | FOLD)).wrapping_mul(SPREAD)).rotate_left(29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flow that sends nothing.
    fn flow() -> Flow {
        Flow::new(UdpSocket::bind("127.0.0.1:0").unwrap(), 0xabcd)
    }

    #[test]
    fn replies_are_matched_once() {
        let mut flow = flow();
        let ids: Vec<u16> = (0..3).map(|number| flow.begin(number, number, 10 + number).unwrap()).collect();
        assert!(matches!(flow.end(ids[1], 9), Match::Wrong));
        assert!(matches!(flow.end(ids[1], 1), Match::Answers(Slot { due_ns: 1, sent_ns: 11, .. })));
        assert!(matches!(flow.end(ids[1], 1), Match::Nothing));
        assert!(matches!(flow.end(ids[0], 0), Match::Answers(_)));
        assert!(matches!(flow.end(ids[2].wrapping_add(5), 0), Match::Nothing));
        assert_eq!((flow.in_flight, flow.head), (1, 2));
        flow.age(12);
        assert_eq!((flow.expire(11), flow.expire(12), flow.in_flight), (0, 1, 0));
        assert!(matches!(flow.end(ids[2], 2), Match::Nothing), "lost");
    }

    #[test]
    fn lost_queries_do_not_hold_up_others() {
        let mut flow = flow();
        let lost = flow.begin(0, 0, 0).unwrap();
        let mut seen = std::collections::HashSet::new();
        for number in 1..200_000 {
            let id = flow.begin(number, 0, 5).expect("there is room");
            assert_ne!(id, lost, "its ID is not used again");
            seen.insert(id);
            assert!(matches!(flow.end(id, number), Match::Answers(_)), "{number}");
            flow.age(0);
        }
        assert_eq!((seen.len(), flow.in_flight, flow.prompt()), (65_535, 1, 0));
        assert!(matches!(flow.end(lost, 0), Match::Answers(_)), "late, but not lost");
    }

    #[test]
    fn without_replies_a_flow_ends_full() {
        let mut flow = flow();
        let mut sent = 0;
        while flow.begin(0, 0, 0).is_some() {
            sent += 1;
            flow.age(0);
        }
        assert_eq!((sent, flow.in_flight), (RING_LEN + MAX_LATE, RING_LEN + MAX_LATE));
        assert_eq!((flow.expire(0), flow.prompt()), (MAX_LATE as u64, RING_LEN));
    }

    #[test]
    fn what_is_overdue_makes_room() {
        let mut flow = flow();
        let ids: Vec<u16> = (0..4).map(|number| flow.begin(number, 0, number).unwrap()).collect();
        flow.age(1);
        assert_eq!((flow.in_flight, flow.prompt()), (4, 2));
        assert!(matches!(flow.end(ids[0], 9), Match::Wrong));
        assert!(matches!(flow.end(ids[0], 0), Match::Answers(_)), "late, but not lost");
        assert!(matches!(flow.end(ids[2], 2), Match::Answers(_)));
        assert_eq!((flow.in_flight, flow.prompt()), (2, 1));
        flow.age(9);
        assert_eq!((flow.prompt(), flow.expire(1), flow.in_flight, flow.prompt()), (0, 1, 1, 0));
        assert!(matches!(flow.end(ids[3], 3), Match::Answers(_)));
        assert_eq!(
            (flow.in_flight, flow.prompt(), flow.begin(0, 0, 10).is_some(), flow.prompt()),
            (0, 0, true, 1)
        );
    }

    #[test]
    fn questions_differ() {
        let questions = [
            &b"\x01a\0\0\x01\0\x01"[..],
            b"\x01b\0\0\x01\0\x01",
            b"\x01a\0\0\x1c\0\x01",
            b"",
            b"\x03www\x07example\0\0\x01\0\x01",
        ];
        let mut checks: Vec<u64> = questions.iter().map(|question| check(question)).collect();
        checks.sort_unstable();
        checks.dedup();
        assert_eq!(checks.len(), questions.len());
        assert_eq!(check(b"\x03wWw\x07eXample\0\0\x01\0\x01"), check(questions[4]));
    }
}
