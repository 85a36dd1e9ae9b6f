//! The one exit: every reply's octets are written here.

use super::EDE_OPTION;
use super::answer::{Answer, Body, Records};
use super::ede::Ede;
use super::query::{Edns, Query};
use super::rotation;
use super::subnet::ClientSubnet;
use super::truth::Truth;
use super::wire::{
    self, FLAG_AA, FLAG_AD, FLAG_CD, FLAG_QR, FLAG_RA, FLAG_RD, FLAG_TC, HEADER_LEN, MAX_MESSAGE_LEN, Owner,
};
use crate::iana::{Class, Rcode, Rtype};
use crate::name::Name;
use crate::transport::Transport;

/// The UDP payload we offer and never pass, in octets: what fits IPv6's least MTU of 1280 with its headers, so that no
/// reply is fragmented (DNS Flag Day 2020).
pub const MAX_UDP_LEN: usize = 1232;
/// The UDP payload of a client that says nothing, in octets (RFC 1035 §4.2.1).
pub const MIN_UDP_LEN: usize = 512;
/// Octets in an OPT record without options (RFC 6891 §6.1.2).
const OPT_LEN: usize = 11;
/// Octets in an EDE option without text: code, length, info code (RFC 8914 §2).
const EDE_LEN: usize = 6;
/// The most EDE options in a reply; more than upstream or policy ever give together.
const MAX_EDES: usize = 8;
/// The most octets of text in an EDE option written out: eight of them fit one OPT record.
const MAX_TEXT_LEN: usize = 4096;

/// Writes the reply to `query` into `out`, replacing what it held.
///
/// The reply never exceeds what the client and the transport take. What goes first when there is too much: EDE texts, EDE
/// codes, and only then the records, with TC.
pub fn finish(query: &Query<'_>, answer: &Answer, transport: Transport, out: &mut Vec<u8>) {
    let parts = Parts::of(query, answer);
    let limit = limit(query.edns, transport);
    // The last fit is always reached: header, question (271 octets at most), OPT and a client subnet (24) stay below 512.
    let fit = FITS.into_iter().find(|&fit| parts.len(fit) <= limit).unwrap_or(LAST_FIT);
    parts.write(fit, answer, out);
}

/// The most octets the reply may have.
pub(crate) fn limit(edns: Option<Edns>, transport: Transport) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => MAX_MESSAGE_LEN,
        (Transport::Udp, None) => MIN_UDP_LEN,
        // RFC 6891 §6.2.3: "Values lower than 512 MUST be treated as equal to 512."
        (Transport::Udp, Some(edns)) => usize::from(edns.payload).clamp(MIN_UDP_LEN, MAX_UDP_LEN),
    }
}

/// How much of the records goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sections {
    /// All of them: none is there that a client could do without (RFC 2181 §9).
    All,
    /// None, and TC. RFC 2181 §9: clients ignore what a truncated reply holds, so nothing is sent in part.
    None,
}

/// How much of the EDE options goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Details {
    /// Codes and texts.
    Texts,
    /// Codes.
    Codes,
    /// Nothing.
    None,
}

/// The fits in order of preference. RFC 8914 §3 would drop EDE before anything else and set TC for it; but a retry over
/// TCP costs the client more than a text is worth.
const FITS: [(Sections, Details); 6] = [
    (Sections::All, Details::Texts),
    (Sections::All, Details::Codes),
    (Sections::All, Details::None),
    (Sections::None, Details::Texts),
    (Sections::None, Details::Codes),
    LAST_FIT,
];
/// What fits if nothing else does.
const LAST_FIT: (Sections, Details) = (Sections::None, Details::None);

