//! Whether a stream's questions are answered at once or one by one, by the order and the times of its replies.
//!
//! RFC 7766 §6.2.1.1 recommends that servers "process pipelined queries concurrently" (appendix B), and not all do: then each question
//! waits for all that are before it, and asks to be on a stream of its own.

use std::time::Duration;

use tokio::time::Instant;

/// Questions before one from which on it may be these that it waits for.
const FEW: usize = 3;
/// What one of them takes at least, if waiting for it is worth another stream: nobody notices less.
const NOTICED: Duration = Duration::from_millis(10);
/// Replies in a row each of which took longer than the one before it: chance makes fewer.
const IN_A_ROW: u32 = 5;
/// Replies that come sooner after one another came together, and it is chance who of those that wait for them sees its own first.
const TOGETHER: Duration = Duration::from_millis(1);

/// What replies show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turns {
    /// One came before that to an older question.
    AtOnce,
    /// Each waited for those before it.
    OneByOne,
}

/// The replies of one stream.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Questions that were asked: each has the next number.
    asked: u64,
    /// The youngest question that was answered: its number, how long it took and when that was.
    last: Option<(u64, Duration, Instant)>,
    /// Replies in a row that each took longer than the one before.
    longer: u32,
    /// How long the one before those took.
    at_first: Duration,
}

impl Replies {
    /// The number of a question that is asked.
    pub(super) fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// Notes that the question of this number was answered, which took so long and had so many before it; what that shows, if it does.
    pub(super) fn came(&mut self, number: u64, ahead: usize, took: Duration) -> Option<Turns> {
        let now = Instant::now();
        let Some((last, before, at)) = self.last else {
            self.last = Some((number, took, now));
            return None;
        };
        if number < last {
            return (now - at >= TOGETHER).then_some(Turns::AtOnce);
        }
        self.last = Some((number, took, now));
        if ahead < FEW || took < before + NOTICED {
            self.longer = 0;
            return None;
        }
        if self.longer == 0 {
            self.at_first = before;
        }
        self.longer += 1;
        (self.longer >= IN_A_ROW && took >= 2 * self.at_first).then_some(Turns::OneByOne)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_replies_show() {
        /// Questions that come so many milliseconds apart, how many milliseconds each takes in turn, and what the last one that shows
        /// something does.
        type Case = (&'static str, u64, &'static [u64], Option<Turns>);
        let cases: [Case; 8] = [
            ("alone", 100, &[20, 40, 60, 80, 90, 95, 98], None),
            ("all as long", 10, &[100; 20], None),
            ("a little slower each time", 10, &[100, 105, 110, 115, 120, 125, 130, 135, 140], None),
            ("one by one", 10, &[100, 190, 280, 370, 460, 550, 640, 730], Some(Turns::OneByOne)),
            ("one by one, and not often enough", 10, &[100, 190, 280, 370, 460, 550, 640], None),
            ("slower, but not by much", 2, &[500, 520, 540, 560, 580, 600, 620, 640, 660, 680], None),
            ("one is overtaken", 10, &[100, 20], Some(Turns::AtOnce)),
            ("two come together", 10, &[30, 20], None),
        ];
        for (what, apart, took, shown) in cases {
            let ms = Duration::from_millis;
            let mut replies = Replies::default();
            let asked = (0..took.len() as u64).map(|at| (at * apart, at * apart + took[at as usize]));
            let mut came: Vec<(u64, u64, u64, usize)> = asked
                .clone()
                .map(|(begun, end)| {
                    let ahead =
                        asked.clone().filter(|(other, until)| *other < begun && *until > begun).count();
                    (end, replies.ask(), end - begun, ahead)
                })
                .collect();
            // Of two that come together the younger one is seen first.
            came.sort_by_key(|(end, number, ..)| (*end, u64::MAX - number));
            let (mut seen, mut now) = (None, 0);
            for (end, number, took, ahead) in came {
                sleep(ms(end - now)).await;
                now = end;
                seen = replies.came(number, ahead, ms(took)).or(seen);
            }
            assert_eq!(seen, shown, "{what}");
        }
    }
}
