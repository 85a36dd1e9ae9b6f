//! Every family of metrics, declared once: its name, what sort it is, what it counts, its labels, and where its samples are read.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::page::{Family, Kind, Samples, seconds};
use crate::control::active_policy::Seen;
use crate::control::api::reports::by_state;
use crate::control::api::types::{EvidenceShown, KeptShown, ListStatus, UpstreamShown};
use crate::control::api::{Api, Numbers};
use crate::control::canary::CanaryState;
use crate::control::lifecycle;
use crate::control::local_names::LocalCounts;
use crate::log;
use crate::policy::{IssuerKind, State};
use crate::querylog::OutletCounts;
use crate::time::UnixSeconds;

/// Zones of a server that are told, a sample each.
const MAX_ZONES: usize = 64;

/// All that a page is read from.
pub(super) struct Moment<'a> {
    pub(super) api: &'a Api,
    pub(super) at: UnixSeconds,
    pub(super) seen: Seen,
    pub(super) numbers: Numbers,
    pub(super) lists: Vec<ListStatus>,
    pub(super) kept: KeptShown,
    pub(super) evidence: Option<EvidenceShown>,
}

/// A family that is read from that.
type Of = for<'f, 'm, 'a, 'p, 'q> fn(&'f Family<Moment<'a>>, &'m Moment<'a>, &'p mut Samples<'q>);

/// A row of the table: name, kind, help, labels, where its samples are read.
type Row = (&'static str, Kind, &'static str, &'static [&'static str], Of);

/// What tells upstreams apart.
const UPSTREAM: &[&str] = &["server", "groups"];

