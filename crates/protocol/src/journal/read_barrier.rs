//! Reads that wait: when an answer taken from memory may leave.
//!
//! An answer leaves when everything it has seen is committed. By default it must also be true that nobody had taken over
//! when the read arrived. A *barrier* shows that: a get of the position after the last batch in flight, issued after the
//! read arrived, that finds nothing; with those batches committed, no seal stood anywhere below. A batch submitted
//! after the read arrived shows the same once it commits. A get or a batch already under way shows nothing to a later
//! read: it may have landed before a seal, and a new owner may have acknowledged a write since.
//!
//! Every read that arrived before a get was issued shares it. At most one get is under way; reads that come later wait
//! for the next. Which position a read waits for is settled when it arrives or when its get comes back, so a commit
//! releases whole groups and each read is touched at most three times.
//!
//! Invariants:
//!
//! * No read leaves before everything it has seen is committed.
//! * The first `covered` of those that wait for a barrier arrived before the get under way was issued.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{ids::Position, journal::writer::Writer, planted};

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadMode {
    /// Nobody else had acknowledged a write before this read arrived that its answer doesn't show.
    Linearizable,
    /// May be stale if the host was fenced a moment ago.
    Local,
}

/// What the barrier's get found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarrierFound {
    /// Nothing: no seal stood there or below when it was issued.
    Absent,
    /// A batch of our own, submitted meanwhile.
    OwnBatch,
    /// The seal, or anything else that isn't ours: nothing will be committed there or above.
    Seal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting<T> {
    /// The last batch submitted when it arrived.
    arrival: Position,
    /// The newest batch of which it has seen a change.
    sees: Position,
    reader: T,
}

/// The waiting reads of one session; `T` is whatever answers one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadBarrier<T> {
    committed: Position,
    /// Those that wait for `committed + 1 + index` and nothing else: as many as a writer may number at once, the open
    /// batch included.
    by_position: VecDeque<Vec<T>>,
    /// Those that wait for a barrier, or for a batch above their arrival; by arrival.
    for_barrier: VecDeque<Waiting<T>>,
    /// How many of `for_barrier` share the get under way.
    covered: usize,
    /// The position of the get under way.
    get: Option<Position>,
    /// Those that may leave.
    released: VecDeque<T>,
    len: usize,
}

impl<T> ReadBarrier<T> {
    /// No reads yet, for a writer's session. The number of reads that may wait is for the host to bound.
    #[must_use]
    pub fn new(writer: &Writer) -> Self {
        let numbered_max = writer.in_flight_max() + 1;
        Self {
            committed: writer.committed(),
            by_position: (0..numbered_max).map(|_| Vec::new()).collect(),
            for_barrier: VecDeque::new(),
            covered: 0,
            get: None,
            released: VecDeque::new(),
            len: 0,
        }
    }

    /// A read arrived whose answer has seen changes up to the batch `sees`: committed, in flight, or the open batch.
    /// Returned at once if it may leave right now.
    ///
    /// # Panics
    ///
    /// When it has seen a batch that doesn't exist, the session is over, or a commit wasn't told.
    #[must_use]
    pub fn arrive(
        &mut self,
        writer: &Writer,
        mode: ReadMode,
        sees: Position,
        reader: T,
    ) -> Option<T> {
        assert!(!writer.is_over(), "a read arrived at a session that is over");
        assert_eq!(self.committed, writer.committed(), "reads weren't told of a commit");
        assert!(sees <= writer.next_position(), "a read has seen {sees}, which isn't open yet");
        // The open batch is submitted after this arrival, so its commit is barrier enough.
        let needs_barrier = mode == ReadMode::Linearizable && sees <= writer.submitted();
        let (needs_barrier, sees) = planted::read_waits_for(needs_barrier, sees, writer);
        if needs_barrier {
            self.for_barrier.push_back(Waiting { arrival: writer.submitted(), sees, reader });
        } else {
            let Some(ahead) = sees.get().checked_sub(self.committed.get() + 1) else {
                return Some(reader);
            };
            self.by_position[group(ahead)].push(reader);
        }
        self.len += 1;
        None
    }

    /// The position to get, if a barrier is needed and none is under way. The get counts as issued now and must leave
    /// after this; retrying it is fine, since a later get shows more. Ask again after each arrival and each answer.
    #[must_use]
    pub fn next_get(&mut self, writer: &Writer) -> Option<Position> {
        let newest = self.for_barrier.back()?;
        // Had a batch left after the newest of them arrived, no get could free any of them before that batch does.
        if self.get.is_some() || newest.arrival < writer.submitted() || writer.is_over() {
            return None;
        }
        self.covered = self.for_barrier.len();
        self.get = Some(writer.next_position());
        self.get
    }

