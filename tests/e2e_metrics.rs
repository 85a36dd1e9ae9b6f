//! Metrics of the built program, and what is made of them: read by Prometheus's own tool, as are the rules and the dashboard in `contrib/`.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::authority::Authority;
use support::process::{Folder, Program, has_tool};
use support::wire::{self, A};

/// An order whose id tries to be more than a label.
const HOSTILE_ORDER: &str = "id = 'a\"}_1\\n\\\"{x='\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"subtree\"\nnames = [\"evil.ddns.net\"]\n";
/// A group of clients that does, too; lists have words for names.
const CONFIGURATION: &str = r#"
[listen]
udp = ["127.0.0.1:0"]
[control]
listen = "127.0.0.1:0"
[orders]
paths = ["orders"]
[[lists]]
name = "ads"
source = "list.txt"
match = "exact"
[[clients]]
name = 'ü"} 1 \n'
addresses = ["192.0.2.0/24"]
[[forward]]
zones = ["test.example"]
servers = ["127.0.0.1:9"]
groups = ['ü"} 1 \n']
"#;

/// A program with orders, lists and groups of such names, and where its API is.
struct Bench {
    _folder: Folder,
    _authority: Authority,
    program: Program,
    api: SocketAddr,
}

impl Bench {
    fn new() -> Bench {
        let folder = Folder::new(&[
            ("orders/a.toml", HOSTILE_ORDER),
            ("list.txt", "listed.example\n"),
            ("sinkscope.toml", CONFIGURATION),
        ]);
        let authority = Authority::start();
        let program = Program::serve(&folder, &["--upstream", &authority.addr().to_string()]);
        let line = program.wait_for(0, "control API on ");
        let api = line.rsplit(' ').next().expect("an address").parse().expect("an address");
        Bench { _folder: folder, _authority: authority, program, api }
    }

    /// The page, for who accepts this; and its content type.
    fn page(&self, accept: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.api).expect("the API");
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n",
            self.api
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).expect("a type");
        (kind.to_owned(), body.to_owned())
    }

    /// A sample of the page.
    fn sample(&self, name: &str) -> Option<f64> {
        let (_, page) = self.page("text/plain");
        let line = page.lines().find(|line| line.rsplit_once(' ').is_some_and(|(is, _)| is == name))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

/// Runs Prometheus's tool on files of `contrib/`, or with this as its input; what it said if that is not that all is well.
fn promtool(args: &[&str], input: &str) -> Result<(), String> {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(contrib())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Where rules and dashboard are.
fn contrib() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib")
}

/// The names of families on a page, with what histograms add to theirs.
fn names(page: &str) -> BTreeSet<String> {
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    families
        .flat_map(|(name, kind)| {
            let ends = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
            ends.iter().map(move |end| format!("{name}{end}"))
        })
        .collect()
}

/// The names of ours in an expression or any other text.
fn used(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !is_part(character));
    words.filter(|word| word.starts_with("sinkscope_")).map(str::to_owned).collect()
}

