//! Extended DNS Errors (RFC 8914).

use std::borrow::Cow;

use super::{EDE_OPTION, wire};
use crate::iana::EdeCode;
use crate::plain;

/// Octets of text in an EDE option written here: room beside any sinkhole answer within 512 octets.
const MAX_EDE_TEXT_LEN: usize = 200;
/// The most EDE options kept from an upstream.
const MAX_EDES: usize = 4;

/// An Extended DNS Error (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ede {
    /// The info code (IANA EDE codes).
    pub code: EdeCode,
    /// Text for people, may be empty.
    pub text: Cow<'static, str>,
}

impl Ede {
    /// An EDE without text.
    pub const fn bare(code: EdeCode) -> Ede {
        Ede { code, text: Cow::Borrowed("") }
    }

    /// An EDE with text, which is cut at 200 octets and rid of control characters.
    pub fn new(code: EdeCode, text: impl Into<Cow<'static, str>>) -> Ede {
        let mut text = text.into();
        if !plain::is_all_plain(&text) {
            text = text.chars().map(|c| if plain::is_plain(c) { c } else { ' ' }).collect::<String>().into();
        }
        if text.len() > MAX_EDE_TEXT_LEN {
            let end = (0..=MAX_EDE_TEXT_LEN).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            text.to_mut().truncate(end);
        }
        Ede { code, text }
    }
}

/// The EDE options among an OPT record's. Options that cannot be read end the list: they are detail, and the answer that
/// came with them is sound.
pub(crate) fn details(rdata: &[u8]) -> Vec<Ede> {
    let options = wire::options(rdata).map_while(Result::ok);
    let details = options.filter(|(code, _)| *code == EDE_OPTION).filter_map(|(_, data)| {
        let (code, text) = data.split_first_chunk::<2>()?;
        // RFC 8914 §2: the text may end with a zero octet, which is no part of it.
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        Some(Ede::new(EdeCode::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned()))
    });
    details.take(MAX_EDES).collect()
}
