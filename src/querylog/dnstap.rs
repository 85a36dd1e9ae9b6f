//! dnstap: queries and replies as they are on the wire, as Protocol Buffers (dnstap.proto), to a receiver such as `fstrm_capture`.
//!
//! Written by hand: there are a dozen fields, and they are told in their order, so that nothing is built to be written down.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::outlet::{Sink, Written};
use super::record::{Cause, Record};
use super::shown::Shown;
use super::{Target, frames, host_name};
use crate::policy::{Act, Action, Synthesis, TriggerType};
use crate::time::UnixSeconds;

/// How long a receiver may take to be there, and to answer a handshake.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may leave what was sent unread: then the connection is given up, for nobody knows what of it was read.
const STALL: Duration = Duration::from_secs(10);
/// Octets of frames that are written at a time.
const PORTION: usize = 64 << 10;

/// `Message.Type` of what a client asks.
const CLIENT_QUERY: u64 = 5;
/// `Message.Type` of what it is told.
const CLIENT_RESPONSE: u64 = 6;

/// The receiver.
pub(super) struct Dnstap {
    target: Target,
    stream: Option<Box<dyn Stream>>,
    identity: String,
}

/// What leads to it.
trait Stream: Read + Write + Send {
    /// How long reading and writing may take.
    fn wait_for(&self, read: Duration, write: Duration) -> io::Result<()>;

    /// Whether reading and writing wait at all.
    fn wait(&self, wait: bool) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn wait_for(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read))?;
        self.set_write_timeout(Some(write))
    }

    fn wait(&self, wait: bool) -> io::Result<()> {
        self.set_nonblocking(!wait)
    }
}

impl Stream for TcpStream {
    fn wait_for(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read))?;
        self.set_write_timeout(Some(write))
    }

    fn wait(&self, wait: bool) -> io::Result<()> {
        self.set_nonblocking(!wait)
    }
}

impl Dnstap {
    /// It is reached when it is needed.
    pub(super) fn new(target: Target, identity: Option<String>) -> Dnstap {
        let identity = identity.or_else(host_name).unwrap_or_default();
        Dnstap { target, stream: None, identity }
    }

    /// Writes frames. Who has gone is found out before: what is written to it would be lost, and nobody would know.
    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        stream.wait(false)?;
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            // A receiver has nothing to say before it is told STOP.
            Ok(_) => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the receiver has gone")),
        }
        stream.wait(true)?;
        stream.write_all(octets)?;
        self.stream = Some(stream);
        Ok(())
    }
}

impl Sink for Dnstap {
    fn open(&mut self, _now: UnixSeconds) -> io::Result<()> {
        if self.stream.is_some() {
            return Ok(());
        }
        let mut stream: Box<dyn Stream> = match &self.target {
            Target::Unix(path) => Box::new(UnixStream::connect(path)?),
            Target::Inet(addr) => Box::new(TcpStream::connect_timeout(addr, PATIENCE)?),
        };
        stream.wait_for(PATIENCE, STALL)?;
        frames::begin(&mut stream)?;
        self.stream = Some(stream);
        Ok(())
    }

    fn write(&mut self, records: &mut dyn Iterator<Item = Shown<'_>>, _now: UnixSeconds) -> Written {
        let (mut written, mut frames, mut message) = (0, Vec::with_capacity(PORTION + 4096), Vec::new());
        loop {
            frames.clear();
            let mut more = 0;
            while frames.len() < PORTION
                && let Some(shown) = records.next()
            {
                more += 1;
                let record = &shown.record;
                for (kind, octets) in [(CLIENT_QUERY, record.query), (CLIENT_RESPONSE, record.reply)] {
                    if !octets.is_empty() {
                        envelope(&shown, kind, &self.identity, &mut message);
                        frames::put(&mut frames, &message);
                    }
                }
            }
            if more == 0 {
                return Written { records: written, error: None };
            }
            match self.put(&frames) {
                Ok(()) => written += more,
                Err(error) => return Written { records: written, error: Some(error) },
            }
        }
    }

    /// Says goodbye, if the receiver still listens.
    fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            let _ = frames::end(&mut stream);
        }
    }
}

