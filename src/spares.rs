//! File descriptors held back for what must work when there are none left: an order that is lifted, by its file or by command.
//!
//! Descriptors belong to the process, and so do these. Whoever needs one opens through [`open`], or tells [`give_up`] why it
//! could not; [`hold`] takes them back once there are some again.

use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Descriptors held back: a command's connection, a folder and a file in it, and as many again that others may snatch first.
const HELD: usize = 8;

/// Those held now.
static SPARES: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Holds back as many as are missing, if the system has them.
pub(crate) fn hold() {
    let mut spares = spares();
    while spares.len() < HELD {
        // Anything that is there can be opened; nothing is read of it.
        let Ok(spare) = File::open("/") else { break };
        spares.push(spare);
    }
}

/// Gives a spare descriptor up if `error` says that there are none left; whether it is worth trying again.
pub(crate) fn give_up(error: &io::Error) -> bool {
    // For this process, or for the whole system.
    let none_left = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    none_left && spares().pop().is_some()
}

/// Opens something, if need be at the cost of spare descriptors.
///
/// # Errors
/// As `open` does; that there are no descriptors left only if there are no spare ones either.
pub(crate) fn open<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match open() {
            Err(error) if give_up(&error) => {}
            opened => return opened,
        }
    }
}

/// The spares; they are whole whatever happened to who held them.
fn spares() -> MutexGuard<'static, Vec<File>> {
    SPARES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spares_are_given_up_for_want_of_descriptors_alone() {
        let none_left = || io::Error::from_raw_os_error(libc::EMFILE);
        assert!(!give_up(&io::ErrorKind::NotFound.into()));
        hold();
        let mut tries = 0;
        let opened = open(|| {
            tries += 1;
            if tries < 4 { Err(none_left()) } else { Ok(tries) }
        });
        assert_eq!(opened.unwrap(), 4);
        let mut tries = 0;
        let opened: io::Result<()> = open(|| {
            tries += 1;
            Err(none_left())
        });
        // Three were given up above, and the last one is not tried in vain.
        assert_eq!((opened.unwrap_err().raw_os_error(), tries), (Some(libc::EMFILE), HELD - 3 + 1));
        hold();
        assert_eq!(spares().len(), HELD);
    }
}
