//! Domain names as the wire carries them, folded to lower case so that equal names are equal bytes.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Octets in the longest name, the root label's zero included (RFC 1035 §3.1).
pub const MAX_NAME_LEN: usize = 255;
/// Octets in the longest label, its length octet not counted (RFC 1035 §3.1).
pub const MAX_LABEL_LEN: usize = 63;
/// Labels in the longest name, the root not counted: 127 labels of one octet fill 254 octets.
pub const MAX_LABELS: usize = 127;

/// A domain name: uncompressed wire form, ASCII letters in lower case, on the stack.
///
/// It is always valid: every constructor checks label and name lengths, so readers need not.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    octets: [u8; MAX_NAME_LEN],
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing where a name should be.
    Empty,
    /// Two dots in a row, or a dot at the start.
    EmptyLabel,
    /// A label of more than 63 octets.
    LabelTooLong,
    /// More than 255 octets in all.
    NameTooLong,
    /// A backslash that starts no valid escape (RFC 1035 §5.1).
    BadEscape,
    /// White space, a control character or a non-ASCII one, unescaped.
    BadCharacter(char),
    /// Wire form that ends early, goes on too long, or holds a pointer where none may be.
    BadWire,
}

impl Name {
    /// The root, `.`.
    pub const ROOT: Name = Name { len: 1, octets: [0; MAX_NAME_LEN] };

