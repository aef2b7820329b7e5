//! The world: nodes that run in turns, with the network and the store between them.

use core::{future::Future, time::Duration};
use std::collections::BTreeMap;

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::{
    chance::Chance,
    network::{SimNetwork, Wire},
    store::{Shelf, SimStore},
    trace::Trace,
    watch::{Place, Watch},
};

/// The time that a node advances per turn; also the resolution of latencies.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// A process in the world: a host, or a node with callers.
#[derive(Debug)]
pub struct Node {
    runtime: Runtime,
    /// Its own clock, which stops while it is paused.
    now: Duration,
    /// The end of its pause.
    paused_until: Option<Duration>,
    /// The rate of its clock, in thousandths.
    rate: u32,
    /// Time by its own clock that it was not given yet, because it is less than a tick.
    owed: Duration,
}

/// The nodes, network and store of one run.
#[derive(Debug)]
pub struct World {
    now: Duration,
    nodes: BTreeMap<String, Node>,
    /// The network.
    pub wire: Wire,
    /// The store.
    pub shelf: Shelf,
    /// The store of another domain, for clusters that have one.
    pub further: Shelf,
    /// The source of randomness.
    pub chance: Chance,
    /// The trace of events.
    pub trace: Trace,
    /// The checkers.
    pub(crate) watch: Watch,
}

impl World {
    /// A world from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (chance, trace) = (Chance::new(seed), Trace::default());
        let watch = Watch::new(trace.clone());
        Self {
            now: Duration::ZERO,
            nodes: BTreeMap::new(),
            wire: Wire::new(chance.clone(), trace.clone(), watch.clone()),
            shelf: Shelf::new(Place::Home, chance.clone(), trace.clone(), watch.clone()),
            // From a separate generator, so that other draws of the seed don't change.
            further: Shelf::new(
                Place::Further,
                Chance::new(seed ^ 0xac3e),
                trace.clone(),
                watch.clone(),
            ),
            chance,
            trace,
            watch,
        }
    }

    /// The world's time since its start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Starts a process with a main task. A running process of that name is crashed first.
    ///
    /// # Panics
    ///
    /// When the machine has no more resources for a runtime.
    pub fn start<T: Send + 'static>(
        &mut self,
        name: &str,
        main: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.crash(name);
        self.trace.note(format_args!("{name} starts"));
        self.watch.started(name);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without threads or I/O");
        let main = runtime.spawn(main);
        let node =
            Node { runtime, now: self.now, paused_until: None, rate: 1_000, owed: Duration::ZERO };
        self.nodes.insert(name.to_owned(), node);
        main
    }

    /// Crashes a process: everything in it is dropped, but its requests in flight may still land.
    pub fn crash(&mut self, name: &str) {
        let Some(node) = self.nodes.remove(name) else {
            return;
        };
        self.trace.note(format_args!("{name} crashes"));
        self.wire.node_goes(name);
        node.runtime.shutdown_background();
        self.wire.drop_node(name);
    }

    /// Pauses a process; its requests in flight still land, and its connections stay open.
    pub fn pause(&mut self, name: &str, span: Duration) {
        if let Some(node) = self.nodes.get_mut(name) {
            self.trace.note(format_args!("{name} pauses for {span:?}"));
            node.paused_until = Some(self.now + span);
        }
    }

    /// A paused process wakes with the next tick.
    pub fn wake(&mut self, name: &str) {
        if let Some(paused) = self.nodes.get_mut(name).and_then(|node| node.paused_until.as_mut()) {
            *paused = self.now;
        }
    }

    /// Sets the rate of a process's clock, in thousandths of the world's.
    pub fn set_clock_rate(&mut self, name: &str, rate: u32) {
        if let Some(node) = self.nodes.get_mut(name) {
            self.trace.note(format_args!("{name}'s clock runs at {rate}/1000"));
            node.rate = rate;
        }
    }

    /// Whether a process exists, paused or not.
    #[must_use]
    pub fn is_up(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// Whether a process exists and isn't paused.
    #[must_use]
    pub fn is_running(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(|node| node.paused_until.is_none())
    }

    /// The network, for one node.
    #[must_use]
    pub fn network(&self, node: &str) -> SimNetwork {
        self.wire.of(node)
    }

    /// The store, for one node.
    #[must_use]
    pub fn store(&self, node: &str) -> SimStore {
        self.shelf.of(node)
    }

    /// Advances all nodes by one tick.
    pub fn step(&mut self) {
        self.now += TICK;
        self.trace.set_now(self.now);
        self.wire.deliver(self.now);
        self.shelf.deliver(self.now);
        self.further.deliver(self.now);
        for (name, node) in &mut self.nodes {
            if let Some(until) = node.paused_until {
                if self.now < until {
                    continue;
                }
                node.paused_until = None;
                self.trace.note(format_args!("{name} wakes"));
            }
            node.give_time(self.now);
        }
    }

    /// Runs the world for a span.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.step();
        }
    }

    /// Runs the world until a task is done, or the span is over. Returns whether the task is done.
    pub fn run_until<T>(&mut self, main: &JoinHandle<T>, span: Duration) -> bool {
        let until = self.now + span;
        while !main.is_finished() && self.now < until {
            self.step();
        }
        main.is_finished()
    }

    /// The result of a finished task.
    ///
    /// # Panics
    ///
    /// When it isn't finished, or has panicked.
    pub fn result<T>(&mut self, main: JoinHandle<T>) -> T {
        assert!(main.is_finished(), "the task isn't finished");
        let runtime =
            Builder::new_current_thread().build().expect("a runtime without threads or I/O");
        runtime.block_on(main).expect("it did not panic")
    }
}

