//! What a configuration file may say: the types serde reads and schemars describes.
//!
//! Everything is optional here; `parse` fills the gaps and turns text into types that cannot be wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cache::Cut;
use crate::clients::Privacy;
use crate::ecs;
use crate::log::{Format, Level};
use crate::querylog;
use crate::upstream::Strategy;

/// The configuration of Sinkscope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "sinkscope.toml")]
pub struct Spec {
    /// Where queries are taken.
    pub listen: Listen,
    /// Whom to ask what is not known here.
    pub upstream: Upstream,
    /// Whom to ask instead about names of some zones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<Forward>,
    /// What is enforced.
    pub orders: Orders,
    /// Lists of names, each a policy zone behind those of order files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<List>,
    /// How much is remembered, and for how long.
    pub cache: Cache,
    /// What answers look like.
    pub answers: Answers,
    /// Where clients that have IPv6 alone reach IPv4.
    pub dns64: Dns64,
    /// Which networks of clients upstream is told of.
    pub ecs: Ecs,
    /// Whose answers may lead to addresses of this network.
    pub rebinding: Rebinding,
    /// Who may ask.
    pub access: Access,
    /// What the server says about itself.
    pub server: Server,
    /// Names answered here that should be forwarded after all.
    pub special: Special,
    /// Names of our own, answered here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<Local>,
    /// As whom it runs, and what it gives up.
    pub process: Process,
    /// Where commands and dashboards reach the server.
    pub control: Control,
    /// How the journal shows that it is what was written.
    pub audit: Audit,
    /// How an order that does harm is noticed.
    pub guard: Guard,
    /// Who asked for what orders take, on the disk.
    pub evidence: Evidence,
    /// What is logged.
    pub log: Log,
    /// Which queries are logged, and where to.
    pub query_log: QueryLog,
    /// Groups of clients that not all orders and lists are for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientGroup>,
}

/// `[listen]`: where queries are taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// UDP addresses with ports, such as `127.0.0.1:5300`, `[::1]:5300` or `[fe80::1%eth0]:5300`. Default: the first two, or
    /// what `tcp` says.
    pub udp: Option<Vec<String>>,
    /// TCP addresses with ports. Default: the same as `udp`.
    pub tcp: Option<Vec<String>>,
    /// TCP connections at one time, all clients together; beyond, whichever is idle longest is closed for another.
    /// Default: 512.
    pub max_connections: Option<u32>,
    /// TCP connections at one time from one IPv4 address or IPv6 /64. Default: 64.
    pub max_connections_per_client: Option<u32>,
    /// How long a TCP connection may be idle, in milliseconds; less while more than half of `max_connections` are open.
    /// Default: 10000.
    pub idle_timeout_ms: Option<u32>,
    /// Queries under way at one time on one TCP connection. Default: 64.
    pub max_pipelined: Option<u32>,
    /// Queries waiting for an upstream at one time, all clients together; when there are as many, the client who has most
    /// of them loses one to whoever has fewer. Default: 4096.
    pub max_pending: Option<u32>,
    /// Queries waiting for an upstream at one time from one IPv4 address or IPv6 /64. Default: 1000.
    pub max_pending_per_client: Option<u32>,
    /// Replies by UDP that took longer than this, in milliseconds, are kept back while many of their client's queries wait:
    /// it has asked again by then. 0 means never. Default: 1900.
    pub discard_timeout_ms: Option<u32>,
    /// Threads that answer UDP queries, for each address; 0 means one for each core. Default: 0.
    pub workers: Option<u32>,
    /// Whether each of these threads stays on one core. Default: false.
    pub pin: Option<bool>,
    /// Octets that wait in each UDP socket for its thread, or text such as "4MiB"; the system caps it
    /// (net.core.rmem_max on Linux). Default: "4MiB".
    pub socket_buffer: Option<Size>,
}

