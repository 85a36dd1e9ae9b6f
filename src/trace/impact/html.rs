//! The report as a page for whoever decides: plain words, a picture, the figures, and what the words mean.

use std::fmt::Write as _;

use super::report::{Count, Report, ScaleReport, TERMS};
use super::scales::Scale;
use super::table::{asked, at_least, families, grouped, judged, key, marks, percent, side_by_side};
use crate::orders::time;
use crate::trace::html::{END, begin, escaped, short};

/// What this page needs beyond what all have. A picture that has no room is moved, not shrunk: its text is to be read.
const STYLE: &str = "\
.wide{overflow-x:auto}.wide svg{min-width:430px;max-width:760px}.wide td.n{white-space:nowrap}.blue{fill:var(--blue)}.red{fill:var(--red)}.green{fill:var(--green)}text.v{fill:var(--ink)}\
td.i1{padding-left:2em}td.i2{padding-left:3.2em}th.n{text-align:right}.lead{font-size:1.15em}h1{line-height:1.2}\
.sub{color:var(--soft)}dt{font-weight:600;margin-top:.4em}dd{margin-left:1.2em}li,td.name{overflow-wrap:anywhere}";
/// Width of a picture, labels included.
const WIDTH: f64 = 640.0;
/// Room to the left, for what a bar is of.
const LEFT: f64 = 160.0;
/// Room to the right, for a bar's figure.
const RIGHT: f64 = 90.0;
/// Room above, for the legend.
const HEAD: f64 = 24.0;
/// Height of a bar.
const BAR: f64 = 15.0;
/// Between two groups of bars.
const GAP: f64 = 12.0;
/// Room below, for the axis.
const FOOT: f64 = 22.0;
/// The shortest bar of what is not nothing: it is to be seen.
const THIN: f64 = 1.5;
/// Characters of a label that fit to the left.
const LABEL_CHARS: usize = 23;
/// Zones that are named before they are only counted.
const ZONES: usize = 12;

impl Report {
    /// A page for whoever decides, with this many rows at most in each list.
    pub fn html(&self, top: usize) -> String {
        page(self, top)
    }
}

/// The page, with this many rows at most in each list.
fn page(report: &Report, top: usize) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let order = &report.order;
    begin(&mut page, &format!("Impact of order {}", order.id), STYLE);
    // Writing to a String cannot fail.
    let _ =
        writeln!(page, "<h1>What this order would do</h1>\n<p class=\"lead\">{}</p>", escaped(&order.title));
    facts(&mut page, report);
    for sentence in lead(report) {
        let _ = writeln!(page, "<p class=\"lead\">{}</p>", escaped(&sentence));
    }
    for note in &report.notes {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(note));
    }
    page.push_str("<h2>Names and queries taken, by how far the order reaches</h2>\n");
    let unit = |what: &str, value: &dyn Fn(Count) -> u64| {
        let groups: Vec<BarGroup<'_>> = report
            .scales
            .iter()
            .map(|scale| BarGroup {
                label: scale.scale.as_str(),
                values: vec![value(scale.listed), value(scale.collateral)],
            })
            .collect();
        bars(what, &[("listed by the order", "blue"), ("collateral: not listed", "red")], &groups)
    };
    page.push_str(&unit("distinct names", &|count| count.names));
    page.push_str(&unit("queries", &|count| count.queries));
    figures(&mut page, report);
    family_bars(&mut page, report, top);
    listed(&mut page, report, top);
    for scale in &report.scales {
        collateral(&mut page, report, scale, top);
    }
    for scale in &report.scales {
        let_pass(&mut page, report, scale, top);
    }
    traces(&mut page, report);
    page.push_str("<h2>What the words mean</h2>\n<dl>\n");
    for (word, meaning) in TERMS {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(word), escaped(meaning));
    }
    page.push_str("</dl>\n");
    page.push_str(END);
    page
}

