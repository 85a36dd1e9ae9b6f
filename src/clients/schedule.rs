//! Hours of the week in a time zone.
//!
//! A range of hours belongs to the day it begins on, and each bound is **the first moment at which the clock on the wall
//! shows that time or a later one** of its day. So every day a range is one piece, ranges that meet on the clock meet in
//! time, and what a change of the clocks does follows:
//!
//! - An hour that is skipped (02:00 to 03:00 in spring) has no moment of its own: bounds in it fall on the change.
//! - An hour that comes twice (02:00 to 03:00 in autumn): bounds in it mean the first time; a range around it is an hour
//!   longer.
//!
//! To ask at each moment what the clock shows would be simpler, and would switch 22:00 to 02:30 on a second time in autumn.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::time::UnixSeconds;

/// Rows a schedule may have: one bit each beside the minute, in one word.
pub const MAX_ROWS: usize = 32;
/// Minutes in a day: 24:00 as an hour of the day it ends.
pub const DAY_MINUTES: u16 = 24 * 60;

/// Some hours of some days.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    /// The days on which they begin, Monday first.
    pub days: [bool; 7],
    /// The first minute of the day, less than [`DAY_MINUTES`].
    pub from: u16,
    /// The minute they end before, at most [`DAY_MINUTES`]; one that is not after `from` is of the next day.
    pub until: u16,
    /// Where.
    pub time_zone: TimeZone,
}

impl Hours {
    /// Whether they hold at a moment. No lock, no allocation; some hundred nanoseconds.
    pub fn hold(&self, at: UnixSeconds) -> bool {
        // Beyond the years that calendars know nothing holds.
        let Ok(at) = Timestamp::from_second(at) else { return false };
        let today = self.time_zone.to_datetime(at).date();
        // Yesterday's may run past midnight; tomorrow's may have begun if the clock went back over midnight.
        [today.yesterday(), Ok(today), today.tomorrow()]
            .into_iter()
            .flatten()
            .any(|day| self.hold_of(day, at))
    }

    /// Whether those that begin on that day hold at a moment.
    fn hold_of(&self, day: Date, at: Timestamp) -> bool {
        let begins = self.days.get(usize::from(day.weekday().to_monday_zero_offset() as u8));
        if begins != Some(&true) {
            return false;
        }
        let end_day = if self.until > self.from { Ok(day) } else { day.tomorrow() };
        let bounds = self
            .moment(day, self.from)
            .zip(end_day.ok().and_then(|end_day| self.moment(end_day, self.until)));
        bounds.is_some_and(|(from, until)| from <= at && at < until)
    }

    /// The first moment at which the clock shows that minute of that day or a later one.
    fn moment(&self, day: Date, minute: u16) -> Option<Timestamp> {
        let (day, minute) = match minute.checked_sub(DAY_MINUTES) {
            Some(rest) => (day.tomorrow().ok()?, rest),
            None => (day, minute),
        };
        let time = Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()?;
        let clock = DateTime::from_parts(day, time);
        match self.time_zone.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(clock).ok()
            }
            AmbiguousOffset::Gap { before, .. } => {
                // By the old offset a clock that skipped it would show it after the change, which is the last one by then.
                let after = before.to_timestamp(clock).ok()?;
                let change = self.time_zone.preceding(after.checked_add(jiff::Span::new().seconds(1)).ok()?);
                change.take(1).map(|change| change.timestamp()).next()
            }
        }
    }
}

/// Which of at most [`MAX_ROWS`] rows held in the minute that was asked about last.
///
/// Bounds are whole minutes, and offsets from UTC have been since 1972, so what holds changes with the minute alone. Minute
/// and bits share one word: who reads it reads both of the same moment, without a lock. Whoever finds another minute works
/// it out and writes it down; two that do so at once write the same.
#[derive(Debug)]
pub(super) struct Holding {
    /// The minute since 1970 above, a bit for each row below.
    word: AtomicU64,
}

impl Holding {
    /// Nothing is known yet.
    pub(super) fn new() -> Holding {
        Holding { word: AtomicU64::new(u64::MAX) }
    }