/// The table.
const ROWS: &[Row] = &[
    ("build", Kind::Info, "The version, as a label.", &["version"], |_, _, out| {
        out.with(&[env!("CARGO_PKG_VERSION")], 1);
    }),
    ("start_time_seconds", Kind::Gauge, "When it started, in Unix seconds.", &[], |_, now, out| {
        out.one(now.api.started.wall);
    }),
    ("queries", Kind::Counter, "Packets that came to the resolver, by how.", &["transport"], queries),
    (
        "answers",
        Kind::Counter,
        "Queries by where what they were told came from: \"forged\" by an order, \"denied\" and \"no-recursion\" are refused, \"unserved\" is what nobody is told here.",
        &["source"],
        |_, now, out| {
            for reading in &now.numbers.resolver {
                if let Some(source) = reading.source {
                    out.with(&[source.as_str()], reading.value);
                }
            }
        },
    ),
    ("replies", Kind::Counter, "Replies by response code.", &["rcode"], |_, now, out| {
        now.numbers.rcodes.iter().for_each(|(rcode, count)| out.with(&[rcode], count));
    }),
    ("verdicts", Kind::Counter, "Queries by what an order did to them.", &["action"], |_, now, out| {
        now.numbers.actions.iter().for_each(|(action, count)| out.with(&[action], count));
    }),
    (
        "answer_wait_seconds",
        Kind::Histogram,
        "How long queries took that waited for an upstream, from when they came. All others are answered at once, in microseconds, and are not among them: nobody reads a clock for each.",
        &[],
        |_, now, out| out.times(&[], &now.numbers.waits),
    ),
    ("waiting_queries", Kind::Gauge, "Queries that wait for an upstream now.", &[], |_, now, out| {
        out.one(now.numbers.queues.waiting);
    }),
    ("waiting_queries_max", Kind::Gauge, "As many may wait.", &[], |_, now, out| {
        out.one(now.numbers.queues.max_waiting);
    }),
    ("tcp_connections", Kind::Gauge, "TCP connections of clients now.", &[], |_, now, out| {
        out.one(now.numbers.queues.connections);
    }),
    ("tcp_connections_max", Kind::Gauge, "As many there may be.", &[], |_, now, out| {
        out.one(now.numbers.queues.max_connections);
    }),
    ("upstream_queries", Kind::Counter, "Questions put to an upstream.", UPSTREAM, |_, now, out| {
        upstreams(now, out, |one| Some(one.asked));
    }),
    (
        "upstream_extra",
        Kind::Counter,
        "Of those, put while another's reply was not late yet.",
        UPSTREAM,
        |_, now, out| upstreams(now, out, |one| Some(one.extra)),
    ),
    ("upstream_failures", Kind::Counter, "Questions an upstream did not answer.", UPSTREAM, |_, now, out| {
        upstreams(now, out, |one| Some(one.failed))
    }),
    (
        "upstream_full",
        Kind::Counter,
        "Questions not put to an upstream, for as many were under way there as may be.",
        UPSTREAM,
        |_, now, out| upstreams(now, out, |one| Some(one.full)),
    ),
    (
        "upstream_probes",
        Kind::Counter,
        "Questions of our own whether an upstream answers.",
        UPSTREAM,
        |_, now, out| upstreams(now, out, |one| Some(one.probes)),
    ),
    (
        "upstream_guesses",
        Kind::Counter,
        "Replies that no question had asked for, or none in that case.",
        UPSTREAM,
        |_, now, out| upstreams(now, out, |one| Some(one.guesses)),
    ),
    (
        "upstream_cookies_missing",
        Kind::Counter,
        "Replies without the DNS cookie that the server has to show: they were not taken.",
        UPSTREAM,
        |_, now, out| upstreams(now, out, |one| Some(one.cookies_missing)),
    ),
    (
        "upstream_failures_by_kind",
        Kind::Counter,
        "Questions an upstream did not answer, by kind, probes left aside; \"declined\" are replies such as SERVFAIL.",
        &["server", "groups", "kind"],
        |_, now, out| {
            for one in &now.numbers.upstreams {
                let groups = groups(one);
                one.failures.iter().for_each(|(kind, count)| out.with(&[&one.server, &groups, kind], count));
            }
        },
    ),
    (
        "upstream_up",
        Kind::Gauge,
        "Whether an upstream answers, as far as was found out when it was last asked.",
        UPSTREAM,
        |_, now, out| upstreams(now, out, |one| Some(u8::from(one.up))),
    ),
    ("upstream_under_way", Kind::Gauge, "Questions under way at an upstream.", UPSTREAM, |_, now, out| {
        upstreams(now, out, |one| Some(one.under_way));
    }),
    ("upstream_cookies", Kind::Gauge, "Whether an upstream gives DNS cookies.", UPSTREAM, |_, now, out| {
        upstreams(now, out, |one| Some(u8::from(one.cookies)))
    }),
    (
        "upstream_reply_seconds",
        Kind::Gauge,
        "How long an upstream's replies take, smoothed.",
        UPSTREAM,
        |_, now, out| upstreams(now, out, |one| Some(seconds(one.reply_us?))),
    ),
    (
        "upstream_reply_duration_seconds",
        Kind::Histogram,
        "How long an upstream's replies took, those to probes too, and those that decline left aside.",
        UPSTREAM,
        |_, now, out| {
            for one in &now.numbers.upstreams {
                out.times(&[&one.server, &groups(one)], &one.times);
            }
        },
    ),
    (
        "upstream_zone",
        Kind::Gauge,
        "1 for each zone that an upstream is asked about, the first of them.",
        &["server", "groups", "zone"],
        |_, now, out| {
            for one in &now.numbers.upstreams {
                let groups = groups(one);
                let zones = one.zones.iter().take(MAX_ZONES);
                zones.for_each(|zone| out.with(&[&one.server, &groups, zone], 1));
            }
        },
    ),
    (
        "network_changes",
        Kind::Counter,
        "Times what was believed of upstreams was forgotten: links or addresses changed, or all were down.",
        &[],
        |_, now, out| out.one(now.numbers.network_changes),
    ),
    ("cache_entries", Kind::Gauge, "Answers in the cache, expired ones included.", &[], |_, now, out| {
        out.one(now.numbers.cache.entries)
    }),
    ("cache_bytes", Kind::Gauge, "Octets that they take.", &[], |_, now, out| {
        out.one(now.numbers.cache.octets);
    }),
    ("cache_max_bytes", Kind::Gauge, "Octets that they may take.", &[], |_, now, out| {
        out.one(now.numbers.cache.max_octets);
    }),
    ("cache_flushed", Kind::Counter, "Answers that were forgotten by command.", &[], |_, now, out| {
        out.one(now.api.flushed.load(Ordering::Relaxed))
    }),
    ("cache_kept_entries", Kind::Gauge, "Answers kept on the disk.", &[], |_, now, out| {
        kept(now, out, |kept| kept.answers);
    }),
    ("cache_kept_bytes", Kind::Gauge, "Octets of the file that they are in.", &[], |_, now, out| {
        kept(now, out, |kept| kept.octets);
    }),
    (
        "cache_kept_timestamp_seconds",
        Kind::Gauge,
        "When that was written, in Unix seconds; 0 if this process did not yet.",
        &[],
        |_, now, out| kept(now, out, |kept| kept.written.unwrap_or_default()),
    ),
    (
        "cache_restored_entries",
        Kind::Gauge,
        "Answers that an earlier process had cached and this one took in again.",
        &[],
        |_, now, out| kept(now, out, |kept| kept.restored),
    ),
    ("local_zones", Kind::Gauge, "Zones of our own.", &[], |_, now, out| local(now, out, |one| one.zones)),
    ("local_records", Kind::Gauge, "Records of names of our own.", &[], |_, now, out| {
        local(now, out, |one| one.records);
    }),
    ("local_lease_names", Kind::Gauge, "Names of devices that have a lease.", &[], |_, now, out| {
        local(now, out, |one| one.lease_names);
    }),
    ("local_refused_lease_names", Kind::Gauge, "Leases whose names are not answered.", &[], |_, now, out| {
        local(now, out, |one| one.refused_names)
    }),
    ("local_files", Kind::Gauge, "Files in which names of our own stand.", &[], |_, now, out| {
        local(now, out, |one| one.files)
    }),
    ("local_bad_files", Kind::Gauge, "Those of them with which something is wrong.", &[], |_, now, out| {
        local(now, out, |one| one.bad_files)
    }),
    (
        "evidence_queries",
        Kind::Counter,
        "Queries that orders decided and that were counted.",
        &[],
        |_, now, out| {
            evidence(now, out, |it| it.seen);
        },
    ),
    ("evidence_written", Kind::Counter, "Those of them that are in the database.", &[], |_, now, out| {
        evidence(now, out, |it| it.written);
    }),
    ("evidence_lost", Kind::Counter, "Those that never will be.", &[], |_, now, out| {
        evidence(now, out, |it| it.lost);
    }),
    ("evidence_flushes", Kind::Counter, "Times that something was written.", &[], |_, now, out| {
        evidence(now, out, |it| it.flushes);
    }),
    ("evidence_failures", Kind::Counter, "Times that something could not be.", &[], |_, now, out| {
        evidence(now, out, |it| it.failures);
    }),
    ("evidence_trimmed", Kind::Counter, "Sightings that made room for others.", &[], |_, now, out| {
        evidence(now, out, |it| it.trimmed);
    }),
    ("evidence_bytes", Kind::Gauge, "Octets of the database.", &[], |_, now, out| {
        evidence(now, out, |it| it.octets);
    }),
    (
        "evidence_coarse",
        Kind::Counter,
        "Queries of which less is known than could be, for want of memory, by what is not known.",
        &["what"],
        |_, now, out| {
            let coarse = now.evidence.iter().flat_map(|it| &it.coarse);
            coarse.for_each(|(what, count)| out.with(&[what], count));
        },
    ),
    ("query_log_records", Kind::Counter, "Queries written down for the query log.", &[], |_, now, out| {
        now.numbers.query_log.iter().for_each(|log| out.one(log.written));
    }),
    (
        "query_log_dropped",
        Kind::Counter,
        "Queries that were not, for there was no room: nobody who asks waits for it.",
        &[],
        |_, now, out| now.numbers.query_log.iter().for_each(|log| out.one(log.dropped)),
    ),
    ("query_log_written", Kind::Counter, "Queries logged, by where to.", &["outlet"], |_, now, out| {
        outlets(now, out, |outlet| outlet.written);
    }),
    (
        "query_log_lost",
        Kind::Counter,
        "Queries not logged, for it could not be written to.",
        &["outlet"],
        |_, now, out| outlets(now, out, |outlet| outlet.lost),
    ),
    ("policy_epoch", Kind::Gauge, "Another one for each policy in force.", &[], |_, now, out| {
        out.one(now.seen.policy.epoch());
    }),
    ("policy_names", Kind::Gauge, "Distinct names listed.", &[], |_, now, out| {
        out.one(now.seen.policy.name_count());
    }),
    ("policy_bytes", Kind::Gauge, "Octets that the names take, as a trie.", &[], |_, now, out| {
        out.one(now.seen.policy.heap_octets());
    }),
    (
        "policy_left_out",
        Kind::Gauge,
        "Orders and lists that the policy had no room for.",
        &[],
        |_, now, out| out.one(now.seen.base.left_out().len()),
    ),
    ("orders", Kind::Gauge, "Orders by state.", &["state"], |_, now, out| {
        by_state(&now.seen, now.at).into_iter().for_each(|(state, count)| out.with(&[state.as_str()], count));
    }),
    (
        "orders_in_force",
        Kind::Gauge,
        "Orders and lists in force, by who stands behind them.",
        &["kind"],
        in_force,
    ),
    (
        "order_hits",
        Kind::Counter,
        "Queries that an order decided, or would have if it did more than look on: by names on the way of an answer, as often as there are. Of the orders that come first, so many as sinkscope_orders less sinkscope_orders_untold.",
        &["order"],
        |_, now, out| now.numbers.hits.iter().for_each(|(order, count)| out.with(&[order], count)),
    ),
    (
        "orders_untold",
        Kind::Gauge,
        "Orders in the policy beyond those whose hits are told.",
        &[],
        |_, now, out| out.one(now.seen.policy.orders().len().saturating_sub(now.numbers.hits.len())),
    ),
    ("orders_review_due", Kind::Gauge, "Orders that somebody should look at again.", &[], |_, now, out| {
        let due = now.seen.held.iter().filter(|held| lifecycle::is_review_due(&held.order, now.at));
        out.one(due.count());
    }),
    ("statements", Kind::Gauge, "Statements made at run time that stand.", &[], |_, now, out| {
        out.one(now.seen.stated.len());
    }),
    ("journal_records", Kind::Gauge, "Records in the journal.", &[], |_, now, out| {
        out.one(now.api.active.journal(|journal| journal.records().len()));
    }),
    ("journal_problems", Kind::Gauge, "What was wrong with the journal on start.", &[], |_, now, out| {
        out.one(now.api.journal_problems.len())
    }),
    (
        "reloads",
        Kind::Counter,
        "Times the orders were read again, by what came of it: \"kept\" if what was in force stays so.",
        &["result"],
        |_, now, out| {
            now.api.reloads.counts().for_each(|(reloaded, count)| out.with(&[reloaded.as_str()], count));
        },
    ),
    (
        "last_reload_timestamp_seconds",
        Kind::Gauge,
        "When that was last done, in Unix seconds.",
        &[],
        |_, now, out| now.api.reloads.last().into_iter().for_each(|(at, _)| out.one(at)),
    ),
    ("last_reload_duration_seconds", Kind::Gauge, "How long that took.", &[], |_, now, out| {
        now.api.reloads.last().into_iter().for_each(|(_, took_us)| out.one(seconds(took_us)))
    }),
    (
        "trouble",
        Kind::Gauge,
        "Whether something does not go as it should now, by what.",
        &["about"],
        |_, now, out| {
            for (about, trouble) in now.api.health.all() {
                out.with(&[&about.to_string()], u8::from(!trouble.now.is_empty()));
            }
        },
    ),
    ("troubles", Kind::Counter, "How often something did not, by what.", &["about"], |_, now, out| {
        for (about, trouble) in now.api.health.all() {
            out.with(&[&about.to_string()], trouble.times);
        }
    }),
    ("log_lost", Kind::Counter, "Lines of the log that could not be written.", &[], |_, _, out| {
        out.one(log::lost());
    }),
    (
        "control_refused",
        Kind::Counter,
        "Connections to this API that were one too many: turned away, or ended because they were silent.",
        &[],
        |_, now, out| out.one(now.api.refused.load(Ordering::Relaxed)),
    ),
    ("canaries", Kind::Gauge, "Innocent names beside orders, by how they fare.", &["state"], canaries),
    ("list_age_seconds", Kind::Gauge, "How old what serves of a list is.", &["list"], |_, now, out| {
        lists(now, out, |list| list.age_s);
    }),
    ("list_entries", Kind::Gauge, "Names or rules in a list.", &["list"], |_, now, out| {
        lists(now, out, |list| Some(list.entries));
    }),
    ("list_refused_lines", Kind::Gauge, "Lines of a list that are of no use.", &["list"], |_, now, out| {
        lists(now, out, |list| Some(list.refused))
    }),
    ("list_failed", Kind::Gauge, "Whether the last try to read a list failed.", &["list"], |_, now, out| {
        lists(now, out, |list| Some(u64::from(!list.last_error.is_empty())))
    }),
    ("pauses", Kind::Gauge, "Pauses under way.", &[], |_, now, out| {
        let pauses = now.api.pauses.as_ref();
        pauses.into_iter().for_each(|pauses| out.one(pauses.pauses(now.api.clock.now()).len()));
    }),
];

