//! A page of metrics: families declared once each, written as text (format 0.0.4) or as OpenMetrics 1.0.0.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{Display, Write};

use crate::histogram::{BOUNDS_US, Times};

/// What every name begins with.
const PREFIX: &str = "sinkscope_";

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus's text, which everything reads.
    Text,
    /// What became of it.
    OpenMetrics,
}

/// What sort of samples a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
    /// How long things took.
    Histogram,
    /// Texts, as labels.
    Info,
}

/// All there is to say of a family of samples; `M` is what it is read from.
pub(super) struct Family<M> {
    /// Its name, less the prefix and what its kind adds.
    pub(super) name: Cow<'static, str>,
    /// What sort of samples it has.
    pub(super) kind: Kind,
    /// What it counts, in a sentence or two.
    pub(super) help: Cow<'static, str>,
    /// The labels that tell its samples apart.
    pub(super) labels: &'static [&'static str],
    /// Reads its samples.
    pub(super) read: fn(&Family<M>, &M, &mut Samples<'_>),
}

/// A page as it grows.
pub(super) struct Page {
    text: String,
    format: Format,
}

/// Where a family's samples go.
pub(super) struct Samples<'p> {
    page: &'p mut Page,
    /// The name that each begins with.
    name: String,
    labels: &'static [&'static str],
    /// What was written: one sample twice would have the whole page refused.
    seen: HashSet<String>,
}

impl Kind {
    /// The word in that format.
    pub(super) fn as_str(self, format: Format) -> &'static str {
        match (self, format) {
            (Kind::Counter, _) => "counter",
            (Kind::Gauge, _) | (Kind::Info, Format::Text) => "gauge",
            (Kind::Histogram, _) => "histogram",
            (Kind::Info, Format::OpenMetrics) => "info",
        }
    }

    /// What samples' names end in.
    fn suffix(self) -> &'static str {
        match self {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }
}

impl<M> Family<M> {
    /// The name as text has it, and queries.
    pub(super) fn full_name(&self) -> String {
        format!("{PREFIX}{}{}", self.name, self.kind.suffix())
    }
}

impl Page {
    /// An empty one.
    pub(super) fn new(format: Format) -> Page {
        Page { text: String::new(), format }
    }

    /// Writes a family: what is declared of it, and its samples.
    pub(super) fn write<M>(&mut self, family: &Family<M>, moment: &M) {
        let (full, format) = (family.full_name(), self.format);
        // OpenMetrics: the suffix is the sample's, not the family's.
        let name = match format {
            Format::Text => full.clone(),
            Format::OpenMetrics => format!("{PREFIX}{}", family.name),
        };
        let (help, kind) = (escaped(&family.help, format == Format::OpenMetrics), family.kind.as_str(format));
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        let (labels, seen) = (family.labels, HashSet::new());
        (family.read)(family, moment, &mut Samples { page: self, name: full, labels, seen });
    }

    /// The page.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Samples<'_> {
    /// The sample of a family without labels.
    pub(super) fn one(&mut self, value: impl Display) {
        self.with(&[], value);
    }

    /// A sample with these texts for the family's labels.
    pub(super) fn with(&mut self, texts: &[&str], value: impl Display) {
        let labels = self.labels(texts);
        if self.seen.insert(labels.clone()) {
            self.line("", &labels, value);
        }
    }

    /// The samples of a histogram with these texts for the family's labels.
    pub(super) fn times(&mut self, texts: &[&str], times: &Times) {
        let labels = self.labels(texts);
        if !self.seen.insert(labels.clone()) {
            return;
        }
        let separator = if labels.is_empty() { "" } else { "," };
        let mut sum = 0;
        let bounds = BOUNDS_US.iter().map(|bound_us| format!("{:?}", seconds(*bound_us)));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(times.counts) {
            sum += count;
            self.line("_bucket", &format!("{labels}{separator}le=\"{bound}\""), sum);
        }
        self.line("_sum", &labels, seconds(times.sum_us));
        self.line("_count", &labels, sum);
    }

