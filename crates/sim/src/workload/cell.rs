//! Cells with their whole history: puts, compare-and-sets, linearizable and local reads by many callers.
//!
//! Each value is written only once, and every answer has the value that the call found. So each value that was read
//! identifies the call that wrote it: that call took effect before the read. A call without an answer whose value was
//! never read is ignored: its effect isn't visible.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron::{Client, Context, Vnode, VnodeRef};
use serde::{Deserialize, Serialize};

use super::{Caller, Ended, READ_BACK_WITHIN, Work, lock};
use crate::linear::{self, Model, Operation, Verdict};

/// The deadline of callers that only read: long enough for an answer of a host that notices late that it was sealed.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// A value that can be replaced. Zero before the first write.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Cell {
    value: u64,
}

/// A change of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Write this value.
    Put(u64),
    /// Write `value` if the cell has `expected`.
    Swap { expected: u64, value: u64 },
}

impl Vnode for Cell {
    const KIND: &'static str = "cell";
    type Command = Command;
    /// The previous value.
    type Reply = u64;
    type Query = ();
    type Answer = u64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, command: Command) -> u64 {
        let before = self.value;
        self.value = after(before, command);
        before
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
        self.value
    }
}

const fn after(before: u64, command: Command) -> u64 {
    match command {
        Command::Put(value) => value,
        Command::Swap { expected, value } if expected == before => value,
        Command::Swap { .. } => before,
    }
}

/// One call of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// None for a read.
    command: Option<Command>,
    /// The value that the call found, from its answer.
    found: Option<u64>,
}

impl Call {
    const fn wrote(&self) -> Option<u64> {
        match self.command {
            Some(Command::Put(value) | Command::Swap { value, .. }) => Some(value),
            None => None,
        }
    }
}

impl Model for Cell {
    type State = u64;
    type Call = Call;

    fn step(state: &u64, call: &Call) -> Option<u64> {
        if call.found.is_some_and(|found| found != *state) {
            return None;
        }
        Some(call.command.map_or(*state, |command| after(*state, command)))
    }

    fn is_idle(call: &Call) -> bool {
        // Its answer fixes the state in which it took effect.
        let stays = |found| call.command.is_none_or(|command| after(found, command) == found);
        call.found.is_some_and(stays)
    }
}

/// The record of one cell.
#[derive(Debug, Default)]
struct History {
    /// By invocation.
    calls: BTreeMap<u64, Operation<Call>>,
    /// Values that local reads found, and when they were answered.
    local: Vec<(u64, u64)>,
    /// The newest value in any answer.
    newest: u64,
}

/// The records of all cells.
#[derive(Debug, Default)]
pub(crate) struct Histories(BTreeMap<u32, History>);

fn key(number: u32) -> String {
    format!("c{number}")
}

impl Work {
    fn invoke(&self, number: u32, command: Option<Command>) -> u64 {
        let invoked = self.tick();
        let call = Call { command, found: None };
        let operation = Operation { invoked, returned: None, call };
        lock(&self.cells).0.entry(number).or_default().calls.insert(invoked, operation);
        invoked
    }

    fn returned(&self, number: u32, invoked: u64, found: u64) {
        let returned = self.tick();
        let mut cells = lock(&self.cells);
        let history = cells.0.entry(number).or_default();
        let operation = history.calls.get_mut(&invoked).expect("it was invoked");
        operation.returned = Some(returned);
        operation.call.found = Some(found);
        history.newest = operation.call.command.map_or(found, |command| after(found, command));
    }

    fn withdraw(&self, number: u32, invoked: u64) {
        lock(&self.cells).0.entry(number).or_default().calls.remove(&invoked);
    }
}

async fn command(caller: &Caller, number: u32, command: Command) {
    let work = &caller.work;
    let invoked = work.invoke(number, Some(command));
    let result = caller.vnode::<Cell>(&key(number)).command(command).await;
    match work.ended(&key(number), result) {
        Ended::Replied(found) => work.returned(number, invoked, found),
        Ended::NotRun => work.withdraw(number, invoked),
        Ended::Undone => work.trace.violate(format_args!(
            "{}: a call panicked, but no command of this kind panics",
            key(number)
        )),
        Ended::Unclear => {}
    }
}

