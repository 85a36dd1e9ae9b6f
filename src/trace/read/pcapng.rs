//! Capture files of the next generation (draft-ietf-opsawg-pcapng).

use std::time::Duration;

use super::Damage;
use super::frame::Frame;
use super::input::Input;
use super::pcap::{MAX_FRAME_LEN, u16_at, u32_at};

/// The type of a Section Header Block (§4.1): the same in both orders of octets.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The magic number that tells the order of octets (§4.1).
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Interface Description Block (§4.2).
const INTERFACE: u32 = 1;
/// Packet Block, obsolete (appendix A).
const OLD_PACKET: u32 = 2;
/// Simple Packet Block (§4.4).
const SIMPLE_PACKET: u32 = 3;
/// Enhanced Packet Block (§4.3).
const PACKET: u32 = 6;
/// The resolution of an interface's time stamps (§4.2).
const OPTION_RESOLUTION: u16 = 9;
/// Seconds to add to an interface's time stamps (§4.2).
const OPTION_OFFSET: u16 = 14;
/// Octets of a block besides its body: type, length, and length again (§3.1).
const FRAME_LEN: usize = 12;
/// The most octets of a block: a frame with room for options.
const MAX_BLOCK_LEN: usize = 4 * MAX_FRAME_LEN;
/// The most interfaces of a section.
const MAX_INTERFACES: usize = 4096;

/// The blocks of a capture.
pub(super) struct Blocks {
    input: Input,
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// The body of the block at hand.
    body: Vec<u8>,
}

/// An interface of the section at hand.
#[derive(Clone, Copy)]
struct Interface {
    linktype: u16,
    /// Octets kept of a frame; 0 is no bound.
    snap_len: u32,
    /// Time stamp units in a second.
    units: u64,
    /// Seconds to add.
    offset_s: i64,
}

impl Blocks {
    /// Reads `input`, which starts with a Section Header Block.
    pub(super) fn new(input: Input) -> Blocks {
        Blocks { input, big_endian: false, interfaces: Vec::new(), body: Vec::new() }
    }

    /// Reads up to the next frame; false at the end.
    pub(super) fn read(&mut self, frame: &mut Frame) -> Result<bool, Damage> {
        loop {
            let Some(kind) = self.next_block()? else { return Ok(false) };
            let found = match kind {
                INTERFACE => self.interface()?,
                PACKET => self.packet(frame, u32_at(&self.body, 0, self.big_endian))?,
                OLD_PACKET => self.packet(frame, u32::from(u16_at(&self.body, 0, self.big_endian)))?,
                SIMPLE_PACKET => self.simple_packet(frame)?,
                // §3.1: blocks of other types are skipped.
                _ => false,
            };
            if found {
                return Ok(true);
            }
        }
    }

    /// Reads a block whole and tells its type; none at the end.
    fn next_block(&mut self) -> Result<Option<u32>, Damage> {
        let mut head = [0; 8];
        if !self.input.fill(&mut head, "a block's header")? {
            return Ok(None);
        }
        let mut already = 0;
        if head.starts_with(&SECTION) {
            // The order of octets must be known before the length can be read.
            self.body.resize(4, 0);
            self.input.exact(&mut self.body, "a section's header")?;
            already = 4;
            self.big_endian = match u32_at(&self.body, 0, false) {
                BYTE_ORDER => false,
                other if other.swap_bytes() == BYTE_ORDER => true,
                _ => return Err(self.input.damage("a section without its byte-order magic")),
            };
            // §4.2: interfaces are numbered per section.
            self.interfaces.clear();
        }
        let length = u32_at(&head, 4, self.big_endian) as usize;
        if !length.is_multiple_of(4) || !(FRAME_LEN + already..=MAX_BLOCK_LEN).contains(&length) {
            return Err(self.input.damage(format!("a block claims {length} octets")));
        }
        self.body.resize(length - FRAME_LEN, 0);
        let rest = self.body.get_mut(already..).unwrap_or_default();
        self.input.exact(rest, "a block")?;
        let mut again = [0; 4];
        self.input.exact(&mut again, "a block's end")?;
        if u32_at(&again, 0, self.big_endian) as usize != length {
            return Err(self.input.damage("a block ends with another length than it starts with"));
        }
        Ok(Some(u32_at(&head, 0, self.big_endian)))
    }

