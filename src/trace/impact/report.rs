//! What an order would do, as values: for tables, pages and machines.

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::scales::Scale;
use crate::time::UnixSeconds;

/// What the words of a report mean, each once.
pub const TERMS: [(&str, &str); 15] = [
    ("takes", "a query is taken when the order decides its answer: the name no longer leads where it led"),
    ("listed", "a name that stands in the order itself, letter by letter"),
    ("collateral", "names the order takes though it does not list them, and the queries for them"),
    ("as written", "the order as it stands in its file"),
    ("exact", "the same order if each listed name took itself and nothing else"),
    ("subtree", "the same order if each listed name took itself and every name below it"),
    (
        "zone",
        "the same order if it took whole zones: those it names, else the domains its names lie in, as registries delegate them",
    ),
    ("child", "an unlisted name below a listed one"),
    ("parent", "an unlisted name that encloses a listed one"),
    ("sibling", "an unlisted name right beside a listed one: both have the same parent"),
    ("other", "an unlisted name further off in the same zone"),
    ("bystanders", "collateral that lies below no listed name, and so is of no family"),
    (
        "popular",
        "a name on the list of popular names, or in a domain on it, whether the order lists it or not",
    ),
    (
        "public suffix",
        "a name below which unrelated people have theirs, by the Public Suffix List; as co.uk and ddns.net",
    ),
    (
        "let pass",
        "names within the order's scope that it does not take, for they are protected or another order lets them pass",
    ),
];

/// What an order would do to the queries that were counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The order.
    pub order: Facts,
    /// Unix seconds at which the other orders were judged.
    pub at: UnixSeconds,
    /// Where the queries came from.
    pub traces: Vec<TraceFacts>,
    /// All queries, and their names and clients.
    pub asked: Count,
    /// Queries whose client is not known.
    pub without_client: u64,
    /// There were more names than are told apart: counts of names are lower bounds.
    pub names_at_least: bool,
    /// There were more clients than are told apart: counts of clients are lower bounds.
    pub clients_at_least: bool,
    /// The list of popular names, if one was given.
    pub popular_list: Option<String>,
    /// What each scale would do, in the order of [`Scale::ALL`].
    pub scales: Vec<ScaleReport>,
    /// What is to be known about the counts.
    pub notes: Vec<String>,
}

/// One trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceFacts {
    /// The file.
    pub file: String,
    /// Queries counted.
    pub queries: u64,
    /// Unix seconds of its earliest query, if it tells times.
    pub first: Option<UnixSeconds>,
    /// Unix seconds of its latest query.
    pub last: Option<UnixSeconds>,
    /// What was passed over, in words; empty if nothing was.
    pub skipped: String,
    /// Why it could not be read to its end, if so.
    pub damage: Option<String>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Queries.
    pub queries: u64,
    /// Distinct names.
    pub names: u64,
    /// Distinct clients, of those that are known.
    pub clients: u64,
}

/// How a name stands to those that an order lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It is one of them.
    #[default]
    Listed,
    /// It lies below one.
    Child,
    /// It encloses one.
    Parent,
    /// It has the same parent as one.
    Sibling,
    /// None of these.
    Other,
}

impl Relation {
    /// Those that are collateral.
    pub const COLLATERAL: [Relation; 4] =
        [Relation::Child, Relation::Parent, Relation::Sibling, Relation::Other];

    /// What people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Relation::Listed => "listed",
            Relation::Child => "child",
            Relation::Parent => "parent",
            Relation::Sibling => "sibling",
            Relation::Other => "other",
        }
    }
}

/// What an order would do at one scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleReport {
    /// Which.
    pub scale: Scale,
    /// Distinct names that it is made of.
    pub triggers: u64,
    /// Of those, such as take whole public suffixes, asked for or not.
    pub whole_suffixes: u64,
    /// The first of them.
    pub first_suffixes: Vec<String>,
    /// All it takes.
    pub taken: Count,
    /// Share of all queries that it takes, 0 to 1.
    pub share_of_queries: f64,
    /// Share of all names that it takes, 0 to 1.
    pub share_of_names: f64,
    /// What it takes of names that the order lists.
    pub listed: Count,
    /// What it takes of names that the order does not list: all of the four below.
    pub collateral: Count,
    /// Collateral below listed names.
    pub children: Count,
    /// Collateral that encloses listed names.
    pub parents: Count,
    /// Collateral beside listed names.
    pub siblings: Count,
    /// All other collateral.
    pub others: Count,
    /// Popular names that it takes, if a list was given.
    pub popular: Option<Count>,
    /// Names of the popular list that it takes, asked for or not.
    pub popular_on_list: Option<u64>,
    /// The first of them.
    pub first_popular: Vec<String>,
    /// Public suffixes themselves that it takes.
    pub suffixes: Count,
    /// What lies within its scope and is let pass.
    pub let_pass: Count,
    /// Who lets it pass: orders by id, and `protected names`.
    pub let_pass_by: Vec<Row>,
    /// What other orders take already.
    pub already: Count,
    /// Which orders, by id.
    pub already_by: Vec<Row>,
    /// What each of its names takes, most queries first.
    pub by_name: Vec<Row>,
    /// What it takes for each family, most queries first.
    pub by_family: Vec<Row>,
    /// Collateral names, most queries first, up to a bound.
    pub collateral_names: Vec<NameRow>,
    /// Names let pass, most queries first, up to a bound.
    pub let_pass_names: Vec<Spared>,
}

/// A count by something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// By what: a name, a family, an order's id. None is for names that no listed name encloses.
    pub key: Option<String>,
    /// The family, where names are counted; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub family: String,
    /// How much.
    #[serde(flatten)]
    pub count: Count,
}

/// A name that is collateral.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NameRow {
    /// The name.
    pub name: String,
    /// How it stands to listed names.
    pub relation: Relation,
    /// Whether it is popular.
    pub popular: bool,
    /// Whether it is a public suffix.
    pub public_suffix: bool,
    /// Queries for it.
    pub queries: u64,
    /// Clients that asked for it.
    pub clients: u64,
}

/// A name within an order's scope that is let pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spared {
    /// The name.
    pub name: String,
    /// Whether the order lists it.
    pub listed: bool,
    /// The id of the order that lets it pass; `protected names` if those do.
    pub by: String,
    /// Queries for it.
    pub queries: u64,
}

impl Report {
    /// One JSON object.
    pub fn json(&self) -> String {
        // Strings, numbers and maps with text keys always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// What the order would do at a scale.
    pub fn at_scale(&self, scale: Scale) -> Option<&ScaleReport> {
        self.scales.iter().find(|report| report.scale == scale)
    }

    /// Whether clients can be told at all.
    pub fn knows_clients(&self) -> bool {
        self.without_client < self.asked.queries
    }

    /// Adds a trace that was counted, and what is to be known about it.
    pub fn add_trace(&mut self, trace: TraceFacts) {
        if let Some(damage) = &trace.damage {
            self.notes.push(format!("{} is {damage}; what stands before it was counted", trace.file));
        }
        if !trace.skipped.is_empty() {
            self.notes.push(format!("passed over in {}: {}", trace.file, trace.skipped));
        }
        self.traces.push(trace);
    }
}
