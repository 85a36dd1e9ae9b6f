//! Ports beside a scripted server.

use std::collections::HashSet;

use tokio::net::UdpSocket;

use super::*;
use crate::dns::testing::question;
use crate::iana::Rtype;
use crate::upstream::message::Manner;

/// A server's socket, and the ports it is asked from.
async fn pair(most: usize) -> (UdpSocket, Ports) {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ports = Ports::new(server.local_addr().unwrap(), most, (false, None));
    (server, ports)
}

fn query() -> Query {
    Query::new(&question("x.example", Rtype::A), Manner { mixed_case: true, ..Manner::PLAIN })
}

/// What a server hears next, as its reply, and where that goes.
async fn heard(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = [0; 512];
    let (length, from) = server.recv_from(&mut octets).await.unwrap();
    octets[2] |= 0x80;
    (octets[..length].to_vec(), from)
}

fn open(ports: &Ports) -> usize {
    ports.shared.open.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_server_that_is_down_can_be_asked_however_many_wait() {
    let (_server, ports) = pair(4).await;
    let mut waiting = std::collections::VecDeque::new();
    for n in 0..400 {
        waiting.push_back(ports.put(query()).unwrap_or_else(|failure| panic!("{n}: {failure:?}")));
        if n >= 100 {
            waiting.pop_front();
        }
        if n % 100 == 99 {
            // The network is another one, and all that wait are still there.
            ports.renew();
        }
        assert!(open(&ports) <= 8, "{n}: {}", open(&ports));
    }
}

#[tokio::test]
async fn ports_are_many_and_short_lived() {
    let (server, ports) = pair(MAX_PORTS).await;
    let (mut used, mut ids) = (HashSet::new(), HashSet::new());
    for _ in 0..1920 {
        let waiting = ports.put(query()).unwrap();
        let (reply, from) = heard(&server).await;
        used.insert(from.port());
        ids.insert([reply[0], reply[1]]);
        server.send_to(&reply, from).await.unwrap();
        assert_eq!(waiting.reply().await.unwrap()[..2], reply[..2]);
    }
    // Each takes 48 of them, or fewer; of as many IDs drawn from 65,536 about 28 are drawn twice.
    assert!(used.len() >= 1920 / MAX_QUESTIONS, "{}", used.len());
    assert!(ids.len() > 1840, "{}", ids.len());
    // Those that are spent are closed once nobody waits.
    tokio::task::yield_now().await;
    assert!(open(&ports) <= LIVE + 1, "{}", open(&ports));
    drop(ports);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_old_takes_no_more() {
    let (server, ports) = pair(MAX_PORTS).await;
    let mut used = HashSet::new();
    for _ in 0..64 {
        let waiting = ports.put(query()).unwrap();
        let (reply, from) = heard(&server).await;
        used.insert(from.port());
        server.send_to(&reply, from).await.unwrap();
        waiting.reply().await.unwrap();
        tokio::time::advance(MAX_AGE).await;
    }
    // Of 64 drawn from 64,512 two pairs may be equal; more is no chance.
    assert!(used.len() >= 62, "{}", used.len());
}

#[tokio::test]
async fn a_guess_ends_its_port_and_all_that_waits_there() {
    let (server, ports) = pair(1).await;
    let (first, second) = (ports.put(query()).unwrap(), ports.put(query()).unwrap());
    let (reply, from) = heard(&server).await;
    let (other, _) = heard(&server).await;
    let id = (0..=u16::MAX).map(u16::to_be_bytes).find(|id| *id != reply[..2] && *id != other[..2]).unwrap();
    let guess = [&id, &reply[2..]].concat();
    server.send_to(&guess, from).await.unwrap();
    assert_eq!(first.reply().await, Err(Failure::WrongReply));
    assert_eq!(second.reply().await, Err(Failure::WrongReply));
    assert_eq!(ports.guesses(), 1);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let third = ports.put(query()).unwrap();
    let (reply, another) = heard(&server).await;
    assert_ne!(from, another);
    server.send_to(&reply, another).await.unwrap();
    assert!(third.reply().await.is_ok());
}

#[tokio::test]
async fn what_comes_late_or_twice_is_no_guess() {
    let (server, ports) = pair(MAX_PORTS).await;
    // Somebody has an answer meanwhile: the server is there.
    let (late, prompt) = (ports.put(query()).unwrap(), ports.put(query()).unwrap());
    let (first, first_from) = heard(&server).await;
    let (second, second_from) = heard(&server).await;
    for _ in 0..2 {
        server.send_to(&second, second_from).await.unwrap();
    }
    prompt.reply().await.unwrap();
    drop(late);
    server.send_to(&first, first_from).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((ports.guesses(), lock(&ports.shared.live).iter().flatten().count()), (0, open(&ports)));
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_wait_is_told() {
    let (server, ports) = pair(MAX_PORTS).await;
    let begin = |wait| {
        let (sender, told) = oneshot::channel();
        let landing: Landing = Box::new(|came| drop(sender.send(came)));
        ports.begin(query(), landing, Instant::now() + wait);
        told
    };
    // In time: on the thread that hears it.
    let told = begin(MAX_AGE);
    let (reply, from) = heard(&server).await;
    server.send_to(&reply, from).await.unwrap();
    assert!(matches!(told.await, Ok(Came::Reply(Ok(_)))));
    // Too late, of two the one that is due: what comes then is its reply all the same.
    let began = Instant::now();
    let (patient, told) = (begin(2 * MAX_AGE), begin(MAX_AGE));
    let both = [heard(&server).await, heard(&server).await];
    let Ok(Came::NotYet(coming)) = told.await else { panic!() };
    assert!(began.elapsed() >= MAX_AGE);
    for (reply, from) in both {
        server.send_to(&reply, from).await.unwrap();
    }
    assert!(coming.await.is_ok());
    assert!(matches!(patient.await, Ok(Came::Reply(Ok(_)))));
    assert!(began.elapsed() < 2 * MAX_AGE);
    // One that panics is heard by nobody, and by no other.
    let panics: Landing = Box::new(|_| panic!("on purpose"));
    ports.begin(query(), panics, Instant::now() + MAX_AGE);
    let told = begin(MAX_AGE);
    for _ in 0..2 {
        let (reply, from) = heard(&server).await;
        server.send_to(&reply, from).await.unwrap();
    }
    assert!(matches!(told.await, Ok(Came::Reply(Ok(_)))));
    // One that does not go out is told so at once.
    let nowhere = Ports::new("255.255.255.255:53".parse().unwrap(), MAX_PORTS, (false, None));
    let (sender, told) = std::sync::mpsc::channel();
    nowhere.begin(query(), Box::new(move |came| sender.send(came).unwrap()), Instant::now());
    assert!(matches!(told.try_recv(), Ok(Came::Reply(Err(_)))));
}

#[tokio::test]
async fn where_nothing_comes_all_are_opened_anew() {
    let (server, ports) = pair(MAX_PORTS).await;
    let mut waiting: Vec<_> = (0..64).map(|_| ports.put(query()).unwrap()).collect();
    assert!(open(&ports) > 8, "{}", open(&ports));
    // Nobody answers this one, nor any other: whatever the sockets hold may be of yesterday's network.
    waiting.pop();
    assert!(lock(&ports.shared.live).iter().all(Option::is_none));
    // What waits on them is listened for all the same.
    for _ in 0..64 {
        let (reply, from) = heard(&server).await;
        server.send_to(&reply, from).await.unwrap();
    }
    for one in waiting {
        assert!(one.reply().await.is_ok());
    }
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(open(&ports), 0);
}

#[tokio::test]
async fn nothing_is_put_where_nobody_may_listen() {
    let (_server, ports) = pair(MAX_PORTS).await;
    let port = ports.draw().unwrap();
    port.retire();
    // Its listener goes, for nobody waits there.
    tokio::task::yield_now().await;
    let (sender, _reply) = oneshot::channel();
    assert!(matches!(port.put(query(), Waiter::Task(sender)), Err((Failure::Closed, ..))));
    assert!(ports.put(query()).is_ok());
}

#[tokio::test]
async fn with_few_ports_each_takes_more() {
    let (server, ports) = pair(2).await;
    let waiting: Vec<_> = (0..120).map(|_| ports.put(query()).unwrap()).collect();
    assert_eq!(open(&ports), 2);
    let mut used = HashSet::new();
    for _ in 0..120 {
        let (reply, from) = heard(&server).await;
        used.insert(from.port());
        server.send_to(&reply, from).await.unwrap();
    }
    for one in waiting {
        assert!(one.reply().await.is_ok());
    }
    assert_eq!(used.len(), 2);
}

#[tokio::test]
async fn what_came_back_from_an_earlier_question_is_no_answer_to_the_next() {
    let (server, ports) = loop {
        let (server, ports) = pair(MAX_PORTS).await;
        let addr = server.local_addr().unwrap();
        drop(server);
        // From each port there is, so that each holds an error that nobody has heard yet.
        let earlier: Vec<_> = (0..64).map(|_| ports.put(query())).collect();
        assert!(earlier.iter().any(Result::is_ok));
        // While nobody had it, anybody may have drawn the server's port: one of these, for one.
        match UdpSocket::bind(addr).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            bound => break (bound.unwrap(), ports),
        }
    };
    let waiting = ports.put(query()).unwrap();
    let (reply, from) = heard(&server).await;
    server.send_to(&reply, from).await.unwrap();
    assert!(waiting.reply().await.is_ok());
}

#[tokio::test]
async fn the_one_port_there_may_be_is_replaced_and_never_full() {
    let (server, ports) = pair(1).await;
    let mut used = HashSet::new();
    let mut ask = async |ports: &Ports| {
        let waiting = ports.put(query()).unwrap();
        let (reply, from) = heard(&server).await;
        server.send_to(&reply, from).await.unwrap();
        assert!(waiting.reply().await.is_ok());
        used.insert(from.port());
        used.len()
    };
    let mut seen = 0;
    for _ in 0..4 * MAX_QUESTIONS {
        seen = ask(&ports).await;
    }
    assert!(seen >= 4, "{seen}");
    // One that is never answered keeps its port, and all others go out from there.
    let silent = ports.put(query()).unwrap();
    heard(&server).await;
    let before = ask(&ports).await;
    for _ in 0..3 * MAX_CROWD {
        seen = ask(&ports).await;
    }
    assert_eq!(seen, before);
    assert!(lock(&silent.port.asked).questions.len() <= MAX_CROWD);
}

#[tokio::test]
async fn a_refusal_is_heard_by_all_who_wait() {
    let (server, ports) = pair(1).await;
    drop(server);
    let waiting: Vec<_> = (0..3).map_while(|_| ports.put(query()).ok()).collect();
    assert!(!waiting.is_empty());
    for one in waiting {
        assert_eq!(one.reply().await, Err(Failure::Refused));
    }
}
