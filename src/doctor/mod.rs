//! What of this machine stands in the way of a resolver, and what to change: looked at from outside, whether a server runs or not.
//!
//! What is read of files is read below a root, so that tests can bring a machine of their own; sockets, the clock and upstreams are this
//! machine's.

mod holders;
mod machine;
mod ports;
mod upstreams;

use serde::Serialize;

use crate::config::Config;
pub use machine::Machine;

/// What was found about something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, in a word.
    pub about: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing is.
    pub advice: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Well,
    /// Somebody should look at it: it may be meant.
    Look,
    /// It keeps a server from serving.
    Bad,
}

impl Finding {
    /// All is as it should be.
    fn well(about: &'static str, found: impl Into<String>) -> Finding {
        Finding { about, state: State::Well, found: found.into(), advice: String::new() }
    }

    /// Something is not as it should be, or may not be.
    fn not_well(
        about: &'static str,
        state: State,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding { about, state, found: found.into(), advice: advice.into() }
    }
}

/// Looks at all that a server by this configuration needs, in the order in which one would mend it.
pub fn examine(config: &Config, machine: &Machine) -> Vec<Finding> {
    let mut found = ports::ports(config, machine);
    found.extend(upstreams::upstreams(&config.upstream));
    found.push(machine.resolv_conf(&config.listen));
    found.push(machine.clock(&config.upstream));
    found.push(machine.ipv6());
    found.push(machine.descriptors(config));
    found.push(machine.buffers(config.listen.socket_buffer));
    found.push(machine.firewall(&config.listen));
    found
}
