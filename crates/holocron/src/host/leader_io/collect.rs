//! Sealing what the newest epoch wants sealed, and deleting what nothing needs any more.

use std::sync::Arc;

use holocron_protocol::{
    checkpoint::collect::{Collection, Detached, EndMark},
    epoch::record::{EpochRecord, SessionState},
    format::keys,
    ids::{HostName, SessionId},
    journal::{batch::Mark, sealing::Hint},
};
use holocron_store::{Created, create_once, delete_until, list_until};
use tokio_util::sync::CancellationToken;

use super::LeadEvent;
use crate::{
    host::{
        driver::{Driver, Event},
        shared::Shared,
    },
    store_io::sealer::SealEnd,
    transport::serve::View,
};

/// The wait before a journal that could not be sealed is tried again.
const SEAL_AGAIN: core::time::Duration = core::time::Duration::from_secs(5);

impl Driver {
    /// Seals every session that the record wants sealed without knowing where.
    pub(super) fn seal_wanted(&mut self, view: &View) {
        let wanted: Vec<SessionId> = view.record.seals_wanted().collect();
        for session in wanted {
            self.seal(session);
        }
    }

    /// Seals a session, in a task of its own; once at a time.
    pub(super) fn seal(&mut self, session: SessionId) {
        let epoch = self.epoch();
        let host = self.view.as_ref().and_then(|view| host_of(&view.record, session));
        let Some(lead) = &mut self.lead else {
            return;
        };
        if !lead.sealing.insert(session) {
            return;
        }
        let hint = host
            .and_then(|host| lead.progress(&host, session))
            .map_or(Hint::Nothing, |progress| Hint::Committed(progress.committed));
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        self.shared.spawn(async move {
            match shared.parts.sealer().seal(session, epoch, hint, &stop).await {
                SealEnd::Sealed(sealed) => {
                    tracing::info!(%session, position = %sealed.position, "sealed");
                    shared.tell_self(Event::Lead(LeadEvent::Sealed(session, sealed.position)));
                }
                SealEnd::Broken(malformed) => {
                    tracing::error!(%malformed, "a journal can't be sealed; its slots wait until somebody has looked");
                    tokio::time::sleep(SEAL_AGAIN).await;
                    shared.tell_self(Event::Lead(LeadEvent::NotSealed(session)));
                }
                SealEnd::Detached | SealEnd::Stopped => {}
            }
        });
    }

    /// Deletes what is left of detached sessions. The record that says so is current: we have just written or read it.
    pub(super) fn collect_detached(&mut self, view: &View) {
        let Some(lead) = &mut self.lead else {
            return;
        };
        let detached: Vec<Detached> = view
            .record
            .detached()
            .filter_map(|(session, entry)| match entry.state {
                SessionState::Detached(sealed_at) => Some(Detached { session, sealed_at }),
                SessionState::Open | SessionState::Sealed(_) => None,
            })
            .collect();
        lead.collecting
            .retain(|session| detached.iter().any(|detached| detached.session == *session));
        for detached in detached {
            if lead.collecting.insert(detached.session) {
                let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
                self.shared.spawn(async move {
                    if collect(&shared, detached, &stop).await.is_some() {
                        shared.tell_self(Event::Lead(LeadEvent::Collected(detached.session)));
                    }
                });
            }
        }
    }
}

fn host_of(record: &EpochRecord, session: SessionId) -> Option<HostName> {
    record.sessions.get(&session).map(|entry| entry.host.clone())
}

/// Deletes everything of a detached session but its seal and marks; `None` when it was stopped before the end.
async fn collect(shared: &Shared, detached: Detached, stop: &CancellationToken) -> Option<()> {
    let (store, patience) = (shared.parts.store(), shared.parts.patience());
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
                tracing::info!(session = %detached.session, "collected");
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