async fn read(caller: &Caller, number: u32, cell: VnodeRef<Cell>) {
    let work = &caller.work;
    let invoked = work.invoke(number, None);
    let result = cell.query(()).await;
    match work.answered(&key(number), result) {
        Some(found) => {
            work.counters().reads += 1;
            work.returned(number, invoked, found);
        }
        None => work.withdraw(number, invoked),
    }
}

async fn read_locally(caller: &Caller, number: u32) {
    let work = &caller.work;
    let result = caller.vnode::<Cell>(&key(number)).local(()).await;
    if let Some(found) = work.answered(&key(number), result) {
        work.counters().local_reads += 1;
        let returned = work.tick();
        lock(&work.cells).0.entry(number).or_default().local.push((found, returned));
    }
}

/// Reads one cell.
pub(crate) async fn read_one(caller: &Caller) {
    let number = caller.one_of(caller.work.plan.cells);
    read(caller, number, caller.vnode(&key(number))).await;
}

/// Reads a given cell, with a long deadline.
pub(crate) async fn look_at(caller: &Caller, number: u32) {
    let cell = caller.client.get(&key(number)).with_deadline(LOOK_WITHIN);
    read(caller, number, cell).await;
}

/// Makes one random call to a cell.
pub(crate) async fn operate(caller: &Caller) {
    let work = &caller.work;
    let number = caller.one_of(work.plan.cells);
    match caller.chance.below(10) {
        0..4 => command(caller, number, Command::Put(work.tick())).await,
        4..6 => {
            let expected = lock(&work.cells).0.get(&number).map_or(0, |history| history.newest);
            command(caller, number, Command::Swap { expected, value: work.tick() }).await;
        }
        6..9 => read(caller, number, caller.vnode(&key(number))).await,
        _ => read_locally(caller, number).await,
    }
}

/// Reads every cell; these reads are part of the history.
pub(crate) async fn read_back(client: &Client, work: &Work) {
    for number in 0..work.plan.cells {
        let cell = client.get::<Cell>(&key(number)).with_deadline(READ_BACK_WITHIN);
        let invoked = work.invoke(number, None);
        match cell.query(()).await {
            Ok(found) => work.returned(number, invoked, found),
            Err(error) => work.trace.violate(format_args!(
                "invariant 12 (every slot is served in the end): {}: {error}",
                key(number)
            )),
        }
    }
}

/// Checks the history of every cell.
pub(crate) fn check(work: &Work) {
    for (number, history) in &lock(&work.cells).0 {
        if let Err(why) = history.check() {
            work.trace.violate(format_args!(
                "invariant 10 (linearizable per vnode, a request takes effect once): {}: {why}",
                key(*number)
            ));
        }
    }
}

impl History {
    fn check(&self) -> Result<(), String> {
        let calls = self.settled()?;
        match linear::check::<Cell>(0, &calls) {
            Verdict::Linearizable => Ok(()),
            Verdict::Broken(at) => Err(format!(
                "no order of the calls explains {:?}; concurrent calls: {:#?}",
                calls[at],
                around(&calls, at)
            )),
            Verdict::TooWide => Err(format!(
                "undecided: {} calls have more than {} configurations",
                calls.len(),
                linear::CONFIGURATIONS_LEN_MAX
            )),
        }
    }

