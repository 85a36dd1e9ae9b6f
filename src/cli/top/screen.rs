//! A moment as it is drawn.

use std::collections::VecDeque;

use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline, Wrap};
use ratatui::{Frame, Terminal};

use super::moment::{Moment, SOURCES, Waits};
use super::window::Often;
use crate::plain;

/// Moments that are remembered: more than a terminal is wide.
const REMEMBERED: usize = 300;
/// Columns of a source's bar.
const BAR: usize = 30;

/// What is drawn.
#[derive(Default)]
pub(super) struct Screen {
    moment: Moment,
    /// Queries a second, the last behind.
    rates: VecDeque<u64>,
    /// Why there is no newer moment, if that is so.
    trouble: Option<String>,
}

impl Screen {
    /// From now on this is so.
    pub(super) fn show(&mut self, moment: Moment) {
        if self.rates.len() == REMEMBERED {
            self.rates.pop_front();
        }
        self.rates.push_back(moment.queries.round() as u64);
        (self.moment, self.trouble) = (moment, None);
    }

    /// Nobody says what is so.
    pub(super) fn fails(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// Draws all of it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let sources = SOURCES.len() as u16 + 2;
        let rows =
            [Constraint::Length(1), Constraint::Length(sources), Constraint::Fill(1), Constraint::Fill(2)];
        let [head, counts, orders, lately] = Layout::vertical(rows).areas(frame.area());
        let halves = [Constraint::Fill(1), Constraint::Fill(1)];
        let [from, rate] = Layout::horizontal(halves).areas(counts);
        let [by, waits] = Layout::horizontal([Constraint::Fill(2), Constraint::Length(26)]).areas(orders);
        let [names, clients] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(lately);
        frame.render_widget(self.head(), head);
        frame.render_widget(boxed(" answers a second ", self.sources()), from);
        self.draw_rate(frame, rate);
        frame.render_widget(boxed(" orders ", self.orders()), by);
        frame.render_widget(boxed(" waited for upstream ", waited(&self.moment.waits)), waits);
        let now = &self.moment.lately;
        let heard = |title: &str, often| match now.deaf {
            None => boxed(title, self.often(often)),
            Some(_) => boxed(title, self.often(often)).wrap(Wrap { trim: false }),
        };
        frame.render_widget(heard(" names of the last 10 s ", &now.names), names);
        let title = match now.lost {
            0 => " clients of the last 10 s ".to_owned(),
            lost => format!(" clients; {lost} queries not seen "),
        };
        frame.render_widget(heard(&title, &now.clients), clients);
    }

    /// All of it as text, for so many columns and rows.
    pub(super) fn text(&self, (width, height): (u16, u16)) -> String {
        // Drawing into memory cannot fail.
        let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
        let Ok(_) = terminal.draw(|frame| self.draw(frame));
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let rows = cells.chunks(usize::from(width.max(1)));
        rows.map(|row| format!("{}\n", row.concat().trim_end())).collect()
    }

    /// The first line.
    fn head(&self) -> Line<'static> {
        let Moment { queries, waiting, connections, cached, .. } = self.moment;
        let mut spans = vec![
            Span::from("sinkscope top").bold(),
            Span::from(format!(
                "  {} queries/s  {waiting} waiting  {connections} TCP connections  {cached} answers cached  ",
                number(queries)
            )),
        ];
        match &self.trouble {
            Some(why) => spans.push(Span::from(plain::escaped(why).into_owned()).red()),
            None => spans.push(Span::from("q quits").dim()),
        }
        Line::from(spans)
    }

    /// A line for each place that answers come from.
    fn sources(&self) -> Vec<Line<'static>> {
        let rates = &self.moment.sources;
        let all: f64 = rates.iter().map(|rate| rate.per_second).sum();
        let line = |rate: &super::moment::Rate| {
            let share = if all > 0.0 { rate.per_second / all } else { 0.0 };
            let color = match rate.what {
                "sinkholed" => Color::Red,
                "failed" | "refused" => Color::Yellow,
                "stale" => Color::Magenta,
                _ => Color::Green,
            };
            let bar = "█".repeat((share * BAR as f64).round() as usize);
            Line::from(vec![
                Span::from(format!("{:9} {:>9} ", rate.what, number(rate.per_second))),
                Span::styled(bar, Style::new().fg(color)),
            ])
        };
        rates.iter().map(line).collect()
    }

    /// How many came, over the time that is remembered.
    fn draw_rate(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(" queries a second ");
        let inner = block.inner(area);
        let shown = self.rates.len().saturating_sub(usize::from(inner.width));
        let rates: Vec<u64> = self.rates.iter().skip(shown).copied().collect();
        frame.render_widget(block, area);
        frame.render_widget(Sparkline::default().data(&rates).style(Style::new().fg(Color::Cyan)), inner);
    }

    /// A line for each order that had to do with anything.
    fn orders(&self) -> Vec<Line<'static>> {
        let line = |one: &super::moment::OrderRate| {
            let id = plain::escaped(&one.order);
            Line::from(format!("{:>8}/s {:>11}  {id}", number(one.per_second), one.hits))
        };
        match &self.moment.orders[..] {
            [] => vec![Line::from("none had to do with a query yet").dim()],
            orders => orders.iter().map(line).collect(),
        }
    }

    /// A line for each name or client.
    fn often(&self, often: &[Often]) -> Vec<Line<'static>> {
        if let Some(why) = &self.moment.lately.deaf {
            return vec![Line::from(plain::escaped(why).into_owned()).yellow()];
        }
        let line = |one: &Often| {
            let text = format!("{:>8}  {}", one.queries, plain::escaped(&one.what));
            let style = if one.captured > 0 { Style::new().fg(Color::Red) } else { Style::new() };
            Line::styled(text, style)
        };
        often.iter().map(line).collect()
    }
}