/// `[upstream]`: whom to ask what is not known here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// Resolvers in order of preference: "udp://192.0.2.1:53" (TCP when truncated), "tcp://192.0.2.1:53", "tls://dns.example@192.0.2.1"
    /// (DNS over TLS at port 853, from whoever has a certificate for that name, without one for the address; "?pin=BASE64" behind it
    /// also pins keys), `https://dns.example@192.0.2.1/dns-query` (DNS over HTTPS, asked by POST; with "{?dns}" behind the path by GET),
    /// "quic://dns.example@192.0.2.1" (DNS over QUIC at port 853), "h3://dns.example@192.0.2.1/dns-query" (DNS over HTTP/3), "sdns://"
    /// with a DNS stamp of such; a bare address means UDP at port 53, and a link-local one has its interface behind it, "fe80::1%eth0".
    /// Default: those of /etc/resolv.conf but this server itself.
    pub servers: Option<Vec<String>>,
    /// Servers that are asked for the addresses of those named by a host alone ("tls://dns.example", "quic://dns.example"): written as
    /// those are, with an address. Default: none, and then all have to have one.
    pub bootstrap: Option<Vec<String>>,
    /// Whom of several servers a question is put to: "in-order" to the first as long as it answers, "random" to each now and then and to
    /// the faster ones more often, "fastest" to the one that was fastest lately, "parallel" to two at once. The others are asked when
    /// it fails or declines. Default: "in-order".
    pub strategy: Option<Strategy>,
    /// Whether a question is put to the next server as well when the first takes longer than nineteen of twenty of its replies did; never
    /// more than one question of twenty. Default: true with "random" and "fastest", else false.
    pub hedge: Option<bool>,
    /// Whether each of several servers is asked for the name servers of the root, or of the zone that it is for, once it is put in force:
    /// one that is down or declines is then known before anybody waits for it. Default: true.
    pub probe_at_start: Option<bool>,
    /// How long one server is waited for, in milliseconds, before the next is asked or itself once more; less where it was faster
    /// lately. Default: 1500.
    pub try_timeout_ms: Option<u32>,
    /// Time for all tries together, in milliseconds. Default: 4000.
    pub total_timeout_ms: Option<u32>,
    /// Questions under way at one time, all servers together. Default: 4096.
    pub max_in_flight: Option<u32>,
    /// Tries under way at one time at one server, whoever asks, three at most for a question; what comes beyond that goes to the next one,
    /// and without another one is answered like what comes beyond `max_in_flight`. Default: what all questions may have.
    pub max_per_server: Option<u32>,
    /// Whether servers that are asked by UDP are sent DNS cookies (RFC 7873): whoever gives one back has to show it with each reply, which
    /// nobody can forge who has not seen the question. Default: true.
    pub cookies: Option<bool>,
    /// Whether servers that are asked by UDP are asked in random case (0x20), which they have to repeat: a bit for each letter that a forger
    /// has to guess. Those that change it are found out; say false for those that take names in another case for other names. Default: true.
    pub random_case: Option<bool>,
    /// An IPv6 prefix that is all this machine's, "2001:db8:1::/64": servers that are asked by UDP over IPv6 are asked from random addresses of
    /// it. The system has to take all of it for its own: `ip -6 route add local 2001:db8:1::/64 dev lo`. Default: none.
    pub source_prefix: Option<String>,
    /// Whether servers of other hosts are believed that they have validated an answer (AD), though they are asked in clear: say so
    /// where the network between is yours alone. Those of this host always are, and those that are asked over TLS. Default: false.
    pub trust_ad: Option<bool>,
    /// A file of certificates, in PEM, of the authorities that sign those of servers that are asked over TLS, and no others. Default: those that
    /// browsers trust, built in.
    pub ca_file: Option<String>,
}

/// `[[forward]]`: whom to ask about names of some zones, those of a LAN of its router for one, or what some clients ask. Names of zones
/// are asked there for everybody even if they are special names, which are else answered here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Zones with all names below them: "fritz.box", "168.192.in-addr.arpa". Of two in which a name is, the longer one decides. With
    /// `groups` it may be left out: then it is for all names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Groups of `[[clients]]` whose questions these are; what they are told is cached for them alone. Default: everybody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Resolvers in order of preference, written as in `upstream.servers`.
    pub servers: Vec<String>,
    /// The same as `upstream.random_case` for these; who is named more than once is asked in lower case if that is said once. Default: as there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_case: Option<bool>,
}

