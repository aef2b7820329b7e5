//! Relays: vnodes that send each other messages, set timers and ask for effects. Each counts what it asked for and what came of
//! it, so that in the end the counts of all of them must agree. *Sleepers* are relays that set a timer once and are never called
//! again: whoever serves them must wake them.
//!
//! What can't be counted in a state is the outside: which effects have run there.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use holocron::{
    BoxError, Client, Context, Done, Effect, EffectId, Finished, HostBuilder, Kind, Lifecycle,
    Retry, Vnode,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::{Busy, Caller, Ended, READ_BACK_WITHIN, Work, lock};
use crate::{chance::Chance, panics::panic_as_planned, trace::Trace, watch::invariant::Invariant};

/// The number of relays.
const COUNT: u8 = 6;
/// The longest pause of a caller of relays.
const PAUSE_MAX: Duration = Duration::from_millis(150);
/// The longest delay of a timer.
const DELAY_MAX_MS: u64 = 900;
/// The longest delay of a sleeper, and how many there are at most.
const SLEEP_MAX_MS: u64 = 20_000;
const SLEEPERS_MAX: u32 = 60;
/// The longest time that an effect takes, and how often it asks for a retry.
const EFFECT_MAX: Duration = Duration::from_millis(200);
const RETRIES: f64 = 0.25;
/// How long after the faults everything may take: clocks of hosts are seconds apart, and pauses between tries are longer.
const DONE_WITHIN: Duration = Duration::from_secs(60);
/// The tags of answers and of results.
const ANSWERED: &str = "answered";
const DONE: &str = "done";

/// What an observer outside knows.
#[derive(Debug)]
pub(crate) struct Outside {
    chance: Chance,
    /// How often each effect has run to its end.
    ran: Mutex<BTreeMap<EffectId, u64>>,
    sleepers: Mutex<u32>,
}

impl Outside {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed ^ 0x0e1a),
            ran: Mutex::default(),
            sleepers: Mutex::default(),
        }
    }

    /// Vnodes that were put to sleep.
    pub(crate) fn sleepers(&self) -> u32 {
        *lock(&self.sleepers)
    }

    /// Adds the kind to a host that starts.
    pub(crate) fn equip(self: &Arc<Self>, builder: HostBuilder) -> HostBuilder {
        builder.kind(Kind::<Relay>::new(World(Arc::clone(self))))
    }
}

/// The outside, as the environment of the kind.
pub(crate) struct World(Arc<Outside>);

impl Lifecycle<Relay> for World {
    type Resource = ();
    const HAS_HOOKS: bool = false;

    async fn open(&self, _: &holocron::Activation) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A relay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Relay {
    /// Messages sent to each relay, and the newest that each has sent here.
    sent: BTreeMap<u8, u64>,
    received: BTreeMap<u8, u64>,
    /// Messages whose answer is wanted, and answers.
    wanted: u64,
    answers: u64,
    /// Timers set, and those that have fired.
    armed: u64,
    fired: BTreeSet<u64>,
    /// Effects asked for, and those whose result came.
    asked: u64,
    done: BTreeSet<u64>,
    /// What should not have happened.
    errors: Vec<String>,
}

/// A command of a relay.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Send so many messages to another relay.
    Send { from: u8, to: u8, count: u8, answer: Answer },
    /// A message: the next one of this sender.
    Message { from: u8, number: u64 },
    /// Set a timer.
    Arm { delay_ms: u64 },
    /// A timer has fired.
    Fire { number: u64 },
    /// Ask for an effect.
    Ask,
    /// Ask for everything, and panic.
    Panic { from: u8, to: u8 },
}

/// Whether the answer of a message is wanted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Wanted,
    Unwanted,
}

impl Relay {
    fn fault(&mut self, error: String) {
        if self.errors.len() < 3 {
            self.errors.push(error);
        }
    }

    fn send(&mut self, context: &mut Context<'_, Self>, from: u8, to: u8, answer: Answer) {
        let number = self.sent.entry(to).or_default();
        *number += 1;
        let message = Command::Message { from, number: *number };
        match answer {
            Answer::Unwanted => context.send::<Self>(&key(to), message),
            Answer::Wanted => {
                self.wanted += 1;
                context.ask::<Self>(&key(to), message, ANSWERED);
            }
        }
    }

    fn arm(&mut self, context: &mut Context<'_, Self>, delay_ms: u64) {
        self.armed += 1;
        let command = Command::Fire { number: self.armed };
        let name = format!("t{}", self.armed);
        context.after(&name, Duration::from_millis(delay_ms), command);
    }

