//! Counters: an acknowledged command counts once, a rolled back command doesn't count, and all replies are different.
//!
//! Some commands panic while batches of the same vnode are in flight; some make a state that can't be stored. They must
//! have no effect, also on other commands.

use std::collections::{BTreeMap, BTreeSet};

use holocron::{Client, Context, Vnode};
use serde::{Deserialize, Serialize, Serializer};

use super::{Caller, Ended, READ_BACK_WITHIN, Work, lock};
use crate::{panics::panic_as_planned, trace::Trace, watch::invariant::Invariant};

/// The longest state; longer ones are rejected. For the settings of the hosts.
pub(crate) const STATE_LEN_MAX: usize = 16 << 10;
/// Commands that a caller sends concurrently in [`count_many`].
const MANY: u64 = 14;
/// The length of those replies: together they don't fit into one request window.
const LONG_REPLY_LEN: u16 = 3_000;
/// The visible effect of a bad command if it isn't rolled back.
const TRACE_OF_THE_UNDONE: u64 = 1_000_000_000;

/// Counts its commands.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    count: u64,
    sum: u64,
    ballast: String,
    #[serde(serialize_with = "panic_if_sour")]
    sour: bool,
}

fn panic_if_sour<S: Serializer>(sour: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    if *sour {
        panic_as_planned();
    }
    serializer.serialize_bool(*sour)
}

/// A command of a tally.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Count one more, add the token, and reply with that length.
    Count { token: u64, reply_len: u16 },
    /// Change the state, then panic.
    Panic,
    /// Make the state too large.
    Swell,
    /// Make a state whose encoding panics.
    Sour,
}

impl Vnode for Tally {
    const KIND: &'static str = "tally";
    type Command = Command;
    /// The count, and padding.
    type Reply = (u64, String);
    type Query = ();
    type Answer = (u64, u64);
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, command: Command) -> (u64, String) {
        let reply_len = match command {
            Command::Count { token, reply_len } => {
                self.count += 1;
                self.sum += token;
                reply_len
            }
            Command::Panic => {
                self.count += TRACE_OF_THE_UNDONE;
                panic_as_planned();
            }
            Command::Swell => {
                self.count += TRACE_OF_THE_UNDONE;
                self.ballast = " ".repeat(STATE_LEN_MAX + 1);
                0
            }
            Command::Sour => {
                self.count += TRACE_OF_THE_UNDONE;
                self.sour = true;
                0
            }
        };
        (self.count, " ".repeat(reply_len.into()))
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> (u64, u64) {
        (self.count, self.sum)
    }
}

/// Bounds of a number that only grows.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    least: u64,
    most: u64,
}

/// The record of one tally.
#[derive(Debug, Default)]
struct Known {
    count: Bounds,
    sum: Bounds,
    replies: BTreeSet<u64>,
}

/// The records of all tallies.
#[derive(Debug, Default)]
pub(crate) struct Tallies(BTreeMap<u32, Known>);

fn key(number: u32) -> String {
    format!("t{number}")
}

/// Sends one of the commands that count.
async fn add(caller: &Caller, number: u32, reply_len: u16) {
    let work = &caller.work;
    let token = 1 + caller.chance.below(1_000);
    let least = {
        let mut tallies = lock(&work.tallies);
        let known = tallies.0.entry(number).or_default();
        known.count.most += 1;
        known.sum.most += token;
        known.count.least
    };
    let command = Command::Count { token, reply_len };
    let result = caller.vnode::<Tally>(&key(number)).command(command).await;
    let ended = work.ended(&key(number), result);
    let mut tallies = lock(&work.tallies);
    let known = tallies.0.entry(number).or_default();
    match ended {
        Ended::Replied((count, padding)) => {
            known.count.least += 1;
            known.sum.least += token;
            let fits = padding.len() == usize::from(reply_len);
            // It counts itself and everything acknowledged before it was sent.
            if !fits || count <= least || count > known.count.most {
                work.trace.violate(format_args!(
                    "invariants 1 and 10 (acknowledged is recovered, nothing counts twice): {} replies {count}, {} \
                     bytes; {least} were acknowledged before: {known:?}",
                    key(number),
                    padding.len(),
                ));
            }
            if !known.replies.insert(count) {
                work.trace.violate(format_args!(
                    "invariant 10 (a request takes effect once): {} gives two callers the reply {count}",
                    key(number)
                ));
            }
        }
        Ended::NotRun => {
            known.count.most -= 1;
            known.sum.most -= token;
        }
        Ended::Undone => work.trace.violate(format_args!(
            "{}: a good command was rolled back with a bad one",
            key(number)
        )),
        Ended::Unclear => {}
    }
}

