//! Frame Streams, which dnstap travels in: octets behind their number, and a handshake around them (the fstrm library's format).
//!
//! A frame is its length in 32 bits and its octets; length zero says that a control frame follows, which has a length, a type and perhaps
//! fields. Who sends says READY with the kinds of content it has, who receives ACCEPT with those it takes, then START, frames, STOP, and
//! FINISH from who receives.

use std::io::{self, Read, Write};

/// What is in the frames.
const CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";
/// The field that says so (FSTRM_CONTROL_FIELD_CONTENT_TYPE).
const CONTENT_FIELD: u32 = 1;
/// Octets of a control frame at most (FSTRM_CONTROL_FRAME_LENGTH_MAX).
const MAX_CONTROL: u32 = 512;

/// Types of control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// Who receives takes these kinds of content.
    Accept = 1,
    /// Frames of this kind follow.
    Start = 2,
    /// No more of them do.
    Stop = 3,
    /// Who sends has these kinds of content.
    Ready = 4,
    /// All was received.
    Finish = 5,
}

/// Begins a stream: after that frames may be written.
///
/// # Errors
/// When the other end does not answer, or takes no dnstap.
pub(super) fn begin(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(&control(Control::Ready))?;
    let accepted = answer(stream, Control::Accept)?;
    let mut left = &accepted[..];
    let mut kinds = Vec::new();
    while let Some((field, rest)) = number(left) {
        let Some((len, rest)) = number(rest) else { break };
        let Some((content, rest)) = rest.split_at_checked(len as usize) else { break };
        if field == CONTENT_FIELD {
            kinds.push(content);
        }
        left = rest;
    }
    // Who names none takes anything.
    if !kinds.is_empty() && !kinds.contains(&CONTENT) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the receiver takes no dnstap"));
    }
    stream.write_all(&control(Control::Start))
}

/// Ends a stream, once the other end has all of it.
///
/// # Errors
/// When it does not say so.
pub(super) fn end(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(&control(Control::Stop))?;
    answer(stream, Control::Finish).map(drop)
}

/// Appends a frame.
pub(super) fn put(out: &mut Vec<u8>, frame: &[u8]) {
    out.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    out.extend_from_slice(frame);
}

/// A control frame of this end.
fn control(control: Control) -> Vec<u8> {
    let mut body = (control as u32).to_be_bytes().to_vec();
    if control != Control::Stop {
        body.extend_from_slice(&CONTENT_FIELD.to_be_bytes());
        put(&mut body, CONTENT);
    }
    let mut frame = vec![0; 4];
    put(&mut frame, &body);
    frame
}

/// Waits for a control frame of the other end; its fields.
fn answer(stream: &mut impl Read, expected: Control) -> io::Result<Vec<u8>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "the receiver does not speak Frame Streams");
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let word = |index: usize| head.get(4 * index..).and_then(number).map_or(0, |(word, _)| word);
    let (escape, len, kind) = (word(0), word(1), word(2));
    if escape != 0 || !(4..=MAX_CONTROL).contains(&len) || kind != expected as u32 {
        return Err(bad());
    }
    let mut fields = vec![0; len as usize - 4];
    stream.read_exact(&mut fields)?;
    Ok(fields)
}

/// The number at the start of octets, and what stands behind it.
fn number(octets: &[u8]) -> Option<(u32, &[u8])> {
    octets.split_first_chunk().map(|(number, rest)| (u32::from_be_bytes(*number), rest))
}