/// Every family: the rows of the table, and one for each counter of the resolver and of listeners that is told by itself, by what is
/// declared of it there.
pub(super) fn families<'a>(numbers: &Numbers) -> Vec<Family<Moment<'a>>> {
    let rows = ROWS.iter().map(|&(name, kind, help, labels, read)| Family {
        name: name.into(),
        kind,
        help: help.into(),
        labels,
        read,
    });
    let counter = |part: &str, name: &str, help: &'static str, read: Of| Family {
        name: Cow::Owned(format!("{part}_{name}")),
        kind: Kind::Counter,
        help: help.into(),
        labels: &[],
        read,
    };
    let resolver = numbers.resolver.iter().filter(|one| one.source.is_none());
    let resolver = resolver.map(|one| {
        counter("resolver", one.name, one.help, |family, now, out| {
            let is_it = |name: &str| family.name.strip_prefix("resolver_") == Some(name);
            let found = now.numbers.resolver.iter().find(|one| is_it(one.name));
            found.into_iter().for_each(|one| out.one(one.value));
        })
    });
    let listeners = numbers.listeners.iter().map(|(name, help, _)| {
        counter("listener", name, help, |family, now, out| {
            let is_it = |name: &str| family.name.strip_prefix("listener_") == Some(name);
            let found = now.numbers.listeners.iter().find(|(name, ..)| is_it(name));
            found.into_iter().for_each(|(.., value)| out.one(value));
        })
    });
    rows.chain(resolver).chain(listeners).collect()
}

