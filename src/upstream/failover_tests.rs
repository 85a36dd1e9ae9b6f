//! Several scripted servers, in virtual time.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::begun::{Begun, Came, Landing, Outcome};
use super::failover::{Failover, explain};
use super::failure::Failure;
use super::message::Manner;
use super::race::MAX_LINGERING;
use super::server::Server;
use super::settings::Settings;
use super::strategy::Strategy;
use super::{Ask, AskError, Exchange};
use crate::dns::Question;
use crate::dns::testing::question;
use crate::iana::Rtype;

#[test]
fn what_was_our_own_doing_is_no_failure() {
    let server = Server::udp("192.0.2.1:53".parse().unwrap());
    let other = Server::tcp("192.0.2.2:53".parse().unwrap());
    let failed = |failure| (other.clone(), failure);
    let busy = || (server.clone(), Failure::Busy);
    assert_eq!(explain(&[busy(), failed(Failure::Busy)]), AskError::Overloaded);
    for failure in [Failure::TimedOut, Failure::Refused, Failure::WrongReply] {
        let error = explain(&[busy(), failed(failure)]);
        assert!(matches!(error, AskError::NoneReachable(_)), "{error:?}");
    }
}

/// What a scripted server does, by its port.
#[derive(Clone, Copy)]
enum Does {
    Answer,
    Decline,
    /// Declines, and says that it validated.
    Validate,
    /// Says that signatures are wrong.
    Bogus,
    /// Declines the first time, and then answers, or says nothing.
    DeclineOnce(bool),
    Refuse,
    /// Is unreachable for the first so many questions.
    Unreachable(u64),
    /// Answers after so many milliseconds.
    After(u64),
    /// Answers after 20 milliseconds, and each fortieth question after 90.
    Mostly,
    Nothing,
    /// Answers after 20 milliseconds what is not asked about somebody's zone, and about that nothing.
    NotEvil,
    /// Answers after 20 milliseconds what is not asked about somebody's zone, and declines that.
    DeclinesEvil,
    /// Answers at once, but for those of each forty tries of which three in a row are lost.
    Loses,
    /// There is no socket to ask it by.
    Want,
    /// Nothing before so many seconds have gone by.
    From(u64),
    /// Refuses until so many milliseconds have gone by.
    RefuseUntil(u128),
    /// Says nothing by datagram; by stream it answers, or refuses.
    ByStream(bool),
}

/// Follows a script.
struct Scripted(Arc<Script>);

/// A script, and how far it went.
struct Script {
    does: Does,
    asked: AtomicU64,
    begun: Instant,
    renewed: AtomicU64,
    /// When it was asked, in milliseconds, and whether by stream in place of a datagram.
    tries: Mutex<Vec<(u128, bool)>>,
}

impl Exchange for Scripted {
    async fn exchange(&self, question: &Question, manner: Manner) -> Outcome {
        self.0.outcome(*question, manner.by_stream).await
    }

    fn may_begin(&self) -> bool {
        true
    }

    fn renew(&self) {
        self.0.renewed.fetch_add(1, Ordering::Relaxed);
    }

    fn begin(&self, question: &Question, landing: Landing, due: Instant) {
        let (script, question) = (Arc::clone(&self.0), *question);
        tokio::spawn(async move {
            let mut coming = Box::pin(async move { script.outcome(question, false).await });
            match timeout_at(due, &mut coming).await {
                Ok(outcome) => landing(Came::Reply(outcome)),
                Err(_) => landing(Came::NotYet(coming)),
            }
        });
    }
}

impl Script {
    /// What comes of a question.
    async fn outcome(&self, question: Question, by_stream: bool) -> Outcome {
        let ms = Duration::from_millis;
        // Header, and `x.` A as the question.
        let reply = |low| vec![0, 0, 0x81, low, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1];
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let elapsed_ms = self.begun.elapsed().as_millis();
        self.tries.lock().unwrap().push((elapsed_ms, by_stream));
        match self.does {
            Does::Answer => {}
            Does::Decline => return Ok(reply(0x85)),
            Does::Validate => return Ok(reply(0xa1)),
            Does::Bogus => {
                // EDE 6 in OPT.
                let mut bogus = reply(0x82);
                bogus[11] = 1;
                bogus.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 6]);
                return Ok(bogus);
            }
            Does::DeclineOnce(_) if asked == 0 => return Ok(reply(0x82)),
            Does::DeclineOnce(true) => {}
            Does::RefuseUntil(ms) if elapsed_ms >= ms => {}
            Does::ByStream(true) if by_stream => {}
            Does::ByStream(false) if by_stream => return Err(Failure::Refused),
            Does::Refuse | Does::RefuseUntil(_) => return Err(Failure::Refused),
            Does::Unreachable(times) if asked < times => return Err(Failure::Unreachable),
            Does::Unreachable(_) => {}
            Does::Want => return Err(Failure::Busy),
            Does::After(after) => sleep(ms(after)).await,
            Does::Loses if asked % 40 < 37 => {}
            Does::DeclinesEvil if is_evil(&question) => return Ok(reply(0x82)),
            Does::DeclinesEvil => sleep(ms(20)).await,
            Does::Mostly => sleep(ms(if asked % 40 == 39 { 90 } else { 20 })).await,
            Does::From(seconds) if self.begun.elapsed().as_secs() >= seconds => {}
            Does::NotEvil if !is_evil(&question) => sleep(ms(20)).await,
            Does::Nothing
            | Does::NotEvil
            | Does::Loses
            | Does::From(_)
            | Does::ByStream(_)
            | Does::DeclineOnce(false) => std::future::pending().await,
        }
        Ok(reply(0x80))
    }
}

