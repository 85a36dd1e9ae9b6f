//! Lists of names: one a line, or in hosts format. Pure: octets in, names and refused lines out.

use std::fmt;
use std::net::IpAddr;
use std::str;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::name::{Name, NameError};
use crate::problem::Problem;

/// Refused lines of one list that are reported one by one; the rest are counted.
pub const MAX_REPORTED_LINES: usize = 20;
/// Characters of a refused word that a report shows.
const SHOWN_CHARS: usize = 60;

/// Names that every hosts file lists for the machine itself: they are no part of any list.
pub(super) const OWN_NAMES: [&str; 15] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
];

/// The names of a list with their lines, counted from 1, and the words that were refused.
///
/// A line holds one name, or an address followed by one or more names (hosts(5)). `#` starts a comment.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    /// What has not been read.
    rest: &'a [u8],
    /// The line last taken from `rest`.
    line: u32,
    /// The names of a hosts line that have not been read.
    words: &'a [u8],
    /// Names of the machine itself that were passed over.
    own: usize,
}

impl<'a> Names<'a> {
    /// Reads `list`, which need not be UTF-8; a byte order mark is skipped.
    pub fn new(list: &'a [u8]) -> Names<'a> {
        Names { rest: list.strip_prefix(b"\xef\xbb\xbf").unwrap_or(list), line: 0, words: &[], own: 0 }
    }

    /// How many names of the machine itself were passed over so far.
    pub(super) fn own(&self) -> usize {
        self.own
    }

    /// Takes the next line if it is a name of ordinary octets and nothing else, as nearly all are: one pass does. `name`
    /// becomes that name.
    fn next_plain(&mut self, name: &mut Name) -> Option<u32> {
        if !self.words.is_empty() {
            return None;
        }
        let end = name.refill_plain(self.rest)?;
        let (word, rest) = self.rest.split_at_checked(end)?;
        let after = match rest.strip_prefix(b"\r").unwrap_or(rest) {
            [] => &[][..],
            [b'\n', after @ ..] => after,
            _ => return None,
        };
        // It may be an address.
        if word.last().is_none_or(u8::is_ascii_digit) {
            return None;
        }
        self.rest = after;
        self.line = self.line.saturating_add(1);
        Some(self.line)
    }

    /// Takes the next line, without its end.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.line = self.line.saturating_add(1);
        let end = self.rest.iter().position(|&octet| octet == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(line)
    }
}

impl Iterator for Names<'_> {
    type Item = (u32, Result<Name, Refused>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if !self.words.is_empty() {
                let (word, rest) = first_word(self.words);
                self.words = rest;
                if !is_own_name(word) {
                    return Some((self.line, name_from_octets(word)));
                }
                self.own += 1;
                continue;
            }
            let mut name = Name::ROOT;
            if let Some(line) = self.next_plain(&mut name) {
                return Some((line, Ok(name)));
            }
            let line = self.next_line()?;
            if self.line == 1 && (line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff")) {
                self.rest = &[];
                return Some((1, Err(Refused::new(&line[..2], Reason::Utf16))));
            }
            let text = match line.iter().position(|&octet| octet == b'#') {
                Some(at) if is_cosmetic(line, at) => {
                    return Some((self.line, Err(Refused::new(line.trim_ascii(), Reason::Adblock))));
                }
                Some(at) => line[..at].trim_ascii(),
                None => line.trim_ascii(),
            };
            if text.is_empty() {
                continue;
            }
            let (word, rest) = first_word(text);
            if rest.is_empty() {
                return Some((self.line, name_from_octets(word)));
            }
            if !is_address(word) {
                let reason = format_of(text).unwrap_or(Reason::ManyWords);
                return Some((self.line, Err(Refused::new(text, reason))));
            }
            self.words = rest;
        }
    }
}

/// A word or line that is no name, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was written, cut to a readable length.
    pub word: String,
    /// Why it was refused.
    pub reason: Reason,
}

