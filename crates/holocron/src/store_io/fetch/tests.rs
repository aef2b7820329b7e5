//! A journal with a missing object, and a planted bug that reads it all the same.

use holocron_protocol::{
    ids::Nonce,
    journal::batch::{BatchBuilder, BatchHeader},
};
use holocron_store::Memory;

use super::*;

#[path = "../../../../protocol/tests/support/switched.rs"]
mod switch;

const SESSION: SessionId = SessionId::new(7);

/// A journal of three batches. The second is gone: it was trimmed after the extent was determined.
async fn fetch_with_a_gap() -> Result<FetchedJournal, NotFetched> {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    for position in [1, 3] {
        let header = BatchHeader {
            session: SESSION,
            position: Position::new(position),
            committed: Position::new(position - 1),
            low_water: Position::ZERO,
            checkpoint_at: Position::ZERO,
        };
        let batch = BatchBuilder::with_capacity(0).finish(header, Nonce::new(position.into()));
        let key = keys::journal_position(SESSION, header.position);
        store.create(&key, batch).await.expect("memory takes it");
    }
    let extent = Extent {
        low_water: Position::ZERO,
        checkpoint_at: Position::ZERO,
        through: Position::new(3),
        end: JournalEnd::Live,
    };
    let reader = JournalReader::new(store, Patience::forever(), CancellationToken::new());
    reader.fetch(SESSION, extent).await
}

async fn a_missing_object_is_missed() {
    let fetched = fetch_with_a_gap().await;
    let Err(NotFetched::Moved(key)) = fetched else {
        panic!("a journal with a gap was read as if nothing were missing: {fetched:?}");
    };
    assert_eq!(key, keys::journal_position(SESSION, Position::new(2)));
}

#[tokio::test]
async fn a_journal_with_a_missing_object_is_not_read() {
    a_missing_object_is_missed().await;
}

/// A bug planted in the real code, found by the test above.
mod switched {
    use holocron_planted::Bug;

    use super::*;

    #[tokio::test]
    #[ignore = "breaks a promise: started by the test below, with a bug planted"]
    async fn a_gap() {
        switch::plant();
        a_missing_object_is_missed().await;
    }

    #[test]
    fn missing_objects_read_as_nothing() {
        let test = "store_io::fetch::tests::switched::a_gap";
        switch::is_missed(Bug::MissingIsEmpty, test, "as if nothing were missing");
    }
}
