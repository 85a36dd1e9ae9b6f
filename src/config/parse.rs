//! The one parse from what a file may say to what the program runs on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Value;

use super::layer::{Layers, Origin};
use super::spec::{Guard as Guarding, Size, Spec};
use super::units::octets;
use super::{
    Cache, Config, Control, DEFAULT_PORT, Evidence, Guard, Listen, Log, Orders, Persist, Sources, show,
};
use super::{clients, dns64, forward, lists, local, own, query_log};
use crate::access::{AccessList, Network};
use crate::control::address::{Address, EXAMPLE_PORT, SOCKET, UNIX};
use crate::dns::TtlLimits;
use crate::dns::chaos::Identity;
use crate::ecs::{self, Ecs};
use crate::interface;
use crate::local::Special;
use crate::name::Name;
use crate::orders::{self, ProtectedSpec};
use crate::policy::prefix::Nat64;
use crate::problem::Problem;
use crate::rebinding::{self, Rebinding};
use crate::server;
use crate::upstream::resolv_conf::ResolvConf;
use crate::upstream::{self, Roots};

/// Octets in the longest TXT string (RFC 1035 §3.3): what CHAOS answers hold.
const MAX_TXT_LEN: usize = 255;
/// The cap on `max_ttl`, in seconds: RFC 8767 §4 advises a week.
const MAX_MAX_TTL_S: u32 = 604_800;
/// The cap on `negative_max_ttl`, in seconds: RFC 2308 §5 saw trouble above a day.
const MAX_NEGATIVE_TTL_S: u32 = 86_400;
/// The cap on `max_stale`, in seconds: RFC 8767 §6 goes up to a week.
const MAX_STALE_S: u32 = 604_800;
/// The cap on `failure_ttl` and `failure_max_ttl`, in seconds: RFC 9520 §3.2.
const MAX_FAILURE_S: u32 = 300;
/// The most worker threads for one address: beyond any machine's cores it is a typing error.
const MAX_WORKERS: u32 = 1024;
/// The least a socket may hold, in octets: some hundred small packets as the system counts them.
const MIN_SOCKET_BUFFER: usize = 64 << 10;
/// The most a socket may hold, in octets: above it the system's own numbers would overflow.
const MAX_SOCKET_BUFFER: usize = 1 << 30;
/// The longest time between two writes of the cache, in seconds: most answers live no longer.
const MAX_PERSIST_INTERVAL_S: u32 = 86_400;
/// The longest time between two looks at a canary, in seconds: a day, after which nobody would call it a watch.
const MAX_CANARY_INTERVAL_S: u32 = 86_400;
/// The longest an order is held back, in seconds: a day, in which somebody looks at the log.
const MAX_HOLD_S: u32 = 86_400;
/// The longest time between two writes of evidence, in seconds: an hour, which is what it is counted by.
const MAX_FLUSH_S: u32 = 3600;
/// The longest that evidence is kept, in days: ten years, beyond any limitation of what it is about.
const MAX_KEEP_DAYS: u32 = 3650;
/// The least octets that evidence may have, on the disk as in memory.
const MIN_EVIDENCE: u64 = 1 << 20;
/// The most recent queries to remember: 273 octets each, a quarter of a GiB.
const MAX_RECENT: u32 = 1 << 20;
/// The longest an upstream may be waited for, in milliseconds: clients have long given up.
const MAX_TIMEOUT_MS: u32 = 60_000;
/// The most tries under way at one server that can be set: all that as many questions as can be set may have.
const MAX_TRIES: u32 = 1 << 18;

/// Numbers that stand in for what nobody set: section, key, value. `spec` says the same to readers.
const DEFAULT_NUMBERS: [(&str, &str, i64); 27] = [
    ("listen", "max_connections", 512),
    ("listen", "max_connections_per_client", 64),
    ("listen", "idle_timeout_ms", 10_000),
    ("listen", "max_pipelined", 64),
    ("listen", "max_pending", 4096),
    ("listen", "max_pending_per_client", 1000),
    ("listen", "discard_timeout_ms", 1900),
    ("listen", "workers", 0),
    ("upstream", "try_timeout_ms", 1500),
    ("upstream", "total_timeout_ms", 4000),
    ("upstream", "max_in_flight", 4096),
    ("cache", "min_ttl", 0),
    ("cache", "max_ttl", 86_400),
    ("cache", "negative_min_ttl", 0),
    ("cache", "negative_max_ttl", 3600),
    // RFC 9520 §3.2: "at least 1 second".
    ("cache", "failure_ttl", 1),
    ("cache", "failure_max_ttl", 30),
    // The lower end of what RFC 8767 §5 suggests, "between 1 and 3 days".
    ("cache", "max_stale", 86_400),
    // What a kill loses at most is asked for again in no time; 64 MiB of answers are some 30 on the disk.
    ("cache", "persist_interval", 300),
    ("ecs", "ipv4_bits", ecs::IPV4_BITS as i64),
    ("ecs", "ipv6_bits", ecs::IPV6_BITS as i64),
    ("guard", "canary_interval", 30),
    ("guard", "recent", 16_384),
    ("guard", "max_share", 10),
    // Time to look and to say otherwise; no longer, for who writes in the sample is not known.
    ("guard", "hold", 3600),
    // What a kill may cost, and hardly a write for the disk.
    ("evidence", "flush", 5),
    // A quarter: what a court asks about is mostly younger, and what is older is nobody's business.
    ("evidence", "keep", 90),
];

