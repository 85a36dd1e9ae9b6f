//! The unsafe code beside the batched system calls: a mapped file, the allocator, a thread's priority, descriptors that were passed.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::{Mmap, MmapOptions};

/// Blocks from this size on go back to the system when they are freed, in octets. Lists are read in such blocks, caches live
/// in smaller ones.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// A file's octets where they lie.
#[derive(Debug)]
pub(crate) struct Mapped(Mmap);

impl Mapped {
    /// Maps a whole file, all its pages at once.
    ///
    /// The file must neither change nor shrink while this lives: whoever calls this sees to it.
    ///
    /// # Errors
    /// When the system does not map it.
    pub(crate) fn of(file: &File) -> io::Result<Mapped> {
        // SAFETY: a mapping is sound while its file neither changes nor shrinks. The callers map what compiled orders and
        // caches are kept in, which is written under another name and renamed into place when whole; the file it replaces
        // lives on nameless, and nobody but its owner may write to it. An owner who truncates it on purpose ends the process by SIGBUS, as
        // somebody does who truncates a running program's own file.
        unsafe { MmapOptions::new().populate().map(file) }.map(Mapped)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// As whom this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The user whose rights it has.
    pub uid: u32,
    /// That user's own group, as far as this process goes.
    pub gid: u32,
    /// All other groups it is in.
    pub groups: Vec<u32>,
}

/// As whom this process runs now.
pub(crate) fn user() -> User {
    #[cfg(unix)]
    {
        // Linux has 65,536 at most (NGROUPS_MAX).
        let mut groups = vec![0; 1 << 16];
        // SAFETY: the first two take nothing and cannot fail (geteuid(2)). getgroups(2) writes at most as many numbers as it is
        // told there is room for, and says how many, or -1.
        let (uid, gid, count) =
            unsafe { (libc::geteuid(), libc::getegid(), libc::getgroups(1 << 16, groups.as_mut_ptr())) };
        groups.truncate(usize::try_from(count).unwrap_or(0));
        User { uid, gid, groups }
    }
    #[cfg(not(unix))]
    User { uid: 0, gid: 0, groups: Vec::new() }
}

/// Becomes another user with its group and no groups but these, all threads and for good.
///
/// # Errors
/// When the system refuses: only root may. What was given up before it refused stays so.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: setgroups(2) reads as many numbers as it is told of, from a slice that has them and lives until it returns; the other two
    // take numbers alone. The C library has all threads do the same (nptl(7), "setxid"). The user comes last: who is no longer
    // root may change no groups.
    unsafe {
        done(libc::setgroups(groups.len() as _, groups.as_ptr()))?;
        done(libc::setresgid(gid, gid, gid))?;
        done(libc::setresuid(uid, uid, uid))
    }
}

/// Has glibc keep less memory than it does by itself, as long as the process lives.
///
/// Large blocks go back to the system when they are freed: glibc raises that bound to 32 MiB once such a block was freed (mallopt(3),
/// M_MMAP_THRESHOLD), and then keeps up to twice as much; after loading a million names the process would stay as large as while
/// loading them.
///
/// There are as many arenas as cores, and two at least, where glibc has eight times as many (M_ARENA_MAX): what one thread frees in its
/// own is of no use to another one, and answers come and go on all of them. A cache of 100,000 answers takes four megabytes less.
pub(crate) fn keep_little_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let arenas = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 1024));
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and changes how later allocations are made; it may be called at any time. That it
    // may refuse changes nothing but memory use.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, arenas as libc::c_int);
    }
}

/// Low enough that whoever wakes beside it runs at once, and high enough for a tenth of a core beside one ordinary thread that never
/// sleeps (sched(7): each step of niceness is a quarter more or less). At 19 it would be one part in seventy, and under SCHED_IDLE
/// one in three hundred: measured on two cores that compilers kept busy, a changed list was then not in force after six seconds,
/// and a lift in a file waits on the same thread.
#[cfg(target_os = "linux")]
const GIVES_WAY: libc::c_int = 10;

/// Has the calling thread give way to all others, for good: whoever answers gets the core as soon as it wants it. Does nothing
/// on other systems than Linux, where a thread has no priority of its own (setpriority(2), "C library/kernel differences").
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    // SAFETY: setpriority takes numbers alone. 0 is the calling thread; what it may not do it refuses, and to lower a
    // priority is always allowed.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, GIVES_WAY);
    }
}

