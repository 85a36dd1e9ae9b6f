//! One client socket and its queries under way.

use std::net::UdpSocket;

/// Queries under way or just ended that a flow remembers: enough that one lost query does not hold up those behind it.
const RING_LEN: usize = 1024;

/// A connected socket; a reply is matched by socket and ID, and must echo its question.
#[derive(Debug)]
pub struct Flow {
    /// The socket.
    pub socket: UdpSocket,
    /// Queries whose reply is awaited.
    pub in_flight: usize,
    /// The queries numbered `head` to `next`, each at its number modulo the length.
    ring: Box<[Slot]>,
    head: u32,
    /// Queries from here on are not overdue yet: `head` to `young` are, if they still wait.
    young: u32,
    /// How many of those wait.
    overdue: usize,
    next: u32,
    /// Makes IDs differ between flows and runs: what comes late from another run does not match.
    salt: u16,
}

/// A query under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
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
pub enum Match {
    /// This query, which is under way no longer.
    Answers(Slot),
    /// None that is under way: it is late, or a second one.
    Nothing,
    /// Its ID fits a query whose question it does not echo.
    Wrong,
}

impl Flow {
    /// A flow over this socket.
    pub fn new(socket: UdpSocket, salt: u16) -> Flow {
        Flow {
            socket,
            in_flight: 0,
            ring: vec![Slot::default(); RING_LEN].into(),
            head: 0,
            young: 0,
            overdue: 0,
            next: 0,
            salt,
        }
    }

    /// Notes a query and gives its ID; none while there is no room.
    pub fn begin(&mut self, check: u64, due_ns: u64, sent_ns: u64) -> Option<u16> {
        let number = self.next;
        if number.wrapping_sub(self.head) as usize >= RING_LEN {
            return None;
        }
        *self.slot(number) = Slot { due_ns, sent_ns, check, waiting: true };
        self.next = number.wrapping_add(1);
        self.in_flight += 1;
        Some(number as u16 ^ self.salt)
    }

    /// Matches a reply.
    pub fn end(&mut self, id: u16, check: u64) -> Match {
        // The ring is shorter than 2^16, so the low half of a number tells it.
        let ahead = u32::from((id ^ self.salt).wrapping_sub(self.head as u16));
        if ahead >= self.next.wrapping_sub(self.head) {
            return Match::Nothing;
        }
        let slot = self.slot(self.head.wrapping_add(ahead));
        if !slot.waiting {
            return Match::Nothing;
        }
        if slot.check != check {
            return Match::Wrong;
        }
        slot.waiting = false;
        let slot = *slot;
        self.in_flight -= 1;
        if ahead < self.young.wrapping_sub(self.head) {
            self.overdue -= 1;
        }
        while self.head != self.next && !self.slot(self.head).waiting {
            self.step();
        }
        Match::Answers(slot)
    }

    /// When the last query was sent, while any is under way.
    pub fn last_sent_ns(&self) -> Option<u64> {
        let last = self.next.wrapping_sub(1) as usize % RING_LEN;
        (self.in_flight > 0).then(|| self.ring[last].sent_ns)
    }

    /// Queries under way that may still be answered soon.
    pub fn prompt(&self) -> usize {
        self.in_flight - self.overdue
    }

    /// Queries sent at or before `limit_ns` are overdue.
    pub fn age(&mut self, limit_ns: u64) {
        while self.young != self.next {
            let slot = *self.slot(self.young);
            if slot.sent_ns > limit_ns {
                break;
            }
            self.overdue += usize::from(slot.waiting);
            self.young = self.young.wrapping_add(1);
        }
    }

    /// Forgets the first query, which does not wait.
    fn step(&mut self) {
        if self.young == self.head {
            self.young = self.young.wrapping_add(1);
        }
        self.head = self.head.wrapping_add(1);
    }

    /// Gives up queries sent at or before `limit_ns`; says how many.
    pub fn expire(&mut self, limit_ns: u64) -> u64 {
        let mut lost = 0;
        // What is lost was overdue.
        self.age(limit_ns);
        while self.head != self.next {
            let slot = self.slot(self.head);
            if slot.waiting && slot.sent_ns > limit_ns {
                break;
            }
            lost += u64::from(slot.waiting);
            slot.waiting = false;
            self.step();
        }
        self.in_flight -= lost as usize;
        self.overdue -= lost as usize;
        lost
    }

    /// The place of the query of this number.
    fn slot(&mut self, number: u32) -> &mut Slot {
        &mut self.ring[number as usize % RING_LEN]
    }
}

/// A number that differs between different questions, given whole; the case of letters does not matter, as some servers
/// change it.
pub fn check(question: &[u8]) -> u64 {
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
        assert_eq!((flow.expire(11), flow.expire(12), flow.in_flight), (0, 1, 0));
        assert!(matches!(flow.end(ids[2], 2), Match::Nothing), "late");
    }

    #[test]
    fn a_lost_query_does_not_hold_up_others() {
        let mut flow = flow();
        flow.begin(0, 0, 0).unwrap();
        for number in 1..RING_LEN as u64 {
            let id = flow.begin(number, 0, 0).unwrap();
            assert!(matches!(flow.end(id, number), Match::Answers(_)), "{number}");
        }
        assert_eq!(flow.begin(0, 0, 0), None, "until the ring has gone round");
        assert_eq!(flow.expire(0), 1);
        for number in 0..200_000 {
            let id = flow.begin(number, 0, 0).unwrap();
            assert!(matches!(flow.end(id, number), Match::Answers(_)), "IDs go round: {number}");
        }
    }

    #[test]
    fn what_is_overdue_makes_room() {
        let mut flow = flow();
        let ids: Vec<u16> = (0..4).map(|number| flow.begin(number, 0, number).unwrap()).collect();
        flow.age(1);
        assert_eq!((flow.in_flight, flow.prompt()), (4, 2));
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
