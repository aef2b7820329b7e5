//! The probe accepts honest stores, also unreliable ones, and refuses each lying store, naming the broken promise.

use std::sync::Arc;
use std::time::Duration;

use holocron_store::{
    Counting, Directory, Faults, Faulty, Latency, Lie, Lying, Memory, Outage, Probe, ProbeError,
    Promise, Store, open, probe,
};
use tokio::time::Instant;

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

/// The error with which the probe refuses this lie.
async fn refusal(lie: Lie, promise: Promise) -> String {
    let memory = memory();
    let store: Arc<dyn Store> = Arc::new(Lying::new(Arc::clone(&memory), lie));
    let error = probe(&store, &Probe::new(1)).await.expect_err("a lie found out");
    match &error {
        ProbeError::Broken { promise: broken, .. } => assert_eq!(*broken, promise, "{error}"),
        ProbeError::Unreachable { .. } | ProbeError::Refused { .. } => panic!("{error}"),
    }
    if lie != Lie::KeepsDeleted {
        assert_eq!(memory.list("").await.expect("list"), [], "cleaned up");
    }
    error.to_string()
}

/// The advice for broken conditions.
const ATOMIC: &str = "use a store (or a release of it) with atomic conditional creates (If-None-Match), and no gateway in \
                      front of it that drops the condition";
/// The advice for late reads.
const CONSISTENT: &str =
    "use a strongly consistent store, with no cache or lagging replica in front of it";
