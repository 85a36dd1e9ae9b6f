//! `sinkscope log`: the query log in the terminal, from its file of JSON lines, as it grows and through its rotations; without a file from
//! the running server.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::remote::{Remote, fail};
use super::{Global, PROBLEMS, USAGE, say};
use crate::access::Network;
use crate::control::api::types::Lost;
use crate::control::events::Event;
use crate::name::Name;
use crate::plain;
use crate::problem::Problem;

/// Between two looks at a file that has not grown.
const PAUSE: Duration = Duration::from_millis(200);
/// Octets that are read at a time.
const PORTION: usize = 64 << 10;
/// Octets of a line at most: far beyond what the log writes, so that a file of something else fills no memory.
const MAX_LINE: usize = 64 << 10;

/// Arguments of `sinkscope log`.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// A file of JSON lines that the query log wrote [default: query_log.file of the configuration]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Show what comes from now on, also when another file is begun; without a file as the running server tells it
    #[arg(long, short)]
    pub follow: bool,
    /// Only queries for this name and names below it
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// Only queries of this client, or of a network: 192.0.2.0/24
    #[arg(long, value_name = "PREFIX")]
    pub client: Option<Network>,
    /// Only queries that an order acted on
    #[arg(long)]
    pub sinkholed: bool,
    /// Only queries that this order decided or looked on at
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// A line of the file, as far as it is shown or asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    time: String,
    client: Option<String>,
    qname: String,
    qtype: String,
    rcode: Option<String>,
    source: String,
    took_us: u64,
    verdict: String,
    order: Option<String>,
    family: Option<String>,
    trigger: Option<String>,
    observed: Vec<String>,
}

/// Shows the log.
pub fn run(global: &Global, args: &LogArgs) -> ExitCode {
    let path = match (&args.file, global.load(Some(&args.remote.overrides()))) {
        (Some(file), _) => file.clone(),
        (None, Err(code)) => return code,
        (None, Ok(config)) => match config.query_log.file {
            Some(file) => file.path,
            None if args.follow => return live(global, args),
            None => {
                let problem =
                    Problem::error("query_log.file", None, "is not set: no file holds the query log");
                let hint = "set it in the configuration of the server, name a file: sinkscope log FILE, or have the running \
                    server tell: sinkscope log --follow";
                say(&[problem.hint(hint)]);
                return ExitCode::from(USAGE);
            }
        },
    };
    let (is_colored, mut out) = (is_colored(), io::stdout().lock());
    match show(&path, args, is_colored, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(others) => {
            let problem = Problem::warning(
                path.display().to_string(),
                None,
                format!("{others} lines are no JSON of the query log"),
            );
            say(&[problem.hint("query_log.format = \"json\" writes what this reads")]);
            ExitCode::from(PROBLEMS)
        }
        // The reader has gone (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(PROBLEMS),
        Err(error) => {
            say(&[Problem::error(path.display().to_string(), None, format!("cannot be read: {error}"))]);
            ExitCode::from(PROBLEMS)
        }
    }
}

/// Whether lines are in colours.
fn is_colored() -> bool {
    let is_no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_no_color
}

