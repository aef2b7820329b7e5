//! Planned leaves.

use rustix::process::Signal;

use super::support::{Callers, Place, add_to_all, all_served, turn, until, values_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_leaves_hands_off_its_slots_and_no_call_fails() {
    let _turn = turn().await;
    let place = Place::new();
    let stays = place.host("h1", &[]).await;
    let mut leaves = place.host("h2", &[]).await;
    let client = place.client().await;
    all_served(&place, &[&stays, &leaves]).await;
    let keys = place.keys_of(&leaves.name, 20).await;
    add_to_all(&client, &keys).await;

    let callers = Callers::start(&client, &keys);
    leaves.signal(Signal::TERM);
    assert!(leaves.ended().await.success(), "{}", leaves.log());
    until("it is out", async || {
        place.record().await.filter(|record| !record.hosts.contains_key(&leaves.name))
    })
    .await;
    all_served(&place, &[&stays]).await;
    let values = callers.stop().await;
    assert_eq!(values_of(&client, &keys).await, values);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_a_host_that_cannot_hand_off() {
    let _turn = turn().await;
    let place = Place::new();
    let mut alone = place.host("h1", &[]).await;
    all_served(&place, &[&alone]).await;
    alone.signal(Signal::TERM);
    alone.signal(Signal::INT);
    assert!(alone.ended().await.success(), "{}", alone.log());
}