impl Node {
    /// Advances the node to the world's time. After a pause, all timers of the pause fire at once, late. Its clock moves by
    /// whole ticks, because timers have no finer resolution and would round up: a node whose clock is slow has no turn until
    /// a tick is due.
    fn give_time(&mut self, world: Duration) {
        let span = world - self.now;
        self.now = world;
        self.owed += scaled(span, self.rate);
        let due = whole_ticks(self.owed);
        if due.is_zero() {
            return;
        }
        self.owed -= due;
        let late = whole_ticks(scaled(span - TICK, self.rate)).min(due - TICK);
        self.runtime.block_on(async move {
            let before = tokio::time::Instant::now();
            if !late.is_zero() {
                tokio::time::advance(late).await;
            }
            tokio::time::sleep(due - late).await;
            assert_eq!(before.elapsed(), due, "the node's clock moved by what was due");
        });
    }
}

fn scaled(span: Duration, thousandths: u32) -> Duration {
    span * thousandths / 1_000
}

/// The part of a span that is a multiple of a tick.
fn whole_ticks(span: Duration) -> Duration {
    let ticks = span.as_nanos() / TICK.as_nanos();
    TICK * u32::try_from(ticks).expect("a run has less than 2^32 ticks")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timers round up to whole milliseconds, so a clock that was given fractions of them ran up to three times too fast.
    #[test]
    fn a_nodes_clock_runs_at_its_rate() {
        for rate in [300, 700, 1_000, 1_400, 3_000] {
            let mut world = World::new(1);
            let waits =
                world.start("a", async { tokio::time::sleep(Duration::from_secs(6)).await });
            world.set_clock_rate("a", rate);
            world.run(Duration::from_secs(1));
            world.set_clock_rate("a", 1_000);
            // What the clock has left, and a tick more for what is rounded down.
            let left = Duration::from_secs(6) - scaled(Duration::from_secs(1), rate);
            world.run(left - TICK);
            assert!(!waits.is_finished(), "at {rate}/1000");
            world.run(TICK * 2);
            assert!(waits.is_finished(), "at {rate}/1000");
        }
    }
}
