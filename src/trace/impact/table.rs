//! The report as a table for eyes.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::report::{Count, NameRow, Report, Row, ScaleReport, TERMS};
use super::scales::Scale;
use crate::orders::time;

/// Characters of the first column.
const KEY_WIDTH: usize = 24;
/// Characters of a number's column: 999,999,999,999 and a space.
const NUMBER_WIDTH: usize = 14;

impl Report {
    /// A table with this many rows at most in each list.
    pub fn table(&self, top: usize) -> String {
        table(self, top)
    }
}

/// The report, with this many rows at most in each list.
fn table(report: &Report, top: usize) -> String {
    // Writing to a String cannot fail.
    let mut out = String::with_capacity(8 * 1024);
    head(&mut out, report);
    let lines = side_by_side(report);
    let indented = lines
        .iter()
        .map(|line| (format!("{:i$}{}", "", line.key, i = 2 * line.depth), line.values.as_slice()));
    figures(&mut out, "", indented);
    let families: Vec<(String, Vec<String>)> = families(report)
        .into_iter()
        .map(|line| (line.key.to_string(), line.queries.iter().copied().map(grouped).collect()))
        .collect();
    if !families.is_empty() {
        let title = format!("by family: {}", of(families.len() as u64, top));
        let shown = families.iter().take(top).map(|(key, values)| (format!("  {key}"), values.as_slice()));
        figures(&mut out, &title, shown);
    }
    for scale in &report.scales {
        lists(&mut out, report, scale, top);
    }
    let _ = writeln!(out, "\nwords");
    for (word, meaning) in TERMS {
        let _ = writeln!(out, "  {word:<14} {meaning}");
    }
    for note in &report.notes {
        let _ = writeln!(out, "\nnote: {note}");
    }
    out
}

/// What was judged, and over what.
fn head(out: &mut String, report: &Report) {
    let order = &report.order;
    let _ = writeln!(out, "impact of order {} ({})", order.id, order.title);
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {key:<12}{value}");
        }
    };
    line("kind", &order.kind);
    line("issuer", &order.issuer);
    line("court", &order.court);
    line("docket", &order.docket);
    line("file", &order.file);
    line("lists", &format!("{} name{}", grouped(order.listed), if order.listed == 1 { "" } else { "s" }));
    line("judged", &judged(report));
    for trace in &report.traces {
        let mut text = format!("{}: {} queries", trace.file, grouped(trace.queries));
        if let (Some(first), Some(last)) = (trace.first, trace.last) {
            let _ = write!(text, ", {} to {}", time::show(first), time::show(last));
        }
        line("trace", &text);
    }
    line("asked", &asked(report));
    if let Some(list) = &report.popular_list {
        line("popular", list);
    }
}

/// As of when, and among what.
pub(super) fn judged(report: &Report) -> String {
    let order = &report.order;
    format!(
        "as of {}, among {} other {} and {} protected {}",
        time::show(report.at),
        grouped(order.other_orders),
        if order.other_orders == 1 { "order" } else { "orders" },
        grouped(order.protected_names),
        if order.protected_names == 1 { "name" } else { "names" },
    )
}

/// What was asked in all.
pub(super) fn asked(report: &Report) -> String {
    let Count { queries, names, clients } = report.asked;
    let mut text =
        format!("{} queries for {} names", grouped(queries), at_least(names, report.names_at_least));
    if report.knows_clients() {
        let _ = write!(text, " from {} clients", at_least(clients, report.clients_at_least));
    }
    text
}

/// A figure of every scale.
pub(super) struct Line {
    /// What it is.
    pub(super) key: &'static str,
    /// How deep it stands below the figure it is part of.
    pub(super) depth: usize,
    /// The figures, in the order of the report's scales.
    pub(super) values: Vec<String>,
}

/// All scales side by side.
pub(super) fn side_by_side(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |depth: usize, key: &'static str, value: &dyn Fn(&ScaleReport) -> String| {
        lines.push(Line { key, depth, values: report.scales.iter().map(value).collect() });
    };
    let names = |count: Count| at_least(count.names, report.names_at_least);
    let clients = |count: Count| {
        if report.knows_clients() { at_least(count.clients, report.clients_at_least) } else { "-".into() }
    };
    line(0, "made of names", &|scale| grouped(scale.triggers));
    line(0, "takes queries", &|scale| grouped(scale.taken.queries));
    line(1, "of all", &|scale| percent(scale.share_of_queries));
    line(1, "names", &|scale| names(scale.taken));
    line(1, "clients", &|scale| clients(scale.taken));
    line(0, "of that, listed", &|scale| grouped(scale.listed.queries));
    line(1, "names", &|scale| names(scale.listed));
    line(1, "clients", &|scale| clients(scale.listed));
    line(0, "and collateral", &|scale| grouped(scale.collateral.queries));
    line(1, "names", &|scale| names(scale.collateral));
    line(2, "siblings", &|scale| names(scale.siblings));
    line(2, "children", &|scale| names(scale.children));
    line(2, "parents", &|scale| names(scale.parents));
    line(2, "others", &|scale| names(scale.others));
    line(1, "clients", &|scale| clients(scale.collateral));
    if report.popular_list.is_some() {
        line(0, "popular names asked", &|scale| scale.popular.map_or("-".into(), names));
        line(1, "queries", &|scale| scale.popular.map_or("-".into(), |count| grouped(count.queries)));
        line(1, "of the whole list", &|scale| scale.popular_on_list.map_or("-".into(), grouped));
    }
    line(0, "public suffixes asked", &|scale| names(scale.suffixes));
    line(1, "taken whole", &|scale| grouped(scale.whole_suffixes));
    line(0, "let pass", &|scale| grouped(scale.let_pass.queries));
    line(1, "names", &|scale| names(scale.let_pass));
    line(0, "taken by others first", &|scale| grouped(scale.already.queries));
    line(1, "names", &|scale| names(scale.already));
    lines
}

