//! Logs: to standard error, for people or for machines. Queries are never logged.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Format, Level, Log};

/// Sends what is logged from now on to standard error; a second call changes nothing.
pub fn init(log: Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Libraries log each request and each lost connection: theirs is heard only when somebody asked for everything.
    let libraries = if log.level == Level::Trace { LevelFilter::TRACE } else { LevelFilter::ERROR };
    let filter = EnvFilter::default();
    let directives = [format!("{libraries}"), format!("sinkscope={level}")];
    let filter =
        directives.iter().filter_map(|text| text.parse().ok()).fold(filter, EnvFilter::add_directive);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // It fails only if a logger is there already, as in tests: that one stays.
    let _ = match log.format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
}
