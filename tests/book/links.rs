//! Every link leads to a file and a heading that are there, and the table of contents has every page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{Page, book, page, root};

/// Pages beside the book.
const BESIDE: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "blocklists/README.md",
    "checks/README.md",
    "tests/scenarios/README.md",
];
/// Links, and links to headings, there are at least.
const LINKS: (usize, usize) = (250, 100);

/// A page's text less what stands in fences.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// Where the links of a page lead, as they are written.
fn links(text: &str) -> Vec<String> {
    // What stands between backticks is no link; what stands around such a text may be one.
    let prose = prose(text);
    let text: String = prose.split('`').step_by(2).collect();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(|target| target.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// The anchors of a page's headings, as mdBook and what shows the repository both make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut anchors, mut times) = (BTreeSet::new(), BTreeMap::new());
    for heading in prose(text).lines().filter(|line| line.starts_with('#')) {
        let plain = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let before: &mut usize = times.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// Where a link leads from a page, as a path from the root of the repository.
fn leads_to(page: &Path, target: &str) -> PathBuf {
    if target.is_empty() {
        return page.to_owned();
    }
    let mut path = PathBuf::new();
    for part in page.parent().expect("a folder").join(target).components() {
        match part {
            Component::ParentDir => {
                assert!(path.pop(), "{} leads out of the repository by {target}", page.display())
            }
            part => path.push(part),
        }
    }
    path
}

/// What is wrong with a link of a page.
fn fault(from: &Page, link: &str, in_book: bool) -> Option<String> {
    let (target, anchor) =
        link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    let path = leads_to(&from.path, target);
    if !root().join(&path).exists() {
        return Some("there is no such file".into());
    }
    if in_book && (!path.starts_with("docs") || path.extension().is_none_or(|extension| extension != "md")) {
        return Some(
            "it leads out of the book: name the file as code, or move what is to be read into docs/".into(),
        );
    }
    let anchor = anchor?;
    let has = anchors(&page(path).text).contains(anchor);
    (!has).then(|| "there is no such heading".into())
}

#[test]
fn links_lead_to_what_is_there() {
    let (mut all, mut anchored, mut faults) = (0, 0, Vec::new());
    let beside = BESIDE.map(page).into_iter().map(|page| (page, false));
    for (page, in_book) in book().into_iter().map(|page| (page, true)).chain(beside) {
        for link in links(&page.text) {
            // What is elsewhere is not looked at: tests ask nobody outside.
            if link.starts_with("https://") {
                continue;
            }
            all += 1;
            anchored += usize::from(link.contains('#'));
            if let Some(why) = fault(&page, &link, in_book) {
                faults.push(format!("{}: ({link}): {why}", page.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(all >= LINKS.0 && anchored >= LINKS.1, "only {all} links, {anchored} of them to headings");
}

#[test]
fn the_table_of_contents_has_every_page_once() {
    let summary = page("docs/SUMMARY.md");
    let mut named: Vec<PathBuf> =
        links(&summary.text).iter().map(|link| leads_to(&summary.path, link)).collect();
    named.sort();
    let pages = book().into_iter().map(|page| page.path).filter(|path| *path != summary.path);
    assert_eq!(named, pages.collect::<Vec<_>>());
}

#[test]
fn every_page_begins_with_its_title() {
    // The table of contents has the titles of its parts.
    for page in book().into_iter().filter(|page| !page.path.ends_with("SUMMARY.md")) {
        let titles = prose(&page.text).lines().filter(|line| line.starts_with("# ")).count();
        assert!(page.text.starts_with("# ") && titles == 1, "{}", page.path.display());
    }
}

#[test]
fn links_and_headings_are_found_where_pages_have_them() {
    let text = "# A `b`: c_d, e\n[x](y.md#z) [`p`](q)\n`[no](code)`\n```sh\n# no\n[no](fence)\n```\n## Two\n## Two\n";
    assert_eq!(links(text), ["y.md#z", "q"]);
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["a-b-c_d-e", "two", "two-1"]);
    let from = page("docs/local.md");
    for (link, in_book, fine) in [
        ("clients.md", true, true),
        ("no-such.md", true, false),
        ("clients.md#no-such", true, false),
        ("../README.md", true, false),
        ("../README.md", false, true),
        ("../README.md#configuration", false, true),
    ] {
        assert_eq!(fault(&from, link, in_book).is_none(), fine, "{link}");
    }
}
