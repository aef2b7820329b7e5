//! A journal in any state that a writer, its trims and a collector can leave: a sealing with any hint ends at the first
//! gap after few requests, and every later one finds the same seal. Concurrent changes are covered by the traces and
//! the journal's model.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString as _,
};

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    checkpoint::trim::next_trim,
    format::segment::{TrimStep, Trimmed},
    journal::writer::{Carries, Writer},
};

const SESSION: SessionId = SessionId::new(7);
const FOURS: SegmentLen = SegmentLen::new(4);

/// A journal that nothing changes any more, and its writer.
#[derive(Clone, Debug)]
struct Quiet {
    writer: Writer,
    /// Headers of all batches ever submitted.
    headers: BTreeMap<Position, BatchHeader>,
    batches: BTreeSet<Position>,
    /// The batches that were ever in the store, and so may have been read.
    landed: BTreeSet<Position>,
    seals: BTreeMap<Position, Seal>,
    trimmed: Trimmed,
    end_mark: bool,
    requests: usize,
}

impl Quiet {
    fn new(in_flight_max: u64) -> Self {
        Self {
            writer: Writer::new(SESSION, in_flight_max),
            headers: BTreeMap::new(),
            batches: BTreeSet::from([Position::ZERO]),
            landed: BTreeSet::new(),
            seals: BTreeMap::new(),
            trimmed: Trimmed::default(),
            end_mark: false,
            requests: 0,
        }
    }

    /// Does one possible step.
    fn do_step(&mut self, choice: Index) {
        let Self { writer, batches, .. } = self;
        let in_flight: Vec<_> = (writer.committed().next().get()..=writer.submitted().get())
            .map(Position::new)
            .filter(|position| !batches.contains(position))
            .collect();
        match choice.index(6 + in_flight.len()) {
            0 | 1 if writer.may_submit() => self.submit(Carries::Records),
            2 if writer.may_submit_checkpoint() => {
                let low_water = writer.low_water().get()..=writer.committed().get();
                let span = low_water.clone().count();
                let low_water = Position::new(low_water.start() + choice.index(span) as u64);
                self.submit(Carries::Checkpoint { low_water });
            }
            3 | 4 => match next_trim(writer, self.trimmed, FOURS) {
                Some(TrimStep::Mark(segment)) => self.trimmed.marked = segment.next(),
                Some(TrimStep::Delete(segment)) => {
                    batches.retain(|&position| FOURS.segment(position) != segment);
                    self.trimmed.deleted = segment.next();
                }
                None => {}
            },
            pick @ 6.. => {
                let position = in_flight[pick - 6];
                batches.insert(position);
                self.landed.insert(position);
                let _moved = writer.won(position);
            }
            _ => {}
        }
    }

    fn submit(&mut self, carries: Carries) {
        let header = self.writer.submit(carries);
        self.headers.insert(header.position, header);
    }

    fn seen(&self, position: Position) -> Seen {
        if let Some(seal) = self.seals.get(&position) {
            Seen::Seal(seal.clone())
        } else if position == Position::ZERO && self.batches.contains(&position) {
            Seen::Opening
        } else if self.batches.contains(&position) {
            Seen::Batch(self.headers[&position])
        } else {
            Seen::Absent
        }
    }

    fn answer(&mut self, effect: &SealEffect) -> SealEvent {
        self.requests += 1;
        match effect {
            SealEffect::List => {
                SealEvent::Listed(self.batches.iter().chain(self.seals.keys()).copied().collect())
            }
            SealEffect::Get { positions, marks, end } => SealEvent::Got {
                positions: positions.iter().map(|&at| (at, self.seen(at))).collect(),
                marks: marks.iter().map(|&mark| (mark, mark < self.trimmed.marked)).collect(),
                end: end.then_some(self.end_mark),
            },
            SealEffect::Create { position, seal } => {
                SealEvent::Created(match self.seen(*position) {
                    Seen::Absent => {
                        self.seals.insert(*position, seal.clone());
                        CreateOutcome::Won
                    }
                    found @ (Seen::Batch(_)
                    | Seen::Seal(_)
                    | Seen::Undecodable(_)
                    | Seen::Opening) => CreateOutcome::Lost(found),
                })
            }
            SealEffect::Done(_) | SealEffect::Detached | SealEffect::Broken(_) => {
                panic!("a final effect has no answer: {effect:?}")
            }
        }
    }