/// Queries by how they came.
fn queries(_: &Family<Moment<'_>>, now: &Moment<'_>, out: &mut Samples<'_>) {
    let value = |name: &str| {
        let found = now.numbers.resolver.iter().find(|one| one.name == name);
        found.map_or(0, |one| one.value)
    };
    let by_stream = value("queries_by_stream");
    out.with(&["udp"], value("queries").saturating_sub(by_stream));
    out.with(&["tcp"], by_stream);
}

/// A number of each upstream that has one.
fn upstreams<T: std::fmt::Display>(
    now: &Moment<'_>,
    out: &mut Samples<'_>,
    number: impl Fn(&UpstreamShown) -> Option<T>,
) {
    for one in &now.numbers.upstreams {
        if let Some(number) = number(one) {
            out.with(&[&one.server, &groups(one)], number);
        }
    }
}

/// The groups of clients that an upstream is asked for, where it is for those alone. With its address that is who it is: what else the
/// configuration says changes no label.
fn groups(upstream: &UpstreamShown) -> String {
    upstream.groups.join(" ")
}

/// A number of each list that has one.
fn lists(now: &Moment<'_>, out: &mut Samples<'_>, number: fn(&ListStatus) -> Option<u64>) {
    for list in &now.lists {
        if let Some(number) = number(list) {
            out.with(&[&list.name], number);
        }
    }
}

