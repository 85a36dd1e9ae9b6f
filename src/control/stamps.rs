//! Looks at the stamps of all files, for what no watcher tells of.
//!
//! A watcher may run out of watches, lose events, or see nothing at all of what another machine does to a shared file
//! system. A stamp is there in any case, and reading it opens no file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use crate::orders::files::Stamp;
use crate::orders::writers::Writers;

/// The stamps at the last look. Links are followed to where they lead, so one that is swapped anywhere on the way shows.
#[derive(Debug, Default)]
pub struct Stamps {
    /// Each file's stamp.
    stamps: HashMap<PathBuf, Option<Stamp>>,
    /// When that was.
    at: Option<Instant>,
}

impl Stamps {
    /// Looks at these files and folders, there or not; whether any is other than at the last look. One that was not looked
    /// at before counts as such: it may have changed between reading and looking. `writers` are told of each that is other.
    pub fn look(&mut self, files: &[PathBuf], writers: &Writers, at: Instant) -> bool {
        let mut before = std::mem::take(&mut self.stamps);
        let last = self.at.replace(at).unwrap_or(at);
        let mut changed = false;
        self.stamps = files
            .iter()
            .map(|file| {
                let now = Stamp::of(file);
                match before.remove_entry(file) {
                    Some((file, then)) => {
                        if then != now {
                            changed = true;
                            let same =
                                then.zip(now.as_ref()).is_some_and(|(then, now)| then.is_same_file(now));
                            // Nobody writes to what is not there.
                            if now.is_some() {
                                writers.seen(&file, !same, last, at);
                            }
                        }
                        (file, now)
                    }
                    None => {
                        changed = true;
                        (file.clone(), now)
                    }
                }
            })
            .collect();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn whatever_is_done_to_a_file_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("orders")).unwrap();
        fs::write(path("orders/a.txt"), "1").unwrap();
        // As a ConfigMap is mounted: the file is a link through a link that is swapped.
        for version in ["v1", "v2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("b.txt"), "same").unwrap();
        }
        symlink("v1", path("..data")).unwrap();
        symlink("..data/b.txt", path("b.txt")).unwrap();
        let files = ["orders", "orders/a.txt", "b.txt", "gone.txt"].map(path);
        let (mut stamps, writers, at) = (Stamps::default(), Writers::default(), Instant::now());
        assert!(stamps.look(&files, &writers, at), "what was never looked at may have changed");
        assert!(!stamps.look(&files, &writers, at));
        let steps: [(&str, &dyn Fn()); 6] = [
            ("written in place", &|| fs::write(path("orders/a.txt"), "22").unwrap()),
            ("renamed over", &|| {
                fs::write(path("new"), "22").unwrap();
                fs::rename(path("new"), path("orders/a.txt")).unwrap();
            }),
            ("created in a folder", &|| fs::write(path("orders/c.toml"), "").unwrap()),
            ("a link on the way is swapped", &|| {
                symlink("v2", path("..new")).unwrap();
                fs::rename(path("..new"), path("..data")).unwrap();
            }),
            ("comes to be there", &|| fs::write(path("gone.txt"), "").unwrap()),
            ("removed", &|| fs::remove_file(path("orders/a.txt")).unwrap()),
        ];
        for (what, step) in steps {
            step();
            assert!(stamps.look(&files, &writers, at), "{what}");
            assert!(!stamps.look(&files, &writers, at), "{what}");
        }
    }
}
