//! Zone file text cut into entries (RFC 1035 §5.1): one record or directive each, on one line, without comments.
//!
//! Knowing where an entry ends before reading it is what lets the rest of a zone stand when one entry is bad.

/// Lines an entry may span: an SOA with a comment on each field takes ten.
const MAX_ENTRY_LINES: u32 = 256;
/// Entries that never end whose following lines are given a chance; later ones take what they span with them, so that no
/// text takes quadratic time.
const MAX_UNCLOSED: u32 = 100;

/// The entries of a zone file, one after the other.
pub(super) struct Entries<'a> {
    /// The whole text.
    text: &'a [u8],
    /// Where the next entry starts.
    at: usize,
    /// The line it starts on, from 1.
    line: u32,
    /// The last entry, if it had to be rewritten.
    flat: Vec<u8>,
    /// Entries so far that never ended.
    unclosed: u32,
}

/// One entry: the line it starts on, and its text or what is wrong with it.
pub(super) type Entry<'a> = (u32, Result<&'a [u8], &'static str>);

impl<'a> Entries<'a> {
    /// The entries of `text`, which need not be UTF-8; a byte order mark is skipped.
    pub(super) fn new(text: &'a [u8]) -> Entries<'a> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Entries { text, at: 0, line: 1, flat: Vec::new(), unclosed: 0 }
    }

    /// The next entry that is not blank. Its text has no parentheses, comments or line ends outside quotes; white space in
    /// front of it means the same owner as before, and is kept.
    pub(super) fn next(&mut self) -> Option<Entry<'_>> {
        loop {
            let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
            let line = self.line;
            // Most entries are plain lines: they are handed on as they stand.
            let special = |octet: &u8| matches!(octet, b'\n' | b'(' | b')' | b';' | b'"' | b'\\');
            let end = rest.iter().position(special).unwrap_or(rest.len());
            if matches!(rest.get(end), None | Some(b'\n')) {
                self.at += end + 1;
                self.line = self.line.saturating_add(1);
                let (text, start) = (self.text, self.at - end - 1);
                let entry = text.get(start..start + end).unwrap_or_default().trim_ascii_end();
                if !entry.is_empty() {
                    return Some((line, Ok(entry)));
                }
                continue;
            }
            if let Err(why) = self.flatten() {
                return Some((line, Err(why)));
            }
            if !self.flat.trim_ascii().is_empty() {
                return Some((line, Ok(self.flat.trim_ascii_end())));
            }
        }
    }

    /// Rewrites the entry at `at` into `flat` and moves behind it; a bad one ends with its first line.
    fn flatten(&mut self) -> Result<(), &'static str> {
        self.flat.clear();
        let (mut at, mut line, mut depth) = (self.at, self.line, 0u32);
        let bad = loop {
            let Some(&octet) = self.text.get(at) else {
                if depth == 0 {
                    (self.at, self.line) = (at, line);
                    return Ok(());
                }
                break "a parenthesis is never closed";
            };
            at += 1;
            match octet {
                b'\n' if depth == 0 => {
                    (self.at, self.line) = (at, line.saturating_add(1));
                    return Ok(());
                }
                b'\n' => {
                    line = line.saturating_add(1);
                    self.flat.push(b' ');
                    if line - self.line >= MAX_ENTRY_LINES {
                        break "a parenthesis is never closed";
                    }
                }
                b';' => at = self.line_end(at),
                b'"' => match self.quoted(at) {
                    Some(end) => {
                        self.flat.extend_from_slice(self.text.get(at - 1..end).unwrap_or_default());
                        at = end;
                    }
                    None => break "a quoted string does not end on its line",
                },
                // Escaped, it is part of a word, whatever it is (RFC 1035 §5.1); what may be escaped is not checked here.
                b'\\' => {
                    self.flat.push(octet);
                    if let Some(&escaped) = self.text.get(at).filter(|&&escaped| escaped != b'\n') {
                        self.flat.push(escaped);
                        at += 1;
                    }
                }
                b'(' => {
                    depth += 1;
                    self.flat.push(b' ');
                }
                b')' if depth == 0 => break "a parenthesis is closed that was not opened",
                b')' => {
                    depth -= 1;
                    self.flat.push(b' ');
                }
                _ => self.flat.push(octet),
            }
        };
        if depth > 0 {
            self.unclosed += 1;
        }
        if self.unclosed > MAX_UNCLOSED {
            (self.at, self.line) = (self.line_end(at) + 1, line.saturating_add(1));
        } else {
            (self.at, self.line) = (self.line_end(self.at) + 1, self.line.saturating_add(1));
        }
        Err(bad)
    }

    /// Where the line that holds `at` ends: at its line feed, or the end of the text.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.iter().position(|&octet| octet == b'\n').unwrap_or(rest.len())
    }

    /// Behind the quote that closes the string starting at `at`, if there is one on this line.
    fn quoted(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.text.get(at)? {
                b'"' => return Some(at + 1),
                b'\n' => return None,
                b'\\' if self.text.get(at + 1) != Some(&b'\n') => at += 2,
                _ => at += 1,
            }
        }
    }
}

