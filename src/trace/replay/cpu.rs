//! The CPU time of another process, from /proc (proc(5)); nothing where that is missing.

use std::collections::BTreeMap;
use std::fs;

/// Nanoseconds of a tick: the kernel's interface counts hundredths of a second, whatever its timer does (USER_HZ).
const TICK_NS: u64 = 10_000_000;

/// By so much may ticks exceed the exact count: user and system time, rounded twice each, and some to spare.
const ROUGH_NS: u64 = 10 * TICK_NS;

/// CPU time used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// In user space, in nanoseconds, by ticks.
    user_ns: u64,
    /// In the kernel, in nanoseconds, by ticks.
    system_ns: u64,
    /// Each thread's, in nanoseconds, exact.
    threads: BTreeMap<u32, u64>,
    /// Processors it may run on; 0 where that is not told.
    pub cpus: usize,
}

/// CPU time used between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spent {
    /// In nanoseconds.
    pub total_ns: u64,
    /// Of that, the share in user space, 0 to 1.
    pub user: f64,
    /// By the thread that used most, in nanoseconds.
    pub busiest_ns: u64,
}

impl Usage {
    /// What that process has used; none when there is no such process, or it cannot be seen.
    pub(crate) fn of(pid: u32) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (user_ns, system_ns) = ticks(&stat)?;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.filter_map(Result::ok) {
            let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // The first number is the time on a processor, in nanoseconds.
            let schedstat = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            let ran = schedstat.split_whitespace().next().and_then(|word| word.parse().ok());
            if let Some((thread, ran_ns)) = thread.zip(ran) {
                threads.insert(thread, ran_ns);
            }
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        Some(Usage { user_ns, system_ns, threads, cpus: cpus(&status) })
    }

    /// What was used from `self` to `after`.
    pub(crate) fn until(&self, after: &Usage) -> Spent {
        let user_ns = after.user_ns.saturating_sub(self.user_ns);
        let ticks_ns = user_ns + after.system_ns.saturating_sub(self.system_ns);
        let ran =
            |(thread, ns): (&u32, &u64)| ns.saturating_sub(self.threads.get(thread).copied().unwrap_or(0));
        // A thread that has ended took its exact count along; the ticks still have it.
        let whole =
            !after.threads.is_empty() && self.threads.keys().all(|thread| after.threads.contains_key(thread));
        let threads_ns: u64 = after.threads.iter().map(ran).sum();
        // So did one that began and ended in between, which only shows in the ticks.
        let total_ns = if whole && ticks_ns <= threads_ns + ROUGH_NS { threads_ns } else { ticks_ns };
        let user = if ticks_ns == 0 { 0.0 } else { user_ns as f64 / ticks_ns as f64 };
        Spent { total_ns, user, busiest_ns: after.threads.iter().map(ran).max().unwrap_or(0) }
    }
}

/// The processors that /proc/PID/status lists as allowed, such as `0-2,5`.
fn cpus(status: &str) -> usize {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        Some(last.checked_sub(first)?.saturating_add(1))
    };
    list.split(',').filter_map(count).fold(0, usize::saturating_add)
}

/// utime and stime of /proc/PID/stat, in nanoseconds.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    // The second field is the name in parentheses and may hold anything: count from the last one that closes.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok()?.checked_mul(TICK_NS);
    Some((ticks()?, ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_behind_any_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20";
        assert_eq!(ticks(stat), Some((700_000_000, 300_000_000)));
        assert_eq!(ticks("12 (x) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn processors_are_counted() {
        for (list, count) in [("0", 1), ("0-1", 2), ("0-2,5,8-9", 6), ("", 0), ("x", 0), ("3-1", 0)] {
            assert_eq!(cpus(&format!("Name:\tx\nCpus_allowed_list:\t{list}\nOther:\t7\n")), count, "{list}");
        }
    }

    #[test]
    fn what_was_spent() {
        let usage = |user, system, threads: &[(u32, u64)]| Usage {
            user_ns: user * TICK_NS,
            system_ns: system * TICK_NS,
            threads: threads.iter().copied().collect(),
            cpus: 1,
        };
        let before = usage(1, 1, &[(1, 100), (2, 50)]);
        let after = usage(2, 4, &[(1, 400), (2, 60), (3, 7)]);
        assert_eq!(before.until(&after), Spent { total_ns: 317, user: 0.25, busiest_ns: 300 });
        let ended = usage(2, 4, &[(1, 400)]);
        assert_eq!(before.until(&ended).total_ns, 4 * TICK_NS);
        let brief = usage(20, 4, &[(1, 400), (2, 60)]);
        assert_eq!(before.until(&brief).total_ns, 22 * TICK_NS, "a thread came and went");
    }

    #[test]
    fn own_time_is_seen() {
        if fs::metadata("/proc/self/stat").is_ok() {
            assert!(Usage::of(std::process::id()).is_some());
        }
        assert_eq!(Usage::of(u32::MAX), None);
    }
}
