//! The papers of a release, held against Cargo's own: who is in the program, by which checksum, on which terms. The files that need a
//! build are left to `contrib/release --twice`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Has the script's functions make the licences of one crate of which nothing but a word is known.
const UNKNOWN: &str = "
import importlib.machinery, importlib.util, pathlib, sys
loader = importlib.machinery.SourceFileLoader('release', 'contrib/release')
release = importlib.util.module_from_spec(importlib.util.spec_from_loader('release', loader))
sys.dont_write_bytecode = True
loader.exec_module(release)
said = dict(id='x', name='nobody', version='1.0.0', manifest_path=sys.argv[1] + '/Cargo.toml', authors=[], license=sys.argv[2], license_file=None)
package = release.Package(said, {}, True)
try:
    print(release.licences(package, [package], []))
except release.Wrong as wrong:
    sys.exit(str(wrong))
";

/// Runs a command in the project's folder; none if there is no such program, which is said.
fn run(command: &mut Command) -> Option<Output> {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_NET_OFFLINE", "true").output();
    if output.is_err() {
        let why = format!("{command:?} cannot be run");
        assert!(std::env::var_os("SINKSCOPE_REQUIRE_TOOLS").is_none_or(|on| on != "1"), "{why}");
        eprintln!("SKIPPED: {why}");
    }
    output.ok()
}

/// What it wrote, if it went well.
fn text(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).expect("text")
}

/// Names and versions that Cargo has for what a program is made of.
fn listed(edges: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--edges", edges, "--prefix", "none", "--no-dedupe", "--format", "{p}"]);
    let output = run(&mut tree).expect("Cargo runs its own tests");
    let line = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ").replace(" v", " ");
    text(&output).lines().map(line).filter(|name| !name.starts_with("sinkscope ")).collect()
}

/// What Cargo builds for this, and with which features.
fn featured(edges: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--locked",
        "--edges",
        edges,
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p} {f}",
    ]);
    text(&run(&mut tree).expect("Cargo runs its own tests")).lines().map(str::to_owned).collect()
}

#[test]
fn tests_and_benches_turn_no_feature_on_in_what_runs() {
    let (alone, with_tests) = (featured("normal,build"), featured("normal,build,dev"));
    assert!(alone.len() > 150 && with_tests.len() > alone.len());
    let built_twice: Vec<&String> = alone.difference(&with_tests).collect();
    assert!(
        built_twice.is_empty(),
        "Cargo.toml says at [dependencies] why they have to be the same: {built_twice:#?}"
    );
}

/// A field's text.
fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}

#[test]
fn the_bill_of_materials_is_what_cargo_builds() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/release");
    let Some(made) = run(Command::new("python3").arg(script).arg("--papers").arg(folder.path())) else {
        return;
    };
    text(&made);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    let bill: Value =
        serde_json::from_str(&read(concat!("sinkscope-", env!("CARGO_PKG_VERSION"), ".cdx.json")))
            .expect("JSON");
    assert_eq!(
        (field(&bill, "bomFormat"), field(&bill, "specVersion"), &bill["version"]),
        ("CycloneDX", "1.5", &Value::from(1))
    );
    let number = field(&bill, "serialNumber").strip_prefix("urn:uuid:").expect("a number of its own");
    assert_eq!(number.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert_eq!(field(&bill["metadata"]["component"], "version"), env!("CARGO_PKG_VERSION"));

    let locked = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"))
        .expect("a lock file");
    let locked: toml::Table = locked.parse().expect("TOML");
    let word =
        |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let name = |package: &toml::Value| {
        format!("{} {}", word(package, "name").expect("a name"), word(package, "version").expect("a version"))
    };
    let packages = locked["package"].as_array().expect("packages");
    let checksums: BTreeMap<String, Option<String>> =
        packages.iter().map(|package| (name(package), word(package, "checksum"))).collect();

    let licences = read("THIRD-PARTY-LICENCES.txt");
    let (mut every, mut ships, mut refs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for component in bill["components"].as_array().expect("components") {
        let name = format!("{} {}", field(component, "name"), field(component, "version"));
        assert!(refs.insert(field(component, "bom-ref")), "{name} is there twice");
        let licence = &component["licenses"][0];
        let licence =
            licence["expression"].as_str().or(licence["license"]["id"].as_str()).expect("a licence");
        assert!(!licence.contains('/'), "{name}: {licence} is not as SPDX has it");
        assert!(
            licences
                .lines()
                .any(|line| line.starts_with(&format!("{name}:")) || line.starts_with(&format!("{name} *:"))),
            "{name}"
        );
        // Its terms stand between two lines that have its name.
        assert!(
            licences.contains(&format!("{name}\n====")) || licences.contains(&format!("{name}, ")),
            "no terms of {name}"
        );
        if field(component, "purl").starts_with("pkg:cargo/") {
            let hash = &component["hashes"][0];
            assert_eq!(field(hash, "alg"), "SHA-256");
            assert_eq!(Some(field(hash, "content")), checksums[&name].as_deref(), "{name}");
            if component["scope"] == "required" {
                ships.insert(name.clone());
            }
            every.insert(name);
        } else {
            // SQLite, Rust's library and the C library have no checksum of Cargo's.
            assert!(["sqlite", "rust-std", "glibc"].contains(&field(component, "name")), "{name}");
        }
    }
    assert!(ships.len() > 150, "{}", ships.len());
    assert_eq!(every, listed("normal,build"));
    assert_eq!(ships, listed("normal,no-proc-macro"));
    let tests_alone = ["proptest", "fst", "libtest-mimic", "hickory-server"];
    assert!(
        !every.iter().any(|name| tests_alone.contains(&name.split(' ').next().expect("a name"))),
        "{every:?}"
    );

    refs.insert(field(&bill["metadata"]["component"], "bom-ref"));
    let edges = bill["dependencies"].as_array().expect("dependencies");
    assert_eq!(edges.iter().map(|edge| field(edge, "ref")).collect::<BTreeSet<_>>(), refs);
    let mut needed = BTreeSet::new();
    for need in edges.iter().flat_map(|edge| edge["dependsOn"].as_array().expect("a list")) {
        needed.insert(need.as_str().expect("a reference"));
    }
    refs.remove(field(&bill["metadata"]["component"], "bom-ref"));
    assert_eq!(needed, refs, "somebody needs each, and nobody what is not there");
}

#[test]
fn terms_that_nobody_knows_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let made =
        |licence: &str| run(Command::new("python3").arg("-c").arg(UNKNOWN).arg(folder.path()).arg(licence));
    let Some(unknown) = made("LicenseRef-Mine") else { return };
    assert!(!unknown.status.success());
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("nobody 1.0.0: LicenseRef-Mine, and no file that says its terms"), "{said}");
    // The text of one that is the same for all is known, where it may be chosen.
    assert!(text(&made("MIT/Apache-2.0").expect("it ran")).contains("Version 2.0, January 2004"));
    assert!(!made("MIT AND Apache-2.0").expect("it ran").status.success());
    std::fs::write(folder.path().join("LICENSE"), "Anybody may.\n").expect("a file");
    assert!(text(&made("LicenseRef-Mine").expect("it ran")).contains("Anybody may."));
}
