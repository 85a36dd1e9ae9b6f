//! A few channels to one server, kept open for the questions to come.
//!
//! They are called streams here, which most are. One of HTTP/2 or QUIC has a stream for each question, and is one here all the same.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::Exchange;
use super::channel::{Channel, Opens};
use super::failure::Failure;
use super::message::{Manner, Query};
use super::stream::MAX_WAITING;
use super::turns::{Replies, Turns};
use super::watch::Watched;
use crate::dns::Question;

/// Streams to one upstream: RFC 7766 §6.2.2 asks for few, and RFC 9113 §9.1 for one where one takes all there is to ask.
const MAX_STREAMS: usize = 4;
/// Streams to one upstream with those that are left to whoever waits on them: what hangs must not use up descriptors.
pub(super) const MAX_WITH_LEFT: usize = 2 * MAX_STREAMS;
/// Streams to one upstream that closes each after its first reply, or answers one question after the other on each: as many as questions,
/// and no more than these. Of those that bring a few replies there are fewer; [`MAX_STREAMS`] are enough for what brings eight.
pub const MAX_OPEN_STREAMS: usize = 32;
/// Replies that a stream brings as far as anybody knows.
const ANY_NUMBER: usize = usize::MAX;
/// Questions on one stream that somebody waits for: a quarter of its places, for those that were given up keep theirs.
const MAX_PER_STREAM: usize = MAX_WAITING / 4;

/// The streams to one server: at most [`MAX_STREAMS`], opened when all that there are have no place left; more where each is closed
/// after a few replies, or is for one question at a time.
#[derive(Debug)]
pub(super) struct Pool<O: Opens> {
    opens: O,
    /// After how long a stream on which nothing came since a question went out counts as hung.
    hung_after: Duration,
    kept: Mutex<Kept<O::Channel>>,
    /// Held while connecting, so that a burst of questions opens one stream; no longer than `hung_after`, and not at all where each is for
    /// few questions.
    connecting: tokio::sync::Mutex<()>,
    /// Told when the way to the server may be another one.
    renewed: Notify,
    /// Told when one that was being opened is open, or given up, and when a place is given back.
    settled: Notify,
    watch: Option<Arc<Watched>>,
}

/// The streams that questions may be put on.
#[derive(Debug)]
struct Kept<C> {
    streams: Vec<Arc<Stream<C>>>,
    /// Those that brought nothing, as long as somebody waits on them.
    left: Vec<Weak<Stream<C>>>,
    /// Streams that are being opened: one, and those that hang in it as long as somebody waits.
    opening: usize,
    /// Streams that were ever opened.
    opened: u64,
    /// How many replies a stream brings before the server closes it, whoever waits; [`ANY_NUMBER`] unless it was seen to.
    brings: usize,
    /// Whether the server answers one question after the other on each, if that was seen lately.
    turns: Option<Turns>,
}

/// An open stream.
#[derive(Debug)]
struct Stream<C> {
    channel: C,
    /// Which of those opened it is, from 1.
    number: u64,
    /// Questions that wait on it.
    under_way: AtomicUsize,
    /// Replies that came on it, wrapping.
    replies: AtomicUsize,
    /// In what order they came.
    order: Mutex<Replies>,
}

/// A stream that is being opened; ends on drop, also when nobody waits any more.
struct Opening<'p, C> {
    kept: &'p Mutex<Kept<C>>,
    settled: &'p Notify,
}

/// A question's place on a stream, given back on drop: also when its time is up.
struct Place<'p, O: Opens> {
    pool: &'p Pool<O>,
    stream: Arc<Stream<O::Channel>>,
    /// The stream's replies when the question went out.
    replies_before: usize,
    /// Streams that had been opened when the question went out, this one among them.
    opened_before: u64,
    /// Whether the stream was opened for this question.
    fresh: bool,
    /// Which of the stream's questions this is, and how many were waiting before it.
    number: u64,
    ahead: usize,
}

impl<O: Opens> Pool<O> {
    /// Connects when first asked. No new question goes to a stream that brings nothing for `hung_after`.
    pub(super) fn new(opens: O, hung_after: Duration) -> Pool<O> {
        let kept = Mutex::new(Kept {
            streams: Vec::new(),
            left: Vec::new(),
            opening: 0,
            opened: 0,
            brings: ANY_NUMBER,
            turns: None,
        });
        Pool {
            opens,
            hung_after,
            kept,
            connecting: tokio::sync::Mutex::default(),
            renewed: Notify::new(),
            settled: Notify::new(),
            watch: None,
        }
    }

