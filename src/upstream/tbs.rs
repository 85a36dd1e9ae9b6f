//! The part of a certificate that is signed, by which DNS stamps name it.

/// The tag of a SEQUENCE in DER (X.690 §8.9).
const SEQUENCE: u8 = 0x30;

/// The TBSCertificate of a certificate, as it stands there (RFC 5280 §4.1): the first part of the sequence that it is.
pub(super) fn of(certificate: &[u8]) -> Option<&[u8]> {
    let head = head_len(certificate)?.0;
    let inner = certificate.get(head..)?;
    let (head, length) = head_len(inner)?;
    inner.get(..head.checked_add(length)?)
}

/// How long tag and length of a sequence are, and how long what follows them is.
fn head_len(der: &[u8]) -> Option<(usize, usize)> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag != SEQUENCE {
        return None;
    }
    // X.690 §8.1.3: the length itself below 128, and else how many octets it takes, of which two do for any certificate of ours.
    match first {
        0..=0x7f => Some((2, first.into())),
        0x81 => Some((3, (*rest.first()?).into())),
        0x82 => Some((4, u16::from_be_bytes(*rest.first_chunk()?).into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sequence_in_the_sequence_is_found() {
        let sequence = |octets: &[u8]| -> Vec<u8> {
            let length = octets.len();
            let head = match length {
                0..128 => vec![SEQUENCE, length as u8],
                128..256 => vec![SEQUENCE, 0x81, length as u8],
                _ => vec![SEQUENCE, 0x82, (length >> 8) as u8, length as u8],
            };
            [head, octets.to_vec()].concat()
        };
        for length in [0, 1, 127, 128, 255, 256, 5000] {
            let tbs = sequence(&vec![5; length]);
            let certificate = sequence(&[&tbs[..], &[SEQUENCE, 1, 7]].concat());
            assert_eq!(of(&certificate), Some(&tbs[..]), "{length}");
            for cut in 0..4 {
                assert_eq!(of(&certificate[..cut]), None, "{length} {cut}");
            }
        }
        for odd in
            [&[0x31, 2, SEQUENCE, 0][..], &[SEQUENCE, 2, 0x31, 0], &[SEQUENCE, 0x83, 0, 0, 1, SEQUENCE]]
        {
            assert_eq!(of(odd), None, "{odd:?}");
        }
    }
}