/// `[orders]`: what is enforced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Orders {
    /// Order files and folders of order files; earlier ones take precedence. Default: "blocklists/".
    pub paths: Option<Vec<String>>,
    /// Names that no order may capture.
    pub protected: Option<Vec<Protected>>,
    /// The network's own NAT64 prefixes, such as "2001:db8:64::/96" (RFC 6052: /32, /40, /48, /56, /64 or /96): an IPv6
    /// address under one is judged as the IPv4 address in it, too. Default: none beside 64:ff9b::/96, which always is.
    pub nat64_prefixes: Option<Vec<String>>,
    /// Whether a changed file is loaded by itself; SIGHUP always works. Default: true.
    pub watch: Option<bool>,
    /// A folder for the compiled orders, so that a restart need not read long lists again. Default: the one that systemd
    /// names in $STATE_DIRECTORY; without it nothing is kept.
    pub state: Option<String>,
    /// What queries get until the orders are loaded on start: "wait" leaves them waiting in their sockets, "not-ready"
    /// answers SERVFAIL with EDE 14. Default: "wait".
    pub while_loading: Option<WhileLoading>,
}

/// What queries get until the orders are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhileLoading {
    /// Nothing yet.
    #[default]
    Wait,
    /// SERVFAIL, and why.
    NotReady,
}

/// `[[orders.protected]]`: names that no order may capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Protected {
    /// How the names match. Default: "exact".
    #[serde(rename = "match", default)]
    pub kind: Match,
    /// The names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A file of names, one a line or in hosts format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// How a listed name matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The name itself only.
    #[default]
    Exact,
    /// The name and everything below it.
    Subtree,
    /// Everything below the name, not the name itself.
    SubtreeBelow,
}

/// `[[lists]]`: a list of names, from here or from the network; a policy zone behind those of order files, in the given order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// What it is called: letters, digits, `-`, `_` and `.`. It is the id of its order and the name of its policy zone.
    pub name: String,
    /// A file, a folder of files, or a URL (`https://` or `http://`).
    pub source: String,
    /// How its lines are written. Default: "auto", by its first lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ListFormat>,
    /// What a bare name on it covers. Needed for "hosts" and "domains"; "adblock", "dnsmasq", "regex" and "rpz" say it
    /// themselves. On a "wildcard" list "subtree" makes *.x take x, too.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Match>,
    /// Whose it is. Default: "operator".
    #[serde(rename = "kind", default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<ListKind>,
    /// What happens to names on it; "passthru" frees them from every other list and order. Default: "sinkhole".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ListAction>,
    /// Where sinkholed names point. Default: 0.0.0.0 and ::, where nobody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// The TTL of its answers, in seconds or as text such as "30s"; of an RPZ's answers the highest. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Whether `ttl` may be above 60 seconds: names taken off the list stay dark that long. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_long_ttl: Option<bool>,
    /// The malware family or the like, for reports. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Whether it may take everybody's names below a public suffix such as "co.uk". Default: false, such lines are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_public_suffix: Option<bool>,
    /// With fewer entries it is refused, and what it held before stays in force. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_entries: Option<u32>,
    /// Whether it may lose more than half of its entries at once. Default: false, it is refused then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_shrink: Option<bool>,
    /// How often a URL is asked for news, in seconds or as text such as "12h". Default: "1d".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Span>,
    /// Octets of a download at most, packed and unpacked, or text such as "64MiB". Default: "256MiB".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
    /// The SHA-256 that a download must have: 64 hexadecimal digits. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The minisign public key by which a download must be signed (its signature is at its URL with `.minisig` behind).
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minisign_key: Option<String>,
    /// Addresses of the URL's host, so that nobody needs to be asked for them. Default: upstreams are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Vec<String>>,
    /// RPZ only: the zone's name. Default: what the file says (`$ORIGIN`, or the owner of its SOA), and the list's name where
    /// it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// RPZ only: how wildcards are read, as the draft and BIND do, as Unbound does, or the closest trigger wins as in
    /// PowerDNS Recursor. Default: "draft".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wildcards: Option<Wildcards>,
    /// RPZ only: what is done instead of what the zone says: "given", "disabled", "nxdomain", "nodata", "passthru", "drop",
    /// "tcp-only", "local-data-or-passthru", "local-data-or-disabled", "cname:NAME". Default: "given".
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub action_override: Option<String>,
    /// RPZ only: whether signed answers are changed, too, for clients that ask for signatures. Nobody validates here, so
    /// turned off it lets a listed name through by any signature. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_dnssec: Option<bool>,
    /// RPZ only: whether it acts on queries without RD, too. They are resolved like all others, so turned off it lets listed
    /// names through. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_rd: Option<bool>,
}