/// What `control.listen` says when there is to be no control API.
const NO_CONTROL: &str = "none";

/// The environment variable in which systemd names a service's folder for state.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
/// Where it says how many sockets it passed.
const LISTEN_FDS: &str = "LISTEN_FDS";

/// Fills the gaps, checks everything, and says all that is wrong.
pub(super) fn parse(mut layers: Layers, file: Option<PathBuf>, sources: &Sources) -> (Config, Vec<Problem>) {
    let by_default = layers.setting("listen", "udp").is_none() && layers.setting("listen", "tcp").is_none();
    let orders_by_default = layers.setting("orders", "paths").is_none();
    let control_by_default = layers.setting("control", "listen").is_none();
    defaults(&mut layers, file.as_deref(), sources);
    // The resolvers of the system are those that are left when this server itself is taken out.
    let mut own = listening(&layers);
    own.extend(sources.passed.udp.iter().chain(&sources.passed.tcp));
    system_upstreams(&mut layers, &own, sources);

    let mut spec = layers.merge();
    clients::rebase(&mut spec, file.as_deref());
    lists::rebase(&mut spec, file.as_deref());
    local::rebase(&mut spec, file.as_deref());
    let mut reader = Reader { layers, problems: Vec::new() };
    let upstream = reader.upstream(&spec, &own);
    // Whoever is asked in this network may know its names, and should know whose answers lead there; of others nobody should.
    let outside = upstream.servers.iter().all(|server| !rebinding::is_inside(server.addr.ip()));
    let protect = *spec.rebinding.protect.get_or_insert(outside);
    reader.layers.default_to("rebinding", "protect", Value::Boolean(protect), Origin::Default);
    // A router knows the names of its network, and Docker's resolver those of its containers. What only runs on this host may ask anybody.
    let knows_us =
        |address: IpAddr| rebinding::is_inside(address) && (!address.is_loopback() || address == DOCKER);
    let at_home =
        !upstream.servers.is_empty() && upstream.servers.iter().all(|server| knows_us(server.addr.ip()));
    let forward_home_names = *spec.special.forward_home_names.get_or_insert(at_home);
    reader.layers.default_to(
        "special",
        "forward_home_names",
        Value::Boolean(forward_home_names),
        Origin::Default,
    );
    let forward = reader.names("special", "forward", &spec.special.forward);
    let special = Special { forward, forward_home_names };
    let source = reader.layers.problem("upstream", "source_prefix", None, "");
    let config = Config {
        source_place: (source.file, source.line),
        listen: reader.listen(&spec, by_default),
        upstream,
        orders: reader.orders(&spec, orders_by_default),
        cache: reader.cache(&spec),
        persist: reader.persist(&spec),
        access: reader.access(&spec),
        identity: reader.identity(&spec),
        special,
        rotate: spec.answers.rotate.unwrap_or(true),
        dns64: dns64::read(&spec, &reader.layers, &mut reader.problems),
        ecs: reader.ecs(&spec),
        rebinding: reader.rebinding(&spec),
        local: local::read(&spec, &reader.layers, &mut reader.problems),
        user: spec.process.user.clone().filter(|user| !user.is_empty()),
        confine: spec.process.confine.unwrap_or(true),
        writable: spec.process.writable.iter().map(PathBuf::from).collect(),
        control: reader.control(&spec, control_by_default),
        clients: clients::read(&spec, file.as_deref(), &reader.layers, &mut reader.problems),
        sign_with: spec.audit.sign_with.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from),
        guard: reader.guard(&spec),
        evidence: reader.evidence(&spec),
        query_log: query_log::read(&spec, &reader.layers, &mut reader.problems),
        log: Log { level: spec.log.level.unwrap_or_default(), format: spec.log.format.unwrap_or_default() },
        warnings: Vec::new(),
        effective: show::effective(&spec, &reader.layers),
        file,
    };
    let config = forward::may_lead_inside(forward::not_local(config));
    let Reader { layers, problems } = reader;
    (config, layers.problems.into_iter().chain(problems).collect())
}

