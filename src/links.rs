//! Links, addresses and routes of this machine: that they became others, as Linux tells it (rtnetlink(7)).

use std::collections::HashSet;
use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;

/// What is to be heard of.
const GROUPS: i32 = libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE;
/// Octets of a datagram at most: twice what netlink(7) has programs take.
const MAX_LEN: usize = 16 << 10;
/// Datagrams that are taken before what they come to is told.
const BATCH: usize = 256;
/// Links that are known to be up at most; a machine of more containers hears of one more now and then.
const MAX_LINKS: usize = 4096;
/// Octets of a message's header: its length, type, flags, number and sender.
const HEADER_LEN: usize = 16;
/// Octets of what is asked to be told of all links: a header, and ifinfomsg, of any family and otherwise empty.
const DUMP_LEN: usize = HEADER_LEN + 16;

/// What is told of links, addresses and routes.
pub(crate) struct Changes {
    socket: UnixDatagram,
    buffer: Vec<u8>,
    links: Links,
}

/// Links by what was told of them.
#[derive(Debug, Default)]
struct Links {
    /// The numbers of those that are up.
    up: HashSet<u32>,
    /// Whether all that were there at the beginning have been told of.
    known: bool,
}

impl Changes {
    /// Hears what is told from now on, and which links are up now: what is first told of one else looks as if it came up.
    ///
    /// # Errors
    /// When the system grants no such socket.
    pub(crate) fn open() -> io::Result<Changes> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is protocol 0, the family's own.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS as u32))?;
        // Who waits for datagrams and receives them needs not know their family.
        let socket = StdDatagram::from(socket);
        // Whoever is connected to nobody sends to the system (netlink(7)).
        let known = socket.send(&dump()).is_err();
        let links = Links { up: HashSet::new(), known };
        let socket = UnixDatagram::from_std(socket)?;
        Ok(Changes { socket, buffer: vec![0; MAX_LEN], links })
    }

    /// Waits until something is told; whether a link came up, for all that is known.
    ///
    /// # Errors
    /// When nothing more can be heard here.
    pub(crate) async fn next(&mut self) -> io::Result<bool> {
        self.socket.readable().await?;
        let mut came_up = false;
        for _ in 0..BATCH {
            match self.socket.try_recv(&mut self.buffer) {
                Ok(length) => came_up |= self.links.hear(&self.buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // netlink(7): too much was told, and some of it is lost.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => came_up = true,
                Err(error) => return Err(error),
            }
        }
        Ok(came_up)
    }
}

/// Asks to be told of all links (rtnetlink(7), RTM_GETLINK).
fn dump() -> [u8; DUMP_LEN] {
    let mut message = [0; DUMP_LEN];
    message[..4].copy_from_slice(&(DUMP_LEN as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    message
}

impl Links {
    /// Takes in a datagram of messages; whether a link came up.
    fn hear(&mut self, mut octets: &[u8]) -> bool {
        let mut came_up = false;
        while let Some(length) = word(octets, 0).map(|length| length as usize)
            && length >= HEADER_LEN
            && let Some(message) = octets.get(..length)
        {
            came_up |= self.hear_one(message).unwrap_or_default();
            octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        came_up
    }

    /// Takes in one message; whether a link came up, none if it is not about one.
    fn hear_one(&mut self, message: &[u8]) -> Option<bool> {
        let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
        // What was asked for has come, or will not.
        if matches!(i32::from(kind), libc::NLMSG_DONE | libc::NLMSG_ERROR) {
            self.known = true;
            return None;
        }
        // Behind the header is ifinfomsg: family and type in four octets, then number, flags, and which of those changed.
        let (number, flags) = (word(message, HEADER_LEN + 4)?, word(message, HEADER_LEN + 8)? as i32);
        match kind {
            libc::RTM_NEWLINK if flags & libc::IFF_LOOPBACK != 0 => Some(false),
            libc::RTM_NEWLINK if flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0 => {
                if self.up.len() >= MAX_LINKS {
                    self.up.clear();
                }
                Some(self.up.insert(number) && self.known)
            }
            libc::RTM_NEWLINK | libc::RTM_DELLINK => {
                self.up.remove(&number);
                Some(false)
            }
            _ => None,
        }
    }
}

/// Four octets as the number that this machine reads in them.
fn word(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this type about a link.
    fn message(kind: u16, number: u32, flags: i32) -> Vec<u8> {
        let mut message = 32_u32.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10 + 4]);
        message.extend(number.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0xff; 4]);
        message
    }

    #[test]
    fn a_link_that_comes_up_is_told_from_all_else() {
        let (up, down) = (libc::IFF_UP | libc::IFF_RUNNING, libc::IFF_UP);
        let mut links = Links::default();
        // What is there at the beginning did not come up.
        assert!(!links.hear(&message(libc::RTM_NEWLINK, 6, up)));
        assert!(!links.hear(&message(libc::NLMSG_DONE as u16, 0, 0)));
        assert!(links.known);
        for (index, (kind, number, flags, expected)) in [
            (libc::RTM_NEWLINK, 6, up, false),
            (libc::RTM_NEWLINK, 7, up, true),
            // What else is told of one that is up.
            (libc::RTM_NEWLINK, 7, up, false),
            (libc::RTM_NEWADDR, 7, up, false),
            (libc::RTM_NEWROUTE, 8, up, false),
            (libc::RTM_NEWLINK, 8, down, false),
            (libc::RTM_NEWLINK, 8, up, true),
            (libc::RTM_NEWLINK, 7, down, false),
            (libc::RTM_NEWLINK, 7, up, true),
            (libc::RTM_DELLINK, 7, up, false),
            (libc::RTM_NEWLINK, 7, up, true),
            (libc::RTM_NEWLINK, 1, up | libc::IFF_LOOPBACK, false),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(links.hear(&message(kind, number, flags)), expected, "{index}");
        }
        // Several in one datagram, padded, the last one cut.
        let mut links = Links { known: true, ..Links::default() };
        let mut odd = message(libc::RTM_NEWADDR, 1, 0);
        odd.extend([0; 4]);
        odd[0] = 33;
        let mut told = [odd, message(libc::RTM_NEWLINK, 9, up)].concat();
        assert!(links.hear(&told));
        told.extend(message(libc::RTM_NEWLINK, 10, up));
        told.pop();
        assert!(!links.hear(&told));
        for cut in 0..32 {
            assert!(!links.hear(&message(libc::RTM_NEWLINK, 11, up)[..cut]));
        }
        for length in [0_u32, 15, u32::MAX] {
            let mut message = message(libc::RTM_NEWLINK, 12, up);
            message[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(!links.hear(&message), "{length}");
        }
        for number in 0..2 * MAX_LINKS as u32 {
            links.hear(&message(libc::RTM_NEWLINK, number, up));
        }
        assert!(links.up.len() <= MAX_LINKS);
    }

    #[tokio::test]
    async fn which_links_are_up_is_known_before_anything_changes() {
        let mut changes = Changes::open().unwrap();
        while !changes.links.known {
            assert!(!changes.next().await.unwrap());
        }
    }
}
