//! Runs every scenario in `tests/scenarios/`, each as a test of its own name: orders, a scripted upstream, virtual time, whole
//! replies. `cargo test --test scenarios chain` runs those whose names have that word; with `SINKSCOPE_BLESS=1` those that
//! expect something else than what comes are rewritten to expect it, for a look at the difference.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use sinkscope::cache::store::{Stored, Writer};
use sinkscope::clients::{Clients, UnknownGroup};
use sinkscope::clock::{Clock, Now};
use sinkscope::config::Config;
use sinkscope::control::local_files;
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::iana::Rtype;
use sinkscope::local::LocalNames;
use sinkscope::name::Name;
use sinkscope::orders::Loader;
use sinkscope::orders::lists::{self, ListSpec};
use sinkscope::orders::open::{Content, ListFile};
use sinkscope::orders::rpz;
use sinkscope::policy::{MatchKind, Override, Policy, PolicyZone, Standing, Window};
use sinkscope::resolver::fetch::Fetcher;
use sinkscope::resolver::{Answers, Current, Generation, Pending, Resolver, Routes, Settings};
use sinkscope::serve::{Back, Client, Hot, Respond, Step};
use sinkscope::transport::Transport;
use support::query::Ask;
use support::render::render;
use support::scenario::{self, Statement};
use support::script::Script;

/// What became of a query that was begun: its reply, if there is to be one, or what is for [`Respond::later`].
type Became = Result<Option<Vec<u8>>, Box<Pending>>;

/// Where that is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<Became>>>);

impl Back<Box<Pending>> for Told {
    fn replied(self, reply: Option<Vec<u8>>) {
        *self.0.lock().unwrap() = Some(Ok(reply));
    }

    fn later(self, pending: Box<Pending>) {
        *self.0.lock().unwrap() = Some(Err(pending));
    }
}

/// Statements that make the resolver answer.
const ASKING: [&str; 4] = ["ask", "send", "end", "crowded"];
/// The fewest scenarios there must be: a runner that finds none must not pass.
const AT_LEAST: usize = 200;

/// How often a query gives way to what is asked aside: a task asks, another one waits for it.
const ASIDE: usize = 8;

/// What holds the scenarios and their runner to something.
const ABOUT_ALL: [(&str, fn()); 5] = [
    ("every_scenario_shows_something_of_its_own", every_scenario_shows_something_of_its_own),
    ("lists_are_read_as_they_say", lists_are_read_as_they_say),
    ("statements_and_pauses_change_answers", statements_and_pauses_change_answers),
    ("what_is_blessed_passes", what_is_blessed_passes),
    ("wrong_expectations_fail", wrong_expectations_fail),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let about_all = ABOUT_ALL.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    let of_file = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(name, move || run(&path).map_err(Failed::from))
    };
    let trials = about_all.into_iter().chain(files().into_iter().map(of_file)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn every_scenario_shows_something_of_its_own() {
    let mut titles = HashMap::new();
    for path in files() {
        let statements = scenario::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let asks = statements.iter().filter(|statement| ASKING.contains(&statement.verb.as_str()));
        assert!(asks.count() > 0, "{} asks nothing", path.display());
        let title = statements[0].words.join(" ");
        assert!(!title.is_empty(), "{} has no title", path.display());
        if let Some(other) = titles.insert(title, path.clone()) {
            panic!("{} and {} have one title", path.display(), other.display());
        }
    }
}

/// The scenario files, sorted.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "scn"));
    files.sort();
    assert!(files.len() >= AT_LEAST, "only {} scenarios in {}", files.len(), folder.display());
    files
}

/// Runs one file; the error says where and what. Where it is to be blessed, its expectations are rewritten.
fn run(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let shown = path.file_name().unwrap_or_default().to_string_lossy();
    if std::env::var_os("SINKSCOPE_BLESS").is_none() {
        return run_text(&shown, &text);
    }
    let blessed = bless(&shown, text.clone())?;
    if blessed != text {
        fs::write(path, blessed).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{shown}: rewritten");
    }
    Ok(())
}

/// The same scenario, which expects what comes of each statement that expects anything.
fn bless(shown: &str, mut text: String) -> Result<String, String> {
    // One after the other: each run ends at the first that differs.
    loop {
        let differs = match play(shown, &text) {
            Ok(()) => return Ok(text),
            Err(Wrong { line: Some(line), found: Some(found), .. }) => (line, found),
            Err(wrong) => return Err(wrong.said),
        };
        text = with_block(&text, differs.0, &differs.1);
    }
}