/// How the lines of a list are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListFormat {
    /// Found out by the first lines.
    #[default]
    Auto,
    /// hosts(5): an address and names.
    Hosts,
    /// One name a line.
    Domains,
    /// `*.x` for what is below a name, `.x` for the name too.
    Wildcard,
    /// Adblock Plus and AdGuard: `||x^`, `@@||x^`.
    Adblock,
    /// dnsmasq's options: `address=/x/`, `server=/x/`, `local=/x/`.
    Dnsmasq,
    /// One regular expression a line.
    Regex,
    /// A response policy zone.
    Rpz,
}

/// Whose a list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    /// Whoever runs this resolver: answers say Blocked.
    #[default]
    Operator,
    /// Somebody who uses it and asked for this: answers say Filtered.
    User,
}

/// What happens to names on a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ListAction {
    /// Given addresses for A and AAAA, no data for other types.
    #[default]
    Sinkhole,
    /// The name exists and has no records.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// REFUSED.
    Refused,
    /// No answer.
    Drop,
    /// Truncated over UDP, the truth over TCP.
    TcpOnly,
    /// Counted, answered truthfully.
    Observe,
    /// The truth, whatever other lists and orders say.
    Passthru,
}

/// Whose reading of an RPZ's wildcards is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wildcards {
    /// The draft's and BIND's.
    #[default]
    Draft,
    /// Unbound's.
    Unbound,
    /// PowerDNS Recursor's.
    Closest,
}

/// A length of time in seconds, or text with a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Span {
    /// Seconds.
    Seconds(u64),
    /// A number with a unit: s, m, h, d.
    Text(String),
}

/// `[cache]`: how much is remembered, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Memory for answers: octets, or text such as "64MiB"; 0 turns the cache off. Default: "64MiB".
    pub size: Option<Size>,
    /// Answers stay at least this long, in seconds. Default: 0.
    pub min_ttl: Option<u32>,
    /// Answers stay at most this long, in seconds. Default: 86400.
    pub max_ttl: Option<u32>,
    /// Negative answers stay at least this long, in seconds. Default: 0.
    pub negative_min_ttl: Option<u32>,
    /// Negative answers stay at most this long, in seconds. Default: 3600.
    pub negative_max_ttl: Option<u32>,
    /// Whether answers that have expired are given when no upstream answers (RFC 8767). Default: true.
    pub serve_stale: Option<bool>,
    /// How long after they have expired such answers are kept, in seconds, at most a week. Default: 86400.
    pub max_stale: Option<u32>,
    /// Whether an answer that is asked for often is asked for anew in the last tenth of its life, so that nobody waits for it. Default: true.
    pub prefetch: Option<bool>,
    /// Which denials of a name (NXDOMAIN) deny what is below it, too (RFC 8020): "off" none, "validated" those that upstream has validated
    /// (AD), "all" all of them. A denied name is denied whatever type is asked for. Default: "validated".
    pub nxdomain_cut: Option<Cut>,
    /// How long it is remembered that a question failed, in seconds from 1 to 300 (RFC 9520). Default: 1.
    pub failure_ttl: Option<u32>,
    /// How long at most, in seconds up to 300: twice as long each time that it fails again. Default: 30.
    pub failure_max_ttl: Option<u32>,
    /// Whether answers are kept over restarts, in the folder that `orders.state` names: `cache.store` there, for the server's own user
    /// alone, says which names were asked for and what they have, not by whom; false removes it. Default: true.
    pub persist: Option<bool>,
    /// How often that file is written, in seconds, at most a day; it is written as well when the server ends. Default: 300.
    pub persist_interval: Option<u32>,
}

/// `[answers]`: what answers look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// Whether another of several addresses comes first in each answer, so that clients share themselves out; names that lead there keep
    /// their order, and so does what is signed. Default: true.
    pub rotate: Option<bool>,
}

