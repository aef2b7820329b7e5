//! Taking slots up and giving them away: where phase, gate and journal change together.
//!
//! What is owed to a slot is decided by `protocol::ownership`; this carries it out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, Epoch, Position, Slot, Tenure},
    slot::tenure::{Duty, Submitted, duty},
    state::index::SlotIndex,
};
use tokio::sync::oneshot;

use super::Session;
use crate::{
    api::call::{Call, Outcome, ReplyTo},
    session::{
        actor::Message,
        journal::{Adoption, Closed},
        slots::{Coming, Phase, Serving, SlotState},
    },
};

/// How long the vnodes of a leaving slot have to hand their state over. What they don't hand over by then was not
/// acknowledged: its callers try again at the new owner.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// A slot whose sources have been read to their end.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) slot: Slot,
    pub(crate) tenure: Tenure,
    pub(crate) sources: Vec<Tenure>,
    pub(crate) index: SlotIndex,
}

/// A slot that is to be recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) slot: Slot,
    pub(crate) tenure: Tenure,
    pub(crate) sources: Vec<Tenure>,
    /// What this session has submitted about it.
    pub(crate) submitted: Submitted,
}

impl Session {
    /// Acts on a newer epoch record. Slots that come wait to be recovered ([`Session::wanted`]); those returned must be
    /// released, each with the epoch that gave it away.
    pub(crate) fn apply(&self, record: &EpochRecord) -> Vec<(Slot, Epoch)> {
        self.note_epoch(record.epoch);
        let domain = record.domains.get(&DomainId::HOME).expect("every record has the home domain");
        let mut releases = Vec::new();
        let mut lost: Vec<(Call, ReplyTo)> = Vec::new();
        let mut table = self.slots.lock();
        for (slot, holding) in domain.slots.iter() {
            let state = table.get_mut(slot);
            match duty(self.id(), slot, holding, state.submitted) {
                Duty::Nothing => {
                    if let Phase::Coming(_) = state.phase {
                        lost.extend(table.change(slot, Phase::Elsewhere));
                    }
                }
                // It came back before its Release was submitted: it goes on as if it had never left.
                Duty::Serve(_) => {
                    if let Phase::Leaving(serving) = &state.phase {
                        state.phase = Phase::Serving(*serving);
                    }
                }
                Duty::Recover(epoch) => {
                    let tenure = Tenure { epoch, session: self.id() };
                    state.come(slot, tenure, holding.sources.clone());
                }
                Duty::Release(epoch) => match &state.phase {
                    Phase::Serving(serving) => {
                        state.phase = Phase::Leaving(*serving);
                        releases.push((slot, epoch));
                    }
                    // It is being released already.
                    Phase::Leaving(_) => {}
                    Phase::Coming(_) | Phase::Elsewhere => {
                        lost.extend(table.change(slot, Phase::Elsewhere));
                        releases.push((slot, epoch));
                    }
                },
            }
        }
        drop(table);
        for (_, reply) in lost {
            self.refuse(reply, Outcome::NotOwner);
        }
        releases
    }

