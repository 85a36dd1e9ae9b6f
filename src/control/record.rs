//! What somebody changed about an order, or what else is on record, as the journal keeps it and the API tells it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::name::Name;
use crate::policy::{MatchKind, Order, Override, Standing, Window};
use crate::time::UnixSeconds;

/// What the record before the first one is taken to hash to.
pub const NO_RECORD: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What stands between a record and its own hash, at the end of its line.
const HASH_KEY: &str = ",\"sha256\":\"";
/// Who holds orders back, in the journal.
pub const BLAST_LIMIT: &str = "blast limit";
/// How long an order is held back by a record of the time when holds had no end: it was written as an observation, in
/// seconds from the record on.
const OLD_HOLD_S: UnixSeconds = 3600;
/// Hexadecimal digits of a SHA-256.
const HASH_LEN: usize = 64;

/// What is done, to an order or beside orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It is acted on from now on.
    Activate,
    /// It is counted and not acted on from now on.
    Observe,
    /// What it takes beyond the names it lists is counted and not acted on, for a while: a guard says so, nobody else.
    Hold,
    /// It is no longer acted on.
    Lift,
    /// What its file says holds again: what was stated at run time is taken back.
    Restore,
    /// It stood in a journal that was refused, and goes on standing.
    Carry,
    /// Another configuration is in effect.
    Configure,
    /// A list holds something else, or is no longer there.
    List,
    /// The operator's own lists are left aside for a while.
    Pause,
    /// They are not any longer.
    Resume,
    /// Somebody speaks to the control API: the first time, and then once an hour at most.
    LogIn,
    /// Somebody was not let in by it; once an hour at most.
    Refuse,
    /// The records up to here are signed by the key that it is about.
    Sign,
}

impl Verb {
    /// What people may ask for, in the order of an order's life.
    pub const ASKED: [Verb; 4] = [Verb::Activate, Verb::Observe, Verb::Lift, Verb::Restore];

    /// The word commands and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Activate => "activate",
            Verb::Observe => "observe",
            Verb::Hold => "hold",
            Verb::Lift => "lift",
            Verb::Restore => "restore",
            Verb::Carry => "carry",
            Verb::Configure => "configure",
            Verb::List => "list",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::LogIn => "log-in",
            Verb::Refuse => "refuse",
            Verb::Sign => "sign",
        }
    }

    /// How what it is about stands afterwards; none when a statement is taken back.
    pub fn standing(self) -> Option<RecordedStanding> {
        match self {
            Verb::Activate => Some(RecordedStanding::InForce),
            Verb::Observe => Some(RecordedStanding::Observing),
            Verb::Hold => Some(RecordedStanding::Held),
            Verb::Lift => Some(RecordedStanding::Lifted),
            Verb::Restore | Verb::Carry => None,
            Verb::Configure | Verb::List | Verb::Pause | Verb::Resume => None,
            Verb::LogIn | Verb::Refuse | Verb::Sign => None,
        }
    }

    /// Whether it is about orders.
    pub fn is_of_orders(self) -> bool {
        match self {
            Verb::Activate | Verb::Observe | Verb::Hold | Verb::Lift | Verb::Restore | Verb::Carry => true,
            Verb::Configure | Verb::List | Verb::Pause | Verb::Resume => false,
            Verb::LogIn | Verb::Refuse | Verb::Sign => false,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far an order has got, whatever its window says: policy's [`Standing`] as journal and API write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Stand")]
pub enum RecordedStanding {
    /// Written down, not acted on, not counted.
    Drafted,
    /// Counted, not acted on.
    Observing,
    /// Held back for a while: names it lists are acted on, what it takes beyond them is counted.
    Held,
    /// Acted on.
    InForce,
    /// No longer acted on.
    Lifted,
}

impl From<Standing> for RecordedStanding {
    fn from(standing: Standing) -> RecordedStanding {
        match standing {
            Standing::Drafted => RecordedStanding::Drafted,
            Standing::Observing => RecordedStanding::Observing,
            Standing::Held => RecordedStanding::Held,
            Standing::InForce => RecordedStanding::InForce,
            Standing::Lifted => RecordedStanding::Lifted,
        }
    }
}

impl From<RecordedStanding> for Standing {
    fn from(stand: RecordedStanding) -> Standing {
        match stand {
            RecordedStanding::Drafted => Standing::Drafted,
            RecordedStanding::Observing => Standing::Observing,
            RecordedStanding::Held => Standing::Held,
            RecordedStanding::InForce => Standing::InForce,
            RecordedStanding::Lifted => Standing::Lifted,
        }
    }
}

impl fmt::Display for RecordedStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Standing::from(*self).fmt(f)
    }
}

/// How a name covers others: policy's [`MatchKind`] as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The name itself only.
    #[default]
    Exact,
    /// The name and everything below it.
    Subtree,
    /// Everything below the name, not the name itself.
    SubtreeBelow,
}

