//! Scenario files: what a network says and does, step by step, and what Sinkscope must answer.
//!
//! A file is a list of statements, each at the start of a line; indented lines below belong to it; `#` comments.
//!
//! ```text
//! title: what this scenario shows
//! config:                      the configuration file's text; none means the defaults
//! file orders/a.toml:          a file beside it
//! remove orders/a.toml         that file goes away
//! rpz NAME [switch]...:        a response policy zone behind all orders, in the order given; given again it replaces itself
//! rpz NAME gone                that zone goes away
//! upstream NAME TYPE:          what upstream says to that question; unscripted ones get a plain answer
//! upstream NAME TYPE: do       the same when asked with DO; `cd` and `do+cd` likewise
//! upstream NAME TYPE: for=192.0.2.0/24  the same when asked for that network of clients; a line `scope 24` says whom the answer is for
//! upstream NAME TYPE: timeout  or `refused`: no upstream answers it
//! upstream NAME TYPE: octets   it says these octets, in hexadecimal
//! upstream-of GROUP NAME TYPE: what is said to it by whoever is asked for a group of clients by a [[forward]] of its own
//! upstream down | up           no upstream answers anything
//! advance 5s                   both clocks move on
//! time 2026-01-01T00:00:00Z    the wall clock is set
//! order VERB ID [NAME]         `lift`, `observe`, `activate` or `restore` an order, or its hold on a name and what is below
//! pause 5m [GROUP]             what is not ordered from outside pauses for that long, for a group or everybody
//! resume [GROUP]               that ends
//! reload:                      orders and files of local names are read again; the problems of orders reported
//! configure:                   the configuration file is another from now on
//! restart 5m:                  the process is another one after so long, with what was cached, perhaps by another configuration
//! flush NAME [TYPE]            what is cached of a name is forgotten; `below NAME [TYPE]` and `all` likewise
//! ask NAME TYPE [word]...:     a query, and the whole reply
//! crowded NAME TYPE [word]...: the same when there is no room to wait for upstream
//! begin NAME TYPE [word]...    a query comes and waits for upstream
//! end:                         all that wait are answered at the same time: the replies in their order
//! send [from=ADDRESS] HEX:     a query of these octets, and the whole reply
//! counted NAME=VALUE...        what the resolver has counted
//! ```
//!
//! A zone that gives `@` no SOA starts with `$TTL 60` and the SOA `. . 1 2 3 4 60`. Its switches are those of
//! [`RpzSpec`](sinkscope::orders::rpz::RpzSpec): `wildcards=draft|unbound|closest action=WORD cname=NAME max_ttl=N kind=user
//! without_rd=no break_dnssec=no`.
//!
//! Words for `ask`: `tcp do cd ad nord noedns structured payload=N version=N class=C id=N from=ADDRESS subnet=ADDRESS/BITS`. The ID is 51966 unless it is
//! given, which leaves two or three addresses in the order in which they came.

use std::fmt;

/// One statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its first word.
    pub verb: String,
    /// The words after it.
    pub words: Vec<String>,
    /// The text below it, its indentation taken off.
    pub block: String,
}

/// A scenario file that cannot be read.
#[derive(Debug)]
pub struct BadScenario {
    line: usize,
    message: String,
}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Reads a scenario; the first statement must be its title.
pub fn parse(text: &str) -> Result<Vec<Statement>, BadScenario> {
    let mut statements: Vec<Statement> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let bare = content.trim_end();
        if let Some(indented) = bare.strip_prefix("    ") {
            let message =
                || BadScenario { line, message: "an indented line without a statement above it".to_owned() };
            let block = &mut statements.last_mut().ok_or_else(message)?.block;
            block.push_str(indented);
            block.push('\n');
        } else if bare.is_empty() {
            // Blank lines inside a block matter to the files written from it (line numbers in errors).
            if let Some(last) = statements.last_mut().filter(|last| !last.block.is_empty()) {
                last.block.push('\n');
            }
        } else if bare.starts_with(' ') {
            return Err(BadScenario { line, message: "indentation is four blanks".to_owned() });
        } else if !bare.starts_with('#') {
            statements.push(statement(line, bare));
        }
    }
    for statement in &mut statements {
        statement.block.truncate(statement.block.trim_end().len());
    }
    match statements.first() {
        Some(first) if first.verb == "title" => Ok(statements),
        _ => Err(BadScenario { line: 1, message: "a scenario begins with `title: ...`".to_owned() }),
    }
}

/// Splits a statement's own line; a colon after the verb or at the end is punctuation.
fn statement(line: usize, text: &str) -> Statement {
    let mut words: Vec<String> = text.split_whitespace().map(|word| word.to_owned()).collect();
    if let Some(last) = words.last_mut()
        && last.ends_with(':')
    {
        last.pop();
    }
    let verb = words.remove(0).trim_end_matches(':').to_owned();
    Statement { line, verb, words, block: String::new() }
}