/// What a reply is made of, before it is known how much of it fits.
struct Parts<'a> {
    query: &'a Query<'a>,
    /// Rcode as sent: an extended one needs an OPT record.
    rcode: Rcode,
    /// Records of all sections.
    octets: &'a [u8],
    /// ANCOUNT, NSCOUNT, ARCOUNT without OPT.
    counts: [u16; 3],
    /// Upstream's records and their age in seconds.
    truth: Option<(&'a Truth, u32)>,
    /// How many addresses at their end take turns.
    turning: u8,
    /// EDE options, none without OPT.
    ede: &'a [Ede],
    /// Whether the client has recursion here.
    recursion: bool,
    /// What is said of the network that the client gave, if it gave one.
    subnet: Option<ClientSubnet>,
}

impl<'a> Parts<'a> {
    /// The parts of `answer` as this client may see them.
    fn of(query: &'a Query<'a>, answer: &'a Answer) -> Parts<'a> {
        // RFC 6891 §7: no OPT in a reply to a client that sent none; so no EDE, and no extended rcode either.
        let ede = if query.edns.is_some() { answer.ede.get(..MAX_EDES).unwrap_or(&answer.ede) } else { &[] };
        let rcode = match answer.rcode {
            extended if extended.0 > 0xf && query.edns.is_none() => Rcode::SERVFAIL,
            rcode => rcode,
        };
        let recursion = !answer.no_recursion;
        // RFC 7871 §7.2.2: "If the client query did include the option, the server MUST include one in its response".
        let subnet = query.client_subnet.map(|subnet| subnet.answered(answer.scope));
        let empty = Parts {
            query,
            rcode,
            octets: &[],
            counts: [0; 3],
            truth: None,
            turning: 0,
            ede,
            recursion,
            subnet,
        };
        match &answer.body {
            // Records stand behind the question their pointers count on. A reply truncated by decision has none.
            _ if query.question.is_empty() || answer.truncated => empty,
            Body::Empty => empty,
            Body::Built(Records { octets, answers, authorities, additionals }) => {
                Parts { octets, counts: [*answers, *authorities, *additionals], ..empty }
            }
            Body::Truth { truth, age_s } => Parts {
                octets: &truth.octets,
                counts: [truth.answers, truth.authorities, 0],
                truth: Some((truth, *age_s)),
                turning: answer.turning(query.qtype),
                ..empty
            },
        }
    }

    /// The records that go out with these sections.
    fn records(&self, sections: Sections) -> &'a [u8] {
        match sections {
            Sections::All => self.octets,
            Sections::None => &[],
        }
    }

    /// Octets of EDE options.
    fn ede_len(&self, details: Details) -> usize {
        match details {
            Details::Texts => self.ede.iter().map(|ede| EDE_LEN + text(ede).len()).sum(),
            Details::Codes => self.ede.len() * EDE_LEN,
            Details::None => 0,
        }
    }

    /// Octets of the whole reply.
    fn len(&self, (sections, details): (Sections, Details)) -> usize {
        let opt = if self.query.edns.is_some() {
            OPT_LEN + self.subnet.map_or(0, |subnet| subnet.octets_len()) + self.ede_len(details)
        } else {
            0
        };
        HEADER_LEN + self.query.question.len() + self.records(sections).len() + opt
    }

    /// Writes the reply.
    fn write(&self, (sections, details): (Sections, Details), answer: &Answer, out: &mut Vec<u8>) {
        let query = self.query;
        let mut counts = match sections {
            Sections::All => self.counts,
            Sections::None => [0; 3],
        };
        counts[2] = counts[2].saturating_add(u16::from(query.edns.is_some()));
        let truncated = answer.truncated || (sections == Sections::None && !self.octets.is_empty());

        out.clear();
        out.reserve(self.len((sections, details)));
        wire::put_u16(out, query.id);
        wire::put_u16(out, self.flags(truncated));
        wire::put_u16(out, u16::from(!query.question.is_empty()));
        counts.into_iter().for_each(|count| wire::put_u16(out, count));
        // The octets as they came: clients that mix case check it (draft-vixie-dnsext-dns0x20).
        out.extend_from_slice(query.question);
        let records_at = out.len();
        let by = rotation::by(query.id, self.truth.map_or(0, |(_, age_s)| age_s));
        let pieces = rotation::pieces(self.records(sections), (self.turning, query.qtype), by);
        pieces.into_iter().for_each(|piece| out.extend_from_slice(piece));
        if let (Some((truth, age_s)), Some(records)) = (self.truth, out.get_mut(records_at..)) {
            count_down(records, truth.ttl_offsets.iter().copied(), age_s);
        }
        self.write_opt(details, out);
    }