    /// What the get found. Yields the reads that may leave now; with a seal, none, and the session is over.
    ///
    /// # Panics
    ///
    /// When no get is under way.
    pub fn get_found(&mut self, found: BarrierFound) -> impl Iterator<Item = T> {
        let position = self.get.take().expect("a get was under way");
        let settled = match found {
            BarrierFound::Absent => position.previous(),
            BarrierFound::OwnBatch => Some(position),
            BarrierFound::Seal => None,
        };
        if let Some(settled) = settled {
            for Waiting { arrival, sees, reader } in self.for_barrier.drain(..self.covered) {
                assert!(arrival < position, "a get of {position} covers a read at {arrival}");
                // The first batch after it arrived serves as well, and may commit before the last one that left before
                // the get was issued.
                let position = planted::leaves_at(settled.min(arrival.next()), sees);
                assert!(sees <= position, "a read that has seen {sees} would leave at {position}");
                match position.get().checked_sub(self.committed.get() + 1) {
                    None => self.released.push_back(reader),
                    Some(ahead) => self.by_position[group(ahead)].push(reader),
                }
            }
        }
        self.covered = 0;
        self.release()
    }

    /// The writer committed more. Yields the reads that may leave now.
    ///
    /// # Panics
    ///
    /// When the writer's committed position went down.
    pub fn committed(&mut self, writer: &Writer) -> impl Iterator<Item = T> {
        assert!(self.committed <= writer.committed(), "what is committed stays so");
        while self.committed < writer.committed() {
            self.committed = self.committed.next();
            let mut group = self.by_position.pop_front().expect("there is a group per number");
            self.released.extend(group.drain(..));
            self.by_position.push_back(group);
        }
        while let Some(Waiting { arrival, .. }) = self.for_barrier.front()
            && *arrival < self.committed
        {
            // A batch submitted after this read arrived is committed, and all it has seen came no later.
            self.released.extend(self.for_barrier.pop_front().map(|waiting| waiting.reader));
            self.covered = self.covered.saturating_sub(1);
        }
        self.release()
    }

    /// The session is over: every read that waits, none of which may be answered.
    pub fn over(&mut self) -> impl Iterator<Item = T> {
        self.get = None;
        self.covered = 0;
        self.released.extend(self.by_position.iter_mut().flat_map(|group| group.drain(..)));
        self.released.extend(self.for_barrier.drain(..).map(|waiting| waiting.reader));
        self.release()
    }

    /// How many reads wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn release(&mut self) -> impl Iterator<Item = T> {
        self.len -= self.released.len();
        self.released.drain(..)
    }
}

