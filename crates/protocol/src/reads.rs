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

use crate::{ids::Position, writer::Writer};

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
    reader: T,
}

/// The waiting reads of one session; `T` is whatever answers one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reads<T> {
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

impl<T> Reads<T> {
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
        let barrier = mode == ReadMode::Linearizable && sees <= writer.submitted();
        if !barrier && sees <= self.committed {
            return Some(reader);
        }
        self.len += 1;
        if barrier {
            self.for_barrier.push_back(Waiting { arrival: writer.submitted(), reader });
        } else {
            self.wait_for(sees, reader);
        }
        None
    }

    /// The position to get, if a barrier is needed and none is under way. The get counts as issued now and must leave
    /// after this; retrying it is fine, since a later get shows more.
    #[must_use]
    pub fn next_get(&mut self, writer: &Writer) -> Option<Position> {
        if self.get.is_some() || self.for_barrier.is_empty() || writer.is_over() {
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
            // It was submitted after they arrived.
            BarrierFound::OwnBatch => Some(position),
            BarrierFound::Seal => None,
        };
        if let Some(settled) = settled {
            for _ in 0..self.covered {
                let Some(Waiting { arrival, reader }) = self.for_barrier.pop_front() else {
                    unreachable!("those covered are waiting");
                };
                assert!(arrival <= settled, "a get of {position} covers a read at {arrival}");
                self.wait_for(settled, reader);
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

    fn wait_for(&mut self, position: Position, reader: T) {
        let Some(ahead) = position.get().checked_sub(self.committed.get() + 1) else {
            self.released.push_back(reader);
            return;
        };
        let index = usize::try_from(ahead).expect("bounded by the batches in flight");
        self.by_position[index].push(reader);
    }
}
