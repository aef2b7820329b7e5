//! Which test catches which planted bug.
//!
//! Every planted bug is caught: by the default workload within [`SEEDS_MAX`] seeds, or by a model, if the library can't
//! reach a state where the bug matters.

use holocron_planted::Bug;

use crate::scenario::{self, Scenario};

/// The number of seeds, from 1 on, within which the default workload must catch a bug.
pub const SEEDS_MAX: u64 = 200;

/// The test that catches a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The default workload.
    InSimulation,
    /// A test of a model in `crates/protocol/tests`, with the same bug planted.
    InModel {
        /// The model.
        model: &'static str,
        /// Its test.
        test: &'static str,
    },
}

/// The test that catches that bug.
#[must_use]
pub const fn noticed(bug: Bug) -> Noticed {
    match bug {
        // These need two batches in flight; the library has one.
        Bug::SealAtMax => Noticed::InModel {
            model: "journal_model",
            test: "switched::a_seal_past_the_last_batch",
        },
        Bug::AcknowledgeOutOfOrder => Noticed::InModel {
            model: "journal_model",
            test: "switched::acknowledging_out_of_order",
        },
        // The simulator needs about 400 seeds: a host must pause between the landing of a batch and its answer, and a
        // caller that doesn't know the new owner must call it just before it wakes.
        Bug::WaitForBatchInFlight => Noticed::InModel {
            model: "journal_model",
            test: "switched::a_read_that_waits_for_the_batch_in_flight",
        },
        // In the simulator, a replacement store is never a copy.
        Bug::WitnessTooNew => {
            Noticed::InModel { model: "journal_loss", test: "switched::a_witness_that_is_too_new" }
        }
        // A slot would have to move away and back during the one request of a Release.
        Bug::DropSourceOfOldTenure => Noticed::InModel {
            model: "ownership_model",
            test: "switched::sources_dropped_by_an_older_tenures_checkpoint",
        },
        // The library deletes packs before it starts the next checkpoint, so there are no packs of a next checkpoint
        // then.
        Bug::DeletePacksToCome => Noticed::InModel {
            model: "pack_model",
            test: "switched::packs_deleted_that_the_next_checkpoint_names",
        },
        // A host would have to learn two epochs at once, while another knows only the first, acts on it, and doesn't
        // learn the second. Even then no invariant is violated: later owners wait for the end of the stale one.
        Bug::ReleaseAhead => Noticed::InModel {
            model: "ownership_model",
            test: "switched::a_release_that_is_newer_than_its_reader",
        },
        Bug::TrustAlreadyExists
        | Bug::ReplyBeforeCommit
        | Bug::TrimBeforeCommit
        | Bug::DeleteSeal
        | Bug::MissingIsEmpty
        | Bug::ServeBeforeAdopt
        | Bug::UnseenEnd
        | Bug::SkipBarrier
        | Bug::LooseRelease
        | Bug::DropSourceEarly
        | Bug::PartAsFull
        | Bug::ReuseSessionId
        | Bug::RetryOtherBytes
        | Bug::AnswerOpenBatch
        | Bug::RollBackInFlight
        | Bug::EndOnOutage
        | Bug::CheckpointNamesPrevious
        | Bug::WindowByAge
        | Bug::NoWindow
        | Bug::KeepCache
        | Bug::SkipWitness
        | Bug::JudgeByName
        | Bug::IgnoreBatchInFlight
        | Bug::ForgetClientWithoutMark
        | Bug::ForgetAnswerWithoutMark => Noticed::InSimulation,
    }
}

/// Runs the default workload seed by seed until there is a violation; returns the seed and the violation.
#[must_use]
pub fn first_broken(seeds: impl IntoIterator<Item = u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let broken = scenario::run(&Scenario::new(seed)).broken;
        broken.into_iter().next().map(|sentence| (seed, sentence))
    })
}
