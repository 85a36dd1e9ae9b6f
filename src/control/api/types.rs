//! What the API takes and gives: these types are served, and the OpenAPI document is made of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::control::lifecycle::State;
use crate::control::record::{Match, Names, Record, RecordedStanding, Verb};
use crate::histogram::Times;

/// Why a request was not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What is wrong.
    pub error: String,
    /// What to do about it; empty if nothing helps.
    pub hint: String,
}

/// An order in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderSummary {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// Who stands behind it: court, law-enforcement, registry, operator, user.
    pub kind: String,
    /// What happens to its names, unless a scope says otherwise.
    pub action: String,
    /// Names it lists, counted as often as they are listed.
    pub names: usize,
    /// Where it is in its life, all things together.
    pub state: State,
    /// How far it has got, its window left aside.
    pub standing: RecordedStanding,
    /// Whether that was stated at run time; else its file says so.
    pub stated: bool,
    /// Until when a guard holds it back, in RFC 3339; none if nothing does.
    pub held_until: Option<String>,
    /// Statements about some of its names.
    pub exceptions: usize,
    /// First second in force, in RFC 3339; none means always was.
    pub effective: Option<String>,
    /// First second no longer in force; none means for good.
    pub expires: Option<String>,
    /// When somebody should look at it again.
    pub review_by: Option<String>,
    /// Whether that time has come.
    pub review_due: bool,
    /// The greatest TTL it hands out, in seconds: so long clients keep what was forged after a lift.
    pub bound_s: u32,
}

/// All that is told of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderDetail {
    /// The same as in the list.
    #[serde(flatten)]
    pub summary: OrderSummary,
    /// Counts the versions of this instrument, from 1.
    pub revision: u32,
    /// The court, agency, registry or person that issued it.
    pub issuer: String,
    /// The court's name, if one.
    pub court: String,
    /// Whose law.
    pub jurisdiction: String,
    /// The docket or case number.
    pub docket: String,
    /// Where it can be read.
    pub url: String,
    /// Whom to ask about it.
    pub contact: String,
    /// Why it stands.
    pub justification: String,
    /// The zones it may act in; empty means anywhere.
    pub zones: Vec<String>,
    /// The first name of each of its lists, a few at most.
    pub examples: Vec<String>,
    /// The file it was read from.
    pub source: String,
    /// What was stated about it at run time.
    pub statements: Vec<StatementShown>,
}

/// What was stated about an order at run time, and stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatementShown {
    /// The order's id.
    pub order: String,
    /// The names it is about; none means the whole order.
    pub names: Option<Names>,
    /// How they stand.
    pub standing: RecordedStanding,
    /// Since when, in RFC 3339.
    pub since: String,
    /// First second in which that is over by itself, in RFC 3339; none means for good.
    pub until: Option<String>,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Every order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Orders {
    /// Those that are loaded, in order of precedence.
    pub orders: Vec<OrderSummary>,
    /// What was stated about orders that are not loaded: it applies once they are there.
    pub unknown: Vec<StatementShown>,
}

/// What to change about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeRequest {
    /// The names it is about; none here and in `zones` means the whole order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// What `names` cover.
    #[serde(rename = "match")]
    pub kind: Match,
    /// Zones it is about, with everything below them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Why: goes on record.
    pub why: String,
    /// On whose behalf: goes on record.
    pub by: String,
    /// Whether the order may be one that is not loaded yet.
    pub ahead: bool,
}

/// What was changed about an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The order's id.
    pub order: String,
    /// What was done.
    pub verb: Verb,
    /// Where the order as a whole is now; none if it is not loaded.
    pub state: Option<State>,
    /// What went on record: one for each name, or one for the whole order. Empty if there was nothing to change.
    pub records: Vec<Record>,
    /// Seconds after which no client holds an answer that was forged for them; none if they are still acted on.
    pub bound_s: Option<u32>,
    /// Whether it outlives the process: false without a state folder.
    pub durable: bool,
    /// What else there is to know, a sentence each.
    pub notes: Vec<String>,
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalQuery {
    /// Those of this order; none means of all.
    pub order: Option<String>,
    /// Whether only those about orders are.
    pub orders_only: bool,
    /// The last so many, at most 1000; 100 unless said.
    pub limit: Option<usize>,
}

/// Which query is to be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// The name asked for.
    pub name: String,
    /// Who asks; none means anybody.
    #[serde(default)]
    pub client: Option<std::net::IpAddr>,
    /// The type asked for; A unless said.
    #[serde(default, rename = "type")]
    pub qtype: Option<String>,
    /// When; now unless said.
    #[serde(default)]
    pub at: Option<String>,
}

