//! `sinkscope report`: who asked for what orders take, from the database that the server keeps.

mod page;
mod places;
mod stix;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use self::places::{Place, Places};
use super::{PROBLEMS, say};
use crate::access::Network;
use crate::config::Config;
use crate::evidence::read::{OrderReport, ReadError, Reader, Reckoned, Sighted, SourceRow, Wanted};
use crate::evidence::{FILE, day_of};
use crate::orders::time;
use crate::plain;
use crate::problem::Problem;
use crate::system;
use crate::time::UnixSeconds;

/// What to report, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Report on this order alone
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,
    /// From this day on (UTC): 2014-06-30 [default: the first there is]
    #[arg(long, value_name = "DAY", value_parser = time::parse)]
    pub since: Option<UnixSeconds>,
    /// Up to this day (UTC), which is included [default: today]
    #[arg(long, value_name = "DAY", value_parser = time::parse)]
    pub until: Option<UnixSeconds>,
    /// What it looks like [default: table, with --for-isp shadowserver]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Report on clients of these networks alone, as far as what is kept of them tells: 192.0.2.0/24
    #[arg(long, value_name = "PREFIX", num_args = 1.., value_parser = network)]
    pub for_isp: Vec<Network>,
    /// Name so many names and clients of each order
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub top: usize,
    /// Tell by this file in MaxMind's format (MMDB) where clients are, in Shadowserver's columns; may be repeated [default: evidence.mmdb]
    #[arg(long, value_name = "FILE")]
    pub mmdb: Vec<PathBuf>,
    /// Read this database [default: evidence.db in the state folder]
    #[arg(long, value_name = "FILE")]
    pub database: Option<PathBuf>,
    /// The server's state folder [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state: Option<String>,
}

/// What a report looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// All that is told, for programs
    Json,
    /// A line for each day of an order
    Csv,
    /// A page by itself, with plots
    Html,
    /// STIX 2.1: what was sighted, not by whom
    Stix,
    /// A line for each sighting, as Shadowserver's sinkhole DNS report has them
    Shadowserver,
}

/// The columns of Shadowserver's sinkhole DNS report, in its order.
const SHADOWSERVER: [&str; 20] = [
    "timestamp",
    "protocol",
    "src_ip",
    "src_port",
    "src_asn",
    "src_geo",
    "src_region",
    "src_city",
    "src_hostname",
    "src_naics",
    "src_sector",
    "device_vendor",
    "device_type",
    "device_model",
    "infection",
    "family",
    "tag",
    "query_type",
    "query",
    "count",
];

/// The columns of the CSV.
const CSV: [&str; 7] = ["order", "family", "day", "queries", "clients", "first", "last"];

/// The JSON as a whole.
#[derive(Serialize)]
struct Document<'d> {
    /// The networks that it is about; none for everybody.
    networks: Vec<String>,
    /// Queries of all orders together.
    queries: u64,
    /// Each order and family.
    orders: &'d [OrderReport],
}

/// Reports as of `now`. Gives back the exit code: 0, or 1 when there is nothing to read.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(config: &Config, args: &Args, out: &mut impl Write, now: UnixSeconds) -> io::Result<u8> {
    let state = config.orders.state.as_ref().map(|folder| folder.join(FILE));
    let Some(path) = args.database.clone().or(state) else {
        let hint = "name the state folder with --state, or the file with --database";
        say(&[Problem::error("report", None, "there is no state folder to read evidence from").hint(hint)]);
        return Ok(PROBLEMS);
    };
    let first = args.since.map_or(0, day_of);
    let wanted = Wanted {
        order: args.order.clone(),
        days: (first, day_of(args.until.unwrap_or(now))),
        networks: args.for_isp.clone(),
        top: args.top,
    };
    let default = if wanted.networks.is_empty() { Format::Table } else { Format::Shadowserver };
    // Over millions of sightings it works for seconds, and those who answer come first.
    system::run_when_idle();
    let files = if args.mmdb.is_empty() { &config.evidence.mmdb } else { &args.mmdb };
    let written = Reader::open(&path).and_then(|reader| match args.format.unwrap_or(default) {
        Format::Shadowserver => shadowserver(&reader, &wanted, Places::read(files), out),
        format => {
            let reports = reader.report(&wanted)?;
            let written = match format {
                Format::Json => json(&reports, &wanted, out),
                Format::Csv => csv(&reports, out),
                Format::Html => write!(out, "{}", page::page(&reports, &wanted)),
                Format::Stix => writeln!(out, "{:#}", stix::bundle(&reports, now)),
                Format::Table | Format::Shadowserver => table(&reports, &wanted, out),
            };
            Ok(written.map(|()| Vec::new()))
        }
    });
    match written {
        Ok(written) => written.map(|problems| {
            say(&problems);
            if problems.is_empty() { 0 } else { PROBLEMS }
        }),
        Err(error) => {
            let hint = match error {
                ReadError::Missing => "set `on = true` under [evidence], and have the server restarted",
                _ => "",
            };
            say(&[Problem::error(path.display().to_string(), None, error.to_string()).hint(hint)]);
            Ok(PROBLEMS)
        }
    }
}

/// Reads a network.
fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error| format!("{error}: write 192.0.2.0/24 or 2001:db8::/32"))
}

