//! `create_once` and the retried requests against every fault, one at a time. Races are in `races.rs`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holocron_store::{
    Counting, Created, Fault, Faults, Faulty, GaveUp, Latency, Memory, Outage, Patience, Store,
    Verb, create_once, delete_until, get_range_until, get_until, list_until, put_until,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const KEY: &str = "epochs/00000000000000000001";

struct Bench {
    memory: Arc<dyn Store>,
    faulty: Arc<Faulty>,
    counting: Arc<Counting>,
    store: Arc<dyn Store>,
    stop: CancellationToken,
}

impl Bench {
    fn new(script: &[Fault]) -> Self {
        let memory: Arc<dyn Store> = Arc::new(Memory::new());
        // A late write lands before the second request after its own.
        let faults = Faults { late_requests_max: 2, ..Faults::default() };
        let faulty = Arc::new(Faulty::new(Arc::clone(&memory), 1, faults));
        faulty.script(script.iter().copied());
        let counting = Arc::new(Counting::new(Arc::clone(&faulty) as Arc<dyn Store>, |_| "all"));
        let store = Arc::clone(&counting) as Arc<dyn Store>;
        Self { memory, faulty, counting, store, stop: CancellationToken::new() }
    }

    async fn create(&self, body: &'static str, patience: Patience) -> Created {
        create_once(&self.store, KEY, Bytes::from_static(body.as_bytes()), patience, &self.stop)
            .await
    }

    async fn stands(&self) -> Option<Bytes> {
        self.faulty.settle().await;
        self.memory.get(KEY).await.expect("memory answers")
    }

    fn requests(&self, verb: Verb) -> u64 {
        self.counting.counts().of_verb(verb).requests
    }
}

#[tokio::test]
async fn all_well_is_one_request() {
    let bench = Bench::new(&[]);
    assert_eq!(bench.create("mine", Patience::forever()).await, Created::Won);
    assert_eq!(bench.counting.counts().total().requests, 1);
    assert_eq!(bench.stands().await.unwrap(), "mine");
}

#[tokio::test]
async fn a_lost_race_is_two_requests_and_shows_the_winner() {
    let bench = Bench::new(&[]);
    bench.memory.create(KEY, Bytes::from_static(b"theirs")).await.unwrap();
    assert_eq!(
        bench.create("mine", Patience::forever()).await,
        Created::Lost(Bytes::from_static(b"theirs"))
    );
    assert_eq!(bench.counting.counts().total().requests, 2);
}

