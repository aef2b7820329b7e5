//! The read barrier: when an answer taken from memory may be sent.
//!
//! A read is answered when everything it has seen is committed. By default it must also be sure that there was no
//! takeover before the read arrived. A *barrier* shows that: a get of the position after the last batch in flight,
//! issued after the read arrived, that finds nothing; once those batches are committed, there was no seal below. A
//! batch submitted after the read arrived shows the same when it commits. A get or a batch that was in flight before
//! shows nothing: it may have landed before a seal, and a new owner may have acknowledged a write since.
//!
//! All reads that arrived before a get was issued share it. At most one get is in flight; later reads wait for the
//! next. The position a read waits for is known when it arrives or when its get is answered, so a commit releases whole
//! groups and each read is touched at most three times.
//!
//! Invariants:
//!
//! * No read is answered before everything it has seen is committed.
//! * The first `covered` reads of `for_barrier` arrived before the get in flight was issued.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{ids::Position, journal::writer::Writer, planted};

/// How fresh the answer of a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadMode {
    /// The answer shows every write that was acknowledged, by any owner, before the read arrived.
    Linearizable,
    /// May be stale if the host was fenced recently.
    Local,
}

/// What the barrier's get found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarrierFound {
    /// Nothing: there was no seal at this position or below when the get was issued.
    Absent,
    /// Our own batch, submitted meanwhile.
    OwnBatch,
    /// The seal, or another foreign object: nothing will be committed at this position or above.
    Seal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting<T> {
    /// The last batch submitted before it arrived.
    arrival: Position,
    /// The newest batch whose changes it has seen.
    sees: Position,
    reader: T,
}

/// The pending reads of one session; `T` is the means to answer one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadBarrier<T> {
    committed: Position,
    /// Reads that wait only for the commit of `committed + 1 + index`: one group for each batch that may be in flight,
    /// and one for the open batch.
    by_position: VecDeque<Vec<T>>,
    /// Reads that wait for a barrier, or for the commit of a batch submitted after they arrived; in order of arrival.
    for_barrier: VecDeque<Waiting<T>>,
    /// How many reads of `for_barrier` share the get in flight.
    covered: usize,
    /// The position of the get in flight.
    get: Option<Position>,
    /// Reads that may be answered.
    released: VecDeque<T>,
    len: usize,
}

impl<T> ReadBarrier<T> {
    /// No pending reads, for a writer's session. The host bounds the number of pending reads.
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