/// A `Dnstap` of one message, in the place of what is in `out`.
fn envelope(shown: &Shown<'_>, kind: u64, identity: &str, out: &mut Vec<u8>) {
    out.clear();
    if !identity.is_empty() {
        put_octets(out, 1, identity.as_bytes());
    }
    put_octets(out, 2, concat!("sinkscope ", env!("CARGO_PKG_VERSION")).as_bytes());
    let mut message = Vec::with_capacity(256 + shown.record.reply.len());
    put_message(shown, kind, &mut message);
    put_octets(out, 14, &message);
    // `Dnstap.Type`: MESSAGE.
    put_number(out, 15, 1);
}

/// Appends the fields of a `Message`.
fn put_message(shown: &Shown<'_>, kind: u64, out: &mut Vec<u8>) {
    let record = &shown.record;
    put_number(out, 1, kind);
    // What is not told of a client leaves its family: that says nothing about it.
    let is_v4 = record.client.ip().to_canonical().is_ipv4();
    put_number(out, 2, if is_v4 { 1 } else { 2 });
    put_number(out, 3, if record.transport.is_datagram() { 1 } else { 2 });
    if let Some(client) = shown.client {
        put_address(out, 4, client.ip());
        if client.port() != 0 {
            put_number(out, 6, client.port().into());
        }
    }
    put_number(out, 8, shown.came.as_secs());
    put_fixed(out, 9, shown.came.subsec_nanos());
    if kind == CLIENT_QUERY {
        put_octets(out, 10, record.query);
        return;
    }
    put_number(out, 12, shown.answered.as_secs());
    put_fixed(out, 13, shown.answered.subsec_nanos());
    put_octets(out, 14, record.reply);
    if let Some(cause) = record.cause() {
        let mut policy = Vec::with_capacity(128);
        put_policy(record, cause, &mut policy);
        put_octets(out, 15, &policy);
    }
}

/// Appends the fields of a `Policy`. A rule is what an order says of a name: the order's id stands for it.
fn put_policy(record: &Record<'_>, cause: &Cause<'_>, out: &mut Vec<u8>) {
    put_octets(out, 1, b"order");
    put_octets(out, 2, cause.order.as_bytes());
    // `Policy.Action` has no word for REFUSED: the message says it.
    let action = match cause.action {
        Action::Act(Act::Answer(Synthesis::Nxdomain)) => Some(1),
        Action::Act(Act::Answer(Synthesis::Nodata)) => Some(2),
        Action::Passthru | Action::Observe => Some(3),
        Action::Act(Act::Drop) => Some(4),
        Action::Act(Act::TcpOnly) => Some(5),
        Action::Act(Act::Answer(Synthesis::Sinkhole | Synthesis::Local)) => Some(6),
        Action::Act(Act::Answer(Synthesis::Refused)) => None,
    };
    action.into_iter().for_each(|action| put_number(out, 3, action));
    put_number(
        out,
        4,
        match cause.trigger.on {
            TriggerType::Qname => 1,
            TriggerType::ClientIp => 2,
            TriggerType::ResponseIp => 3,
            TriggerType::NsDname => 4,
            TriggerType::NsIp => 5,
        },
    );
    match (cause.trigger.prefix, record.listed()) {
        (Some((addr, _)), _) => put_address(out, 5, addr),
        (None, Some(name)) => put_octets(out, 5, name.as_wire()),
        (None, None) => {}
    }
}

/// Appends a number (wire type 0).
fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

/// Appends a number of four octets (wire type 5).
fn put_fixed(out: &mut Vec<u8>, field: u64, number: u32) {
    put_varint(out, field << 3 | 5);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends octets (wire type 2).
fn put_octets(out: &mut Vec<u8>, field: u64, octets: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

/// Appends an address, of four octets or sixteen.
fn put_address(out: &mut Vec<u8>, field: u64, addr: IpAddr) {
    match addr {
        IpAddr::V4(v4) => put_octets(out, field, &v4.octets()),
        IpAddr::V6(v6) => put_octets(out, field, &v6.octets()),
    }
}

/// Appends a number, seven bits an octet, the least first.
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
