//! The client among fake hosts.

use core::time::Duration;

use holocron_protocol::{
    format::codec,
    ids::{CommitNumber, RequestNumber},
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::*;
use crate::{
    api::{
        call::{Format, Outcome},
        context::Context,
    },
    transport::fake::{
        CLUSTER, Calls, FakeHost, MemoryNetwork, Served, answer, body, reply, view, view_after,
    },
    transport::{link::SILENCE_MAX, server::Limits},
};

/// A cluster of fake hosts, and a client that knows the address of the first.
struct Stage {
    network: MemoryNetwork,
    hosts: Vec<Served>,
    view: View,
    client: Client,
}

fn parts(network: &MemoryNetwork, seeds: &[&str]) -> ClientParts {
    ClientParts {
        network: Arc::new(network.clone()),
        seeds: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
        views: None,
        local: None,
        cluster: None,
        random: Random::from_seed(1),
        in_flight_max: 100,
    }
}

/// Hosts whose addresses are their names.
fn at_their_names<'a>(names: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    names.iter().map(|name| (*name, *name)).collect()
}

impl Stage {
    /// The first host owns everything, and all hosts know it.
    async fn new(names: &[&str]) -> Self {
        let network = MemoryNetwork::default();
        let view = view(&at_their_names(names), names[0]);
        let mut hosts = Vec::new();
        for name in names {
            let host = Served::start(&network, name).await;
            host.show(&view);
            hosts.push(host);
        }
        let client = Client::new(parts(&network, &names[..1]));
        Self { network, hosts, view, client }
    }

    fn ask(&self, mode: Mode, text: &'static str) -> Asked {
        Asked::new(&self.client, mode, text, DEADLINE_DEFAULT)
    }

    fn command(&self, text: &'static str) -> Asked {
        self.ask(Mode::Command, text)
    }

    /// The next view, with those hosts and that owner; not shown to any host yet.
    fn next_view(&mut self, names: &[&str], owner: &str) -> View {
        self.view = view_after(&self.view, &at_their_names(names), owner);
        self.view.clone()
    }
}

fn bincode(bytes: Bytes) -> Body {
    Body { format: Format::Bincode, bytes }
}

/// A call in a task of its own.
struct Asked(tokio::task::JoinHandle<Result<Bytes, CallError>>);

impl Asked {
    fn new(client: &Client, mode: Mode, text: &'static str, deadline: Duration) -> Self {
        let client = client.clone();
        Self(tokio::spawn(async move {
            let name = VnodeName::new("kind", "key").unwrap();
            client.call(&name, mode, bincode(body(text)), deadline).await
        }))
    }

    async fn result(self) -> Result<Bytes, CallError> {
        self.0.await.unwrap()
    }
}

fn is_unavailable(result: &Result<Bytes, CallError>) -> bool {
    matches!(result, Err(CallError::Unavailable { .. }))
}

/// Answers every call at that host with the same outcome.
fn always(mut calls: Calls, outcome: Outcome) {
    tokio::spawn(async move {
        while let Some((_, reply)) = calls.recv().await {
            reply.send(answer(1, 0, outcome.clone()));
        }
    });
}

// ---- Finding the owner --------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_call_finds_the_owner_from_a_seed() {
    let mut stage = Stage::new(&["b", "a"]).await;
    let asked = stage.command("deposit");
    let call = stage.hosts[0].answer(reply("done")).await;
    assert_eq!((call.body, call.epoch), (body("deposit"), Epoch::new(1)));
    assert_eq!(asked.result().await.unwrap(), body("done"));
}