/// What happens to a query, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub qtype: String,
    /// Who asks; none means anybody.
    pub client: Option<std::net::IpAddr>,
    /// The client's group; empty without a client.
    pub group: String,
    /// Whether the operator's own lists are paused for it.
    pub paused: bool,
    /// When, in RFC 3339.
    pub at: String,
    /// In a word: clear, protected, passthru, or what is done to the name.
    pub verdict: String,
    /// What the client gets, in words.
    pub answer: String,
    /// Where its answer would come from now, in a word such as "forged", "cached" or "local"; none if upstream has to be asked.
    #[serde(default)]
    pub source: Option<String>,
    /// Who is asked what is not known, in order of preference; nobody where it is answered here.
    #[serde(default)]
    pub asked_of: Vec<String>,
    /// The order that decides, if one does.
    pub order: Option<String>,
    /// Every order that captures the name, the one that decides first.
    pub captures: Vec<Capture>,
    /// What else there is to know, a sentence each.
    pub notes: Vec<String>,
}

/// An order's hold on a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// The order's id.
    pub order: String,
    /// What people call it.
    pub title: String,
    /// Who stands behind it: court, law-enforcement, registry, operator, user.
    pub kind: String,
    /// What it does to the name.
    pub action: String,
    /// The listed name or prefix.
    pub trigger: String,
    /// How that matches: exact, subtree, subtree-below, or what it is held against.
    #[serde(rename = "match")]
    pub matched: String,
    /// The place of its policy zone, from 0.
    pub zone: usize,
    /// Where the order is in its life.
    pub state: State,
    /// What became of it: that it decides, or why not.
    pub fate: String,
    /// What was stated at run time about the whole order or about names that hold this one.
    pub statements: Vec<StatementShown>,
}

/// What was changed so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalShown {
    /// The file; none means that it ends with the process.
    pub file: Option<String>,
    /// Records in all.
    pub total: usize,
    /// The hash of the last one.
    pub head: String,
    /// The records asked for, the oldest first.
    pub records: Vec<Record>,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it started, in RFC 3339.
    pub started: String,
    /// Seconds since then.
    pub uptime_s: u64,
    /// The policy in force.
    pub policy: PolicyShown,
    /// Orders by state.
    pub orders: BTreeMap<String, usize>,
    /// Statements that stand.
    pub statements: usize,
    /// The file of the journal; none means that statements end with the process.
    pub journal: Option<String>,
    /// Records in it.
    pub journal_records: usize,
    /// The hash of the last one.
    pub journal_head: String,
    /// What was wrong with it on start.
    pub journal_problems: Vec<String>,
    /// What does not go as it should now.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// What the resolver did so far.
    pub resolver: BTreeMap<String, u64>,
    /// Verdicts so far by what was done.
    pub actions: BTreeMap<String, u64>,
    /// What listeners did so far.
    pub listeners: BTreeMap<String, u64>,
    /// Upstreams, in order of preference.
    pub upstreams: Vec<UpstreamShown>,
    /// All caches together.
    #[serde(default)]
    pub cache: CacheShown,
    /// Names of our own.
    #[serde(default)]
    pub local: LocalShown,
    /// Evidence, if that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceShown>,
}

/// How evidence fares: queries that orders decided, counted and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceShown {
    /// Queries that were counted.
    pub seen: u64,
    /// Those of them that are in the database.
    pub written: u64,
    /// Those that never will be.
    pub lost: u64,
    /// Times that something was written.
    pub flushes: u64,
    /// Times that something could not be.
    pub failures: u64,
    /// Sightings that made room for others.
    pub trimmed: u64,
    /// Octets of the database.
    pub octets: u64,
    /// When this process wrote it last, in RFC 3339.
    pub last: Option<String>,
    /// Queries of which less is known than could be, for want of memory, by what is not known.
    pub coarse: BTreeMap<String, u64>,
}

/// Names of our own, as the configuration and its files state them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalShown {
    /// Zones of which what is not stated does not exist.
    pub zones: usize,
    /// Records, those of addresses' names included.
    pub records: usize,
    /// Names of devices that have a lease.
    pub lease_names: usize,
    /// Leases whose names are not answered: no names for a device, or those of somebody else.
    pub refused_lease_names: usize,
    /// Files.
    pub files: usize,
    /// Files with which something is wrong.
    pub bad_files: usize,
}

/// Whether all goes as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthShown {
    /// It does. What is wrong with this process and its files is a fault in its stead.
    pub well: bool,
    /// What is wrong elsewhere, which no restart mends: upstreams that do not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyShown {
    /// Another one for each policy that was in force.
    pub epoch: u64,
    /// Orders in it.
    pub orders: usize,
    /// Distinct names listed, protected ones and exceptions included.
    pub names: usize,
}

