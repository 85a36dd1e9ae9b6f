//! Linux: recvmmsg and sendmmsg.
//!
//! Addresses and control messages are read and written as octets by their layout in the kernel's interface, which never
//! changes; what is left to be unsafe are the calls themselves.
#![allow(
    unsafe_code,
    reason = "the system calls that neither std nor socket2 make; nothing else in the crate may"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::{Datagram, Local, Route, Sent, stride};

/// Octets of the longest socket address used here: `sockaddr_in6`.
const ADDR_LEN: usize = size_of::<libc::sockaddr_in6>();
/// Octets of a control message's header: its length (a word), level and type.
const CONTROL_HEADER_LEN: usize = size_of::<usize>() + 8;
/// Octets for control messages: on 64 bits, 40 of `in6_pktinfo` and 24 of the drop count.
const CONTROL_LEN: usize = 64;

/// A socket address as the kernel writes it.
type RawAddr = [u8; ADDR_LEN];

/// Control messages, aligned as their headers want it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

/// What the kernel reads and writes besides the datagrams: a slot each.
///
/// The headers point into the other three vectors and into the slots, which are never resized after `new`. Vectors, not
/// boxed slices: a box would claim to be the only way to its content, and these pointers are another.
struct Frames {
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    addrs: Vec<RawAddr>,
    controls: Vec<Control>,
    octets: Vec<u8>,
    slot_len: usize,
}

// SAFETY: the raw pointers in the headers and iovecs lead to the heap of the vectors beside them, which move along with
// the value and are reached by nobody else.
unsafe impl Send for Frames {}

impl Frames {
    /// `slots` slots (at least one, at most 1024, the kernel's own bound) of `slot_len` octets.
    fn new(slots: usize, slot_len: usize) -> Frames {
        // UIO_MAXIOV: the kernel takes no more messages in one call.
        let slots = slots.clamp(1, 1024);
        let mut frames = Frames {
            headers: Vec::with_capacity(slots),
            iovecs: Vec::with_capacity(slots),
            addrs: vec![[0; ADDR_LEN]; slots],
            controls: vec![Control([0; CONTROL_LEN]); slots],
            octets: vec![0; slots * stride(slot_len)],
            slot_len,
        };
        let octets = frames.octets.as_mut_ptr();
        let (addrs, controls) = (frames.addrs.as_mut_ptr(), frames.controls.as_mut_ptr());
        for slot in 0..slots {
            let iov_base = octets.wrapping_add(slot * stride(slot_len)).cast();
            frames.iovecs.push(libc::iovec { iov_base, iov_len: slot_len });
        }
        let iovecs = frames.iovecs.as_mut_ptr();
        for slot in 0..slots {
            // SAFETY: a message header of all zeros is valid: null pointers with lengths of zero.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = addrs.wrapping_add(slot).cast();
            header.msg_hdr.msg_iov = iovecs.wrapping_add(slot);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = controls.wrapping_add(slot).cast();
            frames.headers.push(header);
        }
        frames
    }

    /// How many slots.
    fn slots(&self) -> usize {
        self.headers.len()
    }

    /// The first `len` octets of a slot.
    fn slot(&self, slot: usize, len: usize) -> &[u8] {
        let start = slot * stride(self.slot_len);
        &self.octets[start..start + len.min(self.slot_len)]
    }

    /// A whole slot.
    fn slot_mut(&mut self, slot: usize) -> &mut [u8] {
        let start = slot * stride(self.slot_len);
        &mut self.octets[start..start + self.slot_len]
    }
}

/// Received datagrams.
pub struct Inbox {
    frames: Frames,
    /// Slots that hold a datagram.
    len: usize,
    /// Slots from here on are as the kernel wants to find them.
    dirty: usize,
}

impl Inbox {
    /// Room for `slots` datagrams (1 to 1024) of `slot_len` octets; what is longer is cut and marked.
    pub fn new(slots: usize, slot_len: usize) -> Inbox {
        let frames = Frames::new(slots, slot_len);
        let dirty = frames.slots();
        Inbox { frames, len: 0, dirty }
    }