impl From<MatchKind> for Match {
    fn from(kind: MatchKind) -> Match {
        match kind {
            MatchKind::Exact => Match::Exact,
            MatchKind::Subtree => Match::Subtree,
            MatchKind::SubtreeBelow => Match::SubtreeBelow,
        }
    }
}

impl From<Match> for MatchKind {
    fn from(kind: Match) -> MatchKind {
        match kind {
            Match::Exact => MatchKind::Exact,
            Match::Subtree => MatchKind::Subtree,
            Match::SubtreeBelow => MatchKind::SubtreeBelow,
        }
    }
}

/// Names that a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Names {
    /// A name, in lower case, as zone files write it.
    pub name: String,
    /// Which names around it are meant.
    #[serde(rename = "match")]
    pub kind: Match,
}

impl Names {
    /// The same as policy has it; none if it is no name.
    pub fn parsed(&self) -> Option<(Name, MatchKind)> {
        // The root alone is a name that names have no label for.
        let name = if self.name == "." { Name::ROOT } else { self.name.parse().ok()? };
        Some((name, self.kind.into()))
    }
}

impl From<&(Name, MatchKind)> for Names {
    fn from((name, kind): &(Name, MatchKind)) -> Names {
        Names { name: name.to_string(), kind: (*kind).into() }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Match::Exact => f.write_str(&self.name),
            Match::Subtree => write!(f, "{} and below", self.name),
            Match::SubtreeBelow => write!(f, "below {}", self.name),
        }
    }
}

/// One change of one order, or of its hold on some names, or of something else: what was done, and the proof of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Counts the records, from 1.
    pub seq: u64,
    /// When, in RFC 3339.
    pub at: String,
    /// When, in Unix seconds.
    pub unix: UnixSeconds,
    /// Who, as the server knows it: "uid 1000", "token ops", "local".
    pub who: String,
    /// On whose behalf, as who asked says; empty if not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What was done.
    pub verb: Verb,
    /// The order's id; empty where it is not about orders.
    pub order: String,
    /// What else it is about: a list, a group of clients, the address of who speaks; empty where it is about orders.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The names it is about; none means the whole order.
    pub names: Option<Names>,
    /// How they stand since then because it was stated; none means as the order's file says.
    pub standing: Option<RecordedStanding>,
    /// First second in which that is over by itself, in Unix seconds: the end of a hold or of a pause. None means for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixSeconds>,
    /// How they stood before; none if the order was not loaded.
    pub from: Option<RecordedStanding>,
    /// The digest of what was in effect before, where contents are others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub was: String,
    /// The digest of what is in effect since then, or a signature.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub now: String,
    /// Why, as who asked says, or what is different; empty if not said.
    pub why: String,
    /// Seconds after which no client holds an answer that was forged for them: the TTL handed out. None if they are still
    /// acted on.
    pub bound_s: Option<u32>,
    /// The hash of the record before.
    pub prev: String,
    /// The SHA-256 of this record's line up to this key, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
}

/// Why a line of a journal is not taken for the record it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// It is not UTF-8.
    NoText,
    /// It is no JSON of a record; what is wrong with it.
    NoRecord(String),
    /// Somebody altered it: it does not hash to what it says.
    OtherHash,
    /// It is about what is no name; this.
    NoName(String),
    /// A record before it was taken out, or it was moved.
    OutOfOrder {
        /// Its number.
        seq: u64,
    },
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRecord::NoText => f.write_str("is no text"),
            BadRecord::NoRecord(error) => write!(f, "is no record: {error}"),
            BadRecord::OtherHash => f.write_str("is not what was written: its hash is another"),
            BadRecord::NoName(name) => write!(f, "has no name: \"{name}\""),
            BadRecord::OutOfOrder { seq } => write!(f, "record {seq} does not follow the one before"),
        }
    }
}

impl std::error::Error for BadRecord {}

impl Record {
    /// The record as a line of the journal, with its hash put in.
    pub fn seal(mut self) -> (Record, String) {
        self.sha256.clear();
        // Text and numbers alone: there is nothing in it that JSON could refuse.
        let mut line = serde_json::to_string(&self).unwrap_or_default();
        line.pop();
        self.sha256 = hash(&line);
        line.push_str(HASH_KEY);
        line.push_str(&self.sha256);
        line.push_str("\"}");
        (self, line)
    }

