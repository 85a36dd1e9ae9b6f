//! Packets that nobody should send: random ones, and good ones with something wrong. The same in every run of a seed.

use super::wire;

/// A generator of random numbers that is the same everywhere (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Makes packets.
pub struct Garbage {
    random: Random,
}

impl Garbage {
    /// The packets of a seed.
    pub fn new(seed: u64) -> Garbage {
        Garbage { random: Random(seed) }
    }

    /// The next packet, at most 600 octets or so, into a buffer that is replaced.
    pub fn next(&mut self, packet: &mut Vec<u8>) {
        packet.clear();
        match self.random.below(8) {
            0 => self.random_octets(packet),
            1 => self.random_body(packet),
            _ => {
                self.query(packet);
                for _ in 0..=self.random.below(3) {
                    self.mutate(packet);
                }
            }
        }
    }

    /// Octets without any sense.
    fn random_octets(&mut self, packet: &mut Vec<u8>) {
        let length = self.random.below(600);
        packet.extend((0..length).map(|_| self.random.next() as u8));
    }

    /// The header of a query, then nonsense.
    fn random_body(&mut self, packet: &mut Vec<u8>) {
        let id = self.random.next() as u16;
        packet.extend_from_slice(&id.to_be_bytes());
        packet.extend_from_slice(&[0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        self.random_octets(packet);
    }

    /// A good query of one sort or another; few distinct names, so that most of them never leave the machine.
    fn query(&mut self, packet: &mut Vec<u8>) {
        const NAMES: [&str; 8] = [
            "evil.ddns.net",
            "www.evil.ddns.net",
            "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.ddns.net",
            "localhost",
            "1.0.0.127.in-addr.arpa",
            "version.bind",
            "",
            "xn--bcher-kva.no-ip.org",
        ];
        const TYPES: [u16; 16] = [1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 43, 46, 64, 65, 251, 255];
        let name = NAMES[self.random.below(NAMES.len())];
        let qtype = TYPES[self.random.below(TYPES.len())];
        wire::write_query(self.random.next() as u16, name, qtype, packet);
        // Options behind OPT, true to their length or not.
        if self.random.below(4) == 0 {
            let end = packet.len();
            let (code, said, real) =
                (self.random.below(20) as u16, self.random.below(40), self.random.below(40));
            packet.extend_from_slice(&code.to_be_bytes());
            packet.extend_from_slice(&(said as u16).to_be_bytes());
            packet.extend((0..real).map(|_| self.random.next() as u8));
            let length = (packet.len() - end) as u16;
            packet[end - 2..end].copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Breaks something.
    fn mutate(&mut self, packet: &mut Vec<u8>) {
        if packet.is_empty() {
            return;
        }
        let at = self.random.below(packet.len());
        match self.random.below(9) {
            0 => packet[at] ^= 1 << self.random.below(8),
            1 => packet[at] = self.random.next() as u8,
            2 => packet.truncate(at),
            // A compression pointer, to anywhere.
            3 => {
                packet[at] = 0xc0;
                if let Some(low) = packet.get_mut(at + 1) {
                    *low = self.random.next() as u8;
                }
            }
            // Counts that do not fit.
            4 if packet.len() >= 12 => {
                let at = 4 + self.random.below(8);
                packet[at] = [0, 1, 2, 255][self.random.below(4)];
            }
            // Flags: responses, opcodes, truncated, rcodes.
            5 if packet.len() >= 4 => packet[2 + at % 2] = self.random.next() as u8,
            6 => packet.insert(at, self.random.next() as u8),
            7 => {
                let copy = packet[at..].to_vec();
                packet.extend_from_slice(&copy);
            }
            _ => self.random_tail(packet),
        }
    }

    /// More than there should be.
    fn random_tail(&mut self, packet: &mut Vec<u8>) {
        let length = self.random.below(64);
        packet.extend((0..length).map(|_| self.random.next() as u8));
    }
}
