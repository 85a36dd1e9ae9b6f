//! The report as a page with plots: one file, nothing fetched.

use std::fmt::Write as _;

use super::report::{Interval, Report};
use crate::trace::html::{COLOURS, END, begin, escaped, nice, short};

/// Width of a plot in pixels, labels included.
const WIDTH: f64 = 860.0;
/// Height of a plot.
const HEIGHT: f64 = 280.0;
/// Room for labels: left, and below.
const MARGIN: (f64, f64) = (76.0, 40.0);
/// Room to the right.
const EDGE: f64 = 16.0;
/// Room above: what the lines are stands there, clear of the topmost label.
const HEAD: f64 = 28.0;
impl Report {
    /// A page with plots, complete in itself.
    pub fn html(&self) -> String {
        page(self)
    }
}

/// The page.
fn page(report: &Report) -> String {
    let mut page = String::with_capacity(32 * 1024);
    let title = format!("{} against {}", report.trace, report.server);
    begin(&mut page, &title, "");
    let _ = writeln!(page, "<h1>Replay</h1>\n<p>{}</p>", escaped(&title));
    for note in &report.notes {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(note));
    }
    page.push_str("<table>\n");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(page, "<tr><th>{}</th><td class=\"n\">{}</td></tr>", escaped(name), escaped(&value));
    };
    row("address", report.address.clone());
    row("pace", report.pace.clone());
    row("flows, threads", format!("{}, {}", report.flows, report.threads));
    row("seconds", format!("{:.2}", report.elapsed_s));
    row("sent", report.sent.to_string());
    row("received", report.received.to_string());
    row("lost", report.lost.to_string());
    row("replies a second", format!("{:.0}", report.qps));
    for name in ["p50", "p90", "p99", "p99.9", "max"] {
        row(
            &format!("latency {name}, µs"),
            format!("{:.1}", report.latency_us.get(name).copied().unwrap_or(0.0)),
        );
    }
    if let Some(cpu) = &report.server_cpu {
        row("server CPU, µs a query", format!("{:.2} ({:.2} user)", cpu.us_per_query, cpu.user_us_per_query));
        row("server cores busy", format!("{:.2}", cpu.cores));
    }
    for (title, counts) in [("rcode", &report.rcodes), ("EDE", &report.edes)] {
        for (code, count) in counts {
            row(&format!("{title} {code}"), count.to_string());
        }
    }
    page.push_str("</table>\n");
    page.push_str(&latency(report));
    let rate = |count: u64, interval: &Interval| count as f64 / interval.seconds as f64;
    // The first and last interval are short of a whole one only in name; they are drawn as they are.
    let over_time = |value: &dyn Fn(&Interval) -> f64| -> Vec<(f64, f64)> {
        report.series.iter().map(|interval| (interval.at_s as f64, value(interval))).collect()
    };
    page.push_str("<h2>Rate over time</h2>\n");
    page.push_str(&plot(
        &Axes { x: "seconds", y: "a second", log_y: false },
        &[
            ("sent", over_time(&|interval| rate(interval.sent, interval))),
            ("lost", over_time(&|interval| rate(interval.lost, interval))),
            ("received", over_time(&|interval| rate(interval.received, interval))),
        ],
    ));
    page.push_str("<h2>Latency over time</h2>\n");
    page.push_str(&plot(
        &Axes { x: "seconds", y: "µs", log_y: true },
        &[("p50", over_time(&|interval| interval.p50_us)), ("p99", over_time(&|interval| interval.p99_us))],
    ));
    page.push_str(END);
    page
}

/// Latency by percentile: each step to the right leaves half as many replies beyond.
fn latency(report: &Report) -> String {
    let points: Vec<(f64, f64)> =
        report.percentiles.iter().map(|&(share, us)| (-(1.0 - share).log2(), us)).collect();
    let axes = Axes { x: "halvings: 1 is p50, 3.3 is p90, 6.6 is p99, 10 is p99.9", y: "µs", log_y: true };
    format!("<h2>Latency by percentile</h2>\n{}", plot(&axes, &[("latency", points)]))
}

/// What a plot's axes say.
struct Axes {
    x: &'static str,
    y: &'static str,
    /// Powers of ten go up.
    log_y: bool,
}

/// A plot of lines.
fn plot(axes: &Axes, lines: &[(&str, Vec<(f64, f64)>)]) -> String {
    let scaled = |y: f64| if axes.log_y { y.max(0.1).log10() } else { y };
    let all = || lines.iter().flat_map(|(_, points)| points);
    let (right, top) =
        all().fold((1.0f64, scaled(1.0)), |(x, y), point| (x.max(point.0), y.max(scaled(point.1))));
    let bottom =
        if axes.log_y { all().map(|point| scaled(point.1)).fold(top, f64::min).floor() } else { 0.0 };
    let top = if axes.log_y { top.ceil().max(bottom + 1.0) } else { nice(top) };
    let x_at = |x: f64| MARGIN.0 + x / right * (WIDTH - MARGIN.0 - EDGE);
    let y_at = |y: f64| HEIGHT - MARGIN.1 - (y - bottom) / (top - bottom) * (HEIGHT - MARGIN.1 - HEAD);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", axes.y);
    let steps = if axes.log_y { (top - bottom) as u32 } else { 4 };
    for step in 0..=steps.max(1) {
        let value = bottom + (top - bottom) * f64::from(step) / f64::from(steps.max(1));
        let shown = if axes.log_y { 10f64.powf(value) } else { value };
        let y = y_at(value);
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" class=\"grid\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            MARGIN.0,
            WIDTH - EDGE,
            MARGIN.0 - 6.0,
            y + 4.0,
            short(shown)
        );
    }
    for step in 0..=5 {
        let value = right * f64::from(step) / 5.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x_at(value),
            HEIGHT - MARGIN.1 + 16.0,
            short(value)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        WIDTH / 2.0,
        HEIGHT - 6.0,
        axes.x
    );
    let _ = writeln!(svg, "<text x=\"6\" y=\"12\">{}</text>", axes.y);
    for (((name, points), colour), index) in lines.iter().zip(COLOURS).zip(0..) {
        svg.push_str("<polyline fill=\"none\" stroke-width=\"2\" stroke=\"");
        svg.push_str(colour);
        svg.push_str("\" points=\"");
        for &(x, y) in points {
            let _ = write!(svg, "{:.1},{:.1} ", x_at(x), y_at(scaled(y)));
        }
        svg.push_str("\"/>\n");
        let x = MARGIN.0 + 12.0 + 110.0 * f64::from(index);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"4\" width=\"14\" height=\"4\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"12\">{name}</text>",
            x + 18.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_of_nothing_are_plots() {
        for log_y in [false, true] {
            let svg =
                plot(&Axes { x: "x", y: "y", log_y }, &[("none", Vec::new()), ("zero", vec![(0.0, 0.0)])]);
            assert!(
                svg.starts_with("<svg")
                    && svg.ends_with("</svg>\n")
                    && !svg.contains("NaN")
                    && !svg.contains("inf"),
                "{svg}"
            );
        }
    }
}
