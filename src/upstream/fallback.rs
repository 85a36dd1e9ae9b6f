//! By datagram, and by stream where that does not do.

use super::Exchange;
use super::failure::Failure;
use super::message;
use crate::dns::Question;

/// Asks by datagram first.
#[derive(Debug)]
pub(super) struct Fallback<D, S> {
    datagram: D,
    stream: S,
}

impl<D, S> Fallback<D, S> {
    /// Both ask the same server.
    pub(super) fn new(datagram: D, stream: S) -> Fallback<D, S> {
        Fallback { datagram, stream }
    }
}

impl<D: Exchange, S: Exchange> Exchange for Fallback<D, S> {
    async fn exchange(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        match self.datagram.exchange(question).await {
            // RFC 2181 §9: a truncated reply is not used itself, but asked for again over TCP.
            Ok(reply) if message::is_truncated(&reply) => self.stream.exchange(question).await,
            // RFC 5452 §9.3: where somebody seems to guess, the question may be put again over TCP.
            Err(Failure::WrongReply) => self.stream.exchange(question).await,
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::testing::question;
    use crate::iana::Rtype;

    /// Says the same whatever is asked.
    struct Says(Result<&'static [u8], Failure>);

    impl Exchange for Says {
        async fn exchange(&self, _: &Question) -> Result<Vec<u8>, Failure> {
            self.0.clone().map(<[u8]>::to_vec)
        }
    }

    #[tokio::test]
    async fn truncated_replies_and_guesses_lead_to_the_stream() {
        let (whole, truncated): (&[u8], &[u8]) = (b"\0\0\x81\x80udp", b"\0\0\x83\x80udp");
        let by_stream = || Ok(&b"\0\0\x81\x80tcp"[..]);
        for (datagram, stream, expected) in [
            (Ok(whole), Err(Failure::Refused), Ok(whole)),
            (Ok(truncated), by_stream(), by_stream()),
            (Ok(truncated), Err(Failure::Refused), Err(Failure::Refused)),
            (Err(Failure::WrongReply), by_stream(), by_stream()),
            (Err(Failure::TimedOut), by_stream(), Err(Failure::TimedOut)),
            (Err(Failure::Refused), by_stream(), Err(Failure::Refused)),
            (Err(Failure::Busy), by_stream(), Err(Failure::Busy)),
        ] {
            let question = question("x", Rtype::A);
            let said = Fallback::new(Says(datagram.clone()), Says(stream)).exchange(&question).await;
            assert_eq!(said, expected.map(<[u8]>::to_vec), "{datagram:?}");
        }
    }
}
