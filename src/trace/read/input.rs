//! Octets with their offset, unpacked if they were packed.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::Damage;
use crate::zstd::Zstd;

/// Octets read at once.
pub(super) const BUFFER_LEN: usize = 256 * 1024;
/// How gzip starts (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How a Zstandard frame starts (RFC 8878 §3.1.1), and a skippable one but for its lowest half octet (§3.1.2).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The upper three octets of a skippable frame's magic number.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// A stream and where it stands.
pub struct Input {
    inner: Box<dyn BufRead + Send>,
    at: u64,
}

/// The first octets of a stream, which are read twice, and the rest of it.
type Headed<R> = Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first octets of `source` and unpacks it if they say so.
pub(super) fn unpacked(mut source: impl BufRead + Send + 'static) -> io::Result<Input> {
    let (head, source) =
        headed(&mut source, 4).map(|head| (head.clone(), Cursor::new(head).chain(source)))?;
    let inner: Box<dyn BufRead + Send> = match head.as_slice() {
        [a, b, ..] if [*a, *b] == GZIP => {
            Box::new(BufReader::with_capacity(BUFFER_LEN, MultiGzDecoder::new(source)))
        }
        magic if magic == ZSTD => Box::new(BufReader::with_capacity(BUFFER_LEN, Zstd::new(source))),
        [low, rest @ ..] if low & 0xf0 == 0x50 && rest == ZSTD_SKIPPABLE => {
            Box::new(BufReader::with_capacity(BUFFER_LEN, Zstd::new(source)))
        }
        _ => Box::new(source),
    };
    Ok(Input { inner, at: 0 })
}

/// Takes up to `count` octets off the front.
fn headed(source: &mut impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    source.take(count).read_to_end(&mut head)?;
    Ok(head)
}

impl Input {
    /// Octets before the next.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next octets, at most `count`, which stay to be read; fewer only at the end.
    pub fn peek(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let head = headed(&mut self.inner, count)?;
        let rest = std::mem::replace(&mut self.inner, Box::new(io::empty()));
        let chained: Headed<Box<dyn BufRead + Send>> = Cursor::new(head.clone()).chain(rest);
        self.inner = Box::new(chained);
        Ok(head)
    }

    /// Fills `buffer`; false when the stream ended before its first octet.
    pub fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<bool, Damage> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.damage(format!("it ends within {what}"))),
                Ok(count) => {
                    filled += count;
                    self.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.damage(format!("{what} cannot be read: {error}"))),
            }
        }
        Ok(true)
    }

    /// Fills `buffer` whole.
    pub fn exact(&mut self, buffer: &mut [u8], what: &str) -> Result<(), Damage> {
        if buffer.is_empty() || self.fill(buffer, what)? {
            return Ok(());
        }
        Err(self.damage(format!("it ends before {what}")))
    }

    /// Makes `buffer` hold the next `length` octets. The caller bounds `length`.
    pub fn take(&mut self, buffer: &mut Vec<u8>, length: usize, what: &str) -> Result<(), Damage> {
        buffer.resize(length, 0);
        self.exact(buffer, what)
    }

    /// Makes `line` hold the next line without its end, at most `longest` octets of it; false at the end.
    pub fn line(&mut self, line: &mut Vec<u8>, longest: usize) -> Result<bool, Damage> {
        line.clear();
        loop {
            let chunk = match self.inner.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Damage { offset: self.at, what: format!("it cannot be read: {error}") });
                }
            };
            let end = chunk.iter().position(|&octet| octet == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = longest.saturating_sub(line.len()).min(part.len());
            line.extend_from_slice(&part[..room]);
            let (ended, used) = (chunk.is_empty(), part.len() + usize::from(end.is_some()));
            self.inner.consume(used);
            self.at += used as u64;
            if end.is_some() || ended {
                return Ok(end.is_some() || !line.is_empty());
            }
        }
    }

    /// Damage at this place.
    pub fn damage(&self, what: impl Into<String>) -> Damage {
        Damage { offset: self.at, what: what.into() }
    }
}