#[tokio::test(start_paused = true)]
async fn every_fault_on_an_absent_key_ends_won() {
    use Fault::{
        Burst, ConflictAfter, ConflictBefore, FailAfter, FailBefore, HangAfter, HangBefore,
        LandLate, LandTwice, Pass,
    };
    // The script, and the number of creates it needs.
    let scripts: [(&[Fault], u64); 16] = [
        (&[FailBefore], 2),
        (&[FailAfter], 1),
        (&[ConflictBefore], 2),
        (&[ConflictAfter], 1),
        (&[HangBefore], 2),
        (&[HangAfter], 1),
        (&[Burst, Burst, Burst], 2),
        (&[LandTwice], 1),
        // The read back fails, hangs, or answers "exists"; all of this proves nothing.
        (&[FailAfter, FailBefore, HangBefore, ConflictBefore], 1),
        (&[FailBefore, FailBefore, FailBefore, Pass, FailBefore], 3),
        // A spurious 409, repeatedly.
        (&[ConflictBefore, Pass, ConflictBefore, Pass, ConflictBefore], 4),
        // It lands after the read back found nothing and before the next try; that try finds our own bytes.
        (&[LandLate, Pass, Pass], 2),
        (&[LandLate, Pass, FailBefore], 2),
        (&[LandLate, Pass, LandLate, Pass], 2),
        (&[LandTwice, Pass], 1),
        (&[HangBefore, HangBefore, HangBefore, Pass, HangAfter], 2),
    ];
    for (script, creates) in scripts {
        let bench = Bench::new(script);
        assert_eq!(bench.create("mine", Patience::forever()).await, Created::Won, "{script:?}");
        assert_eq!(bench.stands().await.unwrap(), "mine", "{script:?}");
        // Only the delay of a late write is random.
        if !script.contains(&LandLate) {
            assert_eq!(bench.requests(Verb::Create), creates, "{script:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_fault_on_a_taken_key_ends_lost() {
    use Fault::{
        ConflictAfter, ConflictBefore, FailAfter, FailBefore, HangAfter, LandLate, LandTwice, Pass,
    };
    let scripts: [&[Fault]; 7] = [
        &[FailBefore],
        &[FailAfter, FailBefore],
        &[ConflictBefore],
        &[ConflictAfter],
        &[HangAfter],
        &[LandLate, Pass],
        &[LandTwice, Pass],
    ];
    for script in scripts {
        let bench = Bench::new(script);
        bench.memory.create(KEY, Bytes::from_static(b"theirs")).await.unwrap();
        let created = bench.create("mine", Patience::forever()).await;
        assert_eq!(created, Created::Lost(Bytes::from_static(b"theirs")), "{script:?}");
        assert_eq!(bench.stands().await.unwrap(), "theirs", "{script:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_fails_but_lands_is_won_against_a_rival() {
    let bench = Bench::new(&[Fault::FailAfter, Fault::FailBefore]);
    let mine = bench.create("mine", Patience::forever());
    tokio::pin!(mine);
    // It landed, the read back failed, and now a rival tries.
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut mine).await.is_err());
    bench.memory.create(KEY, Bytes::from_static(b"theirs")).await.unwrap_err();
    assert_eq!(mine.await, Created::Won);
}

#[tokio::test(start_paused = true)]
async fn a_rival_between_two_tries_makes_it_lost() {
    let bench = Bench::new(&[Fault::FailBefore, Fault::FailBefore]);
    let mine = bench.create("mine", Patience::forever());
    tokio::pin!(mine);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut mine).await.is_err());
    bench.memory.create(KEY, Bytes::from_static(b"theirs")).await.unwrap();
    assert_eq!(mine.await, Created::Lost(Bytes::from_static(b"theirs")));
}

#[tokio::test(start_paused = true)]
async fn retries_continue_through_hours_of_outage_and_notice_its_end_soon() {
    for outage in [Outage::Refuses, Outage::Hangs] {
        let bench = Bench::new(&[]);
        bench.faulty.set_outage(outage);
        let create = bench.create("mine", Patience::forever());
        tokio::pin!(create);
        assert!(tokio::time::timeout(Duration::from_secs(3 * 3_600), &mut create).await.is_err());
        bench.faulty.set_outage(Outage::None);
        let end = Instant::now();
        assert_eq!(create.await, Created::Won);
        // A try that hung when the outage ended must first time out.
        let longest = if outage == Outage::Hangs { 45 } else { 1 };
        assert!(end.elapsed() <= Duration::from_secs(longest), "{outage:?}: {:?}", end.elapsed());
        assert!(bench.counting.counts().total().requests < 25_000);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_is_returned_when_the_budget_is_spent_not_before() {
    for outage in [Outage::Refuses, Outage::Hangs] {
        let bench = Bench::new(&[]);
        bench.faulty.set_outage(outage);
        let start = Instant::now();
        let budget = Duration::from_millis(3_700);
        assert_eq!(bench.create("mine", Patience::within(budget)).await, Created::Unknown);
        assert_eq!(start.elapsed(), budget);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_may_still_land() {
    // It lands without an answer, and the budget is spent before the read back is answered.
    let bench = Bench::new(&[Fault::HangAfter, Fault::HangBefore, Fault::HangBefore]);
    assert_eq!(
        bench.create("mine", Patience::within(Duration::from_secs(8))).await,
        Created::Unknown
    );
    assert_eq!(bench.stands().await.unwrap(), "mine");
}

#[tokio::test(start_paused = true)]
async fn stop_ends_it_with_unknown_at_once() {
    let bench = Bench::new(&[]);
    bench.faulty.set_outage(Outage::Hangs);
    let (stop, start) = (bench.stop.clone(), Instant::now());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    });
    assert_eq!(bench.create("mine", Patience::forever()).await, Created::Unknown);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn nothing_is_sent_if_stopped_before() {
    let bench = Bench::new(&[]);
    bench.stop.cancel();
    assert_eq!(bench.create("mine", Patience::forever()).await, Created::Unknown);
    assert!(matches!(
        get_until(&*bench.store, KEY, Patience::forever(), &bench.stop).await,
        Err(GaveUp::Stopped)
    ));
    assert_eq!(bench.counting.counts().total().requests, 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_does_not_stop_the_write() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let faulty = Arc::new(Faulty::new(Arc::clone(&memory), 1, Faults::default()));
    faulty.script([Fault::FailBefore, Fault::FailBefore, Fault::FailBefore]);
    let store: Arc<dyn Store> = Arc::new(Latency::new(faulty, Duration::from_millis(100)));
    let never = CancellationToken::new();
    let create = create_once(&store, KEY, Bytes::from_static(b"mine"), Patience::forever(), &never);
    // Dropped while the first request is in flight; that request fails, and so do the next two.
    tokio::time::timeout(Duration::from_millis(10), create).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(memory.get(KEY).await.unwrap().unwrap(), "mine");
}

#[tokio::test]
#[should_panic(expected = "can't name an object")]
async fn an_illegal_key_panics() {
    let bench = Bench::new(&[]);
    drop(create_once(&bench.store, "../a", "x".into(), Patience::forever(), &bench.stop).await);
}

#[tokio::test(start_paused = true)]
async fn safe_requests_are_retried_until_answered() {
    let bench = Bench::new(&[]);
    let (store, forever, stop) = (&*bench.store, Patience::forever(), &bench.stop);
    let shaky = [Fault::FailBefore, Fault::HangBefore, Fault::Burst];
    bench.faulty.script(shaky);
    put_until(store, "hints/leader", Bytes::from_static(b"hint"), forever, stop).await.unwrap();
    bench.faulty.script(shaky);
    assert_eq!(get_until(store, "hints/leader", forever, stop).await.unwrap().unwrap(), "hint");
    bench.faulty.script(shaky);
    assert_eq!(
        get_range_until(store, "hints/leader", 1..3, forever, stop).await.unwrap().unwrap(),
        "in"
    );
    bench.faulty.script(shaky);
    assert_eq!(list_until(store, "hints", forever, stop).await.unwrap().len(), 1);
    bench.faulty.script(shaky);
    delete_until(store, "hints/leader", forever, stop).await.unwrap();
    assert_eq!(get_until(store, "hints/leader", forever, stop).await.unwrap(), None);
    assert_eq!(
        bench.counting.counts().total().errors,
        10,
        "the five hung ones were never answered"
    );
}

#[tokio::test(start_paused = true)]
async fn giving_up_says_why() {
    let bench = Bench::new(&[]);
    let never = CancellationToken::new();
    bench.memory.put("pack", Bytes::from_static(b"short")).await.unwrap();
    let beyond = get_range_until(&*bench.store, "pack", 0..6, Patience::forever(), &never).await;
    assert!(matches!(beyond, Err(GaveUp::Rejected(_))), "asking again can't help: {beyond:?}");
    assert_eq!(bench.requests(Verb::GetRange), 1);

    bench.faulty.set_outage(Outage::Refuses);
    let spent =
        get_until(&*bench.store, "pack", Patience::within(Duration::from_secs(2)), &never).await;
    assert!(matches!(spent, Err(GaveUp::Spent { last: Some(_) })), "{spent:?}");
    bench.faulty.set_outage(Outage::Hangs);
    let spent =
        get_until(&*bench.store, "pack", Patience::within(Duration::from_secs(2)), &never).await;
    assert!(matches!(spent, Err(GaveUp::Spent { last: None })), "{spent:?}");

    let stop = bench.stop.clone();
    tokio::spawn(async move { stop.cancel() });
    let stopped = get_until(&*bench.store, "pack", Patience::forever(), &bench.stop).await;
    assert!(matches!(stopped, Err(GaveUp::Stopped)), "{stopped:?}");
}
