//! Questions of class CHAOS: what servers say about themselves.

use super::answer::{Answer, Records};
use super::query::Query;
use super::wire::{HEADER_LEN, Owner};
use crate::iana::{Class, Rcode, Rtype};

/// The longest character string (RFC 1035 §3.3).
const MAX_TEXT_LEN: usize = 255;
/// The most octets told about ourselves: a reply to a spoofed query shall not be much longer than the query.
const MAX_IDENTITY_LEN: usize = 2 * MAX_TEXT_LEN;

/// What this server says about itself; nothing unless told to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Answers `version.bind` and `version.server`.
    pub version: Option<String>,
    /// Answers `id.server` and `hostname.bind` (RFC 4892 §2).
    pub id: Option<String>,
}

/// The reply to a query of class CHAOS: TXT if there is something to say, REFUSED otherwise.
pub fn chaos(query: &Query<'_>, identity: &Identity) -> Answer {
    let text = match query.qname.as_wire() {
        b"\x07version\x04bind\0" | b"\x07version\x06server\0" => &identity.version,
        b"\x02id\x06server\0" | b"\x08hostname\x04bind\0" => &identity.id,
        _ => &None,
    };
    let Some(text) = text else { return Answer::error(Rcode::REFUSED, None) };
    let mut records = Records::default();
    if matches!(query.qtype, Rtype::TXT | Rtype::ANY) {
        let text = &text.as_bytes()[..text.len().min(MAX_IDENTITY_LEN)];
        let mut rdata = Vec::with_capacity(text.len() + 3);
        for part in text.chunks(MAX_TEXT_LEN) {
            rdata.push(part.len() as u8);
            rdata.extend_from_slice(part);
        }
        // RFC 1035 §3.3.14: TXT holds one string or more, an empty one if there is nothing to say.
        if rdata.is_empty() {
            rdata.push(0);
        }
        // It may change at the next restart, and nobody asks often: not to be cached.
        records.answer(Owner::At(HEADER_LEN as u16), Rtype::TXT, Class::CH, 0, &rdata);
    }
    Answer::built(Rcode::NOERROR, records)
}

#[cfg(test)]
mod tests {
    use super::super::answer::Body;
    use super::super::query::parse;
    use super::super::wire::put_u16;
    use super::*;
    use crate::name::Name;

    #[test]
    fn servers_say_what_they_were_told_to() {
        let told = Identity { version: Some("1.0".into()), id: Some("a".repeat(300)) };
        let silent = Identity::default();
        for (identity, name, qtype, expected) in [
            (&told, "VERSION.bind", Rtype::TXT, Ok(1)),
            (&told, "version.server", Rtype::ANY, Ok(1)),
            (&told, "version.bind", Rtype::A, Ok(0)),
            (&told, "id.server", Rtype::TXT, Ok(1)),
            (&told, "hostname.bind", Rtype::TXT, Ok(1)),
            (&told, "authors.bind", Rtype::TXT, Err(Rcode::REFUSED)),
            (&silent, "version.bind", Rtype::TXT, Err(Rcode::REFUSED)),
            (&silent, "id.server", Rtype::TXT, Err(Rcode::REFUSED)),
        ] {
            let mut packet = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
            packet.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
            put_u16(&mut packet, qtype);
            put_u16(&mut packet, Class::CH);
            let answer = chaos(&parse(&packet).unwrap(), identity);
            let found = match (answer.rcode, &answer.body) {
                (Rcode::NOERROR, Body::Built(records)) => Ok(records.answers),
                (rcode, _) => Err(rcode),
            };
            assert_eq!(found, expected, "{name} {qtype}");
        }
    }
}