    /// The same, of whose messages somebody is told if anybody is.
    pub(super) fn watched(self, watch: Option<Arc<Watched>>) -> Pool<O> {
        Pool { watch, ..self }
    }

    /// A place on a stream opened after that many others: one that is there, or a new one.
    async fn place(&self, after: u64) -> Result<Place<'_, O>, Failure> {
        if let Some(place) = self.kept_place(after) {
            return Ok(place);
        }
        let connecting = self.connecting.lock().await;
        let _opening = loop {
            // Another question may just have opened one.
            if let Some(place) = self.kept_place(after) {
                return Ok(place);
            }
            match Opening::begin(&self.kept, &self.settled) {
                Some(opening) => break opening,
                // All there may be hang in being opened, and are listened for even when their questions are over: whichever of them
                // comes to something first, or ends, will do. So will the next of those that soon end.
                None if lock(&self.kept).may_change() => self.settled.notified().await,
                None => return Err(Failure::Busy),
            }
        };
        // One that is for few questions is not waited for by others, who need one of their own.
        let connecting = (!lock(&self.kept).are_many()).then_some(connecting);
        let channel = self.open(connecting).await?;
        let mut kept = lock(&self.kept);
        kept.opened += 1;
        let number = kept.opened;
        let (under_way, replies) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let stream = Arc::new(Stream { channel, number, under_way, replies, order: Mutex::default() });
        kept.streams.push(Arc::clone(&stream));
        Place::take(self, &kept, &stream, true, MAX_PER_STREAM).ok_or(Failure::Busy)
    }

    /// Opens one, and lets others open theirs once that hangs.
    async fn open(
        &self,
        mut connecting: Option<tokio::sync::MutexGuard<'_, ()>>,
    ) -> Result<O::Channel, Failure> {
        // From before it is begun, and not anew in each turn: what is told in between would be lost.
        let mut renewed = pin!(self.renewed.notified());
        let mut opening = pin!(self.opens.open());
        let (mut hangs, mut is_anew) = (pin!(sleep(self.hung_after)), false);
        loop {
            tokio::select! {
                biased;
                channel = &mut opening => return channel,
                // What was sent went another way, and the system waits longer each time before it sends it again. Once: where links
                // come and go all the time, something has to come to its end.
                () = &mut renewed, if !is_anew => {
                    opening.set(self.opens.open());
                    is_anew = true;
                }
                // It may hang for as long as this question has time. Others are not to wait for that, but for one of their own; what
                // comes of this one is a stream all the same.
                () = &mut hangs, if connecting.is_some() => drop(connecting.take()),
            }
        }
    }

    /// A place on one of the streams that are there, those that were closed left out.
    fn kept_place(&self, after: u64) -> Option<Place<'_, O>> {
        let mut kept = lock(&self.kept);
        kept.leave_closed();
        kept.note_replies();
        let has_room = kept.has_room();
        let young = || kept.streams.iter().filter(|stream| stream.number > after);
        let place = |most| young().find_map(|stream| Place::take(self, &kept, stream, false, most));
        match kept.turns {
            // Where there are no more streams two wait on one: then it is seen, too, if one overtakes the other.
            Some(Turns::OneByOne) if has_room => place(1),
            Some(Turns::OneByOne) => place(1).or_else(|| place(2)),
            Some(Turns::AtOnce) | None => place(MAX_PER_STREAM),
        }
    }
}

