//! The policy in force, written for other servers, so that they take the same names and no others.
//!
//! A policy is a tree of names. At each there are two things to tell: what happens to the name itself, and what happens to
//! all that lies below it and has no node of its own ([`Walk`]). Between nodes nothing changes, so these two are all there
//! is; a format's renderer says them in its own words, where they differ from what stands around the node.
//!
//! What a format has no words for is left out, counted and said. The rule is the same for all: who is listed may escape, who
//! is not is never taken. Where even that cannot be kept, because an innocent name inside a captured subtree has no form,
//! nothing is written at all.
//!
//! The names go through twice: once to count, since the comments that say what is left out stand in front, and once to
//! write. Nothing but the sorted names is held in memory.

mod dnsmasq;
mod effect;
mod lists;
mod rpz;
mod text;
mod unbound;
mod walk;

use std::fmt;
use std::io::{self, Write};

use super::time;
use crate::name::Name;
use crate::policy::{Action, Order, Policy, State};
use crate::time::UnixSeconds;
use effect::Effect;
use walk::{Node, Walk};

/// Where RPZ zones stand unless another origin is given: below `invalid.`, which never resolves (RFC 6761 §6.4).
pub const DEFAULT_ORIGIN: &str = "rpz.sinkscope.invalid";

/// Why something has no form in any format here.
const OTHER_TRIGGERS: &str = "triggers on clients, on addresses in answers and on name servers";
const PATTERNS: &str = "patterns";
/// What is said of an order that decides nothing.
const OBSERVED: &str = ", observed only: it changes no answer";

/// What an export is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A response policy zone: BIND, Unbound, PowerDNS Recursor, Knot Resolver, dnsdist and others.
    Rpz,
    /// Addresses and names as in `/etc/hosts`.
    Hosts,
    /// One name a line.
    Domains,
    /// Unbound's `local-zone` and `local-data`.
    Unbound,
    /// dnsmasq's `address`, `local` and `server`.
    Dnsmasq,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Request {
    /// For whom.
    pub format: Format,
    /// When the policy is in force: it is written as it stands at this time.
    pub at: UnixSeconds,
    /// The origin of an RPZ zone.
    pub origin: Name,
    /// How many names each order lists, by id, for the comments.
    pub listed: Vec<(String, usize)>,
}

/// A counted export, ready to be written.
pub struct Export<'p> {
    policy: &'p Policy,
    request: Request,
    walk: Walk<'p>,
    /// What will be written, and what will not.
    pub tally: Tally,
}

/// What an export holds and what it lacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Records or lines, comments not counted.
    pub lines: u64,
    /// Names and subtrees that are captured here and will not be there, by reason.
    pub left_out: Counts,
    /// Names that are captured there too but answered otherwise, by reason.
    pub changed: Counts,
    /// Records that the server takes only if it is told to, by reason.
    pub demanding: Counts,
    /// Names that must stay free and cannot: they have no form in this format, and what encloses them is captured.
    pub unspared: Counts,
}

impl Tally {
    /// What a reader must know, with the word for it.
    pub fn said(&self) -> [(&Counts, &'static str); 3] {
        [
            (&self.left_out, "left out"),
            (&self.changed, "answered otherwise"),
            (&self.demanding, "loaded only by a server that is told to"),
        ]
    }
}

/// How often each reason was met, in the order in which they first were. A reason says what is written, or not, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// Counts one more.
    fn add(&mut self, reason: &'static str) {
        self.add_many(reason, 1);
    }

    /// Counts so many more.
    fn add_many(&mut self, reason: &'static str, more: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            _ if more == 0 => {}
            Some((_, count)) => *count += more,
            None => self.0.push((reason, more)),
        }
    }

    /// The reasons and how often each was met.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }

    /// How often any was met.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