    fn ask(&mut self, context: &mut Context<'_, Self>) {
        self.asked += 1;
        context.effect(&self.asked, Some(DONE));
    }
}

impl Vnode for Relay {
    const KIND: &'static str = "relay";
    type Command = Command;
    type Reply = u64;
    type Query = ();
    type Answer = Self;
    type Env = World;

    fn command(&mut self, context: &mut Context<'_, Self>, command: Command) -> u64 {
        match command {
            Command::Send { from, to, count, answer } => {
                (0..count).for_each(|_| self.send(context, from, to, answer));
            }
            Command::Message { from, number } => {
                let newest = self.received.entry(from).or_default();
                let before = core::mem::replace(newest, number);
                if before + 1 != number {
                    self.fault(format!("message {number} of {from} comes after {before}"));
                }
                return number;
            }
            Command::Arm { delay_ms } => self.arm(context, delay_ms),
            Command::Fire { number } => {
                if !self.fired.insert(number) {
                    self.fault(format!("timer {number} fires twice"));
                }
            }
            Command::Ask => self.ask(context),
            Command::Panic { from, to } => {
                self.send(context, from, to, Answer::Wanted);
                self.arm(context, 1);
                self.ask(context);
                panic_as_planned();
            }
        }
        0
    }

    fn finished(&mut self, _: &mut Context<'_, Self>, finished: Finished<'_>) {
        match (finished.tag(), finished.read::<u64>()) {
            (ANSWERED, Ok(_)) => self.answers += 1,
            (DONE, Ok(number)) => {
                if !self.done.insert(number) {
                    self.fault(format!("effect {number} is done twice"));
                }
            }
            (tag, other) => self.fault(format!("{tag}: {other:?}")),
        }
    }

