//! The one task that commits: closes the open batch, creates it, sends the answers that waited for it.

use core::pin::pin;
use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use holocron_protocol::{
    control::loss::{LookFor, Witness},
    format::keys,
    ids::Position,
    journal::{
        batch,
        found::{Foreign, Found},
        read_barrier::BarrierFound,
        writer::Carries,
    },
};
use holocron_store::{Created, Patience, create_once, get_until};
use tokio::time::Instant;

use super::{Closed, Journal, Open, Released, State, Waiting, planted};
use crate::{
    session::tail::TailEntry,
    store_io::loss::{NotSame, Object},
};

/// Whether there is a batch to create.
enum Work {
    Ready,
    Nothing,
    /// A cut is being taken; it waits for that until then.
    Frozen(Instant),
}

/// A batch in flight.
struct Flight {
    position: Position,
    object: Bytes,
    entries: Vec<TailEntry>,
    answers: Vec<Released>,
    closed: Instant,
}

impl Journal {
    /// Commits batch after batch until the session ends.
    pub(crate) async fn run(self: Arc<Self>) {
        while let Some(flight) = self.next_flight().await {
            let key = keys::journal_position(self.session, flight.position);
            let look_for = LookFor::in_turn(flight.position.get());
            match self.create_in_same_store(&key, flight.object.clone(), look_for).await {
                Created::Won => self.commit(flight),
                Created::Lost(existing) => {
                    let winner = Foreign::winner(&key, &existing);
                    self.end(&format!("{key}: {winner}"));
                    return;
                }
                // Stopped. The batch may have landed, so its calls are dropped, which answers them Unclear.
                Created::Unknown => return,
            }
        }
    }

    /// Creates a batch, and checks meanwhile whether the store is lost: then the batch isn't committed, wherever it landed.
    async fn create_in_same_store(&self, key: &str, object: Bytes, look_for: LookFor) -> Created {
        let mut creating = pin!(self.create(key, object));
        let mut looking = pin!(self.loss.confirm(|| self.witness(look_for), &self.ended));
        let (mut same, mut created) = (false, None);
        while created.is_none() || (created == Some(Created::Won) && !same) {
            tokio::select! {
                biased;
                outcome = &mut creating, if created.is_none() => created = Some(outcome),
                looked = &mut looking, if !same => {
                    if let Err(Closed) = self.end_unless_same(looked) {
                        return Created::Unknown;
                    }
                    same = true;
                }
            }
        }
        created.expect("the loop ends with an outcome")
    }

    /// The object to look for before an answer leaves.
    pub(crate) fn witness(&self, look_for: LookFor) -> Object {
        match self.state().writer.witness(look_for) {
            Witness::Batch(position) => Object::Batch(self.session, position),
            Witness::Cluster => Object::Cluster,
        }
    }

    /// Ends the session if the store is lost, or if the session was detached and collected.
    fn end_unless_same(&self, looked: Result<(), NotSame>) -> Result<(), Closed> {
        looked.map_err(|not_same| {
            self.end(match not_same {
                NotSame::SessionOver => "it was detached while its host was paused",
                NotSame::Lost => "the store is lost",
            });
            Closed
        })
    }

    /// Repeats the same bytes until they are won or lost, however long the store is unavailable: there is no budget.
    async fn create(&self, key: &str, object: Bytes) -> Created {
        let patience = Patience { try_timeout: self.options.try_timeout, ..Patience::forever() };
        let creating = create_once(&self.store, key, object.clone(), patience, &self.ended);
        planted::create(self, key, object, creating).await
    }

    /// The next batch to create; `None` once the session is over.
    async fn next_flight(&self) -> Option<Flight> {
        loop {
            if self.ended.is_cancelled() {
                return None;
            }
            match self.work() {
                Work::Ready => {
                    if !self.options.linger.is_zero() {
                        tokio::time::sleep(self.options.linger).await;
                    }
                    // It may have been frozen since.
                    if let Some(flight) = self.close_open() {
                        return Some(flight);
                    }
                }
                Work::Nothing => tokio::select! {
                    biased;
                    () = self.ended.cancelled() => return None,
                    () = self.work.notified() => {}
                },
                Work::Frozen(until) => tokio::select! {
                    biased;
                    () = self.ended.cancelled() => return None,
                    () = self.work.notified() => {}
                    () = tokio::time::sleep_until(until) => self.lose_patience(),
                },
            }
        }
    }

