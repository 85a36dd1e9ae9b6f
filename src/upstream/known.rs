//! One upstream, and what is known of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Exchange;
use super::failure::Failure;
use super::health::Health;
use super::message;
use super::pace::Pace;
use super::server::Server;
use super::strategy::Seen;
use crate::name::Name;

/// Who declined last is held to take so many times as long: its answers are seldom worth a question, and now and then it is asked
/// all the same, so that it can show otherwise.
const DECLINED: u32 = 8;

/// How often an upstream was asked and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Who.
    pub server: Server,
    /// The zones it is asked about; the root's stands for all that no other is for.
    pub zones: Vec<Name>,
    /// Tries.
    pub asked: u64,
    /// Of those, made while another server's reply was not late yet.
    pub extra: u64,
    /// Tries without a reply; what is still under way is in neither.
    pub failed: u64,
    /// Replies that no question had asked for: wrong guesses of somebody, as far as one can tell.
    pub guesses: u64,
}

/// One upstream and what is known of it, shared by all who ask it.
#[derive(Debug)]
pub(super) struct Known<E> {
    /// Who.
    pub(super) server: Server,
    /// How it is asked.
    pub(super) exchange: E,
    /// Whether it is likely to answer.
    pub(super) health: Health,
    /// How long its answers take.
    pub(super) pace: Pace,
    /// Whether its last reply declined.
    declined: AtomicBool,
    /// What its times count from.
    start: Instant,
    asked: AtomicU64,
    extra: AtomicU64,
    failed: AtomicU64,
}

impl<E: Exchange> Known<E> {
    /// Nothing is known yet.
    pub(super) fn new(server: Server, exchange: E) -> Known<E> {
        let [asked, extra, failed] = [const { AtomicU64::new(0) }; 3];
        Known {
            server,
            exchange,
            health: Health::default(),
            pace: Pace::default(),
            declined: AtomicBool::new(false),
            start: Instant::now(),
            asked,
            extra,
            failed,
        }
    }

    /// Its counts.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            server: self.server.clone(),
            zones: Vec::new(),
            asked: self.asked.load(Ordering::Relaxed),
            extra: self.extra.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            guesses: self.exchange.guesses(),
        }
    }

    /// How it looks to a question that comes now.
    pub(super) fn seen(&self) -> Seen {
        let times = if self.declined.load(Ordering::Relaxed) { DECLINED } else { 1 };
        let time = self.pace.smoothed().map(|time| time * times);
        Seen { in_place: self.health.in_place(self.start.elapsed()), time }
    }

    /// Counts a try, and whether it is one more than need be.
    pub(super) fn asked(&self, is_extra: bool) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if is_extra {
            self.extra.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that this came of what it was asked `at` then, and gives it as far as it is believed.
    pub(super) fn heard(&self, mut reply: Vec<u8>, at: Instant, believed: bool) -> Vec<u8> {
        if !believed {
            message::clear_ad(&mut reply);
        }
        self.replied(at.elapsed(), message::declines(&reply));
        reply
    }

    /// Notes that it replied, after so long, and whether it declined: how fast it does that is nothing to go by.
    pub(super) fn replied(&self, took: Duration, declines: bool) {
        self.health.succeeded();
        if !declines {
            self.pace.took(took);
        }
        // Read first: a line that does not change stays shared between cores.
        if self.declined.load(Ordering::Relaxed) != declines {
            self.declined.store(declines, Ordering::Relaxed);
        }
    }

    /// Counts that it failed, or has been silent for longer than it should be.
    pub(super) fn failed(&self, failure: &Failure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        // Busy is our own doing.
        if *failure != Failure::Busy {
            self.health.failed(self.start.elapsed());
        }
    }
}
