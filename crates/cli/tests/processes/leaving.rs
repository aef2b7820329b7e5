//! Planned leaves.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use holocron::VnodeRef;
use holocron_cli::kinds::{Counter, CounterCommand};
use rustix::process::Signal;

use super::support::{Place, add_to_all, all_served, turn, until, values_of};

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

    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = keys
        .iter()
        .map(|key| {
            let (counter, stop): (VnodeRef<Counter>, _) = (client.get(key), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut value = 1;
                while !stop.load(Ordering::Relaxed) {
                    let reply =
                        counter.command(CounterCommand::Add(1)).await.expect("no call fails");
                    assert_eq!(reply, value + 1);
                    value = reply;
                }
                value
            })
        })
        .collect();
    leaves.signal(Signal::TERM);
    assert!(leaves.ended().await.success(), "{}", leaves.log());
    until("it is out", async || {
        place.record().await.filter(|record| !record.hosts.contains_key(&leaves.name))
    })
    .await;
    all_served(&place, &[&stays]).await;
    stop.store(true, Ordering::Relaxed);
    let mut values = Vec::new();
    for caller in callers {
        values.push(caller.await.unwrap());
    }
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
