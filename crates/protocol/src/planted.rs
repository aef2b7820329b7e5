//! The wrong variants of rules: what each planted bug does, kept out of the rules themselves.
//!
//! The pattern, the same at every site:
//!
//! * The rule comes first and is complete. Then one line passes its result through a function of this module, which
//!   returns its first argument, or does nothing, unless the bug is planted: `let sees = planted::sees(sees, writer)`.
//! * The function is named after the value that it returns, and documents the [`Bug`] and what goes wrong. There is one
//!   function per bug and site; where several bugs meet at one site, one function calls theirs.
//! * Only this module and its parts call [`is_planted`]. Functions stand in the order of the files that call them.
//! * Each function is `#[inline]`: in a release build `is_planted` is the constant `false`, and nothing remains of it.

mod control;
mod deferred;

use alloc::{string::String, vec::Vec};

use holocron_planted::{Bug, is_planted};

pub(crate) use self::{control::*, deferred::*};
use crate::{
    epoch::placement::Readers,
    format::segment::{TrimStep, Trimmed},
    ids::{CommitNumber, Epoch, PackNumber, Position, Segment, Tenure},
    journal::{
        batch::BatchHeader,
        sealing::{SealEffect, Sealed, Sealing},
        writer::Writer,
    },
    request::{
        fork::Created,
        window::{Recorded, RequestId, Window},
    },
    slot::{lifecycle, listing::Newest, tenure::Submitted},
    state::place::Place,
    time::Time,
};

// checkpoint/collect.rs

/// [`Bug::DeleteSeal`]: the seal counts as garbage.
#[inline]
pub(crate) fn is_garbage(rule: bool) -> bool {
    rule || is_planted(Bug::DeleteSeal)
}

// checkpoint/plan.rs

/// [`Bug::PartAsFull`]: a tenure counts as copied whole although some of its entries were not copied.
#[inline]
pub(crate) fn is_whole(is_whole: bool) -> bool {
    is_whole || is_planted(Bug::PartAsFull)
}

// checkpoint/retain.rs

/// [`Bug::DeletePacksInFlight`]: the packs of a checkpoint whose record is in flight count as given up: `committed` is the
/// first number that was free when the newest committed one was built.
#[inline]
pub(crate) fn given_up_from(appended: PackNumber, committed: PackNumber) -> PackNumber {
    if is_planted(Bug::DeletePacksInFlight) { committed } else { appended }
}

/// [`Bug::DeletePacksInUse`]: no session counts as a reader.
#[inline]
pub(crate) fn unread(rule: bool) -> bool {
    rule || is_planted(Bug::DeletePacksInUse)
}

/// [`Bug::DeletePacksToCome`]: a pack counts as settled although it may belong to the next checkpoint.
#[inline]
pub(crate) fn is_settled(rule: bool) -> bool {
    rule || is_planted(Bug::DeletePacksToCome)
}

/// [`Bug::TrimBeforeCommit`]: `due` is what the appended checkpoint covers, committed or not.
#[inline]
pub(crate) fn next_trim(
    rule: impl FnOnce() -> Option<TrimStep>,
    trimmed: Trimmed,
    due: Segment,
) -> Option<TrimStep> {
    if is_planted(Bug::TrimBeforeCommit) { trimmed.next_step(due) } else { rule() }
}

// epoch/domain.rs

/// [`Bug::TakeOverNames`]: a new domain may take names whose vnodes exist in the home domain.
#[inline]
pub(crate) fn are_new(rule: bool) -> bool {
    rule || is_planted(Bug::TakeOverNames)
}

// epoch/draft.rs

/// [`Bug::EndHostForDomain`]: a host that can't reach the store of one domain loses all its sessions.
#[inline]
pub(crate) fn ends_host(rule: bool) -> bool {
    rule || is_planted(Bug::EndHostForDomain)
}

/// [`Bug::JudgeByName`]: a session that is over counts as lived by the host that has its name now.
#[inline]
pub(crate) fn lives(lives: bool) -> bool {
    lives || is_planted(Bug::JudgeByName)
}

// epoch/draft/domains.rs

/// [`Bug::DropSourceOfOldTenure`]: a full checkpoint of any tenure of the owner's session lets every source go.
#[inline]
pub(crate) fn sources_after_full(sources: &mut Vec<Tenure>, owner: Option<Tenure>, full: Tenure) {
    if is_planted(Bug::DropSourceOfOldTenure)
        && owner.is_some_and(|owner| owner.session == full.session)
    {
        sources.clear();
    }
}

/// [`Bug::ShardsByChance`]: no slot counts as holding shards, so they are wherever their slots are.
#[inline]
pub(crate) fn shards(mut by_slot: Vec<u16>) -> Vec<u16> {
    if is_planted(Bug::ShardsByChance) {
        by_slot.fill(0);
    }
    by_slot
}

