//! Both implementations, on loopback.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;

/// Long enough for anything that should happen, on any machine.
const SOON: Duration = Duration::from_secs(10);

fn bind(addr: &str) -> Option<UdpSocket> {
    let socket = UdpSocket::bind(addr).ok()?;
    socket.set_read_timeout(Some(SOON)).unwrap();
    Some(socket)
}

/// Runs tests against a pair of an inbox and an outbox type.
macro_rules! both {
    ($name:ident, $($path:ident)::+) => {
        mod $name {
            use super::*;
            use super::$($path)::+::{Inbox, Outbox};

            /// All that comes until `count` datagrams are there, as text with their peers.
            fn take(inbox: &mut Inbox, socket: &UdpSocket, count: usize) -> Vec<(String, SocketAddr)> {
                let mut taken = Vec::new();
                while taken.len() < count {
                    inbox.receive(socket, true).unwrap();
                    taken.extend(inbox.iter().map(|datagram| {
                        assert!(!datagram.truncated);
                        (String::from_utf8(datagram.octets.to_vec()).unwrap(), datagram.route.peer)
                    }));
                }
                taken
            }

            #[test]
            fn batches_go_and_come() {
                for local in ["127.0.0.1:0", "[::1]:0"] {
                    let (Some(server), Some(client)) = (bind(local), bind(local)) else {
                        eprintln!("skipped: this host has no {local}");
                        continue;
                    };
                    let (at, from) = (server.local_addr().unwrap(), client.local_addr().unwrap());
                    let to = Route { peer: at, local: None };
                    let (mut out, mut inbox) = (Outbox::new(5, 16), Inbox::new(4, 16));
                    assert_eq!(out.send(&client, true), Sent::default(), "an empty batch is nothing");
                    for round in 0..3 {
                        let texts: Vec<String> = (0..5).map(|n| "x".repeat(n * round)).collect();
                        for text in &texts {
                            assert!(out.push(text.as_bytes(), Some(&to)));
                        }
                        assert!(!out.push(b"no room", Some(&to)) && out.slot().is_none());
                        assert_eq!(out.send(&client, true), Sent { sent: 5, failed: 0 });
                        assert!(out.is_empty());
                        let taken = take(&mut inbox, &server, 5);
                        assert_eq!(taken, texts.into_iter().map(|text| (text, from)).collect::<Vec<_>>());
                    }
                    // The other way, through sockets that know their peer.
                    client.connect(at).unwrap();
                    server.connect(from).unwrap();
                    assert!(out.push(b"back", None));
                    assert_eq!(out.send(&server, true), Sent { sent: 1, failed: 0 });
                    assert_eq!(take(&mut inbox, &client, 1), [("back".to_owned(), at)]);
                }
            }

            #[test]
            fn a_lone_datagram_does_not_wait_for_others() {
                let (server, client) = (bind("127.0.0.1:0").unwrap(), bind("127.0.0.1:0").unwrap());
                client.send_to(b"alone", server.local_addr().unwrap()).unwrap();
                let mut inbox = Inbox::new(32, 64);
                assert_eq!(inbox.receive(&server, true).unwrap(), 1);
                assert_eq!((inbox.len(), inbox.is_empty()), (1, false));
                assert!(inbox.datagram(1).is_none());
            }

            #[test]
            fn what_is_too_long_is_cut_and_marked() {
                let (server, client) = (bind("127.0.0.1:0").unwrap(), bind("127.0.0.1:0").unwrap());
                let mut inbox = Inbox::new(2, 8);
                for (sent, truncated) in [(7, false), (8, false), (9, true), (2000, true), (3, false)] {
                    client.send_to(&vec![b'x'; sent], server.local_addr().unwrap()).unwrap();
                    assert_eq!(inbox.receive(&server, true).unwrap(), 1);
                    let datagram = inbox.datagram(0).unwrap();
                    assert_eq!((datagram.octets.len(), datagram.truncated), (sent.min(8), truncated), "{sent}");
                }
            }

            #[test]
            fn nothing_there_is_an_error_and_no_datagram() {
                let (server, client) = (bind("127.0.0.1:0").unwrap(), bind("127.0.0.1:0").unwrap());
                let mut inbox = Inbox::new(2, 8);
                client.send_to(b"x", server.local_addr().unwrap()).unwrap();
                assert_eq!(inbox.receive(&server, true).unwrap(), 1);
                server.set_nonblocking(true).unwrap();
                assert_eq!(inbox.receive(&server, true).unwrap_err().kind(), ErrorKind::WouldBlock);
                assert!(inbox.is_empty() && inbox.iter().next().is_none() && inbox.drops().is_none());
            }

            #[test]
            fn one_that_cannot_be_sent_does_not_hold_up_the_rest() {
                let (server, client) = (bind("127.0.0.1:0").unwrap(), bind("127.0.0.1:0").unwrap());
                let good = Route { peer: server.local_addr().unwrap(), local: None };
                // An IPv4 socket has no way to an IPv6 address, and none to port 0.
                let bad = Route { peer: "[::1]:1".parse().unwrap(), local: None };
                let nobody = Route { peer: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), local: None };
                let mut out = Outbox::new(8, 8);
                for (text, route) in [("1", good), ("x", bad), ("y", nobody), ("2", good), ("z", bad)] {
                    assert!(out.push(text.as_bytes(), Some(&route)));
                }
                assert_eq!(out.send(&client, true), Sent { sent: 2, failed: 3 });
                let taken = take(&mut Inbox::new(8, 8), &server, 2);
                assert_eq!(taken.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["1", "2"]);
            }

            #[test]
            fn slots_are_bounded() {
                let to = Route { peer: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9), local: None };
                let mut out = Outbox::new(0, 4);
                assert!(!out.push(b"12345", Some(&to)) && !out.commit(5, Some(&to)));
                assert!(out.push(b"1234", Some(&to)) && !out.push(b"1", Some(&to)) && !out.commit(1, None));
                out.clear();
                assert_eq!((out.len(), out.slot().map(|slot| slot.len())), (0, Some(4)));
            }
        }
    };
}