/// Why a word or line of a list was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It breaks the rules for names.
    Name(NameError),
    /// A character that no listed name holds, unless escaped.
    Character(char),
    /// The root.
    Root,
    /// An address.
    Address,
    /// Octets that are not UTF-8.
    NotUtf8,
    /// The file is UTF-16.
    Utf16,
    /// Not an internationalized name that UTS 46 allows.
    Idna,
    /// Several words, and the first is no address.
    ManyWords,
    /// A wildcard.
    Wildcard,
    /// Adblock syntax.
    Adblock,
    /// Options of dnsmasq.
    Dnsmasq,
    /// Options of Unbound.
    Unbound,
    /// A URL, or a name with a path or a port.
    Url,
    /// A line of a zone file, such as RPZ.
    ZoneFile,
    /// Values separated by commas.
    Csv,
}

impl Refused {
    /// A refusal of `word`, cut to what a report can show.
    pub(super) fn new(word: &[u8], reason: Reason) -> Refused {
        Refused { word: shown(word), reason }
    }

    /// What to do about it, empty if there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self.reason {
            Reason::Wildcard => "list the name without \"*.\" in a scope with match = \"subtree-below\"",
            Reason::Adblock => "an Adblock list: keep the name between \"||\" and \"^\"",
            Reason::Dnsmasq => "a dnsmasq list: keep the name between the slashes",
            Reason::Unbound => "an Unbound list: keep the name between the quotes",
            Reason::Url => "keep the host name only, without scheme, port and path",
            Reason::ZoneFile => "a zone file, perhaps RPZ: keep the names, one a line",
            Reason::Csv => "a table: keep the column of names, one a line",
            Reason::ManyWords => "one name a line, or an address followed by names",
            Reason::Address => "only names can be listed; an address stands in front of names",
            Reason::Utf16 | Reason::NotUtf8 => "save the file as UTF-8",
            Reason::Idna => "write it as an A-label (xn--...)",
            Reason::Name(_) | Reason::Character(_) | Reason::Root => "",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.word, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Name(error) => write!(f, "{error}"),
            Reason::Character(c) => write!(f, "{c:?} cannot stand in a listed name"),
            Reason::Root => f.write_str("the root cannot be listed"),
            Reason::Address => f.write_str("an address, not a name"),
            Reason::NotUtf8 => f.write_str("not UTF-8"),
            Reason::Utf16 => f.write_str("the file is UTF-16, not UTF-8"),
            Reason::Idna => f.write_str("not a valid internationalized name (UTS 46)"),
            Reason::ManyWords => f.write_str("several words, and the first is no address"),
            Reason::Wildcard => f.write_str("a wildcard; what a name covers is said by its scope"),
            Reason::Adblock => f.write_str("looks like an Adblock rule"),
            Reason::Dnsmasq => f.write_str("looks like an option of dnsmasq"),
            Reason::Unbound => f.write_str("looks like an option of Unbound"),
            Reason::Url => f.write_str("looks like a URL, or has a port or path"),
            Reason::ZoneFile => f.write_str("looks like a line of a zone file"),
            Reason::Csv => f.write_str("looks like comma-separated values"),
        }
    }
}

