//! What is cached of a name, and forgetting it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::base::Message;
use domain::base::message::RecordSection;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::rdata::AllRecordData;

use super::Api;
use super::change::{Body, MAX_NAME_TEXT, read, shown as held_to};
use super::fault::Fault;
use super::guard::Who;
use super::types::{
    AnswerShown, CacheHeld, CacheOf, CacheQuery, CacheStats, FailureShown, FlushRequest, Flushed, Took,
};
use crate::cache::held::{Forgotten, Held};
use crate::clock::Now;
use crate::dns::{Ede, Question, aged};
use crate::iana::Rtype;
use crate::name::Name;
use crate::orders::{names, time};
use crate::time::UnixSeconds;

/// Answers, and failures, that are told of each cache: a name may be asked for by 65,536 types.
const MAX_SHOWN: usize = 256;

/// What a handler gives back.
type Reply<T> = Result<Json<T>, Fault>;

/// `GET /v1/cache`.
pub(super) async fn held(
    State(api): State<Arc<Api>>,
    query: Result<Query<CacheQuery>, QueryRejection>,
) -> Reply<CacheHeld> {
    let Query(query) = query.map_err(|error| {
        Fault::new(
            StatusCode::BAD_REQUEST,
            error.to_string(),
            "it takes `name` and `type`; `name` must be given",
        )
    })?;
    let meant = Meant { names: Names::Exact(name(&query.name)?), qtype: rtype(query.qtype.as_deref())? };
    aside(move || api.held(&meant)).await
}

/// `GET /v1/cache/stats`.
pub(super) async fn stats(State(api): State<Arc<Api>>) -> Json<CacheStats> {
    let generation = Arc::clone(&api.active.seen().generation);
    let caches = generation.caches().map(|(groups, cache)| CacheOf {
        groups: groups.to_vec(),
        entries: cache.len(),
        octets: cache.bytes(),
        max_octets: cache.max_bytes(),
        failures: cache.failures(),
    });
    Json(CacheStats {
        caches: caches.collect(),
        flushed: api.flushed.load(Ordering::Relaxed),
        kept: api.kept.as_ref().map(|kept| kept.kept()).unwrap_or_default(),
    })
}

/// `POST /v1/cache/flush`.
pub(super) async fn flush(
    State(api): State<Arc<Api>>,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Reply<Flushed> {
    let request: FlushRequest = read(body)?;
    let meant = Meant { names: meant_by(&request)?, qtype: rtype(request.qtype.as_deref())? };
    aside(move || Ok(Json(api.flush(&meant, &who)))).await
}

/// Does what takes a while for a large cache, or waits for the disk.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Reply<T> + Send + 'static) -> Reply<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, format!("it broke off: {error}"), "see the log"))
    })
}

/// Which questions are meant.
struct Meant {
    names: Names,
    /// Of this type alone.
    qtype: Option<Rtype>,
}

/// Which names are meant.
enum Names {
    Exact(Name),
    Subtree(Name),
    All,
}

impl Meant {
    /// Whether a question is meant.
    fn is(&self, question: &Question) -> bool {
        let name = match &self.names {
            Names::Exact(name) => question.qname == *name,
            Names::Subtree(zone) => question.qname.is_at_or_below(zone),
            Names::All => true,
        };
        name && self.qtype.is_none_or(|qtype| question.qtype == qtype)
    }
}

impl std::fmt::Display for Meant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.names {
            Names::Exact(name) => write!(f, "{name}")?,
            Names::Subtree(zone) => write!(f, "{zone} and below")?,
            Names::All => f.write_str("everything")?,
        }
        self.qtype.map_or(Ok(()), |qtype| write!(f, " of type {qtype}"))
    }
}

impl Api {
    /// What is held of these questions.
    fn held(&self, meant: &Meant) -> Reply<CacheHeld> {
        let (generation, now) = (Arc::clone(&self.active.seen().generation), self.clock.now());
        let mut shown = CacheHeld::default();
        for (groups, cache) in generation.caches() {
            let held = cache.held(|question| meant.is(question), now.mono, MAX_SHOWN);
            shown.answers.extend(held.answers.iter().map(|held| answer(held, groups, now)));
            shown.failures.extend(held.failures.iter().map(|(question, failed)| FailureShown {
                groups: groups.to_vec(),
                question: took(question),
                left_s: failed.until.saturating_sub(now.mono).as_secs(),
                why: failed.errors.iter().map(ede).collect(),
            }));
            shown.left_out += held.left_out;
        }
        let order =
            |question: &Took| (question.qtype.clone(), question.dnssec_ok, question.checking_disabled);
        shown
            .answers
            .sort_by_key(|answer| (answer.groups.clone(), order(&answer.question), answer.network.clone()));
        shown.failures.sort_by_key(|failure| (failure.groups.clone(), order(&failure.question)));
        Ok(Json(shown))
    }

