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

const fn in_model(model: &'static str, test: &'static str) -> Noticed {
    Noticed::InModel { model, test }
}

/// A test of the control plane's traces.
macro_rules! traced {
    ($test:literal) => {
        in_model("control_traces", concat!("switched::", $test))
    };
}

const fn in_slots(test: &'static str) -> Noticed {
    in_model("slot_traces", test)
}

const fn in_messages(test: &'static str) -> Noticed {
    in_model("once_model", test)
}

const fn in_election(test: &'static str) -> Noticed {
    in_model("election_traces", test)
}

/// The search that catches a bug in a rule of cuts.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other bugs are elsewhere")]
const fn of_cuts(bug: Bug) -> Noticed {
    match bug {
        Bug::CutInFlight => in_model("cut_model", "switched::a_position_given_in_flight"),
        Bug::CutThawed => in_model("cut_model", "switched::a_session_that_went_on"),
        Bug::CutAcrossEpochs => in_model("cut_model", "switched::a_cut_across_epochs"),
        _ => panic!("not a rule of cuts"),
    }
}

/// The trace that catches a bug in a rule of the control plane.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other bugs are elsewhere")]
const fn of_control(bug: Bug) -> Noticed {
    match bug {
        Bug::AdmitWithoutClearance => traced!("a_join_cleared_as_of_an_older_record"),
        Bug::RejoinWhenReplaced => traced!("a_replaced_host_that_rejoins"),
        Bug::RemoveUndrained => traced!("a_host_removed_undrained"),
        Bug::MoveWhileFailing => traced!("slots_moved_while_a_host_fails"),
        Bug::BalanceUnheard => traced!("balance_by_the_loads_that_are_known"),
        Bug::BalanceNoise => traced!("balance_after_one_look"),
        Bug::BlameHostForStore => traced!("a_host_blamed_for_the_store"),
        Bug::OpenUnboundStore => traced!("a_session_in_a_store_that_is_not_the_domains"),
        Bug::TakeOverNames => traced!("a_domain_that_takes_over_names"),
        Bug::EndHostForDomain => traced!("a_host_ended_for_one_domain"),
        Bug::BlameHostsForOutage => traced!("hosts_blamed_for_an_outage"),
        Bug::PlaceUnread => traced!("slots_placed_without_regard_to_versions"),
        _ => panic!("not a rule of the control plane"),
    }
}