/// Every expression of the dashboard, as a query of Grafana's becomes one of Prometheus's.
fn expressions() -> Vec<String> {
    let text = fs::read_to_string(contrib().join("grafana/sinkscope.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let told = |target: &Value| {
        let text = target["expr"].as_str().expect("an expression");
        text.replace("$__rate_interval", "1m").replace("$__range", "6h").replace("$instance", ".*")
    };
    targets.map(told).collect()
}

#[test]
fn prometheus_reads_what_hostile_names_are_in() {
    let bench = Bench::new();
    assert_eq!(wire::udp(bench.program.addr(), "x.evil.ddns.net", A).show(), "NOERROR 0.0.0.0 EDE16 EDE4");
    assert_eq!(wire::tcp(bench.program.addr(), "evil.ddns.net", A).show(), "NOERROR 0.0.0.0 EDE16 EDE4");
    let _ = wire::udp(bench.program.addr(), "www.example.com", A);
    let (kind, page) = bench.page("text/plain");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        r#"sinkscope_order_hits_total{order="a\"}_1\\n\\\"{x="} 2"#,
        r#"sinkscope_upstream_queries_total{server="udp://127.0.0.1:9",groups="ü\"} 1 \\n"} 0"#,
        r#"sinkscope_list_entries{list="ads"} 1"#,
        r#"sinkscope_queries_total{transport="tcp"} 1"#,
        r#"sinkscope_answers_total{source="forged"} 2"#,
        r#"sinkscope_answers_total{source="fetched"} 1"#,
        "sinkscope_answer_wait_seconds_count 1",
        r#"sinkscope_orders_in_force{kind="court"} 1"#,
    ] {
        assert!(page.lines().any(|one| one == line), "{line} in\n{page}");
    }
    let (kind, open) = bench.page("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("# EOF\n"), "{open}");
    if !has_tool("promtool", "prometheus") {
        return;
    }
    promtool(&["check", "metrics"], &page).unwrap();
    // It reads this format where it makes a database of it, for which each sample has a time.
    let timed: String = open
        .lines()
        .map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1767225600\n") })
        .collect();
    let folder = Folder::new(&[("metrics.txt", &timed)]);
    let file = folder.file("metrics.txt").display().to_string();
    let database = folder.file("database").display().to_string();
    promtool(&["tsdb", "create-blocks-from", "openmetrics", &file, &database], "").unwrap();
    // Else it says nothing.
    let broken = page.replace("a\\\"}", "a\"}");
    assert!(promtool(&["check", "metrics"], &broken).is_err());
}

#[test]
fn as_many_series_as_before_however_many_names_are_asked_for() {
    let bench = Bench::new();
    // Some have their first sample with the first question that an upstream answers, and these with the first reload.
    let is_steady = |line: &&str| !line.starts_with('#') && !line.starts_with("sinkscope_last_reload_");
    let series = || bench.page("text/plain").1.lines().filter(is_steady).count();
    let _ = wire::udp(bench.program.addr(), "first.evil.ddns.net", A);
    let _ = wire::udp(bench.program.addr(), "first.example.com", A);
    let before = series();
    let socket = wire::client_of(bench.program.addr());
    for number in 0..1_000_u16 {
        let name = format!("n{number}.{}", if number % 2 == 0 { "evil.ddns.net" } else { "example.com" });
        socket.send(&wire::query(number, &name, A)).expect("a query");
        assert!(wire::receive(&socket).is_some(), "{name}");
    }
    assert_eq!(series(), before);
    assert_eq!(bench.sample(r#"sinkscope_order_hits_total{order="a\"}_1\\n\\\"{x="}"#), Some(501.0));
    assert_eq!(bench.sample(r#"sinkscope_queries_total{transport="udp"}"#), Some(1_002.0));
}

#[test]
fn rules_and_dashboard_ask_for_what_there_is() {
    let bench = Bench::new();
    let (_, page) = bench.page("text/plain");
    let names = names(&page);
    let rules = fs::read_to_string(contrib().join("prometheus/alerts.yml")).expect("rules");
    let tests = fs::read_to_string(contrib().join("prometheus/alerts_test.yml")).expect("tests of the rules");
    let expressions = expressions();
    assert!(expressions.len() > 30, "{}", expressions.len());
    for text in expressions.iter().chain([&rules, &tests]) {
        let unknown: Vec<String> = used(text).difference(&names).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?} in {text}");
    }
    assert!(!used("rate(sinkscope_nothing_total[1m])").is_subset(&names));
    if !has_tool("promtool", "prometheus") {
        return;
    }
    promtool(&["check", "rules", "prometheus/alerts.yml"], "").unwrap();
    promtool(&["test", "rules", "prometheus/alerts_test.yml"], "").unwrap();
    // What the dashboard asks is held to be expressions as rules are.
    let rule = |expressions: &[String]| {
        let rules: String = (0..)
            .zip(expressions)
            .map(|(number, text)| {
                format!("  - record: r:{number}\n    expr: {}\n", Value::from(text.as_str()))
            })
            .collect();
        let folder = Folder::new(&[("rules.yml", &format!("groups:\n- name: x\n  rules:\n{rules}"))]);
        promtool(&["check", "rules", &folder.file("rules.yml").display().to_string()], "")
    };
    rule(&expressions).unwrap();
    assert!(rule(&["rate(sinkscope_queries_total[1m]".to_owned()]).is_err());
}
