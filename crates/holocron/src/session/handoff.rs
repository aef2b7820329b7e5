//! Adopts and releases slots: carries out the effects of `protocol::slot::residency`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, Epoch, Position, Slot},
    slot::{recovery::Recovered, residency::Effect},
};
use tokio::sync::oneshot;

use super::Session;
use crate::{
    api::call::{Call, Outcome, ReplyTo},
    planted,
    session::{
        actor::Message,
        journal::{Adoption, Closed, ReleasedSlots},
    },
};

/// How long the vnodes of a draining slot have to flush. Commands not flushed by then were not acknowledged: clients
/// repeat them at the new owner.
const FLUSH_MAX: Duration = Duration::from_secs(1);

impl Session {
    /// Acts on a newer epoch record. Returns the slots that must be released.
    pub(crate) fn apply(&self, record: &EpochRecord) -> Vec<Slot> {
        self.note_epoch(record.epoch);
        let mut to_release = Vec::new();
        let mut refused: Vec<(Call, ReplyTo)> = Vec::new();
        // A session acts only on a record that lists it.
        let slots = record.slots_around(self.id()).expect("a listed session has a domain");
        let mut table = self.slots.lock();
        for (slot, effect) in self.journal.learn(slots) {
            match effect {
                // The recovery task reads the wanted slots from the residency.
                Effect::Recover => {}
                Effect::Drain => to_release.push(slot),
                Effect::RefuseWaiting => refused.extend(table.take_waiting(slot)),
                Effect::RunWaiting => unreachable!("{slot}: only an Adopt completes a recovery"),
            }
        }
        drop(table);
        // Shards are in the home domain: another domain's session has slots of the same numbers.
        if self.parts.domain == DomainId::HOME {
            self.shards.learn(&record.shards, record.slot_count);
        }
        for (_, reply) in refused {
            self.refuse(reply, Outcome::NotOwner);
        }
        to_release
    }

    /// Adopts recovered slots whose recovery is still wanted, and runs the calls that waited for them.
    pub(crate) fn adopt(self: &Arc<Self>, mut recovered: Vec<Recovered>) -> Result<(), Closed> {
        let mut waited: Vec<(Call, ReplyTo)> = Vec::new();
        let mut table = self.slots.lock();
        self.journal.with_residency(|residency| {
            recovered.retain(|Recovered { slot, tenure, .. }| {
                assert_eq!(tenure.session, self.id(), "{slot} adopted for another session");
                residency.may_adopt(*slot, tenure.epoch)
            });
        });
        if recovered.is_empty() {
            return Ok(());
        }
        let adoptions: Vec<Adoption> = recovered
            .iter()
            .map(|Recovered { slot, tenure, sources, .. }| Adoption {
                slot: *slot,
                epoch: tenure.epoch,
                sources: sources.clone(),
            })
            .collect();
        // Calls may run at once: their records follow the Adopt in the same journal.
        let since = self.journal.adopt(&adoptions)?;
        for Recovered { slot, tenure, index, .. } in recovered {
            waited.extend(table.take_waiting(slot));
            if planted::looks_for_wakes() {
                self.note_wakes(&index);
            }
            table.get_mut(slot).recovered.insert(tenure.epoch, index);
        }
        drop(table);
        self.copy_soon(since);
        self.shards.look();
        for (call, reply) in waited {
            self.call(call, reply);
        }
        Ok(())
    }

    /// Requests a checkpoint that copies the adopted records into own packs, so that the sources become unnecessary. Waits
    /// for the commit and `copy_pause` first, because callers wait for their commands.
    fn copy_soon(&self, adopted: Position) {
        let (journal, pause) = (Arc::clone(&self.journal), self.settings.copy_pause);
        tokio::spawn(async move {
            if journal.until_committed(adopted).await.is_ok() {
                tokio::time::sleep(pause).await;
                journal.want_checkpoint();
            }
        });
    }

    /// Flushes the vnodes of draining slots and has them close what they hold, then commits the Releases that are owed. Returns their position once they are
    /// committed; `None` if none is owed any more.
    pub(crate) async fn release(
        self: Arc<Self>,
        slots: Vec<Slot>,
    ) -> Result<Option<Position>, Closed> {
        self.flush(&slots).await;
        let Some(position) = self.submit_release(&slots)? else {
            return Ok(None);
        };
        self.journal.until_committed(position).await?;
        Ok(Some(position))
    }

    fn submit_release(&self, slots: &[Slot]) -> Result<Option<Position>, Closed> {
        let mut table = self.slots.lock();
        let Some(ReleasedSlots { position, slots: released }) = self.journal.release(slots)? else {
            return Ok(None);
        };
        let supervisors: Vec<_> =
            released.keys().filter_map(|&slot| table.get_mut(slot).supervisor.take()).collect();
        let watchers = self.release_watchers(&released);
        drop(table);
        self.refuse_watchers(watchers);
        self.drop_active(&released);
        // Drops all cached state of the slots: a slot that comes back is recovered like any other.
        for supervisor in supervisors {
            supervisor.kill();
        }
        Ok(Some(position))
    }

    /// Removes from the directory the vnodes that were served under a tenure that the Release ended.
    fn drop_active(&self, released: &BTreeMap<Slot, Epoch>) {
        let mut gone = Vec::new();
        self.active.retain(|_, entry| {
            let handle = &entry.handle;
            let stays = released.get(&handle.slot).is_none_or(|&epoch| handle.tenure >= epoch);
            if !stays {
                gone.push(Arc::clone(handle));
            }
            stays
        });
        for handle in gone {
            self.forgotten(&handle);
        }
    }

    async fn flush(&self, slots: &[Slot]) {
        let draining: BTreeSet<Slot> = slots.iter().copied().collect();
        let mut flushes = Vec::new();
        // The order does not matter: each message only asks one actor to flush.
        for entry in &self.active {
            if draining.contains(&entry.handle.slot) {
                let (done, flushed) = oneshot::channel();
                drop(entry.actor.cast(Message::Flush(done)));
                flushes.push(flushed);
            }
        }
        let all = async {
            for flushed in flushes {
                // A stopped actor has nothing to flush.
                drop(flushed.await);
            }
        };
        if tokio::time::timeout(self.flush_max(slots, FLUSH_MAX), all).await.is_err() {
            self.give_up_closes(slots);
            tracing::warn!(session = %self.id(), slots = slots.len(), "flush of draining vnodes timed out; their unanswered calls are repeated at the new owner");
        }
    }
}
