//! The report as a table for eyes.

use std::fmt::Write as _;

use super::report::{Count, Report, Row, ScaleReport, TERMS};
use super::scales::Scale;
use crate::orders::time;

/// Characters of the first column.
const KEY_WIDTH: usize = 22;
/// Characters of a number's column: 999,999,999,999 and a space.
const NUMBER_WIDTH: usize = 14;

/// The report, with this many rows at most in each list.
pub(super) fn table(report: &Report, top: usize) -> String {
    // Writing to a String cannot fail.
    let mut out = String::with_capacity(8 * 1024);
    head(&mut out, report);
    side_by_side(&mut out, report);
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
    line("lists", &format!("{} names", grouped(order.listed)));
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

/// All scales side by side.
fn side_by_side(out: &mut String, report: &Report) {
    let _ = write!(out, "\n{:<KEY_WIDTH$}", "");
    for scale in Scale::ALL {
        let _ = write!(out, "{:>NUMBER_WIDTH$}", scale.as_str());
    }
    out.push('\n');
    let mut row = |key: &str, value: &dyn Fn(&ScaleReport) -> String| {
        let _ = write!(out, "{key:<KEY_WIDTH$}");
        for scale in &report.scales {
            let _ = write!(out, "{:>NUMBER_WIDTH$}", value(scale));
        }
        out.push('\n');
    };
    let names = |count: Count| at_least(count.names, report.names_at_least);
    let clients = |count: Count| {
        if report.knows_clients() { at_least(count.clients, report.clients_at_least) } else { "-".into() }
    };
    row("made of names", &|scale| grouped(scale.triggers));
    row("takes queries", &|scale| grouped(scale.taken.queries));
    row("  of all", &|scale| percent(scale.share_of_queries));
    row("  names", &|scale| names(scale.taken));
    row("  clients", &|scale| clients(scale.taken));
    row("of that, listed", &|scale| grouped(scale.listed.queries));
    row("  names", &|scale| names(scale.listed));
    row("  clients", &|scale| clients(scale.listed));
    row("and collateral", &|scale| grouped(scale.collateral.queries));
    row("  names", &|scale| names(scale.collateral));
    row("    siblings", &|scale| names(scale.siblings));
    row("    children", &|scale| names(scale.children));
    row("    parents", &|scale| names(scale.parents));
    row("    others", &|scale| names(scale.others));
    row("  clients", &|scale| clients(scale.collateral));
    if report.popular_list.is_some() {
        row("popular names asked", &|scale| scale.popular.map_or("-".into(), names));
        row("  queries", &|scale| scale.popular.map_or("-".into(), |count| grouped(count.queries)));
        row("  of the whole list", &|scale| scale.popular_on_list.map_or("-".into(), grouped));
    }
    row("public suffixes asked", &|scale| names(scale.suffixes));
    row("  taken whole", &|scale| grouped(scale.whole_suffixes));
    row("let pass", &|scale| grouped(scale.let_pass.queries));
    row("  names", &|scale| names(scale.let_pass));
    row("taken by others first", &|scale| grouped(scale.already.queries));
    row("  names", &|scale| names(scale.already));
}

/// The lists of one scale; those that say the same as the first scale's are left out.
fn lists(out: &mut String, report: &Report, scale: &ScaleReport, top: usize) {
    let name = scale.scale.as_str();
    let written = report.at_scale(Scale::Written).filter(|_| scale.scale != Scale::Written);
    let is_new =
        |rows: fn(&ScaleReport) -> &Vec<Row>| written.is_none_or(|written| rows(written) != rows(scale));
    if is_new(|scale| &scale.by_family) {
        rows(out, report, &format!("by family, {name}"), &scale.by_family, top);
    }
    if is_new(|scale| &scale.by_name) {
        rows(out, report, &format!("by name of the order, {name}"), &scale.by_name, top);
    }
    if written.is_none_or(|written| written.collateral_names != scale.collateral_names)
        && !scale.collateral_names.is_empty()
    {
        let _ = writeln!(out, "\ncollateral, {name}: {}", of(scale.collateral.names, top));
        for row in scale.collateral_names.iter().take(top) {
            let marks = [(row.popular, ", popular"), (row.public_suffix, ", public suffix")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            let _ = writeln!(
                out,
                "  {:>NUMBER_WIDTH$}  {} ({}{marks})",
                grouped(row.queries),
                row.name,
                row.relation.as_str()
            );
        }
    }
    if is_new(|scale| &scale.let_pass_by) {
        rows(out, report, &format!("let pass by, {name}"), &scale.let_pass_by, top);
    }
    if is_new(|scale| &scale.already_by) {
        rows(out, report, &format!("taken first by, {name}"), &scale.already_by, top);
    }
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
        None => "(at or below no listed name)",
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
        if index > 0 && (digits.len() - index) % 3 == 0 {
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
