//! What pages of reports share: one file each, nothing fetched, light or dark as the reader has it.

use std::fmt::Write as _;

/// Colours that are told apart also without colour vision (Okabe and Ito): blue, vermilion, green.
pub(super) const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];
/// How a page ends.
pub(crate) const END: &str = "</body></html>\n";
/// How all pages look.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#222;--soft:#555;--paper:#fff;--line:#ddd;--note:#fff4ec;--blue:#0072b2;--red:#d55e00;--green:#009e73}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e4e4;--soft:#aaa;--paper:#181a1b;--line:#3a3d3f;--note:#33261c;\
--blue:#56b4e9;--red:#f0803c;--green:#2bc79a}}\
body{font:15px/1.45 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:var(--ink);background:var(--paper)}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.15em .8em;text-align:left;border-bottom:1px solid var(--line)}\
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%;height:auto}text{font-size:12px;fill:var(--soft)}\
.grid{stroke:var(--line)}.note{border-left:4px solid var(--red);padding:.3em .8em;background:var(--note)}";

/// Begins a page; `style` is what it needs beyond what all have.
pub(crate) fn begin(page: &mut String, title: &str, style: &str) {
    let _ = writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\n\
         <style>{STYLE}{style}</style></head><body>",
        escaped(title)
    );
}

/// The next number with one digit that is not below, so that axes end at round numbers.
pub(crate) fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1.0).log10().floor());
    (value / power).ceil().max(1.0) * power
}

/// A number as an axis says it.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.3}M", value / 1e6).replace(".000", ""),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

/// Text as HTML shows it, in attributes too.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expected) in [(0.0, 1.0), (1.0, 1.0), (9.1, 10.0), (101.0, 200.0), (250_000.0, 300_000.0)]
        {
            assert_eq!(nice(value), expected);
        }
        for (value, expected) in
            [(0.0, "0"), (0.5, "0.5"), (12.0, "12"), (25_000.0, "25k"), (2e6, "2M"), (2.5e6, "2.500M")]
        {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
