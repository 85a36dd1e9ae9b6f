//! Zstandard streams of any number of frames (RFC 8878 §3.1).

use std::io::{self, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Octets unpacked at once, at least: one block is at most 128 KiB (RFC 8878 §3.1.1.2.4).
const STEP_LEN: usize = 128 * 1024;

/// Unpacks frame after frame.
pub(crate) struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    /// A frame is being unpacked.
    within: bool,
}

impl<R: Read> Zstd<R> {
    /// Unpacks `source`.
    pub(crate) fn new(source: R) -> Zstd<R> {
        Zstd { source, decoder: FrameDecoder::new(), within: false }
    }

    /// Starts the next frame; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        let mut first = Vec::new();
        if (&mut self.source).take(1).read_to_end(&mut first)? == 0 {
            return Ok(false);
        }
        match self.decoder.reset(first.as_slice().chain(&mut self.source)) {
            Ok(()) => self.within = true,
            // RFC 8878 §3.1.2: "Skippable frames allow the insertion of user-defined metadata", which is passed over.
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                io::copy(&mut (&mut self.source).take(u64::from(length)), &mut io::sink())?;
            }
            Err(error) => return Err(bad(error)),
        }
        Ok(true)
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.within && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.within && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBytes(STEP_LEN);
                self.decoder.decode_blocks(&mut self.source, strategy).map_err(bad)?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

/// A decoder's error as an I/O error.
fn bad(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}
