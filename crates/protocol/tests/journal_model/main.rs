//! One session's journal, searched exhaustively within small bounds, with the real functions of the crate: the writer,
//! two sealers, trims, the end mark and its collector, the read barrier. Every store operation is one step, any host
//! may pause between two steps, and creates land late, twice and without an answer.
//!
//! With all rules, no search finds a violation, and each must reach certain states, to show that it did something. Then
//! one rule at a time is skipped, within the same bounds, and the violation must be found.
#![expect(clippy::print_stdout, reason = "a search says how far it went and what it found")]

mod after;
mod host;
mod model;
mod sealers;
mod state;
#[path = "../support/switched.rs"]
mod switch;

use std::collections::BTreeSet;

use model::{Begins, Bug, Journal};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// One sealer that lists; three batches, two in flight.
const ONE: Journal = Journal {
    batches_max: 3,
    checkpoints_max: 1,
    in_flight_max: 2,
    duplicates: true,
    unknowns: true,
    detaches: true,
    robs: false,
    reads_max: 0,
    begins: [Begins::Listing, Begins::Never],
    bug: None,
};
/// One sealer with a hint of a committed batch, right or wrong.
const HINTED: Journal = Journal { begins: [Begins::Hinted, Begins::Never], ..ONE };
/// One sealer that has read a batch some time ago.
const FETCHED: Journal = Journal { begins: [Begins::Fetched, Begins::Never], ..ONE };
/// One sealer with a reported position of the seal, right or wrong.
const TOLD: Journal = Journal { begins: [Begins::Told, Begins::Never], ..ONE };
/// Enough batches to trim two segments.
const LONG: Journal = Journal { batches_max: 4, in_flight_max: 1, unknowns: false, ..ONE };
/// Two sealers.
const TWO: Journal = Journal { batches_max: 2, begins: [Begins::Listing, Begins::Listing], ..ONE };
/// One read at a time, during a sealing and a takeover.
const READS: Journal = Journal { batches_max: 2, reads_max: 1, ..ONE };

const NO_STEP: &str = "no step violates a rule";
const ONE_SEAL: &str = "one seal in untrimmed segments";
const BELOW_SEAL: &str = "acknowledged changes are below the seal";
const SAME_SEAL: &str = "sealers rely on the same seal";
const RECOVERED: &str = "acknowledged changes are recovered";
const SAME_CONTENT: &str = "recovered content is the same";

const BOTH_TAKE_OVER: &str = "both sealers take over";
const DETACHED: &str = "a sealer learns that the session is detached";
const GONE: &str = "a sealer finds an object missing";
const STRAY_SEAL: &str = "a seal lands in a trimmed segment";
const LATE_BATCH: &str = "a batch lands above the seal";
const STOPPED_BY_READ: &str = "a host reads its own seal and stops";
const READ_WAITS: &str = "a read sees what isn't committed";
const ACKNOWLEDGED: &str = "everything is acknowledged";