    /// Reads an uncompressed name that fills `wire` exactly, folding case.
    ///
    /// # Errors
    /// [`NameError::BadWire`] for anything that is not one whole uncompressed name,
    /// [`NameError::NameTooLong`] over 255 octets.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        if wire.len() > MAX_NAME_LEN {
            return Err(NameError::NameTooLong);
        }
        let mut at = 0;
        loop {
            let length = usize::from(*wire.get(at).ok_or(NameError::BadWire)?);
            if length > MAX_LABEL_LEN {
                return Err(NameError::BadWire);
            }
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
        if at != wire.len() {
            return Err(NameError::BadWire);
        }
        let mut name = Name { len: wire.len() as u8, octets: [0; MAX_NAME_LEN] };
        name.octets[..wire.len()].copy_from_slice(wire);
        // Length octets are at most 63 and so never letters: folding all octets alike is safe.
        name.octets[..wire.len()].make_ascii_lowercase();
        Ok(name)
    }

    /// Reads the uncompressed name at the start of `wire`, whatever stands behind it, folding case; none if there is no
    /// whole name.
    pub fn at_start_of(wire: &[u8]) -> Option<Name> {
        let mut name = Name::ROOT;
        name.refill(wire)?;
        Some(name)
    }

    /// [`Name::at_start_of`] in place, eight octets at a time; how long the name is, or none, and this is as it was. Behind the
    /// name may stand anything then.
    #[inline]
    pub fn refill(&mut self, wire: &[u8]) -> Option<usize> {
        let mut end = 0;
        loop {
            let length = usize::from(*wire.get(end)?);
            if length > MAX_LABEL_LEN || end + length >= MAX_NAME_LEN {
                return None;
            }
            end += 1 + length;
            if length == 0 {
                break;
            }
        }
        let name = wire.get(..end)?;
        // The last word may reach beyond the name: what stands there is nobody's, and clearing it takes longer than reading over it.
        let from = wire.get(..end.next_multiple_of(8)).unwrap_or(name).as_chunks().0;
        let places = self.octets.as_chunks_mut().0;
        let whole = 8 * from.len().min(places.len());
        for (place, word) in places.iter_mut().zip(from) {
            *place = fold(u64::from_ne_bytes(*word)).to_ne_bytes();
        }
        // Where the wire ends before the word does, or the longest name.
        for (place, octet) in self.octets.iter_mut().skip(whole).zip(name.iter().skip(whole)) {
            *place = octet.to_ascii_lowercase();
        }
        self.len = end as u8;
        Some(end)
    }

    /// Becomes the name of letters, digits, hyphens and underscores that `text` starts with; where it ends, or none if that is
    /// no name, or the root, or may go on with an escape, and then this is some other name. Nearly all names of lists are such,
    /// and this takes one pass over them and copies nothing.
    pub fn refill_plain(&mut self, text: &[u8]) -> Option<usize> {
        *self = Name::ROOT;
        // Where the length octet of the label in hand stands, and how many octets of text were read.
        let (mut start, mut end) = (0, 0);
        let whole = loop {
            let Some(octet) = text.get(end) else { break true };
            let plain = match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => *octet,
                b'A'..=b'Z' => octet | 0x20,
                b'.' => {
                    let Some(len) = label_len(end - start) else { break false };
                    self.octets[start] = len;
                    end += 1;
                    start = end;
                    // The next label's length octet has to have its place.
                    if start >= MAX_NAME_LEN {
                        break false;
                    }
                    continue;
                }
                b'\\' => break false,
                _ => break true,
            };
            end += 1;
            let Some(place) = self.octets.get_mut(end) else { break false };
            *place = plain;
        };
        // A trailing dot has begun a label that is the root's; without one the last label ends here.
        let len = match end - start {
            0 => end + 1,
            last => {
                self.octets[start] = label_len(last).filter(|_| whole).unwrap_or(0);
                end + 2
            }
        };
        if !whole || end == 0 || len > MAX_NAME_LEN || (start < end && self.octets[start] == 0) {
            *self = Name::ROOT;
            return None;
        }
        self.len = len as u8;
        Some(end)
    }

    /// Appends one label below the root end: `www` then `example` then `com` build `www.example.com`.
    ///
    /// # Errors
    /// When the label is empty or over 63 octets, or the name would pass 255 octets.
    pub fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL_LEN {
            return Err(NameError::LabelTooLong);
        }
        let start = usize::from(self.len) - 1;
        let end = start + 1 + label.len();
        if end + 1 > MAX_NAME_LEN {
            return Err(NameError::NameTooLong);
        }
        self.octets[start] = label.len() as u8;
        self.octets[start + 1..end].copy_from_slice(label);
        self.octets[start + 1..end].make_ascii_lowercase();
        self.octets[end] = 0;
        self.len = (end + 1) as u8;
        Ok(())
    }

    /// The wire form, root label included, letters in lower case.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// The wire form and whatever stands behind it up to 255 octets, for readers of whole words.
    pub(super) fn padded(&self) -> &[u8; MAX_NAME_LEN] {
        &self.octets
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.len == 1
    }

    /// The labels, leftmost first, the root not among them.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: self.as_wire() }
    }

    /// How many labels, the root not counted: 0 to 127.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; none for the root.
    pub fn parent(&self) -> Option<Name> {
        self.ancestor(self.label_count().checked_sub(1)?)
    }

    /// The enclosing name that keeps the `labels` rightmost labels, itself when that is all of them.
    pub fn ancestor(&self, labels: usize) -> Option<Name> {
        let skip = self.label_count().checked_sub(labels)?;
        let wire = self.as_wire();
        let mut at = 0;
        for _ in 0..skip {
            at += 1 + usize::from(wire[at]);
        }
        let mut name = Name { len: (wire.len() - at) as u8, octets: [0; MAX_NAME_LEN] };
        name.octets[..wire.len() - at].copy_from_slice(&wire[at..]);
        Some(name)
    }

    /// Whether this name is `zone` or lies below it.
    pub fn is_at_or_below(&self, zone: &Name) -> bool {
        let (wire, suffix) = (self.as_wire(), zone.as_wire());
        let Some(cut) = wire.len().checked_sub(suffix.len()) else { return false };
        if &wire[cut..] != suffix {
            return false;
        }
        // The same octets may stand inside a label ("notddns.net"): the cut must fall between labels.
        let mut at = 0;
        while at < cut {
            at += 1 + usize::from(wire[at]);
        }
        at == cut
    }
}

/// The length octet of a label of so many octets; none if no label has so many.
fn label_len(octets: usize) -> Option<u8> {
    (1..=MAX_LABEL_LEN).contains(&octets).then_some(octets as u8)
}