/// An upstream and what it did so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamShown {
    /// Its address.
    pub server: String,
    /// The zones it is asked about: "." stands for all names that no other zone is for.
    #[serde(default)]
    pub zones: Vec<String>,
    /// The groups of clients it is asked for, if it is for those alone.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Questions put to it.
    pub asked: u64,
    /// Of those, put to it while another's reply was not late yet.
    #[serde(default)]
    pub extra: u64,
    /// Questions it did not answer.
    pub failed: u64,
    /// Questions under way there now.
    #[serde(default)]
    pub under_way: u64,
    /// Questions that went elsewhere, for as many were under way there as may be.
    #[serde(default)]
    pub full: u64,
    /// Questions of our own beside those, to find out whether it answers at all.
    #[serde(default)]
    pub probes: u64,
    /// Replies from its address that no question had asked for, or none in that case: somebody guesses.
    #[serde(default)]
    pub guesses: u64,
    /// Whether it gives DNS cookies, which its replies have to show from then on.
    #[serde(default)]
    pub cookies: bool,
    /// Replies from its address that did not show them, and were not taken.
    #[serde(default)]
    pub cookies_missing: u64,
    /// Whether it did not step back, or has answered since; as far as was found out when it was last asked.
    #[serde(default = "yes")]
    pub up: bool,
    /// How long ago it stepped back, in seconds, if it has.
    #[serde(default)]
    pub back_for_s: Option<u64>,
    /// What was wrong when it was last of no use, in words that follow its address.
    #[serde(default)]
    pub last_failure: Option<String>,
    /// How long ago that was, in seconds.
    #[serde(default)]
    pub last_failure_s: Option<u64>,
    /// What was of no use, by kind; replies that decline are among it, and not in `failed`.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// How long its replies take, smoothed, in microseconds, if that is known.
    #[serde(default)]
    pub reply_us: Option<u64>,
    /// How long its replies took: for metrics alone.
    #[serde(skip)]
    pub times: Times,
}

/// What older servers do not say is so.
fn yes() -> bool {
    true
}

/// What a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheShown {
    /// Answers.
    pub entries: u64,
    /// Octets they take.
    pub octets: u64,
    /// Octets they may take.
    pub max_octets: u64,
}

/// Of which name what is cached is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheQuery {
    /// The name.
    pub name: String,
    /// This type alone; all unless said.
    #[serde(default, rename = "type")]
    pub qtype: Option<String>,
}

/// What is cached of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheHeld {
    /// Answers.
    pub answers: Vec<AnswerShown>,
    /// Questions that failed a moment ago.
    pub failures: Vec<FailureShown>,
    /// How many more there are of either.
    pub left_out: usize,
}

/// A question that is cached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Took {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub qtype: String,
    /// The class.
    pub class: String,
    /// Whether signatures were asked for (DO).
    pub dnssec_ok: bool,
    /// Whether it was asked that nothing be held back (CD).
    pub checking_disabled: bool,
}

/// An answer that is cached: what upstream said, whatever orders make of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerShown {
    /// The groups of clients whose it is, if it is for those alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What it answers.
    #[serde(flatten)]
    pub question: Took,
    /// The network that it is for, if upstream was told of clients' networks; "any" for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Its response code.
    pub rcode: String,
    /// Whether upstream has validated it (AD).
    pub authentic: bool,
    /// When it came, in RFC 3339.
    pub came: String,
    /// Seconds since then.
    pub age_s: u32,
    /// Seconds it has left; 0 for one that has expired.
    pub left_s: u32,
    /// Seconds since it expired, if it has.
    pub expired_s: u32,
    /// Seconds for which it is kept, for want of a newer one too.
    pub kept_s: u64,
    /// Its records, with the TTLs they have now.
    pub records: Vec<String>,
    /// Those that deny something, or prove it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authority: Vec<String>,
    /// What upstream said beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// A question that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureShown {
    /// The groups of clients whose it is, if it is for those alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What was asked.
    #[serde(flatten)]
    pub question: Took,
    /// Seconds for which that is remembered.
    pub left_s: u64,
    /// Why.
    pub why: Vec<String>,
}

/// How much is cached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheStats {
    /// Everybody's first, then those of groups of clients with upstreams of their own.
    pub caches: Vec<CacheOf>,
    /// Answers that were forgotten by command so far.
    pub flushed: u64,
    /// How it is kept on the disk.
    pub kept: KeptShown,
}

/// How much one cache holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheOf {
    /// The groups of clients whose it is; none for everybody's.
    pub groups: Vec<String>,
    /// Answers.
    pub entries: u64,
    /// Octets they take.
    pub octets: u64,
    /// Octets they may take.
    pub max_octets: u64,
    /// Failures that are remembered.
    pub failures: u64,
}