/// Where Docker's resolver listens inside containers; it knows the names of those beside them.
const DOCKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// Sets what nobody set.
fn defaults(layers: &mut Layers, file: Option<&std::path::Path>, sources: &Sources) {
    let texts = |items: &[String]| Value::Array(items.iter().cloned().map(Value::String).collect());
    let addrs = [format!("127.0.0.1:{DEFAULT_PORT}"), format!("[::1]:{DEFAULT_PORT}")];
    let base = file.map_or(sources.dir.as_path(), |file| file.parent().unwrap_or(std::path::Path::new("")));
    let blocklists = [base.join("blocklists").to_string_lossy().into_owned()];
    // What a service manager listens at for us is where we are meant to be.
    let passed = &sources.passed;
    if !(passed.udp.is_empty() && passed.tcp.is_empty())
        && layers.setting("listen", "udp").or(layers.setting("listen", "tcp")).is_none()
    {
        for (name, addrs) in [("udp", &passed.udp), ("tcp", &passed.tcp)] {
            let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
            layers.default_to("listen", name, texts(&addrs), Origin::System(format!("${LISTEN_FDS}")));
        }
    }
    // Who sets one transport means it; the other keeps to the same addresses.
    let chosen = |layers: &Layers, name| layers.setting("listen", name).map(|setting| setting.value.clone());
    let (udp, tcp) = (chosen(layers, "udp"), chosen(layers, "tcp"));
    layers.default_to("listen", "udp", tcp.unwrap_or_else(|| texts(&addrs)), Origin::Default);
    layers.default_to("listen", "tcp", udp.unwrap_or_else(|| texts(&addrs)), Origin::Default);
    layers.default_to("orders", "paths", texts(&blocklists), Origin::Default);
    layers.default_to("listen", "pin", Value::Boolean(false), Origin::Default);
    layers.default_to("listen", "socket_buffer", Value::String("4MiB".into()), Origin::Default);
    layers.default_to("orders", "watch", Value::Boolean(true), Origin::Default);
    layers.default_to("orders", "while_loading", Value::String("wait".into()), Origin::Default);
    // systemd.exec(5), StateDirectory=: "set to the full paths of directories, separated with ":"".
    if let Some((_, folders)) = sources.env.iter().find(|(name, _)| name == STATE_DIRECTORY)
        && let Some(first) = folders.to_str().and_then(|folders| folders.split(':').next())
    {
        let origin = Origin::System(format!("${STATE_DIRECTORY}"));
        layers.default_to("orders", "state", Value::String(first.into()), origin);
    }
    // Without a state folder there is no place that the server's own user alone may reach, and any port would be open to all
    // users of this machine.
    let state = layers.setting("orders", "state").and_then(|setting| setting.value.as_str());
    let control = match state.filter(|state| !state.is_empty()) {
        Some(state) => format!("{UNIX}{}", std::path::Path::new(state).join(SOCKET).display()),
        None => NO_CONTROL.into(),
    };
    layers.default_to("control", "listen", Value::String(control), Origin::Default);
    layers.default_to("process", "confine", Value::Boolean(true), Origin::Default);
    layers.default_to("process", "writable", texts(&[]), Origin::Default);
    layers.default_to("cache", "size", Value::String("64MiB".into()), Origin::Default);
    layers.default_to("upstream", "strategy", Value::String("in-order".into()), Origin::Default);
    // Who is named first is meant to be asked; of others a second one is as good.
    let strategy = layers.setting("upstream", "strategy").and_then(|setting| setting.value.as_str());
    let equals = matches!(strategy, Some("random" | "fastest"));
    layers.default_to("upstream", "hedge", Value::Boolean(equals), Origin::Default);
    layers.default_to("upstream", "probe_at_start", Value::Boolean(true), Origin::Default);
    // By itself it bounds nothing more than that does.
    let questions =
        layers.setting("upstream", "max_in_flight").and_then(|setting| setting.value.as_integer());
    let questions = questions.and_then(|questions| questions.try_into().ok());
    let tries = questions.map_or(upstream::Settings::default().max_per_server, upstream::most_tries);
    let tries = Value::Integer(tries.min(MAX_TRIES as usize) as i64);
    layers.default_to("upstream", "max_per_server", tries, Origin::Default);
    layers.default_to("upstream", "cookies", Value::Boolean(true), Origin::Default);
    layers.default_to("upstream", "random_case", Value::Boolean(true), Origin::Default);
    layers.default_to("upstream", "trust_ad", Value::Boolean(false), Origin::Default);
    layers.default_to("cache", "serve_stale", Value::Boolean(true), Origin::Default);
    layers.default_to("dns64", "groups", texts(&[]), Origin::Default);
    layers.default_to("dns64", "exclude", texts(&[dns64::EXCLUDED.into()]), Origin::Default);
    layers.default_to("answers", "rotate", Value::Boolean(true), Origin::Default);
    // Who has a state folder wants a restart to be felt by nobody, and it is this user's alone.
    layers.default_to("cache", "persist", Value::Boolean(true), Origin::Default);
    layers.default_to("cache", "prefetch", Value::Boolean(true), Origin::Default);
    layers.default_to("cache", "nxdomain_cut", Value::String("validated".into()), Origin::Default);
    layers.default_to("access", "allow", texts(&["loopback".into(), "private".into()]), Origin::Default);
    layers.default_to("access", "allow_no_rd", texts(&[]), Origin::Default);
    layers.default_to("ecs", "mode", Value::String("strip".into()), Origin::Default);
    layers.default_to("ecs", "zones", texts(&[]), Origin::Default);
    layers.default_to("rebinding", "allow", texts(&[]), Origin::Default);
    layers.default_to("special", "forward", texts(&[]), Origin::Default);
    layers.default_to("evidence", "on", Value::Boolean(false), Origin::Default);
    layers.default_to("evidence", "privacy", Value::String("prefix".into()), Origin::Default);
    layers.default_to("evidence", "max_size", Value::String("1GiB".into()), Origin::Default);
    layers.default_to("evidence", "memory", Value::String("64MiB".into()), Origin::Default);
    layers.default_to("evidence", "mmdb", texts(&[]), Origin::Default);
    layers.default_to("log", "level", Value::String("info".into()), Origin::Default);
    layers.default_to("log", "format", Value::String("text".into()), Origin::Default);
    query_log::defaults(layers);
    for (section, name, value) in DEFAULT_NUMBERS {
        layers.default_to(section, name, Value::Integer(value), Origin::Default);
    }
}

