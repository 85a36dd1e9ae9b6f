//! Whether each upstream answers, asked as the server would ask it: by its transport, from whoever proves to be it.

use std::time::Instant;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::{Finding, State};
use crate::dns::Question;
use crate::iana::{Class, Rtype};
use crate::name::Name;
use crate::upstream::{Ask, Forwarder, Settings};

/// What it is about.
const ABOUT: &str = "upstream";
/// The question: every resolver knows who serves the root.
const ROOT: Question = Question {
    qname: Name::ROOT,
    qtype: Rtype::NS,
    qclass: Class::IN,
    dnssec_ok: false,
    checking_disabled: false,
    asked_for: None,
};

/// How it is about each upstream that all names are asked of.
pub(super) fn upstreams(settings: &Settings) -> Vec<Finding> {
    if settings.servers.is_empty() {
        let advice =
            "name somebody in `upstream.servers`; /etc/resolv.conf has nobody but this server itself";
        return vec![Finding::not_well(ABOUT, State::Look, "nobody is asked", advice)];
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return vec![Finding::not_well(ABOUT, State::Bad, format!("nobody can be asked: {error}"), "")];
        }
    };
    runtime.block_on(async {
        let mut asking = JoinSet::new();
        for (index, server) in settings.servers.iter().enumerate() {
            let alone = Settings {
                servers: vec![server.clone()],
                forwards: Vec::new(),
                routes: Vec::new(),
                ..settings.clone()
            };
            let shown = server.to_string();
            asking.spawn(async move { (index, one(alone, &shown).await) });
        }
        let mut found = asking.join_all().await;
        found.sort_by_key(|(index, _)| *index);
        found.into_iter().map(|(_, finding)| finding).collect()
    })
}

/// How it is about one of them.
async fn one(settings: Settings, shown: &str) -> Finding {
    let begun = Instant::now();
    match Forwarder::new(settings).ask(&ROOT).await {
        Ok(_) => Finding::well(ABOUT, format!("{shown} answers, after {} ms", begun.elapsed().as_millis())),
        Err(error) => {
            let advice = "is the line up, its port let through, its address right? over TLS, its name and this machine's clock?";
            Finding::not_well(ABOUT, State::Bad, format!("{shown} does not answer: {error}"), advice)
        }
    }
}