    /// The second word of the header.
    fn flags(&self, truncated: bool) -> u16 {
        let query = self.query;
        let flag = |flag: u16, set: bool| if set { flag } else { 0 };
        // RFC 6840 §5.8: AD goes to clients that sent AD or DO. It is upstream's word, and never stands on what was
        // written here. AA is for what is stated here and stays clear elsewhere: neither a forwarder nor a forger is an authority
        // (RFC 1035 §4.1.1).
        let authentic = self.truth.is_some_and(|(truth, _)| truth.authentic);
        let ours = self.truth.is_some_and(|(truth, _)| truth.ours);
        FLAG_QR
            | (u16::from(query.opcode & 0xf) << 11)
            | flag(FLAG_AA, ours)
            | flag(FLAG_TC, truncated)
            | flag(FLAG_RD, query.rd)
            // RFC 1034 §4.3.1: RA says whether "the name server is willing to provide recursive service for the client, regardless
            // of whether the client requested" it.
            | flag(FLAG_RA, self.recursion)
            | flag(FLAG_AD, authentic && !truncated && (query.ad || query.dnssec_ok()))
            // RFC 4035 §3.2.2: CD "MUST" be copied from query to response.
            | flag(FLAG_CD, query.cd)
            | (self.rcode.0 & 0xf)
    }

    /// Appends the OPT record, if the query had one (RFC 6891 §6.1.1: an OPT in a request asks for one in the reply).
    fn write_opt(&self, details: Details, out: &mut Vec<u8>) {
        let Some(edns) = self.query.edns else { return };
        // RFC 6891 §6.1.3: extended rcode, version 0, flags. RFC 3225 §3: DO is copied, the other flags are zero.
        let dnssec_ok = if edns.dnssec_ok { wire::EDNS_DO } else { 0 };
        let ttl = (u32::from((self.rcode.0 >> 4) & 0xff) << 24) | dnssec_ok;
        wire::put_record(out, Owner::Name(&Name::ROOT), Rtype::OPT, Class(MAX_UDP_LEN as u16), ttl, &[]);
        let length_at = out.len() - 2;
        if let Some(subnet) = self.subnet {
            subnet.put(out);
        }
        for ede in if details == Details::None { &[] } else { self.ede } {
            let text = if details == Details::Texts { text(ede) } else { &[] };
            wire::put_u16(out, EDE_OPTION);
            wire::put_u16(out, 2 + text.len() as u16);
            wire::put_u16(out, ede.code);
            out.extend_from_slice(text);
        }
        let length = (out.len() - length_at - 2) as u16;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

/// An EDE's text as octets; one too long to be honest is left out whole, so that no character is cut in two.
fn text(ede: &Ede) -> &[u8] {
    Some(ede.text.as_bytes()).filter(|text| text.len() <= MAX_TEXT_LEN).unwrap_or_default()
}

/// Takes `age_s` off the TTLs at `offsets`; none falls below zero.
pub(crate) fn count_down(records: &mut [u8], offsets: impl Iterator<Item = u16>, age_s: u32) {
    if age_s == 0 {
        return;
    }
    for offset in offsets {
        // Offsets into a section that was left out find nothing.
        let octets = records.get_mut(usize::from(offset)..).and_then(|rest| rest.first_chunk_mut::<4>());
        if let Some(octets) = octets {
            *octets = u32::from_be_bytes(*octets).saturating_sub(age_s).to_be_bytes();
        }
    }
}