/// The advice for changed answers.
const DIRECT: &str = "connect without the gateway or proxy that changes the store's answers";

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_refused() {
    let promise = "a create over an existing object must fail and change nothing, but the store reported success";
    assert_eq!(
        refusal(Lie::IgnoresCondition, Promise::CreateIfAbsent).await,
        format!("this store is unfit: {promise}; {ATOMIC}")
    );
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_of_large_bodies_only_is_refused() {
    let promise = "a create over an existing object must fail and change nothing, but the store reported success (for a \
                   body of 5184 KB, not for a small one)";
    assert_eq!(
        refusal(Lie::IgnoresConditionOfLarge, Promise::CreateIfAbsent).await,
        format!("this store is unfit: {promise}; {ATOMIC}")
    );
}

#[tokio::test]
async fn a_server_that_answers_every_read_with_an_object_is_no_store() {
    assert_eq!(
        refusal(Lie::AnswersAnything, Promise::NothingUnwritten).await,
        "this store is unfit: a read of what was never written must find nothing, but 2 bytes were found; this is not an \
         object store, or something else answers in its place: check the option endpoint"
    );
}

#[tokio::test]
async fn a_store_that_refuses_and_overwrites_is_refused() {
    let promise = "a create over an existing object must fail and change nothing, but different bytes were found";
    assert_eq!(
        refusal(Lie::RefusesAndOverwrites, Promise::CreateIfAbsent).await,
        format!("this store is unfit: {promise}; {ATOMIC}")
    );
}

#[tokio::test]
async fn a_store_that_checks_and_then_writes_is_refused() {
    let promise = "exactly one of several concurrent creates of one key must win, but 16 of 16 were told that they won";
    assert_eq!(
        refusal(Lie::ChecksThenWrites, Promise::OneWinner).await,
        format!("this store is unfit: {promise}; {ATOMIC}")
    );
}

#[tokio::test]
async fn a_store_that_caches_what_is_missing_is_refused() {
    let promise = "a read after a create must find the object, but nothing was found";
    assert_eq!(
        refusal(Lie::CachesMissing, Promise::ReadAfterCreate).await,
        format!("this store is unfit: {promise}; {CONSISTENT}")
    );
}

#[tokio::test]
async fn a_store_that_loses_what_it_was_given_is_refused() {
    let promise = "a read after a create must find the object, but nothing was found";
    assert_eq!(
        refusal(Lie::LosesWrites, Promise::ReadAfterCreate).await,
        format!("this store is unfit: {promise}; {CONSISTENT}")
    );
}

#[tokio::test]
async fn a_store_whose_failures_look_like_missing_objects_is_refused() {
    let promise = "a read after a create must find the object, but nothing was found";
    assert_eq!(
        refusal(Lie::FailuresAreMissing, Promise::ReadAfterCreate).await,
        format!("this store is unfit: {promise}; {CONSISTENT}")
    );
}

#[tokio::test]
async fn a_store_whose_listing_lags_is_refused() {
    let promise = "a listing after a create must show the object, but it isn't listed";
    assert_eq!(
        refusal(Lie::ListsLate, Promise::ListAfterCreate).await,
        format!("this store is unfit: {promise}; {CONSISTENT}")
    );
}

#[tokio::test]
async fn a_store_that_reads_wrong_ranges_is_refused() {
    let promise =
        "a ranged read must return exactly the bytes asked for, but different bytes were found";
    assert_eq!(
        refusal(Lie::IgnoresRangeStart, Promise::ExactRange).await,
        format!("this store is unfit: {promise}; {DIRECT}")
    );
}

#[tokio::test]
async fn a_store_that_keeps_what_was_deleted_is_refused() {
    let promise = "a read after a delete must find nothing, but different bytes were found";
    assert_eq!(
        refusal(Lie::KeepsDeleted, Promise::GoneAfterDelete).await,
        format!("this store is unfit: {promise}; {CONSISTENT}")
    );
}

#[tokio::test]
async fn a_store_that_calls_a_conflict_forbidden_is_refused() {
    let promise = "a create over an existing object must be answered with \"exists already\", but it was refused (403 Forbidden)";
    assert_eq!(
        refusal(Lie::RefusesConflicts, Promise::ConflictIsSaid).await,
        format!("this store is unfit: {promise}; {DIRECT}")
    );
}

#[tokio::test]
async fn a_store_that_calls_what_is_missing_forbidden_is_refused() {
    assert_eq!(
        refusal(Lie::RefusesMissing, Promise::MissingIsSaid).await,
        "this store is unfit: a read of what isn't there must be answered with \"not found\", but it was refused (403 \
         Forbidden); grant the right to list (S3: s3:ListBucket); without it the store doesn't report missing objects"
    );
}

/// An unclear error proves nothing, so the promise isn't reported as broken; but no host starts on such a store.
#[tokio::test(start_paused = true)]
async fn a_store_that_reports_a_conflict_as_an_outage_is_refused_at_the_deadline_with_the_reason() {
    let store: Arc<dyn Store> = Arc::new(Lying::new(memory(), Lie::FailsConflicts));
    let error = probe(&store, &Probe::new(1)).await.expect_err("a lie found out");
    assert_eq!(
        error.to_string(),
        "the store gave no clear answer within 10s: a create over an existing object must be answered with \"exists already\", but the answer was: 500 Internal \
         Error"
    );
}

#[tokio::test(start_paused = true)]
async fn no_lie_passes() {
    for lie in Lie::ALL {
        let store: Arc<dyn Store> = Arc::new(Lying::new(memory(), lie));
        assert!(probe(&store, &Probe::new(1)).await.is_err(), "{lie:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fit_store_is_measured_and_left_clean() {
    let memory = memory();
    let slow: Arc<dyn Store> =
        Arc::new(Latency::new(Arc::clone(&memory), Duration::from_millis(20)));
    let counting = Arc::new(Counting::new(slow, |_| "probe"));
    let report = probe(&(Arc::clone(&counting) as Arc<dyn Store>), &Probe::new(7)).await.unwrap();
    assert_eq!(report.create_p50, Duration::from_millis(20));
    assert_eq!(report.get_p50, Duration::from_millis(20));
    assert_eq!(report.list_p50, Duration::from_millis(20));
    assert_eq!(
        report.elapsed,
        Duration::from_millis(20) * 21,
        "rounds of requests at a host's start"
    );
    assert_eq!(memory.list("").await.unwrap(), []);
    assert_eq!(
        report.to_string(),
        "fit: 3 races of 16 had one winner each; create 20.0 ms, get 20.0 ms, list 20.0 ms (medians)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_is_fit() {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Directory::open(root.path()).unwrap());
    probe(&store, &Probe::new(1)).await.unwrap();
    assert_eq!(store.list("").await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn an_unreliable_store_is_not_unfit() {
    let (mut fit, mut unreachable, mut injected) = (0, 0, 0);
    for seed in 0..2_000 {
        let faulty = Arc::new(Faulty::new(memory(), seed, Faults::everything()));
        let store: Arc<dyn Store> = Arc::clone(&faulty) as _;
        let probe_settings = Probe { deadline: Duration::from_secs(60), ..Probe::new(1) };
        match probe(&store, &probe_settings).await {
            Ok(_) => fit += 1,
            Err(ProbeError::Unreachable { .. }) => unreachable += 1,
            Err(error @ (ProbeError::Broken { .. } | ProbeError::Refused { .. })) => {
                panic!("seed {seed}: {error}")
            }
        }
        injected += faulty.injected().into_values().sum::<u64>();
    }
    assert!(fit > 1_700, "{fit} fit, {unreachable} unreachable");
    assert!(injected > 7_000, "{injected} faults");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_store_ends_with_one_sentence_at_the_deadline() {
    for (outage, sentence) in [
        (Outage::Refuses, "the store gave no clear answer within 10s: injected: the store is out"),
        (Outage::Hangs, "the store gave no clear answer within 10s: deadline has elapsed"),
    ] {
        let faulty = Faulty::new(memory(), 1, Faults::default());
        faulty.set_outage(outage);
        let start = Instant::now();
        let error = probe(&(Arc::new(faulty) as Arc<dyn Store>), &Probe::new(1)).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        assert_eq!(error.to_string(), sentence);
    }
}

#[tokio::test]
async fn an_endpoint_without_a_server_is_unreachable() {
    let options = [
        ("endpoint", "http://127.0.0.1:1"),
        ("allow_http", "true"),
        ("access_key_id", "a"),
        ("secret_access_key", "b"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let store = open("s3://bucket/prefix", &options).unwrap();
    let settings = Probe { deadline: Duration::from_millis(300), ..Probe::new(1) };
    let error = probe(&store, &settings).await.unwrap_err().to_string();
    assert!(error.starts_with("the store gave no clear answer within 300ms: "), "{error}");
    assert!(error.contains("connection refused at 127.0.0.1:1; check"), "{error}");
}
