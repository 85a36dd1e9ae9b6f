//! `[query_log]`: where queries are logged, and which.

use std::path::PathBuf;

use toml::Value;

use super::layer::{Layers, Origin};
use super::lists::seconds;
use super::spec::{LoggedQueries, QueryLog, Size, Spec};
use super::units::octets;
use crate::clients::DEFAULT;
use crate::control::address::UNIX;
use crate::keys;
use crate::problem::Problem;
use crate::querylog::{Choice, FileSettings, Settings, Target};

/// The most earlier files: beyond that nobody finds anything in them.
const MAX_KEEP: u32 = 10_000;
/// The longest a file may be written to, in seconds: ten years.
const MAX_AGE_S: u64 = 315_360_000;
/// The least a file may be long, in octets: some lines.
const MIN_SIZE: u64 = 4096;
/// The least and the most octets of memory.
const BUFFER: [u64; 2] = [1 << 20, 4 << 30];

/// Sets what nobody set.
pub(super) fn defaults(layers: &mut Layers) {
    let text = |text: &str| Value::String(text.to_owned());
    for (key, value) in [
        ("max_size", text("64MiB")),
        ("max_age", text("1d")),
        ("keep", Value::Integer(7)),
        ("journald", Value::Boolean(false)),
        ("dnstap_forwarder", Value::Boolean(false)),
        ("live", Value::Boolean(false)),
        ("format", text("json")),
        ("only", text("all")),
        ("sample", Value::Integer(1)),
        ("groups", Value::Array(Vec::new())),
        ("addresses", text("full")),
        ("buffer", text("64MiB")),
    ] {
        layers.default_to("query_log", key, value, Origin::Default);
    }
}

/// Reads `[query_log]`, noting all problems.
pub(super) fn read(spec: &Spec, layers: &Layers, problems: &mut Vec<Problem>) -> Settings {
    let mut reader = Reader { log: &spec.query_log, layers, problems };
    let log = &spec.query_log;
    let file = log.file.as_deref().filter(|path| !path.is_empty()).map(|path| reader.file(path));
    let udp = "\"unix:/dev/log\" or \"udp://192.0.2.1:514\"";
    let tcp = "\"unix:/run/dnstap.sock\" or \"tcp://192.0.2.1:6000\"";
    Settings {
        file,
        syslog: reader.target("syslog", log.syslog.as_deref(), "udp://", udp),
        journald: log.journald.unwrap_or_default(),
        dnstap: reader.target("dnstap", log.dnstap.as_deref(), "tcp://", tcp),
        dnstap_forwarder: reader.forwarder(),
        live: log.live.unwrap_or_default(),
        format: log.format.unwrap_or_default(),
        choice: Choice {
            captured_only: log.only.unwrap_or_default() == LoggedQueries::Sinkholed,
            one_in: reader.number("sample", log.sample, 1, u32::MAX),
        },
        groups: reader.groups(spec),
        addresses: log.addresses.unwrap_or_default(),
        buffer: reader.buffer(),
        identity: spec.server.id.clone(),
    }
}

/// Reads its keys, collecting problems.
struct Reader<'a> {
    log: &'a QueryLog,
    /// Where values stand.
    layers: &'a Layers,
    /// What is wrong with them.
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// Notes a problem with a key or an item of its list.
    fn bad(&mut self, key: &str, item: Option<usize>, what: &str, hint: &str) {
        self.problems.push(self.layers.problem("query_log", key, item, what).hint(hint));
    }

    /// Reads what is said of the file.
    fn file(&mut self, path: &str) -> FileSettings {
        let max_size = self.size("max_size", self.log.max_size.as_ref());
        if max_size > 0 && max_size < MIN_SIZE {
            self.bad("max_size", None, "is less than 4096 octets", "write \"64MiB\", or 0 for no bound");
        }
        let max_age_s = self.log.max_age.as_ref().map_or(Some(0), seconds);
        let max_age_s = max_age_s.filter(|seconds| *seconds <= MAX_AGE_S);
        if max_age_s.is_none() {
            let hint = "write \"1d\", \"12h\", seconds, or 0 for no bound; ten years at most";
            self.bad("max_age", None, "is no length of time that a file may have", hint);
        }
        FileSettings {
            path: PathBuf::from(path),
            max_size,
            max_age_s: max_age_s.and_then(|seconds| seconds.try_into().ok()).unwrap_or_default(),
            keep: self.number("keep", self.log.keep, 0, MAX_KEEP),
        }
    }

    /// Reads where something is sent to: a Unix socket, or an address behind a scheme.
    fn target(&mut self, key: &str, text: Option<&str>, scheme: &str, hint: &str) -> Option<Target> {
        let text = text.filter(|text| !text.is_empty())?;
        let target = match text.strip_prefix(UNIX) {
            Some("") => None,
            Some(path) => Some(Target::Unix(PathBuf::from(path))),
            None => text.strip_prefix(scheme).and_then(|addr| addr.parse().ok()).map(Target::Inet),
        };
        if target.is_none() {
            let what = format!("is \"{}\", which is no place to send to", text.escape_debug());
            self.bad(key, None, &what, &format!("write {hint}"));
        }
        target
    }

    /// Reads whether upstreams' messages are told.
    fn forwarder(&mut self) -> bool {
        let forwarder = self.log.dnstap_forwarder.unwrap_or_default();
        if forwarder && self.log.dnstap.as_deref().is_none_or(str::is_empty) {
            let hint = "name a receiver: query_log.dnstap = \"unix:/run/dnstap.sock\"";
            self.bad("dnstap_forwarder", None, "is set, and there is no dnstap to tell", hint);
        }
        forwarder
    }

    /// Reads the groups.
    fn groups(&mut self, spec: &Spec) -> Vec<String> {
        let known: Vec<&str> =
            spec.clients.iter().map(|group| group.name.as_str()).chain(std::iter::once(DEFAULT)).collect();
        let groups = self.log.groups.clone().unwrap_or_default();
        for (index, name) in groups.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
            let what = format!("is \"{}\", which is no group of clients", name.escape_debug());
            let hint = match keys::nearest(name, known.iter().copied()) {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => "name groups of [[clients]], or leave it out for everybody".to_owned(),
            };
            self.bad("groups", Some(index), &what, &hint);
        }
        groups
    }

    /// Reads the memory.
    fn buffer(&mut self) -> usize {
        let buffer = self.size("buffer", self.log.buffer.as_ref());
        if !(BUFFER[0]..=BUFFER[1]).contains(&buffer) {
            self.bad("buffer", None, "is out of bounds", "write \"1MiB\" to \"4GiB\"");
        }
        usize::try_from(buffer).unwrap_or(usize::MAX)
    }

    /// Reads a number of octets; 0 if there is none.
    fn size(&mut self, key: &str, value: Option<&Size>) -> u64 {
        match value {
            None => 0,
            Some(Size::Octets(octets)) => *octets,
            Some(Size::Text(text)) => octets(text).unwrap_or_else(|| {
                let what = format!("is \"{}\"; expected a number of octets with a unit", text.escape_debug());
                self.bad(key, None, &what, "write 67108864, \"64MiB\" or \"1GB\"");
                0
            }),
        }
    }

    /// Reads a number between two others.
    fn number(&mut self, key: &str, value: Option<u32>, min: u32, max: u32) -> u32 {
        let value = value.unwrap_or(min);
        if !(min..=max).contains(&value) {
            self.bad(key, None, &format!("is {value}; expected {min} to {max}"), "");
        }
        value.clamp(min, max)
    }
}