    /// The rows that hold at a moment: `work_out` says so for the beginning of its minute.
    pub(super) fn at(&self, at: UnixSeconds, work_out: impl FnOnce(UnixSeconds) -> u32) -> u32 {
        let minute = at.div_euclid(60);
        // The last number stands for "not known"; it is a minute of the year 10136, when calendars have ended.
        let Some(number) = u32::try_from(minute).ok().filter(|&number| number != u32::MAX) else {
            return work_out(minute.saturating_mul(60));
        };
        let word = self.word.load(Ordering::Relaxed);
        if word >> 32 == u64::from(number) {
            return word as u32;
        }
        let rows = work_out(minute * 60);
        self.word.store(u64::from(number) << 32 | u64::from(rows), Ordering::Relaxed);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours from "mon,tue 22:00-06:00 Europe/Berlin"; "*" is every day.
    fn hours(text: &str) -> Hours {
        let parts: Vec<&str> = text.split(' ').collect();
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let days = names.map(|name| parts[0] == "*" || parts[0].split(',').any(|day| day == name));
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':').unwrap();
            hour.parse::<u16>().unwrap() * 60 + minute.parse::<u16>().unwrap()
        };
        let (from, until) = parts[1].split_once('-').unwrap();
        let time_zone = TimeZone::get(parts[2]).unwrap();
        Hours { days, from: minute(from), until: minute(until), time_zone }
    }

    /// Every stretch in which they hold, as UTC minutes, between two moments.
    fn stretches(hours: &str, from: &str, until: &str) -> Vec<String> {
        let hours = self::hours(hours);
        let second = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let shown = |at: UnixSeconds| {
            let text = Timestamp::from_second(at).unwrap().to_string();
            text[5..16].replace('T', " ")
        };
        let (mut found, mut begin) = (Vec::new(), None);
        for at in (second(from)..=second(until)).step_by(60) {
            match (begin, hours.hold(at)) {
                (None, true) => begin = Some(at),
                (Some(since), false) => {
                    found.push(format!("{}..{}", shown(since), &shown(at)[6..]));
                    begin = None;
                }
                _ => {}
            }
        }
        assert_eq!(begin, None, "it ends in the span looked at");
        found
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_begin_on() {
        // 2026-06-05 is a Friday; Berlin is two hours ahead.
        let (from, until) = ("2026-06-04T00:00:00Z", "2026-06-08T00:00:00Z");
        for (hours, expected) in [
            ("fri 08:00-14:00 UTC", &["06-05 08:00..14:00"][..]),
            ("fri 22:00-07:00 UTC", &["06-05 22:00..07:00"]),
            ("thu,fri 22:00-07:00 UTC", &["06-04 22:00..07:00", "06-05 22:00..07:00"]),
            ("fri 00:00-24:00 UTC", &["06-05 00:00..00:00"]),
            ("fri,sat 00:00-24:00 UTC", &["06-05 00:00..00:00"]),
            ("fri 23:00-24:00 UTC", &["06-05 23:00..00:00"]),
            ("fri 22:00-00:00 UTC", &["06-05 22:00..00:00"]),
            ("fri 22:00-07:00 Europe/Berlin", &["06-05 20:00..05:00"]),
            ("sat 00:00-00:30 Europe/Berlin", &["06-05 22:00..22:30"]),
            ("sat 10:00-11:00 Pacific/Kiritimati", &["06-05 20:00..21:00"]),
            ("fri 20:00-22:00 America/Los_Angeles", &["06-06 03:00..05:00"]),
        ] {
            assert_eq!(stretches(hours, from, until), expected, "{hours}");
        }
    }

    #[test]
    fn a_skipped_hour_falls_on_the_change() {
        // 2026-03-29: 02:00 CET is 03:00 CEST, 01:00 UTC.
        let (from, until) = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        for (hours, expected) in [
            ("sat 22:00-06:00 Europe/Berlin", &["03-28 21:00..04:00"][..]),
            ("sat 22:00-02:30 Europe/Berlin", &["03-28 21:00..01:00"]),
            ("sun 02:30-05:00 Europe/Berlin", &["03-29 01:00..03:00"]),
            ("sun 02:15-02:45 Europe/Berlin", &[]),
            ("sun 01:30-02:30 Europe/Berlin", &["03-29 00:30..01:00"]),
            ("sun 03:00-04:00 Europe/Berlin", &["03-29 01:00..02:00"]),
        ] {
            assert_eq!(stretches(hours, from, until), expected, "{hours}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_begins_and_ends_the_first_time() {
        // 2026-10-25: 03:00 CEST is 02:00 CET, 01:00 UTC.
        let (from, until) = ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
        for (hours, expected) in [
            ("sat 22:00-06:00 Europe/Berlin", &["10-24 20:00..05:00"][..]),
            ("sat 22:00-02:30 Europe/Berlin", &["10-24 20:00..00:30"]),
            ("sun 02:30-05:00 Europe/Berlin", &["10-25 00:30..04:00"]),
            ("sun 02:15-02:45 Europe/Berlin", &["10-25 00:15..00:45"]),
            ("sun 02:00-03:00 Europe/Berlin", &["10-25 00:00..02:00"]),
            ("sun 03:00-04:00 Europe/Berlin", &["10-25 02:00..03:00"]),
        ] {
            assert_eq!(stretches(hours, from, until), expected, "{hours}");
        }
    }

    #[test]
    fn changes_at_midnight_and_lost_days() {
        for (hours, from, until, expected) in [
            // 2018-11-04 in São Paulo begins at 01:00, 03:00 UTC.
            (
                "sun 00:00-02:00 America/Sao_Paulo",
                "2018-11-03T12:00:00Z",
                "2018-11-04T12:00:00Z",
                "11-04 03:00..04:00",
            ),
            (
                "sat 22:00-00:30 America/Sao_Paulo",
                "2018-11-03T12:00:00Z",
                "2018-11-04T12:00:00Z",
                "11-04 01:00..03:00",
            ),
            // 2018-02-18 00:00 is 2018-02-17 23:00 again, 02:00 UTC.
            (
                "sat 23:30-01:00 America/Sao_Paulo",
                "2018-02-17T12:00:00Z",
                "2018-02-18T12:00:00Z",
                "02-18 01:30..04:00",
            ),
            // Samoa went from Thursday 2011-12-29 to Saturday the 31st, at 10:00 UTC: overnight is over at once.
            (
                "thu 22:00-06:00 Pacific/Apia",
                "2011-12-29T12:00:00Z",
                "2011-12-31T12:00:00Z",
                "12-30 08:00..10:00",
            ),
            ("fri 08:00-12:00 Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z", ""),
        ] {
            assert_eq!(stretches(hours, from, until).join(" "), expected, "{hours}");
        }
    }

    #[test]
    fn each_moment_is_in_one_of_the_ranges_that_meet_on_the_clock() {
        let parts: Vec<Hours> = ["22:00-02:30", "02:30-02:45", "02:45-08:00", "08:00-22:00"]
            .iter()
            .map(|range| hours(&format!("* {range} Europe/Berlin")))
            .collect();
        for day in ["2026-03-28", "2026-06-05", "2026-10-24"] {
            let start = format!("{day}T00:00:00Z").parse::<Timestamp>().unwrap().as_second();
            for at in (start..start + 2 * 86_400).step_by(60) {
                assert_eq!(parts.iter().filter(|hours| hours.hold(at)).count(), 1, "{at}");
            }
        }
    }

    #[test]
    fn what_holds_is_worked_out_once_a_minute() {
        let (holding, mut asked) = (Holding::new(), Vec::new());
        for at in [0, 59, 60, 61, 119, 0, -1, -1, 60 * i64::from(u32::MAX), i64::MAX, 120, 121] {
            let rows = holding.at(at, |minute| {
                asked.push(minute);
                minute as u32
            });
            assert_eq!(rows, at.div_euclid(60).wrapping_mul(60) as u32, "{at}");
        }
        let last = i64::MAX.div_euclid(60) * 60;
        assert_eq!(asked, [0, 60, 0, -60, -60, 60 * i64::from(u32::MAX), last, 120]);
    }

    #[test]
    fn beyond_the_calendar_nothing_holds() {
        let always = hours("* 00:00-24:00 UTC");
        for (at, expected) in [(UnixSeconds::MIN, false), (-1, true), (0, true), (UnixSeconds::MAX, false)] {
            assert_eq!(always.hold(at), expected, "{at}");
        }
    }
}