    /// The slots that are to be recovered.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let table = self.slots.lock();
        let coming = table.iter().filter_map(|(slot, state)| match &state.phase {
            Phase::Coming(coming) => Some(Wanted {
                slot,
                tenure: coming.tenure,
                sources: coming.sources.clone(),
                submitted: state.submitted,
            }),
            Phase::Elsewhere | Phase::Serving(_) | Phase::Leaving(_) => None,
        });
        coming.collect()
    }

    /// Adopts recovered slots that are still coming under the same tenure, and runs the calls that waited for them.
    pub(crate) fn adopt(self: &Arc<Self>, recovered: Vec<Recovered>) -> Result<(), Closed> {
        let mut waited: Vec<(Call, ReplyTo)> = Vec::new();
        let mut table = self.slots.lock();
        let still_coming: Vec<Recovered> = recovered
            .into_iter()
            .filter(|recovered| {
                matches!(&table.get(recovered.slot).phase, Phase::Coming(coming) if coming.tenure == recovered.tenure)
            })
            .collect();
        if still_coming.is_empty() {
            return Ok(());
        }
        let adoptions: Vec<Adoption> = still_coming
            .iter()
            .map(|recovered| {
                assert_eq!(
                    recovered.tenure.session,
                    self.id(),
                    "{} adopted for another session",
                    recovered.slot
                );
                let sources = recovered.sources.clone();
                Adoption { slot: recovered.slot, epoch: recovered.tenure.epoch, sources }
            })
            .collect();
        // Commands may run at once: they queue behind the Adopt in the same journal.
        let since = self.journal.adopt(&adoptions)?;
        for Recovered { slot, tenure, index, .. } in still_coming {
            let serving = Serving { epoch: tenure.epoch, since };
            waited.extend(table.change(slot, Phase::Serving(serving)));
            let state = table.get_mut(slot);
            let before = state.submitted;
            assert!(
                before.adopted < tenure.epoch && before.released < tenure.epoch,
                "{slot} adopted out of order"
            );
            state.submitted.adopted = tenure.epoch;
            state.recovered.insert(tenure.epoch, index);
        }
        drop(table);
        self.copy_soon(since);
        for (call, reply) in waited {
            self.call(call, reply);
        }
        Ok(())
    }

    /// Has what was adopted copied into packs of our own, once it is served: that lets the sources go. Not at once, since
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

    /// Lets the vnodes of slots that are leaving hand over what they did, and commits the slots' Release. Returns where
    /// it stands once it is committed; none when nothing was left to release.
    pub(crate) async fn release(
        self: Arc<Self>,
        slots: Vec<(Slot, Epoch)>,
    ) -> Result<Option<Position>, Closed> {
        self.flush(&slots).await;
        let Some(position) = self.submit_release(&slots)? else {
            return Ok(None);
        };
        self.journal.until_committed(position).await?;
        Ok(Some(position))
    }

    fn submit_release(&self, slots: &[(Slot, Epoch)]) -> Result<Option<Position>, Closed> {
        let mut table = self.slots.lock();
        // One that came back meanwhile isn't released.
        let due: Vec<(Slot, Epoch)> =
            slots.iter().copied().filter(|&(slot, epoch)| table.get(slot).is_due(epoch)).collect();
        if due.is_empty() {
            return Ok(None);
        }
        // From here on nothing of these slots can be appended: the gates close with the records.
        let position = self.journal.release(&due)?;
        let mut supervisors = Vec::new();
        for &(slot, epoch) in &due {
            let state = table.get_mut(slot);
            state.phase = Phase::Elsewhere;
            state.submitted.released = epoch;
            supervisors.extend(state.supervisor.take());
        }
        drop(table);
        self.drop_active(&due.into_iter().collect());
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

    async fn flush(&self, slots: &[(Slot, Epoch)]) {
        let leaving: BTreeSet<Slot> = slots.iter().map(|&(slot, _)| slot).collect();
        let mut flushes = Vec::new();
        // The order does not matter: each only asks an actor to hand over what it has.
        for entry in &self.active {
            if leaving.contains(&entry.handle.slot) {
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
            tracing::warn!(slots = slots.len(), "some vnodes did not hand over in time");
        }
    }
}

impl SlotState {
    /// Notes that the slot is coming: from now on its calls wait.
    fn come(&mut self, slot: Slot, tenure: Tenure, sources: Vec<Tenure>) {
        match &mut self.phase {
            Phase::Coming(coming) => {
                coming.tenure = tenure;
                coming.sources = sources;
            }
            phase @ Phase::Elsewhere => {
                *phase = Phase::Coming(Coming { tenure, sources, waiting: Vec::new() });
            }
            Phase::Serving(_) | Phase::Leaving(_) => unreachable!("{slot} is here already"),
        }
    }

    /// Whether a Release of that epoch is still owed.
    fn is_due(&self, epoch: Epoch) -> bool {
        match self.phase {
            Phase::Leaving(_) => true,
            Phase::Elsewhere => self.submitted.released < epoch,
            Phase::Coming(_) | Phase::Serving(_) => false,
        }
    }
}