    /// Reads a line of the journal and holds it against its own hash.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(line: &str) -> Result<Record, BadRecord> {
        let record: Record =
            serde_json::from_str(line).map_err(|error| BadRecord::NoRecord(error.to_string()))?;
        let end = line.len().checked_sub(HASH_KEY.len() + HASH_LEN + 2);
        let said =
            end.and_then(|end| line.split_at_checked(end)).filter(|(_, tail)| tail.starts_with(HASH_KEY));
        match said {
            Some((said, _)) if hash(said) == record.sha256 => Ok(record),
            _ => Err(BadRecord::OtherHash),
        }
    }

    /// What it states; none if it takes a statement back, or is about what is no name.
    pub fn as_override(&self) -> Option<Override> {
        let names = match &self.names {
            Some(names) => Some(names.parsed()?),
            None => None,
        };
        let (standing, window) = match self.hold() {
            Some(window) => (Standing::Held, window),
            None => (self.standing?.into(), Window::ALWAYS),
        };
        Some(Override { order: self.order.clone(), names, standing, window, over_names: false })
    }

    /// When it holds an order back, if it is about that.
    pub fn hold(&self) -> Option<Window> {
        let until = match self.standing? {
            RecordedStanding::Held => self.until.unwrap_or(self.unix),
            RecordedStanding::Observing if self.verb == Verb::Observe && self.who == BLAST_LIMIT => {
                self.unix.saturating_add(OLD_HOLD_S)
            }
            _ => return None,
        };
        Some(Window { effective: Some(self.unix), expires: Some(until), review_by: None })
    }

    /// How what it is about stands at `at` because of it, in an order that is loaded or not; none if it says nothing of that
    /// second.
    pub fn stands(&self, order: Option<&Order>, at: UnixSeconds) -> Option<Standing> {
        match self.hold() {
            Some(window) => {
                let holds = window.contains(at) && order.is_none_or(Order::may_be_held);
                holds.then_some(Standing::Held)
            }
            None => self.standing.map(Into::into),
        }
    }
}

/// A SHA-256 in hexadecimal digits.
pub fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hold as it was written when holds had no end.
    const OLD_HOLD: &str = r#"{"seq":1,"at":"2026-01-01T00:00:00Z","unix":1767225600,"who":"blast limit","verb":"observe","order":"a","names":null,"standing":"observing","from":"in-force","why":"it would newly take 20.0 % of recent queries and 50.0 % of their names; the blast limit is 10 %","bound_s":10,"prev":"0000000000000000000000000000000000000000000000000000000000000000","sha256":"15429ee16c7717f906583ab6c5419d08ac6ed33aa7d0d0eb4199568bc96c14a1"}"#;

    fn record(verb: Verb, order: &str, names: Option<(&str, Match)>) -> Record {
        Record {
            seq: 1,
            at: "2026-01-01T00:00:00Z".into(),
            unix: 1_767_225_600,
            who: "uid 0".into(),
            by: String::new(),
            verb,
            order: order.into(),
            about: String::new(),
            was: String::new(),
            now: String::new(),
            names: names.map(|(name, kind)| Names { name: name.into(), kind }),
            standing: verb.standing(),
            until: None,
            from: Some(RecordedStanding::InForce),
            why: "it was \"settled\"".into(),
            bound_s: Some(10),
            prev: NO_RECORD.into(),
            sha256: String::new(),
        }
    }

    #[test]
    fn a_hold_ends_and_so_does_one_that_was_written_without_an_end() {
        let hold = |verb, who: &str, until| Record { who: who.into(), until, ..record(verb, "a", None) };
        let old = Record::open(OLD_HOLD).unwrap();
        let at = 1_767_225_600;
        let mut court = Order::new("a");
        court.authority.kind = crate::policy::IssuerKind::Court;
        let plain = Order::new("a");
        use Standing::{Held, Lifted, Observing};
        for (what, record, when, expected) in [
            ("before", hold(Verb::Hold, BLAST_LIMIT, Some(at + 60)), at - 1, None),
            ("at once", hold(Verb::Hold, BLAST_LIMIT, Some(at + 60)), at, Some(Held)),
            ("up to its end", hold(Verb::Hold, BLAST_LIMIT, Some(at + 60)), at + 59, Some(Held)),
            ("then no more", hold(Verb::Hold, BLAST_LIMIT, Some(at + 60)), at + 60, None),
            ("without an end it never was", hold(Verb::Hold, BLAST_LIMIT, None), at, None),
            ("an old one", old.clone(), old.unix + 3599, Some(Held)),
            ("an old one ends", old.clone(), old.unix + 3600, None),
            (
                "what people observe is no hold",
                hold(Verb::Observe, "uid 0", None),
                at + 9999,
                Some(Observing),
            ),
            ("nor is what they lift", hold(Verb::Lift, "uid 0", None), at + 9999, Some(Lifted)),
        ] {
            assert_eq!(record.stands(Some(&plain), when), expected, "{what}");
            let court_too = expected.filter(|standing| *standing != Held);
            assert_eq!(record.stands(Some(&court), when), court_too, "{what}, of a court");
        }
    }

    #[test]
    fn a_line_is_one_octet_for_octet_or_refused() {
        let (sealed, line) = record(Verb::Lift, "a", Some(("x.example", Match::Exact))).seal();
        assert_eq!(Record::open(&line), Ok(sealed));
        for place in 0..line.len() {
            let mut octets = line.clone().into_bytes();
            // Another character that JSON takes nearly everywhere.
            octets[place] = if octets[place] == b'7' { b'8' } else { b'7' };
            let changed = String::from_utf8(octets).unwrap();
            let refused = Record::open(&changed);
            assert!(
                matches!(refused, Err(BadRecord::OtherHash | BadRecord::NoRecord(_))),
                "octet {place}: {changed}"
            );
        }
    }
}