/// What is to be said about the order.
fn facts(page: &mut String, report: &Report) {
    let order = &report.order;
    page.push_str("<table>\n");
    for (key, value) in [
        ("order", format!("{} (revision {})", order.id, order.revision)),
        ("kind", order.kind.clone()),
        ("issuer", order.issuer.clone()),
        ("court", order.court.clone()),
        ("jurisdiction", order.jurisdiction.clone()),
        ("docket", order.docket.clone()),
        ("to be read at", order.url.clone()),
        ("file", order.file.clone()),
        ("lists", counted(order.listed, "name")),
        ("zones", zones(&order.zones)),
        ("judged", judged(report)),
        ("counted", asked(report)),
    ] {
        if !value.is_empty() {
            let _ = writeln!(page, "<tr><th>{key}</th><td class=\"name\">{}</td></tr>", escaped(&value));
        }
    }
    page.push_str("</table>\n");
}

/// What it comes to, in sentences.
fn lead(report: &Report) -> Vec<String> {
    let mut sentences = Vec::new();
    let Some(written) = report.at_scale(Scale::Written) else { return sentences };
    let names = |count: Count| {
        let s = if count.names == 1 { "" } else { "s" };
        format!("{} name{s}", at_least(count.names, report.names_at_least))
    };
    let (taken, collateral) = (written.taken, written.collateral);
    let mut first = format!(
        "As it is written, the order would take {} of {} recorded queries ({})",
        grouped(taken.queries),
        grouped(report.asked.queries),
        percent(written.share_of_queries)
    );
    first.push_str(&if collateral.queries == 0 {
        ". It would touch no name that it does not list.".into()
    } else {
        format!("; {} of them for {} that it does not list.", grouped(collateral.queries), names(collateral))
    });
    sentences.push(first);
    // Other scopes are worth a sentence where they do more.
    for (scale, how) in [
        (Scale::Subtree, "If every listed name also took all names below it"),
        (Scale::Zone, "If it took whole zones"),
    ] {
        let Some(wider) = report.at_scale(scale) else { continue };
        if wider.collateral.queries > collateral.queries {
            sentences.push(format!(
                "{how}, it would take {} queries ({}): {} of them for {} that it does not list.",
                grouped(wider.taken.queries),
                percent(wider.share_of_queries),
                grouped(wider.collateral.queries),
                names(wider.collateral)
            ));
        }
    }
    sentences
}

