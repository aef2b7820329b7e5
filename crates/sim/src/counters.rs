//! What a run did: the proof that it exercised what it claims to check.

use core::{
    iter::Sum,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a run did, counted where it can be seen: in the store, by the callers, or where faults are injected.
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
    /// Calls that ended with an error that says they left no effect.
    refused,
    /// Linearizable queries that were answered.
    reads,
    /// Local queries that were answered.
    local_reads,
    /// Commands that panicked or left too large a state, as they were meant to.
    broken_commands,
    /// Panics of vnodes as planned; one command may panic more than once when it is sent again.
    planned_panics,
    /// Commands answered from the request window: they had run before. At least so many; a crash hides the newest.
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
    /// Sessions marked as gone but for seal and marks.
    detached,
    /// Sessions that an epoch record took slots from because they were sealed.
    takeovers,
    /// Slots that their owner released and another session adopted.
    moves,
    /// Seals that landed.
    seals,
    /// Creates of a seal that met a batch.
    seals_lost_to_batches,
    /// Creates whose answer wasn't the truth, or that landed after it, or twice.
    unknown_outcomes,
    /// Processes of hosts that died.
    crashes,
    /// Processes of hosts that were given no time for a while.
    pauses,
    /// Cuts between two nodes, in one direction or in both.
    partitions,
    /// Connections broken between two nodes.
    resets,
    /// Clocks of hosts made fast or slow.
    skewed_clocks,
    /// Spans in which the store answered nobody.
    outages,
    /// Hosts whose store became slow.
    slow_stores,
    /// Seals asked for of hosts that were well, and taken note of.
    false_alarms,
    /// Hosts that joined under load, new or back.
    joins,
    /// Hosts told to hand their slots over and leave.
    leaves,
    /// Processes started under the name of a host that ran elsewhere.
    namesakes,
    /// Stores that were lost while hosts served from them.
    lost_stores,
}

impl Counters {
    /// The counters that are zero: what was not exercised.
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