    /// Receives what is there, up to all slots, and says how many; they replace what was here before.
    ///
    /// With `wait`, a blocking socket waits for the first datagram, never for more: a lone one is there at once.
    ///
    /// # Errors
    /// The system's: `WouldBlock` when there is nothing (and the socket's time limit, if any, is over).
    pub fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        self.len = 0;
        for header in &mut self.frames.headers[..self.dirty] {
            // The kernel wrote how much it used; it wants to read how much there is.
            header.msg_hdr.msg_namelen = ADDR_LEN as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
        }
        self.dirty = 0;
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let (headers, slots) = (self.frames.headers.as_mut_ptr(), self.frames.slots());
        let received = loop {
            // SAFETY: `headers` are `slots` message headers that `Frames::new` filled with pointers into vectors which
            // live as long as they do and have not moved their content since; each length says what its pointer has, or
            // less. `&mut self` keeps everyone else away meanwhile. A null timeout is allowed.
            let result = unsafe {
                libc::recvmmsg(socket.as_raw_fd(), headers, slots as _, flags as _, ptr::null_mut())
            };
            match usize::try_from(result) {
                Ok(received) => break received,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        // An error may come after the kernel touched a header.
                        self.dirty = 1;
                        return Err(error);
                    }
                }
            }
        };
        (self.len, self.dirty) = (received.min(slots), (received + 1).min(slots));
        Ok(self.len)
    }

    /// How many datagrams are here.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The datagram in that slot; none beyond [`Inbox::len`], or if it has no source, which is no datagram: a socket that
    /// was shut down says so in this way.
    pub fn datagram(&self, slot: usize) -> Option<Datagram<'_>> {
        let header = self.frames.headers[..self.len].get(slot)?;
        let message = &header.msg_hdr;
        let addr = self.frames.addrs[slot].get(..message.msg_namelen as usize)?;
        let mut local = None;
        // Nothing was asked for, nothing came: the ordinary case.
        if control_len(message) != 0 {
            let controls = Controls { rest: self.controls(slot) };
            local = controls.filter_map(|(level, kind, data)| read_local(level, kind, data)).next();
        }
        Some(Datagram {
            octets: self.frames.slot(slot, header.msg_len as usize),
            truncated: message.msg_flags & libc::MSG_TRUNC != 0,
            route: Route { peer: read_addr(addr)?, local },
        })
    }

    /// All datagrams.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.len).filter_map(|slot| self.datagram(slot))
    }

    /// Datagrams the system has dropped at this socket in all, because nobody took them in time; none if it did not say,
    /// which means that it is as it was. Needs [`count_drops`]; the count starts anew at 2^32.
    pub fn drops(&self) -> Option<u32> {
        let last = self.len.checked_sub(1)?;
        let found = Controls { rest: self.controls(last) }
            .find(|(level, kind, _)| (*level, *kind) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL));
        found.and_then(|(_, _, data)| data.first_chunk().copied()).map(u32::from_ne_bytes)
    }

    /// The control messages of a slot.
    fn controls(&self, slot: usize) -> &[u8] {
        let len = control_len(&self.frames.headers[slot].msg_hdr);
        &self.frames.controls[slot].0[..len.min(CONTROL_LEN)]
    }
}

/// Datagrams to be sent.
pub struct Outbox {
    frames: Frames,
    /// The first slot that is still to be sent.
    start: usize,
    /// The first free slot.
    end: usize,
}

impl Outbox {
    /// Room for `slots` datagrams (1 to 1024) of `slot_len` octets.
    pub fn new(slots: usize, slot_len: usize) -> Outbox {
        Outbox { frames: Frames::new(slots, slot_len), start: 0, end: 0 }
    }

    /// How many datagrams wait to be sent.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next free slot, to be written and then [committed](Outbox::commit); none when all are taken.
    pub fn slot(&mut self) -> Option<&mut [u8]> {
        (self.end < self.frames.slots()).then(|| self.frames.slot_mut(self.end))
    }

