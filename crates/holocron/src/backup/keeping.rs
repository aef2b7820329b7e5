//! Asks the hosts again and again to delete nothing, as long as a snapshot is in use.

use core::time::Duration;

use futures::future::join_all;
use tokio::{task::JoinHandle, time::timeout};

use super::Original;
use crate::{
    client::connect::ask,
    store_io::{epoch_log::EpochLog, keep::KEEP_FOR},
    transport::{peer::PeerMessage, serve::View},
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
                        view.record
                            .hosts
                            .values()
                            .map(|host| ask_to_keep(&original, &host.address)),
                    )
                    .await;
                };
                drop(timeout(ROUND_WITHIN, round).await);
            }
        }))
    }
}

async fn ask_to_keep(original: &Original, address: &str) {
    if let Err(error) = ask(&*original.network, address, PeerMessage::Keep, ROUND_WITHIN).await {
        tracing::debug!(address, %error, "host was not asked to keep what is being copied");
    }
}
