//! Logs: to standard error, for people or for machines. Queries are never logged.
//!
//! A log that cannot be written harms nothing: lines go to a thread of their own over a bounded queue, and one that finds no room
//! there, or no reader or disk in the end, is counted as lost. So nobody who logs ever waits or fails, whether standard error is
//! a pipe whose reader has gone, one whose reader has stopped reading, or a file on a full disk.

use std::fmt::{Debug, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{self, Writer};

use crate::plain;
use crate::problem::{Problem, Severity};

/// Lines that may wait to be written: more than a start with many problems says at once.
const QUEUE: usize = 4096;
/// How long the end waits for lines that have not been written.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Problems logged at a time; `sinkscope check` prints all.
const MAX_LOGGED: usize = 20;
/// After a write that a non-blocking pipe had no room for.
const PAUSE: Duration = Duration::from_millis(10);

/// The way to the thread that writes, once there is one.
static LINES: OnceLock<Lines> = OnceLock::new();
/// Lines lost so far.
static LOST: AtomicU64 = AtomicU64::new(0);
/// Whether the last line could not be written.
static FAILS: AtomicBool = AtomicBool::new(false);

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// For whom.
    pub format: Format,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What stops something from working.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And everything else.
    Trace,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl Level {
    /// The word the configuration uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// What sets another level, once there is a log.
static SET_LEVEL: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Logs as much as `level` says from now on, if there is a log.
pub fn set_level(level: Level) {
    if let Some(set) = SET_LEVEL.get() {
        set(filter(level));
    }
}

/// What a level lets through.
fn filter(log: Level) -> EnvFilter {
    let level = match log {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Libraries log each request and each lost connection: theirs is heard only when somebody asked for everything.
    let libraries = if log == Level::Trace { LevelFilter::TRACE } else { LevelFilter::ERROR };
    let directives = [format!("{libraries}"), format!("sinkscope={level}")];
    let directives = directives.iter().filter_map(|text| text.parse().ok());
    directives.fold(EnvFilter::default(), EnvFilter::add_directive)
}

/// Sends what is logged from now on to standard error; a second call changes nothing.
pub fn init(log: Log) {
    let lines = LINES.get_or_init(Lines::start);
    let writer = move || lines;
    let filter = filter(log.level);
    let shown = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    // It fails only if a logger is there already, as in tests: that one stays.
    match log.format {
        Format::Text => {
            let shown = shown.fmt_fields(fields()).with_ansi(io::stderr().is_terminal());
            let shown = shown.with_filter_reloading();
            let level = shown.reload_handle();
            if shown.try_init().is_ok() {
                // An error means that the log is gone, and with it what could be set.
                let _ = SET_LEVEL.set(Box::new(move |filter| drop(level.reload(filter))));
            }
        }
        Format::Json => {
            let shown = shown.json().flatten_event(true).with_current_span(false).with_filter_reloading();
            let level = shown.reload_handle();
            if shown.try_init().is_ok() {
                // As above.
                let _ = SET_LEVEL.set(Box::new(move |filter| drop(level.reload(filter))));
            }
        }
    }
    // The usual hook writes to standard error itself, and waits for whoever reads it.
    std::panic::set_hook(Box::new(|what| {
        let what = what.to_string().replace('\n', " ");
        tracing::error!("a fault of this program, please report it: {what}");
        // With the main thread the process ends.
        if thread::current().name() == Some("main") {
            flush();
        }
    }));
}

/// Logs problems, the first few of them.
pub fn problems(problems: &[Problem]) {
    for problem in problems.iter().take(MAX_LOGGED) {
        let text = one_line(problem);
        match problem.severity {
            Severity::Error => tracing::error!("{text}"),
            Severity::Warning => tracing::warn!("{text}"),
        }
    }
    if let Some(more) = problems.len().checked_sub(MAX_LOGGED).filter(|&more| more > 0) {
        tracing::warn!("and {more} more problems: `sinkscope check` prints all");
    }
}

/// A problem as one line of a log, which has a level of its own.
fn one_line(problem: &Problem) -> String {
    let mut text = problem.file.clone();
    if let Some(line) = problem.line {
        let _ = write!(text, ":{line}");
    }
    let _ = write!(text, ": {}", problem.message);
    if !problem.hint.is_empty() {
        let _ = write!(text, " ({})", problem.hint);
    }
    text
}

/// Lines that could not be written so far.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// What is wrong with the log now, if anything is.
pub fn trouble() -> Option<String> {
    FAILS.load(Ordering::Relaxed).then(|| format!("it cannot be written; {} lines are lost so far", lost()))
}

/// Waits until what was logged is written, but not for long.
pub fn flush() {
    let Some(lines) = LINES.get() else { return };
    let (done, written) = sync_channel(1);
    if lines.0.try_send(Item::Flush(done)).is_ok() {
        // Not in time: whoever reads it does not read.
        let _ = written.recv_timeout(LAST_WAIT);
    }
}

/// What goes to the thread that writes.
enum Item {
    /// A line.
    Line(Vec<u8>),
    /// Whom to tell that all before it is written.
    Flush(SyncSender<()>),
}

/// The way to the thread that writes.
struct Lines(SyncSender<Item>);

impl Lines {
    /// Starts the thread. Without one, for the system has none to give, all is lost and counted.
    fn start() -> Lines {
        let (lines, queue) = sync_channel(QUEUE);
        let _ = thread::Builder::new().name("log".into()).spawn(move || write(&queue, &mut io::stderr()));
        Lines(lines)
    }
}

impl Write for &Lines {
    /// Takes a line: the formatter hands over each in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Item::Line(line.to_vec())).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
            FAILS.store(true, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines as they come, until there will be none. Says how many were lost as soon as one can be written again.
fn write(queue: &Receiver<Item>, out: &mut impl Write) {
    let mut told = 0;
    for item in queue {
        match item {
            Item::Line(line) => {
                let written = write_whole(out, &line);
                FAILS.store(written.is_err(), Ordering::Relaxed);
                if written.is_err() {
                    LOST.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let lost = lost();
                if lost > told {
                    tracing::warn!("{} lines of this log are lost: they could not be written", lost - told);
                    told = lost;
                }
            }
            Item::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// Writes all of a line; a pipe that is shared with others may be one that does not wait.
fn write_whole(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes what is logged for people. A line is one record whatever is in it: texts of others may be.
fn fields() -> impl for<'w> FormatFields<'w> + 'static {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let value = format!("{value:?}");
        let shown = plain::escaped(&value);
        if field.name() == "message" { write!(writer, "{shown}") } else { write!(writer, "{field}={shown}") }
    };
    format::debug_fn(field).delimited(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_problem_is_one_line_in_a_log() {
        let problem = Problem::error("a.toml", Some(3), "it is wrong").hint("mend it");
        assert_eq!(one_line(&problem), "a.toml:3: it is wrong (mend it)");
    }

    /// A disk that is full for the lines with these numbers, and takes the others in small pieces.
    struct Disk {
        full: std::ops::Range<usize>,
        begun: usize,
        held: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            if self.full.contains(&self.begun) {
                self.begun += 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let piece = &octets[..octets.len().min(3)];
            self.begun += usize::from(piece.len() == octets.len());
            self.held.extend_from_slice(piece);
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_counted_and_the_rest_goes_on() {
        let (lines, queue) = sync_channel(8);
        let lines = Lines(lines);
        for number in 0..10 {
            // Nobody writes yet: two find no room, and whoever logs does not notice.
            let line = format!("line {number}\n");
            assert_eq!((&lines).write(line.as_bytes()).unwrap(), line.len());
        }
        assert_eq!((lost(), trouble().is_some()), (2, true));
        drop(lines);
        let mut disk = Disk { full: 2..5, begun: 0, held: Vec::new() };
        write(&queue, &mut disk);
        assert_eq!(String::from_utf8(disk.held).unwrap(), "line 0\nline 1\nline 5\nline 6\nline 7\n");
        assert_eq!((lost(), trouble()), (5, None));
    }

    /// Where a test's lines go.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shown {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let shown = Shown::default();
        let made = shown.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .fmt_fields(fields())
            .with_writer(move || made.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let why = "x\n2026-01-01T00:00:00Z  INFO order b: lift by token root\u{1b}[1A\r\u{202e}";
            tracing::info!(names = 3, id = %why, "order a: lift ({why})");
        });
        let escaped = "x\\n2026-01-01T00:00:00Z  INFO order b: lift by token root\\u001b[1A\\r\\u202e";
        let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, format!(" INFO order a: lift ({escaped}) names=3 id={escaped}\n"));
    }
}