    /// Takes the first `len` octets of the slot last given out as a datagram to `route`; to the socket's peer if none.
    ///
    /// False, and nothing taken, when all slots are taken or `len` is more than one has.
    pub fn commit(&mut self, len: usize, route: Option<&Route>) -> bool {
        let slot = self.end;
        if slot == self.frames.slots() || len > self.frames.slot_len {
            return false;
        }
        self.frames.iovecs[slot].iov_len = len;
        let (addr_len, control_len) = match route {
            None => (0, 0),
            Some(route) => (
                write_addr(&mut self.frames.addrs[slot], &route.peer),
                route.local.map_or(0, |local| write_local(&mut self.frames.controls[slot].0, &local)),
            ),
        };
        let message = &mut self.frames.headers[slot].msg_hdr;
        // Length zero stands for "none" to the kernel, whatever the pointer.
        message.msg_namelen = addr_len as libc::socklen_t;
        message.msg_controllen = control_len as _;
        self.end += 1;
        true
    }

    /// Adds a datagram; false when there is no room for it.
    pub fn push(&mut self, octets: &[u8], route: Option<&Route>) -> bool {
        match self.slot().and_then(|slot| slot.get_mut(..octets.len())) {
            Some(slot) => slot.copy_from_slice(octets),
            None => return false,
        }
        self.commit(octets.len(), route)
    }

    /// Sends them. Those the system cannot take now stay, to be sent by the next call or [cleared](Outbox::clear): with
    /// `wait`, a blocking socket's time limit is over, without it nothing is waited for. One that the system refuses for
    /// another reason is gone and counted.
    pub fn send(&mut self, socket: &UdpSocket, wait: bool) -> Sent {
        let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
        let mut count = Sent::default();
        while self.start < self.end {
            let headers = self.frames.headers[self.start..self.end].as_mut_ptr();
            // SAFETY: `headers` are that many message headers that `Frames::new` filled with pointers into vectors which
            // live as long as they do and have not moved their content since; `commit` set each length to no more than
            // its pointer has. The kernel only reads what they point to; `&mut self` keeps everyone else away.
            let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, self.len() as _, flags as _) };
            match usize::try_from(result) {
                Ok(sent) => {
                    // It stops before one that fails, and says why at the next call.
                    self.start += sent.min(self.len());
                    count.sent += sent;
                }
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return count,
                    _ => {
                        self.start += 1;
                        count.failed += 1;
                    }
                },
            }
        }
        self.clear();
        count
    }

    /// Forgets what was not sent.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

/// Makes the system say at which address datagrams come in (IP_PKTINFO; IPV6_RECVPKTINFO, RFC 3542 §6.2). Worth its small
/// cost only for sockets bound to a wildcard address.
///
/// # Errors
/// The system's.
pub fn report_local(socket: &UdpSocket) -> io::Result<()> {
    match socket.local_addr()? {
        SocketAddr::V4(_) => set_flag(socket, libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => set_flag(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    }
}

/// Makes the system count what it drops at this socket; see [`Inbox::drops`].
///
/// # Errors
/// The system's.
pub fn count_drops(socket: &UdpSocket) -> io::Result<()> {
    set_flag(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)
}

/// Sets a socket option to one.
fn set_flag(socket: &UdpSocket, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let one: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is a c_int that lives across the call, and the length is its own.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const one).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the calling thread on the `index`th of the cores it may run on, counted round.
///
/// # Errors
/// The system's.
pub fn pin_to_core(index: usize) -> io::Result<()> {
    let len = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of all zeros is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the set is a local of the length given; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, len, &raw mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let in_set = |core: &usize| {
        // SAFETY: `core` is below the number of bits in a set.
        unsafe { libc::CPU_ISSET(*core, &allowed) }
    };
    let cores: Vec<usize> = (0..8 * len).filter(in_set).collect();
    let Some(&core) = cores.get(index % cores.len().max(1)) else { return Ok(()) };
    // SAFETY: a set of all zeros is the empty set.
    let mut wanted: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: `core` was found in a set of the same size.
    unsafe { libc::CPU_SET(core, &mut wanted) };
    // SAFETY: the set is a local of the length given; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, len, &raw const wanted) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Octets of control messages that came with a message.
#[allow(clippy::unnecessary_cast, reason = "a 32-bit number where musl is the C library")]
fn control_len(message: &libc::msghdr) -> usize {
    message.msg_controllen as usize
}

/// Control messages one by one: level, type and data (cmsg(3)). Ends at the first that is no whole one.
struct Controls<'c> {
    rest: &'c [u8],
}

impl<'c> Iterator for Controls<'c> {
    type Item = (libc::c_int, libc::c_int, &'c [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = self.rest.split_first_chunk::<{ size_of::<usize>() }>()?;
        let (level, rest) = rest.split_first_chunk::<4>()?;
        let (kind, _) = rest.split_first_chunk::<4>()?;
        let len = usize::from_ne_bytes(*len);
        let data = self.rest.get(CONTROL_HEADER_LEN..len)?;
        self.rest = self.rest.get(len.next_multiple_of(size_of::<usize>())..).unwrap_or_default();
        Some((i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind), data))
    }
}

/// Our address, from a control message that is about it.
fn read_local(level: libc::c_int, kind: libc::c_int, data: &[u8]) -> Option<Local> {
    match (level, kind) {
        // in_pktinfo: interface, the local address, the header's destination (ip(7)). The local one is a source to reply
        // with even if the datagram was broadcast.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let (interface, rest) = data.split_first_chunk::<4>()?;
            let addr = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(Local { addr: addr.into(), interface: u32::from_ne_bytes(*interface) })
        }
        // in6_pktinfo: address, interface (RFC 3542 §6).
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let (addr, rest) = data.split_first_chunk::<16>()?;
            let interface = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
            Some(Local { addr: Ipv6Addr::from(*addr).into(), interface })
        }
        _ => None,
    }
}

