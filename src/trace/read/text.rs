//! Text traces: `name TYPE` a line as dnsperf reads them, or plain names.

use std::str;

use super::input::Input;
use super::{Damage, Options, Skipped};
use crate::iana::Rtype;
use crate::name::Name;
use crate::trace::Entry;
use crate::trace::message::put_query;

/// Octets of a line that are looked at: the longest name takes 1,016 when every octet is escaped.
const MAX_LINE_LEN: usize = 2048;
/// Characters of a bad line that are shown.
const SHOWN_CHARS: usize = 40;

/// The lines of a text trace.
pub(super) struct Lines {
    input: Input,
    options: Options,
    line: Vec<u8>,
    /// Lines read.
    number: u64,
}

impl Lines {
    /// Reads lines from `input`.
    pub(super) fn new(input: Input, options: Options) -> Lines {
        Lines { input, options, line: Vec::new(), number: 0 }
    }

    /// The next query.
    pub(super) fn read(&mut self, entry: &mut Entry, skipped: &mut Skipped) -> Result<bool, Damage> {
        while self.input.line(&mut self.line, MAX_LINE_LEN)? {
            self.number += 1;
            match question(&self.line, self.options.qtype) {
                Ok(Some((name, qtype))) => {
                    // The ID is the sender's to choose.
                    put_query(&mut entry.message, 0, name.as_wire(), qtype, self.options.edns);
                    (entry.at, entry.client) = (None, None);
                    return Ok(true);
                }
                Ok(None) => {}
                Err(what) => {
                    skipped.lines += 1;
                    skipped.first_line.get_or_insert((self.number, what));
                }
            }
        }
        Ok(false)
    }
}

/// The name and type of a line; none when it is empty or a comment.
fn question(line: &[u8], default: Rtype) -> Result<Option<(Name, Rtype)>, String> {
    let text = str::from_utf8(line).map_err(|_| "not text".to_owned())?.trim_start_matches('\u{feff}');
    let mut words = text.split_ascii_whitespace();
    let Some(name) = words.next().filter(|word| !word.starts_with(['#', ';'])) else { return Ok(None) };
    let shown = || name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect::<String>();
    let name: Name = name.parse().map_err(|error| format!("\"{}\": {error}", shown()))?;
    let Some(word) = words.next().filter(|word| !word.starts_with(['#', ';'])) else {
        return Ok(Some((name, default)));
    };
    let qtype = word.parse().map_err(|_| {
        format!(
            "no type is called \"{}\"",
            word.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect::<String>()
        )
    })?;
    Ok(Some((name, qtype)))
}
