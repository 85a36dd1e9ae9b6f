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
    assert_eq!(whole, pieces, "short reads change nothing");
}

/// What came out: the queries, what was passed over, and the damage.
fn read(source: impl Read + Send + 'static) -> Option<(Vec<Entry>, Skipped, Option<Damage>)> {
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