/// Writes nodes in the words of one format. It sees them in canonical order, each after all that enclose it.
trait Render<'p> {
    /// What stands in front of all nodes.
    fn head(&mut self, _out: &mut dyn Write, _tally: &mut Tally) -> io::Result<()> {
        Ok(())
    }

    /// One node.
    fn node(&mut self, node: &Node<'p>, out: &mut dyn Write, tally: &mut Tally) -> io::Result<()>;
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 5] =
        [Format::Rpz, Format::Hosts, Format::Domains, Format::Unbound, Format::Dnsmasq];

    /// The word the command line uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Rpz => "rpz",
            Format::Hosts => "hosts",
            Format::Domains => "domains",
            Format::Unbound => "unbound",
            Format::Dnsmasq => "dnsmasq",
        }
    }

    /// What begins a comment.
    fn comment(self) -> char {
        if self == Format::Rpz { ';' } else { '#' }
    }

    /// What a reader of the file must know, in sentences.
    fn notes(self) -> &'static [&'static str] {
        match self {
            Format::Rpz => &[
                "It is written for a client whom every policy zone concerns.",
                "Load it as the only policy zone, or before others that must not decide about the same names.",
                "A record rpz-passthru keeps a name out of a wildcard above it, and nothing else.",
            ],
            Format::Hosts => &["Each line means its name alone; nothing below it is meant."],
            Format::Domains => &[
                "Each line means that name alone; a reader that takes what lies below it, too, takes innocent names.",
            ],
            Format::Unbound => &["Include it in Unbound's configuration; it opens a server: clause."],
            Format::Dnsmasq => &[
                "For dnsmasq, as conf-file=; tried with 2.90. Its local-ttl is the TTL of these answers (0 unless set).",
                "It denies a name by NODATA where NXDOMAIN is meant, if it knows another name below.",
            ],
        }
    }

    /// Its renderer.
    fn renderer<'r, 'p: 'r>(self, policy: &'p Policy, request: &'r Request) -> Box<dyn Render<'p> + 'r> {
        match self {
            Format::Rpz => Box::new(rpz::Rpz::new(&request.origin, request.at, least_ttl_s(policy))),
            Format::Hosts => Box::new(lists::Hosts::default()),
            Format::Domains => Box::new(lists::Domains::default()),
            Format::Unbound => Box::new(unbound::Unbound::default()),
            Format::Dnsmasq => Box::new(dnsmasq::Dnsmasq::default()),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'p> Export<'p> {
    /// Sorts and counts. `progress` is told now and then how many names have been gone through.
    pub fn plan(policy: &'p Policy, request: Request, progress: &mut dyn FnMut(u64)) -> Export<'p> {
        let walk = Walk::of(policy, request.at);
        let mut export = Export { policy, request, walk, tally: Tally::default() };
        // Nothing is written here, so nothing can fail.
        export.tally = export.render(&mut io::sink(), progress).unwrap_or_default();
        export
    }

    /// How many names it goes through, once to plan and once to write.
    pub fn len(&self) -> usize {
        self.walk.len()
    }

    /// Whether no name is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes it; not to be called when [`Tally::unspared`] counted anything.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        self.comments(out)?;
        self.render(out, progress)?;
        out.flush()
    }

    /// Goes through all names once.
    fn render(&self, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> io::Result<Tally> {
        let mut tally = Tally::default();
        self.beyond_names(&mut tally);
        let mut renderer = self.request.format.renderer(self.policy, &self.request);
        renderer.head(out, &mut tally)?;
        self.walk.visit(progress, |node| renderer.node(node, out, &mut tally))?;
        Ok(tally)
    }

    /// Counts what is not about names asked for, or not about single ones.
    fn beyond_names(&self, tally: &mut Tally) {
        tally.left_out.add_many(OTHER_TRIGGERS, self.policy.other_triggers() as u64);
        for order in self.policy.orders() {
            for scope in &order.scopes {
                let Some(patterns) = &scope.patterns else { continue };
                // Whatever a pattern lets pass could be anywhere, below captured names as well.
                let frees = scope.action.unwrap_or(order.action) == Action::Passthru;
                let counts = if frees { &mut tally.unspared } else { &mut tally.left_out };
                counts.add_many(PATTERNS, patterns.0.texts().len() as u64);
            }
            for patterns in order.exemptions.iter().filter_map(|exemption| exemption.patterns.as_ref()) {
                tally.unspared.add_many(PATTERNS, patterns.0.texts().len() as u64);
            }
        }
    }

    /// What stands in front: who made this, of what, and what is missing.
    fn comments(&self, out: &mut dyn Write) -> io::Result<()> {
        let Request { format, at, listed, .. } = &self.request;
        let mark = format.comment();
        let version = env!("CARGO_PKG_VERSION");
        writeln!(
            out,
            "{mark} Sinkscope {version}, export --format {format}: the policy in force at {}",
            time::show(*at)
        )?;
        for note in format.notes() {
            writeln!(out, "{mark} {note}")?;
        }
        for (order, state) in self.policy.states(*at) {
            let id: String = order.id.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            let names = listed.iter().find(|(known, _)| *known == order.id).map_or(0, |(_, names)| *names);
            let s = if names == 1 { "" } else { "s" };
            writeln!(out, "{mark} order {id}: {names} name{s} listed{}", remark(order, state))?;
        }
        for (counts, what) in self.tally.said() {
            for (reason, count) in counts.iter() {
                writeln!(out, "{mark} {what}: {reason}: {count}")?;
            }
        }
        Ok(())
    }
}

/// What there is to say about an order that captures nothing, or not all that it lists.
fn remark(order: &Order, state: State) -> &'static str {
    let observes = |action: Option<Action>| action.unwrap_or(order.action) == Action::Observe;
    match state {
        State::Drafted => ", drafted only",
        State::Observing => OBSERVED,
        State::Held => ", held back: only the names it lists themselves are here",
        State::Lifted => ", lifted",
        State::NotYetEffective | State::Lapsed => ", not in force",
        State::InForce if order.scopes.iter().all(|scope| observes(scope.action)) => OBSERVED,
        State::InForce => "",
    }
}

/// The least TTL of the orders, in seconds: denials in a zone share one.
fn least_ttl_s(policy: &Policy) -> u32 {
    policy.orders().iter().map(|order| order.ttl_s).min().unwrap_or(crate::policy::order::DEFAULT_TTL_S)
}

/// What encloses the node that is looked at: something noted at nodes above it.
#[derive(Debug)]
struct Enclosing<T>(Vec<(usize, T)>);

impl<T> Default for Enclosing<T> {
    fn default() -> Enclosing<T> {
        Enclosing(Vec::new())
    }
}

impl<T: Copy> Enclosing<T> {
    /// What was noted closest above a node of so many labels. To be asked at every node, once: what does not enclose it is
    /// forgotten, for nodes come in an order in which it encloses none of the others either.
    fn of(&mut self, labels: usize) -> Option<T> {
        while self.0.last().is_some_and(|(depth, _)| *depth >= labels) {
            self.0.pop();
        }
        self.0.last().map(|(_, what)| *what)
    }

    /// Notes something at the node that was asked about last.
    fn note(&mut self, labels: usize, what: T) {
        self.0.push((labels, what));
    }
}