/// [`Bug::DropSourceEarly`]: a slot that moves brings only its last tenure along.
#[inline]
pub(crate) fn older_sources(older: &[Tenure]) -> &[Tenure] {
    if is_planted(Bug::DropSourceEarly) { &[] } else { older }
}

// epoch/draft/versions.rs

/// [`Bug::PlaceUnread`]: every host may have every slot, whatever it can read.
#[inline]
pub(crate) fn readers(rule: Option<Readers>) -> Option<Readers> {
    rule.filter(|_| !is_planted(Bug::PlaceUnread))
}

// journal/batch.rs

/// [`Bug::CheckpointNamesPrevious`]: the header is checked as if the batch carried no checkpoint.
#[inline]
pub(crate) fn names_itself(carries_checkpoint: bool) -> bool {
    carries_checkpoint && !is_planted(Bug::CheckpointNamesPrevious)
}

// backup/taking.rs

/// [`Bug::CutAcrossEpochs`]: the record of a cut counts as the newest although there is a newer one.
#[inline]
pub(crate) fn is_newest(rule: bool) -> bool {
    rule || is_planted(Bug::CutAcrossEpochs)
}

// journal/freeze.rs

/// [`Bug::CutInFlight`]: a frozen session gives its position while a batch is in flight.
#[inline]
pub(crate) fn is_fixed(rule: bool) -> bool {
    rule || is_planted(Bug::CutInFlight)
}

/// [`Bug::CutThawed`]: a session that went on says that it was frozen.
#[inline]
pub(crate) fn was_frozen(rule: bool) -> bool {
    rule || is_planted(Bug::CutThawed)
}

// journal/read_barrier.rs

/// What a read waits for: whether for a barrier, else for the commit of which batch.
#[inline]
pub(crate) fn read_waits_for(
    needs_barrier: bool,
    sees: Position,
    writer: &Writer,
) -> (bool, Position) {
    let needs_barrier = without_barrier(needs_barrier);
    let (needs_barrier, sees) = until_batch_in_flight(needs_barrier, sees, writer);
    (needs_barrier, despite_open_batch(sees, writer))
}

/// [`Bug::SkipBarrier`]: no read waits for a barrier.
#[inline]
fn without_barrier(needs_barrier: bool) -> bool {
    needs_barrier && !is_planted(Bug::SkipBarrier)
}

/// [`Bug::WaitForBatchInFlight`]: a read waits for the commit of the last batch in flight, instead of a barrier.
#[inline]
fn until_batch_in_flight(needs_barrier: bool, sees: Position, writer: &Writer) -> (bool, Position) {
    if is_planted(Bug::WaitForBatchInFlight) && writer.in_flight() > 0 {
        (false, sees.max(writer.submitted()))
    } else {
        (needs_barrier, sees)
    }
}

/// [`Bug::AnswerOpenBatch`]: a read that has seen the open batch waits for nothing.
#[inline]
fn despite_open_batch(sees: Position, writer: &Writer) -> Position {
    let is_open = sees > writer.submitted();
    if is_planted(Bug::AnswerOpenBatch) && is_open { Position::ZERO } else { sees }
}

/// [`Bug::IgnoreBatchInFlight`]: a read whose barrier found nothing waits only for what it has seen.
#[inline]
pub(crate) fn leaves_at(position: Position, sees: Position) -> Position {
    if is_planted(Bug::IgnoreBatchInFlight) { sees } else { position }
}

// journal/sealing/gap.rs

/// [`Bug::SealAtMax`]: the seal goes right behind the highest batch, although there may be a gap below it.
#[inline]
pub(crate) fn seal_effect(
    effect: SealEffect,
    sealing: &mut Sealing,
    highest: Option<BatchHeader>,
) -> SealEffect {
    match highest {
        Some(BatchHeader { position, low_water, checkpoint_at, .. })
            if is_planted(Bug::SealAtMax) =>
        {
            sealing.create(Sealed { position: position.next(), low_water, checkpoint_at })
        }
        Some(_) | None => effect,
    }
}

// journal/writer.rs

/// [`Bug::CheckpointNamesPrevious`]: a batch with a checkpoint names the newest committed checkpoint, not its own.
#[inline]
pub(crate) fn checkpoint_named<T>(named: T, committed: T) -> T {
    if is_planted(Bug::CheckpointNamesPrevious) { committed } else { named }
}

/// [`Bug::AcknowledgeOutOfOrder`]: the journal counts as committed up to the highest batch won, across any gap.
#[inline]
pub(crate) fn batches_committed(count: u32, won: u64) -> u32 {
    if is_planted(Bug::AcknowledgeOutOfOrder) { u64::BITS - won.leading_zeros() } else { count }
}

// request/fork.rs

/// [`Bug::ForkOverwrites`]: a vnode takes a given state although it has one.
#[inline]
pub(crate) fn created(rule: Created) -> Created {
    if is_planted(Bug::ForkOverwrites) { Created::Now } else { rule }
}

