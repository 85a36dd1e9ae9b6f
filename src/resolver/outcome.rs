//! What became of a query, on both paths, and who looks on.

use std::time::Duration;

use crate::iana::Rcode;
use crate::name::Name;
use crate::policy::{Hit, Verdict};
use crate::serve::Client;
use crate::time::UnixSeconds;

/// Where what is told came from, or why nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Made by an order's action; the truth was not looked at.
    Forged,
    /// Said here: special names (RFC 6761), ANY (RFC 8482).
    Local,
    /// Said here: the client's group is told nothing of that type.
    Filtered,
    /// Upstream's word, from the cache.
    Cached,
    /// The same, expired, because no upstream answered (RFC 8767).
    Stale,
    /// Upstream's word, asked for with this query.
    Fetched,
    /// No upstream answered when it was asked with this query, or there was no room to ask.
    Failed,
    /// None did a moment ago (RFC 9520).
    CachedFailure,
    /// Judging the answer takes more questions than one query may ask.
    Unjudged,
    /// It does not desire recursion, and without asking there is no answer.
    NoRecursion,
    /// The client is not served.
    Denied,
    /// It asks for what nobody is told here, or before the orders stand.
    Unserved,
}

impl Source {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Forged => "forged",
            Source::Local => "local",
            Source::Filtered => "filtered",
            Source::Cached => "cached",
            Source::Stale => "stale",
            Source::Fetched => "fetched",
            Source::Failed => "failed",
            Source::CachedFailure => "cached-failure",
            Source::Unjudged => "unjudged",
            Source::NoRecursion => "no-recursion",
            Source::Denied => "denied",
            Source::Unserved => "unserved",
        }
    }
}

/// What became of a query. The reply itself is octets; this is what is behind them.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'o> {
    /// Where what is told came from.
    pub source: Source,
    /// What policy decided, by the name asked for or by what its answer leads to.
    pub verdict: Verdict<'o>,
    /// Orders that only look on, each as often as it is about a name on the way.
    pub observed: &'o [Hit<'o>],
    /// The response code of the reply; none if there is no reply.
    pub rcode: Option<Rcode>,
    /// The reply's octets; empty if there is none.
    pub reply: &'o [u8],
    /// The name that the verdict is about, if that may be another than the one asked for.
    pub decisive: Option<&'o Name>,
}

impl<'o> Outcome<'o> {
    /// The orders that had to do with it: the one that decided, then those that only look on.
    pub fn hits(&self) -> impl Iterator<Item = &Hit<'o>> {
        self.verdict.hit().into_iter().chain(self.observed)
    }
}

/// A query as observers see it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Who asks, and how; port 0 is nobody's: this server asks itself.
    pub client: Client,
    /// The question as it came: name, type and class.
    pub question: &'r [u8],
    /// When it came.
    pub at: UnixSeconds,
    /// All of it as it came; empty where nobody wants to know, or it is too long to be kept.
    pub packet: &'r [u8],
    /// When it came and when it was answered, by the clock that only goes forward.
    pub took: [Duration; 2],
}

/// Somebody who looks at what became of queries. Called once for each, on the thread that answered it: it neither waits nor fails,
/// and nothing of the answer depends on it.
pub trait Observe {
    /// Takes note of a query.
    fn answered(&mut self, request: &Request<'_>, outcome: &Outcome<'_>);
}

impl Request<'_> {
    /// The name asked for, folded. It is read when somebody wants it: most do not.
    pub fn qname(&self) -> Option<Name> {
        Name::at_start_of(self.question)
    }
}

/// What would become of a query now.
#[derive(Clone, Debug)]
pub struct Foreseen<'g> {
    /// Where its answer would come from; none if an upstream would have to be asked first.
    pub source: Option<Source>,
    /// What policy would decide, as far as that is known.
    pub verdict: Verdict<'g>,
    /// The name that would decide: the one asked for, or one that its answer leads to.
    pub decisive: Option<Name>,
}

/// What is found out about a query on its way. It may be decided in several goes, and only the last one counts.
pub(super) struct Findings<'g> {
    source: Source,
    verdict: Verdict<'g>,
    /// The name that this is about.
    decisive: Option<Name>,
    /// Nearly always empty, and then nothing is allocated.
    observed: Vec<Hit<'g>>,
}

impl<'g> Findings<'g> {
    /// Nothing but where its answer comes from.
    pub(super) fn of(source: Source) -> Findings<'g> {
        Findings { source, verdict: Verdict::Clear, decisive: None, observed: Vec::new() }
    }

    /// Takes in where what is told comes from.
    pub(super) fn from(&mut self, source: Source) {
        self.source = source;
    }

    /// Whether what is told comes from there.
    pub(super) fn is_from(&self, source: Source) -> bool {
        self.source == source
    }

    /// Takes a verdict about a name in. One name at most decides.
    pub(super) fn decided(&mut self, name: &Name, verdict: &Verdict<'g>) {
        if *verdict != Verdict::Clear {
            (self.verdict, self.decisive) = (*verdict, Some(*name));
        }
    }

    /// Takes in who only looks on.
    pub(super) fn observed(&mut self, hit: Option<&Hit<'g>>) {
        self.observed.extend(hit);
    }

    /// All of it as a forecast; `known` says that nobody had to be asked.
    pub(super) fn foreseen(self, known: bool) -> Foreseen<'g> {
        let Findings { source, verdict, decisive, .. } = self;
        Foreseen { source: known.then_some(source), verdict, decisive }
    }

    /// All of it, with the reply and its response code, if there is one.
    pub(super) fn outcome<'o>(&'o self, reply: Option<(Rcode, &'o [u8])>) -> Outcome<'o> {
        let Findings { source, verdict, ref decisive, ref observed } = *self;
        let (rcode, reply) = reply.map_or((None, &[][..]), |(rcode, reply)| (Some(rcode), reply));
        Outcome { source, verdict, observed, rcode, reply, decisive: decisive.as_ref() }
    }
}
