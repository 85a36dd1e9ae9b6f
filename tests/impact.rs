//! `sinkscope impact` as people run it: a small trace, an order beside others, every form of the report.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use sinkscope::iana::Rtype;
use sinkscope::name::Name;
use sinkscope::trace::Entry;
use sinkscope::trace::impact::{Report, Scale};
use sinkscope::trace::make::{Format, Writer};
use sinkscope::trace::message::put_query;
use support::process::{Ended, Folder, golden, run};

/// The order under judgement: two exact names in two dynamic-DNS zones.
const ORDER: &str = r#"id = "case-1"
title = "Example Corp. v. <Doe> & others"
kind = "court"
court = "District Court of Example"
docket = "1:26-cv-00001"
zones = ["ddns.net", "no-ip.org"]
effective = 2026-03-01

[[scope]]
match = "exact"
family = "njRAT"
names = ["evil.ddns.net"]

[[scope]]
match = "exact"
family = "<script>alert(1)</script>"
names = ["worse.no-ip.org", "never-asked.no-ip.org"]
"#;

/// Orders that stand: one lets a hospital through, one took a name before.
const OTHERS: [(&str, &str); 2] = [
    (
        "orders/pass.toml",
        "id = \"hospitals\"\naction = \"passthru\"\n[[scope]]\nmatch = \"subtree\"\nnames = [\"hospital.ddns.net\"]\n",
    ),
    ("orders/old.toml", "id = \"old\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"old.ddns.net\"]\n"),
];

/// What is configured beside the orders.
const CONFIG: &str = "[[orders.protected]]\nmatch = \"subtree\"\nnames = [\"clinic.ddns.net\"]\n";

/// A folder with all of it.
fn folder() -> Folder {
    let folder = Folder::new(&OTHERS);
    folder.write("case.toml", ORDER);
    folder.write("sinkscope.toml", CONFIG);
    folder.write("popular.txt", "ddns.net\nexample.com\nhopto.org\n");
    let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/impact/queries.txt");
    let (mut pcap, mut names) = (Writer::new(Vec::new(), Format::Pcap).expect("a pcap"), String::new());
    let mut entry = Entry::default();
    for line in
        fs::read_to_string(queries).expect("the queries").lines().filter(|line| !line.starts_with('#'))
    {
        let words: Vec<&str> = line.split(' ').collect();
        let [seconds, client, text] = words[..] else { panic!("{line}") };
        let name: Name = text.parse().expect("a name");
        put_query(&mut entry.message, 1, name.as_wire(), Rtype::A, None);
        entry.at = Some(Duration::from_secs(1_767_225_600 + seconds.parse::<u64>().expect("seconds")));
        entry.client = Some((client.parse::<std::net::IpAddr>().expect("a client"), 4000).into());
        pcap.write(&entry).expect("a query");
        let _ = writeln!(names, "{name}");
    }
    fs::write(folder.file("trace.pcap"), pcap.finish().expect("a pcap")).expect("a trace");
    folder.write("names.txt", &names);
    folder
}

/// What a run came to, as if on a terminal.
fn show(transcript: &mut String, line: &str, ended: &Ended) {
    let _ = writeln!(transcript, "$ sinkscope {line}\n{}{}", ended.out, ended.err);
    let code = ended.code.expect("no signal ended it");
    if code != 0 {
        let _ = writeln!(transcript, "(exit code {code})\n");
    }
}

/// Runs one line.
fn line(folder: &Folder, line: &str) -> Ended {
    run(folder, &line.split(' ').collect::<Vec<_>>())
}

#[test]
fn the_report_word_for_word() {
    let folder = folder();
    let mut transcript = String::new();
    for text in [
        "impact case.toml --trace trace.pcap --orders orders --popular popular.txt --at 2026-01-02",
        "impact case.toml --trace trace.pcap names.txt --orders orders --at 2026-01-02 --top 1",
        "impact old --trace names.txt --orders orders --at 2026-01-02",
    ] {
        let ended = line(&folder, text);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{text}");
        show(&mut transcript, text, &ended);
    }
    golden("impact.txt", &transcript);
}