#[cfg(target_os = "linux")]
both!(linux_batches, super::linux);
both!(plain_batches, super::plain);

#[cfg(target_os = "linux")]
#[test]
fn replies_leave_from_where_the_query_came_to() {
    for (wildcard, client, asked) in [("0.0.0.0:0", "127.0.0.1:0", "127.0.0.7"), ("[::]:0", "[::1]:0", "::1")]
    {
        let (Some(server), Some(client)) = (bind(wildcard), bind(client)) else {
            eprintln!("skipped: this host has no {wildcard}");
            continue;
        };
        report_local(&server).unwrap();
        let asked: IpAddr = asked.parse().unwrap();
        let at = SocketAddr::new(asked, server.local_addr().unwrap().port());
        client.send_to(b"who", at).unwrap();
        let (mut inbox, mut out) = (Inbox::new(2, 8), Outbox::new(2, 8));
        assert_eq!(inbox.receive(&server, true).unwrap(), 1);
        let route = inbox.datagram(0).unwrap().route;
        assert_eq!(route.local.map(|local| local.addr), Some(asked));
        assert_eq!(route.peer, client.local_addr().unwrap());
        // A datagram without a way of its own before and after: nothing of one sticks to another's slot.
        for (text, way) in [("me", route), ("any", Route { local: None, ..route })] {
            assert!(out.push(text.as_bytes(), Some(&way)));
        }
        assert_eq!(out.send(&server, true), Sent { sent: 2, failed: 0 });
        let mut buffer = [0; 8];
        let (len, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&b"me"[..], at));
        assert_eq!(client.recv_from(&mut buffer).unwrap().0, 3);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn drops_of_the_system_are_counted() {
    let (server, client) = (bind("127.0.0.1:0").unwrap(), bind("127.0.0.1:0").unwrap());
    count_drops(&server).unwrap();
    socket2::SockRef::from(&server).set_recv_buffer_size(4096).unwrap();
    let mut sent = 0;
    let mut inbox = Inbox::new(4, 2048);
    // Loopback hands over at once: what the buffer does not take is gone when `send_to` returns.
    for _ in 0..200 {
        client.send_to(&[7; 1000], server.local_addr().unwrap()).unwrap();
        sent += 1;
    }
    server.set_nonblocking(true).unwrap();
    let mut received = 0;
    while let Ok(count) = inbox.receive(&server, false) {
        received += count;
    }
    assert!(received > 0 && received < sent, "{received}");
    // The count comes with what is queued after the drop.
    client.send_to(b"x", server.local_addr().unwrap()).unwrap();
    inbox.receive(&server, false).unwrap();
    assert_eq!(inbox.drops(), Some((sent - received) as u32));
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_can_be_pinned() {
    let pinned = std::thread::spawn(|| {
        pin_to_core(1).unwrap();
        std::thread::available_parallelism().unwrap().get()
    });
    assert_eq!(pinned.join().unwrap(), 1);
}

#[test]
fn slots_do_not_share_cache_sets() {
    for slot_len in [0, 1, 64, 512, 1232, 4096, 65_535] {
        let stride = stride(slot_len);
        assert!(
            stride >= slot_len && stride.is_multiple_of(64) && (stride / 64) % 2 == 1,
            "{slot_len} {stride}"
        );
    }
}