    /// Labels with their texts.
    fn labels(&self, texts: &[&str]) -> String {
        let labels = self.labels.iter().zip(texts);
        let labels: Vec<String> =
            labels.map(|(label, text)| format!("{label}=\"{}\"", escaped(text, true))).collect();
        labels.join(",")
    }

    /// A line.
    fn line(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let _ = writeln!(self.page.text, "{}{suffix}{open}{labels}{close} {value}", self.name);
    }
}

/// A time as Prometheus has it.
pub(super) fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// A text as the formats want it: on one line, and within quotes if it is `quoted`.
fn escaped(text: &str, quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quoted { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of one family whose only label has these texts.
    fn page(format: Format, kind: Kind, help: &'static str, texts: &[&str]) -> String {
        let family: Family<Vec<String>> = Family {
            name: "x".into(),
            kind,
            help: help.into(),
            labels: &["of"],
            read: |family, texts, out| {
                for text in texts {
                    match family.kind {
                        Kind::Histogram => out.times(
                            &[text],
                            &Times { counts: [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4], sum_us: 2_500 },
                        ),
                        _ => out.with(&[text], 7),
                    }
                }
            },
        };
        let mut page = Page::new(format);
        page.write(&family, &texts.iter().map(|text| (*text).to_owned()).collect());
        page.finish()
    }

    #[test]
    fn a_family_is_written_as_the_formats_want_it() {
        use Format::{OpenMetrics, Text};
        for (format, kind, texts, expected) in [
            (
                Text,
                Kind::Counter,
                &["a"][..],
                "# HELP sinkscope_x_total A \"b\"\\n\\\\.\n# TYPE sinkscope_x_total counter\nsinkscope_x_total{of=\"a\"} 7\n",
            ),
            (
                OpenMetrics,
                Kind::Counter,
                &["a"],
                "# HELP sinkscope_x A \\\"b\\\"\\n\\\\.\n# TYPE sinkscope_x counter\nsinkscope_x_total{of=\"a\"} 7\n# EOF\n",
            ),
            (
                Text,
                Kind::Info,
                &["a"],
                "# HELP sinkscope_x_info A \"b\"\\n\\\\.\n# TYPE sinkscope_x_info gauge\nsinkscope_x_info{of=\"a\"} 7\n",
            ),
            (
                OpenMetrics,
                Kind::Info,
                &[],
                "# HELP sinkscope_x A \\\"b\\\"\\n\\\\.\n# TYPE sinkscope_x info\n# EOF\n",
            ),
            (
                Text,
                Kind::Gauge,
                &["a\\", "a\"", "a\n} 1", "a\\"],
                "# HELP sinkscope_x A \"b\"\\n\\\\.\n# TYPE sinkscope_x gauge\nsinkscope_x{of=\"a\\\\\"} 7\nsinkscope_x{of=\"a\\\"\"} 7\nsinkscope_x{of=\"a\\n} 1\"} 7\n",
            ),
        ] {
            assert_eq!(page(format, kind, "A \"b\"\n\\.", texts), expected, "{format:?} {kind:?}");
        }
    }

    #[test]
    fn buckets_of_a_histogram_hold_those_below_too() {
        let page = page(Format::Text, Kind::Histogram, "", &["a"]);
        for expected in [
            "sinkscope_x_bucket{of=\"a\",le=\"0.0005\"} 1",
            "sinkscope_x_bucket{of=\"a\",le=\"0.001\"} 1",
            "sinkscope_x_bucket{of=\"a\",le=\"0.002\"} 3",
            "sinkscope_x_bucket{of=\"a\",le=\"1.0\"} 3",
            "sinkscope_x_bucket{of=\"a\",le=\"10.0\"} 3",
            "sinkscope_x_bucket{of=\"a\",le=\"+Inf\"} 7",
            "sinkscope_x_sum{of=\"a\"} 0.0025",
            "sinkscope_x_count{of=\"a\"} 7",
        ] {
            assert!(page.lines().any(|line| line == expected), "{expected} in\n{page}");
        }
    }
}