/// Writes the control message that makes a datagram leave from `local`; how many octets of `control` it takes.
fn write_local(control: &mut [u8; CONTROL_LEN], local: &Local) -> usize {
    let mut data = [0; 20];
    let (level, kind, len) = match local.addr {
        // Without an interface, routing chooses the way, as it does for datagrams that set nothing.
        IpAddr::V4(addr) => {
            data[4..8].copy_from_slice(&addr.octets());
            (libc::IPPROTO_IP, libc::IP_PKTINFO, 12)
        }
        IpAddr::V6(addr) => {
            data[..16].copy_from_slice(&addr.octets());
            if addr.is_unicast_link_local() {
                data[16..20].copy_from_slice(&local.interface.to_ne_bytes());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20)
        }
    };
    let (header, rest) = control.split_at_mut(CONTROL_HEADER_LEN);
    let (length, level_and_kind) = header.split_at_mut(size_of::<usize>());
    length.copy_from_slice(&(CONTROL_HEADER_LEN + len).to_ne_bytes());
    level_and_kind[..4].copy_from_slice(&level.to_ne_bytes());
    level_and_kind[4..].copy_from_slice(&kind.to_ne_bytes());
    rest[..len].copy_from_slice(&data[..len]);
    (CONTROL_HEADER_LEN + len).next_multiple_of(size_of::<usize>())
}

/// Reads a socket address: `sockaddr_in` or `sockaddr_in6` (ip(7), ipv6(7)).
fn read_addr(raw: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = raw.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match libc::c_int::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let addr = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddrV4::new(addr, port).into())
        }
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (addr, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
            // std keeps the flow label as the kernel does, in network order.
            Some(SocketAddrV6::new((*addr).into(), port, u32::from_ne_bytes(*flow), scope).into())
        }
        _ => None,
    }
}

/// Writes a socket address; how many octets of `raw` it takes.
fn write_addr(raw: &mut RawAddr, addr: &SocketAddr) -> usize {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    raw[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    raw[2..4].copy_from_slice(&addr.port().to_be_bytes());
    match addr {
        SocketAddr::V4(addr) => {
            raw[4..8].copy_from_slice(&addr.ip().octets());
            raw[8..16].fill(0);
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(addr) => {
            raw[4..8].copy_from_slice(&addr.flowinfo().to_ne_bytes());
            raw[8..24].copy_from_slice(&addr.ip().octets());
            raw[24..28].copy_from_slice(&addr.scope_id().to_ne_bytes());
            ADDR_LEN
        }
    }
}
