//! As whom it goes on once it has its sockets, where root started it: what takes a right to a port is over by then.

use std::fs;
use std::io;
use std::path::Path;

use crate::owner;
use crate::problem::Problem;
use crate::system;

/// Root (credentials(7)).
const ROOT: u32 = 0;

/// Whom to become: a user, its group, and the other groups it is in.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    /// The user.
    uid: u32,
    /// Its own group.
    gid: u32,
    /// All groups.
    groups: Vec<u32>,
}

/// Becomes the user that the configuration names, for good; the folder for state is made before if need be, for only root may make it
/// anywhere. Gives back what is to be said.
///
/// # Errors
/// When there is no such user, or the system refuses.
pub(super) fn become_user(name: Option<&str>, state: Option<&Path>) -> Result<Option<String>, Vec<Problem>> {
    let is_root = system::user().uid == ROOT;
    let Some(name) = name else {
        let hint = "this process goes on as root: `process.user` names somebody who may do less";
        return Ok(is_root.then(|| hint.to_owned()));
    };
    let bad = |message: String| vec![Problem::error("process.user", None, message)];
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let account = Account::read(name, &read("/etc/passwd"), &read("/etc/group"));
    let account = account.ok_or_else(|| bad(format!("there is no user {name:?}")))?;
    if !is_root {
        let is_it = system::user().uid == account.uid;
        let message =
            format!("`process.user` is {name:?}, which only root can become: this process goes on as it is");
        return Ok((!is_it).then_some(message));
    }
    let became =
        make(state, &account).and_then(|()| system::become_user(account.uid, account.gid, &account.groups));
    became.map_err(|error| bad(format!("this process cannot become {name:?}: {error}")))?;
    Ok(None)
}

/// Makes the folder for state if it is not there, and gives it to whom it is for.
fn make(state: Option<&Path>, account: &Account) -> io::Result<()> {
    let Some(state) = state.filter(|state| !state.exists()) else { return Ok(()) };
    let _ = owner::make_folder(state);
    // Who made nothing says so where something is to be kept.
    if state.is_dir() {
        std::os::unix::fs::chown(state, Some(account.uid), Some(account.gid))
    } else {
        Ok(())
    }
}

impl Account {
    /// Reads `UID`, `UID:GID` or a name of `/etc/passwd`. A static program asks no directory service, and those who are there only to run
    /// services stand in that file.
    fn read(name: &str, passwd: &str, group: &str) -> Option<Account> {
        let (user, own) = name.split_once(':').map_or((name, None), |(user, group)| (user, Some(group)));
        if let Ok(uid) = user.parse() {
            let gid = own.map_or(Some(uid), |own| own.parse().ok())?;
            return Some(Account { uid, gid, groups: vec![gid] });
        }
        // passwd(5): name, password, UID, GID and more, between colons.
        let fields: Vec<&str> = passwd
            .lines()
            .map(|line| line.split(':').collect())
            .find(|fields: &Vec<&str>| fields[0] == name)?;
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        // group(5): name, password, GID, members with commas.
        let others = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_member = fields.get(3)?.split(',').any(|member| member == name);
            is_member.then(|| fields[2].parse().ok())?
        });
        Some(Account {
            uid,
            gid,
            groups: [gid].into_iter().chain(others.filter(|other| *other != gid)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nsinkscope:x:990:991::/:/bin/false\nbroken\nodd:x:y:1\n";
        let group = "ssl-cert:x:112:postgres,sinkscope\nsinkscope:x:991:sinkscope\nbroken\nother:x:7:root\n";
        let account = |uid, gid, groups: &[u32]| Some(Account { uid, gid, groups: groups.to_vec() });
        for (name, expected) in [
            ("65532", account(65532, 65532, &[65532])),
            ("65532:7", account(65532, 7, &[7])),
            ("65532:x", None),
            ("sinkscope", account(990, 991, &[991, 112])),
            ("root", account(0, 0, &[0, 7])),
            ("nobody", None),
            ("odd", None),
            ("", None),
        ] {
            assert_eq!(Account::read(name, passwd, group), expected, "{name}");
        }
    }
}
