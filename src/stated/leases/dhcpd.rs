//! ISC dhcpd's file (dhcpd.leases(5)): a block for each state of a lease, the last of an address counts. Every address of IPv6 is
//! a block `iaaddr` within one `ia-na`.

use std::net::IpAddr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Book, Lease, Part, address, number};
use crate::time::UnixSeconds;

/// Blocks within one another: dhcpd writes two.
const MAX_DEPTH: usize = 8;
/// Words of a statement that are looked at.
const MAX_WORDS: usize = 8;

/// What may stand between white space.
enum Token<'a> {
    /// A word, or a quoted text without its quotes.
    Word(&'a [u8]),
    /// `{`.
    Open,
    /// `}`.
    Close,
    /// `;`.
    End,
}

/// Text, as it is taken apart.
struct Tokens<'a> {
    rest: &'a [u8],
    /// The line reached, from 1.
    line: u32,
}

impl<'a> Tokens<'a> {
    /// The next one.
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (&first, after) = self.rest.split_first()?;
            match first {
                b'\n' => self.line = self.line.saturating_add(1),
                b'#' => {
                    let end = self.rest.iter().position(|&octet| octet == b'\n').unwrap_or(self.rest.len());
                    self.rest = self.rest.get(end..).unwrap_or_default();
                    continue;
                }
                b'{' | b'}' | b';' => {
                    self.rest = after;
                    return Some(match first {
                        b'{' => Token::Open,
                        b'}' => Token::Close,
                        _ => Token::End,
                    });
                }
                b'"' => return Some(Token::Word(self.quoted(after))),
                octet if octet.is_ascii_whitespace() || octet == b'=' => {}
                _ => {
                    let ends = |octet: &u8| octet.is_ascii_whitespace() || b"{};=\"".contains(octet);
                    let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    return Some(Token::Word(word));
                }
            }
            self.rest = after;
        }
    }

    /// A quoted text, escapes as they stand; behind it this goes on.
    fn quoted(&mut self, text: &'a [u8]) -> &'a [u8] {
        let mut at = 0;
        while let Some(octet) = text.get(at) {
            match octet {
                b'"' => break,
                b'\\' => at += 1,
                b'\n' => self.line = self.line.saturating_add(1),
                _ => {}
            }
            at += 1;
        }
        let at = at.min(text.len());
        self.rest = text.get(at + 1..).unwrap_or_default();
        text.get(..at).unwrap_or_default()
    }
}

/// A lease as its block grows.
#[derive(Default)]
struct Block<'a> {
    /// Its address; none if it has none that can be read.
    address: Option<IpAddr>,
    /// The line where it begins.
    line: u32,
    /// When it ends, if that was said: a time, or never.
    ends: Option<Option<UnixSeconds>>,
    /// When it began, or the client was heard last.
    given: Option<UnixSeconds>,
    /// Whether it is in use, if that was said.
    is_active: Option<bool>,
    /// Whether a time could not be read.
    is_bad: bool,
    /// The names for it, by what they are worth.
    hosts: [Option<&'a [u8]>; 4],
}

/// Where a lease's name may stand. What the server made of it counts for more than what the client sent.
const HOSTS: [&[u8]; 4] = [b"ddns-hostname", b"ddns-fwd-name", b"client-hostname", b"ddns-client-fqdn"];

/// Reads one.
pub(super) fn read(part: &Part<'_>, book: &mut Book) {
    let mut tokens = Tokens { rest: part.content, line: 1 };
    let mut words: Vec<&[u8]> = Vec::new();
    // None is a block of something else.
    let mut blocks: Vec<Option<Block<'_>>> = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) if words.len() < MAX_WORDS => words.push(word),
            Token::Word(_) => {}
            Token::Open => {
                if blocks.len() >= MAX_DEPTH {
                    book.refuse(part.file, tokens.line, "blocks that never end", "");
                    return;
                }
                blocks.push(match words[..] {
                    [b"lease" | b"iaaddr", of] => {
                        Some(Block { address: address(of), line: tokens.line, ..Block::default() })
                    }
                    _ => None,
                });
                words.clear();
            }
            Token::End => {
                if let Some(Some(block)) = blocks.last_mut() {
                    block.statement(&words);
                }
                words.clear();
            }
            Token::Close => {
                words.clear();
                if let Some(Some(block)) = blocks.pop() {
                    block.finish(part, book);
                }
            }
        }
    }
    // What is open still is being written.
}

impl<'a> Block<'a> {
    /// Takes in a statement.
    fn statement(&mut self, words: &[&'a [u8]]) {
        match words {
            [b"ends", when @ ..] => match time(when) {
                Some(ends) => self.ends = Some(ends),
                None => self.is_bad = true,
            },
            [b"starts" | b"cltt", when @ ..] => self.given = time(when).flatten().max(self.given),
            [b"binding", b"state", state] => self.is_active = Some(*state == b"active"),
            [b"abandoned"] => self.is_active = Some(false),
            [b"client-hostname", host]
            | [b"set", b"ddns-hostname" | b"ddns-fwd-name" | b"ddns-client-fqdn", host] => {
                let name = if words.len() == 2 { words.first() } else { words.get(1) };
                let place = HOSTS.iter().position(|known| Some(known) == name);
                if let Some(kept) = place.and_then(|place| self.hosts.get_mut(place)) {
                    *kept = Some(host);
                }
            }
            _ => {}
        }
    }

    /// Takes note of the lease.
    fn finish(self, part: &Part<'_>, book: &mut Book) {
        let Some(address) = self.address.filter(|_| !self.is_bad) else {
            book.refuse(part.file, self.line, "a lease without an address or an end that can be read", "");
            return;
        };
        // BOOTP's end never, and so did those of versions that wrote no states.
        let ends = self.ends.flatten();
        let host = self.hosts.into_iter().flatten().find(|host| !host.is_empty());
        let lease = host.filter(|_| self.is_active.unwrap_or(true)).map(|host| Lease {
            address,
            host: host.into(),
            ends,
            given: self.given.or(ends).unwrap_or(UnixSeconds::MAX),
        });
        book.take(address, lease);
    }
}

/// A time: `4 2024/05/02 10:11:12` in UTC with the day of the week before it, `epoch 1714644672`, or `never`.
fn time(words: &[&[u8]]) -> Option<Option<UnixSeconds>> {
    match words {
        [b"never"] => Some(None),
        [b"epoch", seconds] => Some(Some(number(seconds)?)),
        [_, date, time] => {
            let text = [date, &b" "[..], time].concat();
            let read = DateTime::strptime("%Y/%m/%d %H:%M:%S", std::str::from_utf8(&text).ok()?).ok()?;
            Some(Some(read.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()))
        }
        _ => None,
    }
}
