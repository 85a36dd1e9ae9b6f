//! The book: its pages lead where they say, its reference is what the code declares, and its commands are commands.

#[path = "book/commands.rs"]
mod commands;
#[path = "book/links.rs"]
mod links;
#[path = "book/reference.rs"]
mod reference;

use std::fs;
use std::path::{Path, PathBuf};

/// Pages there are at least: a search that finds none must not pass.
const PAGES: usize = 30;

/// A page, by its path from the root of the repository.
struct Page {
    path: PathBuf,
    text: String,
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// That page.
fn page(path: impl Into<PathBuf>) -> Page {
    let path = path.into();
    let text =
        fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Page { path, text }
}

/// The pages of the book in the order of their paths, its table of contents among them.
fn book() -> Vec<Page> {
    let (mut folders, mut pages) = (vec![PathBuf::from("docs")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(root().join(&folder)).expect("a folder").map(|entry| entry.expect("an entry"))
        {
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    assert!(pages.len() >= PAGES, "{pages:?}");
    pages.into_iter().map(page).collect()
}