#[tokio::test(start_paused = true)]
async fn a_call_follows_not_owner_to_the_pushed_view() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let asked = stage.command("x");
    let (_, refuse) = stage.hosts[0].next().await;
    let second = stage.next_view(&["a", "b"], "b");
    refuse.send(answer(2, 0, Outcome::NotOwner));
    stage.hosts[0].show(&second);
    let started = Instant::now();
    let call = stage.hosts[1].answer(reply("moved")).await;
    assert_eq!(call.epoch, Epoch::new(2));
    assert_eq!(asked.result().await.unwrap(), body("moved"));
    assert!(started.elapsed() < Duration::from_millis(20), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_carries_the_newest_epoch_that_a_host_named() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.command("x");
    stage.hosts[0].answer(answer(2, 0, Outcome::NotOwner)).await;
    let call = stage.hosts[0].answer(reply("done")).await;
    assert_eq!(call.epoch, Epoch::new(2));
    asked.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_view_that_the_owner_only_named_is_found_at_other_hosts() {
    let mut stage = Stage::new(&["a", "b", "c"]).await;
    let asked = stage.command("x");
    let (_, refuse) = stage.hosts[0].next().await;
    let second = stage.next_view(&["a", "b", "c"], "b");
    stage.hosts[2].show(&second);
    refuse.send(answer(2, 0, Outcome::NotOwner));
    always(stage.hosts.remove(0).calls, Outcome::NotOwner);
    stage.hosts[0].answer(reply("found")).await;
    assert_eq!(asked.result().await.unwrap(), body("found"));
}

#[tokio::test(start_paused = true)]
async fn an_announced_view_is_found_though_no_call_needs_it() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let asked = stage.command("x");
    let second = stage.next_view(&["a", "b"], "b");
    stage.hosts[1].show(&second);
    stage.hosts[0].answer(answer(2, 1, Outcome::Reply(body("done")))).await;
    asked.result().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.client.view().unwrap().record.epoch, Epoch::new(2));
}

#[tokio::test(start_paused = true)]
async fn an_older_view_changes_nothing() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let first = stage.view.clone();
    let second = stage.next_view(&["a", "b"], "b");
    stage.hosts[0].show(&second);
    stage.client.ready().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    stage.client.shared.install(first);
    let asked = stage.command("x");
    stage.hosts[1].answer(reply("done")).await;
    asked.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_store_is_read_when_no_host_answers() {
    #[derive(Debug)]
    struct Stored(View);
    #[async_trait]
    impl Views for Stored {
        async fn newer(&self, known: Epoch) -> Result<Option<View>, NoViews> {
            Ok((self.0.record.epoch > known).then(|| self.0.clone()))
        }
    }
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let views = Arc::new(Stored(view(&[("a", "a")], "a")));
    let client = Client::new(ClientParts { views: Some(views), ..parts(&network, &["gone"]) });
    let asked = Asked::new(&client, Mode::Query, "x", DEADLINE_DEFAULT);
    served.answer(reply("found")).await;
    assert_eq!(asked.result().await.unwrap(), body("found"));
}

