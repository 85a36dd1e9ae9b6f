//! The built program with evidence: what orders decide is counted, kept over restarts and kills, and reported.

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value as Json, json};
use support::authority::{Authority, Data, Reply};
use support::mmdb::mmdb;
use support::process::{Ended, Folder, Program, has_tool, run};
use support::wire::{self, A, AAAA};

/// A court's order against two families, as it were.
const ORDER: &str = "id = \"us-nv-1\"\ntitle = \"T\"\nkind = \"court\"\n\
    [[scope]]\nmatch = \"subtree\"\nfamily = \"Mirai\"\ntags = [\"iot\"]\nnames = [\"evil.example\"]\n\
    [[scope]]\nmatch = \"exact\"\nfamily = \"Qbot\"\nnames = [\"bad.example\", \"target.example\"]\n";
/// Columns of Shadowserver's sinkhole DNS report.
const COLUMNS: &str = "timestamp,protocol,src_ip,src_port,src_asn,src_geo,src_region,src_city,src_hostname,src_naics,src_sector,\
    device_vendor,device_type,device_model,infection,family,tag,query_type,query,count";

/// A program with a state folder, and its upstream.
struct Bench {
    folder: Folder,
    authority: Authority,
}

impl Bench {
    /// With an order, and so much of clients kept.
    fn new(privacy: &str) -> Bench {
        let folder = Folder::new(&[("orders/a.toml", ORDER)]);
        let authority = Authority::start();
        authority.script("www.example", A, Reply::new().a(Ipv4Addr::new(192, 0, 2, 1)));
        let truth = Data::A(Ipv4Addr::new(192, 0, 2, 1));
        authority.script(
            "alias.example",
            A,
            Reply::new().cname("target.example").record("target.example", truth),
        );
        let config = format!(
            "[listen]\nudp = [\"127.0.0.1:0\"]\nworkers = 1\n[orders]\npaths = [\"orders\"]\nstate = \"state\"\n[upstream]\nservers = [\"{}\"]\n\
             [evidence]\non = true\nflush = 1\nprivacy = \"{privacy}\"\n[cache]\npersist = false\n",
            authority.addr()
        );
        folder.write("sinkscope.toml", &config);
        Bench { folder, authority }
    }

    /// Reports as JSON.
    fn report(&self, words: &[&str]) -> Json {
        let ended = self.said(&[&["report", "--format", "json"], words].concat());
        serde_json::from_str(&ended.out).expect("JSON")
    }

    /// Runs a command that has to go well.
    fn said(&self, words: &[&str]) -> Ended {
        let ended = run(&self.folder, words);
        assert_eq!(ended.code, Some(0), "{words:?}: {}{}", ended.out, ended.err);
        ended
    }

    /// Queries of an order's family in a report.
    fn queries(&self, family: &str) -> u64 {
        let report = self.report(&[]);
        let orders = report["orders"].as_array().expect("orders");
        let of = orders.iter().find(|order| order["family"] == family);
        of.map_or(0, |order| order["queries"].as_u64().expect("a number"))
    }
}