/// `[dns64]`: where clients that have IPv6 alone reach IPv4 (RFC 6147). Names without IPv6 addresses are told with those that a translator
/// (NAT64) maps their IPv4 addresses to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dns64 {
    /// The translator's prefix, such as "64:ff9b::/96" (RFC 6052: /32, /40, /48, /56, /64 or /96). Default: none, nothing is translated.
    pub prefix: Option<String>,
    /// Groups of `[[clients]]` that it is for, "default" among them. Default: everybody.
    pub groups: Option<Vec<String>>,
    /// IPv6 prefixes whose addresses are never told: names that have no others count as without. Default: "::ffff:0:0/96".
    pub exclude: Option<Vec<String>>,
}

/// `[ecs]`: which networks of clients upstream is told of (client subnets, RFC 7871), so that it can answer with what is near them. What is
/// answered so is kept for each network apart, and answered at a fifth of the speed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ecs {
    /// "strip": of none, whatever clients send; "pass": of those that clients send; "add": of those, and for clients that send none of the
    /// one that they ask from. Of none that is not routed on the Internet. Default: "strip".
    pub mode: Option<ecs::Mode>,
    /// The most bits of an IPv4 address that are told, 1 to 32. Default: 24.
    pub ipv4_bits: Option<u32>,
    /// The most bits of an IPv6 address that are told, 1 to 64. Default: 56.
    pub ipv6_bits: Option<u32>,
    /// Zones with whose names it is told, subdomains included. Default: with all names.
    pub zones: Option<Vec<String>>,
}

/// A number of octets, or text with a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    /// Octets.
    Octets(u64),
    /// A number with a unit: B, KB, KiB, MB, MiB, GB, GiB.
    Text(String),
}

/// `[access]`: who may ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// "loopback", "private", "any", addresses, networks such as "192.0.2.0/24"; others are refused.
    /// Default: "loopback" and "private".
    pub allow: Option<Vec<String>>,
    /// Those of them whose queries without RD (`dig +norec`) are put upstream, too. Others learn what the cache holds and are
    /// refused the rest. Default: nobody.
    pub allow_no_rd: Option<Vec<String>>,
}

/// `[server]`: what the server says about itself to queries of class CHAOS; unset means it refuses them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// The answer to version.bind and version.server.
    pub version: Option<String>,
    /// The answer to id.server and hostname.bind (RFC 4892).
    pub id: Option<String>,
}

/// `[rebinding]`: what is not taken from outside, lest a page on the web has browsers speak to what is in this network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rebinding {
    /// Whether answers with loopback, private (RFC 1918, RFC 4193) or link-local addresses fail (EDE 15), but for names in `allow`, in
    /// zones of `[[forward]]` and of `special.forward`. Default: unless a server of `upstream.servers` has such an address itself.
    pub protect: Option<bool>,
    /// Zones whose answers may hold such addresses: "example.com" is that name and all below it. Default: none.
    pub allow: Option<Vec<String>>,
}

/// `[special]`: zones answered here by themselves (RFC 6761, RFC 6303), and names of home networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Special {
    /// Such zones to forward after all, because upstream knows them: "168.192.in-addr.arpa". Default: none.
    pub forward: Option<Vec<String>>,
    /// Whether names of home networks are asked of `upstream.servers`: those below internal, lan, home, intranet, private, corp and
    /// localdomain (RFC 6762 appendix G), and single labels such as "nas". Else those that nothing states do not exist. Default: only
    /// where all these servers are of this network: by a private address, as a router, or Docker's 127.0.0.11.
    pub forward_home_names: Option<bool>,
}

/// `[[local]]`: names of our own, such as those of a home network, and the files in which they stand. Files are read again when they
/// change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// A zone of our own, such as "lan" or "home.arpa": what is not stated of it does not exist. Default: none, and records stand beside
    /// what others say of the names around them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Records: "nas A 192.168.1.10", "printer 60 A 192.168.1.11", "*.apps.lan CNAME nas.lan", "@ MX 10 mail.lan". A name of one label is in
    /// the zone and `@` is the zone itself; all others are full names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
    /// Hosts files: an address and its names on a line. A name of one label is answered with the zone behind it, and as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Zone files (RFC 1035), whose names are relative to the zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zone_files: Vec<String>,
    /// Files of leases of a DHCP server: dnsmasq's, ISC dhcpd's, or Kea's memfile. Names of devices are answered as long as their leases
    /// last, and displace nothing that is stated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<String>,
    /// How the leases are written. Default: found out by their first lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_format: Option<LeaseFormat>,
    /// The TTL of what says none, in seconds or as text such as "5m"; of names from leases 60 seconds at most. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Whether addresses of records, hosts and leases get a PTR record, each of its first name. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ptr: Option<bool>,
}

