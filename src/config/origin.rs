//! Whose what is cached is, over restarts: the same that [`Settings::still_asks`](crate::upstream::Settings::still_asks) says of one
//! configuration after another.

use super::Config;
use crate::cache::Origin;
use crate::upstream::Server;

impl Config {
    /// Whose the cache of everybody is, or that of groups of clients with upstreams of their own.
    pub fn origin(&self, groups: &[String]) -> Origin {
        let upstream = &self.upstream;
        let route = upstream.routes.iter().find(|route| route.groups == groups);
        let (servers, forwards) = match route {
            Some(route) => (&route.servers, &route.forwards),
            None => (&upstream.servers, &upstream.forwards),
        };
        let zones: Vec<_> = forwards.iter().map(|forward| &forward.zones).collect();
        let rules = (
            self.cache.ttl,
            &self.rebinding,
            upstream.trust_ad,
            &upstream.roots,
            route.map(|_| groups),
            zones,
        );
        // Each with what it is asked about: what is no zone's, or the zones in their order.
        let all = servers.iter().map(|server| (None, server));
        let own = forwards
            .iter()
            .enumerate()
            .flat_map(|(index, forward)| forward.servers.iter().map(move |server| (Some(index), server)));
        Origin::new(&rules, all.chain(own).collect::<Vec<(Option<usize>, &Server)>>())
    }
}