// request/watchers.rs

/// [`Bug::WatchNextOnly`]: a watcher that is behind waits like any other.
#[inline]
pub(crate) fn is_newer(rule: bool) -> bool {
    rule && !is_planted(Bug::WatchNextOnly)
}

// request/window.rs

/// [`Bug::WindowByAge`]: answers of four commits ago are forgotten, and the mark stays below them.
#[inline]
pub(crate) fn forget_by_age(window: &mut Window, open: CommitNumber) {
    if is_planted(Bug::WindowByAge) {
        let is_old = |recorded: &Recorded| open.get() - recorded.commit.get() >= 4;
        let old = window.answers().filter(|(_, recorded)| is_old(recorded));
        let old: Vec<RequestId> = old.map(|(id, _)| *id).collect();
        for id in old {
            window.forget(id.client, id.number..=id.number);
        }
    }
}

// request/window/evict.rs

/// [`Bug::ForgetAnswerWithoutMark`]: an evicted answer leaves the mark where it was.
#[inline]
pub(crate) fn mark_of_answer(mark: CommitNumber) -> CommitNumber {
    if is_planted(Bug::ForgetAnswerWithoutMark) { CommitNumber::ZERO } else { mark }
}

/// [`Bug::ForgetClientWithoutMark`]: an evicted client leaves the mark where it was.
#[inline]
pub(crate) fn mark_of_client(mark: CommitNumber) -> CommitNumber {
    if is_planted(Bug::ForgetClientWithoutMark) { CommitNumber::ZERO } else { mark }
}

// schema/record.rs

/// [`Bug::TrustShape`]: a host runs a version of a kind whatever shape its states have.
#[inline]
pub(crate) fn trust_shape(differences: Vec<String>) -> Vec<String> {
    if is_planted(Bug::TrustShape) { Vec::new() } else { differences }
}

// slot/lifecycle.rs

/// [`Bug::AdmitBeforeOpen`]: a call runs while an attempt to open is under way.
#[inline]
pub(crate) fn admission_while_opening(rule: lifecycle::Admission) -> lifecycle::Admission {
    if is_planted(Bug::AdmitBeforeOpen) { lifecycle::Admission::Run } else { rule }
}

/// [`Bug::EvictBeforeClose`]: the vnode leaves memory while it closes.
#[inline]
pub(crate) fn evict(mut rule: Vec<lifecycle::Effect>) -> Vec<lifecycle::Effect> {
    if is_planted(Bug::EvictBeforeClose) {
        rule.push(lifecycle::Effect::Evicted);
    }
    rule
}

// slot/listing.rs

/// [`Bug::ListIndexFirst`]: the record that the index names, although the tail has a newer one.
#[inline]
pub(crate) fn list_newest<T>(rule: Newest<T>, in_index: Place) -> Newest<T> {
    if is_planted(Bug::ListIndexFirst) { Newest::InIndex(in_index) } else { rule }
}

// slot/recovery.rs

/// [`Bug::NeverLookAgain`]: no deadline is kept.
#[inline]
pub(crate) fn look_at(rule: Option<Time>) -> Option<Time> {
    rule.filter(|_| !is_planted(Bug::NeverLookAgain))
}

// slot/replay.rs

/// [`Bug::MissingIsEmpty`]: any position is read as the next one, so that missing batches are skipped.
#[inline]
pub(crate) fn is_next(is_next: bool) -> bool {
    is_next || is_planted(Bug::MissingIsEmpty)
}

// slot/residency.rs

/// [`Bug::AppendAfterRelease`]: a record of a tenure is appended although its Release was appended.
#[inline]
pub(crate) fn may_append(rule: bool, submitted: Submitted, tenure: Epoch) -> bool {
    rule || (is_planted(Bug::AppendAfterRelease) && submitted.adopted == tenure)
}

/// [`Bug::KeepCache`]: the tail counts although its record may be of an earlier tenure.
#[inline]
pub(crate) fn keep_cache(rule: bool) -> bool {
    rule || is_planted(Bug::KeepCache)
}

/// [`Bug::ReleaseBeforeClose`]: what is still open doesn't count.
#[inline]
pub(crate) fn is_closed(rule: bool) -> bool {
    rule || is_planted(Bug::ReleaseBeforeClose)
}

// slot/tenure.rs

/// [`Bug::ReleaseAhead`]: a Release of a later epoch than the adopter's counts.
#[inline]
pub(crate) fn release_counts(rule: bool) -> bool {
    rule || is_planted(Bug::ReleaseAhead)
}

/// [`Bug::UnseenEnd`], and [`Bug::LooseRelease`] where any Release was seen.
#[inline]
pub(crate) fn ended(rule: bool, released: Epoch) -> bool {
    rule || is_planted(Bug::UnseenEnd) || (is_planted(Bug::LooseRelease) && released > Epoch::ZERO)
}
