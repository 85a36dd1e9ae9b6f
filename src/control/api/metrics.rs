//! `GET /v1/metrics`: counters and gauges as Prometheus reads them (text format 0.0.4).

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Api;
use super::reports::by_state;
use super::types::{ListStatus, UpstreamShown};
use crate::control::canary::CanaryState;
use crate::control::lifecycle;
use crate::log;

/// The content type of the text format.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Zones of a server that are told, a sample each.
const MAX_ZONES: usize = 64;

/// The handler.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TYPE)], text(&api))
}

/// All of them, a family after the other.
fn text(api: &Api) -> String {
    let mut page = Page(String::new());
    let (seen, at, numbers) = (api.active.seen(), api.now(), api.count());
    page.family("sinkscope_build_info", "gauge", "The version, as a label.");
    page.sample("sinkscope_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.one("sinkscope_start_time_seconds", "gauge", "When it started, in Unix seconds.", api.started.wall);
    for (name, value) in &numbers.resolver {
        let name = format!("sinkscope_resolver_{name}_total");
        page.one(&name, "counter", "What the resolver did: see its counters.", *value);
    }
    page.family("sinkscope_verdicts_total", "counter", "Queries by what an order did to them.");
    for (action, value) in &numbers.actions {
        page.sample("sinkscope_verdicts_total", &[("action", action)], *value);
    }
    for (name, value) in &numbers.listeners {
        let name = format!("sinkscope_listener_{name}_total");
        page.one(&name, "counter", "What listeners did: see their counters.", *value);
    }
    page.upstreams(&numbers.upstreams);
    page.upstream_failures(&numbers.upstreams);
    page.upstreams_now(&numbers.upstreams);
    page.one(
        "sinkscope_network_changes_total",
        "counter",
        "Times what was believed of upstreams was forgotten: links or addresses changed, or all were down.",
        numbers.network_changes,
    );
    let cache = numbers.cache;
    page.one(
        "sinkscope_cache_entries",
        "gauge",
        "Answers in the cache, expired ones included.",
        cache.entries,
    );
    page.one("sinkscope_cache_octets", "gauge", "Octets that they take.", cache.octets);
    page.one("sinkscope_cache_max_octets", "gauge", "Octets that they may take.", cache.max_octets);
    let flushed = api.flushed.load(Ordering::Relaxed);
    page.one("sinkscope_cache_flushed_total", "counter", "Answers that were forgotten by command.", flushed);
    if let Some(kept) = api.kept.as_ref().map(|kept| kept.kept()).filter(|kept| kept.file.is_some()) {
        page.one("sinkscope_cache_kept_entries", "gauge", "Answers kept on the disk.", kept.answers);
        page.one("sinkscope_cache_kept_octets", "gauge", "Octets of the file that they are in.", kept.octets);
        page.one(
            "sinkscope_cache_kept_time_seconds",
            "gauge",
            "When that was written, in Unix seconds; 0 if this process did not yet.",
            kept.written.unwrap_or_default(),
        );
        page.one(
            "sinkscope_cache_restored",
            "gauge",
            "Answers that an earlier process had cached and this one took in again.",
            kept.restored,
        );
    }
    let local = &numbers.local;
    for (name, help, count) in [
        ("zones", "Zones of our own.", local.zones),
        ("records", "Records of names of our own.", local.records),
        ("lease_names", "Names of devices that have a lease.", local.lease_names),
        ("refused_lease_names", "Leases whose names are not answered.", local.refused_names),
        ("files", "Files in which names of our own stand.", local.files),
        ("bad_files", "Those of them with which something is wrong.", local.bad_files),
    ] {
        page.one(&format!("sinkscope_local_{name}"), "gauge", help, count);
    }
    page.one("sinkscope_policy_epoch", "gauge", "Another one for each policy in force.", seen.policy.epoch());
    page.one("sinkscope_policy_names", "gauge", "Distinct names listed.", seen.policy.name_count());
    let left_out = seen.base.left_out().len();
    page.one(
        "sinkscope_policy_left_out",
        "gauge",
        "Orders and lists that the policy had no room for.",
        left_out,
    );
    page.family("sinkscope_orders", "gauge", "Orders by state.");
    for (state, count) in by_state(&seen, at) {
        page.sample("sinkscope_orders", &[("state", state.as_str())], count);
    }
    let due = seen.held.iter().filter(|held| lifecycle::is_review_due(&held.order, at)).count();
    page.one("sinkscope_orders_review_due", "gauge", "Orders that somebody should look at again.", due);
    page.one("sinkscope_statements", "gauge", "Statements made at run time that stand.", seen.stated.len());
    let records = api.active.journal(|journal| journal.records().len());
    page.one("sinkscope_journal_records", "gauge", "Records in the journal of orders.", records);
    let trouble = api.journal_problems.len();
    page.one("sinkscope_journal_problems", "gauge", "What was wrong with the journal on start.", trouble);
    page.family("sinkscope_trouble", "gauge", "Whether something does not go as it should now, by what.");
    for (about, trouble) in api.health.all() {
        let about = about.to_string();
        page.sample("sinkscope_trouble", &[("about", &about)], u8::from(!trouble.now.is_empty()));
    }
    page.family("sinkscope_troubles_total", "counter", "How often something did not, by what.");
    for (about, trouble) in api.health.all() {
        let about = about.to_string();
        page.sample("sinkscope_troubles_total", &[("about", &about)], trouble.times);
    }
    let lost = log::lost();
    page.one("sinkscope_log_lost_total", "counter", "Lines of the log that could not be written.", lost);
    let refused = api.refused.load(Ordering::Relaxed);
    page.one(
        "sinkscope_control_refused_total",
        "counter",
        "Connections to this API that were one too many: turned away, or ended because they were silent.",
        refused,
    );
    page.family("sinkscope_canaries", "gauge", "Innocent names beside orders, by how they fare.");
    let statuses = api.canaries.statuses();
    let count = |is: fn(&CanaryState) -> bool| statuses.iter().filter(|status| is(&status.state)).count();
    for (word, count) in [
        ("ok", count(|state| *state == CanaryState::Ok)),
        ("unasked", count(|state| *state == CanaryState::Unasked)),
        ("captured", count(|state| matches!(state, CanaryState::Captured { .. }))),
        ("unresolvable", count(|state| matches!(state, CanaryState::Unresolvable { .. }))),
    ] {
        page.sample("sinkscope_canaries", &[("state", word)], count);
    }
    if let Some(lists) = &api.lists {
        page.lists(&lists.lists(at));
    }
    if let Some(pauses) = &api.pauses {
        page.one("sinkscope_pauses", "gauge", "Pauses under way.", pauses.pauses(api.clock.now()).len());
    }
    page.0
}

/// The page as it grows.
struct Page(String);

impl Page {
    /// The lines above a family's samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A family of one sample without labels.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The families of upstreams.
    fn upstreams(&mut self, upstreams: &[UpstreamShown]) {
        /// A family: name, help, the number of an upstream.
        type Family = (&'static str, &'static str, fn(&UpstreamShown) -> u64);
        let families: [Family; 7] = [
            ("sinkscope_upstream_queries_total", "Questions put to an upstream.", |one| one.asked),
            (
                "sinkscope_upstream_extra_total",
                "Of those, put while another's reply was not late yet.",
                |one| one.extra,
            ),
            ("sinkscope_upstream_failures_total", "Questions an upstream did not answer.", |one| one.failed),
            (
                "sinkscope_upstream_full_total",
                "Questions not put to an upstream, for as many were under way there as may be.",
                |one| one.full,
            ),
            ("sinkscope_upstream_probes_total", "Questions of our own whether an upstream answers.", |one| {
                one.probes
            }),
            (
                "sinkscope_upstream_guesses_total",
                "Replies that no question had asked for, or none in that case.",
                |one| one.guesses,
            ),
            (
                "sinkscope_upstream_cookies_missing_total",
                "Replies without the DNS cookie that the server has to show: they were not taken.",
                |one| one.cookies_missing,
            ),
        ];
        for (name, help, number) in families {
            self.family(name, "counter", help);
            for one in upstreams {
                self.sample(name, &[("server", &one.server), ("groups", &groups(one))], number(one));
            }
        }
    }

    /// How upstreams are now.
    fn upstreams_now(&mut self, upstreams: &[UpstreamShown]) {
        /// A family: name, help, the number of an upstream.
        type Family = (&'static str, &'static str, fn(&UpstreamShown) -> u64);
        let families: [Family; 3] = [
            (
                "sinkscope_upstream_up",
                "Whether an upstream answers, as far as was found out when it was last asked.",
                |one| u64::from(one.up),
            ),
            ("sinkscope_upstream_under_way", "Questions under way at an upstream.", |one| one.under_way),
            ("sinkscope_upstream_cookies", "Whether an upstream gives DNS cookies.", |one| {
                u64::from(one.cookies)
            }),
        ];
        for (name, help, number) in families {
            self.family(name, "gauge", help);
            for one in upstreams {
                self.sample(name, &[("server", &one.server), ("groups", &groups(one))], number(one));
            }
        }
        let name = "sinkscope_upstream_reply_seconds";
        self.family(name, "gauge", "How long an upstream's replies take, smoothed.");
        for (one, micros) in upstreams.iter().filter_map(|one| Some((one, one.reply_us?))) {
            self.sample(name, &[("server", &one.server), ("groups", &groups(one))], seconds(micros));
        }
        let name = "sinkscope_upstream_zone";
        self.family(name, "gauge", "1 for each zone that an upstream is asked about, the first of them.");
        for one in upstreams {
            for zone in one.zones.iter().take(MAX_ZONES) {
                let labels = [("server", &one.server[..]), ("groups", &groups(one)), ("zone", zone)];
                self.sample(name, &labels, 1);
            }
        }
    }

    /// What was of no use, by kind.
    fn upstream_failures(&mut self, upstreams: &[UpstreamShown]) {
        let name = "sinkscope_upstream_failures_by_kind_total";
        let help = "Questions an upstream did not answer, by kind, probes left aside; \"declined\" are replies such as SERVFAIL.";
        self.family(name, "counter", help);
        for one in upstreams {
            for (kind, count) in &one.failures {
                let labels = [("server", &one.server[..]), ("groups", &groups(one)), ("kind", kind)];
                self.sample(name, &labels, count);
            }
        }
    }

    /// The families of lists.
    fn lists(&mut self, lists: &[ListStatus]) {
        /// A family: name, help, the number of a list, if it has one.
        type Family = (&'static str, &'static str, fn(&ListStatus) -> Option<u64>);
        let families: [Family; 4] = [
            ("sinkscope_list_age_seconds", "How old what serves of a list is.", |list| list.age_s),
            ("sinkscope_list_entries", "Names or rules in a list.", |list| Some(list.entries)),
            ("sinkscope_list_refused_lines", "Lines of a list that are of no use.", |list| {
                Some(list.refused)
            }),
            ("sinkscope_list_failed", "Whether the last try to read a list failed.", |list| {
                Some(u64::from(!list.last_error.is_empty()))
            }),
        ];
        for (name, help, number) in families {
            self.family(name, "gauge", help);
            for (list, value) in lists.iter().filter_map(|list| Some((list, number(list)?))) {
                self.sample(name, &[("list", &list.name)], value);
            }
        }
    }
}

/// The groups of clients that an upstream is asked for, where it is for those alone. With its address that is who it is: what else the
/// configuration says changes no label.
fn groups(upstream: &UpstreamShown) -> String {
    upstream.groups.join(" ")
}

/// A time as Prometheus has it.
fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