    fn seal(&mut self, hint: Hint) -> SealEffect {
        let by = HostName::new("h2").unwrap();
        let mut sealing = Sealing::new(SESSION, FOURS, hint, by, Epoch::new(2));
        let mut effect = sealing.start();
        self.requests = 0;
        while !matches!(effect, SealEffect::Done(_) | SealEffect::Detached | SealEffect::Broken(_))
        {
            assert!(self.requests < 20, "too many requests: {effect:?} {sealing:?}");
            let event = self.answer(&effect);
            effect = sealing.step(event);
        }
        effect
    }

    /// Where a reader finds its end.
    fn search(&mut self) -> SearchEffect {
        let (mut search, mut effect) = EndSearch::new(SESSION, FOURS);
        for _ in 0..20 {
            let question = match effect {
                SearchEffect::List => SealEffect::List,
                SearchEffect::Get { positions, marks, end } => {
                    SealEffect::Get { positions, marks, end }
                }
                SearchEffect::Done(_) | SearchEffect::Detached | SearchEffect::Broken(_) => {
                    return effect;
                }
            };
            effect = search.step(self.answer(&question));
        }
        panic!("too many requests: {effect:?}")
    }

    /// The first free position above what is committed.
    fn first_gap(&self) -> Position {
        let mut gap = self.writer.committed().next();
        while self.batches.contains(&gap) {
            gap = gap.next();
        }
        gap
    }

    fn hint(&self, kind: u8, choice: Index) -> Hint {
        let position = Position::new(choice.index(self.headers.len() + 3) as u64);
        match kind {
            0 => Hint::Nothing,
            1 => Hint::Committed(position),
            2 => Hint::Sealed(position),
            _ if self.landed.contains(&position) => Hint::Fetched(self.headers[&position]),
            _ => Hint::Nothing,
        }
    }
}

fn quiet(in_flight_max: u64, choices: &[Index]) -> Quiet {
    let mut quiet = Quiet::new(in_flight_max);
    for &choice in choices {
        quiet.do_step(choice);
    }
    quiet
}

