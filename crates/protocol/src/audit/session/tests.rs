//! A journal is written by the real builders, damaged in one way, and read as a scrub reads it.

use alloc::{collections::BTreeMap, vec};

use super::*;
use crate::{
    ids::{DomainId, Epoch, HostName, Nonce},
    journal::batch::BatchBuilder,
};

const SESSION: SessionId = SessionId::new(7);
const CLUSTER: ClusterId = ClusterId::new(1);
const FOURS: SegmentLen = SegmentLen::new(4);

/// A journal in a store.
#[derive(Clone)]
struct Stored {
    objects: BTreeMap<Position, Bytes>,
    marks: BTreeSet<Segment>,
    ended: bool,
    state: SessionState,
}

fn at(position: u64) -> Position {
    Position::new(position)
}

fn batch_at(position: u64, low_water: u64, checkpoint_at: u64, committed: u64) -> Bytes {
    let mut builder = BatchBuilder::default();
    if checkpoint_at == position {
        let content = Checkpoint { low_water: at(low_water), ..Checkpoint::default() };
        builder.checkpoint(&content.encode());
    } else {
        builder.release(crate::ids::Slot(1), Epoch::new(position));
    }
    let header = BatchHeader {
        session: SESSION,
        position: at(position),
        committed: at(committed),
        low_water: at(low_water),
        checkpoint_at: at(checkpoint_at),
    };
    builder.finish(header, Nonce::new(u128::from(position)))
}

fn seal(low_water: u64, checkpoint_at: u64) -> Bytes {
    let seal = Seal {
        by: HostName::new("h1").unwrap(),
        epoch: Epoch::new(3),
        low_water: at(low_water),
        checkpoint_at: at(checkpoint_at),
    };
    seal.encode(Nonce::new(99))
}

/// Twelve batches. The one at 10 is a checkpoint of all up to 9; so the segments up to position 7 are trimmed.
fn open() -> Stored {
    let mut objects: BTreeMap<Position, Bytes> = (8..=12)
        .map(|position| {
            let (low_water, checkpoint_at) = if position < 10 { (0, 0) } else { (9, 10) };
            (at(position), batch_at(position, low_water, checkpoint_at, position - 1))
        })
        .collect();
    // Written before the checkpoint.
    objects.insert(at(9), batch_at(9, 0, 0, 8));
    let marks = [0, 1].map(Segment::new).into();
    Stored { objects, marks, ended: false, state: SessionState::Open }
}

/// The same, sealed at 13.
fn sealed() -> Stored {
    let mut stored = open();
    stored.objects.insert(at(13), seal(9, 10));
    stored.state = SessionState::Sealed(Some(at(13)));
    stored
}

/// A session with an opening and two batches, and no checkpoint.
fn young() -> Stored {
    let opening = Opening {
        session: SESSION,
        host: HostName::new("h1").unwrap(),
        domain: DomainId::HOME,
        cluster: CLUSTER,
    };
    let objects = BTreeMap::from([
        (at(0), opening.encode(Nonce::new(1))),
        (at(1), batch_at(1, 0, 0, 0)),
        (at(2), batch_at(2, 0, 0, 1)),
    ]);
    Stored { objects, marks: BTreeSet::new(), ended: false, state: SessionState::Open }
}

fn view(stored: &Stored) -> SessionView {
    let journal: BTreeSet<Position> = stored.objects.keys().copied().collect();
    let keys = SessionKeys {
        journal: journal.clone(),
        marks: stored.marks.clone(),
        ended: stored.ended,
        journal_again: journal,
    };
    let mut view = SessionView::new((SESSION, stored.state), CLUSTER, FOURS, keys);
    for round in 0.. {
        assert!(round < 20, "it never ends");
        let wanted = view.next_reads();
        if wanted.is_empty() {
            break;
        }
        for position in wanted {
            view.read(position, stored.objects.get(&position));
        }
    }
    view
}

fn found(stored: &Stored) -> Vec<(String, Damage)> {
    let findings = view(stored).findings();
    findings.into_iter().map(|finding| (finding.key, finding.damage)).collect()
}

fn position(position: u64, damage: Damage) -> Vec<(String, Damage)> {
    vec![(keys::journal_position(SESSION, at(position)), damage)]
}

/// What is found after this change.
fn after(mut stored: Stored, change: impl FnOnce(&mut Stored)) -> Vec<(String, Damage)> {
    change(&mut stored);
    found(&stored)
}

fn flip(stored: &mut Stored, position: u64) {
    let object = stored.objects.get_mut(&at(position)).unwrap();
    let mut bytes = object.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    *object = bytes.into();
}

#[test]
fn sound_journals_have_no_findings() {
    for stored in [open(), sealed(), young()] {
        assert_eq!(found(&stored), []);
    }
    // A session is listed only after its opening was created.
    let empty = Stored { objects: BTreeMap::new(), ..young() };
    assert_eq!(found(&empty), position(0, Damage::BatchMissing));
}

