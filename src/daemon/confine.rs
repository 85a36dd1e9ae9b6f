//! What this process gives up before anything else, for as long as it lives: to write anywhere but where it keeps things, to run programs
//! (Landlock), and system calls that no resolver has any use for (seccomp). Whoever has it do what it was not made for finds little.
//!
//! Reading stays free, for another configuration may name orders, lists and certificates anywhere; what was left out is only what
//! waits for a restart anyway. Landlock knows folders by what they are and not by name: one that is made or mounted anew at the same path is
//! closed, unless the one above was opened (`process.writable`), which by itself would open `/var/lib` or somebody's home. It has to come before the first thread: Landlock is a thread's, and its children's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::config::Config;
use crate::control::address::Address;

/// What is known of Landlock here; of an older kernel's what it knows is taken.
const KNOWN: ABI = ABI::V5;
/// Calls that nothing here makes, and that lead out of a process or deeper into the kernel: to run programs, to look into others, to
/// change what is mounted, loaded or named, and those that many a way into the kernel began with (systemd.exec(5) groups most of them as
/// @debug, @module, @mount, @raw-io, @reboot, @swap and @privileged).
const NEEDLESS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_personality,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
];

/// Gives up what is not needed by this configuration; what is to be said of it, once there is a log.
pub(super) fn confine(config: &Config) -> Vec<String> {
    if !config.confine {
        return vec!["this process is not confined (`process.confine` is false)".to_owned()];
    }
    let missing = config.writable.iter().filter(|folder| !folder.exists());
    let missing = missing
        .map(|folder| format!("process.writable: {} is not there, and stays closed", folder.display()));
    let files = match restrict_files(&writable(config)) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => None,
        Ok(RulesetStatus::NotEnforced) => {
            Some("this kernel has no Landlock: files are not confined".to_owned())
        }
        Err(error) => Some(format!("files are not confined: {error}")),
    };
    let calls = restrict_calls().err().map(|error| format!("system calls are not confined: {error}"));
    files.into_iter().chain(calls).chain(missing).collect()
}

/// Where it may write: what the configuration has it keep, and what is for everybody.
fn writable(config: &Config) -> BTreeSet<PathBuf> {
    let socket = config.control.listen.as_ref().and_then(|address| match address {
        Address::Unix(path) => path.parent(),
        Address::Tcp(_) => None,
    });
    // Earlier ones are beside it.
    let log = config.query_log.file.as_ref().and_then(|file| file.path.parent());
    let kept = [config.orders.state.as_deref(), socket, log].into_iter().flatten().map(there);
    // Copies of lists where there is no state, and what a database sorts.
    let temporary = [std::env::temp_dir(), "/var/tmp".into(), "/dev/null".into()];
    kept.chain(temporary).chain(config.writable.iter().cloned()).collect()
}

/// A folder, or the one that it will be made in.
fn there(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(&absolute).to_owned()
}

/// Has this thread and those it begins write beneath these paths alone, and run nothing.
fn restrict_files(writable: &BTreeSet<PathBuf>) -> Result<RulesetStatus, RulesetError> {
    let writes = AccessFs::from_write(KNOWN);
    let ruleset = Ruleset::default().handle_access(writes | AccessFs::Execute)?.create()?;
    let restricted = ruleset.add_rules(path_beneath_rules(writable, writes))?.restrict_self()?;
    Ok(restricted.ruleset)
}

/// Has this thread and those it begins make none of the needless calls: they fail as if it were not allowed to.
fn restrict_calls() -> Result<(), Box<dyn std::error::Error>> {
    let rules: BTreeMap<i64, Vec<_>> = NEEDLESS.iter().map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_confined_thread_writes_where_it_may_and_runs_nothing() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (inside, outside) = (inside.path().to_owned(), outside.path().to_owned());
        fs::write(outside.join("read"), "it").unwrap();
        let (kept, beside) = (inside.clone(), outside.clone());
        let confined = std::thread::spawn(move || {
            let status = restrict_files(&[kept.clone()].into()).unwrap();
            restrict_calls().unwrap();
            let run = std::process::Command::new("/bin/true").status();
            assert_eq!(run.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
            fs::write(kept.join("a"), "b").unwrap();
            fs::rename(kept.join("a"), kept.join("c")).unwrap();
            assert_eq!(fs::read_to_string(beside.join("read")).unwrap(), "it");
            (status, fs::write(beside.join("a"), "b"))
        });
        let (status, written) = confined.join().unwrap();
        // A kernel without it lets all through.
        assert_eq!(written.is_err(), status != RulesetStatus::NotEnforced);
    }

    #[test]
    fn a_folder_that_is_not_there_is_made_in_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(there(&folder.path().join("a/b")), folder.path());
        assert_eq!(there(folder.path()), folder.path());
    }
}