impl<O: Opens> Exchange for Pool<O> {
    async fn exchange(&self, question: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
        // Who is not on the way to the server cannot write into a stream, so there is nothing to guess.
        let manner = Manner { mixed_case: false, padded: O::PADDED, ..manner };
        let query = || Query::new(question, manner).watched(self.watch.as_ref());
        let mut place = self.place(0).await?;
        let mut may_be_idle = true;
        loop {
            let (fresh, opened_before) = (place.fresh, place.opened_before);
            let (stream, replies_before) = (Arc::clone(&place.stream), place.replies_before);
            let reply = place.ask(query(), self.hung_after).await;
            let replies = stream.replies.load(Ordering::Relaxed);
            let has_replied = replies != replies_before;
            // Whoever holds it counts as somebody who waits on it.
            drop(stream);
            match reply {
                // RFC 7766 §6.2.4: a server may close an idle connection at any time, so a question that finds it closed is asked
                // once more, on one opened since: all that are older may be as dead. So is one on a connection that brought others
                // their replies before it was closed, as often as that happens: some servers close after each reply, and each of
                // all that wait has its turn. Whoever tries bounds it in time.
                Err(failure) if failure.is_closing() && (!fresh || has_replied) => {
                    if has_replied {
                        lock(&self.kept).note_end(replies);
                    }
                    place = self.place(opened_before).await?;
                }
                // A new one may have been idle for too long as well, before the question was there: once that is believed.
                Err(Failure::Closed | Failure::Failed(_)) if std::mem::take(&mut may_be_idle) => {
                    place = self.place(opened_before).await?;
                }
                result => return result,
            }
        }
    }

    fn renew(&self) {
        lock(&self.kept).leave_all();
        self.opens.renew();
        self.renewed.notify_waiters();
    }
}

impl<'p, C: Channel> Opening<'p, C> {
    /// Begins, if there is room for one more.
    fn begin(kept: &'p Mutex<Kept<C>>, settled: &'p Notify) -> Option<Opening<'p, C>> {
        let mut locked = lock(kept);
        locked.has_room().then(|| locked.opening += 1)?;
        Some(Opening { kept, settled })
    }
}

impl<C> Drop for Opening<'_, C> {
    fn drop(&mut self) {
        lock(self.kept).opening -= 1;
        self.settled.notify_one();
    }
}

impl<'p, O: Opens> Place<'p, O> {
    /// Takes a place, if there is one of so many.
    fn take(
        pool: &'p Pool<O>,
        kept: &Kept<O::Channel>,
        stream: &Arc<Stream<O::Channel>>,
        fresh: bool,
        most: usize,
    ) -> Option<Place<'p, O>> {
        let replies_before = stream.replies.load(Ordering::Relaxed);
        let most = stream.channel.room().min(kept.places(replies_before)).min(most);
        let room = |under_way| (under_way < most).then_some(under_way + 1);
        let ahead = stream.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        let (opened_before, number) = (kept.opened, lock(&stream.order).ask());
        let stream = Arc::clone(stream);
        Some(Place { pool, stream, replies_before, opened_before, fresh, number, ahead })
    }

    /// Asks, and gives the place back.
    async fn ask(self, query: Query, hung_after: Duration) -> Result<Vec<u8>, Failure> {
        let begun = Instant::now();
        let mut asking = pin!(self.stream.channel.ask(query));
        let reply = match timeout(hung_after, &mut asking).await {
            Ok(reply) => reply,
            Err(_) => {
                // Whoever asks once more needs another stream, and what comes on this one is a reply all the same.
                self.leave_if_silent();
                asking.await
            }
        };
        // A server that has nothing but a status to say has said something.
        if matches!(reply, Ok(_) | Err(Failure::Http(_))) {
            self.stream.replies.fetch_add(1, Ordering::Relaxed);
            let shown = lock(&self.stream.order).came(self.number, self.ahead, begun.elapsed());
            if let Some(turns) = shown {
                lock(&self.pool.kept).note_turns(turns);
            }
        }
        reply
    }

    /// A stream that brought nothing since the question went out is closed, hung, or confused: no new question goes there,
    /// and it ends with the questions that are on it. One that answered others was merely slow with this one.
    fn leave_if_silent(&self) {
        if self.stream.replies.load(Ordering::Relaxed) == self.replies_before {
            lock(&self.pool.kept).leave(&self.stream);
        }
    }
}

impl<C: Channel> Kept<C> {
    /// Whether one more may be opened.
    fn has_room(&mut self) -> bool {
        self.left.retain(is_open);
        let most = self.most_streams();
        self.streams.len() < most
            && self.streams.len() + self.left.len() + self.opening < most.max(MAX_WITH_LEFT)
    }

    /// Whether room is lacking for no more than that some hang in being opened, or that each is for few questions.
    fn may_change(&self) -> bool {
        self.are_many() || (self.opening > 0 && self.streams.len() < MAX_STREAMS)
    }

