//! What fetched journals say of the slots that are wanted.

use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::{
    format::codec::Malformed,
    ids::{SessionId, Slot, Tenure},
    slot::replay::{Base, JournalEnd, JournalReplay, Scope, Source},
};

use super::Recovery;
use crate::{session::Wanted, store_io::fetch::FetchedJournal};

impl Recovery {
    /// One reading per fetched journal, of the slots that need it. One that can't be read counts as failed, so that it
    /// isn't read again and again without a pause.
    pub(super) fn readings(&mut self, wanted: &[Wanted]) -> BTreeMap<SessionId, JournalReplay> {
        let mut readings = BTreeMap::new();
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
            match self.read(session, scope, journal) {
                Ok(reading) => drop(readings.insert(session, reading)),
                Err(malformed) => {
                    tracing::error!(%malformed, "can't recover from this journal");
                    unreadable.push(session);
                }
            }
        }
        self.failed.retain(|session, _| !readings.contains_key(session));
        for session in unreadable {
            *self.failed.entry(session).or_default() += 1;
        }
        readings
    }

    fn read(
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
        let mut reading = JournalReplay::new(session, scope, base, &mut files)?;
        for (batch, _) in &journal.batches {
            reading.batch(batch, &mut files)?;
        }
        if let JournalEnd::Sealed(position) = journal.end {
            reading.seal(position);
        }
        Ok(reading)
    }

    pub(super) fn sources_of<'a>(
        &self,
        slot: Slot,
        sources: &[Tenure],
        readings: &'a BTreeMap<SessionId, JournalReplay>,
    ) -> BTreeMap<SessionId, Source<'a>> {
        let read = sources.iter().filter_map(|source| {
            readings.get(&source.session).map(|reading| (source.session, reading.source(slot)))
        });
        read.collect()
    }
}
