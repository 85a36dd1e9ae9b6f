//! Replies as a replay reads them: as far as matching and counting need.

use crate::dns::EDE_OPTION;
use crate::dns::wire::{self, HEADER_LEN, Header, Message};
use crate::iana::Rtype;

/// A response with one question.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'r> {
    /// Its header.
    pub header: Header,
    /// Its question, as it stands.
    question: &'r [u8],
    /// What is behind it.
    records: &'r [u8],
}

impl<'r> Reply<'r> {
    /// Reads the header and the question; none when it is no response, or they cannot be read.
    pub fn read(octets: &'r [u8]) -> Option<Reply<'r>> {
        let header = Header::read(octets).filter(|header| header.is_response() && header.counts[0] == 1)?;
        let rest = octets.get(HEADER_LEN..)?;
        let (question, records) = rest.split_at_checked(question_len(rest)?)?;
        Some(Reply { header, question, records })
    }

    /// The question's octets: name, type and class.
    pub fn question(&self) -> &'r [u8] {
        self.question
    }

    /// The response code, its extension included, and the EDE codes. What cannot be read counts as far as it was.
    pub fn codes(&self) -> (u16, impl Iterator<Item = u16> + use<'r>) {
        let message = Message::new(self.question, self.records);
        let count: usize = self.header.counts[1..].iter().map(|&count| usize::from(count)).sum();
        let opt = (self.header.counts[3] > 0)
            .then(|| message.records(message.base(), count).map_while(Result::ok))
            .and_then(|mut records| records.find(|record| record.rtype == Rtype::OPT));
        // RFC 6891 §6.1.3: the upper eight bits of the TTL are those of the extended RCODE.
        let extended = opt.as_ref().map_or(0, |opt| ((opt.ttl >> 24) as u16) << 4);
        let options = opt.as_ref().and_then(|opt| message.rdata(opt).ok()).map(wire::options);
        let edes = options.into_iter().flatten().map_while(Result::ok).filter_map(|(code, data)| {
            data.first_chunk().filter(|_| code == EDE_OPTION).map(|code| u16::from_be_bytes(*code))
        });
        (self.header.flags & 0xf | extended, edes)
    }
}

/// Octets of the question at the start of `octets`; none when it is cut, or its name holds a pointer.
pub(crate) fn question_len(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*octets.get(at)?);
        at += 1 + length;
        match length {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
    }
    (at + 4 <= octets.len()).then_some(at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_far_as_they_go() {
        let mut reply = vec![0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 1];
        let question = b"\x01a\0\0\x01\0\x01";
        reply.extend(question);
        // OPT: BADVERS (16), EDE 15 with text and EDE 4.
        reply.extend(b"\0\0\x29\x04\xd0\x01\0\0\0\0\x0f\0\x0f\0\x05\0\x0fhi!\0\x0f\0\x02\0\x04");
        let read = Reply::read(&reply).unwrap();
        assert_eq!(read.question(), question);
        let (rcode, edes) = read.codes();
        assert_eq!((rcode, edes.collect::<Vec<_>>()), (16, vec![15, 4]));
        for cut in 0..reply.len() {
            let read = Reply::read(&reply[..cut]);
            assert_eq!(read.is_some(), cut >= 19, "{cut}");
            assert!(read.is_none_or(|read| read.codes().1.count() == 0), "{cut}");
        }
    }
}