/// Shows what the running server tells, until it does not.
fn live(global: &Global, args: &LogArgs) -> ExitCode {
    let client = match args.remote.client(global) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let (is_colored, mut out) = (is_colored(), io::stdout().lock());
    loop {
        let mut written = Ok(());
        let heard = client.listen("/v1/queries", |event| {
            written = tell(&event, args, is_colored, &mut out);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match (heard, written) {
            // It ends a stream after a while, and is asked for another one.
            (Ok(()), Ok(())) => thread::sleep(PAUSE),
            // The reader has gone (`| head`).
            (_, Err(_)) => return ExitCode::from(PROBLEMS),
            (Err(trouble), Ok(())) => return fail(&trouble),
        }
    }
}

/// Shows an event, if it is asked for.
fn tell(event: &Event, args: &LogArgs, is_colored: bool, out: &mut impl Write) -> io::Result<()> {
    if event.name == "lost" {
        let Lost { lost } = serde_json::from_str(&event.data).unwrap_or_default();
        let message = format!("{lost} queries are not shown: they came faster than they were taken");
        say(&[Problem::warning("log", None, message)]);
        return Ok(());
    }
    match serde_json::from_str::<Entry>(&event.data) {
        Ok(entry) if !args.wants(&entry) => return Ok(()),
        Ok(_) if args.remote.json => writeln!(out, "{}", plain::escaped(&event.data))?,
        Ok(entry) => writeln!(out, "{}", entry.shown(is_colored))?,
        // It is another version's, perhaps.
        Err(_) => return Ok(()),
    }
    out.flush()
}

/// Shows what is in the file, or comes to it, for ever; how many lines were something else.
fn show(path: &Path, args: &LogArgs, is_colored: bool, out: &mut impl Write) -> io::Result<u64> {
    let mut tail = Tail::open(path, args.follow)?;
    let mut others = 0;
    loop {
        let ended = tail.read()?;
        for line in tail.lines() {
            match serde_json::from_str::<Entry>(&line) {
                Ok(entry) if !args.wants(&entry) => {}
                Ok(_) if args.remote.json => writeln!(out, "{}", plain::escaped(&line))?,
                Ok(entry) => writeln!(out, "{}", entry.shown(is_colored))?,
                Err(_) => others += 1,
            }
        }
        if ended {
            out.flush()?;
            if !args.follow {
                return Ok(others);
            }
            if !tail.turn() {
                thread::sleep(PAUSE);
            }
        }
    }
}

impl LogArgs {
    /// Whether a line is asked for.
    fn wants(&self, entry: &Entry) -> bool {
        let is_below = |zone: &Name| entry.qname.parse::<Name>().is_ok_and(|name| name.is_at_or_below(zone));
        let is_in = |network: &Network| {
            let client = entry.client.as_deref().and_then(|client| client.parse::<IpAddr>().ok());
            client.is_some_and(|client| network.contains(client))
        };
        let is_of = |order: &String| entry.order.as_ref() == Some(order) || entry.observed.contains(order);
        self.name.as_ref().is_none_or(is_below)
            && self.client.as_ref().is_none_or(is_in)
            && self.order.as_ref().is_none_or(is_of)
            && (!self.sinkholed || entry.is_captured())
    }
}

impl Entry {
    /// Whether an order acted on it.
    fn is_captured(&self) -> bool {
        !matches!(&self.verdict[..], "" | "clear" | "protected" | "passthru")
    }

    /// The line as people are shown it.
    fn shown(&self, is_colored: bool) -> String {
        // Nobody has asked what is in the file.
        let text = |text: &str| plain::escaped(text).into_owned();
        let or_dash = |value: &Option<String>| text(value.as_deref().unwrap_or("-"));
        let mut line = format!(
            "{} {:15} {} {} {} {}",
            text(&self.time),
            or_dash(&self.client),
            text(&self.qname),
            text(&self.qtype),
            or_dash(&self.rcode),
            text(&self.verdict),
        );
        for (key, value) in [("order", &self.order), ("trigger", &self.trigger), ("family", &self.family)] {
            if let Some(value) = value {
                let _ = write!(line, " {key}={}", text(value));
            }
        }
        if !self.observed.is_empty() {
            let _ = write!(line, " observed={}", text(&self.observed.join(",")));
        }
        let _ = write!(line, " {} {}us", text(&self.source), self.took_us);
        // ANSI X3.64: red what is captured, yellow what failed or is looked at, green what is spared.
        let color = match &self.verdict[..] {
            _ if self.is_captured() => Some(31),
            "protected" | "passthru" => Some(32),
            _ if self.rcode.as_deref() == Some("SERVFAIL") || !self.observed.is_empty() => Some(33),
            _ => None,
        };
        match color.filter(|_| is_colored) {
            Some(color) => format!("\x1b[{color}m{line}\x1b[0m"),
            None => line,
        }
    }
}

/// A file that is read on as it grows.
struct Tail {
    path: PathBuf,
    file: File,
    /// What has been read and not been given as lines.
    left: Vec<u8>,
    /// Whether the line that is read is too long to be one, and left out.
    skips: bool,
}

impl Tail {
    /// Reads from the beginning, or what comes from now on.
    fn open(path: &Path, from_now: bool) -> io::Result<Tail> {
        let mut file = File::open(path)?;
        if from_now {
            io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        }
        Ok(Tail { path: path.to_path_buf(), file, left: Vec::new(), skips: false })
    }

    /// Reads on; whether there is nothing more for now.
    fn read(&mut self) -> io::Result<bool> {
        let mut portion = vec![0; PORTION];
        let len = self.file.read(&mut portion)?;
        self.left.extend_from_slice(portion.get(..len).unwrap_or_default());
        Ok(len == 0)
    }

    /// The whole lines that were read; the rest waits for its end.
    fn lines(&mut self) -> Vec<String> {
        let end = self.left.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.left.drain(..end).collect();
        let mut lines: Vec<String> = whole
            .split(|octet| *octet == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        if self.skips && end > 0 {
            self.skips = false;
            lines.drain(..1.min(lines.len()));
        }
        if self.left.len() > MAX_LINE {
            self.left.clear();
            self.skips = true;
        }
        lines
    }

    /// Goes to the file that took this one's place, or to the beginning of one that was emptied; whether there is such a one.
    fn turn(&mut self) -> bool {
        let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let (Ok(there), Ok(here)) = (std::fs::metadata(&self.path), self.file.metadata()) else {
            return false;
        };
        let read = io::Seek::stream_position(&mut self.file).unwrap_or(0);
        if there.len() >= read && id(there) == id(here) {
            return false;
        }
        match Tail::open(&self.path, false) {
            Ok(next) => {
                *self = next;
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// No filters.
    const ALL: LogArgs = LogArgs {
        file: None,
        follow: false,
        name: None,
        client: None,
        sinkholed: false,
        order: None,
        remote: Remote { control: None, state: None, token_file: None, json: false },
    };

    /// A line of the file.
    fn line(qname: &str, client: &str, verdict: &str, more: &str) -> String {
        format!(
            "{{\"time\":\"2014-06-30T12:00:01.500000Z\",\"client\":\"{client}\",\"qname\":\"{qname}\",\"qtype\":\"A\",\"qclass\":\"IN\",\"rcode\":\"NOERROR\",\"source\":\"cached\",\"took_us\":42,\"verdict\":\"{verdict}\"{more}}}\n"
        )
    }

    #[test]
    fn lines_are_shown_that_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let order = ",\"order\":\"a\",\"family\":\"x\\u001b[2J\",\"on\":\"qname\",\"trigger\":\"evil.example\",\"match\":\"exact\"";
        let text = [
            line("www.example.com", "192.0.2.1", "clear", ""),
            line("evil.example", "192.0.2.2", "sinkhole", order),
            "not JSON\n".into(),
            line("notexample.com", "2001:db8::1", "clear", ",\"observed\":[\"b\",\"a\"]"),
            line("free.example", "198.51.100.1", "passthru", ",\"order\":\"c\""),
        ];
        fs::write(&path, text.concat() + "{\"cut").unwrap();
        let shown = |args: &LogArgs, is_colored| {
            let mut out = Vec::new();
            assert_eq!(show(&path, args, is_colored, &mut out).unwrap(), 1);
            String::from_utf8(out).unwrap()
        };
        let plain = [
            "2014-06-30T12:00:01.500000Z 192.0.2.1       www.example.com A NOERROR clear cached 42us",
            "2014-06-30T12:00:01.500000Z 192.0.2.2       evil.example A NOERROR sinkhole order=a trigger=evil.example family=x\\u001b[2J cached 42us",
            "2014-06-30T12:00:01.500000Z 2001:db8::1     notexample.com A NOERROR clear observed=b,a cached 42us",
            "2014-06-30T12:00:01.500000Z 198.51.100.1    free.example A NOERROR passthru order=c cached 42us",
        ];
        assert_eq!(shown(&ALL, false).lines().collect::<Vec<_>>(), plain);
        let colors: Vec<_> = shown(&ALL, true).lines().map(|line| line[..5].to_owned()).collect();
        assert_eq!(colors, ["2014-", "\x1b[31m", "\x1b[33m", "\x1b[32m"]);
        for (args, expected) in [
            (LogArgs { name: Some("example.com".parse().unwrap()), ..ALL }, &[0][..]),
            (LogArgs { name: Some("example".parse().unwrap()), ..ALL }, &[1, 3]),
            (LogArgs { client: Some("192.0.2.0/24".parse().unwrap()), ..ALL }, &[0, 1]),
            (LogArgs { client: Some("2001:db8::/32".parse().unwrap()), ..ALL }, &[2]),
            (LogArgs { sinkholed: true, ..ALL }, &[1]),
            (LogArgs { order: Some("a".into()), ..ALL }, &[1, 2]),
            (LogArgs { order: Some("a".into()), sinkholed: true, ..ALL }, &[1]),
        ] {
            let expected: Vec<&str> = expected.iter().map(|index| plain[*index]).collect();
            assert_eq!(shown(&args, false).lines().collect::<Vec<_>>(), expected, "{args:?}");
        }
        assert_eq!(
            shown(&LogArgs { remote: Remote { json: true, ..ALL.remote }, sinkholed: true, ..ALL }, true),
            text[1]
        );
    }

    #[test]
    fn a_file_is_followed_through_rotation_and_truncation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "before\n").unwrap();
        let mut tail = Tail::open(&path, true).unwrap();
        let mut next = || {
            let mut lines = Vec::new();
            loop {
                let ended = tail.read().unwrap();
                lines.extend(tail.lines());
                if ended && !tail.turn() {
                    return lines;
                }
            }
        };
        let append = |path: &Path, text: &str| {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        assert_eq!(next(), [""; 0]);
        append(&path, "a\nb\nhalf");
        assert_eq!(next(), ["a", "b"]);
        append(&path, " a line\n");
        assert_eq!(next(), ["half a line"]);
        // What came to the old one after it was moved is shown before the new one.
        let moved = folder.path().join("log.1");
        fs::rename(&path, &moved).unwrap();
        append(&moved, "last\n");
        assert_eq!(next(), ["last"]);
        append(&moved, "very last\n");
        append(&path, "first\n");
        assert_eq!(next(), ["very last", "first"]);
        fs::write(&path, "x\n").unwrap();
        assert_eq!(next(), ["x"]);
        // A line without end takes no memory without end, and costs itself alone.
        append(&path, &"y".repeat(3 * MAX_LINE));
        append(&path, "yy\nz\n");
        assert_eq!(next(), ["z"]);
    }
}
