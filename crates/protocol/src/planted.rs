//! The wrong variants of rules: what each planted bug does, kept out of the rules themselves.
//!
//! The pattern, the same at every site:
//!
//! * The rule comes first and is complete. Then one line passes its result through a function of this module, which
//!   returns its first argument, or does nothing, unless the bug is planted: `let sees = planted::sees(sees, writer)`.
//! * The function is named after the value that it returns, and documents the [`Bug`] and what goes wrong. There is one
//!   function per bug and site; where several bugs meet at one site, one function calls theirs.
//! * Only this module calls [`is_planted`]. Functions stand in the order of the files that call them.
//! * Each function is `#[inline]`: in a release build `is_planted` is the constant `false`, and nothing remains of it.

use alloc::vec::Vec;

use holocron_planted::{Bug, is_planted};

use crate::{
    ids::{CommitNumber, Position},
    journal::{
        batch::BatchHeader,
        sealing::{SealEffect, Sealed, Sealing},
        writer::Writer,
    },
    request::window::{Recorded, RequestId, Window},
};

// checkpoint/plan.rs

/// [`Bug::PartAsFull`]: a tenure counts as copied whole although some of its entries were not copied.
#[inline]
pub(crate) fn is_whole(is_whole: bool) -> bool {
    is_whole || is_planted(Bug::PartAsFull)
}

// control/loss.rs

/// [`Bug::WitnessTooNew`]: the newest committed batch is trusted, although it may stand in the other store as well.
#[inline]
pub(crate) fn batches_in_doubt(in_doubt: u64) -> u64 {
    if is_planted(Bug::WitnessTooNew) { 0 } else { in_doubt }
}

// journal/batch.rs

/// [`Bug::CheckpointNamesPrevious`]: the header is checked as if the batch carried no checkpoint.
#[inline]
pub(crate) fn names_itself(carries_checkpoint: bool) -> bool {
    carries_checkpoint && !is_planted(Bug::CheckpointNamesPrevious)
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

// slot/replay.rs

/// [`Bug::MissingIsEmpty`]: any position is read as the next one, so that missing batches are skipped.
#[inline]
pub(crate) fn is_next(is_next: bool) -> bool {
    is_next || is_planted(Bug::MissingIsEmpty)
}
