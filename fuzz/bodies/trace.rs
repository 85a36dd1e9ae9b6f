//! Trace files of every format, packed or not: read whole, and in pieces.

use std::io::{self, Cursor, Read};

use sinkscope::trace::Entry;
use sinkscope::trace::message::is_query;
use sinkscope::trace::read::{Damage, Options, Reader, Skipped};

/// Queries read at most: a few packed octets may stand for very many.
const MAX_QUERIES: usize = 2000;

/// However the octets arrive, the same queries come out, all of them replayable, and the same is told of the rest.
pub fn run(octets: &[u8]) {
    let whole = read(Cursor::new(octets.to_vec()));
    let pieces = read(Pieces(Cursor::new(octets.to_vec()), 1));
    if !is_packed(octets) {
        assert_eq!(whole, pieces, "short reads change nothing");
        return;
    }
    // What a decoder unpacked in the call that found damage it keeps to itself, so how much comes out before it depends
    // on the calls; where there is no damage it must not.
    let entries = |read: &Reading| read.as_ref().map_or(Vec::new(), |(entries, ..)| entries.clone());
    let common = entries(&whole).len().min(entries(&pieces).len());
    assert_eq!(entries(&whole)[..common], entries(&pieces)[..common], "short reads change no query");
    let is_sound = |read: &Reading| read.as_ref().is_some_and(|(.., damage)| damage.is_none());
    if is_sound(&whole) || is_sound(&pieces) {
        assert_eq!(whole, pieces, "short reads change nothing that is sound");
    }
}

/// Whether these octets start like gzip or Zstandard, skippable frames included.
fn is_packed(octets: &[u8]) -> bool {
    octets.starts_with(&[0x1f, 0x8b])
        || octets.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || octets.get(1..4) == Some(&[0x2a, 0x4d, 0x18])
}

/// What came out: the queries, what was passed over, and the damage; none when it could not be begun.
type Reading = Option<(Vec<Entry>, Skipped, Option<Damage>)>;

/// Reads a trace to its end, its damage, or the bound.
fn read(source: impl Read + Send + 'static) -> Reading {
    let Ok(mut reader) = Reader::new(source, Options::default()) else { return None };
    let (mut entries, mut damage) = (Vec::new(), None);
    while entries.len() < MAX_QUERIES {
        let mut entry = Entry::default();
        match reader.read(&mut entry) {
            Ok(true) => {
                assert!(is_query(&entry.message), "{:?}", entry.message);
                entries.push(entry);
            }
            Ok(false) => break,
            Err(found) => {
                assert!(!found.what.is_empty());
                assert!(matches!(reader.read(&mut entry), Ok(false)), "damage ends a trace");
                damage = Some(found);
                break;
            }
        }
    }
    Some((entries, reader.skipped().clone(), damage))
}

/// Gives out few octets at a time: 1 to 7, in turn.
struct Pieces(Cursor<Vec<u8>>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}