#[test]
fn what_an_order_decides_is_counted_and_reported() {
    let bench = Bench::new("full");
    let mut program = Program::serve(&bench.folder, &[]);
    let addr = program.addr();
    for (name, qtype, times) in [
        ("a.evil.example", A, 3),
        ("b.EVIL.example", AAAA, 2),
        ("bad.example", A, 1),
        ("alias.example", A, 2),
        ("www.example", A, 5),
    ] {
        (0..times).for_each(|_| drop(wire::udp(addr, name, qtype)));
    }
    wire::tcp(addr, "a.evil.example", A);
    program.signal("TERM");
    assert!(program.wait().success());
    let kept = bench.folder.file("state/evidence.db");
    assert_eq!(fs::metadata(&kept).expect("a database").permissions().mode() & 0o777, 0o600);

    let report = bench.report(&[]);
    let orders = report["orders"].as_array().expect("orders");
    assert_eq!(
        (orders.len(), &report["queries"]),
        (2, &9.into()),
        "who asks for what no order decides is nobody's business"
    );
    let mirai = &orders[0];
    assert_eq!(
        (&mirai["order"], &mirai["family"], &mirai["tags"][0]),
        (&"us-nv-1".into(), &"Mirai".into(), &"iot".into())
    );
    assert_eq!((&mirai["queries"], &mirai["clients"]), (&6.into(), &1.into()));
    assert_eq!(
        (&mirai["names"][0]["what"], &mirai["names"][0]["queries"]),
        (&"a.evil.example".into(), &4.into())
    );
    assert_eq!(mirai["most"][0]["what"], "127.0.0.1");
    // What its answer leads to decides about an alias; it is the alias that was asked for.
    assert_eq!(orders[1]["names"][0]["what"], "alias.example");

    let table = bench.said(&["report", "--order", "us-nv-1"]).out;
    assert!(table.contains("order us-nv-1, Mirai") && table.contains("clients   about 1\n"), "{table}");
    let csv = bench.said(&["report", "--format", "csv"]).out;
    assert!(
        csv.starts_with("order,family,day,queries,clients,first,last\n\"us-nv-1\",\"Mirai\",\"20"),
        "{csv}"
    );
    let page = bench.said(&["report", "--format", "html"]).out;
    assert!(
        page.contains("<svg") && page.contains("a.evil.example") && page.ends_with("</body></html>\n"),
        "{page}"
    );
    let stix: Json = serde_json::from_str(&bench.said(&["report", "--format", "stix"]).out).expect("JSON");
    let objects = stix["objects"].as_array().expect("objects");
    let sightings: Vec<&Json> = objects.iter().filter(|object| object["type"] == "sighting").collect();
    let of = |id: &Json| objects.iter().find(|object| object["id"] == *id).expect("what it is of");
    assert_eq!((sightings.len(), &sightings[0]["count"]), (2, &6.into()));
    assert_eq!(of(&sightings[0]["sighting_of_ref"])["name"], "Mirai");
    assert!(!stix.to_string().contains("127.0.0.1"), "{stix}");
    for (prefix, expected) in [("127.0.0.0/8", 9), ("192.0.2.0/24", 0)] {
        assert_eq!(bench.report(&["--for-isp", prefix])["queries"], expected);
    }
    assert_eq!(bench.report(&["--until", "2020-01-01"])["queries"], 0);

    // An independent reader of CSV.
    if has_tool("python3", "python3") {
        let rows = bench.said(&["report", "--for-isp", "127.0.0.0/8"]).out;
        bench.folder.write("rows.csv", &rows);
        let read = "import csv, datetime, sys\nrows = list(csv.DictReader(open(sys.argv[1])))\n\
            assert ','.join(rows[0]) == sys.argv[2], rows[0]\n\
            for row in rows: datetime.datetime.strptime(row['timestamp'], '%Y-%m-%d %H:%M:%S')\n\
            print(sorted((r['protocol'], r['src_ip'], int(r['src_port']) > 0, r['infection'], r['tag'], r['query_type'], r['query'], r['count']) for r in rows))\n";
        let python = Command::new("python3")
            .args(["-c", read])
            .arg(bench.folder.file("rows.csv"))
            .arg(COLUMNS)
            .output();
        let python = python.expect("python runs");
        let expected = "[('tcp', '127.0.0.1', True, 'Mirai', 'us-nv-1;iot', 'A', 'a.evil.example', '1'), \
            ('udp', '127.0.0.1', True, 'Mirai', 'us-nv-1;iot', 'A', 'a.evil.example', '3'), \
            ('udp', '127.0.0.1', True, 'Mirai', 'us-nv-1;iot', 'AAAA', 'b.evil.example', '2'), \
            ('udp', '127.0.0.1', True, 'Qbot', 'us-nv-1', 'A', 'alias.example', '2'), \
            ('udp', '127.0.0.1', True, 'Qbot', 'us-nv-1', 'A', 'bad.example', '1')]\n";
        assert_eq!(
            String::from_utf8_lossy(&python.stdout),
            expected,
            "{}",
            String::from_utf8_lossy(&python.stderr)
        );
    }
    drop(bench.authority);
}

