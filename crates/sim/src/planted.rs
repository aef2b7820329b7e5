//! Who notices which planted bug.
//!
//! Every bug is noticed, or it would not be planted: by the default workload within [`SEEDS_MAX`] seeds, or, where the
//! library as it is can't be brought to show it, by a model that can.

use holocron_planted::Bug;

use crate::scenario::{self, Scenario};

/// Within how many seeds, from 1 on, the default workload has to show a bug.
pub const SEEDS_MAX: u64 = 200;

/// Who notices a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The default workload.
    InSimulation,
    /// A test of a model in `crates/protocol/tests`, which runs with the same switch.
    InModel {
        /// The model.
        model: &'static str,
        /// Its test.
        test: &'static str,
    },
}

/// Who notices that bug.
#[must_use]
pub const fn noticed(bug: Bug) -> Noticed {
    match bug {
        // These take two batches in flight; the library keeps one.
        Bug::SealAtMax => Noticed::InModel {
            model: "journal_model",
            test: "switched::a_seal_past_the_last_batch",
        },
        Bug::AcknowledgeOutOfOrder => Noticed::InModel {
            model: "journal_model",
            test: "switched::acknowledging_out_of_order",
        },
        // The simulator takes about 400 seeds: a host would have to sleep between the landing of a batch
        // and its answer, and be asked by a caller that hasn't heard of its successor just before it wakes.
        Bug::WaitForBatchInFlight => Noticed::InModel {
            model: "journal_model",
            test: "switched::a_read_that_waits_for_the_batch_in_flight",
        },
        // Whatever takes the place of a store in the simulator is not a copy of it.
        Bug::WitnessTooNew => {
            Noticed::InModel { model: "journal_loss", test: "switched::a_witness_that_is_too_new" }
        }
        // A slot would have to leave and come back within the one request that a Release takes.
        Bug::DropSourceOfOldTenure => Noticed::InModel {
            model: "ownership_model",
            test: "switched::sources_dropped_by_an_older_tenures_checkpoint",
        },
        // The library deletes packs before it begins the next checkpoint, so there are none to come then.
        Bug::DeletePacksToCome => Noticed::InModel {
            model: "pack_model",
            test: "switched::packs_deleted_that_the_next_checkpoint_names",
        },
        // A host would have to learn of two epochs at once, while another knows only the first of them, acts on it, and
        // hears of the second from nobody. And then no promise is broken but the rule itself: whoever comes later waits
        // for the end of the one that was behind.
        Bug::ReleaseAhead => Noticed::InModel {
            model: "ownership_model",
            test: "switched::a_release_that_is_newer_than_its_reader",
        },
        // Rules of the control plane that keep no promise by themselves: their traces say what they are for.
        Bug::AdmitWithoutClearance => Noticed::InModel {
            model: "control_traces",
            test: "switched::a_join_cleared_as_of_an_older_record",
        },
        Bug::RejoinWhenReplaced => Noticed::InModel {
            model: "control_traces",
            test: "switched::a_replaced_host_that_rejoins",
        },
        Bug::RemoveUndrained => {
            Noticed::InModel { model: "control_traces", test: "switched::a_host_removed_undrained" }
        }
        Bug::BlameHostForStore => Noticed::InModel {
            model: "control_traces",
            test: "switched::a_host_blamed_for_the_store",
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
        | Bug::ForgetAnswerWithoutMark
        | Bug::AppendAfterRelease
        | Bug::DeletePacksInUse
        | Bug::NeverLookAgain => Noticed::InSimulation,
    }
}

/// Runs the default workload of one seed after the other until something is broken; which seed, and what.
#[must_use]
pub fn first_broken(seeds: impl IntoIterator<Item = u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let broken = scenario::run(&Scenario::new(seed)).broken;
        broken.into_iter().next().map(|sentence| (seed, sentence))
    })
}
