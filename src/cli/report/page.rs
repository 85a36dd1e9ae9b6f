//! A report as a page by itself: nothing fetched, plots as SVG.

use std::fmt::Write as _;

use super::Wanted;
use crate::evidence::read::{DayReport, Most, OrderReport, Reckoned};
use crate::trace::html::{END, begin, escaped, nice, short};

/// What this page needs beyond what all have.
const STYLE: &str =
    "rect{fill:var(--blue)}rect.c{fill:var(--green)}td,li{overflow-wrap:anywhere}h2{margin-top:2em}";
/// Width of a plot, labels included.
const WIDTH: f64 = 840.0;
/// Room to the left, for the axis.
const LEFT: f64 = 60.0;
/// Height of the columns.
const HEIGHT: f64 = 120.0;
/// Room below, for the days.
const FOOT: f64 = 20.0;
/// The most days of a plot, the last ones: a column is then two wide.
const MAX_DAYS: usize = 366;

/// The page.
pub(super) fn page(reports: &[OrderReport], wanted: &Wanted) -> String {
    let mut page = String::with_capacity(16 << 10);
    begin(&mut page, "Sightings of names that orders take", STYLE);
    page.push_str("<h1>Sightings</h1>\n<p>Queries for names that orders take, as this resolver answered them. Days are those of UTC.</p>\n");
    // Writing to a String cannot fail, here and below.
    if !wanted.networks.is_empty() {
        let networks: Vec<String> = wanted
            .networks
            .iter()
            .map(|network| format!("{}/{}", network.addr(), network.prefix()))
            .collect();
        let _ = writeln!(page, "<p>Clients of {} alone.</p>", escaped(&networks.join(", ")));
    }
    if reports.is_empty() {
        page.push_str("<p>No query of that time was decided by an order.</p>\n");
    }
    reports.iter().for_each(|report| order(&mut page, report));
    page.push_str(END);
    page
}

/// An order and family.
fn order(page: &mut String, report: &OrderReport) {
    let family = if report.family.is_empty() { String::new() } else { format!(", {}", report.family) };
    let _ = writeln!(page, "<h2>{}{}</h2>", escaped(&report.order), escaped(&family));
    let about = match report.clients_are {
        Reckoned::Estimated => "about ",
        Reckoned::AtMost => "at most about ",
        Reckoned::Counted => "",
    };
    let _ = writeln!(
        page,
        "<p>{} queries of {about}{} clients, from {} to {}.</p>",
        report.queries, report.clients, report.first, report.last
    );
    columns(page, "Queries by day", "", &report.days, |day| day.queries);
    columns(page, "Clients by day", "c", &report.days, |day| day.clients);
    most(page, "Names asked for most", &report.names);
    most(page, "Clients that asked most", &report.most);
    if report.unknown > 0 {
        let _ = writeln!(
            page,
            "<p class=\"note\">Of {} queries it is not known who asked, or for what: by privacy, or for want of room.</p>",
            report.unknown
        );
    }
}

/// Columns, one for each day that there is.
fn columns(page: &mut String, what: &str, class: &str, days: &[DayReport], of: fn(&DayReport) -> u64) {
    let days = &days[days.len().saturating_sub(MAX_DAYS)..];
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return };
    let most = nice(days.iter().map(of).max().unwrap_or(0) as f64);
    let step = (WIDTH - LEFT) / days.len() as f64;
    let bottom = HEIGHT + 6.0;
    let _ = writeln!(
        page,
        "<h3>{what}</h3>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{what}\">\n\
         <line x1=\"{LEFT}\" y1=\"6\" x2=\"{WIDTH}\" y2=\"6\" class=\"grid\"/><text x=\"{}\" y=\"12\" text-anchor=\"end\">{}</text>\
         <line x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{WIDTH}\" y2=\"{bottom}\" class=\"grid\"/>\
         <text x=\"{LEFT}\" y=\"{y}\">{}</text><text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text>",
        bottom + FOOT,
        LEFT - 6.0,
        short(most),
        first.day,
        last.day,
        y = bottom + 15.0,
    );
    for (day, place) in days.iter().zip(0_u32..) {
        let height = of(day) as f64 / most * HEIGHT;
        let _ = writeln!(
            page,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" class=\"{class}\"><title>{}: {}</title></rect>",
            LEFT + step * f64::from(place),
            bottom - height,
            (step - 1.0).clamp(1.0, 60.0),
            day.day,
            of(day)
        );
    }
    page.push_str("</svg>\n");
}

/// What comes most often.
fn most(page: &mut String, what: &str, most: &[Most]) {
    if most.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h3>{what}</h3>\n<table>");
    for one in most {
        let _ =
            writeln!(page, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", escaped(&one.what), one.queries);
    }
    page.push_str("</table>\n");
}
