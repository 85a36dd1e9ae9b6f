//! An upstream that looks at how it is asked: ports, IDs and the case of letters of so many questions, as counts.
//!
//!     cargo run --release --example observer -- 127.0.0.1:5397 1000000 16 400 counts.json
//!
//! Where it listens; how many questions it looks at; how many letters of their names; and after how many questions without
//! one from a port the next from there counts as from a port opened anew. Every question is answered with 198.18.0.1 for a
//! day. When it has seen them all it writes the file, and goes on answering. What the counts mean is for others to say.

#[path = "support/wire.rs"]
mod wire;

use std::net::UdpSocket;

use serde_json::json;
use sinkscope::batch::{Inbox, Outbox, SLOT_LEN, SLOTS};
use wire::{HEADER_LEN, question_end};

/// A record owned by the question's name (a pointer to offset 12): type A, class IN, a day, 198.18.0.1.
const ADDRESS: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4, 198, 18, 0, 1];
/// Values of 16 bits.
const VALUES: usize = 1 << 16;
/// Letters of a name that are looked at, at most: their cases are a value of 16 bits.
const MOST_LETTERS: usize = 16;
/// Counts of things that are mostly few; the last one has those that are more.
const FEW: usize = 512;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [addr, questions, letters, away, file] = &args[..] else {
        eprintln!("observer ADDRESS QUESTIONS LETTERS AWAY FILE");
        std::process::exit(2);
    };
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let (questions, letters, away) = (number(questions), number(letters).min(MOST_LETTERS), number(away));
    let socket = UdpSocket::bind(addr)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let (mut inbox, mut outbox) = (Inbox::new(SLOTS, SLOT_LEN), Outbox::new(SLOTS, SLOT_LEN));
    let mut seen = Seen::new(letters, away);
    loop {
        inbox.receive(&socket, true)?;
        for datagram in inbox.iter() {
            let Some(end) = question_end(datagram.octets) else { continue };
            if seen.questions < questions {
                seen.see(datagram.route.peer.port(), &datagram.octets[..end]);
                if seen.questions == questions {
                    // Whole at once under its name.
                    let part = format!("{file}.part");
                    std::fs::write(&part, seen.told().to_string())?;
                    std::fs::rename(&part, file)?;
                }
            }
            if let Some(out) = outbox.slot() {
                out[..end].copy_from_slice(&datagram.octets[..end]);
                // QR with RD as asked, RA; one record.
                (out[2], out[3]) = (out[2] | 0x80, 0x80);
                out[6..HEADER_LEN].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
                out[end..end + ADDRESS.len()].copy_from_slice(&ADDRESS);
                outbox.commit(end + ADDRESS.len(), Some(&datagram.route));
            }
        }
        outbox.send(&socket, true);
    }
}

/// Sums of which the correlation of each value with the one before it is made.
#[derive(Default)]
struct Series {
    before: Option<u64>,
    pairs: u64,
    /// Of the first of each pair, of the second, of their squares, and of their product.
    sums: [u64; 5],
}