#[test]
fn a_missing_or_damaged_batch_above_the_low_water_is_found() {
    for stored in [open, sealed] {
        for at_position in [10, 11] {
            let missing = after(stored(), |it| drop(it.objects.remove(&at(at_position))));
            assert!(
                missing.contains(&position(at_position, Damage::BatchMissing)[0]),
                "{missing:?}"
            );
            let damaged = after(stored(), |it| flip(it, at_position));
            assert!(
                damaged.contains(&position(at_position, Damage::Undecodable)[0]),
                "{damaged:?}"
            );
        }
    }
    let lost = after(young(), |it| drop(it.objects.remove(&at(1))));
    assert_eq!(lost, position(1, Damage::BatchMissing));
    assert_eq!(after(young(), |it| flip(it, 0)), position(0, Damage::Undecodable));
}

#[test]
fn what_a_checkpoint_covers_may_be_missing_if_a_mark_allows_it() {
    assert_eq!(after(open(), |it| drop(it.objects.remove(&at(3)))), []);
    let unmarked = after(open(), |it| drop(it.objects.remove(&at(8))));
    let mark = keys::trim_mark(SESSION, Segment::new(2));
    assert_eq!(unmarked, [(mark.clone(), Damage::MarkMissing)]);
    let unmarked = after(open(), |it| assert!(it.marks.remove(&Segment::new(1))));
    assert_eq!(unmarked[0].0, keys::trim_mark(SESSION, Segment::new(1)));
    let ahead = after(open(), |it| assert!(it.marks.insert(Segment::new(2))));
    assert_eq!(ahead, [(mark, Damage::MarkAhead)]);
    let hole = after(open(), |it| assert!(it.marks.remove(&Segment::new(0))));
    assert_eq!(hole, [(keys::trim_mark(SESSION, Segment::new(0)), Damage::MarkMissing)]);
}

#[test]
fn a_lost_newest_checkpoint_is_found_by_what_was_trimmed_for_it() {
    // The checkpoint at 13 covered all up to 12, so positions 8 to 11 were trimmed; then it was lost.
    let lost = after(open(), |it| {
        it.objects.retain(|&position, _| position == at(12));
        it.marks.insert(Segment::new(2));
    });
    assert_eq!(lost, position(12, Damage::CheckpointMissing));
}

#[test]
fn a_seal_that_is_missing_or_another_object_is_found() {
    let gone = after(sealed(), |it| drop(it.objects.remove(&at(13))));
    assert_eq!(gone, position(13, Damage::SealMissing));
    let batch = after(sealed(), |it| drop(it.objects.insert(at(13), batch_at(13, 9, 10, 12))));
    assert_eq!(batch, position(13, Damage::SealWrong));
    let wrong = after(sealed(), |it| drop(it.objects.insert(at(13), seal(8, 10))));
    assert!(wrong.contains(&position(13, Damage::SealWrong)[0]), "{wrong:?}");
    let second = after(sealed(), |it| drop(it.objects.insert(at(15), seal(9, 10))));
    assert_eq!(second, position(15, Damage::SecondSeal));
}

#[test]
fn above_the_seal_nothing_may_be_committed() {
    let late = |committed| {
        after(sealed(), |it| drop(it.objects.insert(at(14), batch_at(14, 9, 10, committed))))
    };
    assert_eq!(late(12), [], "it was in flight with the batch that lost to the seal");
    assert_eq!(late(13), position(14, Damage::CommittedAboveSeal));
}

#[test]
fn headers_that_contradict_each_other_are_found() {
    let back = after(open(), |it| drop(it.objects.insert(at(11), batch_at(11, 0, 0, 10))));
    assert_eq!(back[0], position(11, Damage::JournalContradicts)[0]);
    let none = after(open(), |it| {
        for position in 11..=12 {
            it.objects.insert(at(position), batch_at(position, 9, 11 - 1, position - 1));
        }
        it.objects.insert(at(10), {
            let mut builder = BatchBuilder::default();
            builder.release(crate::ids::Slot(1), Epoch::new(1));
            let header = BatchHeader {
                session: SESSION,
                position: at(10),
                committed: at(9),
                low_water: at(9),
                checkpoint_at: at(9),
            };
            builder.finish(header, Nonce::new(5))
        });
    });
    assert!(none.contains(&position(10, Damage::CheckpointMissing)[0]), "{none:?}");
}

#[test]
fn an_end_mark_of_a_session_that_is_needed_is_found() {
    let ended = after(sealed(), |it| it.ended = true);
    assert_eq!(ended, [(keys::end_mark(SESSION), Damage::EndMarkAhead)]);
}

#[test]
fn of_a_detached_session_only_the_seal_is_required() {
    let detached = |change: fn(&mut Stored)| {
        after(sealed(), |it| {
            it.state = SessionState::Detached(at(13));
            it.objects.retain(|&position, _| position == at(13));
            it.ended = true;
            change(it);
        })
    };
    assert_eq!(detached(|_| {}), []);
    assert_eq!(detached(|it| it.objects.clear()), position(13, Damage::SealMissing));
}

#[test]
fn a_forged_header_makes_it_read_a_bounded_number_of_positions() {
    let mut stored = young();
    let far = 1 << 40;
    stored.objects.insert(at(far), batch_at(far, 0, 0, far - 1));
    let findings = view(&stored).findings();
    assert!(findings.iter().any(|finding| finding.damage == Damage::JournalContradicts));
    assert!(findings.len() <= READS_MAX + 2, "{}", findings.len());
}
