//! Queries from words, and what must be true of any reply to them.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::op::Message;
use sinkscope::serve::Client;
use sinkscope::transport::Transport;

/// A query to be.
pub struct Ask {
    name: String,
    id: u16,
    rtype: u16,
    class: u16,
    tcp: bool,
    dnssec_ok: bool,
    cd: bool,
    ad: bool,
    rd: bool,
    edns: bool,
    structured: bool,
    version: u8,
    payload: u16,
    /// A client subnet: address and length.
    subnet: Option<(IpAddr, u8)>,
    from: IpAddr,
}

impl Ask {
    /// Reads the words after `ask`.
    pub fn parse(name: &str, rtype: &str, words: &[&str]) -> Ask {
        let mut ask = Ask {
            name: name.to_owned(),
            id: 0xcafe,
            rtype: rtype_of(rtype),
            class: 1,
            tcp: false,
            dnssec_ok: false,
            cd: false,
            ad: false,
            rd: true,
            edns: true,
            structured: false,
            version: 0,
            payload: 1232,
            subnet: None,
            from: IpAddr::from([127, 0, 0, 1]),
        };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("tcp", "") => ask.tcp = true,
                ("do", "") => ask.dnssec_ok = true,
                ("cd", "") => ask.cd = true,
                ("ad", "") => ask.ad = true,
                ("nord", "") => ask.rd = false,
                ("noedns", "") => ask.edns = false,
                ("structured", "") => ask.structured = true,
                ("id", number) => ask.id = number.parse().expect("an ID"),
                ("version", number) => ask.version = number.parse().expect("a version"),
                ("payload", octets) => ask.payload = octets.parse().expect("a number of octets"),
                ("subnet", network) => ask.subnet = Some(super::network(network)),
                ("class", "CH") => ask.class = 3,
                ("class", number) => ask.class = number.parse().expect("a class"),
                ("from", address) => ask.from = address.parse().expect("an address"),
                _ => panic!("no such word: {word:?}"),
            }
        }
        ask
    }

    /// Who asks, and how.
    pub fn client(&self) -> Client {
        let transport = if self.tcp { Transport::Tcp } else { Transport::Udp };
        Client { addr: SocketAddr::new(self.from, 53000), transport }
    }

    /// The query on the wire.
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)];
        octets[..2].copy_from_slice(&self.id.to_be_bytes());
        octets[2] = u8::from(self.rd);
        octets[3] = u8::from(self.ad) << 5 | u8::from(self.cd) << 4;
        octets.extend(self.question());
        if self.edns {
            octets.extend([0, 0, 41]);
            octets.extend(self.payload.to_be_bytes());
            octets.extend([0, self.version, u8::from(self.dnssec_ok) << 7, 0]);
            // draft-ietf-dnsop-structured-dns-error: an EDE option in the query asks for structured errors.
            let mut options = if self.structured { vec![0, 15, 0, 2, 0, 0] } else { Vec::new() };
            options.extend(self.subnet.iter().flat_map(|subnet| super::subnet_option(*subnet, 0)));
            octets.extend((options.len() as u16).to_be_bytes());
            octets.extend(options);
        }
        octets
    }

    /// The question as it is sent, case and all.
    fn question(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for label in self.name.split('.').filter(|label| !label.is_empty()) {
            octets.push(label.len() as u8);
            octets.extend(label.as_bytes());
        }
        octets.push(0);
        octets.extend(self.rtype.to_be_bytes());
        octets.extend(self.class.to_be_bytes());
        octets
    }

    /// What holds for every reply: ID and question are echoed, RD too, OPT comes out where OPT went in, limits hold.
    pub fn check_invariants(&self, reply: &[u8]) -> Result<(), String> {
        let asked = self.octets();
        let question = self.question();
        let limit = match (self.tcp, self.edns) {
            (true, _) => 65535,
            (false, true) => usize::from(self.payload.clamp(512, 1232)),
            (false, false) => 512,
        };
        let opt = [&[0, 0, 41][..], &1232u16.to_be_bytes()].concat();
        let has_opt = reply[10..12] != [0, 0] && reply.windows(opt.len()).any(|window| window == opt);
        let checks = [
            (reply.len() >= 12 && reply[..2] == asked[..2], "the ID is not the query's"),
            (reply[2] & 0x80 != 0, "QR is not set"),
            (reply[2] & 1 == asked[2] & 1, "RD is not the query's"),
            (reply[12..].starts_with(&question), "the question is not the query's, octet by octet"),
            (reply.len() <= limit, "the reply is longer than the client takes"),
            (has_opt == self.edns, "OPT in must mean OPT out, and no OPT none"),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            None => check_echo(&asked, reply),
            Some((_, what)) => Err((*what).to_owned()),
        }
    }
}

/// What holds for every reply, however odd the query: ID, opcode, RD and CD are echoed, QR is set, Z is clear, a reply's
/// OPT is of version 0 and copies DO where the query's was understood.
pub fn check_echo(asked: &[u8], reply: &[u8]) -> Result<(), String> {
    let read = |octets| Message::from_vec(octets).ok().and_then(|message| message.edns);
    // RFC 6891 §6.1.3 and RFC 3225 §3.
    let edns_fits = read(reply).is_none_or(|edns| {
        let dnssec_ok = read(asked).map(|asked| asked.flags().dnssec_ok);
        edns.version() == 0
            && edns.max_payload() == 1232
            && dnssec_ok.is_none_or(|asked| asked == edns.flags().dnssec_ok)
    });
    let checks = [
        (reply.len() >= 12 && reply[..2] == asked[..2], "the ID is not the query's"),
        (reply[2] & 0x80 != 0, "QR is not set"),
        (reply[2] & 0x79 == asked[2] & 0x79, "opcode or RD is not the query's"),
        (reply[3] & 0x10 == asked[3] & 0x10, "CD is not the query's (RFC 4035 §3.2.2)"),
        (reply[3] & 0x40 == 0, "Z is set (RFC 1035 §4.1.1)"),
        (
            edns_fits,
            "OPT is not of version 0, offers another payload than 1232, or has another DO than the query",
        ),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, what)) => Err((*what).to_owned()),
    }
}

/// A type's number from its name or `TYPE123`.
fn rtype_of(word: &str) -> u16 {
    if let Some(number) = word.strip_prefix("TYPE") {
        return number.parse().expect("a type number");
    }
    // hickory reads every type but this one.
    if word == "IXFR" {
        return 251;
    }
    u16::from(word.parse::<hickory_resolver::proto::rr::RecordType>().expect("a type"))
}