/// The test that catches that bug.
#[must_use]
pub const fn noticed(bug: Bug) -> Noticed {
    match bug {
        // The next two need two batches in flight. In the simulator a replacement store is never a copy.
        Bug::SealAtMax => in_model("journal_model", "switched::a_seal_past_the_last_batch"),
        Bug::AcknowledgeOutOfOrder => {
            in_model("journal_model", "switched::acknowledging_out_of_order")
        }
        // The simulator needs about 400 seeds: a host must pause between the landing of a batch and its answer, and a
        // caller that doesn't know the new owner must call it just before it wakes.
        Bug::WaitForBatchInFlight => {
            in_model("journal_model", "switched::a_read_that_waits_for_the_batch_in_flight")
        }
        Bug::IgnoreBatchInFlight => {
            in_model("journal_model", "switched::a_read_that_ignores_the_batch_in_flight")
        }
        Bug::WitnessTooNew => in_model("journal_loss", "switched::a_witness_that_is_too_new"),
        // A slot would have to move away and back during the one request of a Release.
        Bug::DropSourceOfOldTenure => {
            in_model("ownership_model", "switched::sources_dropped_by_an_older_tenures_checkpoint")
        }
        // The library deletes packs before it starts the next checkpoint.
        Bug::DeletePacksToCome => {
            in_model("pack_model", "switched::packs_deleted_that_the_next_checkpoint_names")
        }
        // A host would have to learn two epochs at once, while another knows only the first, acts on it, and doesn't
        // learn the second. Even then no invariant is violated: later owners wait for the end of the stale one.
        Bug::ReleaseAhead => {
            in_model("ownership_model", "switched::a_release_that_is_newer_than_its_reader")
        }
        // 200 seeds don't find it: a new owner has fetched most of a journal before its slots move.
        Bug::MissingIsEmpty => in_model("fetch", "switched::missing_objects_read_as_nothing"),
        // Vnodes hand over before the Release, so an append behind it takes a vnode that overstays its second.
        Bug::AppendAfterRelease => in_slots("switched::a_record_behind_the_release_of_its_slot"),
        Bug::ListIndexFirst => in_slots("switched::a_listing_from_the_index_alone"),
        Bug::ForkOverwrites => in_slots("switched::a_fork_onto_a_vnode_that_exists"),
        Bug::WatchNextOnly => in_slots("switched::a_watcher_that_misses_a_commit"),
        Bug::DeletePacksInFlight => in_slots("switched::packs_deleted_in_flight"),
        // In most seeds an announcement or an epoch comes before the next look.
        Bug::NeverLookAgain => in_slots("switched::a_recovery_that_waits_and_never_looks_again"),
        Bug::AdmitBeforeOpen => in_slots("switched::a_call_before_its_vnode_is_open"),
        Bug::ShardsByChance => traced!("shards_that_are_placed_by_chance"),
        Bug::ReleaseBeforeClose => in_slots("switched::a_slot_released_before_its_vnodes_closed"),
        // Rules of the control plane that keep no promise by themselves: their traces say what they are for.
        #[rustfmt::skip]
        Bug::AdmitWithoutClearance | Bug::RejoinWhenReplaced | Bug::RemoveUndrained | Bug::MoveWhileFailing | Bug::BalanceUnheard | Bug::BalanceNoise
        | Bug::PlaceUnread
        | Bug::BlameHostForStore | Bug::OpenUnboundStore | Bug::TakeOverNames | Bug::EndHostForDomain | Bug::BlameHostsForOutage => of_control(bug),
        // Hosts of the simulator run one version of each kind.
        Bug::TrustShape => in_model("by_name", "switched::a_state_of_another_shape"),
        Bug::IgnoreFingerprint => in_model("by_name", "switched::arguments_of_another_shape"),
        // Rules of an election used alone: what its members claim is watched in a story of its own, not in the default workload.
        Bug::ClaimFromAnswer => in_election("switched::a_claim_from_the_time_of_the_answer"),
        Bug::ClaimAtOnce => in_election("switched::a_claim_that_begins_at_once"),
        Bug::LeadUnconfirmed => in_election("switched::a_leader_that_is_not_confirmed"),
        Bug::ResignAsLeader => in_election("switched::a_leader_that_resigns_and_goes_on"),
        // A session must lose patience, or an epoch come, in the middle of a cut: 200 seeds don't meet that.
        Bug::CutInFlight | Bug::CutThawed | Bug::CutAcrossEpochs => of_cuts(bug),
        Bug::SendBeforeCommit => in_messages("messages::sent_before_it_is_committed"),
        Bug::LowestUncommitted => in_messages("messages::a_lowest_number_that_is_not_committed"),
        Bug::RebaseUncommitted => in_messages("messages::a_base_that_is_not_committed"),
        Bug::ForgetUnacknowledged => in_messages("messages::answers_forgotten_too_early"),
        Bug::NewestMessageFirst => in_messages("messages::the_newest_message_first"),
        // One line each would not fit a screen.
        #[rustfmt::skip]
        Bug::TrustAlreadyExists | Bug::ReplyBeforeCommit | Bug::TrimBeforeCommit | Bug::DeleteSeal
        | Bug::ServeBeforeAdopt | Bug::UnseenEnd | Bug::SkipBarrier
        | Bug::LooseRelease | Bug::DropSourceEarly | Bug::PartAsFull | Bug::ReuseSessionId
        | Bug::RetryOtherBytes | Bug::AnswerOpenBatch | Bug::RollBackInFlight | Bug::EndOnOutage
        | Bug::CheckpointNamesPrevious | Bug::WindowByAge | Bug::NoWindow | Bug::KeepCache
        | Bug::SkipWitness | Bug::JudgeByName
        | Bug::ForgetClientWithoutMark | Bug::ForgetAnswerWithoutMark | Bug::DeletePacksInUse | Bug::ForgetAtOnce | Bug::ShardsByCall | Bug::EvictBeforeClose
        | Bug::KeepFiredTimer | Bug::ForgetWakes | Bug::EffectOverAtStart
        => Noticed::InSimulation,
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
