//! Lines to systemd's journal by its own protocol: a datagram of fields each, so that `journalctl SINKSCOPE_ORDER=...` finds them.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::Format;
use super::line::Line;
use super::outlet::{Sink, Written};
use super::shown::Shown;
use crate::time::UnixSeconds;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// How long a datagram may wait for the journal to read others first.
const PATIENCE: Duration = Duration::from_millis(500);

/// The journal.
pub(super) struct Journal {
    path: PathBuf,
    format: Format,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// It is reached when it is needed.
    pub(super) fn new(format: Format) -> Journal {
        Journal::at(PathBuf::from(SOCKET), format)
    }

    /// One that listens there.
    pub(super) fn at(path: PathBuf, format: Format) -> Journal {
        Journal { path, format, socket: None }
    }
}

/// The fields of a record, in the place of what is in `out`: a line of `NAME=value` each, which is how systemd's
/// docs/JOURNAL_NATIVE_PROTOCOL.md has values without a line's end. Nothing here has one: it is escaped.
fn fields(shown: &Shown<'_>, format: Format, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(b"PRIORITY=6\nSYSLOG_IDENTIFIER=sinkscope\n");
    let line = Line::of(shown);
    let client = shown.client.map(|client| client.ip().to_string());
    let order = line.why.as_ref().map(|why| why.order);
    for (name, value) in [("QNAME", Some(&*line.qname)), ("CLIENT", client.as_deref()), ("ORDER", order)] {
        if let Some(value) = value {
            out.extend_from_slice(format!("SINKSCOPE_{name}={value}\n").as_bytes());
        }
    }
    out.extend_from_slice(b"MESSAGE=");
    line.write(format, out);
}

impl Sink for Journal {
    fn open(&mut self, _now: UnixSeconds) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            self.socket = Some(socket);
        }
        Ok(())
    }

    fn write(&mut self, records: &mut dyn Iterator<Item = Shown<'_>>, _now: UnixSeconds) -> Written {
        let (mut written, mut message) = (0, Vec::new());
        for shown in records {
            fields(&shown, self.format, &mut message);
            let sent = self.socket.as_ref().map(|socket| socket.send(&message));
            match sent.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into())) {
                Ok(_) => written += 1,
                Err(error) => return Written { records: written, error: Some(error) },
            }
        }
        Written { records: written, error: None }
    }

    fn close(&mut self) {
        self.socket = None;
    }
}
