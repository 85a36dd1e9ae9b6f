//! Which Extended DNS Errors (RFC 8914) answers carry, and when: for whoever reads one. `tests/book.rs` holds the table to the code.

use crate::iana::EdeCode;

/// Every code that is sent by itself, with when; up to four of an upstream are passed on besides.
pub const SENT: [(EdeCode, &str); 14] = [
    (
        EdeCode::OTHER,
        "Too many questions are under way, judging the answer takes too many, aliases lead on and on, or an answer is too long to be told; its text says which.",
    ),
    (
        EdeCode::STALE_ANSWER,
        "The answer has expired and is told because no upstream gave a fresh one (RFC 8767).",
    ),
    (
        EdeCode::FORGED_ANSWER,
        "An order or list gave the answer its data. It stands behind the code that says whose it is; a denial has that one alone.",
    ),
    (
        EdeCode::RRSIGS_MISSING,
        "Signatures were asked for and no upstream can be had: the answer at hand has none.",
    ),
    (
        EdeCode::CACHED_ERROR,
        "It failed a moment ago, and is not tried again yet (RFC 9520). It stands behind what failed.",
    ),
    (EdeCode::NOT_READY, "The orders are not loaded yet, and `orders.while_loading` is \"not-ready\"."),
    (
        EdeCode::BLOCKED,
        "An order or list of the operator took the name: the text names it. Or an answer from outside led to an address of this network (`[rebinding]`).",
    ),
    (
        EdeCode::CENSORED,
        "An order of a court, an agency or a registry took the name. The text names it, with its docket.",
    ),
    (
        EdeCode::FILTERED,
        "A list that users asked for took the name, or the client's group is told nothing of this type (`filter`).",
    ),
    (EdeCode::PROHIBITED, "The client is not served: `[access]` says who is."),
    (EdeCode::STALE_NXDOMAIN_ANSWER, "The same as Stale Answer, where it is that there is no such name."),
    (EdeCode::NOT_AUTHORITATIVE, "Recursion was not desired (RD=0), and the answer is not known here."),
    (
        EdeCode::NO_REACHABLE_AUTHORITY,
        "No upstream answered in time, or those that did declined: the text says what they replied.",
    ),
    (
        EdeCode::NETWORK_ERROR,
        "An upstream could not be reached or did not prove who it is (over TLS the text says what is wrong with its certificate), or its reply was no answer.",
    ),
];
