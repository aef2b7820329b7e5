//! Who may write for a slot, and when: invariant 5; and the epochs a host has seen: invariant 8.

use holocron_protocol::{ids::Epoch, state::checkpoint::Coverage};

use crate::watch::stage::{A, B, SLOT, Stage, entry, tenure};

#[test]
fn a_tenure_begins_when_the_one_before_is_sealed() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.seal(A);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.write(B, &[("x", 2)]);
    stage.assert_clean();
}

#[test]
fn a_tenure_that_begins_before_the_one_before_ends_is_noticed() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.assert_breaks(5);
}

#[test]
fn a_release_for_a_later_owner_does_not_convince_an_earlier_one() {
    let mut stage = Stage::held();
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.epoch(&[tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    stage.epoch(&[tenure(B, 4), tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(4)));
    stage.assert_clean();
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.assert_breaks(5);
}

#[test]
fn a_slot_that_comes_and_goes_is_served_in_turn() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.write(B, &[("x", 2)]);
    stage.epoch(&[tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    stage.batch(B, |batch| batch.release(SLOT, Epoch::new(3)));
    let sources = [tenure(B, 2), tenure(A, 1)];
    stage.batch(A, |batch| batch.adopt(SLOT, Epoch::new(3), &sources));
    stage.write(A, &[("x", 3)]);
    stage.assert_clean();
}

#[test]
fn whoever_wrote_under_an_old_tenure_while_it_was_away_for_an_epoch_goes_on() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.epoch(&[tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    stage.write(A, &[("x", 2)]);
    stage.batch(B, |batch| batch.release(SLOT, Epoch::new(3)));
    let pack = stage.pack((A, 1), 1, &[("x", 2)]);
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.assert_clean();
    // What it goes on under must stay listed.
    stage.epoch(&[tenure(A, 3), tenure(B, 2)]);
    stage.assert_breaks(1);
}

#[test]
fn what_was_not_taken_up_in_time_and_given_again_is_taken_up_under_the_newer_tenure_only() {
    let mut stage = Stage::held();
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.epoch(&[tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    stage.epoch(&[tenure(B, 4), tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    // B, which slept, has read all of them at once.
    stage.epoch(&[tenure(B, 4), tenure(A, 3), tenure(A, 1)]);
    stage.assert_clean();
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.assert_breaks(5);

    let mut stage = Stage::held();
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    // B may still take it up.
    stage.epoch(&[tenure(A, 3), tenure(A, 1)]);
    stage.assert_breaks(1);
}

#[test]
fn nothing_is_written_without_an_adopt_or_behind_a_release() {
    let mut stage = Stage::new();
    stage.epoch(&[tenure(A, 1)]);
    stage.write(A, &[("x", 1)]);
    stage.assert_breaks(5);

    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.write(A, &[("x", 2)]);
    stage.assert_breaks(5);
}

#[test]
fn nobody_adopts_what_was_given_to_another_or_releases_what_was_not_given_away() {
    let mut stage = Stage::held();
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(1), &[]));
    stage.assert_breaks(5);
    let mut stage = Stage::held();
    stage.epoch(&[tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.assert_breaks(5);
}

#[test]
fn what_is_settled_need_not_have_been_seen_to_end() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    let pack = stage.pack((A, 1), 1, &[("x", 1)]);
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.seal(A);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.write(B, &[("x", 2)]);
    stage.assert_clean();
}

#[test]
fn the_epochs_a_host_knows_go_up_until_it_starts_anew() {
    let stage = Stage::new();
    for epoch in [1, 2, 2, 5] {
        stage.watch.says("a", Epoch::new(epoch));
    }
    stage.watch.says("b", Epoch::new(1));
    stage.watch.started("a");
    stage.watch.says("a", Epoch::new(3));
    stage.assert_clean();
    stage.watch.says("a", Epoch::new(2));
    stage.assert_breaks(8);
}