#[test]
fn where_clients_are_is_told_by_local_files() {
    let bench = Bench::new("full");
    let place = json!({
        "autonomous_system_number": 64_500, "country": {"iso_code": "ZZ"}, "city": {"names": {"en": "Here, or \"there\"\n"}},
    });
    fs::write(bench.folder.file("here.mmdb"), mmdb(6, &[("127.0.0.0/8", place)])).expect("a file");
    let config = fs::read_to_string(bench.folder.file("sinkscope.toml")).expect("a configuration");
    let config = config.replace("[evidence]\n", "[evidence]\nmmdb = [\"here.mmdb\"]\n");
    bench.folder.write("sinkscope.toml", &config);
    let mut program = Program::serve(&bench.folder, &[]);
    wire::udp(program.addr(), "a.evil.example", A);
    program.signal("TERM");
    program.wait();

    let line = |out: &str| out.lines().nth(1).expect("a line").to_owned();
    let told = line(&bench.said(&["report", "--format", "shadowserver"]).out);
    assert!(told.contains(r#",64500,"ZZ",,"Here, or ""there""\n",,,,,,,"Mirai","Mirai","#), "{told}");
    // Without the file it is the same report but for these columns, and the exit code says that something is wrong.
    let ended = run(&bench.folder, &["report", "--format", "shadowserver", "--mmdb", "gone.mmdb"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("error: gone.mmdb: cannot be read: No such file"), "{}", ended.err);
    let empty = told.replace(r#",64500,"ZZ",,"Here, or ""there""\n","#, ",,,,,");
    assert_eq!(line(&ended.out), empty);
}

#[test]
fn a_kill_costs_some_seconds_at_most_and_that_is_said() {
    let bench = Bench::new("prefix");
    let mut program = Program::serve(&bench.folder, &[]);
    (0..7).for_each(|_| drop(wire::udp(program.addr(), "a.evil.example", A)));
    // Seven are in the database while it serves: who reads is not in its way.
    let seven = std::time::Instant::now();
    while bench.queries("Mirai") < 7 {
        assert!(seven.elapsed() < support::process::PATIENCE, "they are written within a second or two");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let report = bench.report(&[]);
    assert_eq!(report["orders"][0]["most"][0]["what"], "127.0.0.0/24");
    wire::udp(program.addr(), "a.evil.example", A);
    program.signal("KILL");
    program.wait();

    let mut program = Program::serve(&bench.folder, &[]);
    let said = "did not end in good order last time: evidence of its last 3 seconds may be missing";
    assert!(program.log().contains(said), "{}", program.log());
    assert!((7..=8).contains(&bench.queries("Mirai")));
    wire::udp(program.addr(), "a.evil.example", A);
    program.signal("TERM");
    program.wait();
    assert!((8..=9).contains(&bench.queries("Mirai")));
    let program = Program::serve(&bench.folder, &[]);
    assert!(!program.log().contains("did not end in good order"), "{}", program.log());
}

#[test]
fn a_damaged_database_is_set_aside_and_answers_go_on() {
    let bench = Bench::new("none");
    fs::create_dir(bench.folder.file("state")).expect("a folder");
    bench.folder.write("state/evidence.db", &"no database\n".repeat(1000));
    fs::set_permissions(bench.folder.file("state/evidence.db"), fs::Permissions::from_mode(0o600))
        .expect("rights");
    let mut program = Program::serve(&bench.folder, &[]);
    assert!(
        program.log().contains("it is kept aside as state/evidence.db.bad, and a new one is begun"),
        "{}",
        program.log()
    );
    wire::udp(program.addr(), "bad.example", A);
    let status = bench.said(&["status"]).out;
    assert!(status.contains("evidence "), "{status}");
    program.signal("TERM");
    program.wait();
    let report = bench.report(&[]);
    assert_eq!((&report["queries"], &report["orders"][0]["most"]), (&1.into(), &Json::Array(vec![])));
    assert!(bench.folder.file("state/evidence.db.bad").exists());
}

#[test]
fn without_evidence_there_is_none() {
    let bench = Bench::new("full");
    let mut program = Program::serve(&bench.folder, &["--set", "evidence.on=false"]);
    wire::udp(program.addr(), "bad.example", A);
    program.signal("TERM");
    program.wait();
    assert!(!bench.folder.file("state/evidence.db").exists());
    let ended = run(&bench.folder, &["report"]);
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("there is no evidence: no such file"), "{}", ended.err);
    // It needs a folder.
    let ended = run(&bench.folder, &["check", "--set", "orders.state="]);
    assert!(
        ended.err.contains("`evidence.on` is set, and there is no state folder to keep it in"),
        "{}",
        ended.err
    );
}
