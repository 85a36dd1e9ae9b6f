//! Text as people may be shown it: nothing in it moves a cursor, ends a line or turns the direction of reading.
//!
//! A terminal acts on control characters, a log begins a new record at a line's end, and what stands behind a bidirectional
//! override reads as something else. Whoever sends or writes such text forges what others read. So it is refused where it comes
//! in, and escaped where it goes out to people, for what lay on disk before was never asked.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;

/// Whether a character shows as itself and does nothing else.
///
/// Not so are: control characters (C0, DEL, C1), separators of lines and paragraphs, and marks, embeddings, overrides and
/// isolates of direction (Unicode Standard Annex #9 §2).
pub fn is_plain(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns)
}

/// Whether all of a text is [plain](is_plain).
pub fn is_all_plain(text: &str) -> bool {
    // Nearly every text is printable ASCII, and that is told of many octets at a time, for none ends the look early.
    let is_printable = |all: bool, octet: u8| all & (octet.wrapping_sub(b' ') < 0x7f - b' ');
    text.bytes().fold(true, is_printable) || text.chars().all(is_plain)
}

/// The first character of a text that is not [plain](is_plain), written so that it can be shown.
pub fn fault(text: &str) -> Option<String> {
    text.chars().find(|&c| !is_plain(c)).map(|c| escaped(c.encode_utf8(&mut [0; 4])).into_owned())
}

/// The text with what is not [plain](is_plain) escaped as JSON escapes it (RFC 8259 §7): `\n`, `\u001b`. So a JSON text
/// means the same afterwards.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// The same for a text of many lines, whose ends and tabs stay.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |c| c == '\n' || c == '\t')
}

/// Escapes all that is not plain, with exceptions.
fn escaped_but(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let shows = |c: char| is_plain(c) || stays(c);
    if is_all_plain(text) || text.chars().all(shows) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if shows(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // All of them are in the basic plane: four digits do.
            c => {
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            }
        }
    }
    Cow::Owned(shown)
}

/// Writes lines on, with [`escaped_lines`] in between.
#[derive(Debug)]
pub struct Lines<W> {
    to: W,
    /// The beginning of a character whose end is yet to come.
    begun: Vec<u8>,
}

impl<W: io::Write> Lines<W> {
    /// Writes on to `to`.
    pub fn new(to: W) -> Lines<W> {
        Lines { to, begun: Vec::new() }
    }
}

impl<W: io::Write> io::Write for Lines<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(octets);
        if let Err(error) = std::str::from_utf8(&all)
            && error.error_len().is_none()
        {
            self.begun = all.split_off(error.valid_up_to());
        }
        self.to.write_all(escaped_lines(&String::from_utf8_lossy(&all)).as_bytes())?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_what_shows_stays() {
        for (text, shown) in [
            ("", ""),
            (
                "settled \u{2713}, see \"a\\b\" (\u{fc}, \u{5d0}, \u{645}, \u{1f600})",
                "settled \u{2713}, see \"a\\b\" (\u{fc}, \u{5d0}, \u{645}, \u{1f600})",
            ),
            ("a\nINFO b", "a\\nINFO b"),
            ("a\r\tb\0", "a\\r\\tb\\u0000"),
            ("\u{1b}[2J\u{7f}\u{9b}0m", "\\u001b[2J\\u007f\\u009b0m"),
            ("a\u{2028}b\u{2029}\u{85}", "a\\u2028b\\u2029\\u0085"),
            ("\u{202e}gnp.\u{2066}x\u{200f}", "\\u202egnp.\\u2066x\\u200f"),
        ] {
            assert_eq!(escaped(text), shown);
            assert_eq!(fault(text).is_some(), text != shown, "{shown}");
            assert_eq!(escaped(&escaped(text)), shown, "twice is once");
        }
        assert_eq!(fault("a\u{1b}\n").as_deref(), Some("\\u001b"));
        assert_eq!(escaped_lines("a\n\u{1b}b\r\t\n"), "a\n\\u001bb\\r\t\n");
    }

    #[test]
    fn what_is_written_in_parts_is_escaped_alike() {
        let text = "a\u{1b}\u{2028}\u{1f600}\n";
        for cut in 0..=text.len() {
            let mut out = Lines::new(Vec::new());
            let (first, second) = text.as_bytes().split_at(cut);
            io::Write::write_all(&mut out, first).unwrap();
            io::Write::write_all(&mut out, second).unwrap();
            assert_eq!(String::from_utf8(out.to).unwrap(), "a\\u001b\\u2028\u{1f600}\n", "cut at {cut}");
        }
        // JSON means the same as before.
        let json = serde_json::to_string(&["\u{9b}x\u{7f}\u{202e}\n"]).unwrap();
        let read: Vec<String> = serde_json::from_str(&escaped(&json)).unwrap();
        assert_eq!(read, ["\u{9b}x\u{7f}\u{202e}\n"]);
    }
}