    /// How many streams there may be: the fewer questions each is for, the more.
    fn most_streams(&self) -> usize {
        let for_each = if self.turns == Some(Turns::OneByOne) { 1 } else { self.brings.max(1) };
        MAX_STREAMS.max(MAX_OPEN_STREAMS / for_each)
    }

    /// Whether each stream is for so few questions that there may be more of them than otherwise.
    fn are_many(&self) -> bool {
        self.most_streams() > MAX_STREAMS
    }

    /// How many questions may wait on a stream that has brought so many replies: as many as it is likely to bring yet, and one to see
    /// whether it brings more.
    fn places(&self, replies: usize) -> usize {
        self.brings.saturating_sub(replies).clamp(1, MAX_PER_STREAM)
    }

    /// A stream is closed after so many replies, whoever waits for more.
    fn note_end(&mut self, replies: usize) {
        // Of what brings more than may wait on it, it is not known to be a habit, nor would it be of matter.
        self.brings = if replies < MAX_PER_STREAM { replies.max(1) } else { ANY_NUMBER };
    }

    /// Streams that are open may have brought more than others did before they were closed: then all may bring twice as many.
    fn note_replies(&mut self) {
        if self.brings != ANY_NUMBER {
            let most = self.streams.iter().map(|stream| stream.replies.load(Ordering::Relaxed)).max();
            if let Some(most) = most.filter(|most| *most > self.brings) {
                self.note_end(2 * most);
                self.leave_too_many();
            }
        }
    }

    /// A stream has shown this: as others will do, until one shows otherwise.
    fn note_turns(&mut self, turns: Turns) {
        if self.turns != Some(turns) {
            self.turns = Some(turns);
            self.leave_too_many();
        }
    }

    /// Puts no new question on those that are more than there may be. Who waits on one has its reply all the same.
    fn leave_too_many(&mut self) {
        let most = self.streams.len().min(self.most_streams());
        self.left.extend(self.streams.drain(most..).map(|stream| Arc::downgrade(&stream)));
    }

    /// Puts no new question on those that there are, and forgets how the server treated them.
    fn leave_all(&mut self) {
        (self.brings, self.turns) = (ANY_NUMBER, None);
        self.left.extend(self.streams.drain(..).map(|stream| Arc::downgrade(&stream)));
    }

    /// Puts no new question on those that take none. What they still owe may be waited for: so long they are open.
    fn leave_closed(&mut self) {
        let closed = self.streams.extract_if(.., |stream| stream.channel.is_closed());
        self.left.extend(closed.map(|stream| Arc::downgrade(&stream)));
        self.left.retain(is_open);
    }

    /// Puts no new question on that one.
    fn leave(&mut self, stream: &Arc<Stream<C>>) {
        let before = self.streams.len();
        self.streams.retain(|other| !Arc::ptr_eq(other, stream));
        if self.streams.len() < before {
            self.left.push(Arc::downgrade(stream));
        }
    }
}

impl<O: Opens> Drop for Place<'_, O> {
    fn drop(&mut self) {
        self.stream.under_way.fetch_sub(1, Ordering::Relaxed);
        self.leave_if_silent();
        self.pool.settled.notify_one();
    }
}

/// Whether somebody waits on a stream, and something may come.
fn is_open<C: Channel>(stream: &Weak<Stream<C>>) -> bool {
    stream.upgrade().is_some_and(|stream| !stream.channel.is_over())
}

