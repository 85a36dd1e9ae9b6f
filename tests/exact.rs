//! Exactness over the wire: of ten thousand listed names none escapes, and of a hundred thousand others none is touched.
//!
//! Real lists are read from `$SINKSCOPE_DATA`, by default `../shared/data`; where they are absent, made names stand in.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::flood::{self, Mock, Tally, address_of};
use support::process::{Folder, Program, aloud, run};
use support::wire::{A, Reply};

/// What the order of the test is called.
const ORDER: &str = "exact-test";
/// How the docket of the order is written.
const DOCKET: &str = "2:14-cv-00987-GMN-GWF";
/// Where names come from, if they are the real ones.
const REAL: &str = "real";
/// After this long a question is sent again.
const PATIENCE: Duration = Duration::from_secs(2);
/// Zones that a resolver answers by itself (RFC 6761, RFC 6762, RFC 7686), told by their last label.
const SPECIAL: [&str; 5] = ["localhost", "test", "invalid", "onion", "local"];

#[test]
fn every_listed_name_and_no_other() {
    let start = Instant::now();
    let names = Names::read();
    if names.source != REAL {
        aloud(&format!("NOTE: {} is not all there: made names stand in for real ones", data().display()));
    }
    let folder = Folder::new(&[("orders/listed.txt", &names.lists.join("\n"))]);
    let quoted: Vec<String> = zones().iter().map(|zone| format!("\"{zone}\"")).collect();
    folder.write(
        "orders/order.toml",
        &format!(
            "id = \"{ORDER}\"\ntitle = \"T\"\nkind = \"court\"\ndocket = \"{DOCKET}\"\nzones = [{}]\n[[scope]]\n\
             match = \"exact\"\nfile = \"listed.txt\"\n",
            quoted.join(", ")
        ),
    );
    let upstream = Mock::start();
    // Some real names are those of home networks, which would be asked of nobody.
    let upstream_addr = upstream.addr().to_string();
    let args = ["--upstream", &upstream_addr, "--set", "special.forward_home_names=true"];
    let program =
        Program::serve(&folder, &[&["--listen", "127.0.0.1:0", "--orders", "orders"][..], &args].concat());
    let listed: Vec<&String> = names.listed.iter().collect();
    let wrong = Wrong::default();

    // Each listed name as it is written, and in mixed case.
    let question = |index: usize| match index % 2 {
        0 => listed[index / 2].clone(),
        _ => mixed(listed[index / 2], index),
    };
    let sinkholed = ask(&program, 2 * listed.len(), &question, |name, reply| {
        let [(code, text), ..] = &reply.ede[..] else { return wrong.note("escaped", name, reply) };
        let named = *code == 16 && text.contains(ORDER) && text.contains(DOCKET);
        if !(named
            && reply.rcode == 0
            && reply.addresses == [std::net::Ipv4Addr::UNSPECIFIED]
            && reply.ttls == [10])
        {
            wrong.note("escaped", name, reply);
        }
    });
    assert_eq!(upstream.asked(), 0, "nobody hears of listed names");
    let escaped = wrong.take();

    // Everybody else, in mixed case as well.
    let (mut others_asked, mut touched) = (0, 0);
    let mut counts = Vec::new();
    for (what, others) in [
        ("siblings", &names.siblings),
        ("parents", &names.parents),
        ("children", &names.children),
        ("popular names", &names.popular),
    ] {
        let question = |index: usize| match index % 4 {
            0 => mixed(&others[index], index),
            _ => others[index].clone(),
        };
        let tally = ask(&program, others.len(), &question, |name, reply| {
            let truth = reply.rcode == 0 && reply.addresses == [address_of(name)] && reply.ede.is_empty();
            if !truth {
                wrong.note("touched", name, reply);
            }
        });
        assert_eq!(tally.lost, 0, "{what}");
        touched += wrong.take();
        others_asked += tally.answered;
        counts.push(format!("{what} {}", tally.answered));
    }

    assert_eq!(sinkholed.lost, 0);
    let hits = 2 * listed.len() - escaped;
    println!(
        "{} names listed ({}), asked for twice: {hits} sinkholed; others asked for: {}; {} of them truthful",
        listed.len(),
        names.source,
        counts.join(", "),
        others_asked - touched,
    );
    println!(
        "false positives {touched}, false negatives {escaped}; precision {}, recall {}; upstream asked {}; {:.1} s",
        hits as f64 / (hits + touched) as f64,
        hits as f64 / (2 * listed.len()) as f64,
        upstream.asked(),
        start.elapsed().as_secs_f64(),
    );
    assert_eq!((touched, escaped), (0, 0), "{}", wrong.examples());
    assert!(
        listed.len() > 2000 && names.popular.len() > 2000 && names.parents.len() >= 24,
        "there were names"
    );
}