#[test]
fn the_report_for_machines_says_the_same_and_can_be_read_again() {
    let folder = folder();
    let text =
        "impact case.toml --trace trace.pcap --orders orders --popular popular.txt --at 2026-01-02 --json";
    let ended = line(&folder, text);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    golden("impact.json", &ended.out);
    let report: Report = serde_json::from_str(&ended.out).expect("a report");
    assert_eq!(report.asked.queries, 20);
    let exact = report.at_scale(Scale::Exact).expect("a scale");
    assert_eq!((exact.taken.queries, exact.collateral.queries), (5, 0));
    assert_eq!(report.at_scale(Scale::Written).expect("a scale").taken, exact.taken);
    let zone = report.at_scale(Scale::Zone).expect("a scale");
    assert_eq!((zone.taken.queries, zone.collateral.queries, zone.let_pass.queries), (12, 7, 3));
    // Packed it is the same trace.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&fs::read(folder.file("trace.pcap")).expect("a trace")).expect("packed");
    fs::write(folder.file("trace.pcap"), packed.finish().expect("packed")).expect("a trace");
    assert_eq!(line(&folder, text).out, ended.out);
}

#[test]
fn the_page_is_one_file_and_escapes_what_it_shows() {
    let folder = folder();
    let text = "impact case.toml --trace trace.pcap --orders orders --popular popular.txt --at 2026-01-02 --html page.html";
    assert_eq!(line(&folder, text).code, Some(0));
    let page = fs::read_to_string(folder.file("page.html")).expect("a page");
    for wanted in [
        "Example Corp. v. &lt;Doe&gt; &amp; others",
        "1:26-cv-00001",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "As it is written, the order would take 5 of 20 recorded queries (25.00 %). It would touch no name that it does not list.",
        "If it took whole zones, it would take 12 queries (60.00 %): 7 of them for 5 names that it does not list.",
        "grandma.ddns.net",
        "judged as if it were in force",
        "<dt>collateral</dt>",
        "2026-01-01",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    // Nothing is run, and nothing is fetched.
    for unwanted in ["<script", "<Doe", "src=", "href=", "url(", "@import", "http:"] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_to_do() {
    let folder = folder();
    folder.write("broken.toml", &ORDER.replace("docket", "docet"));
    folder.write(
        "suffix.toml",
        &ORDER.replace("\"exact\"", "\"subtree\"").replace("evil.ddns.net", "ddns.net"),
    );
    folder.write("lines.toml", &ORDER.replace("names = [\"evil.ddns.net\"]", "file = \"lines.txt\""));
    folder.write("lines.txt", "evil.ddns.net\na..b.ddns.net\n");
    folder.write("list.txt", "evil.ddns.net\n");
    folder.write("none.txt", "");
    folder.write("some.txt", "evil.ddns.net\n..\n");
    let whole = fs::read(folder.file("trace.pcap")).expect("a trace");
    fs::write(folder.file("cut.pcap"), &whole[..whole.len() - 3]).expect("a trace");
    let mut transcript = String::new();
    for (text, code) in [
        ("impact case.toml", 2),
        ("impact gone.toml --trace trace.pcap --orders orders", 2),
        ("impact hospital --trace trace.pcap --orders orders", 2),
        ("impact orders --trace trace.pcap --orders orders", 2),
        ("impact broken.toml --trace trace.pcap --orders orders", 1),
        ("impact suffix.toml --trace trace.pcap --orders orders", 1),
        ("impact list.txt --trace trace.pcap --orders orders", 1),
        ("impact case.toml --trace trace.pcap gone.pcap --orders orders", 1),
        ("impact case.toml --trace orders --orders orders", 1),
        ("impact case.toml --trace trace.pcap --orders orders --popular gone.txt", 1),
        ("impact case.toml --trace trace.pcap --orders orders --popular none.txt", 1),
        ("impact case.toml --trace trace.pcap --orders orders --html nowhere/page.html", 1),
        ("impact case.toml --trace trace.pcap --at noon", 2),
    ] {
        let ended = line(&folder, text);
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{text}: {ended:?}");
        show(&mut transcript, text, &ended);
    }
    golden("impact-errors.txt", &transcript);
    // What is read of it counts, and what is not is said.
    for (text, code, wanted) in [
        ("impact case.toml --trace none.txt --orders orders", 1, "note: there was no query to count"),
        ("impact case.toml --trace some.txt --orders orders", 0, "note: passed over in some.txt: 1 lines"),
        ("impact case.toml --trace cut.pcap --orders orders", 1, "note: cut.pcap is damaged at octet"),
        (
            "impact case.toml --trace some.txt some.txt --orders orders",
            0,
            "some.txt was given more than once",
        ),
        ("impact lines.toml --trace some.txt --orders orders", 0, "error: lines.txt:2: "),
        (
            "impact case.toml --trace some.txt --orders orders broken.toml",
            0,
            "the configured orders have 1 error",
        ),
    ] {
        let text = text.replace(" broken.toml", " --orders broken.toml");
        let ended = line(&folder, &text);
        assert_eq!(ended.code, Some(code), "{text}: {ended:?}");
        assert!(format!("{}{}", ended.err, ended.out).contains(wanted), "{text}: {ended:?}");
    }
}
