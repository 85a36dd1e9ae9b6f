//! `sinkscope order`: how orders stand on the running server, and changing that.

use std::fmt::Write;
use std::process::ExitCode;

use super::Global;
use super::remote::{Remote, counted, table};
use crate::control::api::types::{
    ChangeRequest, Changed, JournalShown, OrderDetail, OrderSummary, Orders, StatementShown,
};
use crate::control::client::segment;
use crate::control::record::{Record, RecordedStanding, Verb};
use crate::plain;

/// What to do with orders.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List every order and how it stands
    List {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would take a comment here for help text")]
        remote: Remote,
    },
    /// Show all that is known of an order, and what was stated about it
    Show {
        /// The order's id
        id: String,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would take a comment here for help text")]
        remote: Remote,
    },
    /// Show who changed what about an order, or about any, and when
    History {
        /// The order's id [default: all]
        id: Option<String>,
        /// The last so many changes, at most 1000
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would take a comment here for help text")]
        remote: Remote,
    },
    /// Act on an order, or on names of it, from the next packet on
    Activate(ChangeArgs),
    /// Only count what an order, or names of it, would capture
    Observe(ChangeArgs),
    /// Lift an order, or names of it: they resolve from the next packet on, also after a restart
    Lift(ChangeArgs),
    /// Take back what was activated, observed or lifted: the order's file holds again
    Restore(ChangeArgs),
}