    async fn effect(world: &World, effect: Effect) -> Result<Done, Retry> {
        let outside = &world.0;
        tokio::time::sleep(outside.chance.between(Duration::ZERO, EFFECT_MAX)).await;
        if outside.chance.happens(RETRIES) {
            return Err(Retry::because("the service is busy"));
        }
        let number: u64 = effect.read()?;
        *lock(&outside.ran).entry(effect.id()).or_default() += 1;
        effect.done(&number)
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> Self {
        self.clone()
    }
}

fn key(relay: u8) -> String {
    format!("r{relay}")
}

/// Starts a caller of relays until the work is over.
pub(crate) fn call(work: &Arc<Work>, client: &Client, seed: u64) -> Option<JoinHandle<()>> {
    work.outside.as_ref()?;
    let chance = Chance::new(seed ^ 0x5e1a);
    let caller = Caller { client: client.clone(), chance, work: Arc::clone(work) };
    Some(tokio::spawn(async move {
        let _busy = Busy::new(&caller.work);
        while !caller.work.is_over() {
            ask(&caller).await;
            tokio::time::sleep(caller.chance.between(Duration::ZERO, PAUSE_MAX)).await;
        }
    }))
}

async fn ask(caller: &Caller) {
    let one = || u8::try_from(caller.chance.below(COUNT.into())).expect("few relays");
    // To itself, too.
    let (from, to) = (one(), one());
    let choice = caller.chance.below(18);
    if choice >= 16 {
        return put_to_sleep(caller).await;
    }
    let command = match choice {
        0..4 => Command::Send { from, to, count: 1, answer: Answer::Wanted },
        4..7 => Command::Send { from, to, count: 3, answer: Answer::Unwanted },
        7..11 => Command::Arm { delay_ms: caller.chance.below(DELAY_MAX_MS) },
        11..15 => Command::Ask,
        _ => Command::Panic { from, to },
    };
    let result = caller.vnode::<Relay>(&key(from)).command(command).await;
    match caller.work.ended(&key(from), result) {
        Ended::Undone => caller.work.counters().broken_commands += 1,
        // The relays themselves count.
        Ended::Replied(_) | Ended::NotRun | Ended::Unclear => {}
    }
}

/// Calls a new relay, which sets a timer.
async fn put_to_sleep(caller: &Caller) {
    let Some(outside) = &caller.work.outside else { return };
    let number = {
        let mut sleepers = lock(&outside.sleepers);
        if *sleepers >= SLEEPERS_MAX {
            return;
        }
        *sleepers += 1;
        *sleepers
    };
    let delay_ms = caller.chance.below(SLEEP_MAX_MS);
    let (key, command) = (sleeper(number), Command::Arm { delay_ms });
    let result = caller.vnode::<Relay>(&key).command(command).await;
    match caller.work.ended(&key, result) {
        // It counts for itself whether it has set a timer.
        Ended::Replied(_) | Ended::NotRun | Ended::Undone | Ended::Unclear => {}
    }
}

fn sleeper(number: u32) -> String {
    format!("s{number}")
}

/// Waits, without calling a relay, so that they must wake by themselves. Then everything that was asked for must be done.
pub(crate) async fn read_back(client: &Client, work: &Work) {
    let Some(outside) = &work.outside else { return };
    tokio::time::sleep(DONE_WITHIN).await;
    let relays = read_all(client, &work.trace, outside.sleepers()).await;
    let Some(relays) = relays else { return };
    for (invariant, what) in open(&relays) {
        work.trace.violate(format_args!("{invariant}: after {DONE_WITHIN:?} {what}"));
    }
    let ran = lock(&outside.ran);
    for (number, relay) in relays.iter().enumerate() {
        for error in &relay.errors {
            work.trace
                .violate(format_args!("{}: relay r{number}: {error}", Invariant::MessagesOnce));
        }
    }
    let (asked, done) = (total(&relays, |relay| relay.asked), ran.len() as u64);
    if done < asked {
        work.trace.violate(format_args!(
            "{}: {asked} effects were asked for, and {done} have run",
            Invariant::TimersAndEffects
        ));
    }
    let mut counters = work.counters();
    counters.messages += total(&relays, |relay| relay.received.values().sum());
    counters.timers += total(&relays, |relay| relay.fired.len() as u64);
    counters.effects += done;
    counters.repeated_effects += ran.values().filter(|&&times| times > 1).count() as u64;
}

/// Waits until the relays in a copy of the cluster have finished what they were about. Their counts must agree then, as they
/// do only if the copy is of one moment.
pub(crate) async fn check_copy(client: &Client, trace: &Trace, sleepers: u32) {
    tokio::time::sleep(DONE_WITHIN).await;
    let Some(relays) = read_all(client, trace, sleepers).await else { return };
    for (invariant, what) in open(&relays) {
        let copy = Invariant::CutIsOneMoment;
        trace.violate(format_args!("{copy}: {invariant}: in the copy {what}"));
    }
    for error in relays.iter().flat_map(|relay| &relay.errors) {
        trace.violate(format_args!("{}: in the copy {error}", Invariant::CutIsOneMoment));
    }
}

async fn read_all(client: &Client, trace: &Trace, sleepers: u32) -> Option<Vec<Relay>> {
    let mut relays = Vec::new();
    for key in (0..COUNT).map(key).chain((1..=sleepers).map(sleeper)) {
        let relay = client.get::<Relay>(&key).with_deadline(READ_BACK_WITHIN);
        match relay.query(()).await {
            Ok(relay) => relays.push(relay),
            Err(error) => {
                trace.violate(format_args!("{}: {key}: {error}", Invariant::Heals));
                return None;
            }
        }
    }
    Some(relays)
}

/// What isn't done.
fn open(relays: &[Relay]) -> Vec<(Invariant, String)> {
    let mut open = Vec::new();
    for (from, relay) in (0_u8..).zip(relays) {
        for (to, target) in (0..COUNT).zip(relays) {
            let sent = relay.sent.get(&to).copied().unwrap_or(0);
            let received = target.received.get(&from).copied().unwrap_or(0);
            if sent != received {
                let what =
                    format!("r{from} has sent r{to} {sent} messages, of which it has {received}");
                open.push((Invariant::MessagesOnce, what));
            }
        }
        let Relay { wanted, answers, armed, asked, .. } = *relay;
        if wanted != answers {
            let what = format!("r{from} wants {wanted} answers and has {answers}");
            open.push((Invariant::MessagesOnce, what));
        }
        let (fired, done) = (relay.fired.len() as u64, relay.done.len() as u64);
        if armed != fired {
            let what = format!("r{from} has set {armed} timers, of which {fired} have fired");
            open.push((Invariant::TimersAndEffects, what));
        }
        if asked != done {
            let what = format!("r{from} has asked for {asked} effects, of which {done} are done");
            open.push((Invariant::TimersAndEffects, what));
        }
    }
    open
}

fn total(relays: &[Relay], of: impl Fn(&Relay) -> u64) -> u64 {
    relays.iter().map(of).sum()
}