/// Sends one of the commands that must have no effect.
async fn break_something(caller: &Caller, number: u32) {
    let work = &caller.work;
    let command = match caller.chance.below(4) {
        0 => Command::Swell,
        1 => Command::Sour,
        _ => Command::Panic,
    };
    let result = caller.vnode::<Tally>(&key(number)).command(command).await;
    match work.ended(&key(number), result) {
        Ended::Undone => work.counters().broken_commands += 1,
        Ended::Replied((count, _)) => work.trace.violate(format_args!(
            "invariant 10 (what is undone leaves no trace): {} replies {count} to {command:?}",
            key(number)
        )),
        Ended::NotRun | Ended::Unclear => {}
    }
}

async fn look(caller: &Caller, number: u32) {
    let work = &caller.work;
    let bounds = |work: &Work| {
        lock(&work.tallies).0.get(&number).map(|known| known.count).unwrap_or_default()
    };
    let least = bounds(work).least;
    let result = caller.vnode::<Tally>(&key(number)).query(()).await;
    let Some((count, _)) = work.answered(&key(number), result) else { return };
    work.counters().reads += 1;
    let most = bounds(work).most;
    if count < least || count > most {
        work.trace.violate(format_args!(
            "invariants 1 and 10 (reads see what was acknowledged): {} says {count}; it is {least} to {most}",
            key(number)
        ));
    }
}

/// Makes one random call to a tally.
pub(crate) async fn count(caller: &Caller) {
    let number = caller.one_of(caller.work.plan.tallies);
    match caller.chance.below(10) {
        // Only the first tally gets bad commands; the others must not be affected.
        0 if number == 0 => break_something(caller, number).await,
        1..4 => look(caller, number).await,
        _ => add(caller, number, 0).await,
    }
}

/// Counts one more in the tally of the crowd. Not the one that panics, which is quarantined at times.
pub(crate) async fn count_crowded(caller: &Caller) {
    add(caller, 1, 0).await;
}

/// Sends many commands concurrently to one tally: more than its window keeps, so that retries may be rebased or end
/// unclear.
pub(crate) async fn count_many(caller: &Caller) {
    let number = caller.one_of(caller.work.plan.tallies);
    let all: Vec<_> = (0..MANY)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { add(&caller, number, LONG_REPLY_LEN).await })
        })
        .collect();
    for one in all {
        // Panics are recorded elsewhere.
        drop(one.await);
    }
}

/// By tally, the least and the most that it can count now.
pub(crate) fn known(work: &Work) -> BTreeMap<u32, (u64, u64)> {
    let tallies = lock(&work.tallies);
    let bounds = |(number, known): (&u32, &Known)| (*number, (known.count.least, known.count.most));
    tallies.0.iter().map(bounds).collect()
}

/// Compares tallies in a copy of the cluster with what they could count at the moment of the copy.
pub(crate) async fn check_copy(client: &Client, trace: &Trace, bounds: &BTreeMap<u32, (u64, u64)>) {
    for (&number, &(least, most)) in bounds {
        let tally = client.get::<Tally>(&key(number)).with_deadline(READ_BACK_WITHIN);
        match tally.query(()).await {
            Ok((count, _)) if (least..=most).contains(&count) => {}
            Ok((count, _)) => trace.violate(format_args!(
                "{}: in the copy {} says {count}; it was {least} to {most}",
                Invariant::CutIsOneMoment,
                key(number)
            )),
            Err(error) => trace.violate(format_args!(
                "{}: in the copy {}: {error}",
                Invariant::CutIsOneMoment,
                key(number)
            )),
        }
    }
}

/// Reads every tally and compares.
pub(crate) async fn read_back(client: &Client, work: &Work) {
    for number in 0..work.plan.tallies {
        let tally = client.get::<Tally>(&key(number)).with_deadline(READ_BACK_WITHIN);
        match tally.query(()).await {
            Ok((count, sum)) => {
                let tallies = lock(&work.tallies);
                let untouched = Known::default();
                let known = tallies.0.get(&number).unwrap_or(&untouched);
                let within = |bounds: Bounds, at| bounds.least <= at && at <= bounds.most;
                if !within(known.count, count) || !within(known.sum, sum) {
                    work.trace.violate(format_args!(
                        "invariants 1 and 10 (acknowledged is recovered, nothing counts twice): {} says {count} and \
                         {sum}; it is {:?} and {:?}",
                        key(number),
                        known.count,
                        known.sum
                    ));
                }
            }
            Err(error) => work.trace.violate(format_args!(
                "invariant 12 (every slot is served in the end): {}: {error}",
                key(number)
            )),
        }
    }
}