/// How a file of leases is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaseFormat {
    /// dnsmasq's `--dhcp-leasefile`.
    Dnsmasq,
    /// ISC dhcpd's dhcpd.leases and dhcpd6.leases.
    Dhcpd,
    /// Kea's memfile.
    Kea,
}

/// `[control]`: where commands such as `sinkscope order` and dashboards reach the running server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// "unix:PATH", an address with a port such as "127.0.0.1:5380", or "none". Whoever reaches it may lift orders: the
    /// socket is for the server's own user, and an address beyond loopback needs `token_file`. Default: control.sock in the
    /// folder that `orders.state` names, else "none".
    pub listen: Option<String>,
    /// A file of tokens, one of which every request must carry as `Authorization: Bearer TOKEN`: one a line, 16 characters or
    /// more, each perhaps with the name that goes on record: "ops:TOKEN". Default: none, which the socket and loopback allow.
    pub token_file: Option<String>,
}

/// `[process]`: as whom it runs, and what it gives up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// As whom it goes on once it has its sockets, if root started it: "UID", "UID:GID", or a name of /etc/passwd. Default: as it is.
    pub user: Option<String>,
    /// Whether it gives up before all else what no resolver needs: to write outside its folders, to run programs, and some system calls
    /// (Linux: Landlock and seccomp). Default: true.
    pub confine: Option<bool>,
    /// Folders that are there at the start and beneath which it may write as well: the one above a folder of the state, the socket or the
    /// query log that may be made or mounted anew meanwhile. Default: none.
    pub writable: Vec<String>,
}

/// `[audit]`: how the journal shows that it is what was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// A file with an Ed25519 key in PEM, by which everything that goes on record is signed: `openssl genpkey -algorithm ed25519`.
    /// Default: none.
    pub sign_with: Option<String>,
}

/// `[guard]`: how an order that does harm is noticed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// How often each canary of an order is asked, in seconds; 0 asks none. Default: 30.
    pub canary_interval: Option<u32>,
    /// How many recent queries are remembered, one in 64 of all, to tell what an order would do; 0 remembers none.
    /// Default: 16384.
    pub recent: Option<u32>,
    /// How many of the clients that asked lately, or how much of what they ask for, an order of the operator's or a user's own
    /// may newly take beyond the names it lists itself, in per cent: one that would take more is held back. 100 is no limit;
    /// lists, and what courts, agencies and registries ordered, are left alone. Default: 10.
    pub max_share: Option<u32>,
    /// How long such an order is held back, in seconds from 1 to 86400, unless somebody activates it before: what it takes
    /// beyond the names it lists only observes. Default: 3600.
    pub hold: Option<u32>,
}

/// `[[clients]]`: a group of clients that not all orders and lists are for. What courts, agencies and registries ordered is
/// for everybody, whatever stands here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientGroup {
    /// What it is called. "default" is the group of everybody who is in no other.
    pub name: String,
    /// Addresses and networks, such as "192.168.1.64/26"; who is in several networks belongs to the smallest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Only these apply: entries of `orders.paths` as they are written there, and names of lists. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
    /// All but these apply, instead of `zones`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Vec<String>>,
    /// Types that it is told nothing of, whatever the name: "AAAA" where IPv6 leads nowhere, "HTTPS", "TYPE65280". Its queries for them
    /// get no data (EDE 17), unless an order has an answer. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// How much of who is in it is kept in evidence: "full", "prefix", "pseudonym" or "none". Default: `evidence.privacy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Privacy>,
    /// Hours in which that is different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<ScheduleRow>,
}

