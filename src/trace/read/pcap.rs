//! Capture files of libpcap (draft-ietf-opsawg-pcap).

use std::time::Duration;

use super::Damage;
use super::frame::Frame;
use super::input::Input;

/// Ethernet (draft-ietf-opsawg-pcaplinktype).
pub const LINKTYPE_ETHERNET: u16 = 1;
/// The magic number, time stamps in microseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// The magic number, time stamps in nanoseconds.
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Octets before the first record.
const HEADER_LEN: usize = 24;
/// Octets before each frame.
const RECORD_LEN: usize = 16;
/// The most octets of one frame: libpcap's own bound (MAXIMUM_SNAPLEN).
pub const MAX_FRAME_LEN: usize = 262_144;

/// The records of a capture.
pub struct Records {
    input: Input,
    /// What the file's header said, once it was read.
    header: Option<Header>,
}

/// What of a file's header matters.
#[derive(Clone, Copy)]
struct Header {
    big_endian: bool,
    nanoseconds: bool,
    linktype: u16,
}

impl Records {
    /// Whether these four octets start a capture.
    pub fn is_magic(octets: [u8; 4]) -> bool {
        let number = u32::from_le_bytes(octets);
        [MICROSECONDS, NANOSECONDS].iter().any(|&magic| number == magic || number == magic.swap_bytes())
    }

    /// Reads `input`, which starts with a magic number.
    pub fn new(input: Input) -> Records {
        Records { input, header: None }
    }

    /// Reads the next frame; false at the end.
    pub fn read(&mut self, frame: &mut Frame) -> Result<bool, Damage> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let header = self.read_header()?;
                *self.header.insert(header)
            }
        };
        let mut record = [0; RECORD_LEN];
        if !self.input.fill(&mut record, "a record's header")? {
            return Ok(false);
        }
        let word = |index: usize| u32_at(&record, 4 * index, header.big_endian);
        let (seconds, fraction, length, whole) = (word(0), word(1), word(2) as usize, word(3) as usize);
        if length > MAX_FRAME_LEN {
            let what = format!("a record claims {length} octets, above the most of {MAX_FRAME_LEN}");
            return Err(self.input.damage(what));
        }
        let nanoseconds = if header.nanoseconds { fraction } else { fraction.saturating_mul(1000) };
        frame.at =
            Some(Duration::from_secs(u64::from(seconds)) + Duration::from_nanos(u64::from(nanoseconds)));
        frame.linktype = header.linktype;
        frame.cut = length < whole;
        self.input.take(&mut frame.octets, length, "a record")?;
        Ok(true)
    }

    /// Reads the file's header.
    fn read_header(&mut self) -> Result<Header, Damage> {
        let mut octets = [0; HEADER_LEN];
        self.input.exact(&mut octets, "the file's header")?;
        let little = u32_at(&octets, 0, false);
        let big_endian = little != MICROSECONDS && little != NANOSECONDS;
        let nanoseconds = u32_at(&octets, 0, big_endian) == NANOSECONDS;
        // The upper half holds the length of a frame check sequence, which parsers of IP ignore.
        let linktype = u32_at(&octets, 20, big_endian) as u16;
        Ok(Header { big_endian, nanoseconds, linktype })
    }
}

/// The header of a capture with time stamps in nanoseconds.
pub fn header(linktype: u16) -> Vec<u8> {
    let mut octets = NANOSECONDS.to_le_bytes().to_vec();
    // Version 2.4; time zone and accuracy are always 0.
    octets.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    octets.extend((MAX_FRAME_LEN as u32).to_le_bytes());
    octets.extend(u32::from(linktype).to_le_bytes());
    octets
}

/// The header of a record of `length` octets, caught whole at `at` since the Unix epoch.
pub fn record_header(at: Duration, length: usize) -> Vec<u8> {
    // Seconds are 32 bits until 2106.
    let words = [at.as_secs() as u32, at.subsec_nanos(), length as u32, length as u32];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The 32-bit number at `at`; 0 where there is none.
pub fn u32_at(octets: &[u8], at: usize, big_endian: bool) -> u32 {
    let number = octets.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
    if big_endian { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) }
}

/// The 16-bit number at `at`; 0 where there is none.
pub fn u16_at(octets: &[u8], at: usize, big_endian: bool) -> u16 {
    let number = octets.get(at..).and_then(|rest| rest.first_chunk::<2>()).copied().unwrap_or_default();
    if big_endian { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) }
}