impl Series {
    /// Takes in the next value.
    fn take(&mut self, value: u16) {
        let value = u64::from(value);
        if let Some(before) = self.before.replace(value) {
            self.pairs += 1;
            let terms = [before, value, before * before, value * value, before * value];
            self.sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }

    /// Pairs and sums.
    fn told(&self) -> serde_json::Value {
        json!({ "pairs": self.pairs, "sums": self.sums })
    }
}

/// A port in use.
#[derive(Clone, Copy, Default)]
struct Port {
    /// The number of its last question, from 1; 0 if there was none.
    last: usize,
    /// Questions since it was opened.
    carried: usize,
}

/// What was seen so far.
struct Seen {
    /// Letters that are looked at in each name.
    letters: usize,
    /// A port is another one after so many questions.
    away: usize,
    questions: usize,
    /// Questions whose names had fewer letters.
    short: usize,
    ids: Vec<u32>,
    /// What was added to the ID of the question before, modulo 2^16.
    id_steps: Vec<u32>,
    id_series: Series,
    /// The cases of a name's first letters, a bit each.
    cases: Vec<u32>,
    /// In which of them two questions in a row differ.
    case_steps: Vec<u32>,
    /// How many were capital, by place.
    capitals: [u32; MOST_LETTERS],
    ports: Vec<Port>,
    port_questions: Vec<u32>,
    /// How often each port was opened.
    openings: Vec<u32>,
    /// Ports in the order in which they were opened.
    opening_series: Series,
    port_series: Series,
    /// How many questions each opened port carried, of those that were closed.
    carried: Vec<u32>,
    /// How many questions after its last one a port carried the next.
    returns: Vec<u32>,
    /// ID, port and cases of the question before.
    before: Option<(u16, u16, u16)>,
    /// Questions from the port of the one before.
    same_port: u32,
}

impl Seen {
    /// Nothing yet.
    fn new(letters: usize, away: usize) -> Seen {
        let values = || vec![0; VALUES];
        Seen {
            letters,
            away,
            questions: 0,
            short: 0,
            ids: values(),
            id_steps: values(),
            id_series: Series::default(),
            cases: values(),
            case_steps: values(),
            capitals: [0; MOST_LETTERS],
            ports: vec![Port::default(); VALUES],
            port_questions: values(),
            openings: values(),
            opening_series: Series::default(),
            port_series: Series::default(),
            carried: vec![0; FEW],
            returns: vec![0; FEW],
            before: None,
            same_port: 0,
        }
    }

    /// Takes in a question: header, name, type and class.
    fn see(&mut self, port: u16, octets: &[u8]) {
        self.questions += 1;
        let id = u16::from_be_bytes([octets[0], octets[1]]);
        let cases = self.see_case(&octets[HEADER_LEN..octets.len() - 4]);
        self.ids[usize::from(id)] += 1;
        self.id_series.take(id);
        self.port_questions[usize::from(port)] += 1;
        self.port_series.take(port);
        self.see_port(port);
        if let Some((id_before, port_before, cases_before)) = self.before.replace((id, port, cases)) {
            self.id_steps[usize::from(id.wrapping_sub(id_before))] += 1;
            self.case_steps[usize::from(cases ^ cases_before)] += 1;
            self.same_port += u32::from(port == port_before);
        }
    }

    /// Counts the cases of a name's first letters, and returns them.
    fn see_case(&mut self, name: &[u8]) -> u16 {
        let (mut cases, mut found) = (0, 0);
        for (place, letter) in
            name.iter().filter(|octet| octet.is_ascii_alphabetic()).take(self.letters).enumerate()
        {
            let capital = letter.is_ascii_uppercase();
            cases |= u16::from(capital) << place;
            self.capitals[place] += u32::from(capital);
            found += 1;
        }
        self.short += usize::from(found < self.letters);
        self.cases[usize::from(cases)] += 1;
        cases
    }

    /// Counts what the port carries.
    fn see_port(&mut self, number: u16) {
        let port = &mut self.ports[usize::from(number)];
        let since = self.questions - port.last;
        if port.last == 0 || since > self.away {
            if port.last > 0 {
                self.carried[port.carried.min(FEW - 1)] += 1;
            }
            port.carried = 0;
            self.openings[usize::from(number)] += 1;
            self.opening_series.take(number);
        } else {
            self.returns[since.min(FEW - 1)] += 1;
        }
        port.carried += 1;
        port.last = self.questions;
    }

    /// All of it.
    fn told(&self) -> serde_json::Value {
        let mut carried = self.carried.clone();
        // Those that are still open have not carried all that they will.
        for port in self.ports.iter().filter(|port| port.last > 0 && self.questions - port.last > self.away) {
            carried[port.carried.min(FEW - 1)] += 1;
        }
        json!({
            "questions": self.questions, "letters": self.letters, "short": self.short, "ids": self.ids,
            "id_steps": self.id_steps, "id_series": self.id_series.told(), "cases": self.cases,
            "case_steps": self.case_steps, "capitals": &self.capitals[..self.letters],
            "port_questions": self.port_questions, "openings": self.openings,
            "opening_series": self.opening_series.told(), "port_series": self.port_series.told(),
            "carried": carried, "returns": self.returns, "same_port": self.same_port,
        })
    }
}