/// Has the calling thread run only where nobody else would (SCHED_IDLE, sched(7)), for good: whoever wakes takes the core from it at
/// once, where beside a low priority it may wait for the rest of a slice, which the slowest of a hundred answers were seen to do. For
/// what may take as long as it likes: on cores that are never idle it stands all but still. Does nothing on other systems than
/// Linux, nor with musl, which has no such call.
pub(crate) fn run_when_idle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sched_setscheduler reads the struct it is given, which lives until it returns. 0 is the calling thread; this policy is
    // always allowed, and what is refused stays as it was.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &libc::sched_param { sched_priority: 0 });
    }
}

/// Has this process open as many descriptors as it may, files and sockets; how many it might before, and how many it may
/// now.
///
/// The soft limit is 1024 in most places for the sake of programs that use select(2), which we do not; the hard limit is
/// what somebody decided on (getrlimit(2)).
///
/// # Errors
/// When the system does not say; nothing has changed then.
pub(crate) fn raise_descriptor_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes the struct it is given, which lives until it returns.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: setrlimit reads the struct it is given, which lives until it returns. Some systems refuse what their hard
    // limit says (macOS, which has a lower bound of its own): then everything stays as it was.
    let is_raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0;
    Ok((limit.rlim_cur, if is_raised { raised.rlim_cur } else { limit.rlim_cur }))
}

/// The sockets that the service manager passed to this process, each with its name there; none where there are none, and none the second
/// time.
///
/// # Errors
/// When what the environment says of them is not so.
pub(crate) fn passed_sockets() -> io::Result<Vec<(String, OwnedFd)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: the environment says for this very process (LISTEN_PID) that the descriptors from 3 on are passed to it, and that each is
    // open was just seen (fcntl set its flag): sd_listen_fds(3) has them owned by whoever takes them. Nobody else here does: this is
    // called before anything is opened by its number, and no more than once gets as far as here.
    Ok(passed.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) })).collect())
}

/// The index of the network interface of that name, never 0; none if there is none (now).
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: if_nametoindex reads the string up to its NUL, and the string lives until it returns.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_mapped_file_is_what_was_written() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"as it lies").unwrap();
        assert_eq!(Mapped::of(&file).unwrap().as_ref(), b"as it lies");
    }

    #[test]
    fn the_descriptor_limit_is_raised_to_the_hard_one() {
        let (_, raised) = raise_descriptor_limit().unwrap();
        assert!(raised > 0);
        assert_eq!(raise_descriptor_limit().unwrap(), (raised, raised));
    }

    #[test]
    fn interfaces_are_found_by_name() {
        assert_eq!(interface_index("no-such-interface"), None);
        assert_eq!(interface_index("lo\0"), None);
        if cfg!(target_os = "linux") {
            assert!(interface_index("lo").is_some());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_gives_way_has_a_low_priority_and_no_other_has() {
        // The nineteenth field of stat, the seventeenth behind the name in brackets (proc_pid_stat(5)).
        fn nice(who: &str) -> String {
            let stat = std::fs::read_to_string(format!("/proc/{who}/stat")).unwrap();
            let (_, rest) = stat.rsplit_once(") ").unwrap();
            rest.split(' ').nth(16).unwrap().to_owned()
        }
        let before = nice("thread-self");
        let given = std::thread::spawn(move || {
            give_way();
            nice("thread-self")
        });
        assert_eq!((given.join().unwrap().as_str(), nice("thread-self")), ("10", before));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_thread_that_runs_when_idle_has_that_policy() {
        // The forty-first field is the policy; 5 is SCHED_IDLE (proc_pid_stat(5)).
        let idle = std::thread::spawn(|| {
            run_when_idle();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap().to_owned()
        });
        assert_eq!(idle.join().unwrap(), "5");
    }

    #[test]
    fn large_blocks_come_and_go() {
        keep_little_memory();
        for _ in 0..3 {
            assert_eq!(vec![7u8; 3 << 20].iter().map(|octet| u64::from(*octet)).sum::<u64>(), 7 * (3 << 20));
        }
    }
}
