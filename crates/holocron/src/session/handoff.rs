//! Adopting and releasing slots: carries out what `protocol::slot::residency` decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{Epoch, Position, Slot},
    slot::{recovery::Recovered, residency::Effect},
};
use tokio::sync::oneshot;

use super::Session;
use crate::{
    api::call::{Call, Outcome, ReplyTo},
    session::{
        actor::Message,
        journal::{Adoption, Closed, ReleasedSlots},
    },
};

/// How long the vnodes of a draining slot have to hand over their state. What they don't hand over by then was not
/// acknowledged: its callers repeat it at the new owner.
const FLUSH_MAX: Duration = Duration::from_secs(1);

impl Session {
    /// Acts on a newer epoch record. The slots returned must be released.
    pub(crate) fn apply(&self, record: &EpochRecord) -> Vec<Slot> {
        self.note_epoch(record.epoch);
        let mut to_release = Vec::new();
        let mut refused: Vec<(Call, ReplyTo)> = Vec::new();
        let mut table = self.slots.lock();
        for (slot, effect) in self.journal.learn(&record.home().slots) {
            match effect {
                // Recovery asks for what is wanted by itself.
                Effect::Recover => {}
                Effect::Drain => to_release.push(slot),
                Effect::RefuseWaiting => refused.extend(table.take_waiting(slot)),
                Effect::RunWaiting => unreachable!("{slot}: only an Adopt ends a recovery well"),
            }
        }
        drop(table);
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
        // Calls may run at once: what they append stands behind the Adopt in the same journal.
        let since = self.journal.adopt(&adoptions)?;
        for Recovered { slot, tenure, index, .. } in recovered {
            waited.extend(table.take_waiting(slot));
            table.get_mut(slot).recovered.insert(tenure.epoch, index);
        }
        drop(table);
        self.copy_soon(since);
        for (call, reply) in waited {
            self.call(call, reply);
        }
        Ok(())
    }

    /// Has what was adopted copied into own packs once it is served, which lets the sources go. Not at once, since
    /// callers wait.
    fn copy_soon(&self, adopted: Position) {
        let (journal, pause) = (Arc::clone(&self.journal), self.settings.copy_pause);
        tokio::spawn(async move {
            if journal.until_committed(adopted).await.is_ok() {
                tokio::time::sleep(pause).await;
                journal.want_checkpoint();
            }
        });
    }

    /// Has the vnodes of draining slots hand over, then commits the Releases that are owed. Says where they stand once
    /// they are committed; none when nothing was owed any more.
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
        drop(table);
        self.drop_active(&released);
        // All cached state of the slots goes: should one come back, it is recovered like any other.
        for supervisor in supervisors {
            supervisor.kill();
        }
        Ok(Some(position))
    }

    /// Takes the vnodes of released slots out of the directory: those served under a tenure that the Release ended.
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
        // The order does not matter: each only asks an actor to hand over what it has.
        for entry in &self.active {
            if draining.contains(&entry.handle.slot) {
                let (done, flushed) = oneshot::channel();
                drop(entry.actor.cast(Message::Flush(done)));
                flushes.push(flushed);
            }
        }
        let all = async {
            for flushed in flushes {
                // An actor that is gone has nothing to hand over.
                drop(flushed.await);
            }
        };
        if tokio::time::timeout(FLUSH_MAX, all).await.is_err() {
            tracing::warn!(session = %self.id(), slots = slots.len(), "flush of draining vnodes timed out; their unanswered calls are repeated at the new owner");
        }
    }
}
