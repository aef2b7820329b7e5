//! Positions, epochs, seals and marks: invariants 2, 3, 4 and 6, and 7 for packs.

use holocron_protocol::{
    format::keys,
    ids::{Epoch, Nonce, PackNumber, Position, Segment},
    state::checkpoint::{Coverage, SlotEntry},
};

use crate::watch::stage::{A, B, SLOT, Stage, answered, entry, state, tenure};

fn position(number: u64) -> String {
    keys::journal_position(A, Position::new(number))
}

/// A has written five batches, and a checkpoint of them at position 6.
fn checkpointed() -> Stage {
    let mut stage = Stage::held();
    for commit in 1..=4 {
        stage.write(A, &[("x", commit)]);
    }
    let pack = stage.pack((A, 1), 1, &[("x", 4)]);
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage
}

#[test]
fn a_correct_session_has_no_violation() {
    let mut stage = checkpointed();
    stage.trim_mark(A, 0);
    for number in 0..4 {
        stage.delete(&position(number));
    }
    // A create lands again after a trim.
    let batch = stage.next(A);
    stage.write(A, &[("x", 5)]);
    stage.seal(A);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(B, |batch| {
        batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]);
        state(batch, "x", 6, &answered(6, 6));
    });
    let pack = stage.pack((B, 1), 2, &[("x", 6)]);
    stage.checkpoint(B, vec![pack], entry(2, Coverage::Full));
    stage.detach(A);
    stage.epoch(&[tenure(B, 2)]);
    stage.end_mark(A);
    stage.delete(&position(batch.position.get()));
    stage.delete(&keys::pack(A, PackNumber::new(1)));
    stage.assert_clean();
}

#[test]
fn a_late_copy_in_a_trimmed_segment_is_harmless_but_other_bytes_are_not() {
    let mut stage = checkpointed();
    stage.trim_mark(A, 0);
    let (second, third) = (stage.get(&position(2)), stage.get(&position(3)));
    stage.delete(&position(2));
    stage.delete(&position(3));
    stage.create(&position(2), &second);
    // So is a seal by a host that took the trimmed segment for the end of the journal.
    stage.seal_at(A, Position::new(3));
    stage.assert_clean();
    stage.delete(&position(3));
    stage.create(&position(2), &third);
    stage.assert_breaks(2);
}

#[test]
fn a_second_batch_at_a_position_is_a_violation() {
    let mut stage = checkpointed();
    stage.trim_mark(A, 0);
    stage.delete(&position(2));
    let mut header = stage.next(A);
    header.position = Position::new(2);
    header.committed = Position::new(1);
    (header.low_water, header.checkpoint_at) = (Position::ZERO, Position::ZERO);
    stage.batch_with(header, |batch| state(batch, "x", 1, &answered(9, 1)));
    stage.assert_breaks(2);
}

#[test]
fn an_epoch_that_does_not_follow_is_a_violation() {
    let mut stage = Stage::held();
    let mut record = stage.next_epoch(&[tenure(A, 1)]);
    record.epoch = Epoch::new(3);
    stage.create(&keys::epoch(record.epoch), &record.encode(Nonce::new(1)));
    stage.assert_breaks(2);
}

#[test]
fn each_kind_of_object_is_either_put_or_created() {
    let mut stage = Stage::held();
    let batch = stage.get(&position(1));
    stage.put(&position(1), &batch);
    stage.assert_breaks(2);
    let mut stage = checkpointed();
    stage.pack((A, 1), 1, &[("x", 3)]);
    stage.assert_breaks(2);
}

#[test]
fn a_seal_goes_right_after_what_is_committed() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.seal(A);
    stage.assert_clean();
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.seal_at(A, Position::new(4));
    stage.assert_breaks(3);
}

#[test]
fn a_second_seal_and_one_with_other_content_are_violations() {
    let mut stage = Stage::held();
    stage.seal(A);
    stage.seal_at(A, Position::new(3));
    stage.assert_breaks(3);

    let mut stage = checkpointed();
    let mut header = stage.next(A);
    (header.low_water, header.checkpoint_at) = (Position::ZERO, Position::ZERO);
    stage.batch_with(header, |batch| state(batch, "x", 5, &answered(5, 5)));
    stage.assert_breaks(4);
}