#[test]
fn public_suffixes_are_taken_only_on_purpose() {
    let zones_file = data().join("dynamic-dns-zones.txt");
    let real = fs::read_to_string(&zones_file);
    let made = || zones().join("\n");
    println!("{}", if real.is_ok() { "real dynamic-DNS zones" } else { "the zones of blocklists/" });
    let order = |more: &str| {
        format!(
            "id = \"all-dynamic-dns\"\ntitle = \"T\"\nkind = \"court\"\n{more}[[scope]]\nmatch = \"subtree\"\n\
             file = \"zones.txt\"\n"
        )
    };
    let folder =
        Folder::new(&[("o/zones.txt", &real.unwrap_or_else(|_| made())), ("o/order.toml", &order(""))]);
    let refused = run(&folder, &["check", "o", "--verbose"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.out.contains("would take whole public suffixes, and everybody's names below them: "),
        "{refused:?}"
    );
    assert!(refused.out.contains("\n0 orders with 0 names; refused: 1 order, "), "{refused:?}");
    // All of the No-IP zones are public suffixes, and in the list.
    for zone in zones() {
        let line = format!("    {zone}");
        assert!(refused.out.lines().any(|found| found == line), "{zone} is not named:\n{}", refused.out);
    }
    folder.write("o/order.toml", &order("allow_public_suffix = true\n"));
    let allowed = run(&folder, &["check", "o"]);
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
    assert!(allowed.out.contains("warning: "), "{allowed:?}");
    assert!(allowed.out.contains("\n1 order with "), "{allowed:?}");
    for line in refused.out.lines().filter(|line| !line.starts_with("    ")).chain(allowed.out.lines()) {
        println!("{line}");
    }
}

/// What is asked for.
struct Names {
    /// Where they come from.
    source: &'static str,
    /// The lists as they are.
    lists: Vec<String>,
    /// The distinct names on them.
    listed: BTreeSet<String>,
    /// An unlisted sibling of each.
    siblings: Vec<String>,
    /// The parents that are not listed, for each name with one.
    parents: Vec<String>,
    /// An unlisted child of each.
    children: Vec<String>,
    /// Names that have nothing to do with any of them.
    popular: Vec<String>,
}

impl Names {
    /// Reads the real lists, or makes some up.
    fn read() -> Names {
        let real = |file: &str| fs::read_to_string(data().join(file)).ok();
        let lists = [real("noip-bladabindi.txt"), real("noip-jenxcus.txt"), real("popular-100k.txt")];
        let (source, lists, popular) = match lists {
            [Some(bladabindi), Some(jenxcus), Some(popular)] => (REAL, vec![bladabindi, jenxcus], popular),
            _ => ("made, because the real lists are absent", vec![made_list()], made_popular()),
        };
        let names_of = |list: &str| -> BTreeSet<String> {
            let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            lines.filter(|line| !line.is_empty()).map(str::to_ascii_lowercase).collect()
        };
        let listed: BTreeSet<String> = lists.iter().flat_map(|list| names_of(list)).collect();
        let parent_of = |name: &String| name.split_once('.').expect("a name below a zone").1.to_owned();
        let unlisted = |name: &String| !listed.contains(name);
        let made = |label: &str, below: &str| {
            (0..).map(|index| format!("{label}{index}.{below}")).find(unlisted).expect("lists are finite")
        };
        Names {
            source,
            siblings: listed
                .iter()
                .enumerate()
                .map(|(index, name)| made(&format!("sibling{index}-"), &parent_of(name)))
                .collect(),
            parents: listed.iter().map(parent_of).filter(unlisted).collect(),
            children: listed.iter().map(|name| made("child", name)).collect(),
            popular: names_of(&popular)
                .into_iter()
                .filter(unlisted)
                .filter(|name| !name.rsplit('.').next().is_some_and(|last| SPECIAL.contains(&last)))
                .collect(),
            listed,
            lists,
        }
    }
}

/// Names in the shape of the real ones: below the zones, some of them deeper, some below another.
fn made_list() -> String {
    let zones = zones();
    let names = (0..3000).map(|index| {
        let zone = &zones[index % zones.len()];
        match index % 50 {
            7 => format!("deep.made{index}.{zone}"),
            8 => format!("child-of-listed.made{}.{}", index - 2, zones[(index - 2) % zones.len()]),
            _ => format!("made{index}.{zone}"),
        }
    });
    names.collect::<Vec<_>>().join("\n")
}

/// Names of people who have nothing to do with it.
fn made_popular() -> String {
    (0..6000).map(|index| format!("popular{index}.example")).collect::<Vec<_>>().join("\n")
}

/// The zones of the order that ships with the program.
fn zones() -> Vec<String> {
    let order = Path::new(env!("CARGO_MANIFEST_DIR")).join("blocklists/noip-demonstration.toml");
    let order: toml::Table = fs::read_to_string(order).expect("the order").parse().expect("TOML");
    let zones = order["zones"].as_array().expect("zones").iter();
    let zones: Vec<String> = zones.map(|zone| zone.as_str().expect("a zone").to_owned()).collect();
    assert_eq!(zones.len(), 24);
    zones
}

/// Where real lists are.
fn data() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    std::env::var_os("SINKSCOPE_DATA").map_or_else(default, PathBuf::from)
}

