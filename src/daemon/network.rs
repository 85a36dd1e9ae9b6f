//! The network goes away and comes back: what was believed of upstreams meanwhile is not believed any longer than that.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::sleep;

use crate::links::Changes;
use crate::resolver::Current;
use crate::upstream::Forwarder;

/// Before it is looked again: what happens to a network often happens in many parts.
const SETTLE: Duration = Duration::from_millis(100);
/// Before it is tried again to hear of changes where that fails.
const PAUSE: Duration = Duration::from_secs(60);

/// Follows the network until this is dropped.
pub(super) async fn follow(forwarder: Arc<ArcSwap<Forwarder>>, current: Arc<Current>) {
    let mut said = false;
    loop {
        if let Err(error) = hear(&forwarder, &current).await
            && !std::mem::replace(&mut said, true)
        {
            tracing::warn!(
                "changes of the network are not heard of ({error}): upstreams that come back are found by asking them"
            );
        }
        sleep(PAUSE).await;
    }
}

/// Follows it for as long as changes are heard of.
///
/// What counts is whether a link came up, or servers would be asked from other addresses than before: most of what a machine tells of
/// its network, of lifetimes of addresses or of containers, is no reason to open connections anew.
async fn hear(forwarder: &ArcSwap<Forwarder>, current: &Current) -> io::Result<()> {
    let mut changes = Changes::open()?;
    let mut ways = forwarder.load().ways();
    loop {
        let came_up = changes.next().await?;
        let forwarder = forwarder.load_full();
        let before = std::mem::replace(&mut ways, forwarder.ways());
        if came_up || before != ways {
            tracing::debug!("the network is another one: what was believed of upstreams is forgotten");
            forwarder.network().changed();
            current.load().fetchers().for_each(|fetcher| fetcher.cache().forget_failures());
        }
        sleep(SETTLE).await;
    }
}