/// `[[clients.schedule]]`: hours in which more or less applies. Of rows that hold at once, the later has the last word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRow {
    /// The days on which the hours begin: "mon" to "sun". Default: every day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Vec<Day>>,
    /// When they begin, such as "21:30". Default: "00:00".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When they end; a time before `from` is on the next day. Default: "24:00".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Where the clock is that these times are read from: "Europe/Berlin", "UTC".
    pub time_zone: String,
    /// What does not apply then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// What applies then as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// `[evidence]`: who asked for what orders take, on the disk. Queries that no order decides are never part of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Whether it is kept, in the folder that `orders.state` names: `evidence.db` there, for the server's own user alone, which
    /// `sinkscope report` reads. Default: false.
    pub on: Option<bool>,
    /// How much of a client is kept, unless its group of `[[clients]]` says otherwise: "full" is its address, "prefix" 24 bits of it or 56 of
    /// IPv6, "pseudonym" a word that is another one every day, "none" nothing but that it is one of a number. Default: "prefix".
    pub privacy: Option<Privacy>,
    /// How often it is written, in seconds up to 3600: so much is lost by a kill. Default: 5.
    pub flush: Option<u32>,
    /// For how many days it is kept, up to 3650. Default: 90.
    pub keep: Option<u32>,
    /// Octets of the file at most, or text such as "1GiB", from 1 MiB on; the oldest hours make room. Default: "1GiB".
    pub max_size: Option<Size>,
    /// Memory for all that is counted until it is written, in octets or text such as "64MiB", from 1 MiB on, which only a flood needs; when it
    /// is full, counts stay exact, and who asked is counted by networks, then not at all, then for what. Default: "64MiB".
    pub memory: Option<Size>,
    /// Files in MaxMind's format (MMDB) by which `sinkscope report` tells where clients are: the number of their network (ASN), country, region
    /// and city. Of several the first that knows is believed. Default: none.
    pub mmdb: Option<Vec<String>>,
}

/// `[query_log]`: which queries are logged, and where to. Off unless one of `file`, `syslog`, `journald`, `dnstap` and `live` is set. No answer
/// waits for it: what finds no room is dropped, and counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueryLog {
    /// A file of lines, which is written on and on; what it says of whom is for who may read it. Default: none.
    pub file: Option<String>,
    /// Octets after which another file is begun, or text such as "64MiB"; earlier ones have a number behind their name. 0 is never.
    /// Default: "64MiB".
    pub max_size: Option<Size>,
    /// Time after which another file is begun, in seconds or as text such as "1d"; 0 is never. Default: "1d".
    pub max_age: Option<Span>,
    /// Earlier files that are kept. Default: 7.
    pub keep: Option<u32>,
    /// A syslog server (RFC 5424): "unix:/dev/log", or "udp://192.0.2.1:514". Default: none.
    pub syslog: Option<String>,
    /// Whether lines go to systemd's journal. Default: false.
    pub journald: Option<bool>,
    /// A dnstap receiver: "unix:/run/dnstap.sock", or "tcp://192.0.2.1:6000". It gets queries and replies as they are on the wire, whatever
    /// `format` says. Default: none.
    pub dnstap: Option<String>,
    /// Whether it is told what upstreams are asked and what they reply, too, all of it: `only`, `sample` and `groups` are about clients'
    /// queries. Default: false.
    pub dnstap_forwarder: Option<bool>,
    /// Whether queries are told to who listens over the control API, as `sinkscope top` and `sinkscope log --follow` do, though they are
    /// logged nowhere else. Where they are, they are told to those as well. Default: false.
    pub live: Option<bool>,
    /// How lines look: "json", an object each, or "text". Default: "json".
    pub format: Option<querylog::Format>,
    /// Which queries: "all", or "sinkholed", those that an order acted on. Default: "all".
    pub only: Option<LoggedQueries>,
    /// One of so many of them, chosen at random. Default: 1, each.
    pub sample: Option<u32>,
    /// Groups of `[[clients]]` whose queries are logged, "default" among them. Default: everybody's.
    pub groups: Option<Vec<String>>,
    /// How much is told of a client's address: "full", "prefix" (/24 of IPv4, /56 of IPv6), or "none". Default: "full".
    pub addresses: Option<querylog::Addresses>,
    /// Octets of memory in which queries wait to be logged, all threads together, or text such as "64MiB". Default: "64MiB".
    pub buffer: Option<Size>,
}

/// Which queries are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoggedQueries {
    /// Each.
    #[default]
    All,
    /// Those that an order acted on.
    Sinkholed,
}

/// `[log]`: what is logged, to standard error. Queries never are: they have `[query_log]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much. Default: "info".
    pub level: Option<Level>,
    /// For people or for machines. Default: "text".
    pub format: Option<Format>,
}

/// The configuration's JSON schema.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Spec).to_value()
}