/// The figures of all scales side by side.
fn figures(page: &mut String, report: &Report) {
    page.push_str("<h2>Side by side</h2>\n<div class=\"wide\"><table>\n<tr><th></th>");
    for scale in &report.scales {
        let _ = write!(page, "<th class=\"n\">{}</th>", scale.scale.as_str());
    }
    page.push_str("</tr>\n");
    for line in side_by_side(report) {
        let _ = write!(page, "<tr><td class=\"i{}\">{}</td>", line.depth, line.key);
        for value in &line.values {
            let _ = write!(page, "<td class=\"n\">{}</td>", escaped(value));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

/// The families of which most is taken: as written, and at the scope that takes the most.
fn family_bars(page: &mut String, report: &Report, top: usize) {
    let lines = families(report);
    if lines.is_empty() {
        return;
    }
    let place = |wanted: Scale| report.scales.iter().position(|scale| scale.scale == wanted);
    let at = |queries: &[u64], scale: Scale| {
        place(scale).and_then(|place| queries.get(place)).copied().unwrap_or_default()
    };
    let groups: Vec<BarGroup<'_>> = lines
        .iter()
        .take(top)
        .map(|line| BarGroup {
            label: line.key,
            values: vec![at(&line.queries, Scale::Written), at(&line.queries, Scale::Zone)],
        })
        .collect();
    let _ = writeln!(page, "<h2>By malware family{}</h2>", of(lines.len() as u64, groups.len()));
    page.push_str(&bars("queries", &[("as written", "blue"), ("whole zones", "green")], &groups));
}

/// The names that take most, as the order is written.
fn listed(page: &mut String, report: &Report, top: usize) {
    let Some(written) = report.at_scale(Scale::Written).filter(|written| !written.by_name.is_empty()) else {
        return;
    };
    let _ = writeln!(
        page,
        "<h2>By listed name{}</h2>\n<div class=\"wide\"><table>\n\
         <tr><th>name</th><th>family</th><th class=\"n\">queries</th><th class=\"n\">clients</th></tr>",
        of(written.by_name.len() as u64, written.by_name.len().min(top))
    );
    for row in written.by_name.iter().take(top) {
        let clients = if report.knows_clients() { grouped(row.count.clients) } else { "-".into() };
        let _ = writeln!(
            page,
            "<tr><td class=\"name\">{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{clients}</td></tr>",
            escaped(key(row)),
            escaped(&row.family),
            grouped(row.count.queries)
        );
    }
    page.push_str("</table></div>\n");
}

/// The first names that a scale takes and the order does not list.
fn collateral(page: &mut String, report: &Report, scale: &ScaleReport, top: usize) {
    let same = report.at_scale(Scale::Written).is_some_and(|written| {
        written.scale != scale.scale && written.collateral_names == scale.collateral_names
    });
    if same || scale.collateral_names.is_empty() {
        return;
    }
    let shown = scale.collateral_names.len().min(top);
    let _ = writeln!(
        page,
        "<h2>Collateral, {}{}</h2>\n<p>Names that would be taken though the order does not list them, most asked first.</p>\n\
         <table>\n<tr><th>name</th><th>it is</th><th class=\"n\">queries</th><th class=\"n\">clients</th></tr>",
        scale.scale.as_str(),
        of(scale.collateral.names, shown)
    );
    for row in scale.collateral_names.iter().take(top) {
        let clients = if report.knows_clients() { grouped(row.clients) } else { "-".into() };
        let _ = writeln!(
            page,
            "<tr><td class=\"name\">{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{clients}</td></tr>",
            escaped(&row.name),
            escaped(&marks(row)),
            grouped(row.queries)
        );
    }
    page.push_str("</table>\n");
    for (what, total, first) in [
        ("Public suffixes taken whole", scale.whole_suffixes, &scale.first_suffixes),
        ("Popular names taken, asked for or not", scale.popular_on_list.unwrap_or(0), &scale.first_popular),
    ] {
        if total > 0 {
            let shown: Vec<&str> = first.iter().take(top).map(String::as_str).collect();
            let more = if total > shown.len() as u64 { ", \u{2026}" } else { "" };
            let _ =
                writeln!(page, "<p>{what}: {} ({}{more})</p>", grouped(total), escaped(&shown.join(", ")));
        }
    }
}

/// Names within reach that are let pass.
fn let_pass(page: &mut String, report: &Report, scale: &ScaleReport, top: usize) {
    let same = report.at_scale(Scale::Written).is_some_and(|written| {
        written.scale != scale.scale && written.let_pass_names == scale.let_pass_names
    });
    if same || scale.let_pass_names.is_empty() {
        return;
    }
    let shown = scale.let_pass_names.len().min(top);
    let _ = writeln!(
        page,
        "<h2>Let pass, {}{}</h2>\n<table>\n<tr><th>name</th><th>by</th><th class=\"n\">queries</th></tr>",
        scale.scale.as_str(),
        of(scale.let_pass.names, shown)
    );
    for row in scale.let_pass_names.iter().take(top) {
        let listed = if row.listed { " (listed)" } else { "" };
        let _ = writeln!(
            page,
            "<tr><td class=\"name\">{}{listed}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            escaped(&row.name),
            escaped(&row.by),
            grouped(row.queries)
        );
    }
    page.push_str("</table>\n");
}

/// Where the queries came from.
fn traces(page: &mut String, report: &Report) {
    if report.traces.is_empty() {
        return;
    }
    page.push_str("<h2>What was counted</h2>\n<div class=\"wide\"><table>\n<tr><th>trace</th><th class=\"n\">queries</th><th>from</th><th>to</th></tr>\n");
    for trace in &report.traces {
        let time = |at: Option<i64>| at.map_or("not told".into(), time::show);
        let _ = writeln!(
            page,
            "<tr><td class=\"name\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&trace.file),
            grouped(trace.queries),
            escaped(&time(trace.first)),
            escaped(&time(trace.last))
        );
    }
    page.push_str("</table></div>\n");
}

/// How many of a list are shown, where it is not all.
fn of(total: u64, shown: usize) -> String {
    if total > shown as u64 { format!(": the first {shown} of {}", grouped(total)) } else { String::new() }
}

/// Bars that stand together.
struct BarGroup<'r> {
    /// What they are of.
    label: &'r str,
    /// Their lengths, one for each series.
    values: Vec<u64>,
}

/// A picture of bars, each group with one bar of each series (its name and colour); `unit` is what is counted. Lengths are true to the counts, for
/// a logarithm would make the small and the great look alike; the figures stand beside the bars.
fn bars(unit: &str, series: &[(&str, &str)], groups: &[BarGroup<'_>]) -> String {
    let most = groups.iter().flat_map(|group| &group.values).copied().max().unwrap_or(0).max(1);
    let length = |value: u64| {
        let exact = value as f64 / most as f64 * (WIDTH - LEFT - RIGHT);
        if value > 0 { exact.max(THIN) } else { 0.0 }
    };
    let group_height = BAR * series.len() as f64 + GAP;
    let bottom = HEAD + group_height * groups.len() as f64;
    let mut svg = format!(
        "<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{unit}, by bars\">\n",
        bottom + FOOT
    );
    let step = step(most);
    for tick in (0..=most).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let x = LEFT + length(tick);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{HEAD}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" class=\"grid\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            short(tick as f64)
        );
    }
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"13\" text-anchor=\"end\">{unit}</text>", LEFT - 10.0);
    for ((name, colour), index) in series.iter().zip(0..) {
        let x = LEFT + 150.0 * f64::from(index);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"3\" width=\"12\" height=\"12\" class=\"{colour}\"/><text x=\"{:.1}\" y=\"13\">{}</text>",
            x + 18.0,
            escaped(name)
        );
    }
    for (group, place) in groups.iter().zip(0..) {
        let top = HEAD + GAP / 2.0 + group_height * f64::from(place);
        let middle = top + BAR * group.values.len() as f64 / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\" class=\"v\">{}</text>",
            LEFT - 10.0,
            escaped(&cut(group.label))
        );
        for ((value, (_, colour)), index) in group.values.iter().zip(series).zip(0..) {
            let (y, width) = (top + BAR * f64::from(index), length(*value));
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" class=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"v\">{}</text>",
                y + 1.0,
                BAR - 2.0,
                LEFT + width + 6.0,
                y + 12.0,
                grouped(*value)
            );
        }
    }
    svg.push_str("</svg></div>\n");
    svg
}

