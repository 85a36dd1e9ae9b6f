//! Messages on a stream of octets, each behind its length.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Octets of a length (RFC 1035 §4.2.2).
const LENGTH_LEN: usize = 2;
/// Room for what is read at once: many replies of ordinary size.
const READ_LEN: usize = 4096;
/// What may wait to be written before no more is taken: a thousand queries of ordinary size, on a stream whose other end does
/// not read.
const MAX_UNWRITTEN: usize = 65_536;

/// Messages that come in. What is kept is one message at most, and what was read with its end; memory grows with the octets
/// that came, never because a length promises them.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    octets: Vec<u8>,
    /// Where the next message's length stands in `octets`.
    next: usize,
}

impl Incoming {
    /// Reads until a message is whole; none once the stream ended between two messages. May be dropped and called again.
    ///
    /// # Errors
    /// The stream's own, and `UnexpectedEof` when it ends within a message.
    pub(super) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            self.octets.drain(..self.next);
            self.next = 0;
            self.octets.reserve(READ_LEN);
            if stream.read_buf(&mut self.octets).await? == 0 {
                let ended = if self.octets.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof) };
                return Ok(ended?);
            }
        }
    }

    /// The next message, if it is all here.
    fn take(&mut self) -> Option<Vec<u8>> {
        // RFC 1035 §4.2.2: "The message is prefixed with a two byte length field which gives the message length, excluding
        // the two byte length field."
        let (length, rest) = self.octets.get(self.next..)?.split_first_chunk::<LENGTH_LEN>()?;
        let message = rest.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec();
        self.next += LENGTH_LEN + message.len();
        Some(message)
    }
}

/// Messages that go out: as many in one write as there are.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    octets: Vec<u8>,
    /// How many of them were written.
    written: usize,
}

impl Outgoing {
    /// Appends a message; a longer one than a length can say is not sent, and false.
    pub(super) fn push(&mut self, message: &[u8]) -> bool {
        let Ok(length) = u16::try_from(message.len()) else { return false };
        // RFC 7766 §8: "clients and servers SHOULD pass the two-octet length field, and the message described by that length
        // field, to the TCP layer at the same time".
        self.octets.extend_from_slice(&length.to_be_bytes());
        self.octets.extend_from_slice(message);
        true
    }

    /// Whether more should be taken: the other end keeps up.
    pub(super) fn has_room(&self) -> bool {
        self.octets.len() < MAX_UNWRITTEN
    }

    /// Whether there is nothing to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Writes all there is. May be dropped and called again.
    ///
    /// # Errors
    /// The stream's own, and `WriteZero` when it takes no more.
    pub(super) async fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.octets.get(self.written..) {
            match stream.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        // A stream that encrypts may keep the last octets until it is told that no more come.
        stream.flush().await?;
        self.octets.clear();
        self.written = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;

    use super::*;

    /// All messages in `octets`, which come in pieces of `step`, and how the stream ended.
    async fn read(octets: &[u8], step: usize) -> (Vec<Vec<u8>>, io::Result<()>) {
        let (mut ours, mut theirs) = tokio::io::duplex(step);
        let octets = octets.to_vec();
        tokio::spawn(async move { theirs.write_all(&octets).await });
        let (mut incoming, mut messages) = (Incoming::default(), Vec::new());
        loop {
            match incoming.next(&mut ours).await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(error) => return (messages, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn messages_are_read_however_they_are_cut() {
        /// What comes, the messages in it, and whether it ended between two.
        type Case = (&'static [u8], &'static [&'static [u8]], bool);
        let cases: [Case; 7] = [
            (b"", &[], true),
            (b"\x00\x03abc", &[b"abc"], true),
            (b"\x00\x00\x00\x01a\x00\x02bc", &[b"", b"a", b"bc"], true),
            (b"\x00", &[], false),
            (b"\x00\x03", &[], false),
            (b"\x00\x03abc\x00\x03ab", &[b"abc"], false),
            (b"\xff\xffabc", &[], false),
        ];
        for (octets, expected, whole) in cases {
            for step in [1, 2, 3, 64] {
                let (messages, end) = read(octets, step).await;
                assert_eq!(messages, expected, "{octets:?} by {step}");
                assert_eq!(end.map_err(|error| error.kind()).err().is_none(), whole, "{octets:?} by {step}");
            }
        }
    }

    #[tokio::test]
    async fn a_length_alone_takes_no_memory() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(b"\xff\xffabc").await.unwrap();
        drop(theirs);
        let mut incoming = Incoming::default();
        incoming.next(&mut ours).await.unwrap_err();
        assert!(incoming.octets.capacity() <= 3 * READ_LEN, "{}", incoming.octets.capacity());
    }

    /// Notes each write and takes so many octets of it.
    struct Writes(Vec<Vec<u8>>, usize);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            octets: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = octets.len().min(self.1);
            self.0.push(octets[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_there_goes_out_in_one_write() {
        let (mut outgoing, mut stream) = (Outgoing::default(), Writes(Vec::new(), 1 << 20));
        assert!(outgoing.push(b"abc") && outgoing.push(b"d") && outgoing.has_room());
        assert!(outgoing.push(&[7; 65_535]) && !outgoing.has_room());
        assert!(!outgoing.push(&[7; 65_536]));
        outgoing.write(&mut stream).await.unwrap();
        assert!(outgoing.is_empty() && outgoing.has_room());
        assert_eq!(stream.0.len(), 1);
        assert!(stream.0[0].starts_with(b"\x00\x03abc\x00\x01d\xff\xff\x07") && stream.0[0].len() == 65_545);
        // A stream that takes less gets the rest after it; one that takes nothing is at its end.
        let mut slow = Writes(Vec::new(), 2);
        outgoing.push(b"abc");
        outgoing.write(&mut slow).await.unwrap();
        assert_eq!(slow.0, [&b"\x00\x03"[..], b"ab", b"c"]);
        outgoing.push(b"abc");
        let error = outgoing.write(&mut Writes(Vec::new(), 0)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_in(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20), step in 1_usize..700) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let come = runtime.block_on(async {
                let (mut outgoing, mut stream) = (Outgoing::default(), Writes(Vec::new(), step));
                messages.iter().for_each(|message| assert!(outgoing.push(message)));
                outgoing.write(&mut stream).await.unwrap();
                read(&stream.0.concat(), step).await.0
            });
            prop_assert_eq!(come, messages);
        }
    }
}