/// Lines in a box; what does not fit is left out.
fn boxed<'l>(title: &str, lines: Vec<Line<'l>>) -> Paragraph<'l> {
    Paragraph::new(lines).block(Block::bordered().title(title.to_owned()))
}

/// How long was waited.
fn waited(waits: &Waits) -> Vec<Line<'static>> {
    let bound = |bound: Option<u64>| match bound {
        Some(us) if us < 1000 => format!("{us} us"),
        Some(us) => format!("{} ms", us / 1000),
        None if waits.count > 0 => "longer".to_owned(),
        None => "-".to_owned(),
    };
    let line = |what: &str, time| Line::from(format!("{what:12} {:>9}", bound(time)));
    vec![
        Line::from(format!("{:12} {:>9}", "queries", waits.count)),
        line("half up to", waits.p50_us),
        line("90 % up to", waits.p90_us),
        line("99 % up to", waits.p99_us),
    ]
}

/// A number a second: a digit behind the point where it is small.
fn number(rate: f64) -> String {
    if rate < 9.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

#[cfg(test)]
mod tests {
    use super::super::moment::{OrderRate, Rate};
    use super::super::window::Lately;
    use super::*;

    /// Somebody, so often.
    fn often(what: &str, queries: u64, captured: u64) -> Often {
        Often { what: what.into(), queries, captured }
    }

    /// A moment in which all sorts of things were so.
    fn moment() -> Moment {
        let rates = [2468.0, 1.0, 9000.0, 0.0, 800.4, 2.5, 12.0];
        let sources = SOURCES.iter().zip(rates).map(|((what, _), per_second)| Rate { what, per_second });
        let order = |order: &str, per_second, hits| OrderRate { order: order.into(), per_second, hits };
        Moment {
            seconds: 1.0,
            queries: 12_283.9,
            sources: sources.collect(),
            orders: vec![
                order("us-nv-2014-cv-00987", 2400.0, 1_234_567),
                order("hostile\u{1b}[2J", 68.0, 99),
            ],
            waits: Waits { count: 800, p50_us: Some(500), p90_us: Some(20_000), p99_us: None },
            waiting: 3,
            connections: 2,
            cached: 123_456,
            lately: Lately {
                names: vec![often("listed-host.ddns.net", 24_000, 24_000), often("www.example.com", 512, 0)],
                clients: vec![often("192.0.2.77", 20_000, 20_000), often("2001:db8::1", 7, 0)],
                heard: 24_512,
                lost: 17,
                deaf: None,
            },
        }
    }

    #[test]
    fn a_moment_as_it_is_drawn() {
        let mut screen = Screen::default();
        for queries in [1000.0, 4000.0, 8000.0] {
            screen.show(Moment { queries, ..moment() });
        }
        screen.show(moment());
        let text = screen.text((100, 22));
        if std::env::var_os("SINKSCOPE_BLESS").is_some() {
            let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/top.txt");
            std::fs::write(golden, &text).unwrap();
            return;
        }
        assert!(text == include_str!("../../../tests/golden/top.txt"), "{text}");
    }

    #[test]
    fn what_keeps_it_from_being_told_is_drawn() {
        let mut screen = Screen::default();
        let lately = Lately { deaf: Some("this server has no query log".into()), ..Lately::default() };
        screen.show(Moment { lately, ..moment() });
        screen.fails("no server answers".into());
        let text = screen.text((120, 22));
        assert!(
            text.contains("no server answers") && text.contains("│this server has no query log"),
            "{text}"
        );
        // A terminal that is too small for anything takes nothing down.
        for size in [(1, 1), (3, 40), (200, 2)] {
            screen.text(size);
        }
    }

    #[test]
    fn colours_say_what_orders_take() {
        let mut screen = Screen::default();
        screen.show(moment());
        let mut terminal = Terminal::new(TestBackend::new(100, 22)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let color = |text: &str| {
            let row = |y: u16| (0..100).map(|x| buffer[(x, y)].symbol()).collect::<String>();
            let y = (0..22).find(|y| row(*y).contains(text)).unwrap();
            let x = (0..100)
                .find(|x| (*x..100).map(|x| buffer[(x, y)].symbol()).collect::<String>().starts_with(text));
            buffer[(x.unwrap(), y)].fg
        };
        assert_eq!(color("listed-host"), Color::Red);
        assert_eq!(color("www.example.com"), Color::Reset);
    }
}
