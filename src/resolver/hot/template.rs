//! What `finish` wrote, cut open where replies to the same question differ from client to client.

use crate::dns::finish::{self, finish};
use crate::dns::head::QueryHead;
use crate::dns::rotation;
use crate::dns::wire::{FLAG_AD, FLAG_CD, FLAG_RD, FLAG_TC, HEADER_LEN, Header};
use crate::dns::{Answer, Body, Edns, Query};
use crate::transport::Transport;

/// Octets of an OPT record without options (RFC 6891 §6.1.2).
const OPT_LEN: usize = 11;
/// Where in an OPT record the octet stands whose top bit is DO (RFC 3225 §3).
const OPT_DO_AT: usize = 7;
/// DO in that octet.
const OPT_DO: u8 = 0x80;

/// A reply to be rendered: what all clients get alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Template<'m> {
    /// The second word of the header, for a client that set AD, and neither RD nor CD.
    pub(super) flags: u16,
    /// ANCOUNT, NSCOUNT, and ARCOUNT with OPT.
    pub(super) counts: [u16; 3],
    /// The records but OPT.
    pub(super) records: &'m [u8],
    /// The OPT record, for a client that did not set DO.
    pub(super) opt: &'m [u8],
    /// How many addresses at the end of the records take turns.
    pub(super) turning: u8,
}

impl<'m> Template<'m> {
    /// Has `finish` write the whole reply, and cuts it up; none for a reply that is cut short even at full size, which is
    /// not ordinary.
    pub(super) fn make(query: &Query<'_>, answer: &Answer, scratch: &'m mut Vec<u8>) -> Option<Template<'m>> {
        let structured_errors = query.edns.is_some_and(|edns| edns.structured_errors);
        let edns =
            Edns { payload: u16::MAX, version: 0, dnssec_ok: false, structured_errors, has_subnet: false };
        // By this ID and no age the addresses stand as they came.
        let model = Query { id: 0, rd: false, ad: true, cd: false, edns: Some(edns), ..*query };
        finish(&model, answer, Transport::Tcp, scratch);
        let scratch: &'m [u8] = scratch;
        let header = Header::read(scratch)?;
        let records_len = match &answer.body {
            Body::Empty => 0,
            Body::Built(records) => records.octets.len(),
            Body::Truth { truth, .. } => truth.octets.len(),
        };
        let rest = scratch.get(HEADER_LEN + query.question.len()..)?;
        let (records, opt) = rest.split_at_checked(records_len)?;
        let [_, answers, authorities, additionals] = header.counts;
        let counts = [answers, authorities, additionals];
        let whole = header.flags & FLAG_TC == 0 && opt.len() >= OPT_LEN;
        whole.then_some(Template {
            flags: header.flags,
            counts,
            records,
            opt,
            turning: answer.turning(query.qtype),
        })
    }

    /// Writes the reply to a query: `owner` and the records, with `age_s` off the TTLs at `ttl_offsets` in them. None when
    /// it does not fit as it is; `finish` knows what to leave out.
    #[inline]
    pub(super) fn render(
        &self,
        head: &QueryHead,
        question: &[u8],
        owner: &[u8],
        ttl_offsets: impl Iterator<Item = u16>,
        age_s: u32,
        out: &mut [u8],
    ) -> Option<usize> {
        let opt = if head.edns.is_some() { self.opt } else { &[] };
        let len = HEADER_LEN + question.len() + owner.len() + self.records.len() + opt.len();
        if len > finish::limit(head.edns, Transport::Udp) {
            return None;
        }
        let whole = out.get_mut(..len)?;
        let (header, rest) = whole.split_first_chunk_mut::<HEADER_LEN>()?;
        *header = self.header(head);
        let (question_part, rest) = rest.split_at_mut(question.len());
        question_part.copy_from_slice(question);
        let (owner_part, rest) = rest.split_at_mut(owner.len());
        // Nearly all have none, and a copy of nothing is a call, too.
        if !owner.is_empty() {
            owner_part.copy_from_slice(owner);
        }
        let (records, opt_part) = rest.split_at_mut(self.records.len());
        if self.turning == 0 {
            records.copy_from_slice(self.records);
        } else {
            self.write_turned(records, head, age_s);
        }
        finish::count_down(records, ttl_offsets, age_s);
        opt_part.copy_from_slice(opt);
        if head.dnssec_ok()
            && let Some(octet) = opt_part.get_mut(OPT_DO_AT)
        {
            *octet |= OPT_DO;
        }
        Some(len)
    }

    /// Writes the records, of whose addresses that comes first whose turn it is.
    // Apart: in place it makes `render` too long to be in place itself, and most answers have one address.
    #[inline(never)]
    fn write_turned(&self, place: &mut [u8], head: &QueryHead, age_s: u32) {
        let mut rest = place;
        for piece in rotation::pieces(self.records, (self.turning, head.qtype), rotation::by(head.id, age_s))
        {
            if let Some((place, behind)) = std::mem::take(&mut rest).split_at_mut_checked(piece.len()) {
                place.copy_from_slice(piece);
                rest = behind;
            }
        }
    }

    /// The header of the reply to a query.
    #[inline]
    fn header(&self, head: &QueryHead) -> [u8; HEADER_LEN] {
        let mut flags = self.flags;
        if !head.ad && !head.dnssec_ok() {
            flags &= !FLAG_AD;
        }
        flags |= if head.rd { FLAG_RD } else { 0 } | if head.cd { FLAG_CD } else { 0 };
        let [answers, authorities, additionals] = self.counts;
        let additionals = additionals.saturating_sub(u16::from(head.edns.is_none()));
        let [id, flags, answers, authorities, additionals] =
            [head.id, flags, answers, authorities, additionals].map(u16::to_be_bytes);
        [
            id[0],
            id[1],
            flags[0],
            flags[1],
            // One question.
            0,
            1,
            answers[0],
            answers[1],
            authorities[0],
            authorities[1],
            additionals[0],
            additionals[1],
        ]
    }
}