#[test]
fn an_epoch_with_a_wrong_seal_is_a_violation() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.seal(A);
    let mut record = stage.next_epoch(&[tenure(B, 2), tenure(A, 1)]);
    let entry = record.sessions.get_mut(&A).unwrap();
    entry.state = holocron_protocol::epoch::record::SessionState::Sealed(Some(Position::new(2)));
    stage.create(&keys::epoch(record.epoch), &record.encode(Nonce::new(1)));
    stage.assert_breaks(3);
}

#[test]
fn no_batch_is_deleted_before_its_mark_or_before_a_committed_checkpoint() {
    let mut stage = checkpointed();
    stage.delete(&position(2));
    stage.assert_breaks(4);

    // The mark and the deletion happen without the checkpoint.
    let mut stage = Stage::held();
    for commit in 1..=4 {
        stage.write(A, &[("x", commit)]);
    }
    stage.trim_mark(A, 0);
    stage.assert_breaks(4);

    let mut stage = checkpointed();
    stage.trim_mark(A, 0);
    stage.trim_mark(A, 1);
    stage.assert_breaks(4);
}

#[test]
fn the_end_mark_waits_for_an_epoch_that_detaches() {
    let mut stage = Stage::held();
    stage.seal(A);
    stage.end_mark(A);
    stage.assert_breaks(4);
}

#[test]
fn recent_epochs_are_neither_marked_nor_deleted() {
    let mut stage = Stage::held();
    for _ in 0..18 {
        stage.epoch(&[tenure(A, 1)]);
    }
    let mark = |stage: &mut Stage, segment| {
        let body = stage.get(&position(0));
        stage.create(&keys::epoch_mark(Segment::new(segment)), &body);
    };
    mark(&mut stage, 0);
    stage.delete(&keys::epoch(Epoch::new(2)));
    stage.assert_clean();
    mark(&mut stage, 1);
    stage.assert_breaks(4);
    let mut stage = Stage::held();
    stage.epoch(&[tenure(A, 1)]);
    stage.delete(&keys::epoch(Epoch::new(1)));
    stage.assert_breaks(4);
}

#[test]
fn seals_and_marks_are_never_deleted_and_marks_leave_no_gap() {
    let mut stage = Stage::held();
    stage.seal(A);
    stage.delete(&position(2));
    stage.assert_breaks(6);

    let mut stage = checkpointed();
    stage.trim_mark(A, 0);
    stage.delete(&keys::trim_mark(A, Segment::ZERO));
    stage.assert_breaks(6);

    let mut stage = checkpointed();
    stage.trim_mark(A, 1);
    stage.assert_breaks(6);
}

#[test]
fn a_pack_that_is_named_exists_as_it_is_named() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    let mut pack = stage.pack((A, 1), 1, &[("x", 1)]);
    stage.delete(&keys::pack(A, PackNumber::new(1)));
    stage.assert_clean();
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.assert_breaks(7);

    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.pack((A, 1), 1, &[("x", 1)]);
    pack.length += 1;
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.assert_breaks(7);
}

#[test]
fn a_pack_is_deleted_only_after_a_committed_checkpoint_drops_it() {
    let mut stage = checkpointed();
    let pack = stage.pack((A, 2), 1, &[("x", 4)]);
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.delete(&keys::pack(A, PackNumber::new(1)));
    stage.assert_clean();
    stage.delete(&keys::pack(A, PackNumber::new(2)));
    stage.assert_breaks(7);
}

#[test]
fn a_pack_that_readers_of_a_release_use_stays_while_the_released_slot_is_listed() {
    // A wrote x into a pack, released the slot, and merged the pack with another one.
    let released = || {
        let mut stage = Stage::held();
        stage.write(A, &[("x", 1)]);
        let pack = stage.pack((A, 1), 1, &[("x", 1)]);
        stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
        stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
        stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
        let merged = stage.pack((A, 2), 1, &[("x", 1)]);
        let slot = SlotEntry { released: Epoch::new(2), ..entry(1, Coverage::Full) };
        stage.checkpoint(A, vec![merged], slot);
        stage.assert_clean();
        stage
    };
    let mut stage = released();
    stage.delete(&keys::pack(A, PackNumber::new(1)));
    stage.assert_breaks(7);

    let mut stage = released();
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    let copied = stage.pack((B, 1), 2, &[("x", 1)]);
    stage.checkpoint(B, vec![copied], entry(2, Coverage::Full));
    stage.epoch(&[tenure(B, 2)]);
    stage.delete(&keys::pack(A, PackNumber::new(1)));
    stage.assert_clean();
}