    /// Forgets these questions, in memory and on the disk.
    fn flush(&self, meant: &Meant, who: &str) -> Flushed {
        let (generation, mut sum) = (Arc::clone(&self.active.seen().generation), Forgotten::default());
        for (_, cache) in generation.caches() {
            let forgotten = cache.forget(|question| meant.is(question));
            sum.answers += forgotten.answers;
            sum.failures += forgotten.failures;
        }
        if let Some(kept) = &self.kept {
            kept.forget();
        }
        let Forgotten { answers, failures } = sum;
        self.flushed.fetch_add(answers, Ordering::Relaxed);
        tracing::info!("flushed {meant} by {who}: {answers} answers and {failures} failures are forgotten");
        Flushed { answers, failures }
    }
}

/// Which names a request means.
fn meant_by(request: &FlushRequest) -> Result<Names, Fault> {
    match (request.name.as_deref(), request.subtree, request.all) {
        (Some(text), false, false) => Ok(Names::Exact(name(text)?)),
        (Some(text), true, false) => Ok(Names::Subtree(name(text)?)),
        (None, false, true) => Ok(Names::All),
        _ => {
            let error = "it must be said what is to be forgotten, and by one means";
            let hint = "give `name`, perhaps with `subtree`, or else `all`";
            Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error, hint))
        }
    }
}

/// Reads a name as people write it, or with escapes as it is shown.
fn name(text: &str) -> Result<Name, Fault> {
    held_to("name", text, MAX_NAME_TEXT)?;
    let bad = |error: String| Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error, "write it as example.com");
    match text {
        "." => Ok(Name::ROOT),
        text => names::name(text).or_else(|error| text.parse().map_err(|_| bad(error.to_string()))),
    }
}

/// Reads a type.
fn rtype(text: Option<&str>) -> Result<Option<Rtype>, Fault> {
    let bad = |text: &str| {
        let error = format!("unknown type \"{}\"", text.escape_debug());
        Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error, "write A, HTTPS or TYPE123")
    };
    text.map(|text| text.parse().map_err(|_| bad(text))).transpose()
}

/// A question as it is told.
fn took(question: &Question) -> Took {
    Took {
        name: question.qname.to_string(),
        qtype: question.qtype.to_string(),
        class: question.qclass.to_string(),
        dnssec_ok: question.dnssec_ok,
        checking_disabled: question.checking_disabled,
    }
}

/// An answer as it is told.
fn answer(held: &Held, groups: &[String], now: Now) -> AnswerShown {
    let Held { question, truth, age_s, left_s, kept, is_for_networks } = held;
    let network = || truth.scope.map_or_else(|| "any".to_owned(), |scope| scope.of.to_string());
    let mut message = Vec::new();
    truth.put_message(question, &mut message);
    aged::count_down(&mut message, *age_s);
    // It is of our own making, and can be read.
    let [records, authority] = sections(&message).unwrap_or_default();
    AnswerShown {
        groups: groups.to_vec(),
        question: took(question),
        network: is_for_networks.then(network),
        rcode: truth.rcode.to_string(),
        authentic: truth.authentic,
        came: time::rfc3339(now.wall.saturating_sub(UnixSeconds::from(*age_s))),
        age_s: *age_s,
        left_s: *left_s,
        expired_s: age_s.saturating_sub(truth.lifetime_s),
        kept_s: kept.as_secs(),
        records,
        authority,
        why: truth.ede.iter().map(ede).collect(),
    }
}

/// The records of the answer and authority sections of a message, as zone files have them.
fn sections(message: &[u8]) -> Option<[Vec<String>; 2]> {
    let message = Message::from_octets(message).ok()?;
    let lines = |section: RecordSection<'_, &[u8]>| {
        let line = |record: domain::base::ParsedRecord<'_, &[u8]>| {
            match record.to_any_record::<AllRecordData<_, _>>() {
                Ok(record) => record.display_zonefile(DisplayKind::Simple).to_string(),
                // RDATA is not looked at when it comes, and may be anything.
                Err(_) => {
                    let (ttl, class) = (record.ttl().as_secs(), record.class());
                    format!("{}. {ttl} {class} {} ; cannot be read", record.owner(), record.rtype())
                }
            }
        };
        section.map_while(Result::ok).map(line).collect()
    };
    Some([lines(message.answer().ok()?), lines(message.authority().ok()?)])
}