/// Eight octets with their ASCII letters in lower case. Length octets are at most 63 and so never letters.
fn fold(word: u64) -> u64 {
    /// The same octet eight times.
    const fn each(octet: u8) -> u64 {
        u64::from_ne_bytes([octet; 8])
    }
    // With the top bit out of the way no sum carries into the next octet; it ends up in that bit whether an octet is at
    // least `A`, and whether it is above `Z`.
    let low = word & each(0x7f);
    let from_a = low + each(0x80 - b'A');
    let above_z = low + each(0x7f - b'Z');
    let upper = (from_a ^ above_z) & !word & each(0x80);
    // Lower case is upper case with bit 5 set.
    word | (upper >> 2)
}

/// A name's labels, leftmost first; see [`Name::labels`].
#[derive(Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.rest.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at(usize::from(length));
        self.rest = rest;
        Some(label)
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads presentation form (RFC 1035 §5.1), with or without the trailing dot; `.` is the root.
    fn from_str(text: &str) -> Result<Name, NameError> {
        match text {
            "" => return Err(NameError::Empty),
            "." => return Ok(Name::ROOT),
            _ => {}
        }
        let mut name = Name::ROOT;
        let mut label = [0u8; MAX_LABEL_LEN];
        let mut length = 0;
        let mut octets = text.bytes();
        while let Some(octet) = octets.next() {
            let octet = match octet {
                b'.' => {
                    name.push_label(&label[..length])?;
                    length = 0;
                    continue;
                }
                b'\\' => escaped(&mut octets)?,
                0x21..=0x7e => octet,
                other => {
                    let shown = if other.is_ascii() { char::from(other) } else { '\u{fffd}' };
                    return Err(NameError::BadCharacter(shown));
                }
            };
            *label.get_mut(length).ok_or(NameError::LabelTooLong)? = octet;
            length += 1;
        }
        if length > 0 {
            name.push_label(&label[..length])?;
        }
        Ok(name)
    }
}

/// Reads what follows a backslash: three decimal digits, or one character that stands for itself.
fn escaped(octets: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = octets.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return if (0x21..=0x7e).contains(&first) { Ok(first) } else { Err(NameError::BadEscape) };
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        match octets.next() {
            Some(digit @ b'0'..=b'9') => value = value * 10 + u16::from(digit - b'0'),
            _ => return Err(NameError::BadEscape),
        }
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

impl fmt::Display for Name {
    /// Presentation form without the trailing dot, octets that need it escaped (RFC 1035 §5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(octet))?;
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_wire().hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    /// Canonical order: label by label from the root (RFC 4034 §6.1).
    fn cmp(&self, other: &Name) -> Ordering {
        let (mine, theirs) = (self.label_count(), other.label_count());
        for depth in 1..=mine.min(theirs) {
            let left = self.labels().nth(mine - depth);
            let order = left.cmp(&other.labels().nth(theirs - depth));
            if order.is_ne() {
                return order;
            }
        }
        mine.cmp(&theirs)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("the name is empty"),
            NameError::EmptyLabel => f.write_str("a label is empty (two dots in a row, or a leading dot)"),
            NameError::LabelTooLong => f.write_str("a label is longer than 63 octets"),
            NameError::NameTooLong => f.write_str("the name is longer than 255 octets"),
            NameError::BadEscape => {
                f.write_str("a backslash must be followed by three digits up to 255 or a character")
            }
            NameError::BadCharacter(c) => write!(f, "{:?} cannot stand in a name", c),
            NameError::BadWire => f.write_str("not a name in wire form"),
        }
    }
}

impl std::error::Error for NameError {}

/// Many names in one allocation, one after the other in wire form, in the order given.
///
/// Ten million names cost their octets and no more: wire names end themselves, so no index is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    octets: Vec<u8>,
    len: usize,
}

impl NameList {
    /// An empty list.
    pub const fn new() -> NameList {
        NameList { octets: Vec::new(), len: 0 }
    }

