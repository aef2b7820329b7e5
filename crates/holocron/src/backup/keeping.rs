//! Asks the hosts again and again to delete nothing, as long as a snapshot is in use.

use core::time::Duration;
use std::sync::Arc;

use futures::future::join_all;
use tokio::{task::JoinHandle, time::timeout};

use super::Original;
use crate::{
    store_io::{epoch_log::EpochLog, keep::KEEP_FOR},
    transport::{frame::Hello, link::Link, peer::PeerMessage, serve::View},
};

/// How often hosts are asked.
const ASK_EVERY: Duration = KEEP_FOR.checked_div(4).expect("not zero");
/// How long one round may take.
const ROUND_WITHIN: Duration = Duration::from_secs(5);

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Keeping(JoinHandle<()>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeping {
    /// Begins with the hosts of this record, and follows the log: hosts that join are asked, too. One that can't be asked may
    /// delete something; then the copy isn't sound, and that is noticed.
    pub(super) fn begin(original: &Original, log: EpochLog, view: View) -> Self {
        let original = original.clone();
        Self(tokio::spawn(async move {
            let mut view = view;
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                let round = async {
                    if let Ok(Some(newest)) = log.newest(Some(view.clone())).await {
                        view = newest;
                    }
                    join_all(
                        view.record.hosts.values().map(|host| ask(&original, &log, &host.address)),
                    )
                    .await;
                };
                drop(timeout(ROUND_WITHIN, round).await);
            }
        }))
    }
}

async fn ask(original: &Original, log: &EpochLog, address: &str) {
    let hello = Hello { cluster: Some(log.cluster.cluster), who: "a backup".to_owned() };
    let asked = match Link::open(&*original.network, address, hello).await {
        Ok(link) => {
            link.message(PeerMessage::Keep).await.map(drop).map_err(|lost| lost.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = asked {
        tracing::debug!(address, why, "host was not asked to keep what is being copied");
    }
}

/// A log that can be read as long as a snapshot is in use.
pub(super) fn log_of(
    original: &Original,
    cluster: holocron_protocol::format::cluster::Cluster,
) -> EpochLog {
    EpochLog {
        store: Arc::clone(&original.store),
        cluster,
        patience: holocron_store::Patience::within(ROUND_WITHIN),
        stop: tokio_util::sync::CancellationToken::new(),
    }
}