/// The listen addresses that can be read.
fn listening(layers: &Layers) -> Vec<SocketAddr> {
    let settings =
        ["udp", "tcp"].into_iter().filter_map(|name| layers.setting("listen", name)?.value.as_array());
    settings.flatten().filter_map(|item| interface::socket_addr(item.as_str()?, None).ok()?).collect()
}

/// Takes upstreams from the system if nobody set any.
fn system_upstreams(layers: &mut Layers, own: &[SocketAddr], sources: &Sources) {
    if layers.setting("upstream", "servers").is_some() {
        return;
    }
    let name = sources.resolv_conf.to_string_lossy().into_owned();
    let found = match std::fs::read_to_string(&sources.resolv_conf) {
        Ok(text) => ResolvConf::read(&name, &text),
        Err(error) => {
            let problem = Problem::warning(&name, None, format!("cannot be read: {error}"));
            ResolvConf { servers: Vec::new(), problems: vec![problem] }
        }
    };
    layers.problems.extend(found.problems);
    let others = found.servers.iter().filter(|server| !own::is_self(server.addr, own));
    let servers = others.map(|server| Value::String(server.to_string())).collect();
    layers.default_to("upstream", "servers", Value::Array(servers), Origin::System(name));
}

/// Reads sections, collecting problems.
struct Reader {
    /// The values and their places.
    layers: Layers,
    /// What is wrong with them.
    problems: Vec<Problem>,
}

impl Reader {
    /// Notes a problem with a key or an item of its list.
    fn bad(&mut self, section: &str, name: &str, item: Option<usize>, what: &str, hint: &str) {
        self.problems.push(self.layers.problem(section, name, item, what).hint(hint));
    }

    /// Reads `[listen]`.
    fn listen(&mut self, spec: &Spec, by_default: bool) -> Listen {
        let listen = &spec.listen;
        let (udp, tcp) = (self.addrs("udp", listen.udp.as_deref()), self.addrs("tcp", listen.tcp.as_deref()));
        if listen.udp.as_ref().is_some_and(Vec::is_empty) && listen.tcp.as_ref().is_some_and(Vec::is_empty) {
            self.bad(
                "listen",
                "udp",
                None,
                "is empty, and so is `listen.tcp`",
                "name an address: 127.0.0.1:5300",
            );
        }
        let per_client = listen.max_connections_per_client;
        let pending_per_client = listen.max_pending_per_client;
        let late_ms =
            self.number("listen", "discard_timeout_ms", listen.discard_timeout_ms, 0, MAX_TIMEOUT_MS);
        let limits = server::Settings {
            pending: self.number("listen", "max_pending", listen.max_pending, 1, 1 << 20) as usize,
            pending_per_client: {
                self.number("listen", "max_pending_per_client", pending_per_client, 1, 1 << 20) as usize
            },
            late: (late_ms > 0).then(|| Duration::from_millis(u64::from(late_ms))),
            udp_pin: listen.pin.unwrap_or(false),
            tcp_connections: self.number("listen", "max_connections", listen.max_connections, 1, 1 << 20)
                as usize,
            tcp_connections_per_client: {
                self.number("listen", "max_connections_per_client", per_client, 1, 1 << 20) as usize
            },
            tcp_pipelined: self.number("listen", "max_pipelined", listen.max_pipelined, 1, 1 << 16) as usize,
            tcp_idle: self.millis("listen", "idle_timeout_ms", listen.idle_timeout_ms, 100, 3_600_000),
            ..server::Settings::default()
        };
        let workers = self.number("listen", "workers", listen.workers, 0, MAX_WORKERS) as usize;
        let octets = self.size("listen", "socket_buffer", listen.socket_buffer.as_ref());
        let socket_buffer = usize::try_from(octets).unwrap_or(usize::MAX);
        if !(MIN_SOCKET_BUFFER..=MAX_SOCKET_BUFFER).contains(&socket_buffer) {
            self.bad("listen", "socket_buffer", None, "is out of bounds", "write \"64KiB\" to \"1GiB\"");
        }
        Listen { udp, tcp, by_default, workers, socket_buffer, limits }
    }