/// A number of what is kept on the disk, if anything is.
fn kept<T: std::fmt::Display>(now: &Moment<'_>, out: &mut Samples<'_>, number: fn(&KeptShown) -> T) {
    if now.kept.file.is_some() {
        out.one(number(&now.kept));
    }
}

/// A number of evidence, if that is kept.
fn evidence(now: &Moment<'_>, out: &mut Samples<'_>, number: fn(&EvidenceShown) -> u64) {
    now.evidence.iter().for_each(|it| out.one(number(it)));
}

/// A number of each place that the query log goes to.
fn outlets(now: &Moment<'_>, out: &mut Samples<'_>, number: fn(&OutletCounts) -> u64) {
    let outlets = now.numbers.query_log.iter().flat_map(|log| &log.outlets);
    outlets.for_each(|outlet| out.with(&[outlet.name], number(outlet)));
}

/// A number of names of our own.
fn local(now: &Moment<'_>, out: &mut Samples<'_>, number: fn(&LocalCounts) -> usize) {
    out.one(number(&now.numbers.local));
}

/// Orders in force, by who stands behind them.
fn in_force(_: &Family<Moment<'_>>, now: &Moment<'_>, out: &mut Samples<'_>) {
    for kind in IssuerKind::ALL {
        let acts = |(order, state): &(&crate::policy::Order, State)| {
            order.authority.kind == kind && *state == State::InForce
        };
        out.with(&[&kind.to_string()], now.seen.policy.states(now.at).filter(acts).count());
    }
}

/// Canaries by how they fare.
fn canaries(_: &Family<Moment<'_>>, now: &Moment<'_>, out: &mut Samples<'_>) {
    let statuses = now.api.canaries.statuses();
    let count = |is: fn(&CanaryState) -> bool| statuses.iter().filter(|status| is(&status.state)).count();
    for (word, count) in [
        ("ok", count(|state| *state == CanaryState::Ok)),
        ("unasked", count(|state| *state == CanaryState::Unasked)),
        ("captured", count(|state| matches!(state, CanaryState::Captured { .. }))),
        ("unresolvable", count(|state| matches!(state, CanaryState::Unresolvable { .. }))),
    ] {
        out.with(&[word], count);
    }
}
