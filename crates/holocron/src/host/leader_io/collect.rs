//! Seals sessions and collects detached ones, in tasks of their own.

use std::sync::Arc;

use holocron_protocol::{
    checkpoint::collect::{Collection, Detached, EndMark},
    format::keys,
    ids::SessionId,
    journal::{batch::Mark, sealing::Hint},
};
use holocron_store::{Created, Store, create_once, delete_until, list_until};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LeaderEvent;
use crate::{
    host::{
        driver::{Driver, Event},
        shared::Shared,
    },
    store_io::sealer::SealEnd,
};

/// The pause before the next attempt to seal a journal.
const SEAL_AGAIN: core::time::Duration = core::time::Duration::from_secs(5);

impl Driver {
    /// Seals a session, in a task of its own.
    pub(super) fn seal(&self, session: SessionId, hint: Hint) {
        let Some(lead) = &self.lead else { return };
        let (shared, stop, epoch) = (Arc::clone(&self.shared), lead.stop.clone(), self.epoch());
        let record = self.view.as_ref().map(|view| &*view.record);
        shared.counts.takeovers.sealing(session, record, shared.parts.clock.wall_ms());
        let began = Instant::now();
        if let Some(elsewhere) = self.elsewhere(session) {
            self.shared.spawn(async move {
                let sealed = elsewhere.seal(&shared, hint, epoch, &stop).await;
                match sealed {
                    Some(_) => shared.counts.takeovers.sealed(session, began.elapsed()),
                    None => tokio::time::sleep(SEAL_AGAIN).await,
                }
                shared.tell_self(Event::Lead(match sealed {
                    Some(position) => LeaderEvent::Sealed(session, position),
                    None => LeaderEvent::NotSealed(session),
                }));
            });
            return;
        }
        self.shared.spawn(async move {
            match shared.parts.sealer().seal(session, epoch, hint, &stop).await {
                SealEnd::Sealed(sealed) => {
                    shared.counts.takeovers.sealed(session, began.elapsed());
                    tracing::info!(%session, %epoch, position = %sealed.position, "session sealed");
                    shared.tell_self(Event::Lead(LeaderEvent::Sealed(session, sealed.position)));
                }
                SealEnd::Broken(malformed) => {
                    tracing::error!(%session, %malformed, "journal can't be sealed; its slots wait until it is repaired");
                    tokio::time::sleep(SEAL_AGAIN).await;
                    shared.tell_self(Event::Lead(LeaderEvent::NotSealed(session)));
                }
                SealEnd::Detached | SealEnd::Stopped => shared.counts.takeovers.not_sealed(session),
            }
        });
    }

    /// Deletes the objects of a detached session, in a task of its own.
    pub(super) fn collect(&self, detached: Detached) {
        let Some(lead) = &self.lead else { return };
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        let elsewhere = self.elsewhere(detached.session);
        self.shared.spawn(async move {
            shared.parts.keep.is_over().await;
            let collected = match elsewhere {
                Some(elsewhere) => elsewhere.collect(&shared, detached, &stop).await,
                None => collect(&shared, shared.parts.store(), detached, &stop).await,
            };
            shared.tell_self(Event::Lead(match collected {
                Some(()) => LeaderEvent::Collected(detached.session),
                None => LeaderEvent::NotCollected(detached.session),
            }));
        });
    }
}

/// Deletes all objects of a detached session except its seal and marks. `None` if it was stopped or a request failed.
pub(super) async fn collect(
    shared: &Shared,
    store: Arc<dyn Store>,
    detached: Detached,
    stop: &CancellationToken,
) -> Option<()> {
    let patience = shared.parts.patience();
    let mut end_mark = EndMark::NotKnown;
    loop {
        let listed = match end_mark {
            EndMark::NotKnown => Vec::new(),
            EndMark::Definite => {
                let listed = list_until(&*store, &keys::session(detached.session), patience, stop)
                    .await
                    .ok()?;
                listed.iter().filter_map(|object| keys::parse(&object.key)).collect()
            }
        };
        match detached.collect(end_mark, listed) {
            Collection::CreateEndMark => {
                let mark =
                    Mark { by: shared.parts.name.clone() }.encode(shared.parts.random.nonce());
                let key = keys::end_mark(detached.session);
                match create_once(&store, &key, mark, patience, stop).await {
                    Created::Won | Created::Lost(_) => end_mark = EndMark::Definite,
                    Created::Unknown => return None,
                }
            }
            Collection::Delete(garbage) if garbage.is_empty() => {
                tracing::info!(session = %detached.session, "detached session collected");
                return Some(());
            }
            Collection::Delete(garbage) => {
                for key in garbage {
                    delete_until(&*store, &key.path(), patience, stop).await.ok()?;
                }
            }
        }
    }
}
