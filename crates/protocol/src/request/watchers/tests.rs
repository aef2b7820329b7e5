//! Watchers of one vnode, told as stories.

use super::*;

const VNODE: VnodeHash = VnodeHash::from_bits(7);
const NOBODY: [u32; 0] = [];
const SECOND: Duration = Duration::from_secs(1);

fn of(tenure: u64) -> Watched {
    Watched { vnode: VNODE, slot: Slot(3), tenure: Epoch::new(tenure) }
}

fn commit(number: u64) -> CommitNumber {
    CommitNumber::new(number)
}

fn at(seconds: u32) -> Time {
    Time::ZERO + SECOND * seconds
}

fn watcher(after: u64, caller: u32) -> Watcher<u32> {
    Watcher { after: commit(after), hold: 10 * SECOND, caller }
}

#[test]
fn a_watcher_waits_for_the_next_commit_and_one_that_is_behind_does_not_wait() {
    let mut watchers = Watchers::default();
    assert_eq!(watchers.arrive(at(0), of(1), commit(5), watcher(5, 1)), Arrival::Waits);
    assert_eq!(watchers.arrive(at(0), of(1), commit(5), watcher(4, 2)), Arrival::Newer(2));
    assert_eq!(watchers.arrive(at(0), of(1), commit(5), watcher(8, 3)), Arrival::Waits);
    assert_eq!(watchers.commits(of(1), commit(6)), [1]);
    assert_eq!((watchers.commits(of(1), commit(8)), watchers.waiting()), (Vec::new(), 1));
    assert_eq!(watchers.commits(of(1), commit(9)), [3]);
    assert!(watchers.is_empty() && watchers.expire(at(99)).is_empty());
}

#[test]
fn a_watcher_is_told_at_its_deadline_that_nothing_came_and_waits_again_without_the_vnode() {
    let mut watchers = Watchers::default();
    assert_eq!(watchers.arrive(at(0), of(1), commit(5), watcher(5, 1)), Arrival::Waits);
    assert_eq!(watchers.expire(at(9)), []);
    assert_eq!(watchers.expire(at(10)), [(commit(5), 1)]);
    let known = watchers.newest(VNODE, Epoch::new(1));
    assert_eq!(known, Some(commit(5)), "kept for those that come again");
    assert_eq!(watchers.newest(VNODE, Epoch::new(2)), None, "another tenure may have committed");
    assert_eq!(watchers.arrive(at(11), of(1), known.unwrap(), watcher(5, 2)), Arrival::Waits);
    assert_eq!(watchers.expire(at(15)), [], "it is watched again");
    assert_eq!(watchers.expire(at(21)), [(commit(5), 2)]);
    assert_eq!(watchers.expire(at(26)), []);
    assert!(watchers.is_empty(), "nothing is kept for ever");
}

#[test]
fn a_released_slot_takes_its_watchers_along_unless_they_are_of_a_later_tenure() {
    let mut watchers = Watchers::default();
    assert_eq!(watchers.arrive(at(0), of(4), commit(1), watcher(1, 1)), Arrival::Waits);
    let release = |slot, epoch| BTreeMap::from([(Slot(slot), Epoch::new(epoch))]);
    assert_eq!(watchers.release(&release(2, 9)), NOBODY);
    assert_eq!(watchers.release(&release(3, 4)), NOBODY, "it has come back since");
    assert_eq!(watchers.release(&release(3, 5)), [1]);
    assert_eq!((watchers.is_empty(), watchers.waiting()), (true, 0));
    assert_eq!(watchers.arrive(at(0), of(6), commit(3), watcher(3, 2)), Arrival::Waits);
    assert_eq!(watchers.arrive(at(0), of(8), commit(9), watcher(9, 3)), Arrival::Waits);
    assert_eq!(watchers.arrive(at(0), of(6), commit(3), watcher(3, 4)), Arrival::Refused(4));
    assert_eq!(
        watchers.commits(of(6), commit(4)),
        NOBODY,
        "a host that still has the vnode in memory"
    );
    assert_eq!(watchers.take_all(), [3], "those of an older tenure don't wait");
}

#[test]
fn watchers_are_bounded() {
    let mut watchers = Watchers::default();
    for caller in (0..).take(VNODE_MAX) {
        assert_eq!(watchers.arrive(at(0), of(1), commit(1), watcher(1, caller)), Arrival::Waits);
    }
    assert_eq!(watchers.arrive(at(0), of(1), commit(1), watcher(1, 0)), Arrival::Refused(0));
    let mut vnode = 0;
    while watchers.waiting() < ALL_MAX {
        vnode += 1;
        let of = Watched { vnode: VnodeHash::from_bits(1_000 + vnode), ..of(1) };
        assert_eq!(watchers.arrive(at(0), of, commit(1), watcher(1, 0)), Arrival::Waits);
    }
    let of = Watched { vnode: VnodeHash::from_bits(1), ..of(1) };
    assert_eq!(watchers.arrive(at(0), of, commit(1), watcher(1, 0)), Arrival::Refused(0));
    assert_eq!(watchers.expire(at(10)).len(), ALL_MAX);
}

#[test]
#[should_panic(expected = "a commit was not noted")]
fn a_commit_that_was_not_noted_is_found() {
    let mut watchers = Watchers::default();
    assert_eq!(watchers.arrive(at(0), of(1), commit(5), watcher(5, 1)), Arrival::Waits);
    let _arrival = watchers.arrive(at(0), of(1), commit(6), watcher(6, 2));
}