/// An extended error in a line.
fn ede(ede: &Ede) -> String {
    match ede.text.is_empty() {
        true => format!("{} ({})", ede.code, ede.code.0),
        false => format!("{} ({}): {}", ede.code, ede.code.0, ede.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::subnet::{Scope, Subnet};
    use crate::dns::testing::{question, response};
    use crate::dns::{Truth, TtlLimits};
    use std::time::Duration;

    #[test]
    fn an_answer_is_told_as_zone_files_have_it() {
        let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
        let asked = question("q.e", Rtype::HTTPS);
        let sections: [&[&str]; 3] =
            [&["q.e 60 CNAME a.x", "a.x 50 HTTPS s.e 192.0.2.7"], &[], &[". 0 OPT 22=far"]];
        let truth = Truth::read(&asked, &response(0, "q.e", Rtype::HTTPS, sections), &limits).unwrap();
        let held = Held {
            question: asked,
            truth: truth.into(),
            age_s: 20,
            left_s: 30,
            kept: Duration::from_secs(90),
            is_for_networks: false,
        };
        let now = Now { mono: Duration::ZERO, wall: 1_800_000_020 };
        let shown = answer(&held, &[], now);
        assert_eq!(shown.records, ["q.e. 40 IN CNAME a.x.", "a.x. 30 IN HTTPS 1 s.e. ipv4hint=192.0.2.7"]);
        assert_eq!(shown.why, ["No Reachable Authority (22): far"]);
        assert_eq!((shown.rcode.as_str(), shown.came.as_str()), ("NOERROR", "2027-01-15T08:00:00Z"));
        assert_eq!((shown.left_s, shown.expired_s, shown.kept_s), (30, 0, 90));
        assert_eq!(shown.network, None);
        let held = Held { is_for_networks: true, ..held };
        assert_eq!(answer(&held, &[], now).network.as_deref(), Some("any"));
        let of = Subnet::of("192.0.2.0".parse().unwrap(), 24);
        let scope = Some(Scope { of, exact: false, told: 28 });
        let held = Held { truth: Arc::new(Truth { scope, ..(*held.truth).clone() }), ..held };
        assert_eq!(answer(&held, &[], now).network.as_deref(), Some("192.0.2.0/24"));
        let denied = question("q.e", Rtype::A);
        let message = response(3, "q.e", Rtype::A, [&[], &["e 60 SOA 60"], &[]]);
        let truth = Truth::read(&denied, &message, &limits).unwrap();
        let held = Held { question: denied, truth: truth.into(), age_s: 70, left_s: 0, ..held };
        let shown = answer(&held, &[], now);
        assert_eq!(shown.authority, ["e. 0 IN SOA . . 0 0 0 0 60"]);
        assert_eq!((shown.rcode.as_str(), shown.expired_s), ("NXDOMAIN", 10));
    }

    #[test]
    fn what_is_meant() {
        let questions = ["a.b.e A", "b.e AAAA", "b.e A", "e A"].map(|text| {
            let (name, qtype) = text.split_once(' ').unwrap();
            question(name, qtype.parse().unwrap())
        });
        let name = |text: &str| text.parse().unwrap();
        for (names, qtype, said, expected) in [
            (Names::Exact(name("b.e")), None, "b.e", [false, true, true, false]),
            (Names::Exact(name("b.e")), Some(Rtype::A), "b.e of type A", [false, false, true, false]),
            (Names::Subtree(name("b.e")), None, "b.e and below", [true, true, true, false]),
            (Names::Subtree(Name::ROOT), None, ". and below", [true; 4]),
            (Names::All, None, "everything", [true; 4]),
            (Names::All, Some(Rtype::AAAA), "everything of type AAAA", [false, true, false, false]),
        ] {
            let meant = Meant { names, qtype };
            assert_eq!(questions.each_ref().map(|question| meant.is(question)), expected, "{said}");
            assert_eq!(meant.to_string(), said);
        }
    }
}