    /// Notes an interface; never a frame.
    fn interface(&mut self) -> Result<bool, Damage> {
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(self.input.damage(format!("more than {MAX_INTERFACES} interfaces")));
        }
        let linktype = u16_at(&self.body, 0, self.big_endian);
        let snap_len = u32_at(&self.body, 4, self.big_endian);
        // §4.2: without the option, time stamps are in microseconds.
        let mut interface = Interface { linktype, snap_len, units: 1_000_000, offset_s: 0 };
        let mut at = 8;
        while at + 4 <= self.body.len() {
            let (code, length) =
                (u16_at(&self.body, at, self.big_endian), u16_at(&self.body, at + 2, self.big_endian));
            let value = self.body.get(at + 4..at + 4 + usize::from(length)).unwrap_or_default();
            match (code, value) {
                (0, _) => break,
                (OPTION_RESOLUTION, [exponent]) => interface.units = units(*exponent),
                (OPTION_OFFSET, octets) => {
                    if let Some(octets) = octets.first_chunk::<8>() {
                        let order = if self.big_endian { i64::from_be_bytes } else { i64::from_le_bytes };
                        interface.offset_s = order(*octets);
                    }
                }
                _ => {}
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
        self.interfaces.push(interface);
        Ok(false)
    }

    /// A frame with a time stamp, of the interface of this number.
    fn packet(&mut self, frame: &mut Frame, interface: u32) -> Result<bool, Damage> {
        let word = |index: usize| u32_at(&self.body, 4 * index, self.big_endian);
        let (high, low, length, whole) = (word(1), word(2), word(3) as usize, word(4) as usize);
        let Some(&Interface { linktype, units, offset_s, .. }) = self.interfaces.get(interface as usize)
        else {
            return Err(self
                .input
                .damage(format!("a packet of interface {interface}, which was not described")));
        };
        let ticks = (u64::from(high) << 32) | u64::from(low);
        let nanoseconds = u128::from(ticks % units) * 1_000_000_000 / u128::from(units);
        let seconds = (ticks / units).saturating_add_signed(offset_s);
        frame.at = Some(Duration::new(seconds, nanoseconds as u32));
        frame.linktype = linktype;
        frame.cut = length < whole;
        self.copy(frame, 20, length)
    }

    /// A frame of the first interface, without a time stamp.
    fn simple_packet(&mut self, frame: &mut Frame) -> Result<bool, Damage> {
        let Some(&Interface { linktype, snap_len, .. }) = self.interfaces.first() else {
            return Err(self.input.damage("a packet before any interface was described"));
        };
        let whole = u32_at(&self.body, 0, self.big_endian) as usize;
        let bound = if snap_len == 0 { whole } else { whole.min(snap_len as usize) };
        frame.at = None;
        frame.linktype = linktype;
        frame.cut = bound < whole;
        self.copy(frame, 4, bound)
    }

    /// Copies a frame out of the block.
    fn copy(&self, frame: &mut Frame, at: usize, length: usize) -> Result<bool, Damage> {
        let Some(octets) = self.body.get(at..at.saturating_add(length)) else {
            return Err(self
                .input
                .damage(format!("a packet claims {length} octets, more than its block has")));
        };
        frame.octets.clear();
        frame.octets.extend_from_slice(octets);
        Ok(true)
    }
}

/// Units in a second: a power of ten, or of two when the top bit is set (§4.2). What does not fit is as fine as fits.
fn units(exponent: u8) -> u64 {
    match (exponent & 0x80 != 0, u32::from(exponent & 0x7f)) {
        (true, power) => 1 << power.min(63),
        (false, power) => 10u64.pow(power.min(19)),
    }
}