/// Between two marks of an axis that ends at `most`: a round number, some three to six marks.
fn step(most: u64) -> u64 {
    let power = 10u64.saturating_pow(most.checked_ilog10().unwrap_or(0));
    match most / power.max(1) {
        // Halves of a power are whole only where there is one.
        0 | 1 => (power / 4).max(1),
        2..=3 => (power / 2).max(1),
        _ => power * 2,
    }
}

/// A number of something.
fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// How many zones, and the first of them.
fn zones(zones: &[String]) -> String {
    let first = zones.iter().take(ZONES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if zones.len() > ZONES { ", \u{2026}" } else { "" };
    format!("{}: {first}{more}", zones.len())
}

/// A label cut to what fits.
fn cut(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS {
        return label.into();
    }
    label.chars().take(LABEL_CHARS - 1).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_of_anything_are_bars() {
        for values in [vec![], vec![0], vec![1, 0], vec![3, 2], vec![1, 1_000_000], vec![u64::MAX, 1]] {
            let groups = [BarGroup { label: "a<b", values: values.clone() }];
            let svg = bars("names", &[("one", "blue"), ("two", "red")], &groups);
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("a<b"), "{svg}");
            assert_eq!(svg.matches("class=\"v\"").count(), values.len() + 1, "{values:?}");
            assert!(svg.matches("class=\"grid\"").count() <= 9, "{svg}");
        }
        let svg = bars("names", &[("one", "blue")], &[BarGroup { label: "a", values: vec![1, 1_000_000] }]);
        assert!(svg.contains("width=\"1.5\""), "what is not nothing is seen: {svg}");
    }

    #[test]
    fn axes_have_round_marks() {
        for (most, expected) in [
            (1, 1),
            (2, 1),
            (3, 1),
            (9, 2),
            (10, 2),
            (19, 2),
            (20, 5),
            (40, 20),
            (100, 25),
            (9957, 2000),
            (u64::MAX, 2_500_000_000_000_000_000),
        ] {
            assert_eq!(step(most), expected, "{most}");
        }
    }

    #[test]
    fn long_labels_are_cut() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"\u{e4}".repeat(99)).chars().count(), LABEL_CHARS);
    }
}
