//! A second process under the name of a paused one.

use core::time::Duration;

use holocron::VnodeRef;
use holocron_kinds::{Counter, CounterClient as _};
use holocron_protocol::{epoch::record::EpochRecord, ids::SessionId};
use rustix::process::Signal;
use tokio::time::sleep;

use super::support::{Place, all_served, turn, until};

/// Longer than any timeout that could count against the replacement.
const WATCHED: Duration = Duration::from_secs(5);

/// Every epoch record, oldest first.
async fn records(place: &Place) -> Vec<EpochRecord> {
    let store = place.store();
    let mut keys: Vec<String> =
        store.list("epochs").await.unwrap().into_iter().map(|object| object.key).collect();
    keys.sort();
    let mut records = Vec::new();
    for key in keys {
        let stored = store.get(&key).await.unwrap().unwrap();
        records.push(EpochRecord::decode(&key, &stored).unwrap());
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_of_a_leader_under_its_name_keeps_its_session() {
    let _turn = turn().await;
    let place = Place::new();
    let mut leader = place.host("h1", &[]).await;
    let other = place.host("h2", &[]).await;
    let client = place.client().await;
    all_served(&place, &[&leader, &other]).await;
    let led = place.record().await.unwrap();
    assert_eq!(led.leader.host, leader.name, "the first host leads");
    let counter: VnodeRef<Counter> = client.get("c");
    assert_eq!(counter.add(1).await, Ok(1));

    leader.signal(Signal::STOP);
    let (later, ()) = tokio::join!(place.host("h1", &[]), sleep(Duration::from_millis(500)));
    leader.signal(Signal::CONT);
    assert_eq!(leader.ended().await.code(), Some(1), "{}", leader.log());
    assert!(leader.log().contains("h1 has taken its place"), "{}", leader.log());
    let session = until("the replacement is a member", async || {
        let session = later.status().await?.session;
        (place.session_of(&later.name).await == Some(session)).then_some(session)
    })
    .await;
    all_served(&place, &[&later, &other]).await;
    sleep(WATCHED).await;

    let records = records(&place).await;
    let since = records.iter().filter(|record| record.epoch > led.epoch);
    let mut leaders: Vec<SessionId> = since.map(|record| record.leader.session).collect();
    leaders.dedup();
    let reasons: Vec<_> = records.iter().map(|record| &record.reason).collect();
    assert_eq!(leaders.len(), 2, "the leadership changed hands once: {reasons:?}");
    let over =
        records.iter().filter(|it| it.sessions.contains_key(&session) && !it.is_open(session));
    assert_eq!(over.count(), 0, "the replacement kept its session: {reasons:?}");
    assert_eq!(counter.add(1).await, Ok(2));
}