/// A scenario with these lines below the statement on that line, from 1, instead of those that are there.
fn with_block(text: &str, line: usize, block: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (before, after) = lines.split_at(line.min(lines.len()));
    // Blank lines inside the block go with it, those behind it stay.
    let end = after.iter().take_while(|line| line.starts_with("    ") || line.trim().is_empty());
    let last = end.enumerate().filter(|(_, line)| line.starts_with("    ")).last();
    let after = &after[last.map_or(0, |(index, _)| index + 1)..];
    let block = block.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("    {line}"));
    let lines = before.iter().map(|line| line.to_string()).chain(block);
    let lines: Vec<String> = lines.chain(after.iter().map(|line| line.to_string())).collect();
    lines.join("\n") + "\n"
}

/// What is wrong with a scenario, or with what it is about.
struct Wrong {
    /// For people, with the place.
    said: String,
    /// The line of the statement that came out otherwise, from 1.
    line: Option<usize>,
    /// What came of it, where the statement expects something else.
    found: Option<String>,
}

/// Runs the scenario of this text; `shown` is its name in errors.
fn run_text(shown: &str, text: &str) -> Result<(), String> {
    play(shown, text).map_err(|wrong| wrong.said)
}

/// The same; the error says what came.
fn play(shown: &str, text: &str) -> Result<(), Wrong> {
    let whole = |said| Wrong { said, line: None, found: None };
    let statements = scenario::parse(text).map_err(|bad| whole(format!("{shown}: {bad}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut world = World::new(&statements).map_err(|what| whole(format!("{shown}: {what}")))?;
    let mut asks = 0;
    for statement in &statements {
        asks += usize::from(ASKING.contains(&statement.verb.as_str()));
        let step = runtime.block_on(world.step(statement));
        step.map_err(|what| Wrong {
            said: format!("{shown}:{}: {}\n{}", statement.line, statement.words.join(" "), what.said),
            line: Some(statement.line),
            found: what.found,
        })?;
    }
    if !world.waiting.is_empty() {
        return Err(whole(format!("{shown}: a query begins and never ends")));
    }
    if asks == 0 { Err(whole(format!("{shown}: it asks nothing"))) } else { Ok(()) }
}

/// A scenario with one `ask`; `{}` stands for the reply it expects.
const ONE_ASK: &str = "title: a name nobody lists\n\nask good.example A:\n    {}\n";
/// The reply that [`ONE_ASK`] gets.
const ITS_REPLY: &str = "NOERROR\n    answer good.example 300 A 192.0.2.1\n    asked good.example A";

fn lists_are_read_as_they_say() {
    let text = |words: &str, line: &str| {
        ONE_ASK
            .replace("\n\nask", &format!("\n\nlist ads {words}:\n    {line}\n\nask"))
            .replace("{}", ITS_REPLY)
    };
    let harmless = text("format=adblock", "||bad.example^");
    assert_eq!(run_text("right", &harmless), Ok(()));
    assert!(harmless.contains("list ads"), "the list is there");
    for (what, wrong) in [
        ("it takes the name", text("format=adblock", "||good.example^")),
        ("it takes the name by its match", text("format=domains match=exact", "good.example")),
        ("it has a problem", text("format=adblock", "||a..b^")),
        ("it is refused", text("format=domains", "bad.example")),
    ] {
        assert!(run_text(what, &wrong).is_err(), "{what}: passes though it is wrong");
    }
    let gone = text("format=adblock", "||good.example^").replace("\n\nask", "\n\nlist ads gone\n\nask");
    assert_eq!(run_text("gone", &gone), Ok(()));
}

fn statements_and_pauses_change_answers() {
    let text = |change: &str| {
        let order = "file orders/a.toml:\n    id = \"a\"\n    kind = \"operator\"\n    action = \"nodata\"\n\
                     \u{20}   [[scope]]\n    match = \"subtree\"\n    names = [\"listed.example\"]\n";
        let told = "NOERROR\n    answer x.listed.example 300 A 192.0.2.1\n    asked x.listed.example A\n";
        format!("title: what changes an answer\n\n{order}\n{change}\nask x.listed.example A:\n    {told}")
    };
    for passes in [
        "order lift a",
        "order observe a",
        "order lift a x.listed.example",
        "order activate a\norder lift a listed.example",
        "pause 5m",
    ] {
        assert_eq!(run_text(passes, &text(passes)), Ok(()));
    }
    for fails in [
        "",
        "order lift a\norder restore a",
        "order lift a y.listed.example",
        "order lift a\norder activate a",
        "order activate a x.listed.example\norder lift a",
        "order lift b",
        "order break a",
        "pause 5m\nadvance 5m",
        "pause 5m\nresume",
        "pause 5m nobody",
    ] {
        assert!(run_text(fails, &text(fails)).is_err(), "{fails}: passes though it is wrong");
    }
}

fn what_is_blessed_passes() {
    let right = ONE_ASK.replace("{}", ITS_REPLY);
    for wrong in ["NXDOMAIN", "silence", "", "NOERROR\n\n    answer good.example 300 A 1.2.3.4"] {
        let text = format!("{}\ncounted asked=1\n", ONE_ASK.replace("{}", wrong));
        assert_eq!(bless("wrong", text), Ok(format!("{right}\ncounted asked=1\n")), "{wrong:?}");
    }
    // What no reply can mend is not blessed.
    assert!(bless("counts", format!("{right}counted asked=2\n")).is_err());
    assert!(bless("verb", format!("{right}aks good.example A:\n    NOERROR\n")).is_err());
}

fn wrong_expectations_fail() {
    let text = |reply: &str| ONE_ASK.replace("{}", reply);
    assert_eq!(run_text("right", &text(ITS_REPLY)), Ok(()));
    let right = text(ITS_REPLY);
    let cases = [
        ("rcode", right.replace("NOERROR", "NXDOMAIN")),
        ("flag", right.replace("NOERROR", "NOERROR ad")),
        ("ttl", right.replace("300", "299")),
        ("address", right.replace("192.0.2.1", "192.0.2.2")),
        ("type", right.replace("300 A ", "300 AAAA ")),
        ("section", right.replace("answer", "authority")),
        ("a line less", right.replace("    asked good.example A\n", "")),
        ("a line more", format!("{right}    ede 4\n")),
        ("silence", text("silence")),
        ("nothing", text("")),
        ("another name asked", right.replace("asked good", "asked bad")),
        ("problems", right.replace("ask good", "reload:\n    a problem\n\nask good")),
        ("counts", format!("{right}counted asked=2\n")),
        ("a query that never ends", format!("{right}begin other.example A\n")),
        ("no question", "title: it asks nothing\n".to_owned()),
        ("no title", right.replace("title:", "tilte:")),
        ("no such verb", format!("{right}aks good.example A:\n    NOERROR\n")),
        ("odd indentation", right.replace("    NOERROR", "  NOERROR")),
    ];
    for (what, wrong) in cases {
        assert_ne!(wrong, right, "{what}: the case changes nothing");
        assert!(run_text(what, &wrong).is_err(), "{what}: passes though it is wrong");
    }
}

/// Everything a scenario acts on.
struct World {
    folder: tempfile::TempDir,
    clock: Arc<VirtualClock>,
    script: Arc<Script>,
    /// Who is upstream for groups of clients that others are asked for, by the group's name.
    scripts: BTreeMap<String, Arc<Script>>,
    loader: Loader,
    /// Response policy zones: behind all orders, in the order they were first given.
    rpzs: Vec<(rpz::RpzSpec, String)>,
    /// Lists: behind those, likewise.
    lists: Vec<(ListSpec, String)>,
    policy: Arc<Current>,
    /// The policy as the files have it.
    base: Policy,
    /// What is stated upon it.
    overrides: Vec<Override>,
    epoch: u64,
    resolver: Option<Arc<Resolver>>,
    /// Another one over the same cache, and a worker's own path of it.
    twin: Option<(Resolver, <Resolver as Respond>::Hot)>,
    /// Queries that came and were not answered yet.
    waiting: Vec<(Ask, Box<Pending>)>,
    config: Config,
}

/// Clocks that move when told to.
struct VirtualClock(Mutex<Now>);

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap()
    }
}

impl World {
    /// A folder with the scenario's configuration and no orders yet.
    fn new(statements: &[Statement]) -> Result<World, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("orders")).unwrap();
        let config = statements.iter().find(|statement| statement.verb == "config");
        let text = config.map_or("", |statement| statement.block.as_str());
        let is_order = |statement: &Statement| {
            statement.verb == "file" && statement.words.iter().any(|path| path.starts_with("orders/"))
        };
        // An empty folder is worth a warning, which scenarios without orders are not about.
        let text = if text.contains("[orders]") || statements.iter().any(is_order) {
            text.to_owned()
        } else {
            format!("{text}\n[orders]\npaths = []\n")
        };
        let config = configured(&text, folder.path())?;
        let clock = VirtualClock(Mutex::new(Now {
            mono: Duration::from_secs(1000),
            wall: unix("2026-01-01T00:00:00Z"),
        }));
        Ok(World {
            loader: Loader::new(config.orders.settings.clone()),
            rpzs: Vec::new(),
            lists: Vec::new(),
            folder,
            clock: Arc::new(clock),
            script: Arc::default(),
            scripts: BTreeMap::new(),
            policy: Current::of(Policy::empty()),
            base: Policy::empty(),
            overrides: Vec::new(),
            epoch: 0,
            resolver: None,
            twin: None,
            waiting: Vec::new(),
            config,
        })
    }

    /// Does what one statement says; the error shows what came instead of what was expected.
    async fn step(&mut self, statement: &Statement) -> Result<(), Differs> {
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        match (statement.verb.as_str(), &words[..]) {
            ("title" | "config", _) => {}
            ("file", [path]) => {
                let path = self.folder.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{}\n", statement.block)).unwrap();
            }
            ("rpz", [name, "gone"]) => self.rpzs.retain(|(spec, _)| spec.name != *name),
            ("rpz", [name, words @ ..]) => {
                let zone = support::rpz::zone(name, words, &statement.block);
                match self.rpzs.iter_mut().find(|(spec, _)| spec.name == *name) {
                    Some(known) => *known = zone,
                    None => self.rpzs.push(zone),
                }
            }
            ("list", [name, "gone"]) => self.lists.retain(|(spec, _)| spec.name != *name),
            ("list", [name, words @ ..]) => {
                let list = (support::list::spec(name, words), statement.block.clone());
                match self.lists.iter_mut().find(|(spec, _)| spec.name == *name) {
                    Some(known) => *known = list,
                    None => self.lists.push(list),
                }
            }
            ("remove", [path]) => fs::remove_file(self.folder.path().join(path)).unwrap(),
            ("upstream", ["down"]) => self.script.set_down(true),
            ("upstream", ["up"]) => self.script.set_down(false),
            ("upstream", [name, rtype]) => {
                self.script.say(name.trim_end_matches(':'), rtype, None, &statement.block)
            }
            ("upstream", [name, rtype, how]) => {
                self.script.say(name, rtype.trim_end_matches(':'), Some(how), &statement.block);
            }
            ("upstream-of", [group, name, rtype]) => {
                let script = self.scripts.entry((*group).to_owned()).or_default();
                script.say(name, rtype.trim_end_matches(':'), None, &statement.block);
            }
            ("advance", [duration]) => self.advance(duration),
            ("time", [time]) => self.clock.0.lock().unwrap().wall = unix(time),
            ("order", [verb, id, names @ ..]) => self.state(verb, id, names)?,
            ("pause", [duration, group @ ..]) => self.pause(duration, group.first().copied())?,
            ("resume", group) => {
                self.in_groups(|clients| clients.resume(group.first().copied()))?;
            }
            ("configure", []) => self.configure(&statement.block)?,
            ("restart", [duration]) => self.restart(duration.trim_end_matches(':'), &statement.block)?,
            ("flush", ["all"]) => self.flush(|_| true, None)?,
            ("flush", ["below", zone, qtype @ ..]) => {
                let zone: Name = zone.parse().map_err(|_| format!("{zone:?} is no name"))?;
                self.flush(|name| name.is_at_or_below(&zone), qtype.first().copied())?;
            }
            ("flush", [name, qtype @ ..]) => {
                let flushed: Name = name.parse().map_err(|_| format!("{name:?} is no name"))?;
                self.flush(|name| *name == flushed, qtype.first().copied())?;
            }
            ("reload", []) => return compare(&statement.block, &self.reload()),
            ("begin", [name, rtype, rest @ ..]) => return Ok(self.begin(Ask::parse(name, rtype, rest))?),
            ("end", []) => return compare(&statement.block, &self.end().await?),
            ("counted", counts) => return Ok(self.compare_counts(counts)?),
            ("ask", [name, rtype, rest @ ..]) => {
                let query = Ask::parse(name, rtype, rest);
                let reply = self.ask(&query.octets(), query.client()).await?;
                if let Some(reply) = &reply {
                    query.check_invariants(reply)?;
                }
                return compare(&statement.block, &self.shown(reply));
            }
            ("crowded", [name, rtype, rest @ ..]) => {
                let query = Ask::parse(name, rtype, rest);
                let reply = self.ask_crowded(&query)?;
                if let Some(reply) = &reply {
                    query.check_invariants(reply)?;
                }
                return compare(&statement.block, &self.shown(reply));
            }
            ("send", words) => {
                let (from, hex) = match words {
                    [first, hex @ ..] if first.starts_with("from=") => (&first["from=".len()..], hex),
                    hex => ("127.0.0.1", hex),
                };
                let from: IpAddr = from.parse().map_err(|_| format!("{from:?} is no address"))?;
                let client = Client { addr: SocketAddr::new(from, 4000), transport: Transport::Udp };
                let packet = support::octets(&hex.join(""));
                let reply = self.ask(&packet, client).await?;
                if let Some(reply) = &reply {
                    support::query::check_echo(&packet, reply)?;
                }
                return compare(&statement.block, &self.shown(reply));
            }
            (verb, _) => return Err(format!("{verb:?} is no statement, or its words are off").into()),
        }
        Ok(())
    }

    /// Reads the orders as a start or a reload does, and shows what there is to complain about.
    fn reload(&mut self) -> String {
        let mut loaded = self.loader.load();
        let mut problems = loaded.problems.clone();
        for (spec, text) in &self.rpzs {
            let mut open = |path: &str| ListFile {
                shown: path.to_owned(),
                content: fs::read(self.folder.path().join(path))
                    .map(Content::Octets)
                    .map_err(|error| (error.to_string(), String::new())),
            };
            let reading = rpz::parse(text.as_bytes(), spec, &spec.name, &mut open);
            problems.extend(reading.problems);
            let orders = reading.listed.map(Arc::new).into_iter().collect();
            loaded.zones.push(PolicyZone { name: spec.name.clone(), orders });
        }
        for (spec, text) in &self.lists {
            let found =
                lists::parse(text.as_bytes(), spec, &spec.name, &spec.name, &mut |_| unreachable!("no RPZ"));
            problems.extend(found.reading.problems);
            let orders = found.reading.listed.map(Arc::new).into_iter().collect();
            loaded.zones.push(PolicyZone { name: spec.name.clone(), orders });
        }
        self.epoch += 1;
        let policy = Policy::compile(&loaded.zones, &loaded.protected, self.epoch);
        self.base = policy.with_nat64(self.loader.nat64());
        self.restate();
        self.policy.change(|serving| Generation { local: self.names_here(), ..serving.clone() });
        let folder = format!("{}/", self.folder.path().display());
        let problems: Vec<String> =
            problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect();
        problems.join("\n")
    }

    /// Goes on by another configuration: its orders, and all that the generation has, at once.
    fn configure(&mut self, text: &str) -> Result<(), String> {
        self.resolver()?;
        self.config = configured(text, self.folder.path())?;
        self.loader.settle(self.config.orders.settings.clone());
        let problems = self.reload();
        let settings = self.config.resolver(1);
        let cache = self.config.empty_cache();
        let resolver = self.resolver()?;
        let fetcher = resolver.fetcher(self.script.clone(), Arc::new(cache), settings.rules);
        let routes = self.routes(&resolver);
        let Settings { access, identity, rotate, dns64, ecs, clients, .. } = settings;
        self.policy.change(|serving| Generation {
            policy: Arc::clone(&serving.policy),
            routes: Arc::new(Routes::new(routes, &clients)),
            clients: Arc::new((*clients).clone().paused_like(&serving.clients)),
            answers: Arc::new(Answers { access, identity, rotate, dns64, ecs }),
            local: self.names_here(),
            fetcher,
        });
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Ends the process and begins another one so long after that, with what was cached, perhaps by another configuration.
    fn restart(&mut self, duration: &str, text: &str) -> Result<(), String> {
        self.resolver()?;
        let (before, now) = (Arc::clone(&self.policy.load()), self.clock.now());
        let mut writer = Writer::new(Vec::new(), now.wall, u64::MAX).unwrap();
        for fetcher in before.fetchers() {
            writer.cache(fetcher.origin(), fetcher.cache(), now.mono).unwrap();
        }
        let (file, _) = writer.end().unwrap();
        self.advance(duration);
        // The next one has a clock of its own.
        self.clock.0.lock().unwrap().mono += Duration::from_secs(5_000_000);
        if !text.is_empty() {
            self.config = support::config(text, self.folder.path())?;
        }
        self.loader = Loader::new(self.config.orders.settings.clone());
        (self.resolver, self.twin) = (None, None);
        let problems = self.reload();
        self.resolver()?;
        let (stored, now) = (Stored::read(&file).map_err(|why| why.to_string())?, self.clock.now());
        let Some(passed_s) = stored.passed_s(now.wall) else { return Ok(()) };
        for fetcher in self.policy.load().fetchers() {
            let own = stored.caches.iter().find(|stored| fetcher.origin().takes(&stored.origin));
            for block in own.into_iter().flat_map(|stored| &stored.blocks) {
                fetcher.cache().restore(block, passed_s, now.mono);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Forgets what is cached of names, of a type alone if one is given.
    fn flush(&mut self, is_meant: impl Fn(&Name) -> bool, qtype: Option<&str>) -> Result<(), String> {
        self.resolver()?;
        let qtype: Option<Rtype> = qtype.map(|qtype| qtype.parse().expect("a type"));
        for (_, cache) in self.policy.load().caches() {
            cache.forget(|asked| is_meant(&asked.qname) && qtype.is_none_or(|qtype| asked.qtype == qtype));
        }
        Ok(())
    }

    /// States how an order, or its hold on a name and what is below it, stands from now on.
    fn state(&mut self, verb: &str, id: &str, names: &[&str]) -> Result<(), String> {
        let standing = match verb {
            "lift" => Some(Standing::Lifted),
            "observe" => Some(Standing::Observing),
            "activate" => Some(Standing::InForce),
            "restore" => None,
            other => return Err(format!("{other:?} is nothing that is done to an order")),
        };
        let about = match names {
            [] => None,
            [name] => Some((name.parse().map_err(|_| format!("{name:?} is no name"))?, MatchKind::Subtree)),
            more => return Err(format!("{more:?} is more than a name")),
        };
        // Loaded now at the latest: what is stated is about something.
        self.resolver()?;
        if self.base.orders().iter().all(|order| order.id != id) {
            return Err(format!("there is no order {id:?}"));
        }
        self.overrides.retain(|other| (other.order.as_str(), other.names) != (id, about));
        self.overrides.extend(standing.map(|standing| Override {
            order: id.to_owned(),
            names: about,
            standing,
            window: Window::ALWAYS,
            over_names: false,
        }));
        self.epoch += 1;
        self.restate();
        Ok(())
    }

    /// Puts the files' policy in force under what is stated.
    fn restate(&self) {
        self.policy.put(Arc::new(self.base.with_overrides(&self.overrides, self.epoch)));
    }

    /// Pauses what is not ordered from outside, for a group or everybody.
    fn pause(&mut self, duration: &str, group: Option<&str>) -> Result<(), String> {
        let until = self.clock.now().wall + seconds(duration) as i64;
        self.in_groups(|clients| clients.pause(group, until))
    }

    /// Changes what is paused.
    fn in_groups(&mut self, change: impl Fn(&mut Clients) -> Result<(), UnknownGroup>) -> Result<(), String> {
        self.resolver()?;
        let mut clients = (*self.policy.load().clients).clone();
        change(&mut clients).map_err(|error| error.to_string())?;
        self.policy.change(|serving| Generation { clients: Arc::new(clients), ..serving.clone() });
        Ok(())
    }

    /// Puts a packet through the whole request path.
    async fn ask(&mut self, packet: &[u8], client: Client) -> Result<Option<Vec<u8>>, String> {
        let resolver = self.resolver()?;
        let mut out = vec![0xaa; 7];
        let replied = match resolver.now(packet, client, &mut out) {
            Step::Reply => true,
            Step::Drop => false,
            // As each transport has it done: by datagram on the thread that has the query, where that can be.
            Step::Later(pending) if client.transport == Transport::Tcp => {
                resolver.later(&pending, &mut out).await
            }
            Step::Later(pending) => {
                let told = Told::default();
                let pending = match resolver.begin(pending, told.clone()) {
                    Ok(()) => told.0.lock().unwrap().take().expect("the script answers at once"),
                    Err((pending, _)) => Err(pending),
                };
                match pending {
                    Ok(reply) => {
                        out = reply.clone().unwrap_or_default();
                        reply.is_some()
                    }
                    Err(pending) => resolver.later(&pending, &mut out).await,
                }
            }
        };
        // What is asked aside is asked before anything else happens.
        for _ in 0..ASIDE {
            tokio::task::yield_now().await;
        }
        if client.transport == Transport::Udp {
            self.ask_twin(packet, client)?;
        }
        Ok(replied.then_some(out))
    }

    /// Asks once more: what a worker answers by itself, from what it has seen of the scenario, must be what the whole path
    /// answers now, octet by octet.
    fn ask_twin(&mut self, packet: &[u8], client: Client) -> Result<(), String> {
        let Some((resolver, hot)) = &mut self.twin else { return Ok(()) };
        let mut out = vec![0; MAX_UDP_LEN];
        // The first time it looks into the shared cache, the second into its own.
        for _ in 0..2 {
            hot.begin(std::iter::once(packet));
            let Some(len) = hot.answer(0, packet, client.addr, &mut out) else { return Ok(()) };
            let mut whole = Vec::new();
            match resolver.now(packet, client, &mut whole) {
                Step::Reply if whole[..] == out[..len] => {}
                Step::Reply => {
                    let (hot, whole) = (render(&out[..len]), render(&whole));
                    return Err(format!("a worker alone answers\n{hot}\nbut the whole path\n{whole}"));
                }
                Step::Drop | Step::Later(_) => {
                    return Err(format!("a worker alone answers\n{}", render(&out[..len])));
                }
            }
        }
        Ok(())
    }

    /// Puts a query that must wait for an upstream where there is no room to wait.
    fn ask_crowded(&mut self, query: &Ask) -> Result<Option<Vec<u8>>, String> {
        let resolver = self.resolver()?;
        let mut out = vec![0xaa; 7];
        match resolver.now(&query.octets(), query.client(), &mut out) {
            Step::Later(pending) => match resolver.answer_from_cache(&pending, &mut out) {
                Step::Reply => Ok(Some(out)),
                Step::Drop | Step::Later(()) => Ok(None),
            },
            Step::Reply | Step::Drop => Err("it was answered at once".to_owned()),
        }
    }

    /// Takes a query that must wait for an upstream, and lets it wait.
    fn begin(&mut self, query: Ask) -> Result<(), String> {
        match self.resolver()?.now(&query.octets(), query.client(), &mut Vec::new()) {
            Step::Later(pending) => {
                self.waiting.push((query, pending));
                Ok(())
            }
            Step::Reply | Step::Drop => Err("it was answered at once".to_owned()),
        }
    }

    /// Answers all queries that wait, at the same time; the replies in the order of the queries.
    async fn end(&mut self) -> Result<String, String> {
        let resolver = self.resolver()?;
        let answer = |(query, pending): (Ask, Box<Pending>)| {
            let resolver = resolver.clone();
            let reply = async move {
                let mut out = Vec::new();
                resolver.later(&pending, &mut out).await.then_some(out)
            };
            (query, tokio::spawn(reply))
        };
        let under_way: Vec<_> = self.waiting.drain(..).map(answer).collect();
        let mut lines = Vec::new();
        for (query, reply) in under_way {
            let reply = reply.await.expect("no panic");
            if let Some(reply) = &reply {
                query.check_invariants(reply)?;
            }
            lines.push(reply.map_or_else(|| "silence".to_owned(), |reply| render(&reply)));
        }
        lines.extend(self.take_asked());
        Ok(lines.join("\n"))
    }

    /// The resolver, its orders loaded.
    fn resolver(&mut self) -> Result<Arc<Resolver>, String> {
        if self.epoch == 0 {
            let problems = self.reload();
            if !problems.is_empty() {
                return Err(format!("orders with problems are loaded by an explicit `reload:`\n{problems}"));
            }
        }
        if let Some(resolver) = &self.resolver {
            return Ok(resolver.clone());
        }
        let resolver = {
            let cache = Arc::new(self.config.empty_cache());
            let build = || {
                let (script, settings) = (self.script.clone(), self.config.resolver(1));
                Resolver::new(self.policy.clone(), cache.clone(), script, self.clock.clone(), settings)
            };
            let twin = build();
            let hot = twin.hot();
            self.twin = Some((twin, hot));
            Arc::new(build())
        };
        let routes = self.routes(&resolver);
        self.policy.change(|serving| Generation {
            routes: Arc::new(Routes::new(routes, &serving.clients)),
            local: self.names_here(),
            ..serving.clone()
        });
        self.resolver = Some(resolver.clone());
        Ok(resolver)
    }

    /// Names answered here, by what the configuration and its files state now.
    fn names_here(&self) -> Arc<LocalNames> {
        let wall = self.clock.now().wall;
        Arc::new(local_files::names(&self.config.local, &self.config.special, wall))
    }

    /// Who fetches for groups of clients that others are asked for.
    fn routes(&mut self, resolver: &Resolver) -> Vec<(Vec<String>, Arc<Fetcher>)> {
        let routes = self.config.upstream.routes.iter().map(|route| {
            let script = self.scripts.entry(route.groups[0].clone()).or_default().clone();
            let cache = Arc::new(self.config.empty_cache());
            (route.groups.clone(), resolver.fetcher(script, cache, self.config.rules(&route.groups)))
        });
        routes.collect()
    }

    /// What upstream was asked since the last call, and what others were for some clients.
    fn take_asked(&self) -> Vec<String> {
        let others = self.scripts.iter().flat_map(|(group, script)| {
            script.take_asked().into_iter().map(move |asked| format!("for {group} {asked}"))
        });
        self.script.take_asked().into_iter().chain(others).collect()
    }

    /// Whether the resolver counted what these words say, as `observe=1`.
    fn compare_counts(&self, counts: &[&str]) -> Result<(), String> {
        let found =
            self.resolver.as_ref().map_or_else(String::new, |resolver| resolver.counters().to_string());
        match counts.iter().find(|count| !found.split(' ').any(|word| word == **count)) {
            None => Ok(()),
            Some(count) => Err(format!("expected {count}\nfound {found}")),
        }
    }

    /// The reply and what upstream was asked for it, as text.
    fn shown(&self, reply: Option<Vec<u8>>) -> String {
        let mut lines = vec![reply.map_or_else(|| "silence".to_owned(), |reply| render(&reply))];
        lines.extend(self.take_asked());
        lines.join("\n")
    }

    /// Moves both clocks on by `5s`, `10m`, `2h` or `3d`.
    fn advance(&self, duration: &str) {
        let seconds = seconds(duration);
        let mut now = self.clock.0.lock().unwrap();
        now.mono += Duration::from_secs(seconds);
        now.wall += seconds as i64;
    }
}

/// The configuration of that text. Prefetching is for those scenarios that say so: the twin asks as well, so that what is asked once would
/// be asked often.
fn configured(text: &str, folder: &Path) -> Result<Config, String> {
    let mut config = support::config(text, folder)?;
    config.cache.prefetch &= text.contains("prefetch");
    Ok(config)
}

/// Seconds of `5s`, `10m`, `2h` or `3d`.
fn seconds(duration: &str) -> u64 {
    let (number, unit) = duration.split_at(duration.len() - 1);
    let number: u64 = number.parse().expect("a number and a unit");
    number
        * match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            other => panic!("no unit {other:?}"),
        }
}

/// Why a statement did not come out as it says.
struct Differs {
    said: String,
    /// What came, if something else was expected.
    found: Option<String>,
}

impl From<String> for Differs {
    fn from(said: String) -> Differs {
        Differs { said, found: None }
    }
}

/// Unix seconds of an RFC 3339 time.
fn unix(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().expect("an RFC 3339 time").as_second()
}

/// Whole text against whole text.
fn compare(expected: &str, found: &str) -> Result<(), Differs> {
    let came = found;
    let expected: Vec<&str> = expected.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let found: Vec<&str> = found.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if expected == found {
        return Ok(());
    }
    let said = format!("expected:\n  {}\nfound:\n  {}", expected.join("\n  "), found.join("\n  "));
    Err(Differs { said, found: Some(came.to_owned()) })
}