/// The name with some letters in upper case, others for each `salt`.
fn mixed(name: &str, salt: usize) -> String {
    let mut random = salt as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut flip = |letter: char| {
        // Xorshift: the same in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random >> 40 & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
    };
    name.chars().map(&mut flip).collect()
}

/// Asks for the address of many names and has the replies judged, the question's case in them checked.
fn ask(
    program: &Program,
    count: usize,
    name_of: &(impl Fn(usize) -> String + Sync),
    judge: impl Fn(&str, &Reply) + Sync,
) -> Tally {
    let question = |index: usize, name: &mut String| {
        *name = name_of(index);
        A
    };
    let judged = AtomicUsize::new(0);
    let tally = flood::ask_all(program.addr(), count, PATIENCE, question, |index, packet| {
        let reply = Reply::read(packet).unwrap_or_else(|| panic!("reply {index} is not well-formed"));
        let name = name_of(index);
        assert_eq!(reply.qname, name, "the question comes back as it was");
        judge(&name, &reply);
        judged.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(judged.into_inner(), tally.answered);
    assert_eq!(tally.answered + tally.lost, count);
    tally
}

/// Replies that are not what they should be.
#[derive(Default)]
struct Wrong {
    count: AtomicUsize,
    examples: Mutex<Vec<String>>,
}

impl Wrong {
    /// Notes one.
    fn note(&self, what: &str, name: &str, reply: &Reply) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut examples = self.examples.lock().expect("examples");
        if examples.len() < 20 {
            examples.push(format!("{what}: {name}: {}", reply.show()));
        }
    }

    /// How many since the last time.
    fn take(&self) -> usize {
        self.count.swap(0, Ordering::Relaxed)
    }

    /// The first of them.
    fn examples(&self) -> String {
        self.examples.lock().expect("examples").join("\n")
    }
}
