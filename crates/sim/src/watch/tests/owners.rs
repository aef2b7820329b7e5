//! Who may write for a slot, and when: invariant 5; and the epochs that a host knows: invariant 8.

use holocron_protocol::{ids::Epoch, state::checkpoint::Coverage};

use crate::watch::stage::{A, B, SLOT, Stage, entry, tenure};

#[test]
fn a_tenure_begins_after_the_previous_one_is_sealed() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.seal(A);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.write(B, &[("x", 2)]);
    stage.assert_clean();
}

#[test]
fn a_tenure_that_begins_before_the_previous_one_ends_is_a_violation() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.assert_breaks(5);
}

#[test]
fn a_release_for_a_later_owner_does_not_count_for_an_earlier_one() {
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
fn an_owner_that_missed_the_epochs_between_two_of_its_tenures_may_continue() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.epoch(&[tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    stage.write(A, &[("x", 2)]);
    stage.batch(B, |batch| batch.release(SLOT, Epoch::new(3)));
    let pack = stage.pack((A, 1), 1, &[("x", 2)]);
    stage.checkpoint(A, vec![pack], entry(1, Coverage::Full));
    stage.assert_clean();
    // The tenure under which it continues must stay listed.
    stage.epoch(&[tenure(A, 3), tenure(B, 2)]);
    stage.assert_breaks(1);
}

#[test]
fn a_slot_assigned_twice_before_its_adopt_is_adopted_only_under_the_newer_tenure() {
    let mut stage = Stage::held();
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.epoch(&[tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    stage.epoch(&[tenure(B, 4), tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
    // B was paused and reads all of them at once.
    stage.epoch(&[tenure(B, 4), tenure(A, 3), tenure(A, 1)]);
    stage.assert_clean();
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(2), &[tenure(A, 1)]));
    stage.assert_breaks(5);

    let mut stage = Stage::held();
    stage.epoch(&[tenure(B, 2), tenure(A, 1)]);
    // B may still adopt it.
    stage.epoch(&[tenure(A, 3), tenure(A, 1)]);
    stage.assert_breaks(1);
}

#[test]
fn no_record_without_an_adopt_or_after_a_release() {
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
fn adopts_and_releases_need_an_epoch_that_changed_the_owner() {
    let mut stage = Stage::held();
    stage.batch(B, |batch| batch.adopt(SLOT, Epoch::new(1), &[]));
    stage.assert_breaks(5);
    let mut stage = Stage::held();
    stage.epoch(&[tenure(A, 1)]);
    stage.batch(A, |batch| batch.release(SLOT, Epoch::new(2)));
    stage.assert_breaks(5);
}

#[test]
fn a_source_behind_a_full_checkpoint_need_not_have_ended() {
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
fn a_hosts_newest_epoch_never_goes_down_until_it_restarts() {
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