/// The streams, or what is known of one; whoever panicked with them left them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinSet;

    use super::*;
    use crate::iana::{Class, Rtype};
    use crate::upstream::stream::Connect;

    /// What a server does with the question of a number on the stream of a number, both from 0.
    type Script = fn(usize, usize) -> Does;

    /// What a server does with a question.
    enum Does {
        Answer,
        Nothing,
        Close,
        /// Answers after 100 ms, and reads the next question then.
        Slowly,
        /// Answers after 100 ms and closes.
        Last,
    }

    /// Opens streams to a server that follows a script; each comes after a turn of the scheduler.
    struct Scripted {
        script: Script,
        opened: AtomicUsize,
        /// Streams that are open, and the most that ever were.
        open: Arc<(AtomicUsize, AtomicUsize)>,
    }

    impl Connect for Scripted {
        type Stream = DuplexStream;

        async fn connect(&self) -> io::Result<DuplexStream> {
            let stream = self.opened.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let (ours, theirs) = duplex(1 << 16);
            let (script, open) = (self.script, Arc::clone(&self.open));
            open.1.fetch_max(open.0.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::spawn(async move {
                let _ = serve(theirs, stream, script).await;
                open.0.fetch_sub(1, Ordering::Relaxed);
            });
            Ok(ours)
        }
    }

    /// One stream of the server.
    async fn serve(mut stream: DuplexStream, number: usize, script: Script) -> io::Result<()> {
        for question in 0.. {
            let length = stream.read_u16().await?;
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await?;
            match script(number, question) {
                Does::Close => break,
                Does::Nothing => continue,
                Does::Answer => {}
                Does::Slowly | Does::Last => sleep(Duration::from_millis(100)).await,
            }
            message[2] |= 0x80;
            stream.write_u16(length).await?;
            stream.write_all(&message).await?;
            if matches!(script(number, question), Does::Last) {
                break;
            }
        }
        Ok(())
    }

    /// Opens streams, of which the first so many come to nothing.
    struct Hanging(AtomicUsize);

    impl Connect for Hanging {
        type Stream = DuplexStream;

        async fn connect(&self) -> io::Result<DuplexStream> {
            let left = |left: usize| left.checked_sub(1);
            if self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
                std::future::pending::<()>().await;
            }
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(serve(theirs, 0, |_, _| Does::Answer));
            Ok(ours)
        }
    }

    fn pool(script: Script) -> Arc<Pool<Scripted>> {
        let scripted = Scripted { script, opened: AtomicUsize::new(0), open: Arc::default() };
        Arc::new(Pool::new(scripted, Duration::from_secs(1)))
    }

    async fn ask<O: Opens>(pool: &Pool<O>) -> Result<Vec<u8>, Failure> {
        let (qtype, qclass) = (Rtype::A, Class::IN);
        let qname = "x".parse().unwrap();
        let question =
            Question { qname, qtype, qclass, dnssec_ok: false, checking_disabled: false, asked_for: None };
        pool.exchange(&question, Manner::PLAIN).await
    }

    /// How many milliseconds each of so many questions takes that come so many apart; every one is answered.
    async fn times(pool: &Arc<Pool<Scripted>>, count: u32, apart_ms: u64) -> Vec<u128> {
        let mut asking = JoinSet::new();
        for at in 0..count {
            let pool = Arc::clone(pool);
            asking.spawn(async move {
                sleep(Duration::from_millis(apart_ms) * at).await;
                let begun = Instant::now();
                ask(&pool).await.map(|_| begun.elapsed().as_millis())
            });
        }
        asking.join_all().await.into_iter().map(|took| took.unwrap()).collect()
    }

    fn opened(pool: &Pool<Scripted>) -> usize {
        pool.opens.opened.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_question_that_finds_its_stream_dead_is_asked_once_more() {
        let cases: [(&str, Script, &[bool], usize); 5] = [
            ("kept", |_, _| Does::Answer, &[true, true, true], 1),
            ("one question each", |_, n| if n == 0 { Does::Answer } else { Does::Close }, &[true; 4], 4),
            ("always closed", |_, _| Does::Close, &[false, false], 4),
            (
                "the first closed at once",
                |n, _| if n == 0 { Does::Close } else { Does::Answer },
                &[true, true],
                2,
            ),
            (
                "closed for good",
                |stream, n| if (stream, n) == (0, 0) { Does::Answer } else { Does::Close },
                &[true, false],
                3,
            ),
        ];
        for (what, script, answered, streams) in cases {
            let pool = pool(script);
            for expected in answered {
                let result = ask(&pool).await;
                assert_eq!(result.is_ok(), *expected, "{what}");
                assert!(result.is_ok() || result == Err(Failure::Closed), "{what}");
            }
            assert_eq!(opened(&pool), streams, "{what}");
        }
    }

    #[tokio::test]
    async fn all_who_find_their_stream_dead_share_the_next() {
        // The first stream answers one question, holds the others, and closes with the last of them.
        let pool = pool(|stream, question| match (stream, question) {
            (0, 1..50) => Does::Nothing,
            (0, 50..) => Does::Close,
            _ => Does::Answer,
        });
        ask(&pool).await.unwrap();
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            let pool = Arc::clone(&pool);
            asking.spawn(async move { ask(&pool).await });
        }
        while let Some(result) = asking.join_next().await {
            result.unwrap().unwrap();
        }
        assert_eq!(opened(&pool), 2);
    }

    #[tokio::test]
    async fn each_has_its_turn_where_a_stream_brings_few_replies() {
        let scripts: [Script; 3] = [
            |_, question| if question < 1 { Does::Answer } else { Does::Close },
            |_, question| if question < 2 { Does::Answer } else { Does::Close },
            |_, question| if question < 5 { Does::Answer } else { Does::Close },
        ];
        for script in scripts {
            let pool = pool(script);
            let mut asking = JoinSet::new();
            for _ in 0..16 {
                let pool = Arc::clone(&pool);
                asking.spawn(async move { ask(&pool).await });
            }
            while let Some(result) = asking.join_next().await {
                assert!(result.unwrap().is_ok());
            }
            assert!((4..=16).contains(&opened(&pool)), "{}", opened(&pool));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_each_stream_brings_one_reply_each_question_has_its_own() {
        let pool = pool(|_, _| Does::Last);
        // These find out.
        times(&pool, 8, 0).await;
        let took = times(&pool, 200, 12).await;
        assert!(took.iter().all(|ms| (100..110).contains(ms)), "{took:?}");
        // More than there may be streams take turns.
        let took = times(&pool, 3 * MAX_OPEN_STREAMS as u32, 0).await;
        assert!(took.iter().all(|ms| *ms < 310), "{took:?}");
        assert_eq!(pool.opens.open.1.load(Ordering::Relaxed), MAX_OPEN_STREAMS);
        // In another network another server may have the address.
        pool.renew();
        assert!(!lock(&pool.kept).are_many());
    }

    #[tokio::test(start_paused = true)]
    async fn where_questions_are_answered_one_by_one_each_has_a_stream() {
        let pool = pool(|_, _| Does::Slowly);
        // The stream that all of these are on takes as long as all of them.
        let took = times(&pool, 12, 12).await;
        assert!(took.iter().max().unwrap() > &1000, "{took:?}");
        let took = times(&pool, 200, 12).await;
        assert!(took.iter().all(|ms| (100..110).contains(ms)), "{took:?}");
        // Twice as many as there may be streams, and then more, take turns.
        for (count, limit_ms) in [(2 * MAX_OPEN_STREAMS, 210), (4 * MAX_OPEN_STREAMS, 410)] {
            let took = times(&pool, u32::try_from(count).unwrap(), 0).await;
            assert!(took.iter().all(|ms| *ms < limit_ms), "{took:?}");
        }
        assert_eq!(pool.opens.open.1.load(Ordering::Relaxed), MAX_OPEN_STREAMS);
        // One that is overtaken shows that it is otherwise by now.
        lock(&pool.kept).note_turns(Turns::AtOnce);
        let kept = lock(&pool.kept);
        assert!(!kept.are_many() && kept.streams.len() == MAX_STREAMS);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_bring_more_are_few_again() {
        let pool = pool(|stream, _| if stream < 40 { Does::Last } else { Does::Answer });
        times(&pool, 60, 0).await;
        assert!(lock(&pool.kept).are_many());
        for _ in 0..10 {
            times(&pool, 100, 0).await;
        }
        let before = opened(&pool);
        times(&pool, 100, 0).await;
        assert_eq!((opened(&pool), lock(&pool.kept).brings), (before, ANY_NUMBER));
        assert!(lock(&pool.kept).streams.len() <= MAX_STREAMS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_stream_is_left_and_a_slow_one_is_not() {
        let patience = Duration::from_secs(1);
        let hung = pool(|stream, _| if stream == 0 { Does::Nothing } else { Does::Answer });
        assert!(timeout(patience, ask(&hung)).await.is_err());
        assert!(timeout(patience, ask(&hung)).await.unwrap().is_ok());
        assert_eq!(opened(&hung), 2);
        // The first of three is not answered, the others are: the stream stays.
        let slow = pool(|_, question| if question == 0 { Does::Nothing } else { Does::Answer });
        let (first, second, third) =
            tokio::join!(timeout(patience, ask(&slow)), timeout(patience, ask(&slow)), ask(&slow));
        assert!(first.is_err() && second.unwrap().is_ok() && third.is_ok());
        assert!(ask(&slow).await.is_ok());
        assert_eq!(opened(&slow), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_hang_are_bounded_while_somebody_waits_on_them() {
        let pool = pool(|_, _| Does::Nothing);
        let mut asking = JoinSet::new();
        for _ in 0..2 * MAX_WITH_LEFT {
            let waiting = Arc::clone(&pool);
            asking.spawn(async move { ask(&waiting).await });
            // By now the stream counts as hung, and the next question goes on another one.
            sleep(Duration::from_millis(1100)).await;
        }
        assert_eq!((opened(&pool), ask(&pool).await), (MAX_WITH_LEFT, Err(Failure::Busy)));
        // Once nobody waits, there is room.
        asking.shutdown().await;
        assert!(timeout(Duration::from_millis(100), ask(&pool)).await.is_err());
        assert_eq!(opened(&pool), MAX_WITH_LEFT + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_and_questions_are_bounded() {
        let pool = pool(|_, _| Does::Nothing);
        let mut asking = JoinSet::new();
        for _ in 0..MAX_STREAMS * MAX_PER_STREAM + 3 {
            let pool = Arc::clone(&pool);
            asking.spawn(async move { timeout(Duration::from_secs(1), ask(&pool)).await });
        }
        let (mut busy, mut silent) = (0, 0);
        while let Some(result) = asking.join_next().await {
            match result.unwrap() {
                Ok(result) => {
                    assert_eq!(result, Err(Failure::Busy));
                    busy += 1;
                }
                Err(_) => silent += 1,
            }
        }
        assert_eq!((busy, silent, opened(&pool)), (3, MAX_STREAMS * MAX_PER_STREAM, MAX_STREAMS));
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_way_is_another_one_streams_are_left_to_those_who_wait_on_them() {
        // The first stream answers its second question only when a third has come.
        let pool =
            pool(|stream, question| if (stream, question) == (0, 1) { Does::Nothing } else { Does::Answer });
        ask(&pool).await.unwrap();
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { timeout(Duration::from_millis(500), ask(&pool)).await.is_err() }
        });
        sleep(Duration::from_millis(100)).await;
        pool.renew();
        assert!(ask(&pool).await.is_ok());
        assert_eq!(
            (opened(&pool), lock(&pool.kept).left.iter().filter(|left| left.strong_count() > 0).count()),
            (2, 1)
        );
        assert!(waiting.await.unwrap());
        assert_eq!(lock(&pool.kept).left.iter().filter(|left| left.strong_count() > 0).count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_while_it_is_opened_is_opened_anew_when_the_way_is_another_one() {
        // After how long the way is another one, how long is waited, and how long it takes.
        for (renewed_after_ms, patience_ms, expected_ms) in
            [(100, 5000, Some(100)), (900, 5000, Some(900)), (100, 50, None)]
        {
            let pool = Arc::new(Pool::new(Hanging(AtomicUsize::new(1)), Duration::from_secs(1)));
            let begun = Instant::now();
            let asking = async {
                let asked = timeout(Duration::from_millis(patience_ms), ask(&pool)).await;
                asked.is_ok_and(|reply| reply.is_ok()).then(|| begun.elapsed().as_millis())
            };
            let renewing = async {
                sleep(Duration::from_millis(renewed_after_ms)).await;
                pool.renew();
            };
            let (took, ()) = tokio::join!(asking, renewing);
            assert_eq!(took.map(|ms| ms - ms % 10), expected_ms);
            assert_eq!(lock(&pool.kept).opening, 0);
        }
        // Where links come and go all the time, it comes to its end all the same.
        let pool = Arc::new(Pool::new(Hanging(AtomicUsize::new(3)), Duration::from_secs(1)));
        let flapping = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                loop {
                    sleep(Duration::from_millis(100)).await;
                    pool.renew();
                }
            }
        });
        assert!(timeout(Duration::from_secs(5), ask(&pool)).await.is_err());
        flapping.abort();
        assert_eq!(pool.opens.0.load(Ordering::Relaxed), 1, "it was opened anew once");
    }
}