/// For people.
fn table(reports: &[OrderReport], wanted: &Wanted, out: &mut impl Write) -> io::Result<()> {
    if reports.is_empty() {
        return writeln!(out, "no query of that time was decided by an order");
    }
    for (index, report) in reports.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let family = if report.family.is_empty() { String::new() } else { format!(", {}", report.family) };
        writeln!(out, "order {}{family}", plain::escaped(&report.order))?;
        let about = match report.clients_are {
            Reckoned::Estimated => "about ",
            Reckoned::AtMost => "at most about ",
            Reckoned::Counted => "",
        };
        writeln!(out, "  queries   {}", report.queries)?;
        writeln!(out, "  clients   {about}{}", report.clients)?;
        writeln!(out, "  seen      {} to {}", report.first, report.last)?;
        writeln!(out, "  {:12} {:>12} {:>10}", "day", "queries", "clients")?;
        for day in &report.days {
            writeln!(out, "  {:12} {:>12} {:>10}", day.day, day.queries, day.clients)?;
        }
        for (what, most) in [("names", &report.names), ("clients", &report.most)] {
            if !most.is_empty() && wanted.top > 0 {
                writeln!(out, "  {what} that come most often")?;
            }
            for one in most {
                writeln!(out, "  {:>12}  {}", one.queries, plain::escaped(&one.what))?;
            }
        }
        if report.unknown > 0 {
            let why = "by privacy, or for want of room";
            writeln!(out, "  of {} queries it is not known who asked, or for what: {why}", report.unknown)?;
        }
    }
    Ok(())
}

/// For programs.
fn json(reports: &[OrderReport], wanted: &Wanted, out: &mut impl Write) -> io::Result<()> {
    let document = Document {
        networks: wanted
            .networks
            .iter()
            .map(|network| format!("{}/{}", network.addr(), network.prefix()))
            .collect(),
        queries: reports.iter().map(|report| report.queries).sum(),
        orders: reports,
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// A line for each day of an order.
fn csv(reports: &[OrderReport], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", CSV.join(","))?;
    for report in reports {
        for day in &report.days {
            let words = [&report.order, &report.family, &day.day].map(|word| quoted(word)).join(",");
            let times = [&report.first, &report.last].map(|word| quoted(word)).join(",");
            writeln!(out, "{words},{},{},{times}", day.queries, day.clients)?;
        }
    }
    Ok(())
}

/// A line for each sighting of which the client's address is kept, as Shadowserver has them. Of the others it is said how many there are,
/// for the file has no place for them. Gives back what is wrong with files of places.
fn shadowserver(
    reader: &Reader,
    wanted: &Wanted,
    mut places: Places,
    out: &mut impl Write,
) -> Result<io::Result<Vec<Problem>>, ReadError> {
    let header: Vec<String> = SHADOWSERVER.iter().map(|column| quoted(column)).collect();
    if let Err(error) = writeln!(out, "{}", header.join(",")) {
        return Ok(Err(error));
    }
    let mut left_out: BTreeMap<&str, u64> = BTreeMap::new();
    for source in reader.sources(wanted.order.as_deref())? {
        let done = reader.each(&source, wanted, |sighted| {
            match (sighted.client.address(), sighted.name.is_empty()) {
                (Some(client), false) => {
                    return writeln!(out, "{}", line(&source, &sighted, &places.of(client)));
                }
                (None, _) => *left_out.entry("no address of who asked is kept").or_default() += sighted.count,
                (Some(_), true) => *left_out.entry("no name is kept").or_default() += sighted.count,
            }
            Ok(())
        })?;
        if let Err(error) = done {
            return Ok(Err(error));
        }
    }
    for (why, count) in left_out {
        let message = format!("{count} queries are not in it: {why}");
        say(&[Problem::warning("shadowserver", None, message)
            .hint("`sinkscope report --format json` counts them")]);
    }
    Ok(Ok(places.problems()))
}

/// A line of Shadowserver's: text in quotes, numbers bare, what is not known empty.
fn line(source: &SourceRow, sighted: &Sighted, place: &Place) -> String {
    let stamp = time::rfc3339(sighted.first).replace('T', " ").replace('Z', "");
    let port = if sighted.port > 0 { sighted.port.to_string() } else { String::new() };
    let infection = if source.family.is_empty() { &source.order } else { &source.family };
    // Whose order it is stands in no other column.
    let words = [source.order.as_str(), &source.tags];
    let tag = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(";");
    let columns = [
        quoted(&stamp),
        quoted(if sighted.is_stream { "tcp" } else { "udp" }),
        quoted(&sighted.client.to_string()),
        port,
        place.asn.map(|asn| asn.to_string()).unwrap_or_default(),
        // A line stays one, whoever made the file.
        quoted(&plain::escaped(&place.country)),
        quoted(&plain::escaped(&place.region)),
        quoted(&plain::escaped(&place.city)),
        // From src_hostname to src_sector, and the device: a resolver knows none of it.
        ",,,,,".into(),
        quoted(infection),
        quoted(&source.family),
        quoted(&tag),
        quoted(&sighted.qtype.to_string()),
        quoted(&sighted.name),
        sighted.count.to_string(),
    ];
    columns.join(",")
}

/// A field of a CSV as RFC 4180 §2 has it; an empty one is nothing.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_csv() {
        for (text, field) in
            [("", ""), ("a", "\"a\""), ("a,b", "\"a,b\""), ("say \"a\"", "\"say \"\"a\"\"\"")]
        {
            assert_eq!(quoted(text), field);
        }
    }
}