/// What a report shows of a word or line.
pub(super) fn shown(word: &[u8]) -> String {
    // Four octets make at most one character, so the cut loses none that would be shown.
    let cut = word.get(..SHOWN_CHARS * 4).unwrap_or(word);
    let text = String::from_utf8_lossy(cut);
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if word.len() > cut.len() || text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Reads one name as people write it: any case, with or without trailing dot, A-labels or U-labels.
///
/// # Errors
/// With the reason, which names the list format that the text seems to come from.
pub fn name(text: &str) -> Result<Name, Refused> {
    name_from_octets(text.as_bytes())
}

/// The first line of `list` that names `name`.
///
/// A policy keeps no line numbers, to save memory; who explains a verdict reads the file again.
pub fn line_of(list: &[u8], name: &Name) -> Option<u32> {
    Names::new(list).find(|(_, found)| found.as_ref() == Ok(name)).map(|(line, _)| line)
}

/// Hands every name of `list` with its line to `visit`; gives back the problems and how many lines were refused.
pub fn visit(list: &[u8], file: &str, mut visit: impl FnMut(u32, &Name)) -> (Vec<Problem>, usize) {
    let mut problems = Vec::new();
    let mut refused = 0;
    let (mut names, mut plain) = (Names::new(list), Name::ROOT);
    loop {
        // Without a copy of each name: they are long.
        while let Some(line) = names.next_plain(&mut plain) {
            visit(line, &plain);
        }
        let Some((line, name)) = names.next() else { break };
        match name {
            Ok(name) => visit(line, &name),
            Err(why) => {
                refused += 1;
                if refused <= MAX_REPORTED_LINES {
                    problems.push(Problem::error(file, Some(line), why.to_string()).hint(why.hint()));
                }
            }
        }
    }
    if let Some(more) = refused.checked_sub(MAX_REPORTED_LINES).filter(|&more| more > 0) {
        problems.push(Problem::error(file, None, format!("{more} more lines are refused")));
    }
    (problems, refused)
}

/// Reads a name, which holds no white space if it is one.
pub(super) fn name_from_octets(word: &[u8]) -> Result<Name, Refused> {
    let refuse = |reason| Err(Refused::new(word, format_of(word).unwrap_or(reason)));
    let Ok(text) = str::from_utf8(word) else { return refuse(Reason::NotUtf8) };
    let parsed = if text.is_ascii() {
        plain_name(text)
    } else {
        // UTS 46 with hyphens anywhere and underscores: DNS allows both, and listed names use both.
        let ascii = Uts46::new().to_ascii(word, AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
        match ascii {
            Ok(ascii) => plain_name(&ascii),
            Err(_) => Err(Reason::Idna),
        }
    };
    match parsed {
        _ if is_address(word) => Err(Refused::new(word, Reason::Address)),
        Ok(name) => Ok(name),
        Err(reason) => refuse(reason),
    }
}

/// Reads an ASCII name of letters, digits, hyphens and underscores; anything else must be escaped (RFC 1035 §5.1).
fn plain_name(text: &str) -> Result<Name, Reason> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'\\');
    // After a backslash any character may stand: the name's own rules decide.
    if let Some(odd) = text.bytes().find(|&octet| !plain(octet))
        && !text.contains('\\')
    {
        return Err(Reason::Character(char::from(odd)));
    }
    let name: Name = text.parse().map_err(Reason::Name)?;
    if name.is_root() { Err(Reason::Root) } else { Ok(name) }
}

/// The first word of `text`, which starts with none but may hold white space, and what follows it.
pub(super) fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(u8::is_ascii_whitespace) {
        Some(end) => (&text[..end], text[end..].trim_ascii_start()),
        None => (text, &[]),
    }
}