/// Searches everything within the bounds; there must be no violation, and all states of `seen` must be reached.
fn clean(journal: Journal, seen: &[&'static str]) {
    assert_eq!(journal.bug, None);
    let checker = journal.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    let properties = checker.model().properties();
    for promise in properties.iter().filter(|it| it.expectation == Expectation::Always) {
        checker.assert_no_discovery(promise.name);
    }
    for name in seen {
        drop(checker.assert_any_discovery(name));
    }
}

/// Searches with one rule skipped, until `promise` is violated.
fn caught(journal: Journal, bug: Bug, promise: &'static str) {
    let journal = Journal { bug: Some(bug), ..journal };
    // An assertion may detect the bug before it does harm; only the harm shows that the rule is needed.
    let found = HasDiscoveries::AllOf(BTreeSet::from([promise]));
    let checker = journal.checker().finish_when(found).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    let path = checker.discovery(promise).unwrap_or_else(|| {
        panic!("{bug:?} broke {:?} instead", checker.discoveries().into_keys().collect::<Vec<_>>())
    });
    println!("{:?}", path.last_state().violation);
    for action in path.into_actions() {
        println!("  {action:?}");
    }
}

#[test]
fn a_sealer_that_lists_finds_what_was_committed() {
    clean(ONE, &[STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
}

#[test]
fn a_sealer_with_a_hint_finds_what_was_committed() {
    clean(HINTED, &[STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
}

#[test]
fn a_sealer_that_has_read_a_batch_finds_what_was_committed() {
    clean(FETCHED, &[STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
}

#[test]
fn a_sealer_told_of_a_seal_finds_what_was_committed() {
    clean(TOLD, &[STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
}

#[test]
fn a_sealer_that_lists_a_journal_trimmed_twice_finds_what_was_committed() {
    clean(LONG, &[STRAY_SEAL, ACKNOWLEDGED]);
}

#[test]
fn two_sealers_that_list_find_the_same() {
    clean(TWO, &[BOTH_TAKE_OVER, DETACHED, STRAY_SEAL, LATE_BATCH]);
}

#[test]
fn a_sealer_that_lists_and_one_with_a_hint_find_the_same() {
    let begins = [Begins::Listing, Begins::Hinted];
    clean(Journal { begins, ..TWO }, &[BOTH_TAKE_OVER, DETACHED, STRAY_SEAL, LATE_BATCH]);
}

#[test]
fn a_sealer_that_lists_and_one_that_has_read_a_batch_find_the_same() {
    let begins = [Begins::Listing, Begins::Fetched];
    clean(Journal { begins, ..TWO }, &[BOTH_TAKE_OVER, DETACHED, STRAY_SEAL, LATE_BATCH]);
}

#[test]
fn a_sealer_that_lists_and_one_told_of_a_seal_find_the_same() {
    let begins = [Begins::Listing, Begins::Told];
    clean(Journal { begins, ..TWO }, &[BOTH_TAKE_OVER, DETACHED, STRAY_SEAL, LATE_BATCH]);
}

#[test]
fn no_read_is_stale_or_shows_lost_changes() {
    clean(READS, &[READ_WAITS, STOPPED_BY_READ, STRAY_SEAL, ACKNOWLEDGED]);
}

#[test]
fn two_concurrent_reads_are_not_stale() {
    let seen = [READ_WAITS, STOPPED_BY_READ, ACKNOWLEDGED];
    clean(Journal { reads_max: 2, unknowns: false, duplicates: false, ..READS }, &seen);
}

#[test]
fn a_batch_deleted_from_outside_is_not_taken_for_the_end() {
    clean(Journal { robs: true, ..ONE }, &[GONE, STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
    clean(Journal { robs: true, ..LONG }, &[GONE, STRAY_SEAL, ACKNOWLEDGED]);
}

/// Wider bounds, for changes of the protocol: some minutes and gigabytes.
#[test]
#[ignore = "takes minutes"]
fn wider_two_sealers_and_three_batches() {
    let begins = [Begins::Listing, Begins::Hinted];
    let wider = Journal { batches_max: 3, duplicates: false, unknowns: false, begins, ..TWO };
    clean(wider, &[BOTH_TAKE_OVER, DETACHED, STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
}

#[test]
#[ignore = "takes minutes"]
fn wider_two_hints() {
    let begins = [Begins::Hinted, Begins::Hinted];
    clean(Journal { begins, ..TWO }, &[BOTH_TAKE_OVER, DETACHED, STRAY_SEAL, LATE_BATCH]);
}

#[test]
#[ignore = "takes minutes"]
fn wider_four_batches_and_two_checkpoints() {
    let wider = Journal { batches_max: 4, checkpoints_max: 2, ..ONE };
    clean(wider, &[STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
}

#[test]
#[ignore = "takes most of an hour"]
fn wider_hints() {
    for begins in [Begins::Fetched, Begins::Told, Begins::Hinted] {
        let begins = [begins, Begins::Never];
        let wider = Journal { batches_max: 4, checkpoints_max: 2, begins, ..ONE };
        clean(wider, &[STRAY_SEAL, LATE_BATCH, ACKNOWLEDGED]);
    }
}

#[test]
#[ignore = "takes minutes"]
fn wider_reads() {
    clean(Journal { batches_max: 3, ..READS }, &[READ_WAITS, STOPPED_BY_READ, ACKNOWLEDGED]);
    clean(Journal { reads_max: 2, ..READS }, &[READ_WAITS, STOPPED_BY_READ, ACKNOWLEDGED]);
    let begins = [Begins::Listing, Begins::Listing];
    clean(Journal { begins, ..READS }, &[READ_WAITS, STOPPED_BY_READ, BOTH_TAKE_OVER]);
}

macro_rules! planted {
    ($($name:ident: $bug:ident in $bounds:ident breaks $promise:ident;)*) => {
        /// One rule skipped at a time.
        mod planted {
            use super::*;

            $(
                #[test]
                fn $name() {
                    caught($bounds, Bug::$bug, $promise);
                }
            )*
        }
    };
}

planted! {
    acknowledging_out_of_order: AcknowledgesOutOfOrder in ONE breaks BELOW_SEAL;
    taking_a_seal_for_ones_own_batch: TrustsAlreadyExists in ONE breaks BELOW_SEAL;
    a_low_water_ahead_of_the_commit: LowWaterAheadOfCommit in ONE breaks RECOVERED;
    a_checkpoint_in_flight_with_others: CheckpointNotAlone in ONE breaks NO_STEP;
    a_checkpoint_batch_that_names_the_previous: CheckpointNamesPrevious in ONE breaks NO_STEP;
    trimming_before_the_checkpoint_is_committed: TrimsBeforeCommit in ONE breaks NO_STEP;
    trimming_without_a_mark: TrimsUnmarked in ONE breaks BELOW_SEAL;
    marks_with_gaps: MarksWithGaps in LONG breaks BELOW_SEAL;
    a_seal_past_the_last_batch: SealsAtMax in ONE breaks ONE_SEAL;
    taking_names_for_batches: ListUnchecked in ONE breaks ONE_SEAL;
    not_looking_for_the_trim_mark: NoTrimMarkGet in ONE breaks BELOW_SEAL;
    not_looking_for_the_end_mark: NoEndMarkGet in TWO breaks SAME_SEAL;
    relying_on_a_create_without_an_answer: ReliesOnUnknown in ONE breaks BELOW_SEAL;
    a_hint_whose_batch_is_not_there: HintUnchecked in HINTED breaks ONE_SEAL;
    a_hint_that_vouches_for_all_below: HintVouchesForAll in HINTED breaks NO_STEP;
    a_seal_that_speaks_for_the_hint: SealSpeaksForHint in HINTED breaks NO_STEP;
    reading_missing_as_empty: MissingIsEmpty in TWO breaks SAME_CONTENT;
    deleting_the_seal: DeletesSeal in TWO breaks BELOW_SEAL;
    deleting_the_end_mark: DeletesMarks in TWO breaks ONE_SEAL;
    collecting_before_the_end_mark: CollectsUnmarked in TWO breaks ONE_SEAL;
    an_answer_that_saw_the_open_batch: AnswersOpenBatch in READS breaks BELOW_SEAL;
    a_read_without_a_barrier: NoBarrier in READS breaks NO_STEP;
    a_read_that_joins_an_earlier_get: SharesEarlierGet in READS breaks NO_STEP;
    a_read_that_leaves_batches_in_flight: LeavesBatchInFlight in READS breaks NO_STEP;
    a_read_that_waits_for_the_batch_in_flight: WaitsForBatchInFlight in READS breaks NO_STEP;
    a_barrier_on_ones_own_batch: GetsOwnBatch in READS breaks NO_STEP;
}

/// One bug at a time, planted in the crate itself.
mod switched {
    use holocron_planted::Bug;

    use super::{NO_STEP, ONE, READS, clean, switch};

    #[test]
    #[ignore = "breaks a promise: started by the tests below, with a bug planted"]
    fn search() {
        let bounds = if switch::plant() == Bug::WaitForBatchInFlight { READS } else { ONE };
        clean(bounds, &[]);
    }

    #[test]
    fn a_seal_past_the_last_batch() {
        switch::is_missed(Bug::SealAtMax, "switched::search", NO_STEP);
    }

    #[test]
    fn acknowledging_out_of_order() {
        switch::is_missed(Bug::AcknowledgeOutOfOrder, "switched::search", "is not in flight");
    }

    #[test]
    fn a_read_that_waits_for_the_batch_in_flight() {
        switch::is_missed(Bug::WaitForBatchInFlight, "switched::search", NO_STEP);
    }
}
