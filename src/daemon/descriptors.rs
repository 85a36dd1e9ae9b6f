//! Work fitted to the descriptors there are.
//!
//! A question under way at upstreams is a socket or more, a client's connection is one. Where they take all that the system
//! grants, nothing else can be opened either: no order file, no list, no connection of the control API. So the limit is
//! raised as far as it may be, and what still does not fit in it is lowered before it begins.

use crate::config::Config;
use crate::problem::Problem;
use crate::system;
use crate::upstream;

/// Descriptors that no query takes: 64 connections of the control API, and twice as many for files (orders, lists, journal,
/// log, downloads) and for what the runtime and the watch hold.
const ASIDE: usize = 192;
/// The part of what queries may take that is TCP clients', if they would take more: a connection is kept for a time, a
/// question soon over.
const TCP_PART: usize = 4;

/// Raises the limit as far as it may be; none if the system does not say what it is.
pub(super) fn raise() -> Option<u64> {
    let (before, limit) = system::raise_descriptor_limit()
        .inspect_err(|error| tracing::warn!("how many files may be open is not known: {error}"))
        .ok()?;
    if before < limit {
        tracing::info!(
            "{limit} files and sockets may be open from now on: the hard limit (the soft one was {before})"
        );
    }
    Some(limit)
}

/// Lowers what a configuration would have open at one time to what fits in `limit` descriptors, of which `taken` are
/// sockets that listen; says so if it did.
///
/// No more wait than may be asked about: whoever has most of the waits gives way, and that would be of no use to anybody
/// whose question is not asked then.
pub(super) fn fit(config: &mut Config, limit: u64, taken: usize) -> Option<Problem> {
    let (asked, connections) = (config.upstream.max_in_flight, config.listen.limits.tcp_connections);
    let servers = config.upstream.servers.len().min(upstream::MAX_SERVERS);
    let left = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(taken + ASIDE + servers * upstream::MAX_OPEN_STREAMS);
    let fit_connections = connections.min((left / TCP_PART).max(1));
    let questions = left.saturating_sub(fit_connections) / upstream::MAX_OPEN;
    // The inverse of `with_spare`, rounded down.
    let fit_asked = asked.min((questions - questions / (SPARE + 1)).saturating_sub(1).max(1));
    config.upstream.max_in_flight = with_spare(fit_asked);
    config.listen.limits.tcp_connections = fit_connections;
    config.listen.limits.pending = config.listen.limits.pending.min(fit_asked);
    if (fit_asked, fit_connections) == (asked, connections) {
        return None;
    }
    let lowered = [
        ("upstream.max_in_flight", asked, fit_asked),
        ("listen.max_connections", connections, fit_connections),
    ];
    let lowered: Vec<String> = lowered
        .into_iter()
        .filter(|(_, asked, fit)| fit < asked)
        .map(|(key, asked, fit)| format!("{key} is {fit} instead of {asked}"))
        .collect();
    let message = format!("this process may open {limit} files and sockets: {}", lowered.join(", "));
    let hint = "raise the hard limit: LimitNOFILE= in a systemd unit, --ulimit nofile= for a container";
    Some(Problem::warning("system", None, message).hint(hint))
}

/// One more for so many.
const SPARE: usize = 16;

/// `max_in_flight` with some more for questions that were given up a moment ago and are not gone yet, and for those that
/// the server asks on its own.
fn with_spare(max_in_flight: usize) -> usize {
    max_in_flight + max_in_flight / SPARE + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    /// The defaults with one upstream.
    fn config() -> Config {
        let mut sources = Sources::system(None, Vec::new());
        let dir = tempfile::tempdir().unwrap();
        (sources.dir, sources.env) = (dir.path().to_path_buf(), Vec::new());
        sources.resolv_conf = dir.path().join("resolv.conf");
        std::fs::write(&sources.resolv_conf, "nameserver 192.0.2.1\n").unwrap();
        config::load(&sources).unwrap()
    }

    #[test]
    fn all_that_is_begun_fits_in_the_limit() {
        for (limit, fits) in [
            (0, false),
            (64, false),
            (256, false),
            (1024, false),
            (4096, false),
            (16_384, true),
            (1 << 20, true),
            (u64::MAX, true),
        ] {
            let mut config = config();
            let problem = fit(&mut config, limit, 10);
            assert_eq!(problem.is_none(), fits, "{limit}: {problem:?}");
            let (asked, limits) = (config.upstream.max_in_flight, config.listen.limits);
            assert!(asked >= 1 && limits.tcp_connections >= 1 && limits.pending <= asked);
            let sockets = asked * upstream::MAX_OPEN;
            let all = sockets + limits.tcp_connections + 10 + upstream::MAX_OPEN_STREAMS + ASIDE;
            // Below what it takes to run at all there is one of each.
            assert!(all as u64 <= limit || limit <= 256, "{limit}: {all}");
            if fits {
                assert_eq!((asked, limits.tcp_connections, limits.pending), (with_spare(4096), 512, 4096));
            }
        }
    }

    #[test]
    fn what_was_lowered_is_said() {
        let mut config = config();
        let shown = fit(&mut config, 1024, 10).unwrap().to_string();
        for part in ["may open 1024 files", "upstream.max_in_flight is 1", "instead of 4096", "LimitNOFILE"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