    /// Reads a list of listen addresses.
    fn addrs(&mut self, name: &str, items: Option<&[String]>) -> Vec<SocketAddr> {
        let mut addrs = Vec::new();
        for (index, text) in items.unwrap_or_default().iter().enumerate() {
            match interface::socket_addr(text, None) {
                Ok(Some(addr)) if addrs.contains(&addr) && addr.port() != 0 => {}
                Ok(Some(addr)) => addrs.push(addr),
                Err(error) => self.bad(
                    "listen",
                    name,
                    Some(index),
                    &format!("is \"{text}\": {error}"),
                    "`ip address` lists interfaces and their addresses",
                ),
                Ok(None) => {
                    let hint = match bare_ip(text) {
                        Some(ip) => format!("add a port: \"{}\"", SocketAddr::new(ip, DEFAULT_PORT)),
                        None => String::from("write \"127.0.0.1:5300\" or \"[::1]:5300\""),
                    };
                    self.bad(
                        "listen",
                        name,
                        Some(index),
                        &format!("is \"{text}\"; expected address:port"),
                        &hint,
                    );
                }
            }
        }
        addrs
    }

    /// Reads `[upstream]`.
    fn upstream(&mut self, spec: &Spec, own: &[SocketAddr]) -> upstream::Settings {
        let upstream = &spec.upstream;
        let mut bootstrap = self.servers("bootstrap", upstream.bootstrap.as_deref(), own, None);
        forward::set_case(&mut bootstrap, upstream.random_case);
        let bootstrap = Arc::from(bootstrap);
        let mut servers = self.servers("servers", upstream.servers.as_deref(), own, Some(&bootstrap));
        forward::set_case(&mut servers, upstream.random_case);
        if servers.is_empty() && upstream.servers.as_ref().is_some_and(Vec::is_empty) {
            let what = "is empty: only listed names are answered, and those of [[forward]] zones";
            let hint = "name whom to ask for all others: [\"tls://dns.quad9.net@9.9.9.9\"]";
            self.problems
                .push(self.layers.problem("upstream", "servers", None, what).hint(hint).as_warning());
        }
        let places = (&self.layers, &mut self.problems);
        let (forwards, routes) = forward::read(spec, &mut servers, (own, &bootstrap), places);
        let try_timeout =
            self.millis("upstream", "try_timeout_ms", upstream.try_timeout_ms, 10, MAX_TIMEOUT_MS);
        let total_timeout =
            self.millis("upstream", "total_timeout_ms", upstream.total_timeout_ms, 10, MAX_TIMEOUT_MS);
        if total_timeout < try_timeout {
            let hint = "one try has to fit in the total";
            // The one that somebody wrote is the one to change.
            if self.layers.origin("upstream", "total_timeout_ms") == Some(&Origin::Default) {
                let what = format!(
                    "is more than `upstream.total_timeout_ms`, which is {}",
                    total_timeout.as_millis()
                );
                self.bad("upstream", "try_timeout_ms", None, &what, hint);
            } else {
                let what =
                    format!("is less than `upstream.try_timeout_ms`, which is {}", try_timeout.as_millis());
                self.bad("upstream", "total_timeout_ms", None, &what, hint);
            }
        }
        let max_in_flight =
            self.number("upstream", "max_in_flight", upstream.max_in_flight, 1, 1 << 16) as usize;
        let max_per_server =
            self.number("upstream", "max_per_server", upstream.max_per_server, 1, MAX_TRIES) as usize;
        let (trust_ad, cookies) = (upstream.trust_ad.unwrap_or_default(), upstream.cookies.unwrap_or(true));
        let source = upstream.source_prefix.as_deref().and_then(|text| self.source(text));
        // Read here, so that whoever reads the configuration finds out, and another file is another configuration.
        let ca_file = upstream.ca_file.as_deref().filter(|file| !file.is_empty());
        let roots = ca_file.map_or(Ok(Roots::BuiltIn), |file| Roots::read(Path::new(file)));
        let roots = roots.unwrap_or_else(|problem| {
            self.problems.push(problem);
            Roots::BuiltIn
        });
        let max_ports = upstream::MAX_PORTS;
        upstream::Settings {
            servers,
            forwards,
            routes,
            strategy: upstream.strategy.unwrap_or_default(),
            hedge: upstream.hedge.unwrap_or_default(),
            meet: upstream.probe_at_start.unwrap_or(true),
            try_timeout,
            total_timeout,
            max_in_flight,
            max_per_server,
            max_ports,
            cookies,
            source,
            trust_ad,
            roots,
        }
    }

