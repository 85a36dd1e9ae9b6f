//! Looks at the stamps of all files, for what no watcher tells of.
//!
//! A watcher may run out of watches, lose events, or see nothing at all of what another machine does to a shared file
//! system. A stamp is there in any case, and reading it opens no file.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::orders::files::Stamp;

/// The stamps at the last look. Links are followed to where they lead, so one that is swapped anywhere on the way shows.
#[derive(Debug, Default)]
pub struct Stamps(HashMap<PathBuf, Option<Stamp>>);

impl Stamps {
    /// Looks at these files and folders, there or not; whether any is other than at the last look. One that was not looked
    /// at before counts as such: it may have changed between reading and looking.
    pub fn look(&mut self, files: &[PathBuf]) -> bool {
        let mut before = std::mem::take(&mut self.0);
        let mut changed = false;
        self.0 = files
            .iter()
            .map(|file| {
                let now = Stamp::of(file);
                match before.remove_entry(file) {
                    Some((file, then)) => {
                        changed |= then != now;
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
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("orders")).unwrap();
        fs::write(at("orders/a.txt"), "1").unwrap();
        // As a ConfigMap is mounted: the file is a link through a link that is swapped.
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("b.txt"), "same").unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/b.txt", at("b.txt")).unwrap();
        let files = ["orders", "orders/a.txt", "b.txt", "gone.txt"].map(at);
        let mut stamps = Stamps::default();
        assert!(stamps.look(&files), "what was never looked at may have changed");
        assert!(!stamps.look(&files));
        let steps: [(&str, &dyn Fn()); 6] = [
            ("written in place", &|| fs::write(at("orders/a.txt"), "22").unwrap()),
            ("renamed over", &|| {
                fs::write(at("new"), "22").unwrap();
                fs::rename(at("new"), at("orders/a.txt")).unwrap();
            }),
            ("created in a folder", &|| fs::write(at("orders/c.toml"), "").unwrap()),
            ("a link on the way is swapped", &|| {
                symlink("v2", at("..new")).unwrap();
                fs::rename(at("..new"), at("..data")).unwrap();
            }),
            ("comes to be there", &|| fs::write(at("gone.txt"), "").unwrap()),
            ("removed", &|| fs::remove_file(at("orders/a.txt")).unwrap()),
        ];
        for (what, step) in steps {
            step();
            assert!(stamps.look(&files), "{what}");
            assert!(!stamps.look(&files), "{what}");
        }
    }
}