/// The one entry that a text is, on one line.
///
/// # Errors
/// What is wrong with it, or that there are none or several.
pub(crate) fn only(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut entries = Entries::new(text);
    let first = entries.next().map(|(_, entry)| entry.map(<[u8]>::to_vec));
    match (first, entries.next()) {
        (None, _) => Err("it is empty"),
        (Some(entry), None) => entry,
        (Some(Err(why)), Some(_)) => Err(why),
        (Some(Ok(_)), Some(_)) => Err("it is more than one record"),
    }
}

/// The first word of an entry, and what follows it; quotes and escapes are honoured and kept. Empty if there is none.
pub(crate) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let (mut at, mut quoted) = (0, false);
    while let Some(&octet) = text.get(at) {
        match octet {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            _ if octet.is_ascii_whitespace() && !quoted => break,
            _ => {}
        }
        at += 1;
    }
    text.split_at(at.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every entry of a text as `line:text` or `line!problem`.
    fn entries(text: &str) -> Vec<String> {
        let mut entries = Entries::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some((line, entry)) = entries.next() {
            all.push(match entry {
                Ok(text) => format!("{line}:{}", String::from_utf8_lossy(text)),
                Err(why) => format!("{line}!{why}"),
            });
        }
        all
    }

    #[test]
    fn text_is_cut_where_entries_end() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n \n\t\r\n; only\n  ; comments ( \"\n", &[]),
            ("a A 1\nb A 2", &["1:a A 1", "2:b A 2"]),
            ("a A 1\r\n\r\nb A 2\r\n", &["1:a A 1", "3:b A 2"]),
            ("\u{feff}a A 1", &["1:a A 1"]),
            (" A 1", &["1: A 1"]),
            ("a A 1 ; comment\nb A 2;c", &["1:a A 1", "2:b A 2"]),
            ("a ( A ; one\n 1 )\nb A 2", &["1:a   A   1", "3:b A 2"]),
            ("a ((A)\n\n1)\nb", &["1:a   A   1", "4:b"]),
            ("a TXT \"x;y(\" z\nb", &["1:a TXT \"x;y(\" z", "2:b"]),
            ("a TXT \"x\\\"y\" z\nb", &["1:a TXT \"x\\\"y\" z", "2:b"]),
            ("a\\;b\\(c A 1\nb", &["1:a\\;b\\(c A 1", "2:b"]),
            ("a A 1\\\nb", &["1:a A 1\\", "2:b"]),
            (
                "a TXT \"x\nb A 1\"\nc A 2",
                &[
                    "1!a quoted string does not end on its line",
                    "2!a quoted string does not end on its line",
                    "3:c A 2",
                ],
            ),
            ("a TXT \"x\\", &["1!a quoted string does not end on its line"]),
            ("a ( A 1\nb A 2\nc A 3", &["1!a parenthesis is never closed", "2:b A 2", "3:c A 3"]),
            ("a A 1 )\nb A 2", &["1!a parenthesis is closed that was not opened", "2:b A 2"]),
        ] {
            assert_eq!(entries(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_open_parenthesis_takes_so_many_lines_with_it_and_no_more() {
        let within = format!("a ( A\n{} 1 )\nb A 2", "\n".repeat(MAX_ENTRY_LINES as usize - 2));
        assert_eq!(entries(&within).len(), 2);
        let beyond = format!("a ( A\n{}1 )\nb A 2", "\n".repeat(MAX_ENTRY_LINES as usize - 1));
        assert_eq!(
            entries(&beyond),
            [
                "1!a parenthesis is never closed",
                "257!a parenthesis is closed that was not opened",
                "258:b A 2"
            ]
        );
        // A text of nothing else is done in a moment, and every entry behind it is found.
        let open = format!("{}x A 1", "(\n".repeat(200_000));
        let found = entries(&open);
        assert!(found.len() < 2_000, "{}", found.len());
    }

    #[test]
    fn words_end_at_white_space_outside_quotes() {
        for (text, first, rest) in [
            ("", "", ""),
            ("  ", "", ""),
            (" a  b", "a", "  b"),
            ("a\\ b c", "a\\ b", " c"),
            ("\"a b\" c", "\"a b\"", " c"),
            ("a=\"b c\" d", "a=\"b c\"", " d"),
            ("a\\", "a\\", ""),
        ] {
            let (word, after) = word(text.as_bytes());
            assert_eq!((word, after), (first.as_bytes(), rest.as_bytes()), "{text:?}");
        }
    }
}
