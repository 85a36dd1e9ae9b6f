//! The keys of an order file with what they take and mean, for whoever writes one. A test holds them to what is read.

use std::fmt::Display;

use super::{ISSUERS, LONGEST_TTL_S, MAX_ADDRESSES, MAX_ID_CHARS, STANDINGS};
use crate::orders::canaries::MAX_CANARIES;
use crate::orders::scope::{ACTIONS, KINDS, MATCHES};
use crate::policy::order::{DEFAULT_TTL_S, MAX_TTL_S};

/// A key of an order file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The table it stands in: `""` for the file itself.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: String,
    /// What it means, in a sentence or two.
    pub about: String,
}

/// What text a key takes.
const TEXT: &str = "text";
/// A text, or several of them.
const TEXTS: &str = "a text or a list of texts";
/// A name, or several of them.
const NAMES: &str = "a name or a list of names";
/// A day or a moment.
const DATE: &str = "a date, such as 2014-06-30 or 2014-06-30T12:00:00Z";
/// A switch.
const FLAG: &str = "true or false";
/// A whole number.
const COUNT: &str = "a whole number";

/// All of them: those of the file, of a `[[scope]]` and of `lifted`, in the order in which people write them.
pub fn keys() -> Vec<Key> {
    let order = [
        ("id", TEXT.to_owned(), format!("Which order it is: 1 to {MAX_ID_CHARS} printable ASCII characters without spaces, and no other order has it. Needed.")),
        ("title", TEXT.to_owned(), "What people call it. Default: the id.".to_owned()),
        ("revision", COUNT.to_owned(), "Which version of the order this is. Default: 1.".to_owned()),
        ("kind", words(&ISSUERS), "Who ordered it. What a court, an agency or a registry ordered stands through pauses, groups and holds, and answers say Censored; an operator's say Blocked, a user's Filtered. Default: \"operator\".".to_owned()),
        ("issuer", TEXT.to_owned(), "Who issued it: the court, agency, registry or person.".to_owned()),
        ("court", TEXT.to_owned(), "Which court it is from.".to_owned()),
        ("jurisdiction", TEXT.to_owned(), "Whose law it is under.".to_owned()),
        ("docket", TEXT.to_owned(), "The number of the case; answers tell it.".to_owned()),
        ("document", TEXT.to_owned(), "The document's number within the docket.".to_owned()),
        ("document_sha256", "64 hexadecimal digits".to_owned(), "The SHA-256 of that document.".to_owned()),
        ("url", TEXT.to_owned(), "Where it can be read.".to_owned()),
        ("references", TEXTS.to_owned(), "Its ids in public databases, such as lumen:12345.".to_owned()),
        ("filed", DATE.to_owned(), "When it was applied for.".to_owned()),
        ("granted", DATE.to_owned(), "When it was granted.".to_owned()),
        ("effective", DATE.to_owned(), "From when on it acts. Default: always.".to_owned()),
        ("expires", DATE.to_owned(), "From when on it acts no more. Default: never.".to_owned()),
        ("review_by", DATE.to_owned(), "When somebody should look at it again; `order list` marks it then, nothing else changes.".to_owned()),
        ("standing", words(&STANDINGS), "How far it has got: not acted on, only counted, or acting. Default: \"in-force\".".to_owned()),
        ("lifted", "true, a date, or tables of their own".to_owned(), "That it is over, since when, by whom and why. The record of what was ordered stays.".to_owned()),
        ("zones", NAMES.to_owned(), "Where it may act: a listed name outside of them refuses the whole order. Default: anywhere.".to_owned()),
        ("action", words(&ACTIONS), "What happens to names. Default: \"sinkhole\".".to_owned()),
        ("addresses", "addresses of IPv4 and IPv6".to_owned(), format!("Where sinkholed names point, {MAX_ADDRESSES} of a family at most; a family of which none is given has no data. Default: 0.0.0.0 and ::, where nobody is.")),
        ("ttl", "seconds, or text such as \"30s\"".to_owned(), format!("How long clients may keep its answers, {MAX_TTL_S} s at most. Default: {DEFAULT_TTL_S}.")),
        ("allow_long_ttl", FLAG.to_owned(), format!("That a ttl of up to {LONGEST_TTL_S} s is meant: lifted names stay dark that long. Default: false.")),
        ("allow_public_suffix", FLAG.to_owned(), "That it may take everybody's names below a public suffix. Default: false, such an order is refused.".to_owned()),
        ("max_names", COUNT.to_owned(), "As many names the order says it lists: with more it is refused.".to_owned()),
        ("canaries", NAMES.to_owned(), format!("Innocent siblings that must go on resolving, {MAX_CANARIES} at most; they are asked for every 30 seconds.")),
        ("contact", TEXT.to_owned(), "Whom to ask about it: an address or a URL.".to_owned()),
        ("justification", TEXT.to_owned(), "Why it is there.".to_owned()),
        ("scope", "tables of their own".to_owned(), "Which names it takes, and how. Needed.".to_owned()),
    ];
    let scope = [
        ("match", words(&MATCHES), "What a listed name covers: itself, itself and all below it, all below it, or whole zones, which are the order's own if none are named. Needed.".to_owned()),
        ("names", NAMES.to_owned(), "The names.".to_owned()),
        ("file", TEXTS.to_owned(), "Files of names beside the order, one a line or in hosts format. Needed, or names.".to_owned()),
        ("files", TEXTS.to_owned(), "The same.".to_owned()),
        ("except", NAMES.to_owned(), "Names that the scope spares.".to_owned()),
        ("except_file", TEXTS.to_owned(), "Files of such names; one bad line refuses the order.".to_owned()),
        ("except_match", words(&KINDS), "What an exception covers. Needed with exceptions.".to_owned()),
        ("action", words(&ACTIONS), "What happens to these names. Default: the order's.".to_owned()),
        ("effective", DATE.to_owned(), "From when on it acts, within the order's own time.".to_owned()),
        ("expires", DATE.to_owned(), "From when on it acts no more.".to_owned()),
        ("family", TEXT.to_owned(), "The malware family or the like, for reports.".to_owned()),
        ("tags", TEXTS.to_owned(), "Free words for reports.".to_owned()),
    ];
    let lifted = [
        ("at", DATE.to_owned(), "Since when. Default: always.".to_owned()),
        ("by", TEXT.to_owned(), "Who said so.".to_owned()),
        ("why", TEXT.to_owned(), "Why.".to_owned()),
        ("zones", NAMES.to_owned(), "These zones of the order alone. Default: all of it.".to_owned()),
    ];
    let key = |table| move |(name, takes, about)| Key { table, name, takes, about };
    let scope = scope.into_iter().map(key("scope"));
    order.into_iter().map(key("")).chain(scope).chain(lifted.into_iter().map(key("lifted"))).collect()
}

/// One of some words.
fn words(words: &[impl Display]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}