    /// Reads the prefix that upstreams are asked from.
    fn source(&mut self, text: &str) -> Option<upstream::Source> {
        let source = text.parse::<upstream::Source>();
        if let Err(error) = &source {
            let what = format!("is \"{}\", which {error}", text.escape_debug());
            let hint = "write a prefix of IPv6 that is routed to this machine: \"2001:db8:1::/64\"";
            self.bad("upstream", "source_prefix", None, &what, hint);
        }
        source.ok()
    }

    /// Reads upstreams, each once; `bootstrap` is asked for the addresses of those that are hosts, where there can be such.
    fn servers(
        &mut self,
        key: &str,
        texts: Option<&[String]>,
        own: &[SocketAddr],
        bootstrap: Option<&Arc<[upstream::Server]>>,
    ) -> Vec<upstream::Server> {
        let mut servers = Vec::new();
        for (index, text) in texts.unwrap_or_default().iter().enumerate() {
            match forward::server(text, own, bootstrap) {
                Ok(server) if servers.contains(&server) => {}
                Ok(server) => {
                    let place = |what: &str| self.layers.problem("upstream", key, Some(index), what);
                    let remark = forward::remark(&server, text, place);
                    self.problems.extend(remark);
                    servers.push(server);
                }
                Err((what, hint)) => self.bad("upstream", key, Some(index), &what, hint),
            }
        }
        servers
    }

    /// Reads `[orders]`; files are read when orders are loaded.
    fn orders(&mut self, spec: &Spec, by_default: bool) -> Orders {
        let place = self.layers.origin("orders", "protected").map_or(String::new(), Origin::to_string);
        let mut protected = Vec::new();
        for (index, listed) in spec.orders.protected.as_deref().unwrap_or_default().iter().enumerate() {
            for text in &listed.names {
                self.name("orders", "protected", index, text);
            }
            if listed.names.is_empty() && listed.file.is_none() {
                let what = "lists no names and no file";
                self.bad(
                    "orders",
                    "protected",
                    Some(index),
                    what,
                    "write names = [\"example.com\"] or file = \"names.txt\"",
                );
            }
            let kind = listed.kind.into();
            let file = listed.file.as_ref().map(PathBuf::from);
            protected.push(ProtectedSpec { kind, names: listed.names.clone(), file, source: place.clone() });
        }
        let mut nat64 = Nat64::default();
        for (index, text) in spec.orders.nat64_prefixes.as_deref().unwrap_or_default().iter().enumerate() {
            let taken = text.parse::<Network>().ok().is_some_and(|network| match network.addr() {
                IpAddr::V6(prefix) => nat64.add(prefix, network.prefix()),
                IpAddr::V4(_) => false,
            });
            if !taken {
                self.bad(
                    "orders",
                    "nat64_prefixes",
                    Some(index),
                    &format!("{text:?} is no NAT64 prefix"),
                    "write one of /32, /40, /48, /56, /64 or /96: \"2001:db8:64::/96\"",
                );
            }
        }
        // What is made by that prefix is judged as what it is made of.
        if let Some(prefix) = dns64::prefix(spec) {
            nat64.add(prefix.address(), prefix.bits());
        }
        let paths = spec.orders.paths.as_deref().unwrap_or_default().iter().map(PathBuf::from).collect();
        let state = spec.orders.state.as_ref().filter(|state| !state.is_empty()).map(PathBuf::from);
        let lists = lists::read(spec, state.as_deref(), &self.layers, &mut self.problems);
        Orders {
            settings: orders::Settings { paths, lists, protected, nat64 },
            by_default,
            watch: spec.orders.watch.unwrap_or(true),
            state,
            while_loading: spec.orders.while_loading.unwrap_or_default(),
        }
    }

