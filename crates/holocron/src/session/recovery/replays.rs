//! Replays fetched journals for the slots that are recovered.

use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::{
    format::codec::Malformed,
    ids::{SessionId, Slot},
    slot::{
        recovery::{Event, Wanted},
        replay::{Base, JournalEnd, JournalReplay, Scope},
    },
};

use super::RecoveryTask;
use crate::store_io::fetch::FetchedJournal;

impl RecoveryTask {
    /// Replays each fetched journal for the slots that need it.
    pub(super) fn replays(&mut self, wanted: &[Wanted]) -> BTreeMap<SessionId, JournalReplay> {
        let mut replays = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (&session, journal) in &self.journals {
            let needs =
                |wanted: &&Wanted| wanted.sources.iter().any(|source| source.session == session);
            let slots: BTreeSet<Slot> =
                wanted.iter().filter(needs).map(|wanted| wanted.slot).collect();
            if slots.is_empty() {
                continue;
            }
            let scope = Scope { slots, slot_count: self.session.parts.cluster.slots };
            match self.replay(session, scope, journal) {
                Ok(replay) => drop(replays.insert(session, replay)),
                Err(malformed) => {
                    tracing::error!(session = %self.session.id(), source = %session, %malformed, "journal can't be replayed; slots that need it wait until it is repaired");
                    unreadable.push(session);
                }
            }
        }
        for &session in replays.keys() {
            self.step(Event::Replayed(session));
        }
        for session in unreadable {
            self.step(Event::NotReplayed(session));
        }
        replays
    }

    fn replay(
        &self,
        session: SessionId,
        scope: Scope,
        journal: &FetchedJournal,
    ) -> Result<JournalReplay, Malformed> {
        let base = journal
            .checkpoint
            .as_ref()
            .map(|checkpoint| Base { checkpoint, packs: &journal.packs });
        let mut files = self.session.slots.files();
        let mut replay = JournalReplay::new(session, scope, base, &mut files)?;
        for (batch, _) in &journal.batches {
            replay.batch(batch, &mut files)?;
        }
        if let JournalEnd::Sealed(position) = journal.end {
            replay.seal(position);
        }
        Ok(replay)
    }
}
