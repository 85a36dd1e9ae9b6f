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
use super::{Carrier, Forwarded, Target, frames, host_name};
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
/// `Message.Type` of what an upstream is asked.
const FORWARDER_QUERY: u64 = 7;
/// `Message.Type` of what it says.
const FORWARDER_RESPONSE: u64 = 8;

/// The receiver.
pub(super) struct Dnstap {
    target: Target,
    stream: Option<Box<dyn Stream>>,
    identity: String,
    /// Whether it is told of upstreams, too.
    forwarder: bool,
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
    pub(super) fn new(target: Target, identity: Option<String>, forwarder: bool) -> Dnstap {
        let identity = identity.or_else(host_name).unwrap_or_default();
        Dnstap { target, stream: None, identity, forwarder }
    }

    /// Writes frames, which `next` appends for one entry after the other as long as it says that there was one.
    fn pour(&mut self, next: &mut dyn FnMut(&mut Vec<u8>) -> bool) -> Written {
        let (mut written, mut frames) = (0, Vec::with_capacity(PORTION + 4096));
        loop {
            frames.clear();
            let mut more = 0;
            while frames.len() < PORTION && next(&mut frames) {
                more += 1;
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
        let (identity, mut message) = (self.identity.clone(), Vec::new());
        self.pour(&mut |frames| {
            let Some(shown) = records.next() else { return false };
            let record = &shown.record;
            for (kind, octets) in [(CLIENT_QUERY, record.query), (CLIENT_RESPONSE, record.reply)] {
                if !octets.is_empty() {
                    envelope(&identity, octets.len(), |out| put_message(&shown, kind, out), &mut message);
                    frames::put(frames, &message);
                }
            }
            true
        })
    }

    fn is_about_upstreams(&self) -> bool {
        self.forwarder
    }

    fn write_forwarded(
        &mut self,
        messages: &mut dyn Iterator<Item = Forwarded<'_>>,
        began: Duration,
    ) -> Written {
        let (identity, mut message) = (self.identity.clone(), Vec::new());
        self.pour(&mut |frames| {
            let Some(forwarded) = messages.next() else { return false };
            let len = forwarded.message.len();
            envelope(&identity, len, |out| put_forwarded(&forwarded, began, out), &mut message);
            frames::put(frames, &message);
            true
        })
    }

    /// Says goodbye, if the receiver still listens.
    fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            let _ = frames::end(&mut stream);
        }
    }
}

/// A `Dnstap` of one message that `put` appends, of so many octets on the wire, in the place of what is in `out`.
fn envelope(identity: &str, len: usize, put: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    out.clear();
    if !identity.is_empty() {
        put_octets(out, 1, identity.as_bytes());
    }
    put_octets(out, 2, concat!("sinkscope ", env!("CARGO_PKG_VERSION")).as_bytes());
    let mut message = Vec::with_capacity(256 + len);
    put(&mut message);
    put_octets(out, 14, &message);
    // `Dnstap.Type`: MESSAGE.
    put_number(out, 15, 1);
}

/// Appends the fields of a `Message` to or from an upstream. Which address of ours it has on its way is for the system to say.
pub(super) fn put_forwarded(forwarded: &Forwarded<'_>, began: Duration, out: &mut Vec<u8>) {
    let (addr, sent) = (forwarded.server.ip().to_canonical(), began + forwarded.sent);
    put_number(out, 1, if forwarded.heard.is_some() { FORWARDER_RESPONSE } else { FORWARDER_QUERY });
    put_number(out, 2, if addr.is_ipv4() { 1 } else { 2 });
    let (protocol, http) = match forwarded.carrier {
        Carrier::Udp => (1, None),
        Carrier::Tcp => (2, None),
        Carrier::Tls => (3, None),
        Carrier::Http2 => (4, Some(2)),
        Carrier::Http3 => (4, Some(3)),
        Carrier::Quic => (7, None),
    };
    put_number(out, 3, protocol);
    // Of a host whose address was looked up it is not known here.
    if !addr.is_unspecified() {
        put_address(out, 5, addr);
    }
    put_number(out, 7, forwarded.server.port().into());
    put_number(out, 8, sent.as_secs());
    put_fixed(out, 9, sent.subsec_nanos());
    match forwarded.heard {
        None => put_octets(out, 10, forwarded.message),
        Some(heard) => {
            let heard = began + heard;
            put_number(out, 12, heard.as_secs());
            put_fixed(out, 13, heard.subsec_nanos());
            put_octets(out, 14, forwarded.message);
        }
    }
    http.into_iter().for_each(|version| put_number(out, 16, version));
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