/// Whether it is about somebody's zone.
fn is_evil(question: &Question) -> bool {
    question.qname.is_at_or_below(&"evil.example".parse().unwrap())
}

/// One that does this.
fn scripted(does: Does) -> Scripted {
    Scripted(Arc::new(Script {
        does,
        asked: AtomicU64::new(0),
        begun: Instant::now(),
        renewed: AtomicU64::new(0),
        tries: Mutex::default(),
    }))
}

/// Servers that do this, asked by these settings.
fn failover(servers: &'static [Does], settings: Settings) -> Failover<Scripted> {
    let at = |port: usize| Server::udp(([192, 0, 2, 1], port as u16).into());
    let settings = Settings { servers: (0..servers.len()).map(at).collect(), ..settings };
    Failover::new(&settings, |server: &Server| scripted(servers[usize::from(server.addr.port())]), None)
}

/// How often each server was told that the network is another one.
fn renewed(failover: &Failover<Scripted>) -> Vec<u64> {
    failover.exchanges().map(|scripted| scripted.0.renewed.load(Ordering::Relaxed)).collect()
}

/// How long a question takes to be answered, in milliseconds; it is begun without a task where that may be.
async fn took_ms(failover: &Failover<Scripted>) -> u128 {
    let (question, at) = (question("x", Rtype::A), Instant::now());
    match failover.may_begin(&question) {
        true => begin(failover, &question).await.unwrap(),
        false => failover.go_on(&question, Begun::nothing(), Box::new(drop)).await.unwrap(),
    };
    at.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn servers_are_asked_in_order_and_in_time() {
    use Does::{
        After, Answer, Bogus, ByStream, Decline, DeclineOnce, Nothing, Refuse, Unreachable, Validate,
    };
    /// What the servers do; the rcode that comes or the error's kind; tries of each; the time it takes in milliseconds.
    type Case = (&'static [Does], Result<u8, &'static str>, &'static [u64], u128);
    let cases: [Case; 35] = [
        (&[Answer], Ok(0), &[1], 0),
        (&[Answer, Answer], Ok(0), &[1, 0], 0),
        (&[Refuse, Answer], Ok(0), &[1, 1], 0),
        (&[Refuse, Refuse], Err("Network"), &[1, 1], 0),
        // Who is unreachable is asked once more, after the others.
        (&[Unreachable(1)], Ok(0), &[2], 0),
        (&[Unreachable(2)], Err("Network"), &[2], 0),
        (&[Unreachable(1), Answer], Ok(0), &[1, 1], 0),
        (&[Unreachable(2), Unreachable(2)], Err("Network"), &[2, 1], 0),
        // The first try of several has half the time.
        (&[Nothing, Answer], Ok(0), &[1, 1], 750),
        (&[After(700), Answer], Ok(0), &[1, 0], 700),
        // What was asked is listened for while others are asked, and while it is asked again.
        (&[After(1000), Nothing], Ok(0), &[1, 1], 1000),
        (&[After(1600)], Ok(0), &[2], 1600),
        (&[After(3900)], Ok(0), &[3], 3900),
        // One alone has all of it.
        (&[After(1000)], Ok(0), &[1], 1000),
        (&[Nothing], Err("NoneReachable"), &[3], 4000),
        (&[Refuse, Nothing], Err("NoneReachable"), &[1, 4], 4000),
        (&[Decline, Answer], Ok(0), &[1, 1], 0),
        // Who declines is not the last word while another one is slow, whoever was asked first.
        (&[Decline, After(900)], Ok(0), &[1, 1], 900),
        (&[After(900), Decline], Ok(0), &[1, 1], 900),
        (&[Decline, After(3900)], Ok(0), &[1, 1], 3900),
        (&[Decline, Refuse], Ok(5), &[1, 1], 0),
        (&[Decline, Nothing], Ok(5), &[1, 1], 4000),
        // Where all decline, who was asked first is asked once more, if it could say otherwise the next time.
        (&[DeclineOnce(true)], Ok(0), &[2], 0),
        (&[DeclineOnce(false)], Ok(2), &[2], 1500),
        (&[Decline], Ok(5), &[2], 0),
        (&[Validate], Ok(1), &[1], 0),
        (&[Bogus], Ok(2), &[1], 0),
        (&[Decline, Decline], Ok(5), &[2, 1], 0),
        (&[Decline, Validate], Ok(1), &[1, 1], 0),
        (&[DeclineOnce(true), Decline], Ok(0), &[2, 1], 0),
        (&[DeclineOnce(true), Answer], Ok(0), &[1, 1], 0),
        // By stream it is asked once all datagrams were sent, for which this one's time is too short.
        (&[ByStream(true)], Err("NoneReachable"), &[3], 4000),
        (&[Refuse, ByStream(true)], Ok(0), &[1, 4], 3750),
        // Of many the oldest is no longer listened for, and is asked again when its turn comes.
        (&[Nothing, Nothing, Nothing, Nothing, After(100)], Ok(0), &[1, 1, 1, 1, 1], 3100),
        (&[Nothing, Nothing, Nothing, Nothing], Err("NoneReachable"), &[2, 1, 1, 1], 4000),
    ];
    let question = question("x", Rtype::A);
    for (index, (servers, expected, tries, took_ms)) in cases.into_iter().enumerate() {
        let at = |port: usize| Server::udp(([192, 0, 2, 1], port as u16).into());
        let settings = Settings { servers: (0..servers.len()).map(at).collect(), ..Settings::default() };
        let does = |server: &Server| scripted(servers[usize::from(server.addr.port())]);
        // As a task, and begun without one: the same comes of both.
        for at_once in [false, true] {
            let failover = Failover::new(&settings, does, None);
            let begun = Instant::now();
            let came =
                if at_once { begin(&failover, &question).await } else { failover.ask(&question).await };
            let said = match came {
                Ok(reply) => Ok(reply[3] & 0xf),
                Err(AskError::Network(_)) => Err("Network"),
                Err(AskError::NoneReachable(_)) => Err("NoneReachable"),
                Err(AskError::Overloaded) => Err("Overloaded"),
            };
            let asked: Vec<u64> = failover.tallies().iter().map(|tally| tally.asked).collect();
            // A timer may fire a millisecond late.
            let late_ms = begun.elapsed().as_millis() - took_ms;
            assert_eq!((said, &asked[..]), (expected, tries), "{index} {at_once}");
            assert!(late_ms <= 3, "{index} {at_once}: {late_ms}");
        }
    }
}

/// Begins to ask, and goes on from there.
async fn begin(failover: &Failover<Scripted>, question: &Question) -> Result<Vec<u8>, AskError> {
    assert!(failover.may_begin(question));
    let (sender, told) = oneshot::channel();
    failover.begin(question, Box::new(|came| sender.send(came).unwrap()));
    match told.await.unwrap() {
        Ok(reply) => Ok(reply),
        Err(begun) => failover.go_on(question, begun, Box::new(drop)).await,
    }
}

#[tokio::test(start_paused = true)]
async fn people_are_told_who_answers_and_why_others_do_not() {
    use Does::{Answer, Decline, From, Nothing, Refuse};
    /// What the servers do; of each, whether it is up and what was wrong last.
    type Case = (&'static [Does], &'static [(bool, &'static str)]);
    let cases: [Case; 7] = [
        (&[Answer], &[(true, "")]),
        (&[Refuse], &[(false, "refused the connection")]),
        // One alone, too.
        (&[Nothing], &[(false, "did not answer in time")]),
        (&[Decline], &[(false, "answered REFUSED")]),
        (&[Nothing, Answer], &[(false, "did not answer in time"), (true, "")]),
        (&[Decline, Refuse], &[(false, "answered REFUSED"), (false, "refused the connection")]),
        // What was wrong with one that is back is still told.
        (&[From(10)], &[(true, "did not answer in time")]),
    ];
    for (index, (servers, expected)) in cases.into_iter().enumerate() {
        let failover = failover(servers, Settings::default());
        for _ in 0..6 {
            let _ = failover.ask(&question("x", Rtype::A)).await;
            // Probes are heard out.
            sleep(Duration::from_secs(2)).await;
        }
        let tallies = failover.tallies().into_iter().map(|tally| {
            assert_eq!(tally.is_up, tally.back_for.is_none(), "{index}");
            (tally.is_up, tally.last_failure.map_or_else(String::new, |(why, _)| why))
        });
        let expected: Vec<_> = expected.iter().map(|(is_up, why)| (*is_up, (*why).to_owned())).collect();
        assert_eq!(tallies.collect::<Vec<_>>(), expected, "{index}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_down_in_another_network_is_looked_after_once_more() {
    let failover = failover(&[Does::Answer, Does::Refuse], Settings::default());
    let ask = async || {
        let _ = failover.ask(&question("x", Rtype::A)).await;
        sleep(Duration::from_millis(100)).await;
    };
    failover.meet();
    ask().await;
    let is_up = || failover.tallies().iter().map(|tally| tally.is_up).collect::<Vec<_>>();
    assert_eq!(is_up(), [true, false]);
    failover.network().changed();
    ask().await;
    ask().await;
    // Else nobody would ask it, and it would be told of as down for ever.
    let asked: Vec<_> = failover.tallies().iter().map(|tally| (tally.asked, tally.probes)).collect();
    assert_eq!((asked, is_up()), (vec![(3, 1), (0, 2)], vec![true, false]));
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_is_for_whoever_asks_next() {
    use Does::{After, Answer, Decline, Nothing, Refuse};
    /// What the servers do, and after how many milliseconds something is heard, if ever.
    type Case = (&'static [Does], Option<u128>);
    let cases: [Case; 6] = [
        (&[After(5000)], Some(5000)),
        (&[Nothing, After(5000)], Some(5750)),
        // One that has declined is not the last word.
        (&[Decline, After(5000)], Some(5000)),
        (&[After(11_000)], None),
        (&[Refuse], None),
        (&[Answer], None),
    ];
    let question = question("x", Rtype::A);
    for (index, (servers, expected)) in cases.into_iter().enumerate() {
        let failover = failover(servers, Settings::default());
        let begun = Instant::now();
        let (sender, late) = oneshot::channel();
        let told = Box::new(move |reply: Vec<u8>| sender.send((reply[3], Instant::now())).unwrap());
        let _ = failover.go_on(&question, Begun::nothing(), told).await;
        assert!(begun.elapsed() < Duration::from_millis(4003), "{index}");
        let heard = late.await.ok().map(|(low, at)| (low & 0xf, (at - begun).as_millis()));
        assert_eq!(heard.map(|(rcode, _)| rcode), expected.map(|_| 0), "{index}");
        let (heard, expected) = (heard.map_or(0, |(_, ms)| ms), expected.unwrap_or_default());
        assert!((expected..expected + 3).contains(&heard), "{index}: {heard}");
        assert_eq!(failover.may_linger(), MAX_LINGERING, "{index}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_as_many_as_it_may_is_passed_over() {
    for at_once in [false, true] {
        let settings = Settings { max_per_server: 2, ..Settings::default() };
        let failover = Arc::new(failover(&[Does::After(500), Does::After(100)], settings));
        let ask = || {
            let (failover, question) = (Arc::clone(&failover), question("x", Rtype::A));
            async move {
                match at_once && failover.may_begin(&question) {
                    true => begin(&failover, &question).await,
                    false => failover.ask(&question).await,
                }
            }
        };
        let counts = || -> Vec<(usize, u64)> {
            failover.tallies().iter().map(|tally| (tally.under_way, tally.full)).collect()
        };
        let mut asking = JoinSet::new();
        for _ in 0..5 {
            asking.spawn(ask());
            sleep(Duration::from_millis(1)).await;
        }
        // Two there, two at the next one; where both are full, nobody waits for nothing.
        assert_eq!(counts(), [(2, 3), (2, 1)], "{at_once}");
        assert_eq!(asking.try_join_next().unwrap().unwrap(), Err(AskError::Overloaded));
        sleep(Duration::from_millis(150)).await;
        assert_eq!(counts(), [(2, 3), (0, 1)], "{at_once}");
        assert!(ask().await.is_ok());
        // What is given up makes room as well; what was begun is nobody's to give up, and is answered.
        if !at_once {
            asking.abort_all();
        }
        while asking.join_next().await.is_some() {}
        assert_eq!(counts(), [(0, 4), (0, 1)], "{at_once}");
        // That is no failure of theirs.
        assert!(failover.may_begin(&question("x", Rtype::A)), "{at_once}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_stepped_back_is_not_asked_at_once() {
    let settings =
        Settings { servers: vec![Server::udp("192.0.2.1:53".parse().unwrap())], ..Settings::default() };
    let failover = Failover::new(&settings, |_: &Server| scripted(Does::Refuse), None);
    let question = question("x", Rtype::A);
    for _ in 0..3 {
        assert!(begin(&failover, &question).await.is_err());
    }
    assert!(!failover.may_begin(&question));
    assert_eq!(failover.tallies()[0].failed, 3);
}

#[tokio::test]
async fn ad_is_believed_of_this_host_or_if_that_is_said() {
    for (server, trust_ad, expected) in [
        ("192.0.2.1", false, 0x81),
        ("192.0.2.1", true, 0xa1),
        ("2001:db8::1", false, 0x81),
        ("127.0.0.2", false, 0xa1),
        ("::1", false, 0xa1),
        ("::ffff:127.0.0.1", false, 0xa1),
    ] {
        let server = Server::udp((server.parse::<IpAddr>().unwrap(), 53).into());
        let settings = Settings { servers: vec![server.clone()], trust_ad, ..Settings::default() };
        let failover = Failover::new(&settings, |_: &Server| scripted(Does::Validate), None);
        // RA, AD, and an rcode of 1 as well, which is told as it is when nobody else is there.
        let reply = failover.ask(&question("x", Rtype::A)).await.unwrap();
        assert_eq!(reply[3], expected, "{server} {trust_ad}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_server_goes_over_to_other_settings() {
    let at = |port: u16| Server::udp(([192, 0, 2, 1], port).into());
    let of = |servers: &[u16]| Settings {
        servers: servers.iter().copied().map(at).collect(),
        ..Settings::default()
    };
    let question = question("x", Rtype::A);
    let counts = |failover: &Failover<Scripted>| -> Vec<(u16, u64, u64)> {
        failover.tallies().iter().map(|tally| (tally.server.addr.port(), tally.asked, tally.failed)).collect()
    };
    let refuses = |_: &Server| scripted(Does::Refuse);
    let before = Failover::new(&of(&[1, 2]), refuses, None);
    for _ in 0..2 {
        assert!(before.ask(&question).await.is_err());
    }
    // Whoever is new answers, and the one that both have is asked as before, and counted on.
    let after = Failover::new(&of(&[2, 3]), |_: &Server| scripted(Does::Answer), Some(&before));
    assert_eq!(counts(&after), [(2, 2, 2), (3, 0, 0)]);
    assert!(after.ask(&question).await.is_ok());
    assert_eq!(counts(&after)[1], (3, 1, 0));
    assert_eq!(counts(&before)[0], (1, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn of_two_asked_at_once_the_first_good_answer_counts() {
    use Does::{After, Decline, Nothing, Refuse};
    /// What the servers do, and the time it takes in milliseconds.
    type Case = (&'static [Does], u128);
    let cases: [Case; 6] = [
        (&[After(100), After(30)], 30),
        (&[After(30)], 30),
        (&[Nothing, After(30)], 30),
        (&[Decline, After(30)], 30),
        (&[Refuse, After(30)], 30),
        (&[Decline, Refuse, After(30)], 30),
    ];
    for (index, (servers, expected_ms)) in cases.into_iter().enumerate() {
        let parallel = failover(servers, Settings { strategy: Strategy::Parallel, ..Settings::default() });
        let took = took_ms(&parallel).await;
        assert!((expected_ms..expected_ms + 4).contains(&took), "{index}: {took}");
    }
    // Who loses is heard out: that it was slower is no failure, and is known from then on.
    let parallel =
        failover(&[After(10), After(100)], Settings { strategy: Strategy::Parallel, ..Settings::default() });
    for _ in 0..20 {
        took_ms(&parallel).await;
    }
    sleep(Duration::from_secs(5)).await;
    let counts: Vec<_> = parallel.tallies().iter().map(|tally| (tally.asked, tally.failed)).collect();
    assert_eq!(counts, [(20, 0), (20, 0)]);
    assert_eq!(parallel.tallies().iter().map(|tally| tally.extra).sum::<u64>(), 20);
    // Who has not answered when it should have is a failure all the same.
    let parallel =
        failover(&[After(10), Nothing], Settings { strategy: Strategy::Parallel, ..Settings::default() });
    took_ms(&parallel).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(parallel.tallies()[1].failed, 1);
}

#[tokio::test(start_paused = true)]
async fn the_fastest_is_found_and_who_declines_is_not_it() {
    use Does::{After, Decline};
    for (servers, fastest) in [(&[After(60), After(10)][..], 1), (&[Decline, After(60), After(10)], 2)] {
        let by_speed = failover(servers, Settings { strategy: Strategy::Fastest, ..Settings::default() });
        for _ in 0..1000 {
            took_ms(&by_speed).await;
        }
        let before: Vec<u64> = by_speed.tallies().iter().map(|tally| tally.asked).collect();
        for _ in 0..100 {
            assert!(took_ms(&by_speed).await < 15);
        }
        let after = by_speed.tallies();
        let asked = |place: usize| after[place].asked - before[place];
        assert_eq!(asked(fastest), 100);
        let extra: u64 = after.iter().map(|tally| tally.extra).sum();
        assert!((1..=55).contains(&extra), "{extra} of 1100");
    }
}

#[tokio::test(start_paused = true)]
async fn where_one_is_slower_than_it_mostly_is_another_is_asked_within_bounds() {
    use Does::{After, Mostly, Nothing};
    let by = |servers, hedge| failover(servers, Settings { hedge, ..Settings::default() });
    for (servers, hedge, slowest_ms) in [
        // By then it is late, and the next is asked in any case, or it is itself once more.
        (&[Mostly, After(5)][..], false, 55..59),
        (&[Mostly, After(5)], true, 20..45),
        (&[Mostly], true, 70..74),
        (&[Mostly, Nothing], true, 90..94),
    ] {
        let failover = by(servers, hedge);
        let mut slowest = 0;
        for n in 0..600 {
            // Until it is known how slow it mostly is.
            if n == 300 {
                slowest = 0;
            }
            // As a task, and begun without one.
            let at = Instant::now();
            match n % 2 {
                0 => failover.ask(&question("x", Rtype::A)).await.unwrap(),
                _ => begin(&failover, &question("x", Rtype::A)).await.unwrap(),
            };
            slowest = slowest.max(at.elapsed().as_millis());
        }
        assert!(slowest_ms.contains(&slowest), "{slowest}");
        let extra: u64 = failover.tallies().iter().map(|tally| tally.extra).sum();
        assert_eq!(extra > 0, hedge && matches!(servers, [_, After(_)]), "{extra}");
        assert!(extra * 20 <= 600, "{extra}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_never_answers_harms_no_others() {
    use Does::{After, NotEvil};
    let failover = Arc::new(failover(&[NotEvil, After(5)], Settings::default()));
    for burst in [3, 10, 28] {
        // Nothing else is asked meanwhile, so nothing else shows that the first one is well.
        let mut evil = JoinSet::new();
        for n in 0..burst {
            let failover = Arc::clone(&failover);
            let name = format!("n{n}.evil.example");
            evil.spawn(async move { failover.ask(&question(&name, Rtype::A)).await.is_ok() });
        }
        while let Some(answered) = evil.join_next().await {
            assert!(answered.unwrap());
        }
        // Long enough for whatever was begun to end.
        sleep(Duration::from_secs(2)).await;
        let second = failover.tallies()[1].asked;
        for _ in 0..28 {
            let took = took_ms(&failover).await;
            assert!((20..24).contains(&took), "{took}");
        }
        assert_eq!(failover.tallies()[1].asked, second);
    }
    // While it goes on, too.
    for _ in 0..28 {
        let evil = question("x.evil.example", Rtype::A);
        let (answered, took) = tokio::join!(failover.ask(&evil), took_ms(&failover));
        assert!(answered.is_ok() && (20..24).contains(&took), "{took}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_down_steps_back_and_no_question_waits_to_find_out() {
    use Does::{After, From};
    let failover = failover(&[From(60), After(5)], Settings::default());
    let begun = Instant::now();
    let mut waited = 0;
    while begun.elapsed() < Duration::from_secs(60) {
        waited += u32::from(took_ms(&failover).await > 10);
        sleep(Duration::from_millis(100)).await;
    }
    let tally = failover.tallies().remove(0);
    assert!(waited <= 4 && tally.asked == u64::from(waited), "{waited} {tally:?}");
    assert!((9..=13).contains(&tally.probes), "{tally:?}");
    while took_ms(&failover).await > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    let after = begun.elapsed();
    assert!(after < Duration::from_secs(66), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_our_own_want_is_nobodys_fault() {
    let failover = failover(&[Does::Want, Does::After(5)], Settings::default());
    for _ in 0..20 {
        took_ms(&failover).await;
    }
    let tally = failover.tallies().remove(0);
    assert_eq!((tally.asked, tally.probes), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_believed_of_servers_is_forgotten_when_the_network_is_another_one() {
    use Does::{After, From, Refuse};
    // Down for hours, and asked for all of them.
    let hours = 3 * 3600;
    let group = failover(&[From(3 * 3600), After(5)], Settings::default());
    let asked = |place: usize| group.tallies()[place].asked;
    let begun = Instant::now();
    // The last probe goes out just before it is back.
    while begun.elapsed().as_secs() < hours - 1 {
        group.ask(&question("x", Rtype::A)).await.unwrap();
        sleep(Duration::from_secs(17)).await;
    }
    sleep(Duration::from_secs(hours).saturating_sub(begun.elapsed())).await;
    let before = (asked(0), asked(1));
    group.network().changed();
    assert_eq!(took_ms(&group).await, 0);
    assert_eq!((asked(0), asked(1)), (before.0 + 1, before.1), "the first one alone");
    assert_eq!(renewed(&group), [1, 1], "and what was open is opened anew, once");
    took_ms(&group).await;
    assert_eq!(renewed(&group), [1, 1]);
    // When all are down, whoever answers first is a sign that others may.
    let all_down = failover(&[Refuse, From(60)], Settings::default());
    for _ in 0..4 {
        assert!(all_down.ask(&question("x", Rtype::A)).await.is_err());
    }
    sleep(Duration::from_secs(60)).await;
    let mut asking = JoinSet::new();
    let all_down = Arc::new(all_down);
    for _ in 0..20 {
        let all_down = Arc::clone(&all_down);
        asking.spawn(async move { all_down.ask(&question("x", Rtype::A)).await.is_ok() });
    }
    while let Some(answered) = asking.join_next().await {
        assert!(answered.unwrap());
    }
    assert_eq!(all_down.network().changes(), 1, "however many hear of it");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_asked_again_when_the_network_is_another_one() {
    use Does::{Answer, From, Refuse};
    /// What the servers do, and the time it takes in milliseconds where the network is another one after 2.1 seconds.
    type Case = (&'static [Does], u128);
    let cases: [Case; 3] = [(&[From(2)], 2100), (&[From(2), From(2)], 2100), (&[Refuse, Answer], 0)];
    for (servers, expected_ms) in cases {
        let group = failover(servers, Settings::default());
        let moves = async {
            sleep(Duration::from_millis(2100)).await;
            group.network().changed();
        };
        let (took, ()) = tokio::join!(took_ms(&group), moves);
        assert!((expected_ms..expected_ms + 4).contains(&took), "{took}");
    }
    // Without that it is asked again when it is due.
    let took = took_ms(&failover(&[From(2)], Settings::default())).await;
    assert!((3000..3004).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_sent_again_soon_and_then_less_so() {
    let alone = Arc::new(failover(&[Does::Loses], Settings::default()));
    for (others, answered) in [(false, 37), (true, 36)] {
        for _ in 0..answered {
            assert_eq!(took_ms(&alone).await, 0);
        }
        // Three are lost. Where the server answers somebody else meanwhile, the second try is as near as the first.
        let begun = Instant::now();
        let waiting = tokio::spawn({
            let alone = Arc::clone(&alone);
            async move { took_ms(&alone).await }
        });
        if others {
            for _ in 0..4 {
                sleep(Duration::from_millis(40)).await;
                alone.answered();
            }
        }
        let took = waiting.await.unwrap();
        assert!(if others { 200..300 } else { 1050..1060 }.contains(&took), "{others} {took}");
        assert!(begun.elapsed().as_millis() < 1100);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_always_slow_and_alone_is_asked_once() {
    let alone = failover(&[Does::After(1600)], Settings::default());
    for _ in 0..20 {
        assert!((1600..1604).contains(&took_ms(&alone).await));
    }
    // Once, until that was known.
    assert_eq!(alone.tallies()[0].asked, 21);
}

#[tokio::test(start_paused = true)]
async fn who_declines_everything_steps_back_and_who_declines_a_zone_does_not() {
    use Does::{After, Decline, DeclinesEvil};
    let declines = failover(&[Decline, After(5)], Settings::default());
    for _ in 0..100 {
        assert!((5..9).contains(&took_ms(&declines).await));
        sleep(Duration::from_millis(100)).await;
    }
    let tally = declines.tallies().remove(0);
    assert!(tally.asked <= 4 && (2..=4).contains(&tally.probes), "{tally:?}");
    let evil = question("x.evil.example", Rtype::A);
    let one_zone = failover(&[DeclinesEvil, After(5)], Settings::default());
    for _ in 0..100 {
        one_zone.ask(&evil).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert!((20..24).contains(&took_ms(&one_zone).await), "the first one is still asked first");
    let tally = one_zone.tallies().remove(0);
    assert!(tally.asked == 101 && tally.probes <= 11, "{tally:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_to_find_out_who_is_down_from_the_start() {
    use Does::{After, Decline, Nothing, Refuse};
    for (servers, took) in [
        (&[Nothing, After(5)][..], 5),
        (&[Decline, After(5)], 5),
        (&[Refuse, After(5)], 5),
        (&[After(20), Nothing], 20),
        (&[Nothing, Decline, After(5)], 5),
    ] {
        let group = failover(servers, Settings::default());
        group.meet();
        sleep(Duration::from_secs(1)).await;
        let probes: Vec<u64> = group.tallies().iter().map(|tally| tally.probes).collect();
        assert_eq!(probes, vec![1; servers.len()]);
        for _ in 0..3 {
            assert!((took..took + 4).contains(&took_ms(&group).await));
        }
        assert_eq!(group.tallies().iter().map(|tally| tally.asked).sum::<u64>(), 3);
        // Nobody is met twice.
        group.meet();
        assert!(group.tallies().iter().all(|tally| tally.probes == 1));
    }
    // Whoever asks before it is known waits as without, and one alone is asked in any case.
    let early = failover(&[Nothing, After(5)], Settings::default());
    early.meet();
    assert!((755..759).contains(&took_ms(&early).await));
    let alone = failover(&[Nothing], Settings::default());
    alone.meet();
    assert_eq!(alone.tallies()[0].probes, 0);
}

/// One server, asked so.
fn one(server: &str, does: Does) -> Arc<Failover<Scripted>> {
    let settings = Settings { servers: vec![server.parse().unwrap()], ..Settings::default() };
    Arc::new(Failover::new(&settings, |_: &Server| scripted(does), None))
}

/// When the first server was asked since it was last looked, in milliseconds, and whether by stream in place of a datagram. A timer may
/// fire a millisecond late.
fn tries(failover: &Failover<Scripted>) -> Vec<(u128, bool)> {
    let script = &failover.exchanges().next().unwrap().0;
    let tries = std::mem::take(&mut *script.tries.lock().unwrap());
    tries.into_iter().map(|(ms, by_stream)| (ms - ms % 10, by_stream)).collect()
}

#[tokio::test(start_paused = true)]
async fn one_that_is_silent_is_asked_three_times_by_a_transport() {
    use Does::{ByStream, Nothing};
    /// The server and what it does; whether it is known to be fast, and to answer others meanwhile; when it is asked, and whether by
    /// stream; how long that takes, and whether it is answered.
    type Case = (&'static str, Does, bool, bool, &'static [(u128, bool)], u128, bool);
    let seldom = &[(0, false), (1500, false), (3000, false)];
    let spread = &[(0, false), (50, false), (250, false), (1050, true)];
    let often = &[(0, false), (50, false), (100, false), (200, true)];
    let cases: [Case; 8] = [
        ("192.0.2.1", Nothing, false, false, seldom, 4000, false),
        ("192.0.2.1", Nothing, true, false, spread, 4000, false),
        ("192.0.2.1", Nothing, true, true, often, 4000, false),
        ("192.0.2.1", ByStream(true), true, true, often, 200, true),
        // It may have no streams at all.
        ("192.0.2.1", ByStream(false), true, true, often, 4000, false),
        ("tcp://192.0.2.1", Nothing, false, false, seldom, 4000, false),
        ("tcp://192.0.2.1", Nothing, true, false, &[(0, false), (250, false), (1250, false)], 4000, false),
        ("tls://192.0.2.1", Nothing, true, true, &[(0, false), (250, false), (500, false)], 4000, false),
    ];
    for (index, (server, does, is_fast, others, expected, took_ms, is_answered)) in
        cases.into_iter().enumerate()
    {
        let alone = one(server, does);
        if is_fast {
            alone.answered();
        }
        let begun = Instant::now();
        let asking = tokio::spawn({
            let alone = Arc::clone(&alone);
            async move { alone.ask(&question("x", Rtype::A)).await.is_ok() }
        });
        while others && begun.elapsed() < Duration::from_millis(600) {
            sleep(Duration::from_millis(40)).await;
            alone.answered();
        }
        assert_eq!((asking.await.unwrap(), &tries(&alone)[..]), (is_answered, expected), "{index}");
        let took = begun.elapsed().as_millis();
        assert!((took_ms..took_ms + 5).contains(&took) || others, "{index}: {took}");
    }
    // In another network nobody was asked yet.
    let alone = one("192.0.2.1", Nothing);
    alone.answered();
    let moves = async {
        sleep(Duration::from_secs(2)).await;
        alone.network().changed();
    };
    let question = question("x", Rtype::A);
    let (came, ()) = tokio::join!(alone.ask(&question), moves);
    let expected: Vec<_> =
        [0, 2000].iter().flat_map(|at| spread.map(|(ms, by_stream)| (at + ms, by_stream))).collect();
    assert_eq!((came.is_ok(), tries(&alone)), (false, expected));
}

#[tokio::test(start_paused = true)]
async fn one_that_does_nothing_but_decline_is_not_asked_everything_twice() {
    let alone = one("192.0.2.1", Does::Decline);
    for _ in 0..100 {
        alone.ask(&question("x", Rtype::A)).await.unwrap();
    }
    assert_eq!(alone.tallies()[0].asked, 116);
    alone.answered();
    tries(&alone);
    alone.ask(&question("x", Rtype::A)).await.unwrap();
    assert_eq!(tries(&alone).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_answered_lately_and_refuses_is_tried_until_it_is_back() {
    use Does::{Refuse, RefuseUntil};
    /// The server and what it does; how long ago it answered, in seconds; when it is asked, and whether by stream; whether it is answered.
    type Case = (&'static str, Does, Option<u64>, &'static [(u128, bool)], bool);
    let by_turns = &[(0, false), (100, true), (300, false), (700, true), (1500, false), (3100, true)];
    let connects = &[(0, false), (100, false), (300, false), (700, false), (1500, false), (3100, false)];
    let cases: [Case; 8] = [
        ("192.0.2.1", RefuseUntil(700), Some(0), &by_turns[..4], true),
        ("192.0.2.1", RefuseUntil(710), Some(0), &by_turns[..5], true),
        ("tcp://192.0.2.1", RefuseUntil(710), Some(0), &connects[..5], true),
        // Three datagrams and no more; what is not connected to is asked nothing.
        ("192.0.2.1", Refuse, Some(0), by_turns, false),
        ("tcp://192.0.2.1", Refuse, Some(9), connects, false),
        // Of one that has been away for long that is told at once.
        ("192.0.2.1", Refuse, Some(10), &by_turns[..1], false),
        ("192.0.2.1", RefuseUntil(50), None, &by_turns[..1], false),
        ("tcp://192.0.2.1", RefuseUntil(50), None, &by_turns[..1], false),
    ];
    for (index, (server, does, answered_s, expected, is_answered)) in cases.into_iter().enumerate() {
        let alone = one(server, does);
        let mut since = 0;
        if let Some(ago) = answered_s {
            alone.answered();
            sleep(Duration::from_secs(ago)).await;
            since = u128::from(ago) * 1000;
        }
        let question = question("x", Rtype::A);
        let came = if index % 2 == 0 { begin(&alone, &question).await } else { alone.ask(&question).await };
        let tries: Vec<_> =
            tries(&alone).into_iter().map(|(ms, by_stream)| (ms - since, by_stream)).collect();
        assert_eq!((came.is_ok(), &tries[..]), (is_answered, expected), "{index}");
        assert!(is_answered || matches!(came, Err(AskError::Network(_))), "{index}: {came:?}");
    }
}