fn choices() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_quiet_journal_is_sealed_at_its_first_gap_whatever_the_hint(
        in_flight_max in 1..=4u64,
        choices in choices(),
        hints in proptest::array::uniform2((0..4u8, any::<Index>())),
    ) {
        let mut quiet = quiet(in_flight_max, &choices);
        let gap = quiet.first_gap();
        let before = gap.previous().and_then(|before| quiet.headers.get(&before).copied());
        let expected = Sealed {
            position: gap,
            low_water: before.map(|header| header.low_water).unwrap_or_default(),
            checkpoint_at: before.map(|header| header.checkpoint_at).unwrap_or_default(),
        };
        for (kind, choice) in hints {
            let hint = quiet.hint(kind, choice);
            prop_assert_eq!(quiet.seal(hint), SealEffect::Done(expected), "{:?}", hint);
        }
        let range = expected.low_water.next().get()..gap.get();
        prop_assert!(range.map(Position::new).all(|at| quiet.batches.contains(&at)));
    }

    #[test]
    fn a_reader_finds_the_end_that_a_sealing_would_make_and_writes_nothing(
        in_flight_max in 1..=4u64,
        choices in choices(),
    ) {
        let mut quiet = quiet(in_flight_max, &choices);
        let SearchEffect::Done(End::Open(open)) = quiet.search() else {
            panic!("it is neither sealed nor damaged")
        };
        prop_assert!(quiet.seals.is_empty());
        prop_assert_eq!(quiet.seal(Hint::Nothing), SealEffect::Done(open));
        prop_assert_eq!(quiet.search(), SearchEffect::Done(End::Sealed(open)));
        quiet.end_mark = true;
        prop_assert_eq!(quiet.search(), SearchEffect::Detached);
    }

    #[test]
    fn a_detached_journal_is_never_taken_for_an_empty_one(
        in_flight_max in 1..=4u64,
        choices in choices(),
        kept in any::<u64>(),
        (kind, choice) in (0..4u8, any::<Index>()),
    ) {
        let mut quiet = quiet(in_flight_max, &choices);
        prop_assert!(matches!(quiet.seal(Hint::Nothing), SealEffect::Done(_)));
        quiet.end_mark = true;
        quiet.batches.retain(|position| kept >> (position.get() % 64) & 1 == 1);
        let hint = quiet.hint(kind, choice);
        prop_assert_eq!(quiet.seal(hint), SealEffect::Detached, "{:?}", hint);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A deletion from outside may block sealing, but never makes a journal look shorter than it is.
    #[test]
    fn a_batch_deleted_from_outside_is_never_taken_for_the_gap(
        in_flight_max in 1..=4u64,
        choices in choices(),
        deleted in any::<Index>(),
        (kind, choice) in (0..4u8, any::<Index>()),
    ) {
        let mut quiet = quiet(in_flight_max, &choices);
        let gap = quiet.first_gap();
        let highest = quiet.batches.last().filter(|highest| **highest > Position::ZERO);
        let highest = highest.map(|highest| quiet.headers[highest]);
        let committed = highest.map(|header| header.low_water.next().get()..=header.committed.get());
        let committed: Vec<_> = committed.into_iter().flatten().map(Position::new).collect();
        prop_assume!(!committed.is_empty());
        let deleted = committed[deleted.index(committed.len())];
        let hint = quiet.hint(kind, choice);
        assert!(quiet.batches.remove(&deleted), "{deleted} is committed and above the low water");
        match quiet.seal(hint) {
            // Found here, or by the reader of the range.
            SealEffect::Broken(malformed) => {
                prop_assert!(malformed.to_string().contains("is missing"), "{malformed}");
            }
            // Right above the hinted batch this isn't detected: it would cost one more get in every sealing, and a rule
            // that deletes by age doesn't begin with the newest batch.
            SealEffect::Done(sealed) if sealed.position == deleted => {
                prop_assert_ne!(hint, Hint::Nothing);
            }
            SealEffect::Done(sealed) => prop_assert_eq!(sealed.position, gap, "{:?}", hint),
            SealEffect::Detached
            | SealEffect::List
            | SealEffect::Get { .. }
            | SealEffect::Create { .. } => prop_assert!(false, "not a final effect"),
        }
        if hint == Hint::Nothing {
            prop_assert!(quiet.seals.is_empty(), "{:?}", quiet.seals);
        }
    }
}

#[test]
fn a_journal_without_its_opening_is_not_an_empty_one() {
    let mut quiet = Quiet::new(1);
    quiet.batches.clear();
    assert!(matches!(quiet.seal(Hint::Nothing), SealEffect::Broken(_)));
    assert!(quiet.seals.is_empty());
}

#[test]
fn a_good_hint_costs_one_round_the_create_and_the_marks() {
    let mut quiet = Quiet::new(1);
    for position in (1..=5).map(Position::new) {
        quiet.submit(Carries::Records);
        quiet.batches.insert(position);
        assert_eq!(quiet.writer.won(position), Some(position));
    }
    let mut fetched = quiet.clone();
    assert!(matches!(quiet.seal(Hint::Committed(Position::new(5))), SealEffect::Done(_)));
    assert_eq!(quiet.requests, 3);
    let hint = Hint::Fetched(fetched.headers[&Position::new(5)]);
    assert!(matches!(fetched.seal(hint), SealEffect::Done(_)));
    assert_eq!(fetched.requests, 2);
}

#[test]
#[should_panic(expected = "does not answer")]
fn an_answer_to_another_effect_panics() {
    let by = HostName::new("h2").unwrap();
    let mut sealing = Sealing::new(SESSION, FOURS, Hint::Nothing, by, Epoch::new(2));
    assert_eq!(sealing.start(), SealEffect::List);
    drop(sealing.step(SealEvent::Created(CreateOutcome::Won)));
}
