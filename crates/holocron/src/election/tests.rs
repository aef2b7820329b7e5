//! Members of an election in one process, on paused time.

use holocron_protocol::format::keys;
use holocron_store::{Faults, Faulty, Memory, Outage, Store, Verb};
use tokio::time::{Instant, sleep};

use self::rigged::{Jumping, Rigged};
use super::*;
use crate::{Random, TokioClock};

mod rigged;

const LEASE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(10);

/// A clock whose wall time is wrong.
#[derive(Debug)]
struct WrongWall {
    steady: TokioClock,
    wall_ms: u64,
}

impl Clock for WrongWall {
    fn now(&self) -> holocron_protocol::time::Time {
        self.steady.now()
    }

    fn wall_ms(&self) -> u64 {
        self.wall_ms
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

fn builder(store: &Arc<dyn Store>, election: &str, seed: u64) -> ElectionBuilder {
    Election::builder("memory://", election)
        .store(Arc::clone(store))
        .clock(Arc::new(TokioClock::new()))
        .random(Random::from_seed(seed))
        .member(&format!("m{seed}"))
        .lease(LEASE)
}

async fn join(store: &Arc<dyn Store>, seed: u64) -> Election {
    builder(store, "a", seed).join().await.unwrap()
}

/// Waits until the member leads; returns its token.
async fn leads(member: &Election) -> u64 {
    let began = Instant::now();
    loop {
        if let Some(token) = member.token() {
            return token.get();
        }
        assert!(began.elapsed() < 3 * LEASE, "it never leads: {:?}", member.role());
        sleep(MOMENT).await;
    }
}

async fn keys_of(store: &Arc<dyn Store>) -> Vec<String> {
    store.list("").await.unwrap().into_iter().map(|object| object.key).collect()
}

#[tokio::test(start_paused = true)]
async fn one_member_leads_and_the_other_sees_who_and_where() {
    let store = memory();
    let first = builder(&store, "a", 1).address("10.0.0.7:80").join().await.unwrap();
    assert_eq!(leads(&first).await, 1);
    let second = join(&store, 2).await;
    sleep(LEASE * 3).await;
    let leader = Leader { name: HostName::new("m1").unwrap(), address: Some("10.0.0.7:80".into()) };
    assert_eq!(second.role(), Role::Following { leader, token: Epoch::new(1) });
    assert_eq!(first.token(), Some(Epoch::new(1)), "a healthy leader is not challenged");
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_another_leads_within_a_lease_and_a_half_with_a_larger_token() {
    let store = memory();
    let first = join(&store, 1).await;
    leads(&first).await;
    let second = join(&store, 2).await;
    sleep(LEASE).await;
    drop(first);
    let began = Instant::now();
    assert_eq!(leads(&second).await, 2);
    assert!(began.elapsed() < LEASE * 3 / 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_resignation_another_leads_at_its_next_poll() {
    let store = memory();
    let first = join(&store, 1).await;
    leads(&first).await;
    let second = join(&store, 2).await;
    sleep(LEASE).await;
    let began = Instant::now();
    assert_eq!(first.resign().await, Over::Resigned);
    assert_eq!(leads(&second).await, 3, "epoch 2 is the resignation");
    assert!(began.elapsed() < LEASE / 4, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn claims_of_two_leaders_never_overlap_and_the_second_waits_for_the_first() {
    let store = memory();
    let first = join(&store, 1).await;
    leads(&first).await;
    assert!(first.leader_until().is_none(), "a leader before it may still claim");
    let second = join(&store, 2).await;
    sleep(LEASE * 2).await;
    let until = first.leader_until().expect("a lease and a tenth have passed");
    assert!(until.left() > LEASE / 2 && until.left() <= LEASE, "{until}");
    drop(first);
    leads(&second).await;
    assert!(until.is_over() || second.leader_until().is_none());
    let began = Instant::now();
    while second.leader_until().is_none() {
        assert!(began.elapsed() < LEASE * 2);
        sleep(MOMENT).await;
    }
    assert!(until.is_over(), "two claims at one time");
    assert!(began.elapsed() > LEASE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_rotation_grows_the_token_and_old_epochs_are_deleted() {
    let store = memory();
    let of = builder(&store, "a", 1)
        .rotation(Rotation::Every(LEASE / 5))
        .history(Retention { epochs: 16, age: Duration::ZERO })
        .epoch_segment_len(5);
    let leader = of.join().await.unwrap();
    leads(&leader).await;
    sleep(LEASE * 12).await;
    let token = leader.token().expect("it goes on to lead").get();
    assert!((55..=62).contains(&token), "a token per rotation: {token}");
    let kept = store.list("elections/a/epochs").await.unwrap().len();
    assert!((16..=26).contains(&kept), "{kept} epochs are kept");
    assert!(!store.list("elections/a/epoch-marks").await.unwrap().is_empty());
    let late = join(&store, 2).await;
    sleep(MOMENT).await;
    assert!(matches!(late.role(), Role::Following { .. }), "{:?}", late.role());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_too_long_to_be_listed_is_trimmed_all_the_same() {
    let store = memory();
    let rigged = Rigged::new(&store, &Jumping::new());
    let of = builder(&(Arc::clone(&rigged) as Arc<dyn Store>), "a", 1)
        .rotation(Rotation::Every(LEASE / 5))
        .history(Retention { epochs: 16, age: Duration::ZERO })
        .epoch_segment_len(5);
    let leader = of.join().await.unwrap();
    leads(&leader).await;
    rigged.refuse_lists();
    sleep(LEASE * 12).await;
    assert!(leader.token().is_some_and(|token| token.get() >= 55), "{:?}", leader.role());
    let kept = store.list("elections/a/epochs").await.unwrap().len();
    assert!((16..=26).contains(&kept), "{kept} epochs are kept");
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_pause_does_not_make_a_follower_a_candidate() {
    let store = memory();
    let first = join(&store, 1).await;
    leads(&first).await;
    let clock = Jumping::new();
    let rigged = Rigged::new(&store, &clock);
    let shared = Arc::clone(&rigged) as Arc<dyn Store>;
    let second = builder(&shared, "a", 2).clock(clock).join().await.unwrap();
    sleep(LEASE * 2).await;
    rigged.pause_at_hint(LEASE * 2);
    sleep(LEASE * 2).await;
    assert!(rigged.has_paused());
    assert!(matches!(second.role(), Role::Following { .. }), "{:?}", second.role());
    assert_eq!(first.token(), Some(Epoch::new(1)), "a healthy leader is not challenged");
}

#[tokio::test(start_paused = true)]
async fn contested_rotations_let_every_member_lead() {
    let store = memory();
    let contested = |seed| builder(&store, "a", seed).rotation(Rotation::Contested(LEASE * 2));
    let members = [contested(1).join().await.unwrap(), contested(2).join().await.unwrap()];
    let (mut led, mut newest) = ([0, 0], 0);
    for _ in 0..6_000 {
        sleep(Duration::from_millis(100)).await;
        for (member, led) in members.iter().zip(&mut led) {
            if let Some(token) = member.token().map(Epoch::get).filter(|token| *token > newest) {
                newest = token;
                *led += 1;
            }
        }
    }
    assert!(led.iter().all(|led| *led >= 5), "{led:?} of {newest} epochs in 600 s");
}

#[tokio::test(start_paused = true)]
async fn wall_clocks_an_hour_apart_change_nothing() {
    let mut histories = Vec::new();
    for wrong_ms in [0, 3_600_000] {
        let store = memory();
        let member = |seed: u64, wall_ms| {
            let clock = WrongWall { steady: TokioClock::new(), wall_ms };
            builder(&store, "a", seed).clock(Arc::new(clock)).join()
        };
        let began = Instant::now();
        let (first, second) =
            (member(1, 10_000_000 + wrong_ms).await.unwrap(), member(2, 10_000_000).await.unwrap());
        let mut history = Vec::new();
        let mut first = Some(first);
        for step in 0..6_000 {
            sleep(MOMENT).await;
            if step == 3_000 {
                first = None;
            }
            let roles = (first.as_ref().map(Election::role), second.role());
            if history.last().is_none_or(|(_, last)| *last != roles) {
                history.push((began.elapsed(), roles));
            }
        }
        assert!(second.token().is_some(), "{history:?}");
        histories.push(history);
    }
    assert_eq!(histories[0], histories[1]);
}

#[tokio::test(start_paused = true)]
async fn members_of_an_emptied_store_end_and_found_nothing() {
    let store = memory();
    let first = join(&store, 1).await;
    leads(&first).await;
    let second = join(&store, 2).await;
    sleep(LEASE).await;
    for key in keys_of(&store).await {
        store.delete(&key).await.unwrap();
    }
    sleep(LEASE * 3).await;
    for member in [&first, &second] {
        assert!(matches!(member.role(), Role::Over(Over::StoreLost(_))), "{:?}", member.role());
    }
    let mut left = keys_of(&store).await;
    // A hint is put beside the look that finds nothing. It fences nothing.
    left.retain(|key| !key.ends_with(keys::LEADER_HINT));
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_record_of_another_history_is_a_lost_store_at_once() {
    let store = memory();
    let first = join(&store, 1).await;
    leads(&first).await;
    let other = memory();
    let stranger = join(&other, 9).await;
    leads(&stranger).await;
    let key = format!("elections/a/{}", keys::epoch(Epoch::new(1)));
    let foreign = other.get(&key).await.unwrap().unwrap();
    store.put(&key, foreign).await.unwrap();
    sleep(LEASE / 2).await;
    assert!(matches!(first.role(), Role::Over(Over::StoreLost(_))), "{:?}", first.role());
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_its_store_is_unconfirmed_after_a_lease_and_leads_again_afterwards() {
    let store = memory();
    let faulty = Arc::new(Faulty::new(Arc::clone(&store), 1, Faults::default()));
    let leader = join(&(Arc::clone(&faulty) as Arc<dyn Store>), 1).await;
    leads(&leader).await;
    sleep(LEASE * 2).await;
    let until = leader.leader_until().expect("it may claim");
    faulty.set_outage(Outage::Refuses);
    sleep(LEASE / 2).await;
    assert!(leader.token().is_some(), "{:?}", leader.role());
    sleep(LEASE).await;
    assert_eq!(leader.role(), Role::Unconfirmed { token: Epoch::new(1) });
    assert!(leader.token().is_none() && leader.leader_until().is_none() && until.is_over());
    faulty.set_outage(Outage::None);
    sleep(LEASE / 2).await;
    assert_eq!(leader.token(), Some(Epoch::new(1)), "no other member led meanwhile");
    assert!(leader.leader_until().is_some());
}

#[tokio::test(start_paused = true)]
async fn requests_per_lease_are_those_of_the_docs() {
    let store = memory();
    let leader = join(&store, 1).await;
    leads(&leader).await;
    let follower = join(&store, 2).await;
    sleep(LEASE).await;
    let before = (leader.requests(), follower.requests());
    sleep(LEASE * 10).await;
    let (led, followed) =
        (leader.requests().since(&before.0), follower.requests().since(&before.1));
    let of = |counts: &Counts, verb| counts.of_verb(verb).requests;
    assert!((45..=51).contains(&of(&led, Verb::Put)), "{led:?}");
    assert!((135..=153).contains(&of(&led, Verb::Get)), "{led:?}");
    assert!((45..=51).contains(&of(&followed, Verb::Get)), "{followed:?}");
    assert_eq!(of(&led, Verb::Create) + of(&led, Verb::List) + of(&followed, Verb::Put), 0);
}

#[tokio::test(start_paused = true)]
async fn elections_of_one_store_are_independent() {
    let store = memory();
    let [a, b] = [builder(&store, "a", 1), builder(&store, "b", 2)].map(ElectionBuilder::join);
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    assert_eq!((leads(&a).await, leads(&b).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_election_and_a_cluster_are_not_taken_for_each_other() {
    let store = memory();
    let founded = crate::Host::builder("memory://").store(Arc::clone(&store)).name("h1").start();
    let host = founded.await.unwrap();
    let beside = join(&store, 1).await;
    assert_eq!(leads(&beside).await, 1, "an election beside a cluster");
    host.stop().await;
    let below = |prefix| -> Arc<dyn Store> {
        Arc::new(holocron_store::Below::new(Arc::clone(&store), prefix))
    };
    let started = crate::Host::builder("memory://").store(below("elections/a")).start().await;
    assert!(matches!(started, Err(crate::StartError::IsElection)), "{started:?}");
    store.put("elections/c/cluster", store.get("cluster").await.unwrap().unwrap()).await.unwrap();
    let joined = builder(&store, "c", 3).join().await;
    assert!(matches!(joined, Err(JoinError::IsCluster)), "{joined:?}");
}

#[tokio::test(start_paused = true)]
async fn no_election_is_founded_where_records_remain() {
    let store = memory();
    let first = join(&store, 1).await;
    leads(&first).await;
    first.stop();
    store.delete("elections/a/election").await.unwrap();
    let joined = builder(&store, "a", 2).join().await;
    assert!(matches!(joined, Err(JoinError::Remains { remains: 1 })), "{joined:?}");
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_bounds_are_refused() {
    let store = memory();
    for wrong in [
        builder(&store, "a", 1).lease(Duration::from_millis(1)),
        builder(&store, "a", 1).rotation(Rotation::Every(Duration::from_millis(1))),
        builder(&store, "a", 1).epoch_segment_len(1),
        // 302,400 epochs in the 7 days for which they are kept.
        builder(&store, "a", 1).rotation(Rotation::Every(Duration::from_secs(2))),
        builder(&store, "a", 1).rotation(Rotation::Contested(Duration::from_millis(3_023))),
    ] {
        assert!(matches!(wrong.join().await, Err(JoinError::Setting(_))));
    }
    let least = builder(&store, "a", 1).rotation(Rotation::Every(Duration::from_millis(3_024)));
    assert!(least.join().await.is_ok());
    assert!(matches!(builder(&store, "A/b", 1).join().await, Err(JoinError::Name(_))));
}