/// Whether `word` is an IPv4 or IPv6 address, with or without a zone (`fe80::1%lo0`).
pub(super) fn is_address(word: &[u8]) -> bool {
    // Almost every word is a name: look at one octet before trying to parse.
    let Some(last) = word.last() else { return false };
    if !last.is_ascii_digit() && !word.contains(&b':') {
        return false;
    }
    let word = word.split(|&octet| octet == b'%').next().unwrap_or(word);
    str::from_utf8(word).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

/// Whether a hosts line says this of the machine itself.
pub(super) fn is_own_name(word: &[u8]) -> bool {
    word == b"0.0.0.0" || OWN_NAMES.iter().any(|own| word.eq_ignore_ascii_case(own.as_bytes()))
}

/// Whether a name is the machine's own. RFC 6761 §6.3: names that end in "localhost." are, too.
pub(crate) fn is_own(name: &Name) -> bool {
    let mut labels = name.labels();
    let Some(first) = labels.next() else { return false };
    if labels.last().unwrap_or(first) == b"localhost" {
        return true;
    }
    // Nearly every name ends here.
    [&b"local"[..], b"broadcasthost", b"ip6-"].iter().any(|start| first.starts_with(start))
        && OWN_NAMES.contains(&name.to_string().as_str())
}

/// Whether the `#` at `at` starts an Adblock cosmetic rule (`name##.banner`) rather than a comment.
fn is_cosmetic(line: &[u8], at: usize) -> bool {
    let touches = at > 0 && !line[at - 1].is_ascii_whitespace();
    touches && [&b"##"[..], b"#@#", b"#?#", b"#$#"].iter().any(|mark| line[at..].starts_with(mark))
}

/// The list format that a line which is no name seems to come from.
fn format_of(line: &[u8]) -> Option<Reason> {
    let has = |wanted: &[u8]| line.windows(wanted.len()).any(|found| found == wanted);
    let starts = |wanted: &[&str]| wanted.iter().any(|start| line.starts_with(start.as_bytes()));
    if starts(&["||", "@@", "!", "[Adblock", "|http"]) || line.ends_with(b"^") {
        return Some(Reason::Adblock);
    }
    if starts(&["server=/", "address=/", "local=/", "ipset=/", "nftset=/"]) {
        return Some(Reason::Dnsmasq);
    }
    if starts(&["local-zone:", "local-data:", "server:"]) {
        return Some(Reason::Unbound);
    }
    if starts(&[";", "$TTL", "$ORIGIN", "@ "]) || has(b" CNAME ") || has(b"\tCNAME\t") || has(b" IN ") {
        return Some(Reason::ZoneFile);
    }
    if has(b",") {
        return Some(Reason::Csv);
    }
    if has(b"://") || has(b"/") || (has(b":") && !is_address(line)) {
        return Some(Reason::Url);
    }
    has(b"*").then_some(Reason::Wildcard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines refused, and why.
    type Lines = &'static [(u32, Reason)];

    /// The names of a list as text, and the lines refused with their reasons.
    fn read(list: &[u8]) -> (Vec<String>, Vec<(u32, Reason)>) {
        let mut names = Vec::new();
        let mut refused = Vec::new();
        for (line, name) in Names::new(list) {
            match name {
                Ok(name) => names.push(name.to_string()),
                Err(why) => refused.push((line, why.reason)),
            }
        }
        (names, refused)
    }

    #[test]
    fn what_a_list_may_hold() {
        let table: &[(&[u8], &[&str])] = &[
            (b"", &[]),
            (b"a.example", &["a.example"]),
            (b"a.example\nb.example\n", &["a.example", "b.example"]),
            (b"a.example\r\nb.example\r\n", &["a.example", "b.example"]),
            (b"\xef\xbb\xbfa.example\n", &["a.example"]),
            (b"  A.Example.  \n", &["a.example"]),
            (
                b"# all comment\n\n   \n\t# more\na.example # why\nb.example#tight\n",
                &["a.example", "b.example"],
            ),
            (b"0.0.0.0 a.example\n", &["a.example"]),
            (b"127.0.0.1\ta.example\tb.example  c.example # x\n", &["a.example", "b.example", "c.example"]),
            (
                b"::1 a.example\n::ffff:1.2.3.4 b.example\nfe80::1%lo0 c.example",
                &["a.example", "b.example", "c.example"],
            ),
            (b"93.184.216.34 a.example", &["a.example"]),
            (b"127.0.0.1 localhost localhost.localdomain a.example\n", &["a.example"]),
            (b"255.255.255.255 broadcasthost\n0.0.0.0 0.0.0.0\n::1 ip6-Localhost ip6-loopback", &[]),
            (b"localhost", &["localhost"]),
            (b"_dmarc.a-b.example\n-x-.example\n", &["_dmarc.a-b.example", "-x-.example"]),
            ("bücher.example\n公司.cn\n".as_bytes(), &["xn--bcher-kva.example", "xn--55qx5d.cn"]),
            ("BÜCHER.Example。\n".as_bytes(), &["xn--bcher-kva.example"]),
            (b"xn--BCHER-kva.example", &["xn--bcher-kva.example"]),
            ("_x.bücher_ü.example".as_bytes(), &["_x.xn--bcher_-3yaf.example"]),
            ("0.0.0.0 bücher.example".as_bytes(), &["xn--bcher-kva.example"]),
            (b"1.2.3.4.example\n4.example", &["1.2.3.4.example", "4.example"]),
            (b"a\\046b.example", &["a\\.b.example"]),
            (b"a.example # see http://b.example/, or *.x", &["a.example"]),
            (b"a.example # caf\xe9 in Latin-1", &["a.example"]),
        ];
        for (list, expected) in table {
            let shown = String::from_utf8_lossy(list);
            let (names, refused) = read(list);
            assert_eq!((names, refused), (expected.iter().map(|&n| n.into()).collect(), vec![]), "{shown:?}");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        use Reason::*;
        let long = format!("{}.example", "a".repeat(64));
        let longer = format!("{}example", "a.".repeat(130));
        let table: &[(&[u8], Lines)] = &[
            (b"a..example", &[(1, Name(NameError::EmptyLabel))]),
            (b".a.example", &[(1, Name(NameError::EmptyLabel))]),
            (b"a.example..", &[(1, Name(NameError::EmptyLabel))]),
            (long.as_bytes(), &[(1, Name(NameError::LabelTooLong))]),
            (longer.as_bytes(), &[(1, Name(NameError::NameTooLong))]),
            (b".", &[(1, Root)]),
            (b"ok.example\n\n*.a.example", &[(3, Wildcard)]),
            (b"a.*.example", &[(1, Wildcard)]),
            (b"||a.example^", &[(1, Adblock)]),
            (b"||a.example^$third-party", &[(1, Adblock)]),
            (b"@@||a.example^", &[(1, Adblock)]),
            (b"! Title: list", &[(1, Adblock)]),
            (b"a.example##.banner", &[(1, Adblock)]),
            (b"a..example # see http://b.example/", &[(1, Name(NameError::EmptyLabel))]),
            (b"server=/a.example/", &[(1, Dnsmasq)]),
            (b"address=/a.example/0.0.0.0", &[(1, Dnsmasq)]),
            (b"local-zone: \"a.example\" redirect", &[(1, Unbound)]),
            (b"http://a.example/x", &[(1, Url)]),
            (b"a.example/x", &[(1, Url)]),
            (b"a.example:8080", &[(1, Url)]),
            (b"a.example CNAME .", &[(1, ZoneFile)]),
            (b"$TTL 300", &[(1, ZoneFile)]),
            (b"; comment", &[(1, ZoneFile)]),
            (b"a.example,bladabindi", &[(1, Csv)]),
            (b"a.example b.example", &[(1, ManyWords)]),
            (b"0.0.0 a.example", &[(1, ManyWords)]),
            (b"192.0.2.1", &[(1, Address)]),
            (b"2001:db8::1", &[(1, Address)]),
            (b"0.0.0.0 192.0.2.1", &[(1, Address)]),
            (b"a@b.example", &[(1, Character('@'))]),
            (b"a\x00b.example", &[(1, Character('\0'))]),
            (b"caf\xe9.example\nok.example", &[(1, NotUtf8)]),
            ("a\u{ff0f}b.example".as_bytes(), &[(1, Character('/'))]),
            ("a\u{200b}\u{e0001}.example".as_bytes(), &[(1, Idna)]),
            (b"\xff\xfea\0.\0e\0", &[(1, Utf16)]),
            (b"0.0.0.0 ok.example b..example c.example", &[(1, Name(NameError::EmptyLabel))]),
            (b"a\\999.example", &[(1, Name(NameError::BadEscape))]),
        ];
        for (list, expected) in table {
            assert_eq!(read(list).1, *expected, "{:?}", String::from_utf8_lossy(list));
        }
    }

    #[test]
    fn refused_lines_are_reported_up_to_a_bound() {
        let list = "a b\n".repeat(MAX_REPORTED_LINES + 5) + "ok.example\n";
        let mut names = Vec::new();
        let (problems, refused) = visit(list.as_bytes(), "list.txt", |line, name| names.push((line, *name)));
        assert_eq!(refused, MAX_REPORTED_LINES + 5);
        assert_eq!(names, [(26, name("ok.example").unwrap())]);
        assert_eq!(problems.len(), MAX_REPORTED_LINES + 1);
        assert_eq!(
            problems[0].to_string(),
            "error: list.txt:1: \"a b\": several words, and the first is no address\n  \
             hint: one name a line, or an address followed by names"
        );
        assert_eq!(problems[20].to_string(), "error: list.txt: 5 more lines are refused");
    }

    #[test]
    fn a_line_is_found_again() {
        let list = b"# head\n0.0.0.0 a.example b.example\n\nB\xc3\xbccher.example\n";
        for (wanted, line) in [
            ("b.example", Some(2)),
            ("xn--bcher-kva.example", Some(4)),
            ("c.example", None),
            ("example", None),
        ] {
            assert_eq!(line_of(list, &name(wanted).unwrap()), line, "{wanted}");
        }
    }

    #[test]
    fn long_words_are_cut_when_shown() {
        let word = "ü".repeat(500) + " x";
        let refused = Names::new(word.as_bytes()).next().unwrap().1.unwrap_err();
        assert_eq!(refused.word.chars().count(), SHOWN_CHARS + 1);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(list in proptest::collection::vec(any::<u8>(), 0..300)) {
            let lines = 1 + list.iter().filter(|&&octet| octet == b'\n').count();
            for (line, found) in Names::new(&list) {
                prop_assert!(line >= 1 && line as usize <= lines);
                if let Err(refused) = found {
                    prop_assert!(!refused.to_string().contains('\n'));
                }
            }
        }

        /// Behind a space no line is taken for a plain one: both ways of reading say the same.
        #[test]
        fn plain_lines_are_read_like_all_others(
            list in "([a-cX9_.-]{0,8}[ #\\\\\r]?[a-c.]{0,3}|([a-z0-9]{1,30}\\.){6,9}[a-z0-9]{1,70}\\.?|\n)(\r?\n|\n){0,2}([a-c.]{1,9}\n){0,3}",
        ) {
            let moved: String = list.split('\n').map(|line| format!(" {line}\n")).collect();
            let moved = if list.ends_with('\n') || list.is_empty() { &moved[..moved.len() - 2] } else { &moved };
            prop_assert_eq!(Names::new(list.as_bytes()).collect::<Vec<_>>(), Names::new(moved.as_bytes()).collect::<Vec<_>>());
        }

        #[test]
        fn any_text_is_read_without_panic(list in "(\\PC|[\\n\\t #.*|^/:]){0,80}") {
            let _ = Names::new(list.as_bytes()).count();
        }

        #[test]
        fn names_survive_every_way_of_writing_them(labels in proptest::collection::vec("[a-z0-9_-]{1,12}", 1..5)) {
            let text = labels.join(".") + ".example";
            let wanted = name(&text).unwrap();
            for written in [text.to_uppercase(), format!("{text}."), format!("0.0.0.0\t{text}\r"), format!(" {text} #x")] {
                let found: Vec<_> = Names::new(written.as_bytes()).collect();
                prop_assert_eq!(found, vec![(1, Ok(wanted))]);
            }
        }
    }
}
