//! The journal on several threads; the simulator has only one.

use core::{sync::atomic::AtomicBool, time::Duration};

use holocron_protocol::{
    epoch::record::Holding,
    format::segment::SegmentLen,
    format::{cluster::Cluster, keys},
    ids::{ClusterId, CommitNumber, DomainId, HostName, Tenure, VnodeName},
    journal::{
        batch::{Opening, StateKind},
        sealing::Hint,
    },
};
use holocron_store::{Created, Latency, Memory, Patience, create_once};

use super::*;
use crate::{
    api::{
        call::{Answer, Mode, Outcome, ReplyTo},
        clock::SystemClock,
    },
    store_io::{
        loss::Identity,
        sealer::{SealEnd, Sealer},
    },
};

const SLOT: Slot = Slot(0);
const EPOCH: Epoch = Epoch::new(1);

/// An open journal that holds a slot, and a sealer of it.
async fn open(random: &Random) -> (Arc<Journal>, Sealer) {
    // Without latency the sealer would hardly catch up with the writer.
    let memory = Arc::new(Memory::default());
    let store: Arc<dyn Store> = Arc::new(Latency::new(memory, Duration::from_millis(1)));
    let host = HostName::new("h").unwrap();
    let session = random.session();
    let cluster = ClusterId::new(7);
    let opening = Opening { session, host: host.clone(), domain: DomainId::HOME, cluster };
    let (key, body) =
        (keys::journal_position(session, Position::ZERO), opening.encode(random.nonce()));
    let stop = CancellationToken::new();
    let opened = create_once(&store, &key, body, Patience::forever(), &stop).await;
    assert_eq!(opened, Created::Won);
    let options = JournalOptions {
        linger: Duration::ZERO,
        try_timeout: Duration::from_secs(5),
        slots: 1,
        checkpoint_batches: u64::MAX,
        checkpoint_len: u64::MAX,
        counts: Arc::new(Counts::new([].into_iter())),
    };
    let object = Cluster::new(cluster).encode(random.nonce());
    store.put(keys::CLUSTER, object.clone()).await.unwrap();
    let clock = Arc::new(SystemClock);
    let identity = Identity::Cluster(object);
    let loss = LossWatch::new(Arc::clone(&store), identity, clock, options.try_timeout);
    let (loss, random_of) = (Arc::new(loss), random.clone());
    let journal = Journal::new(session, Arc::clone(&store), loss, random_of, options);
    let journal = Arc::new(journal);
    let owner = Some(Tenure { epoch: EPOCH, session });
    let effects = journal.learn(&SlotTable::new(&[Holding { owner, sources: Vec::new() }]));
    assert_eq!(effects, [(SLOT, Effect::Recover)]);
    journal.adopt(&[Adoption { slot: SLOT, epoch: EPOCH, sources: Vec::new() }]).unwrap();
    tokio::spawn(Arc::clone(&journal).run());
    tokio::spawn(Arc::clone(&journal).run_barrier());
    let segment_len = SegmentLen::new(256);
    let patience = Patience::forever();
    (journal, Sealer { store, by: host, random: random.clone(), segment_len, patience })
}

/// Sends a read; returns whether it was answered. Its answer is `Busy`, to differ from the `Unclear` of a dropped one.
async fn read(journal: &Journal, sees: Position) -> bool {
    let (reply, passed) = ReplyTo::here();
    let answer = Answer { epoch: EPOCH, commit: CommitNumber::ZERO, outcome: Outcome::Busy };
    journal.answer(Mode::Query, (SLOT, EPOCH), sees, Released { reply, answer });
    passed.await.is_ok_and(|answer| answer.outcome == Outcome::Busy)
}

/// Reads until the session is over; returns how many reads were answered.
async fn read_on(journal: Arc<Journal>, sealed: Arc<AtomicBool>) -> u64 {
    let mut answered = 0;
    while !journal.ended().is_cancelled() {
        let arrived_after_seal = sealed.load(Ordering::SeqCst);
        if read(&journal, journal.committed()).await {
            assert!(!arrived_after_seal, "a read that arrived after the seal was answered");
            answered += 1;
        }
    }
    answered
}

/// Writes records until the session is over; after every third it doesn't wait for the commit.
async fn write_on(journal: Arc<Journal>) {
    let name = VnodeName::new("t", "one").unwrap();
    for commit in (1..).map(CommitNumber::new) {
        let (kind, hash, wake_at) = (StateKind::Put, name.hash(), 0);
        let fields = StateFields { kind, hash, commit, wake_at, name: &name, envelope: b"e" };
        let Ok(position) = journal.append(SLOT, EPOCH, fields, &mut Vec::new()) else { return };
        if commit.get() % 3 != 0 && journal.until_committed(position).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_that_arrives_after_the_seal_is_answered() {
    let random = Random::from_seed(5);
    let mut answered = 0;
    for round in 0..200 {
        let (journal, sealer) = open(&random).await;
        let sealed = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..4)
            .map(|_| tokio::spawn(read_on(Arc::clone(&journal), Arc::clone(&sealed))))
            .collect();
        // Some rounds only read: then only a barrier finds the seal.
        let writer = (round % 2 == 0).then(|| tokio::spawn(write_on(Arc::clone(&journal))));
        tokio::time::sleep(Duration::from_micros(random.below(9_000))).await;
        let stop = CancellationToken::new();
        let end = sealer.seal(journal.session(), EPOCH, Hint::Nothing, &stop).await;
        assert!(matches!(end, SealEnd::Sealed(_)), "{end:?}");
        sealed.store(true, Ordering::SeqCst);
        for reader in readers {
            let ended = tokio::time::timeout(Duration::from_secs(20), reader).await;
            answered += ended.expect("the seal is found").unwrap();
        }
        if let Some(writer) = writer {
            writer.await.unwrap();
        }
    }
    assert!(answered > 1_000, "only {answered} reads were answered before the seals");
}