    /// A read arrived; its answer shows changes up to the batch `sees`: committed, in flight, or the open batch.
    /// Returns the reader if it may be answered now.
    ///
    /// # Panics
    ///
    /// When it has seen a batch that doesn't exist, the session is over, or a commit was not reported.
    #[must_use]
    pub fn arrive(
        &mut self,
        writer: &Writer,
        mode: ReadMode,
        sees: Position,
        reader: T,
    ) -> Option<T> {
        assert!(!writer.is_over(), "a read arrived after the session was over");
        assert_eq!(self.committed, writer.committed(), "a commit was not reported");
        assert!(sees <= writer.next_position(), "a read has seen {sees}, which isn't open yet");
        // The open batch is submitted after this arrival, so its commit is the barrier.
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

    /// The position to get, if a barrier is needed and no get is in flight. The get counts as issued now and must be
    /// sent after this; it may be retried, because a later get shows at least as much. Call it after each arrival and
    /// each answer.
    #[must_use]
    pub fn next_get(&mut self, writer: &Writer) -> Option<Position> {
        let newest = self.for_barrier.back()?;
        // If a batch was submitted after the newest of them arrived, its commit releases them no later than a get
        // would.
        if self.get.is_some() || newest.arrival < writer.submitted() || writer.is_over() {
            return None;
        }
        self.covered = self.for_barrier.len();
        self.get = Some(writer.next_position());
        self.get
    }

    /// The get was answered. Returns the reads that may be answered now; with a seal none, and the session is over.
    ///
    /// # Panics
    ///
    /// When no get is in flight.
    pub fn get_found(&mut self, found: BarrierFound) -> impl Iterator<Item = T> {
        let position = self.get.take().expect("a get is in flight");
        let settled = match found {
            BarrierFound::Absent => position.previous(),
            BarrierFound::OwnBatch => Some(position),
            BarrierFound::Seal => None,
        };
        if let Some(settled) = settled {
            for Waiting { arrival, sees, reader } in self.for_barrier.drain(..self.covered) {
                assert!(arrival < position, "a get of {position} covers a read at {arrival}");
                // The first batch submitted after it arrived is a barrier as well, and may commit before the last one
                // submitted before the get was issued.
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

    /// The writer committed more. Returns the reads that may be answered now.
    ///
    /// # Panics
    ///
    /// When the writer's committed position went down.
    pub fn committed(&mut self, writer: &Writer) -> impl Iterator<Item = T> {
        assert!(self.committed <= writer.committed(), "the committed position went down");
        while self.committed < writer.committed() {
            self.committed = self.committed.next();
            let mut group = self.by_position.pop_front().expect("there is one group per position");
            self.released.extend(group.drain(..));
            self.by_position.push_back(group);
        }
        while let Some(Waiting { arrival, .. }) = self.for_barrier.front()
            && *arrival < self.committed
        {
            // A batch submitted after this read arrived is committed, and so is everything the read has seen.
            self.released.extend(self.for_barrier.pop_front().map(|waiting| waiting.reader));
            self.covered = self.covered.saturating_sub(1);
        }
        self.release()
    }

    /// The session is over. Returns all pending reads; none of them may be answered with its value.
    pub fn over(&mut self) -> impl Iterator<Item = T> {
        self.get = None;
        self.covered = 0;
        self.released.extend(self.by_position.iter_mut().flat_map(|group| group.drain(..)));
        self.released.extend(self.for_barrier.drain(..).map(|waiting| waiting.reader));
        self.release()
    }

    /// The number of pending reads.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no read is pending.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn release(&mut self) -> impl Iterator<Item = T> {
        self.len -= self.released.len();
        self.released.drain(..)
    }
}

/// The index of its group, `ahead` positions after the first uncommitted one.
fn group(ahead: u64) -> usize {
    usize::try_from(ahead).expect("bounded by the batches in flight")
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::{ids::SessionId, journal::writer::Carries};

    /// A writer with `batches` of at most three batches in flight, and no reads.
    fn in_flight(batches: u64) -> (Writer, ReadBarrier<u32>) {
        let mut writer = Writer::new(SessionId::new(7), 3);
        for _ in 0..batches {
            submit(&mut writer);
        }
        let reads = ReadBarrier::new(&writer);
        (writer, reads)
    }

    const NONE: [u32; 0] = [];

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
    fn a_read_is_answered_after_a_get_issued_after_it_arrived() {
        let (writer, mut reads) = in_flight(0);
        assert_eq!(reads.next_get(&writer), None, "no read is pending");
        arrive(&mut reads, &writer, 0, 1);
        assert_eq!(reads.next_get(&writer), Some(at(1)));
        assert_eq!(found(&mut reads, BarrierFound::Absent), [1]);
        assert!(reads.is_empty());
    }

    #[test]
    fn reads_before_the_get_share_it_and_a_later_read_waits_for_the_next() {
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
        assert_eq!(found(&mut reads, BarrierFound::Absent), NONE);
        assert_eq!(commit(&mut reads, &mut writer, 1), [1]);
    }

    #[test]
    fn the_batch_in_flight_alone_proves_nothing() {
        let (mut writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 0, 1);
        // The batch may have landed before a seal, and a new owner may have acknowledged a write since.
        assert_eq!(commit(&mut reads, &mut writer, 1), NONE);
    }

    #[test]
    fn a_batch_submitted_after_the_read_arrived_is_a_barrier() {
        let (mut writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 0, 1);
        submit(&mut writer);
        assert_eq!(reads.next_get(&writer), None, "a get could not release it sooner");
        assert_eq!(commit(&mut reads, &mut writer, 1), NONE);
        assert_eq!(commit(&mut reads, &mut writer, 2), [1]);
    }

    #[test]
    fn a_get_that_finds_our_own_batch_needs_no_second_get() {
        let (mut writer, mut reads) = in_flight(0);
        arrive(&mut reads, &writer, 0, 1);
        assert_eq!(reads.next_get(&writer), Some(at(1)));
        submit(&mut writer);
        assert_eq!(found(&mut reads, BarrierFound::OwnBatch), NONE);
        assert_eq!(reads.next_get(&writer), None);
        assert_eq!(commit(&mut reads, &mut writer, 1), [1]);
    }

    #[test]
    fn a_read_that_has_seen_the_open_batch_waits_for_its_commit_only() {
        let (mut writer, mut reads) = in_flight(0);
        arrive(&mut reads, &writer, 1, 1);
        assert_eq!(reads.next_get(&writer), None);
        submit(&mut writer);
        assert_eq!(commit(&mut reads, &mut writer, 1), [1]);
    }

    #[test]
    fn a_commit_while_the_get_is_in_flight_releases_only_reads_it_covers() {
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
    fn a_local_read_skips_only_the_barrier() {
        let (mut writer, mut reads) = in_flight(1);
        assert_eq!(reads.arrive(&writer, ReadMode::Local, at(0), 1), Some(1));
        assert_eq!(reads.arrive(&writer, ReadMode::Local, at(1), 2), None);
        assert_eq!(reads.next_get(&writer), None);
        assert_eq!(commit(&mut reads, &mut writer, 1), [2]);
    }

    #[test]
    fn a_seal_answers_no_read() {
        let (writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 2, 1);
        arrive(&mut reads, &writer, 0, 2);
        assert_eq!(reads.next_get(&writer), Some(at(2)));
        assert_eq!(found(&mut reads, BarrierFound::Seal), NONE);
        assert_eq!(reads.over().collect::<Vec<_>>(), [1, 2]);
        assert!(reads.is_empty());
    }

    #[test]
    #[should_panic(expected = "isn't open yet")]
    fn a_read_of_a_batch_that_does_not_exist_panics() {
        let (writer, mut reads) = in_flight(1);
        arrive(&mut reads, &writer, 3, 1);
    }

    /// A read in the plain form of the rule.
    #[derive(Clone, Copy, Debug)]
    struct Rule {
        mode: ReadMode,
        sees: Position,
        arrival: Position,
        /// The last position below a get that was issued after it arrived and found nothing.
        barrier: Option<Position>,
        get_in_flight: bool,
        answered: bool,
    }

    impl Rule {
        fn may_be_answered(&self, writer: &Writer) -> bool {
            let committed = writer.committed();
            let current = committed > self.arrival
                || self.barrier.is_some_and(|last| last <= committed)
                || self.mode == ReadMode::Local;
            current && self.sees <= committed
        }

        /// Whether only a get can release it now.
        fn needs_get(&self, writer: &Writer) -> bool {
            let linearizable = self.mode == ReadMode::Linearizable;
            let may_be_last = self.sees <= self.arrival && self.arrival == writer.submitted();
            linearizable && may_be_last && self.barrier.is_none() && !self.answered
        }
    }

    /// The queue, and the plain form of the rule to compare it with.
    struct Comparison {
        writer: Writer,
        reads: ReadBarrier<usize>,
        rules: Vec<Rule>,
        get: Option<Position>,
    }

    impl Comparison {
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
                get_in_flight: false,
                answered: false,
            });
            left.into_iter().collect()
        }

        fn issue_get(&mut self) {
            self.get = self.reads.next_get(&self.writer);
            let needed = self.rules.iter().any(|rule| rule.needs_get(&self.writer));
            assert_eq!(self.get.is_some(), needed, "{:?}", self.rules);
            self.rules.iter_mut().for_each(|rule| rule.get_in_flight = true);
        }

        fn get_found(&mut self, position: Position, found: BarrierFound) -> Vec<usize> {
            for rule in self.rules.iter_mut().filter(|rule| rule.get_in_flight) {
                rule.get_in_flight = false;
                if found == BarrierFound::Absent {
                    rule.barrier = rule.barrier.or(position.previous());
                }
            }
            self.reads.get_found(found).collect()
        }

        /// Does one step. Returns the reads that were answered.
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
        fn a_read_is_answered_exactly_when_the_rule_allows(
            in_flight_max in 1..=4u64,
            steps in proptest::collection::vec((0..6u8, any::<Index>()), 1..200),
        ) {
            let mut comparison = Comparison::new(in_flight_max);
            for (step, choice) in steps {
                for reader in comparison.step(step, choice) {
                    let answered = &mut comparison.rules[reader].answered;
                    prop_assert!(!core::mem::replace(answered, true), "answered twice");
                }
                for rule in &comparison.rules {
                    prop_assert_eq!(rule.answered, rule.may_be_answered(&comparison.writer), "{:?}", rule);
                }
                let waiting = comparison.rules.iter().filter(|rule| !rule.answered).count();
                prop_assert_eq!(comparison.reads.len(), waiting);
            }
        }
    }
}
