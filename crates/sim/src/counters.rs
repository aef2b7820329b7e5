//! Counters of a run: they show that it exercised what it claims to check.

use core::{
    iter::Sum,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a run, taken in the store, by the callers, and where faults are injected.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Each counter by its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Commands that were acknowledged to their callers.
    acknowledged,
    /// Commands that ended unclear for their callers.
    unclear,
    /// Calls that ended with an error that guarantees no effect.
    refused,
    /// Linearizable queries that were answered.
    reads,
    /// Local queries that were answered.
    local_reads,
    /// Commands that panicked or made a too large state on purpose.
    broken_commands,
    /// Planned panics of vnodes; a command that is retried may panic more than once.
    planned_panics,
    /// Commands answered from the request window, because they had run before. A lower bound: a crash hides the newest.
    duplicates,
    /// Vnodes that left memory.
    passivations,
    /// Epoch records that landed.
    epochs,
    /// Batches that landed.
    batches,
    /// Batches that carry a checkpoint.
    checkpoints,
    /// Segments of a journal marked as trimmed.
    trims,
    /// Sessions with an end mark.
    detached,
    /// Sealed sessions that lost slots by an epoch record.
    takeovers,
    /// Slots that one session released and another adopted.
    moves,
    /// Seals that landed.
    seals,
    /// Creates of a seal that found a batch.
    seals_lost_to_batches,
    /// Creates whose answer was wrong, or that landed after it, or twice.
    unknown_outcomes,
    /// Crashed processes of hosts.
    crashes,
    /// Of those, processes that served slots by the newest epoch.
    owner_crashes,
    /// Paused processes of hosts.
    pauses,
    /// Cuts between two nodes, in one direction or in both.
    partitions,
    /// Connections broken between two nodes.
    resets,
    /// Hosts whose clock was made fast or slow.
    skewed_clocks,
    /// Outages of the store.
    outages,
    /// Hosts whose store became slow.
    slow_stores,
    /// Accepted requests to seal a healthy host.
    false_alarms,
    /// Accepted orders to drain a host, to take that back, or to move slots.
    orders,
    /// Orders that the leader refused: they would make the cluster uneven, or leave it without a host that takes slots.
    refused_orders,
    /// Hosts that joined or rejoined under load.
    joins,
    /// Hosts told to hand off their slots and leave.
    leaves,
    /// Processes started under the name of a host that runs elsewhere.
    namesakes,
    /// Leaderships of members of an election used alone.
    member_leaderships,
    /// Outages of a further domain's store, and nodes that lost their access to it or became slow there.
    domain_strikes,
    /// Sessions of a further domain that an epoch ended while their hosts went on.
    domain_sessions_ended,
    /// Stores lost while hosts served from them.
    lost_stores,
    /// Commands that vnodes of which hosts have two versions have answered.
    editions,
    /// Calls refused because the host's version was too old for the state.
    unreadable,
    /// Messages between vnodes.
    messages,
    /// Timers that have fired.
    timers,
    /// Effects that have run.
    effects,
    /// Of those, effects that have run more than once.
    repeated_effects,
    /// Cuts that were taken.
    cuts,
    /// Of the cuts, those that were restored.
    backups,
}

impl Counters {
    /// The counters that are zero: not exercised.
    #[must_use]
    pub fn idle(&self) -> Vec<&'static str> {
        self.iter().filter(|&(_, count)| count == 0).map(|(name, _)| name).collect()
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_say_what_was_not_exercised() {
        let one = Counters { takeovers: 1, ..Counters::default() };
        let two = Counters { takeovers: 2, trims: 5, ..Counters::default() };
        let sum: Counters = [one, two].into_iter().sum();
        assert_eq!((sum.takeovers, sum.trims), (3, 5));
        assert_eq!(sum.idle().len(), sum.iter().count() - 2);
        assert!(!sum.idle().contains(&"trims"));
    }
}