    fn work(&self) -> Work {
        let state = self.state();
        if state.open.builder.is_empty() {
            Work::Nothing
        } else if state.freeze.may_submit() {
            Work::Ready
        } else {
            Work::Frozen(state.frozen_until)
        }
    }

    /// Closes the open batch and gives it its header: from here on its bytes don't change. `None` if the session is frozen.
    fn close_open(&self) -> Option<Flight> {
        let (nonce, closed) = (self.random.nonce(), Instant::now());
        let mut state = self.state();
        if !state.freeze.may_submit() {
            return None;
        }
        let State { writer, open, .. } = &mut *state;
        // The next batch is probably about as large: growing it step by step would copy it repeatedly.
        let capacity = open.builder.len().min(super::OPEN_LEN_MAX);
        let fresh =
            Open { builder: batch::BatchBuilder::with_capacity(capacity), ..Open::default() };
        let Open { builder, entries, answers, checkpoint } = core::mem::replace(open, fresh);
        let carries =
            checkpoint.map_or(Carries::Records, |low_water| Carries::Checkpoint { low_water });
        let header = writer.submit(carries);
        self.open_len.store(0, Ordering::Relaxed);
        drop(state);
        self.batch_closed.notify_waiters();
        // Outside the lock: the checksum runs over the whole batch.
        Some(Flight {
            position: header.position,
            object: builder.finish(header, nonce),
            entries,
            answers,
            closed,
        })
    }

    /// The batch is committed: records its position and sends the answers that waited for it.
    fn commit(&self, flight: Flight) {
        let Flight { position, object, entries, answers, closed } = flight;
        let counts = &self.options.counts;
        counts.commits.took(closed.elapsed());
        counts.batch_bytes.note(object.len() as u64);
        counts.batch_answers.note(answers.len() as u64);
        let mut state = self.state();
        let committed = state
            .writer
            .won(position)
            .expect("one batch in flight: the newest won is the newest committed");
        assert_eq!(committed, position, "one batch in flight");
        state.tail.push(position, object, entries);
        let options = &self.options;
        let due = state.tail.batches() >= options.checkpoint_batches
            || state.tail.len() >= options.checkpoint_len;
        let State { writer, reads, .. } = &mut *state;
        let reads: Vec<Waiting> = reads.committed(writer).collect();
        drop(state);
        if due {
            self.checkpoint_due.notify_one();
        }
        self.committed.store(committed.get(), Ordering::Release);
        self.newly_committed.notify_waiters();
        for released in answers {
            released.send();
        }
        for waiting in reads {
            waiting.leave();
        }
    }

    /// Serves linearizable reads: while some wait, gets the next position to see whether the journal is sealed there.
    pub(crate) async fn run_barrier(self: Arc<Self>) {
        loop {
            let Some((position, look_for)) = self.next_barrier() else {
                tokio::select! {
                    biased;
                    () = self.ended.cancelled() => return,
                    () = self.barrier.notified() => continue,
                }
            };
            let key = keys::journal_position(self.session, position);
            let patience =
                Patience { try_timeout: self.options.try_timeout, ..Patience::forever() };
            let getting = get_until(&*self.store, &key, patience, &self.ended);
            let looking = self.loss.confirm(|| self.witness(look_for), &self.ended);
            let (found, looked) = tokio::join!(getting, looking);
            let Ok(found) = found else { return };
            let found = match Found::judge(&key, found.as_ref()) {
                Found::Absent => BarrierFound::Absent,
                Found::OwnBatch => BarrierFound::OwnBatch,
                Found::Foreign(foreign) => {
                    return self.end(&format!("{key}: {foreign}, found by a read barrier"));
                }
            };
            if let Err(Closed) = self.end_unless_same(looked) {
                return;
            }
            self.barrier_found(found);
        }
    }

    fn next_barrier(&self) -> Option<(Position, LookFor)> {
        let mut state = self.state();
        let State { writer, reads, barriers, .. } = &mut *state;
        let position = reads.next_get(writer)?;
        *barriers += 1;
        Some((position, LookFor::in_turn(*barriers)))
    }

    fn barrier_found(&self, found: BarrierFound) {
        let mut state = self.state();
        // The session may have ended during the get; its reads were dropped with it.
        if self.ended.is_cancelled() {
            return;
        }
        let released: Vec<Waiting> = state.reads.get_found(found).collect();
        drop(state);
        for waiting in released {
            waiting.leave();
        }
    }
}
