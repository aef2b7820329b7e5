//! The connections from this host to others, opened on first use and kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::transport::{
    frame::Hello,
    link::{Link, OpenError},
    net::Network,
    peer::{PeerMessage, PeerReply},
};

/// How long a host may take to reply to a message that isn't a heartbeat.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of quick attempts after a connection is lost.
const QUICK_TRIES: u32 = 8;
/// The pause between quick attempts.
const QUICK_PAUSE: Duration = Duration::from_millis(1);

/// The attempts to reconnect to a host. The first are quick: a dead process refuses within milliseconds, and callers
/// wait until its failure is detected.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// The pause before the next attempt.
    pub(crate) fn next_pause(&mut self, heartbeat: Duration) -> Duration {
        self.0 = self.0.saturating_add(1);
        if self.0 <= QUICK_TRIES { QUICK_PAUSE } else { heartbeat / 10 }
    }
}

/// The open links of a host, by address.
#[derive(Debug)]
pub(crate) struct Links {
    network: Arc<dyn Network>,
    hello: Hello,
    open: Mutex<BTreeMap<String, Arc<Link>>>,
}

impl Links {
    pub(crate) fn new(network: Arc<dyn Network>, hello: Hello) -> Self {
        Self { network, hello, open: Mutex::default() }
    }

    /// The open link to an address; opens one if there is none.
    pub(crate) async fn to(&self, address: &str) -> Result<Arc<Link>, OpenError> {
        let kept = self.open.lock().expect("a map's lock").get(address).cloned();
        if let Some(link) = kept.filter(|link| !link.is_lost()) {
            return Ok(link);
        }
        let link = Arc::new(Link::open(&*self.network, address, self.hello.clone()).await?);
        // Two tasks may open a link at once. Both work, and the one that isn't kept closes with its last user.
        self.open.lock().expect("a map's lock").insert(address.to_owned(), Arc::clone(&link));
        Ok(link)
    }

    /// Sends a message and waits for the reply; `None` if the connection failed or the reply timed out.
    pub(crate) async fn ask(&self, address: &str, message: PeerMessage) -> Option<PeerReply> {
        let asking = async {
            let link = self.to(address).await.ok()?;
            link.message(message).await.ok()
        };
        tokio::time::timeout(REPLY_TIMEOUT, asking).await.ok().flatten()
    }

    /// Sends a message and doesn't wait for the reply.
    pub(crate) fn tell(self: &Arc<Self>, address: &str, message: PeerMessage) {
        let (links, address) = (Arc::clone(self), address.to_owned());
        tokio::spawn(async move {
            if links.ask(&address, message).await.is_none() {
                tracing::debug!(address, "message got no reply; it may not have been delivered");
            }
        });
    }
}