#[tokio::test(start_paused = true)]
async fn a_host_in_the_same_process_is_called_without_a_network() {
    let (host, mut calls) = FakeHost::new();
    let network = MemoryNetwork::default();
    let name = HostName::new("here").unwrap();
    let local = LocalHost { name, serve: Arc::clone(&host) as Arc<dyn Serve> };
    let client = Client::new(ClientParts { local: Some(local), ..parts(&network, &[]) });
    let asked = Asked::new(&client, Mode::Command, "x", DEADLINE_DEFAULT);
    host.views.send_replace(Some(view(&[("here", "unreachable")], "here")));
    let (_, reply_to) = calls.recv().await.unwrap();
    reply_to.send(reply("here"));
    assert_eq!(asked.result().await.unwrap(), body("here"));
    // When its slots move away, so do the calls.
    let mut other = Served::start(&network, "there").await;
    let names = [("here", "unreachable"), ("there", "there")];
    let second = view_after(&view(&names[..1], "here"), &names, "there");
    host.views.send_replace(Some(second));
    let asked = Asked::new(&client, Mode::Command, "y", DEADLINE_DEFAULT);
    other.answer(reply("there")).await;
    assert_eq!(asked.result().await.unwrap(), body("there"));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_another_cluster_says_why_it_has_no_view() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    let cluster = Some(ClusterId::new(8));
    let client = Client::new(ClientParts { cluster, ..parts(&network, &["a"]) });
    match client.ready().await {
        Err(CallError::Unavailable { reason: Unavailable::Unreachable, why }) => {
            assert!(why.contains("refuses"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_with_the_first_cluster_it_reached() {
    let stage = Stage::new(&["a"]).await;
    stage.client.ready().await.unwrap();
    assert_eq!(stage.client.shared.hello().cluster, Some(CLUSTER));
}

// ---- Failover -----------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn calls_to_a_dead_host_are_retried_when_the_next_view_is_pushed() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let calls: Vec<_> = (0..50).map(|_| stage.command("x")).collect();
    let mut first_attempts = Vec::new();
    for _ in 0..50 {
        first_attempts.push(stage.hosts[0].next().await.0);
    }
    stage.network.kill("a");
    // The slot has no live owner for a while.
    sleep(Duration::from_secs(2)).await;
    assert!(stage.hosts[1].calls.is_empty());
    let second = stage.next_view(&["b"], "b");
    let pushed = Instant::now();
    stage.hosts[1].show(&second);
    let mut second_attempts = Vec::new();
    for _ in 0..50 {
        second_attempts.push(stage.hosts[1].answer(reply("again")).await);
    }
    assert!(pushed.elapsed() < Duration::from_millis(5), "{:?}", pushed.elapsed());
    first_attempts.sort_by_key(|call| call.request.id);
    second_attempts.sort_by_key(|call| call.request.id);
    for (first, second) in first_attempts.iter().zip(&second_attempts) {
        assert_eq!(
            (first.request.id, first.request.base),
            (second.request.id, second.request.base)
        );
    }
    for call in calls {
        assert_eq!(call.result().await.unwrap(), body("again"));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_frozen_host_are_retried_too() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let started = Instant::now();
    let asked = stage.command("x");
    stage.hosts[0].next().await.1.send(reply("never arrives"));
    stage.network.freeze("a");
    let second = stage.next_view(&["b"], "b");
    let other = stage.hosts[1].host.clone();
    tokio::spawn(async move {
        sleep(SILENCE_MAX * 2).await;
        other.views.send_replace(Some(second));
    });
    let call = stage.hosts[1].answer(reply("alive")).await;
    assert_eq!(call.epoch, Epoch::new(2));
    assert_eq!(asked.result().await.unwrap(), body("alive"));
    assert!(
        started.elapsed() < SILENCE_MAX * 2 + Duration::from_millis(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_moves_to_the_new_owner_and_a_late_reply_of_the_old_one_still_counts() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let asked = stage.command("x");
    let (_, late) = stage.hosts[0].next().await;
    let second = stage.next_view(&["a", "b"], "b");
    stage.hosts[0].show(&second);
    let (_, _waits) = stage.hosts[1].next().await;
    late.send(reply("committed before the move"));
    assert_eq!(asked.result().await.unwrap(), body("committed before the move"));
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_is_ignored() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let asked = stage.command("x");
    let (_, late) = stage.hosts[0].next().await;
    let second = stage.next_view(&["a", "b"], "b");
    stage.hosts[0].show(&second);
    let (_, waits) = stage.hosts[1].next().await;
    late.send(answer(2, 0, Outcome::NotOwner));
    sleep(Duration::from_millis(100)).await;
    assert!(stage.hosts[1].calls.is_empty(), "only one attempt is in flight");
    waits.send(reply("done"));
    assert_eq!(asked.result().await.unwrap(), body("done"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_to_a_partitioned_owner_finds_the_new_one() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let asked = stage.command("x");
    let (_, _hangs) = stage.hosts[0].next().await;
    // Only `b` learns of the next view; the client has never talked to it.
    let second = stage.next_view(&["b"], "b");
    stage.hosts[1].show(&second);
    let started = Instant::now();
    stage.hosts[1].answer(reply("found")).await;
    assert_eq!(asked.result().await.unwrap(), body("found"));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_client_reconnects_to_a_restarted_host() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.ask(Mode::Query, "x");
    stage.hosts[0].next().await;
    stage.network.kill("a");
    sleep(Duration::from_secs(1)).await;
    let mut again = Served::start(&stage.network, "a").await;
    again.show(&stage.view);
    let started = Instant::now();
    again.answer(reply("back")).await;
    assert_eq!(asked.result().await.unwrap(), body("back"));
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
}

// ---- Exactly once -------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_rebased_request_is_sent_again_with_that_base() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.command("x");
    let first = stage.hosts[0].answer(answer(1, 0, Outcome::Rebase(CommitNumber::new(9)))).await;
    let second = stage.hosts[0].answer(reply("run")).await;
    assert_eq!(
        (first.request.base, second.request.base),
        (CommitNumber::ZERO, CommitNumber::new(9))
    );
    assert_eq!(first.request.id, second.request.id);
    assert_eq!(asked.result().await.unwrap(), body("run"));
}

#[tokio::test(start_paused = true)]
async fn a_rebase_after_a_lost_attempt_is_unclear() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.command("x");
    stage.hosts[0].answer(answer(1, 0, Outcome::Unclear)).await;
    stage.hosts[0].answer(answer(1, 0, Outcome::Rebase(CommitNumber::new(9)))).await;
    assert_eq!(asked.result().await, Err(CallError::Unclear));
    assert!(stage.hosts[0].calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_is_settled_and_a_rebase_after_it_is_followed() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.command("x");
    stage.hosts[0].answer(answer(1, 0, Outcome::Busy)).await;
    stage.hosts[0].answer(answer(1, 0, Outcome::Rebase(CommitNumber::new(9)))).await;
    let third = stage.hosts[0].answer(reply("run")).await;
    assert_eq!(third.request.base, CommitNumber::new(9));
    assert_eq!(asked.result().await.unwrap(), body("run"));
}

#[tokio::test(start_paused = true)]
async fn attempts_carry_the_lowest_unfinished_request_and_the_newest_known_commit() {
    let mut stage = Stage::new(&["a"]).await;
    let first = stage.command("1");
    let (call, reply_to_first) = stage.hosts[0].next().await;
    assert_eq!(
        (call.request.id.number, call.request.lowest),
        (RequestNumber::new(1), RequestNumber::new(1))
    );
    let second = stage.command("2");
    let call = stage.hosts[0].answer(answer(1, 5, Outcome::Reply(body("2")))).await;
    assert_eq!(
        (call.request.id.number, call.request.lowest),
        (RequestNumber::new(2), RequestNumber::new(1))
    );
    second.result().await.unwrap();
    reply_to_first.send(answer(1, 4, Outcome::Reply(body("1"))));
    first.result().await.unwrap();
    let third = stage.command("3");
    let call = stage.hosts[0].answer(reply("3")).await;
    assert_eq!(
        (call.request.id.number, call.request.lowest),
        (RequestNumber::new(3), RequestNumber::new(3))
    );
    assert_eq!(call.request.base, CommitNumber::new(5));
    third.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_ends_its_request() {
    let mut stage = Stage::new(&["a"]).await;
    let first = stage.command("1");
    let _unanswered = stage.hosts[0].next().await;
    first.0.abort();
    sleep(Duration::from_millis(1)).await;
    let second = stage.command("2");
    let call = stage.hosts[0].answer(reply("2")).await;
    assert_eq!(call.request.lowest, RequestNumber::new(2));
    second.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn queries_take_no_numbers_and_run_any_number_of_times() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.ask(Mode::Query, "?");
    stage.hosts[0].answer(answer(1, 0, Outcome::Unclear)).await;
    stage.hosts[0].answer(answer(1, 7, Outcome::Reply(body("!")))).await;
    assert_eq!(asked.result().await.unwrap(), body("!"));
    let command = stage.command("x");
    let call = stage.hosts[0].answer(reply("x")).await;
    assert_eq!(call.request.id.number, RequestNumber::new(1));
    assert_eq!(call.request.base, CommitNumber::new(7), "the base comes from a query's answer");
    command.result().await.unwrap();
}

// ---- What callers get ---------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_command_that_was_never_sent_is_unavailable_at_its_deadline() {
    let client = Client::new(parts(&MemoryNetwork::default(), &["unreachable"]));
    let started = Instant::now();
    let result = Asked::new(&client, Mode::Command, "x", DEADLINE_DEFAULT).result().await;
    assert!(is_unavailable(&result), "{result:?}");
    assert_eq!(started.elapsed(), DEADLINE_DEFAULT);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_sent_and_not_answered_is_unclear_at_its_deadline() {
    let mut stage = Stage::new(&["a"]).await;
    let started = Instant::now();
    let (command, query) = (stage.command("x"), stage.ask(Mode::Query, "?"));
    let _hang = (stage.hosts[0].next().await, stage.hosts[0].next().await);
    assert_eq!(command.result().await, Err(CallError::Unclear));
    assert_eq!(started.elapsed(), DEADLINE_DEFAULT);
    let result = query.result().await;
    assert!(is_unavailable(&result), "a query leaves nothing unclear: {result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_host_died_with_it_is_unclear() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.command("x");
    stage.hosts[0].next().await;
    stage.network.kill("a");
    assert_eq!(asked.result().await, Err(CallError::Unclear));
}

#[tokio::test(start_paused = true)]
async fn a_command_refused_until_its_deadline_has_not_run() {
    let Stage { mut hosts, client, .. } = Stage::new(&["a"]).await;
    always(hosts.remove(0).calls, Outcome::Busy);
    let asked = Asked::new(&client, Mode::Command, "x", DEADLINE_DEFAULT);
    assert_eq!(asked.result().await, Err(CallError::Busy));
    let Stage { mut hosts, client, .. } = Stage::new(&["a"]).await;
    always(hosts.remove(0).calls, Outcome::NotOwner);
    let result = Asked::new(&client, Mode::Command, "x", DEADLINE_DEFAULT).result().await;
    assert!(is_unavailable(&result), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn refusals_that_a_retry_does_not_change_are_returned_at_once() {
    let mut stage = Stage::new(&["a"]).await;
    let started = Instant::now();
    let rejected = |why: &str| CallError::Rejected { why: why.into() };
    for (outcome, error) in [
        (Outcome::UnknownKind, CallError::UnknownKind),
        (Outcome::Panicked, CallError::Panicked),
        (Outcome::Rejected("too large".into()), rejected("too large")),
        (Outcome::Undecodable("nonsense".into()), rejected("nonsense")),
        (Outcome::UnknownCommand("add".into()), CallError::UnknownCommand { why: "add".into() }),
        (Outcome::OtherArguments("add".into()), CallError::OtherArguments { why: "add".into() }),
        (
            Outcome::Unreadable("newer".into()),
            CallError::unavailable(Unavailable::Unreadable, "newer"),
        ),
    ] {
        for mode in [Mode::Command, Mode::Query] {
            let asked = stage.ask(mode, "x");
            stage.hosts[0].answer(answer(1, 0, outcome.clone())).await;
            assert_eq!(asked.result().await, Err(error.clone()));
        }
    }
    let asked = stage.command("x");
    stage.hosts[0].answer(answer(1, 0, Outcome::Quarantined)).await;
    assert!(is_unavailable(&asked.result().await));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_lost_attempt_is_retried_after_a_refusal() {
    let mut stage = Stage::new(&["a"]).await;
    let asked = stage.command("x");
    stage.hosts[0].answer(answer(1, 0, Outcome::Unclear)).await;
    stage.hosts[0].answer(answer(1, 0, Outcome::UnknownKind)).await;
    stage.hosts[0].answer(reply("it had run")).await;
    assert_eq!(asked.result().await.unwrap(), body("it had run"));
    let asked = stage.command("y");
    stage.hosts[0].answer(answer(1, 0, Outcome::Unclear)).await;
    always(stage.hosts.remove(0).calls, Outcome::UnknownKind);
    assert_eq!(asked.result().await, Err(CallError::Unclear));
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_bound_wait_and_then_are_busy() {
    let stage = Stage::new(&["a"]).await;
    let Stage { network, mut hosts, .. } = stage;
    let client = Client::new(ClientParts { in_flight_max: 1, ..parts(&network, &["a"]) });
    let first = Asked::new(&client, Mode::Command, "1", DEADLINE_DEFAULT);
    let (_, reply_to_first) = hosts[0].next().await;
    let short = Asked::new(&client, Mode::Command, "2", Duration::from_secs(1));
    let patient = Asked::new(&client, Mode::Command, "3", DEADLINE_DEFAULT);
    assert_eq!(short.result().await, Err(CallError::Busy));
    reply_to_first.send(reply("1"));
    first.result().await.unwrap();
    assert_eq!(hosts[0].answer(reply("3")).await.body, body("3"));
    patient.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_takes_one_call_at_a_time_gets_one_at_a_time() {
    let network = MemoryNetwork::default();
    let limits = Limits { calls_max: 1, ..Limits::default() };
    let mut served = Served::start_with(&network, "a", limits).await;
    served.show(&view(&[("a", "a")], "a"));
    let client = Client::new(parts(&network, &["a"]));
    let calls: Vec<_> =
        (0..10).map(|_| Asked::new(&client, Mode::Command, "x", DEADLINE_DEFAULT)).collect();
    for _ in 0..10 {
        served.answer(reply("x")).await;
    }
    for call in calls {
        call.result().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_deadline_does_not_overflow() {
    let mut stage = Stage::new(&["a"]).await;
    let client = stage.client.clone().with_deadline(Duration::MAX);
    client.ready().await.unwrap();
    let asked = Asked::new(&client, Mode::Command, "x", Duration::MAX);
    let call = stage.hosts[0].answer(reply("done")).await;
    assert_eq!(call.body, body("x"));
    asked.result().await.unwrap();
}

/// Bounds the memory of a waiting call, without its task and its body.
#[tokio::test(start_paused = true)]
async fn a_waiting_call_is_small() {
    let stage = Stage::new(&["a"]).await;
    let name = VnodeName::new("kind", "key").unwrap();
    let call = stage.client.call(&name, Mode::Command, bincode(body("x")), DEADLINE_DEFAULT);
    assert!(size_of_val(&call) <= 2048, "{} bytes", size_of_val(&call));
}

#[tokio::test(start_paused = true)]
async fn too_large_a_body_is_rejected_before_it_is_sent() {
    let stage = Stage::new(&["a"]).await;
    let name = VnodeName::new("kind", "key").unwrap();
    let large = vec![0; PAYLOAD_LEN_MAX + 1].into();
    let result = stage.client.call(&name, Mode::Command, bincode(large), DEADLINE_DEFAULT).await;
    assert!(matches!(result, Err(CallError::Rejected { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_closes_the_connections() {
    let stage = Stage::new(&["a"]).await;
    let clone = stage.client.clone();
    clone.ready().await.unwrap();
    let link = clone.shared.routes().connections().next().unwrap().open().unwrap();
    drop(stage.client);
    assert!(!link.is_lost());
    let shared = Arc::downgrade(&clone.shared);
    drop((clone, link));
    sleep(Duration::from_millis(1)).await;
    assert!(shared.upgrade().is_none(), "a task still holds the client");
}

/// When each attempt of a command arrived, under one seed.
async fn attempts_of(seed: u64) -> Vec<Duration> {
    let Stage { network, mut hosts, .. } = Stage::new(&["a"]).await;
    let random = Random::from_seed(seed);
    let client = Client::new(ClientParts { random, ..parts(&network, &["a"]) });
    let started = Instant::now();
    let asked = Asked::new(&client, Mode::Command, "x", DEADLINE_DEFAULT);
    let mut arrived = Vec::new();
    for _ in 0..20 {
        hosts[0].answer(answer(1, 0, Outcome::Busy)).await;
        arrived.push(started.elapsed());
    }
    hosts[0].answer(reply("done")).await;
    asked.result().await.unwrap();
    arrived
}

#[tokio::test(start_paused = true)]
async fn attempts_back_off_with_jitter_that_the_seed_decides() {
    let (one, again, other) = (attempts_of(1).await, attempts_of(1).await, attempts_of(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    let pauses: Vec<_> = one.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((5..=11).contains(&pauses[0].as_millis()), "{pauses:?}");
    assert!(pauses.iter().all(|pause| pause.as_millis() <= 251), "{pauses:?}");
    assert!(pauses[10..].iter().all(|pause| pause.as_millis() >= 125), "{pauses:?}");
}

// ---- Typed calls --------------------------------------------------------------------------------------------------

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

impl Vnode for Account {
    const KIND: &'static str = "account";
    type Command = u64;
    type Reply = u64;
    type Query = ();
    type Answer = u64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, amount: u64) -> u64 {
        self.balance += amount;
        self.balance
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
        self.balance
    }
}

#[tokio::test(start_paused = true)]
async fn a_vnode_is_called_by_its_types() {
    let mut stage = Stage::new(&["a"]).await;
    let account = stage.client.get::<Account>("alice").with_deadline(Duration::from_secs(1));
    let encoded = |number: u64| {
        let mut bytes = Vec::new();
        codec::to_bincode(&number, &mut bytes);
        Bytes::from(bytes)
    };
    let play = async {
        let answer = |bytes| answer(1, 1, Outcome::Reply(bytes));
        let command = stage.hosts[0].answer(answer(encoded(100))).await;
        assert_eq!(command.name, VnodeName::new("account", "alice").unwrap());
        assert_eq!((command.mode, command.body), (Mode::Command, encoded(100)));
        assert_eq!(stage.hosts[0].answer(answer(encoded(100))).await.mode, Mode::Query);
        assert_eq!(stage.hosts[0].answer(answer(encoded(100))).await.mode, Mode::Local);
        stage.hosts[0].answer(answer(body("not a number"))).await;
    };
    let ask = async {
        assert_eq!(account.command(100).await, Ok(100));
        assert_eq!(account.query(()).await, Ok(100));
        assert_eq!(account.local(()).await, Ok(100));
        let unreadable = account.command(1).await;
        assert!(matches!(unreadable, Err(CallError::Unreadable { .. })), "{unreadable:?}");
    };
    tokio::join!(play, ask);
    let nameless = stage.client.get::<Account>("").command(1).await;
    assert!(matches!(nameless, Err(CallError::Rejected { .. })), "{nameless:?}");
}
