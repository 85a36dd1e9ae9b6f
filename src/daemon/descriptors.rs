//! Work fitted to the descriptors there are.
//!
//! Upstreams are asked from many ports, and a client's connection is a descriptor each. Where they take all that the system
//! grants, nothing else can be opened either: no order file, no list, no connection of the control API. So the limit is
//! raised as far as it may be, and what still does not fit in it is lowered before it begins.

use crate::config::Config;
use crate::problem::Problem;
use crate::system;
use crate::upstream;

/// Descriptors that no query takes: 64 connections of the control API, and twice as many for files (orders, lists, journal,
/// log, downloads) and for what the runtime and the watch hold.
const ASIDE: usize = 192;
/// The part of what queries may take that is TCP clients', if they would take more: a connection is one client's, a port is
/// everybody's.
const TCP_PART: usize = 4;
/// Ports below which a forger has noticeably less to guess: those that questions are put on at a time.
const ENOUGH_PORTS: usize = 32;

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
pub(super) fn fit(config: &mut Config, limit: u64, taken: usize) -> Option<Problem> {
    let (ports, connections) = (config.upstream.max_ports, config.listen.limits.tcp_connections);
    let servers = config.upstream.count_servers().max(1);
    let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(
        taken + ASIDE + servers * (upstream::MAX_OPEN_STREAMS + upstream::LISTENER_DESCRIPTORS),
    );
    let beside_ports = left.saturating_sub(servers * ports);
    let fit_connections = connections.min((left / TCP_PART).max(beside_ports).max(1));
    let fit_ports = ports.min((left.saturating_sub(fit_connections) / servers).max(1));
    config.upstream.max_ports = fit_ports;
    config.listen.limits.tcp_connections = fit_connections;
    let lowered = [
        ("listen.max_connections is", connections, fit_connections, connections),
        ("ports that each upstream is asked from are", ports, fit_ports, ENOUGH_PORTS),
    ];
    let lowered: Vec<String> = lowered
        .into_iter()
        .filter(|(_, _, fit, enough)| fit < enough)
        .map(|(key, asked, fit, _)| format!("{key} {fit} instead of {asked}"))
        .collect();
    if lowered.is_empty() {
        return None;
    }
    let message = format!("this process may open {limit} files and sockets: {}", lowered.join(", "));
    let hint = "raise the hard limit: LimitNOFILE= in a systemd unit, --ulimit nofile= for a container";
    Some(Problem::warning("system", None, message).hint(hint))
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
            (512, false),
            (1024, true),
            (4096, true),
            (1 << 20, true),
            (u64::MAX, true),
        ] {
            let mut config = config();
            let problem = fit(&mut config, limit, 10);
            assert_eq!(problem.is_none(), fits, "{limit}: {problem:?}");
            let (ports, limits) = (config.upstream.max_ports, config.listen.limits);
            assert!(ports >= 1 && limits.tcp_connections >= 1);
            let all = ports
                + limits.tcp_connections
                + 10
                + upstream::MAX_OPEN_STREAMS
                + upstream::LISTENER_DESCRIPTORS
                + ASIDE;
            // Below what it takes to run at all there is one of each.
            assert!(all as u64 <= limit || limit <= 256, "{limit}: {all}");
            if fits {
                assert_eq!((ports, limits.tcp_connections), (upstream::MAX_PORTS, 512));
            }
        }
    }

    #[test]
    fn what_was_lowered_is_said() {
        let mut config = config();
        let shown = fit(&mut config, 256, 10).unwrap().to_string();
        for part in ["may open 256 files", "listen.max_connections is 5 instead of 512", "LimitNOFILE"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