/// What to change.
#[derive(Debug, clap::Args)]
pub struct ChangeArgs {
    /// The order's id
    pub id: String,
    /// Only this name, not what is below it; may be repeated
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Only this zone, with everything below it; may be repeated
    #[arg(long, value_name = "ZONE")]
    pub zone: Vec<String>,
    /// Why: goes on record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub why: String,
    /// On whose behalf: goes on record
    #[arg(long, value_name = "WHO", default_value = "")]
    pub by: String,
    /// State it though the order is not loaded yet
    #[arg(long)]
    pub ahead: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Asks the server and prints.
pub fn run(global: &Global, command: Command) -> ExitCode {
    let (verb, args) = match command {
        Command::List { remote } => return remote.run(global, |client| client.get("/v1/orders"), list),
        Command::Show { id, remote } => {
            let path = format!("/v1/orders/{}", segment(&id));
            return remote.run(global, |client| client.get(&path), show);
        }
        Command::History { id, limit, remote } => {
            let order = id.map_or(String::new(), |id| format!("&order={}", segment(&id)));
            let path = format!("/v1/journal?limit={limit}&orders_only=true{order}");
            return remote.run(global, |client| client.get(&path), history);
        }
        Command::Activate(args) => (Verb::Activate, args),
        Command::Observe(args) => (Verb::Observe, args),
        Command::Lift(args) => (Verb::Lift, args),
        Command::Restore(args) => (Verb::Restore, args),
    };
    let ChangeArgs { id, name, zone, why, by, ahead, remote } = args;
    let request = ChangeRequest { names: name, zones: zone, why, by, ahead, ..ChangeRequest::default() };
    let path = format!("/v1/orders/{}/{verb}", segment(&id));
    remote.run(global, |client| client.post(&path, &request), changed)
}

/// Every order as a table.
fn list(orders: &Orders) -> String {
    let row = |order: &OrderSummary| {
        vec![
            order.id.clone(),
            order.state.as_str().to_string(),
            remarks(order),
            order.action.clone(),
            order.names.to_string(),
            format!("{} s", order.bound_s),
            order.title.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = orders.orders.iter().map(row).collect();
    let headings = ["ORDER", "STATE", "REMARKS", "ACTION", " NAMES", " TTL", "TITLE"];
    let mut text = if rows.is_empty() { "no orders are loaded\n".into() } else { table(&headings, &rows) };
    for statement in &orders.unknown {
        let _ = writeln!(text, "not loaded: {}", stated(statement));
    }
    text
}

/// What else a line of the list should say.
fn remarks(order: &OrderSummary) -> String {
    let mut remarks = Vec::new();
    if let Some(until) = &order.held_until {
        remarks.push(format!("until {until}"));
    } else if order.stated {
        remarks.push("stated".to_string());
    }
    if order.exceptions > 0 {
        remarks.push(counted(order.exceptions, "exception"));
    }
    if order.review_due {
        remarks.push("review due".into());
    }
    remarks.join(", ")
}

/// An order in full.
fn show(order: &OrderDetail) -> String {
    let summary = &order.summary;
    let when = |time: &Option<String>| time.clone().unwrap_or_default();
    let names = format!("{} (such as {})", summary.names, order.examples.join(", "));
    let review = if summary.review_due {
        format!("{} (due)", when(&summary.review_by))
    } else {
        when(&summary.review_by)
    };
    let standing =
        format!("{}{}", summary.standing, if summary.stated { ", as stated" } else { ", as its file says" });
    let lines = [
        ("title", summary.title.clone()),
        ("state", summary.state.as_str().to_string()),
        ("standing", standing),
        ("held until", when(&summary.held_until)),
        ("kind", summary.kind.clone()),
        ("issuer", order.issuer.clone()),
        ("court", order.court.clone()),
        ("docket", order.docket.clone()),
        ("action", format!("{}, TTL {} s", summary.action, summary.bound_s)),
        ("names", if order.examples.is_empty() { summary.names.to_string() } else { names }),
        ("zones", order.zones.join(", ")),
        ("effective", when(&summary.effective)),
        ("expires", when(&summary.expires)),
        ("review by", review),
        ("why", order.justification.clone()),
        ("contact", order.contact.clone()),
        ("read at", order.url.clone()),
        ("file", order.source.clone()),
    ];
    let mut text = format!("{} (revision {})\n", plain::escaped(&summary.id), order.revision);
    for (key, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "  {key:10}{}", plain::escaped(value));
    }
    for statement in &order.statements {
        let _ = writeln!(text, "  stated    {}", stated(statement));
    }
    text
}

/// Records as a table.
fn history(journal: &JournalShown) -> String {
    let row = |record: &Record| {
        vec![
            record.seq.to_string(),
            record.at.clone(),
            if record.by.is_empty() {
                record.who.clone()
            } else {
                format!("{} for {}", record.who, record.by)
            },
            record.verb.to_string(),
            record.order.clone(),
            record.names.as_ref().map_or("(whole)".into(), ToString::to_string),
            record.why.clone(),
        ]
    };
    if journal.records.is_empty() {
        return "nothing was changed\n".into();
    }
    let rows: Vec<Vec<String>> = journal.records.iter().map(row).collect();
    table(&[" NO", "AT", "WHO", "WHAT", "ORDER", "NAMES", "WHY"], &rows)
}

/// A statement in a line.
pub(super) fn stated(statement: &StatementShown) -> String {
    let StatementShown { order, names, standing, since, until, who, why } = statement;
    let until = until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
    let about = names.as_ref().map_or(format!("order {order}"), ToString::to_string);
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    plain::escaped(&format!("{about} {standing} since {since}{until} by {who}{why}")).into_owned()
}

/// What was changed.
fn changed(changed: &Changed) -> String {
    let mut text = String::new();
    for record in &changed.records {
        let about = record.names.as_ref().map_or(String::new(), |names| format!(", {names}"));
        let about = plain::escaped(&about);
        let now =
            record.standing.map_or_else(|| "as its file says".to_string(), |standing| standing.to_string());
        let was = record.from.map_or_else(|| "not loaded".to_string(), |standing| standing.to_string());
        let _ = writeln!(text, "order {}{about}: {now} (was {was})", plain::escaped(&record.order));
    }
    if let Some(bound_s) = changed.bound_s {
        let _ = writeln!(
            text,
            "every query from now on has the new answer; clients that hold the old answer lose it within {bound_s} seconds: \
             the TTL handed out"
        );
    } else if changed
        .records
        .iter()
        .any(|record| record.from.is_some_and(|from| from != RecordedStanding::InForce))
    {
        let _ = writeln!(
            text,
            "every query from now on has the new answer; clients that hold the truth keep it for its TTL"
        );
    }
    for note in &changed.notes {
        let _ = writeln!(text, "note: {}", plain::escaped(note));
    }
    if let Some(state) = changed.state {
        let _ = writeln!(text, "order {} is {}", plain::escaped(&changed.order), state.as_str());
    }
    text
}
