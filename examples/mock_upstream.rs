//! An upstream that knows everything and costs little, for measuring the resolvers in front of it.
//!
//!     cargo run --release --example mock_upstream -- 127.0.0.1:5398 missing.example
//!
//! Every A query is answered with 198.18.0.1 (RFC 2544's range for benchmarks) for a day; names at or below the second
//! argument do not exist; other types have no data. A query of class CHAOS is told how many others came, as the address
//! of an A record: so one sees what a resolver had in its cache. One of class HESIOD is told from how many ports they came
//! since the one before it, and how many bits of surprise there were in a question's port, in thousandths: two numbers of 16
//! bits. It speaks UDP, and is no example of how to serve DNS.

use std::net::UdpSocket;

use sinkscope::batch::{Inbox, Outbox, SLOT_LEN, SLOTS};

/// Octets in a message header (RFC 1035 §4.1.1).
const HEADER_LEN: usize = 12;
/// A record owned by the question's name (a pointer to offset 12): type A, class IN, a day, 198.18.0.1.
const ADDRESS: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4, 198, 18, 0, 1];
/// Class CHAOS (RFC 1035 §3.2.4).
const CHAOS: u16 = 3;
/// Class HESIOD (RFC 1035 §3.2.4).
const HESIOD: u16 = 4;
/// Ports there are.
const PORTS: usize = 1 << 16;
/// An SOA but for its owner: class IN, a day; names are the root; its minimum, a day, is how long a denial may be kept
/// (RFC 2308 §5).
const SOA: [u8; 32] = [
    0, 6, 0, 1, 0, 1, 0x51, 0x80, 0, 22, 0, 0, 0, 0, 0, 1, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 1, 0x51,
    0x80, 0, 1, 0x51, 0x80,
];
/// OPT: root, type 41, 1232 octets, no flags, no options (RFC 6891 §6.1.2).
const OPT: [u8; 11] = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:5398".to_owned());
    let missing = wire(&args.next().unwrap_or_else(|| "missing.example".to_owned()));
    let socket = UdpSocket::bind(&addr)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let (mut inbox, mut outbox) = (Inbox::new(SLOTS, SLOT_LEN), Outbox::new(SLOTS, SLOT_LEN));
    let (mut count, mut ports) = (0u32, Ports::new());
    loop {
        inbox.receive(&socket, true)?;
        for datagram in inbox.iter() {
            if let Some(question) = Question::read(datagram.octets, &missing)
                && let Some(out) = outbox.slot()
            {
                let len = match question.qclass {
                    CHAOS => question.tell(datagram.octets, count.to_be_bytes(), out),
                    HESIOD => question.tell(datagram.octets, ports.told(), out),
                    _ => {
                        count = count.wrapping_add(1);
                        ports.came_from(datagram.route.peer.port());
                        question.answer(datagram.octets, out)
                    }
                };
                outbox.commit(len, Some(&datagram.route));
            }
        }
        outbox.send(&socket, true);
    }
}

/// A name of dotted labels, lower case, in wire format, the root's octet included.
fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.to_ascii_lowercase().trim_end_matches('.').split('.') {
        // A label that is too long for its octet matches no name.
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// How many questions came from each port.
struct Ports(Box<[u32]>);

impl Ports {
    /// None yet.
    fn new() -> Ports {
        Ports(vec![0; PORTS].into_boxed_slice())
    }

    /// Counts a question.
    fn came_from(&mut self, port: u16) {
        self.0[usize::from(port)] += 1;
    }

    /// How many ports there were, and the entropy of a question's port in thousandths of a bit; counts begin anew.
    fn told(&mut self) -> [u8; 4] {
        let counts = self.0.iter().filter(|count| **count > 0).map(|count| f64::from(*count));
        let (used, questions) = (counts.clone().count(), counts.clone().sum::<f64>());
        let bits = counts.map(|count| count / questions * (questions / count).log2()).sum::<f64>();
        self.0.fill(0);
        // Nothing comes from port 0, and 16 bits are 16,000 thousandths.
        let ([a, b], [c, d]) = ((used as u16).to_be_bytes(), ((bits * 1e3).round() as u16).to_be_bytes());
        [a, b, c, d]
    }
}

/// What an answer depends on.
struct Question {
    /// Where it ends.
    end: usize,
    /// Its type.
    qtype: u16,
    /// Its class.
    qclass: u16,
    /// Where the zone starts in which nothing exists, if the name is there.
    missing_at: Option<usize>,
    /// The query has further records: an OPT, as no client here signs.
    edns: bool,
}

impl Question {
    /// Reads a query with one question; none when it is anything else.
    fn read(octets: &[u8], missing: &[u8]) -> Option<Question> {
        let header = octets.get(..HEADER_LEN)?;
        // Neither a response nor an OPCODE but QUERY; QDCOUNT is 1.
        if header[2] & 0xf8 != 0 || header[4..6] != [0, 1] {
            return None;
        }
        let (mut at, mut missing_at) = (HEADER_LEN, None);
        loop {
            let rest = octets.get(at..)?;
            if rest.get(..missing.len()).is_some_and(|tail| tail.eq_ignore_ascii_case(missing)) {
                missing_at = Some(at);
            }
            match *rest.first()? {
                0 => break,
                len @ 1..=63 => at += 1 + usize::from(len),
                _ => return None,
            }
        }
        let fixed = octets.get(at + 1..at + 5)?;
        Some(Question {
            end: at + 5,
            qtype: u16::from_be_bytes([fixed[0], fixed[1]]),
            qclass: u16::from_be_bytes([fixed[2], fixed[3]]),
            missing_at,
            edns: header[10..12] != [0, 0],
        })
    }

    /// Writes an answer whose address is what is told, and says how long it is.
    fn tell(&self, query: &[u8], told: [u8; 4], out: &mut [u8]) -> usize {
        let len = self.end + ADDRESS.len();
        out[..self.end].copy_from_slice(&query[..self.end]);
        out[2] |= 0x80;
        out[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
        out[self.end..len].copy_from_slice(&ADDRESS);
        out[len - 4..len].copy_from_slice(&told);
        len
    }

    /// Writes the answer, and says how long it is. A slot holds any: a question is at most 271 octets.
    fn answer(&self, query: &[u8], out: &mut [u8]) -> usize {
        let mut len = self.end;
        let mut put = |out: &mut [u8], octets: &[u8]| {
            out[len..len + octets.len()].copy_from_slice(octets);
            len += octets.len();
        };
        out[..self.end].copy_from_slice(&query[..self.end]);
        let exists = self.missing_at.is_none();
        // QR and RD as asked, RA; NXDOMAIN is 3.
        out[2] |= 0x80;
        out[3] = if exists { 0x80 } else { 0x83 };
        out[6..12].fill(0);
        if exists && self.qtype == 1 {
            out[7] = 1;
            put(out, &ADDRESS);
        } else {
            out[9] = 1;
            // The zone of a denial: where nothing exists, or the name itself. Both are below the first 64 KiB's quarter.
            let owner = 0xc000 | self.missing_at.unwrap_or(HEADER_LEN) as u16;
            put(out, &owner.to_be_bytes());
            put(out, &SOA);
        }
        if self.edns {
            out[11] = 1;
            put(out, &OPT);
        }
        len
    }
}