/// What is cached, on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptShown {
    /// The file; none if it is not kept.
    pub file: Option<String>,
    /// Answers in it.
    pub answers: u64,
    /// Its octets.
    pub octets: u64,
    /// When this process wrote it last, in Unix seconds.
    pub written: Option<i64>,
    /// Answers that were taken from it when this process started.
    pub restored: u64,
}

/// What is to be forgotten: a name, all at and below it, or all there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlushRequest {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// This type alone; all unless said.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub qtype: Option<String>,
    /// All names below it as well.
    pub subtree: bool,
    /// All names, in place of one.
    pub all: bool,
}

/// What was forgotten, all caches together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flushed {
    /// Answers.
    pub answers: u64,
    /// Failures.
    pub failures: u64,
}

/// Every source of lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lists {
    /// In the order they are configured.
    pub lists: Vec<ListStatus>,
}

/// A source of lists, and how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListStatus {
    /// Its name.
    pub name: String,
    /// Where it is read from: a file or a URL.
    pub source: String,
    /// In a word: fresh, stale, failed, never.
    pub state: String,
    /// When what serves was last known to be current, in Unix seconds.
    pub checked: Option<i64>,
    /// How old what serves is, in seconds.
    pub age_s: Option<u64>,
    /// Seconds until it is looked at again.
    pub next_s: Option<u64>,
    /// Names or rules in it.
    pub entries: u64,
    /// Lines that are of no use.
    pub refused: u64,
    /// How it was read, with what was assumed; empty if it was not read.
    #[serde(default)]
    pub read_as: String,
    /// What went wrong the last time; empty if nothing did.
    pub last_error: String,
    /// Whether it is being fetched now.
    pub refreshing: bool,
}

/// Which list to fetch now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefreshRequest {
    /// Its name; none means all.
    pub name: Option<String>,
    /// Whether it may have shrunk by more than half.
    pub allow_shrink: bool,
}

/// A sample of what was asked lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecentQueries {
    /// Of so many queries one is in the sample.
    pub one_in: u32,
    /// The name and the client of each, in no order that means anything.
    pub queries: Vec<(String, std::net::IpAddr)>,
}

/// Counters of one moment, each of which only grows until the server is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountersShown {
    /// When, in milliseconds of a clock that only goes forward.
    pub at_ms: u64,
    /// Queries that came.
    pub queries: u64,
    /// Queries by where what they were told came from.
    pub sources: BTreeMap<String, u64>,
    /// Replies by response code.
    pub rcodes: BTreeMap<String, u64>,
    /// How often orders decided or looked on, by their ids; of the first thousand.
    pub orders: BTreeMap<String, u64>,
    /// How long those queries took that waited for an upstream.
    pub waited: Vec<Waited>,
    /// Queries that wait now.
    pub waiting: u64,
    /// TCP connections now.
    pub connections: u64,
    /// Answers in the cache now.
    pub cached: u64,
    /// Whether `/v1/queries` tells of queries.
    pub told: bool,
}

/// Queries that waited for an upstream for so long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waited {
    /// Up to so many microseconds, and longer than the one before; none for those that waited longer than all others.
    pub up_to_us: Option<u64>,
    /// How many.
    pub count: u64,
}

/// The data of an event named `lost`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// Lines that are missing before the next one.
    pub lost: u64,
}

/// How canaries fare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanariesShown {
    /// Each canary of each order that acts.
    pub canaries: Vec<CanaryShown>,
    /// Canaries beyond the bound, which are not asked for.
    pub left_out: usize,
}

/// An innocent name beside an order, which must go on resolving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryShown {
    /// The order it stands beside.
    pub order: String,
    /// The name.
    pub name: String,
    /// In a word: unasked, ok, captured, unresolvable.
    pub state: String,
    /// By which order, or why; empty if all is well.
    pub detail: String,
}

/// Lists that are being fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refreshing {
    /// Their names.
    pub lists: Vec<String>,
}

/// For whom, for how long, and why the operator's own lists are to pause. What courts, agencies and registries ordered does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// A group of clients; none means everybody.
    #[serde(default)]
    pub group: Option<String>,
    /// For how long, at least 1, at most a week.
    #[schemars(range(min = 1, max = 604_800))]
    pub seconds: u32,
    /// Why.
    #[serde(default)]
    pub why: String,
}

/// For whom the pause is to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResumeRequest {
    /// A group of clients; none means everybody.
    pub group: Option<String>,
}

/// Pauses that are under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pauses {
    /// Each with the time it ends.
    pub pauses: Vec<PauseStatus>,
}

/// A pause under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseStatus {
    /// The group of clients; none means everybody.
    pub group: Option<String>,
    /// When it ends, in Unix seconds.
    pub until: i64,
    /// Why.
    pub why: String,
}

/// A request that is taken and done aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Taken {
    /// What happens now.
    pub message: String,
}