    /// Reads `[control]`; the token file is read when the server starts.
    fn control(&mut self, spec: &Spec, by_default: bool) -> Control {
        let token_file = spec.control.token_file.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from);
        let text = spec.control.listen.as_deref().unwrap_or(NO_CONTROL);
        let listen = match text.parse::<Address>() {
            _ if text == NO_CONTROL => None,
            Ok(address) => Some(address),
            Err(error) => {
                let hint = format!("write \"unix:control.sock\", \"127.0.0.1:{EXAMPLE_PORT}\" or \"none\"");
                self.bad("control", "listen", None, &format!("is \"{text}\", which {error}"), &hint);
                None
            }
        };
        if listen.as_ref().is_some_and(|address| !address.is_local()) && token_file.is_none() {
            let what = format!("is \"{text}\", which others than this machine reach, and there is no token");
            let hint = "set control.token_file, or listen on 127.0.0.1 or a Unix socket: whoever reaches it may lift orders";
            self.bad("control", "listen", None, &what, hint);
        }
        Control { listen, by_default, token_file }
    }

    /// Reads `[cache]`.
    fn cache(&mut self, spec: &Spec) -> Cache {
        let size = self.size("cache", "size", spec.cache.size.as_ref());
        let cache = &spec.cache;
        let ttl = TtlLimits {
            min_s: self.number("cache", "min_ttl", cache.min_ttl, 0, 3600),
            max_s: self.number("cache", "max_ttl", cache.max_ttl, 0, MAX_MAX_TTL_S),
            negative_min_s: self.number("cache", "negative_min_ttl", cache.negative_min_ttl, 0, 3600),
            negative_max_s: {
                self.number("cache", "negative_max_ttl", cache.negative_max_ttl, 0, MAX_NEGATIVE_TTL_S)
            },
        };
        let failures = [("failure_ttl", cache.failure_ttl), ("failure_max_ttl", cache.failure_max_ttl)];
        let failures = failures.map(|(key, value)| self.number("cache", key, value, 1, MAX_FAILURE_S));
        for (min, max, (less, more)) in [
            (ttl.min_s, ttl.max_s, ("min_ttl", "max_ttl")),
            (ttl.negative_min_s, ttl.negative_max_s, ("negative_min_ttl", "negative_max_ttl")),
            (failures[0], failures[1], ("failure_ttl", "failure_max_ttl")),
        ] {
            if min > max {
                let what = format!("is more than `cache.{more}`");
                self.bad("cache", less, None, &what, "lower the one or raise the other");
            }
        }
        let stale_s = self.number("cache", "max_stale", cache.max_stale, 1, MAX_STALE_S);
        let max_stale = match cache.serve_stale {
            Some(false) => Duration::ZERO,
            Some(true) | None => Duration::from_secs(stale_s.into()),
        };
        let failures = failures.map(|seconds| Duration::from_secs(seconds.into()));
        let (prefetch, cut) = (cache.prefetch.unwrap_or(true), cache.nxdomain_cut.unwrap_or_default());
        Cache { size, ttl, max_stale, prefetch, cut, failures }
    }

    /// Reads what `[cache]` says of restarts.
    fn persist(&mut self, spec: &Spec) -> Persist {
        let every = spec.cache.persist_interval;
        let every_s = self.number("cache", "persist_interval", every, 1, MAX_PERSIST_INTERVAL_S);
        let on = spec.cache.persist.unwrap_or(true);
        Persist { on, every: Duration::from_secs(every_s.into()) }
    }

    /// Reads `[access]`.
    fn access(&mut self, spec: &Spec) -> AccessList {
        let allow = self.access_list("allow", &spec.access.allow);
        if allow.is_open() {
            let problem = self.layers.problem("access", "allow", None, "lets in the public internet");
            let hint = "an open resolver is used for attacks on others (RFC 5358): name your own networks";
            self.problems.push(Problem::warning(problem.file, problem.line, problem.message).hint(hint));
        }
        allow.without_rd(self.access_list("allow_no_rd", &spec.access.allow_no_rd))
    }

    /// Reads a list of clients in `[access]`; one that is wrong is empty.
    fn access_list(&mut self, name: &str, entries: &Option<Vec<String>>) -> AccessList {
        let entries = entries.as_deref().unwrap_or_default();
        let bad = match AccessList::parse(entries) {
            Ok(list) => return list,
            Err(bad) => bad,
        };
        for (index, error) in bad {
            let what = format!("is \"{}\", which {error}", entries[index]);
            let hint = "write \"192.0.2.0/24\", \"2001:db8::/32\", \"loopback\"";
            self.bad("access", name, Some(index), &what, hint);
        }
        AccessList::default()
    }

    /// Reads `[server]`.
    fn identity(&mut self, spec: &Spec) -> Identity {
        for (name, value) in [("version", &spec.server.version), ("id", &spec.server.id)] {
            if value.as_ref().is_some_and(|text| text.len() > MAX_TXT_LEN) {
                self.bad(
                    "server",
                    name,
                    None,
                    "is longer than 255 octets",
                    "shorten it: it has to fit in one TXT string",
                );
            }
        }
        Identity { version: spec.server.version.clone(), id: spec.server.id.clone() }
    }

    /// Reads `[ecs]`.
    fn ecs(&mut self, spec: &Spec) -> Ecs {
        let ipv4_bits = self.number("ecs", "ipv4_bits", spec.ecs.ipv4_bits, 1, 32) as u8;
        let ipv6_bits = self.number("ecs", "ipv6_bits", spec.ecs.ipv6_bits, 1, 64) as u8;
        let zones = self.names("ecs", "zones", &spec.ecs.zones);
        Ecs { mode: spec.ecs.mode.unwrap_or_default(), ipv4_bits, ipv6_bits, zones }
    }

    /// Reads `[rebinding]`.
    fn rebinding(&mut self, spec: &Spec) -> Rebinding {
        let mut allowed = self.names("rebinding", "allow", &spec.rebinding.allow);
        if !spec.rebinding.protect.unwrap_or(true) {
            allowed.push(Name::ROOT);
        }
        Rebinding::allowing(allowed)
    }

    /// Reads a list of names.
    fn names(&mut self, section: &str, key: &str, names: &Option<Vec<String>>) -> Vec<Name> {
        let names = names.as_deref().unwrap_or_default().iter().enumerate();
        names.filter_map(|(index, text)| self.name(section, key, index, text)).collect()
    }

    /// Reads `[guard]`.
    fn guard(&mut self, spec: &Spec) -> Guard {
        let Guarding { canary_interval, recent, max_share, hold } = spec.guard;
        let interval_s = self.number("guard", "canary_interval", canary_interval, 0, MAX_CANARY_INTERVAL_S);
        let recent = self.number("guard", "recent", recent, 0, MAX_RECENT) as usize;
        let max_share = self.number("guard", "max_share", max_share, 1, 100);
        let hold_s = self.number("guard", "hold", hold, 1, MAX_HOLD_S);
        Guard {
            canary_interval: Duration::from_secs(interval_s.into()),
            recent,
            max_share,
            hold: Duration::from_secs(hold_s.into()),
        }
    }

    /// Reads `[evidence]`.
    fn evidence(&mut self, spec: &Spec) -> Evidence {
        let evidence = &spec.evidence;
        let on = evidence.on.unwrap_or(false);
        if on && spec.orders.state.as_deref().is_none_or(str::is_empty) {
            let hint = "name a folder: orders.state, or --state DIR";
            self.bad("evidence", "on", None, "is set, and there is no state folder to keep it in", hint);
        }
        let sizes = [("max_size", &evidence.max_size), ("memory", &evidence.memory)];
        let [max_size, memory] = sizes.map(|(key, value)| {
            let size = self.size("evidence", key, value.as_ref());
            if size < MIN_EVIDENCE {
                self.bad("evidence", key, None, "is too small to be of use", "write \"1MiB\" or more");
            }
            size
        });
        let flush_s = self.number("evidence", "flush", evidence.flush, 1, MAX_FLUSH_S);
        let keep_days = self.number("evidence", "keep", evidence.keep, 1, MAX_KEEP_DAYS);
        let (privacy, flush) = (evidence.privacy.unwrap_or_default(), Duration::from_secs(flush_s.into()));
        let mmdb = evidence.mmdb.iter().flatten().map(PathBuf::from).collect();
        Evidence { on, privacy, flush, keep_days, max_size, memory, mmdb }
    }

    /// Reads a name.
    fn name(&mut self, section: &str, key: &str, index: usize, text: &str) -> Option<Name> {
        match orders::names::name(text) {
            Ok(name) => Some(name),
            Err(error) => {
                self.bad(
                    section,
                    key,
                    Some(index),
                    &format!("has the name \"{text}\": {error}"),
                    "write it as example.com",
                );
                None
            }
        }
    }

    /// Reads a number of octets; 0 if there is none.
    fn size(&mut self, section: &str, name: &str, value: Option<&Size>) -> u64 {
        match value {
            None => 0,
            Some(Size::Octets(octets)) => *octets,
            Some(Size::Text(text)) => octets(text).unwrap_or_else(|| {
                let what = format!("is \"{text}\"; expected a number of octets with a unit");
                self.bad(section, name, None, &what, "write 67108864, \"64MiB\" or \"1GB\"");
                0
            }),
        }
    }

    /// Reads a number between two others.
    fn number(&mut self, section: &str, name: &str, value: Option<u32>, min: u32, max: u32) -> u32 {
        let value = value.unwrap_or(min);
        if !(min..=max).contains(&value) {
            self.bad(section, name, None, &format!("is {value}; expected {min} to {max}"), "");
        }
        value.clamp(min, max)
    }

    /// Reads a number of milliseconds.
    fn millis(&mut self, section: &str, name: &str, value: Option<u32>, min: u32, max: u32) -> Duration {
        Duration::from_millis(self.number(section, name, value, min, max).into())
    }
}

/// An address without a port, in brackets or not.
fn bare_ip(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
}
