//! An upstream that knows everything and costs little, for measuring the resolvers in front of it.
//!
//!     cargo run --release --example mock_upstream -- 127.0.0.1:5398 missing.example
//!
//! Every A query is answered with 198.18.0.1 (RFC 2544's range for benchmarks) for a day; names at or below the second
//! argument do not exist; other types have no data. With a third argument, `varied`, a hash of the name chooses what there is, so
//! that answers are of the sizes that real ones have: see [`Question::varied`]. A query of class CHAOS is told how many others came, as the address
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

/// A day, as a TTL.
const DAY: [u8; 4] = [0, 1, 0x51, 0x80];
/// Where aliases lead.
const EDGE: &str = ".edge.example";
/// Types (RFC 1035 §3.2.2, RFC 3596 §2.1).
const A: u16 = 1;
const CNAME: u16 = 5;
const SOA_TYPE: u16 = 6;
const AAAA: u16 = 28;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:5398".to_owned());
    let missing = wire(&args.next().unwrap_or_else(|| "missing.example".to_owned()));
    let varied = args.next().is_some_and(|kind| kind == "varied");
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
                        // An alias's end was told with the alias: whoever asks for it all the same missed once.
                        count = count.wrapping_add(u32::from(!(varied && question.is_edge(datagram.octets))));
                        ports.came_from(datagram.route.peer.port());
                        if varied {
                            question.varied(datagram.octets, out)
                        } else {
                            question.answer(datagram.octets, out)
                        }
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

/// A hash of a name in whatever case: FNV-1a, its halves mixed, so that all bits depend on all.
fn hash(name: &[u8]) -> u64 {
    let step =
        |hash: u64, octet: &u8| (hash ^ u64::from(octet.to_ascii_lowercase())).wrapping_mul(0x100_0000_01b3);
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, step);
    (hash ^ hash >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash >> 32
}

/// The number of the alias's end that a name is, if it is one.
fn edge_of(name: &[u8]) -> Option<u32> {
    let end = wire(&format!("e00000000{EDGE}"));
    let (digits, zone) = (name.get(2..10)?, name.get(10..)?);
    let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (name[0] == 9 && zone.eq_ignore_ascii_case(&end[10..])).then_some(number)
}

/// Where the last two labels of a name begin.
fn zone_of(name: &[u8]) -> usize {
    let (mut at, mut before) = (0, [0, 0]);
    while name.get(at).is_some_and(|len| *len > 0) {
        before = [before[1], at];
        at += 1 + usize::from(name[at]);
    }
    before[0]
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

    /// Whether it is for what an alias leads to.
    fn is_edge(&self, query: &[u8]) -> bool {
        edge_of(&query[HEADER_LEN..self.end - 4]).is_some()
    }

    /// Writes an answer of what a hash of the name chooses, for a day, and says how long it is: of names one in ten does not exist;
    /// half have an address, some four, and a quarter are aliases of a name elsewhere. Of IPv6 addresses there is one at most, and a third
    /// of names have none; no name has other types. A slot holds any.
    fn varied(&self, query: &[u8], out: &mut [u8]) -> usize {
        let name = &query[HEADER_LEN..self.end - 4];
        // An alias's end has the one address that was told with the alias.
        let end = edge_of(name);
        let hash = end.map_or_else(|| hash(name), |high| u64::from(high) << 32);
        let (mut record, mut authority) = (Vec::with_capacity(128), 0);
        let (share, mut answers) = (if end.is_some() { 0 } else { hash % 100 }, 0);
        let (qtype, exists) = (self.qtype, share < 90);
        let aliased = exists && matches!((qtype, share), (A, 65..) | (AAAA, 45..60));
        let addresses = match (qtype, share) {
            (A, 50..65) => 4,
            (A, 0..90) | (AAAA, 0..60) => 1,
            _ => 0,
        };
        let mut put = |owner: u16, rtype: u16, rdata: &[u8]| {
            record.extend_from_slice(&(0xc000 | owner).to_be_bytes());
            record.extend_from_slice(&[rtype.to_be_bytes(), [0, 1]].concat());
            record.extend_from_slice(&DAY);
            record.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            record.extend_from_slice(rdata);
        };
        let mut owner = HEADER_LEN as u16;
        if aliased {
            put(owner, CNAME, &wire(&format!("e{:08x}{EDGE}", hash >> 32)));
            // Behind a record's fixed part, which is 12 octets.
            owner = self.end as u16 + 12;
            answers += 1;
        }
        for number in 0..addresses {
            let [.., a, b] = (hash >> 32).wrapping_add(number).to_be_bytes();
            match qtype {
                AAAA => put(owner, AAAA, &[0x20, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b]),
                _ => put(owner, A, &[198, 18, a, b]),
            }
            answers += 1;
        }
        if addresses == 0 {
            // The zone: the last two labels, or what there is of them.
            let zone = zone_of(name) as u16 + HEADER_LEN as u16;
            let pointer = (0xc000 | zone).to_be_bytes();
            let names = [&b"\x03ns1"[..], &pointer, b"\x0ahostmaster", &pointer].concat();
            put(zone, SOA_TYPE, &[&names[..], &[0; 16], &DAY].concat());
            authority = 1;
        }
        let opt = if self.edns { &OPT[..] } else { &[] };
        let octets = [&query[..self.end], &record, opt].concat();
        out[..octets.len()].copy_from_slice(&octets);
        out[2] |= 0x80;
        out[3] = if exists { 0x80 } else { 0x83 };
        out[6..12].copy_from_slice(&[0, answers, 0, authority, 0, u8::from(self.edns)]);
        octets.len()
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
