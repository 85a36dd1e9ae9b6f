//! `GET /metrics`: counters and gauges as Prometheus reads them, in its text (format 0.0.4) or as OpenMetrics (1.0.0).

mod families;
mod page;

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::IntoResponse;

use super::{Api, Numbers};
use crate::resolver::counters::Counters;
use crate::server;
use families::{Moment, families};
use page::{Format, Page};

/// A family of metrics as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name, as text has it and queries.
    pub name: String,
    /// What sort it is, in Prometheus's words.
    pub kind: &'static str,
    /// The labels that tell its samples apart.
    pub labels: &'static [&'static str],
    /// What it counts, in a sentence or two.
    pub help: String,
}

/// Every family there is, in the order of a page.
pub fn described() -> Vec<Described> {
    let numbers = Numbers {
        resolver: Counters::default().readings(),
        listeners: server::Counters::default().read().named(),
        ..Numbers::default()
    };
    let described = families(&numbers).into_iter().map(|family| Described {
        name: family.full_name(),
        kind: family.kind.as_str(Format::Text),
        labels: family.labels,
        help: family.help.into_owned(),
    });
    described.collect()
}

impl Format {
    /// Its content type.
    fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The handler.
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> impl IntoResponse {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = wanted(accepts);
    ([(CONTENT_TYPE, format.content_type())], text(&api, format))
}

/// All of them, a family after the other.
fn text(api: &Api, format: Format) -> String {
    let at = api.now();
    let moment = Moment {
        api,
        at,
        seen: api.active.seen(),
        numbers: api.count(),
        lists: api.lists.as_ref().map(|lists| lists.lists(at)).unwrap_or_default(),
        kept: api.kept.as_ref().map(|kept| kept.kept()).unwrap_or_default(),
        evidence: api.evidence.as_ref().map(|evidence| evidence()),
    };
    let mut page = Page::new(format);
    families(&moment.numbers).iter().for_each(|family| page.write(family, &moment));
    page.finish()
}

/// The format that is wanted most by these Accept headers; text if that is a matter of taste.
fn wanted<'h>(accepts: impl Iterator<Item = &'h str>) -> Format {
    let (mut open, mut text) = (0.0_f32, 0.0_f32);
    for range in accepts.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut version) = (1.0_f32, None);
        for part in parts {
            match part.split_once('=').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim())) {
                // RFC 9110 §12.4.2: a weight is 0 to 1, "where 0.001 is the least preferred", and 0 is "not acceptable".
                Some((name, value)) if name == "q" => weight = value.parse().unwrap_or(0.0),
                Some((name, value)) if name == "version" => {
                    version = Some(value.trim_matches('"').to_owned())
                }
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if version.as_deref().is_none_or(|version| version == "1.0.0") => {
                open = weight.max(open);
            }
            "text/plain" if version.as_deref().is_none_or(|version| version == "0.0.4") => {
                text = weight.max(text);
            }
            _ => {}
        }
    }
    if open > text { Format::OpenMetrics } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_wanted_most() {
        for (accepts, expected) in [
            (&[][..], Format::Text),
            (&["*/*"], Format::Text),
            (&["application/json"], Format::Text),
            (&["application/openmetrics-text"], Format::OpenMetrics),
            (&["Application/OpenMetrics-Text; Version=1.0.0"], Format::OpenMetrics),
            (&["application/openmetrics-text; version=0.0.1"], Format::Text),
            (&["application/openmetrics-text;q=0"], Format::Text),
            (&["application/openmetrics-text;q=x"], Format::Text),
            (&["text/plain", "application/openmetrics-text"], Format::Text),
            (&["text/plain;q=0.5", "application/openmetrics-text"], Format::OpenMetrics),
            // What Prometheus 2.42 sends, and 3.
            (
                &[
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ],
                Format::OpenMetrics,
            ),
            (
                &[
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                ],
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(wanted(accepts.iter().copied()), expected, "{accepts:?}");
        }
    }
}