    /// Adds a name at the end; duplicates are kept.
    pub fn push(&mut self, name: &Name) {
        self.octets.extend_from_slice(name.as_wire());
        self.len += 1;
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The names in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = Name> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = self.octets.get(at..).filter(|rest| !rest.is_empty())?;
            let mut end = 0;
            while rest[end] != 0 {
                end += 1 + usize::from(rest[end]);
            }
            end += 1;
            at += end;
            let mut name = Name { len: end as u8, octets: [0; MAX_NAME_LEN] };
            name.octets[..end].copy_from_slice(&rest[..end]);
            Some(name)
        })
    }

    /// All names in wire form, one after the other.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets
    }

    /// Gives back what growth left unused.
    pub fn shrink_to_fit(&mut self) {
        self.octets.shrink_to_fit();
    }
}

impl FromIterator<Name> for NameList {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> NameList {
        let mut list = NameList::new();
        for name in names {
            list.push(&name);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn text_round_trips() {
        for (given, shown) in [
            (".", "."),
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("a\\.b.c", "a\\.b.c"),
            ("a\\046b.c", "a\\.b.c"),
            ("\\000.x", "\\000.x"),
            ("_dmarc.x-y.z", "_dmarc.x-y.z"),
            ("*.x", "*.x"),
        ] {
            assert_eq!(name(given).to_string(), shown, "{given}");
            assert_eq!(name(&name(given).to_string()), name(given), "{given}");
        }
    }

    #[test]
    fn bad_text_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = vec!["a".repeat(63); 4].join(".");
        for (given, error) in [
            ("", NameError::Empty),
            ("..", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (long_label.as_str(), NameError::LabelTooLong),
            (long_name.as_str(), NameError::NameTooLong),
            ("a b", NameError::BadCharacter(' ')),
            ("a\tb", NameError::BadCharacter('\t')),
            ("é.x", NameError::BadCharacter('\u{fffd}')),
            ("a\\", NameError::BadEscape),
            ("a\\25", NameError::BadEscape),
            ("a\\256", NameError::BadEscape),
        ] {
            assert_eq!(given.parse::<Name>(), Err(error), "{given}");
        }
    }

    #[test]
    fn longest_name_fits() {
        let text = [vec!["a".repeat(63); 3].join("."), "b".repeat(61)].join(".");
        assert_eq!(name(&text).as_wire().len(), 255);
        assert_eq!(name(&vec!["x"; 127].join(".")).label_count(), 127);
        assert_eq!(vec!["x"; 128].join(".").parse::<Name>(), Err(NameError::NameTooLong));
    }

    #[test]
    fn wire_must_be_one_whole_name() {
        assert_eq!(Name::from_wire(b"\x03FOO\x00").unwrap(), name("foo"));
        for wire in [&b""[..], b"\x03fo", b"\x03foo", b"\x03foo\x00\x00", b"\xc0\x0c", b"\x40aaaa\x00"] {
            assert_eq!(Name::from_wire(wire), Err(NameError::BadWire), "{wire:?}");
        }
    }

    #[test]
    fn a_name_is_read_over_another_whatever_stands_behind_it() {
        let longest =
            [&[&b"\x3f"[..], &[b'X'; 63]].concat().repeat(3)[..], b"\x3d", &[b'Q'; 61], b"\0"].concat();
        let short = (0..20u8).map(|len| [&[len + 1][..], &vec![b'N'; usize::from(len) + 1], b"\0"].concat());
        for wire in short.chain([b"\0".to_vec(), longest.clone()]) {
            for behind in 0..12 {
                let mut name = Name::from_wire(&longest).unwrap();
                let packet = [&wire[..], &vec![b'Z'; behind]].concat();
                assert_eq!(name.refill(&packet), Some(wire.len()), "{wire:?} {behind}");
                assert_eq!(name, Name::from_wire(&wire).unwrap(), "{behind}");
                assert_eq!(name.refill(&wire[..wire.len() - 1]), None);
                assert_eq!(name, Name::from_wire(&wire).unwrap(), "it is as it was");
            }
        }
    }

    #[test]
    fn folding_by_words_folds_letters_and_nothing_else() {
        // Every octet, at every place in a word and beside every neighbour.
        for shift in 0..8 {
            let label: Vec<u8> = (0..=255u8).map(|octet| octet.wrapping_add(shift)).collect();
            for part in label.chunks(60) {
                let wire = [&[part.len() as u8], part, b"\x03COM\0"].concat();
                let expected = Name::from_wire(&wire).unwrap();
                assert_eq!(Name::at_start_of(&wire).unwrap().octets, expected.octets);
                assert_eq!(Name::at_start_of(&[&wire[..], b"RestOfIt"].concat()), Some(expected));
            }
        }
        let longest =
            [&b"\x3f"[..], &[b'X'; 63], b"\x3f", &[b'Y'; 63], b"\x3f", &[b'Z'; 63], b"\x3d", &[b'Q'; 61]];
        let longest = [&longest.concat()[..], b"\0"].concat();
        assert_eq!(Name::at_start_of(&longest), Name::from_wire(&longest).ok());
        assert_eq!(Name::at_start_of(&[1, b'A'].repeat(127)), None, "no end");
        let too_long = [&[1, b'A'].repeat(127)[..], b"\x01A\0"].concat();
        for wire in [&b""[..], b"\x03fo", b"\x03foo", b"\xc0\x0c", b"\x40aaaa\0", &too_long] {
            assert_eq!(Name::at_start_of(wire), None, "{wire:?}");
        }
        assert_eq!(Name::at_start_of(b"\0"), Some(Name::ROOT));
    }

    #[test]
    fn ancestry_cuts_between_labels() {
        for (below, zone, expected) in [
            ("ddns.net", "ddns.net", true),
            ("a.ddns.net", "ddns.net", true),
            ("notddns.net", "ddns.net", false),
            ("net", "ddns.net", false),
            ("a.b", ".", true),
            // The octets "\x04ddns\x03net\x00" stand inside the label, yet no label starts there.
            ("x\\004ddns.net", "ddns.net", false),
        ] {
            assert_eq!(name(below).is_at_or_below(&name(zone)), expected, "{below} {zone}");
        }
        assert_eq!(name("a.b.c").parent(), Some(name("b.c")));
        assert_eq!(name("c").parent(), Some(Name::ROOT));
        assert_eq!(Name::ROOT.parent(), None);
        assert_eq!(name("a.b.c").ancestor(1), Some(name("c")));
        assert_eq!(name("a.b.c").ancestor(4), None);
    }

    #[test]
    fn canonical_order_goes_from_the_root() {
        // RFC 4034 §6.1's own example, less its two escapes.
        let sorted =
            ["example", "a.example", "yljkjljk.a.example", "z.a.example", "zabc.a.example", "z.example"];
        let mut names: Vec<Name> = sorted.iter().rev().map(|text| name(text)).collect();
        names.sort();
        assert_eq!(names, sorted.map(name));
    }

    #[test]
    fn plain_names_are_read_from_the_start_of_text() {
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let too_long = format!("{long}b");
        for (text, expected) in [
            ("a.b-c_d.E9\nrest", Some(("a.b-c_d.e9", 10))),
            ("a.", Some(("a", 2))),
            ("a. b", Some(("a", 2))),
            ("a#x", Some(("a", 1))),
            (&long, Some((&*long, 253))),
            (&format!("{long}. "), Some((&*long, 254))),
            (&too_long, None),
            (&format!("{too_long}."), None),
            (&"a".repeat(64), None),
            (&format!("{}.b", "a".repeat(64)), None),
            (".", None),
            (".a", None),
            ("a..b", None),
            ("a..", None),
            ("a\\.b", None),
            ("", None),
            ("#", None),
        ] {
            let mut read = Name::ROOT;
            let found = read.refill_plain(text.as_bytes()).map(|end| (read, end));
            assert_eq!(found, expected.map(|(text, end)| (name(text), end)), "{text}");
            // What stands behind the name is zero, as readers of whole words expect.
            if let Some((found, _)) = found {
                assert_eq!(found.padded(), name(&found.to_string()).padded(), "{text}");
            }
        }
    }

    #[test]
    fn a_list_gives_back_what_it_took() {
        let names = [name("a.b"), Name::ROOT, name("c"), name("a.b")];
        let list: NameList = names.into_iter().collect();
        assert_eq!(list.len(), 4);
        assert_eq!(list.iter().collect::<Vec<_>>(), names);
    }
}