/// Queries of a family at every scale.
pub(super) struct FamilyLine<'r> {
    /// The family, or what stands where there is none.
    pub(super) key: &'r str,
    /// The figures, in the order of the report's scales.
    pub(super) queries: Vec<u64>,
}

/// The families of all scales, those first of which the order takes most as it is written.
pub(super) fn families(report: &Report) -> Vec<FamilyLine<'_>> {
    let mut lines: Vec<FamilyLine<'_>> = Vec::new();
    // By key, for families may be many.
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, scale) in report.scales.iter().enumerate() {
        for row in &scale.by_family {
            let key = key(row);
            let place = *places.entry(key).or_insert_with(|| {
                lines.push(FamilyLine { key, queries: vec![0; report.scales.len()] });
                lines.len() - 1
            });
            if let Some(queries) = lines.get_mut(place).and_then(|line| line.queries.get_mut(index)) {
                *queries = row.count.queries;
            }
        }
    }
    lines
}

/// Writes lines with a figure for every scale.
fn figures<'l>(out: &mut String, title: &str, lines: impl Iterator<Item = (String, &'l [String])>) {
    let _ = write!(out, "\n{title:<KEY_WIDTH$}");
    for scale in Scale::ALL {
        let _ = write!(out, "{:>NUMBER_WIDTH$}", scale.as_str());
    }
    out.push('\n');
    for (key, values) in lines {
        // A long key takes a line of its own rather than push the figures aside.
        let fits = key.chars().count() < KEY_WIDTH;
        let _ = if fits { write!(out, "{key:<KEY_WIDTH$}") } else { write!(out, "{key}\n{:KEY_WIDTH$}", "") };
        for value in values {
            let _ = write!(out, "{value:>NUMBER_WIDTH$}");
        }
        out.push('\n');
    }
}

/// The lists of one scale; those that say the same as the first scale's are left out.
fn lists(out: &mut String, report: &Report, scale: &ScaleReport, top: usize) {
    let name = scale.scale.as_str();
    let written = report.at_scale(Scale::Written).filter(|_| scale.scale != Scale::Written);
    let is_new =
        |rows: fn(&ScaleReport) -> &Vec<Row>| written.is_none_or(|written| rows(written) != rows(scale));
    match scale.scale {
        Scale::Written => rows(out, report, "by listed name, as written", &scale.by_name, top),
        Scale::Zone if is_new(|scale| &scale.by_name) => rows(out, report, "by zone", &scale.by_name, top),
        // The same names as written, and what they would take beyond is told as collateral.
        _ => {}
    }
    if written.is_none_or(|written| written.collateral_names != scale.collateral_names)
        && !scale.collateral_names.is_empty()
    {
        let title = format!("collateral, {name}: {}", of(scale.collateral.names, top));
        let _ = writeln!(out, "\n{:>NUMBER_WIDTH$}  {title}", "queries");
        for row in scale.collateral_names.iter().take(top) {
            let _ = writeln!(out, "{:>NUMBER_WIDTH$}  {} ({})", grouped(row.queries), row.name, marks(row));
        }
    }
    if is_new(|scale| &scale.let_pass_by) {
        rows(out, report, &format!("let pass by, {name}"), &scale.let_pass_by, top);
    }
    if is_new(|scale| &scale.already_by) {
        rows(out, report, &format!("taken first by, {name}"), &scale.already_by, top);
    }
}

/// How a collateral name stands to listed ones, and what else it is.
pub(super) fn marks(row: &NameRow) -> String {
    let marks = [(row.popular, ", popular"), (row.public_suffix, ", public suffix")];
    let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
    format!("{}{marks}", row.relation.as_str())
}

/// Rows of one list, if there are any.
fn rows(out: &mut String, report: &Report, title: &str, rows: &[Row], top: usize) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n{:>w$}{:>w$}{:>w$}  {title}: {}",
        "queries",
        "names",
        "clients",
        of(rows.len() as u64, top),
        w = NUMBER_WIDTH
    );
    for row in rows.iter().take(top) {
        let clients = if report.knows_clients() { grouped(row.count.clients) } else { "-".into() };
        let family = if row.family.is_empty() { String::new() } else { format!(" ({})", row.family) };
        let _ = writeln!(
            out,
            "{:>w$}{:>w$}{clients:>w$}  {}{family}",
            grouped(row.count.queries),
            grouped(row.count.names),
            key(row),
            w = NUMBER_WIDTH
        );
    }
}

/// How many of a list are shown.
fn of(total: u64, top: usize) -> String {
    if total > top as u64 { format!("the first {top} of {}", grouped(total)) } else { grouped(total) }
}

/// What a row is counted by.
pub(super) fn key(row: &Row) -> &str {
    match row.key.as_deref() {
        None => "(bystanders)",
        Some("") => "(no family given)",
        Some(key) => key,
    }
}

/// A lower bound, or a number.
pub(super) fn at_least(number: u64, is_bound: bool) -> String {
    if is_bound { format!("\u{2265}{}", grouped(number)) } else { grouped(number) }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share in percent: never 0 for what is more than nothing.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".into(),
        percent if percent < 0.01 => "< 0.01 %".into(),
        percent => format!("{percent:.2} %"),
    }
}
