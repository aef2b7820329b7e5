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

/// Tries in a row that follow each other quickly.
const QUICK_TRIES: u32 = 8;
/// The pause between those.
const QUICK_PAUSE: Duration = Duration::from_millis(1);

/// The tries to reach a host that was just lost. The first follow each other quickly: whoever died is gone within
/// milliseconds, and each that passes is one more for everybody who waits.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// The pause before the next one.
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

    /// The link to an address, opened if there is none that lives.
    pub(crate) async fn to(&self, address: &str) -> Result<Arc<Link>, OpenError> {
        let kept = self.open.lock().expect("a map's lock").get(address).cloned();
        if let Some(link) = kept.filter(|link| !link.is_lost()) {
            return Ok(link);
        }
        let link = Arc::new(Link::open(&*self.network, address, self.hello.clone()).await?);
        // Two may open at once; both links work, and the one that isn't kept closes with its last user.
        self.open.lock().expect("a map's lock").insert(address.to_owned(), Arc::clone(&link));
        Ok(link)
    }

    /// Sends a message and waits for the reply; `None` when it was not to be had.
    pub(crate) async fn ask(&self, address: &str, message: PeerMessage) -> Option<PeerReply> {
        let asking = async {
            let link = self.to(address).await.ok()?;
            link.message(message).await.ok()
        };
        tokio::time::timeout(REPLY_TIMEOUT, asking).await.ok().flatten()
    }

    /// Sends a message that nobody waits for.
    pub(crate) fn tell(self: &Arc<Self>, address: &str, message: PeerMessage) {
        let (links, address) = (Arc::clone(self), address.to_owned());
        tokio::spawn(async move {
            if links.ask(&address, message).await.is_none() {
                tracing::debug!(address, "a message was not delivered");
            }
        });
    }
}