/// Its place among the groups: at most the batches in flight and the open one are ahead.
fn group(ahead: u64) -> usize {
    usize::try_from(ahead).expect("bounded by the batches in flight")
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::{ids::SessionId, journal::writer::Carries};

    /// A writer with that many batches in flight of at most three, and no reads.
    fn in_flight(batches: u64) -> (Writer, ReadBarrier<u32>) {
        let mut writer = Writer::new(SessionId::new(7), 3);
        for _ in 0..batches {
            submit(&mut writer);
        }
        let reads = ReadBarrier::new(&writer);
        (writer, reads)
    }

    const NOBODY: [u32; 0] = [];

    fn at(position: u64) -> Position {
        Position::new(position)
    }

    fn submit(writer: &mut Writer) {
        let header = writer.submit(Carries::Records);
        assert_eq!(header.position, writer.submitted());
    }

    fn arrive(reads: &mut ReadBarrier<u32>, writer: &Writer, sees: u64, reader: u32) {
        assert_eq!(reads.arrive(writer, ReadMode::Linearizable, at(sees), reader), None);
    }

    fn commit(reads: &mut ReadBarrier<u32>, writer: &mut Writer, position: u64) -> Vec<u32> {
        assert_eq!(writer.won(at(position)), Some(at(position)));
        reads.committed(writer).collect()
    }

    fn found(reads: &mut ReadBarrier<u32>, found: BarrierFound) -> Vec<u32> {
        reads.get_found(found).collect()
    }

    #[test]
    fn a_read_leaves_after_a_get_that_was_issued_after_it_arrived() {
        let (writer, mut reads) = in_flight(0);
        assert_eq!(reads.next_get(&writer), None, "nobody reads");
        arrive(&mut reads, &writer, 0, 1);
        assert_eq!(reads.next_get(&writer), Some(at(1)));
        assert_eq!(found(&mut reads, BarrierFound::Absent), [1]);
        assert!(reads.is_empty());
    }

    #[test]
    fn all_that_arrived_before_the_get_share_it_and_a_later_read_waits_for_the_next() {
        let (writer, mut reads) = in_flight(0);
        arrive(&mut reads, &writer, 0, 1);
        arrive(&mut reads, &writer, 0, 2);
        assert_eq!(reads.next_get(&writer), Some(at(1)));
        arrive(&mut reads, &writer, 0, 3);
        assert_eq!(reads.next_get(&writer), None, "one get at a time");
        assert_eq!(found(&mut reads, BarrierFound::Absent), [1, 2]);
        assert_eq!(reads.next_get(&writer), Some(at(1)));
        assert_eq!(found(&mut reads, BarrierFound::Absent), [3]);
    }

    #[test]
    fn the_batches_in_flight_below_the_get_must_commit_too() {
        let (mut writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 0, 1);
        assert_eq!(reads.next_get(&writer), Some(at(2)));
        assert_eq!(found(&mut reads, BarrierFound::Absent), NOBODY);
        assert_eq!(commit(&mut reads, &mut writer, 1), [1]);
    }

    #[test]
    fn the_batch_in_flight_alone_proves_nothing() {
        let (mut writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 0, 1);
        // It may have landed before a seal; a new owner may have acknowledged a write since.
        assert_eq!(commit(&mut reads, &mut writer, 1), NOBODY);
    }

    #[test]
    fn a_batch_submitted_after_the_read_arrived_serves_as_well() {
        let (mut writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 0, 1);
        submit(&mut writer);
        assert_eq!(reads.next_get(&writer), None, "a get could not free it any sooner");
        assert_eq!(commit(&mut reads, &mut writer, 1), NOBODY);
        assert_eq!(commit(&mut reads, &mut writer, 2), [1]);
    }

    #[test]
    fn a_get_that_finds_our_own_batch_needs_no_other() {
        let (mut writer, mut reads) = in_flight(0);
        arrive(&mut reads, &writer, 0, 1);
        assert_eq!(reads.next_get(&writer), Some(at(1)));
        submit(&mut writer);
        assert_eq!(found(&mut reads, BarrierFound::OwnBatch), NOBODY);
        assert_eq!(reads.next_get(&writer), None);
        assert_eq!(commit(&mut reads, &mut writer, 1), [1]);
    }

    #[test]
    fn a_read_that_has_seen_the_open_batch_waits_for_that_and_for_no_get() {
        let (mut writer, mut reads) = in_flight(0);
        arrive(&mut reads, &writer, 1, 1);
        assert_eq!(reads.next_get(&writer), None);
        submit(&mut writer);
        assert_eq!(commit(&mut reads, &mut writer, 1), [1]);
    }

    #[test]
    fn a_commit_while_the_get_is_under_way_frees_those_it_serves_and_no_more() {
        let (mut writer, mut reads) = in_flight(0);
        arrive(&mut reads, &writer, 0, 1);
        submit(&mut writer);
        arrive(&mut reads, &writer, 1, 2);
        assert_eq!(reads.next_get(&writer), Some(at(2)));
        arrive(&mut reads, &writer, 1, 3);
        assert_eq!(commit(&mut reads, &mut writer, 1), [1]);
        assert_eq!(found(&mut reads, BarrierFound::Absent), [2]);
        assert_eq!(reads.len(), 1);
    }

    #[test]
    fn a_local_read_skips_the_barrier_only() {
        let (mut writer, mut reads) = in_flight(1);
        assert_eq!(reads.arrive(&writer, ReadMode::Local, at(0), 1), Some(1));
        assert_eq!(reads.arrive(&writer, ReadMode::Local, at(1), 2), None);
        assert_eq!(reads.next_get(&writer), None);
        assert_eq!(commit(&mut reads, &mut writer, 1), [2]);
    }

    #[test]
    fn a_seal_answers_nobody() {
        let (writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 2, 1);
        arrive(&mut reads, &writer, 0, 2);
        assert_eq!(reads.next_get(&writer), Some(at(2)));
        assert_eq!(found(&mut reads, BarrierFound::Seal), NOBODY);
        assert_eq!(reads.over().collect::<Vec<_>>(), [1, 2]);
        assert!(reads.is_empty());
    }

    #[test]
    #[should_panic(expected = "isn't open yet")]
    fn nobody_has_seen_a_batch_that_does_not_exist() {
        let (writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 3, 1);
    }

    /// A read as the rule sees it.
    #[derive(Clone, Copy, Debug)]
    struct Rule {
        mode: ReadMode,
        sees: Position,
        arrival: Position,
        /// The last batch before a get that was issued after it arrived and found nothing.
        barrier: Option<Position>,
        get_under_way: bool,
        answered: bool,
    }

    impl Rule {
        fn may_leave(&self, writer: &Writer) -> bool {
            let committed = writer.committed();
            let current = committed > self.arrival
                || self.barrier.is_some_and(|last| last <= committed)
                || self.mode == ReadMode::Local;
            current && self.sees <= committed
        }

        /// Whether it can only leave after a get, as things stand.
        fn needs_get(&self, writer: &Writer) -> bool {
            let linearizable = self.mode == ReadMode::Linearizable;
            let may_be_last = self.sees <= self.arrival && self.arrival == writer.submitted();
            linearizable && may_be_last && self.barrier.is_none() && !self.answered
        }
    }

    /// The queue beside the rule in its plain form.
    struct Both {
        writer: Writer,
        reads: ReadBarrier<usize>,
        rules: Vec<Rule>,
        get: Option<Position>,
    }

    impl Both {
        fn new(in_flight_max: u64) -> Self {
            let writer = Writer::new(SessionId::new(7), in_flight_max);
            Self { writer, reads: ReadBarrier::new(&writer), rules: vec![], get: None }
        }

        fn arrive(&mut self, mode: ReadMode, choice: Index) -> Vec<usize> {
            let numbered = usize::try_from(self.writer.next_position().get()).unwrap();
            let sees = at(choice.index(numbered + 1) as u64);
            let left = self.reads.arrive(&self.writer, mode, sees, self.rules.len());
            self.rules.push(Rule {
                mode,
                sees,
                arrival: self.writer.submitted(),
                barrier: None,
                get_under_way: false,
                answered: false,
            });
            left.into_iter().collect()
        }

        fn issue_get(&mut self) {
            self.get = self.reads.next_get(&self.writer);
            let needed = self.rules.iter().any(|rule| rule.needs_get(&self.writer));
            assert_eq!(self.get.is_some(), needed, "{:?}", self.rules);
            self.rules.iter_mut().for_each(|rule| rule.get_under_way = true);
        }

        fn get_found(&mut self, position: Position, found: BarrierFound) -> Vec<usize> {
            for rule in self.rules.iter_mut().filter(|rule| rule.get_under_way) {
                rule.get_under_way = false;
                if found == BarrierFound::Absent {
                    rule.barrier = rule.barrier.or(position.previous());
                }
            }
            self.reads.get_found(found).collect()
        }

        /// One step, and the reads that left in it.
        fn step(&mut self, step: u8, choice: Index) -> Vec<usize> {
            match step {
                0 if self.writer.may_submit() => submit(&mut self.writer),
                1 if self.writer.in_flight() > 0 => {
                    let position = self.writer.committed().next();
                    assert_eq!(self.writer.won(position), Some(position));
                    return self.reads.committed(&self.writer).collect();
                }
                2 => return self.arrive(ReadMode::Linearizable, choice),
                3 => return self.arrive(ReadMode::Local, choice),
                4 if self.get.is_none() => self.issue_get(),
                5 if let Some(position) = self.get.take() => {
                    let landed = self.writer.submitted() >= position && choice.index(2) == 0;
                    let found = if landed { BarrierFound::OwnBatch } else { BarrierFound::Absent };
                    return self.get_found(position, found);
                }
                _ => {}
            }
            vec![]
        }
    }

    proptest! {
        #[test]
        fn a_read_leaves_exactly_when_the_rule_allows(
            in_flight_max in 1..=4u64,
            steps in proptest::collection::vec((0..6u8, any::<Index>()), 1..200),
        ) {
            let mut both = Both::new(in_flight_max);
            for (step, choice) in steps {
                for reader in both.step(step, choice) {
                    let answered = &mut both.rules[reader].answered;
                    prop_assert!(!core::mem::replace(answered, true), "answered twice");
                }
                for rule in &both.rules {
                    prop_assert_eq!(rule.answered, rule.may_leave(&both.writer), "{:?}", rule);
                }
                let waiting = both.rules.iter().filter(|rule| !rule.answered).count();
                prop_assert_eq!(both.reads.len(), waiting);
            }
        }
    }
}
