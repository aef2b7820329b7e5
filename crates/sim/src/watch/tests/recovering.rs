//! What a recovery finds at every moment: invariant 1.

use holocron_protocol::{
    format::keys,
    ids::{Epoch, Position},
    state::checkpoint::{Coverage, SlotEntry, TenureEntry},
};

use crate::watch::stage::{A, B, SLOT, Stage, entry, tenure};

/// A wrote x and y, then released the slot to B.
fn moved() -> Stage {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1), ("y", 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.assert_clean();
    stage
}

#[test]
fn an_owner_that_continues_without_a_gap_is_correct_and_one_that_repeats_has_lost_records() {
    let mut stage = moved();
    stage.write(B, &[("x", 2)]);
    stage.assert_clean();
    stage.write(B, &[("y", 1)]);
    stage.assert_breaks(1);
}

#[test]
fn a_gap_in_commit_numbers_is_a_violation() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.write(A, &[("x", 3)]);
    stage.assert_breaks(1);
}

#[test]
fn a_checkpoint_has_everything_that_was_written_below_it() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1), ("y", 1)]);
    stage.write(A, &[("x", 2)]);
    let pack = stage.pack((A, 1), 1, &[("x", 2)]);
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.assert_breaks(1);

    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.write(A, &[("x", 2)]);
    let pack = stage.pack((A, 1), 1, &[("x", 1)]);
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.assert_breaks(1);
}

#[test]
fn a_part_is_not_full() {
    let checkpoint = |coverage| {
        let mut stage = moved();
        stage.write(B, &[("x", 2)]);
        let pack = stage.pack((B, 1), 2, &[("x", 2)]);
        stage.checkpoint(B, vec![pack], entry(2, coverage));
        stage
    };
    checkpoint(Coverage::Part).assert_clean();
    // y is in A's journal only.
    checkpoint(Coverage::Full).assert_breaks(1);
}

#[test]
fn a_slot_is_in_checkpoints_as_long_as_it_is_listed() {
    let released = |tenures: Vec<TenureEntry>| {
        let mut stage = moved();
        let pack = stage.pack((A, 1), 1, &[("x", 1), ("y", 1)]);
        let slot = SlotEntry { released: Epoch::new(2), tenures };
        stage.checkpoint(A, vec![pack], slot);
        stage
    };
    released(entry(1, Coverage::Full).tenures).assert_clean();
    released(Vec::new()).assert_breaks(1);
}

#[test]
fn a_source_is_dropped_only_after_a_full_checkpoint() {
    let mut stage = moved();
    let pack = stage.pack((B, 1), 2, &[("x", 1), ("y", 1)]);
    stage.checkpoint(B, vec![pack], entry(2, Coverage::Full));
    stage.epoch(&[tenure(B, 2)]);
    stage.assert_clean();

    let mut stage = moved();
    stage.epoch(&[tenure(B, 2)]);
    stage.assert_breaks(1);
}

#[test]
fn a_source_that_never_adopted_may_be_dropped_when_it_has_ended() {
    let mut stage = Stage::new();
    stage.epoch(&[tenure(A, 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.epoch(&[tenure(B, 2)]);
    stage.assert_clean();

    let mut stage = Stage::new();
    stage.epoch(&[tenure(A, 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.epoch(&[tenure(B, 2)]);
    stage.assert_breaks(1);
}

#[test]
fn a_missing_batch_is_not_taken_for_empty() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.write(A, &[("x", 2)]);
    stage.delete(&keys::journal_position(A, Position::new(2)));
    stage.seal(A);
    stage.assert_breaks(1);
}

#[test]
fn a_batch_deleted_from_outside_is_no_violation() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.write(A, &[("x", 2)]);
    stage.delete_outside(&keys::journal_position(A, Position::new(2)));
    stage.seal(A);
    stage.assert_clean();
}

#[test]
fn a_batch_above_a_gap_is_committed_when_the_gap_is_filled() {
    let mut stage = Stage::held();
    let first = stage.next(A);
    let mut second = first;
    second.position = first.position.next();
    let write = |stage: &mut Stage, header, commit| {
        stage.batch_with(header, |batch| {
            let envelope = crate::watch::stage::answered(commit, commit);
            crate::watch::stage::state(batch, "x", commit, &envelope);
        });
    };
    write(&mut stage, second, 2);
    write(&mut stage, first, 1);
    stage.assert_clean();
}