    /// The history without calls of no visible effect, and with the latest time at which each call can have taken
    /// effect.
    fn settled(&self) -> Result<Vec<Operation<Call>>, String> {
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        let answers = self
            .calls
            .values()
            .filter_map(|operation| operation.call.found.zip(operation.returned));
        for (value, at) in answers.chain(self.local.iter().copied()).filter(|&(value, _)| value > 0)
        {
            let first = seen.entry(value).or_insert(at);
            *first = at.min(*first);
        }
        let mut calls: Vec<Operation<Call>> = self.calls.values().cloned().collect();
        for operation in &mut calls {
            if let Some(at) = operation.call.wrote().and_then(|value| seen.remove(&value)) {
                if at < operation.invoked {
                    return Err(format!("{operation:?} was read at {at}, before it was invoked"));
                }
                // An uncommitted value is never answered.
                operation.returned =
                    Some(operation.returned.map_or(at, |returned| returned.min(at)));
            }
        }
        if let Some((value, at)) = seen.first_key_value() {
            return Err(format!(
                "{value} was read at {at}, but no call wrote it, or its call was answered as having no effect"
            ));
        }
        calls.retain(|operation| operation.returned.is_some());
        Ok(calls)
    }
}

/// The calls concurrent with one call.
fn around(calls: &[Operation<Call>], at: usize) -> Vec<&Operation<Call>> {
    let one = &calls[at];
    let meets = |other: &&Operation<Call>| {
        Some(other.invoked) < one.returned && other.returned > Some(one.invoked.saturating_sub(40))
    };
    calls.iter().filter(meets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invoked, returned, asked, found.
    type Told = (u64, Option<u64>, Option<Command>, Option<u64>);

    fn history(calls: &[Told]) -> History {
        let operation = |&(invoked, returned, command, found): &Told| {
            (invoked, Operation { invoked, returned, call: Call { command, found } })
        };
        History { calls: calls.iter().map(operation).collect(), ..History::default() }
    }

    const fn put(value: u64) -> Option<Command> {
        Some(Command::Put(value))
    }

    const fn swap(expected: u64, value: u64) -> Option<Command> {
        Some(Command::Swap { expected, value })
    }

    #[test]
    fn a_history_in_order_is_explained_and_a_lost_write_is_not() {
        let calls = [
            (1, Some(2), put(10), Some(0)),
            (3, Some(4), swap(10, 11), Some(10)),
            (5, Some(6), swap(10, 12), Some(11)),
            (7, Some(8), None, Some(11)),
        ];
        assert_eq!(history(&calls).check(), Ok(()));
        let mut lost = calls;
        lost[3].3 = Some(10);
        assert!(history(&lost).check().unwrap_err().contains("no order"));
        lost[3].3 = Some(0);
        assert!(history(&lost).check().is_err());
    }

    #[test]
    fn an_unclear_write_counts_once_or_never() {
        let calls = |reads: [u64; 3]| {
            [
                (1, None, put(10), None),
                (2, Some(3), put(11), Some(reads[0])),
                (4, Some(5), None, Some(reads[1])),
                (6, Some(7), None, Some(reads[2])),
            ]
        };
        for reads in [[0, 11, 11], [10, 11, 11], [0, 11, 10], [0, 10, 10]] {
            assert_eq!(history(&calls(reads)).check(), Ok(()), "{reads:?}");
        }
        for reads in [[10, 11, 10], [0, 10, 11], [10, 10, 11]] {
            assert!(history(&calls(reads)).check().is_err(), "{reads:?}");
        }
    }

    #[test]
    fn a_value_that_was_not_written_or_has_no_effect_is_a_violation() {
        let strange = history(&[(1, Some(2), None, Some(77))]);
        assert!(strange.check().unwrap_err().contains("no call wrote it"));
    }

    #[test]
    fn a_local_read_may_be_stale_but_sees_only_what_is_committed() {
        let mut history = history(&[
            (1, Some(2), put(10), Some(0)),
            (3, Some(4), put(11), Some(10)),
            (7, None, put(12), None),
            (20, Some(21), None, Some(11)),
        ]);
        history.local = vec![(10, 6), (0, 6)];
        assert_eq!(history.check(), Ok(()));
        // It found a write that later reads don't find.
        history.local.push((12, 9));
        assert!(history.check().unwrap_err().contains("no order"));
        // It found a write before that was sent.
        history.local = vec![(12, 5)];
        assert!(history.check().unwrap_err().contains("before it was invoked"));
    }
}
