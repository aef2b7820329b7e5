//! The rules of a queue, as stories.

use core::time::Duration;

use holocron_testing::TestVnode;

use super::*;

/// A queue in a test, with the calls of its users.
pub(super) struct Line(pub(super) TestVnode<Queue>);

impl Line {
    pub(super) fn new() -> Self {
        Self(TestVnode::new("q"))
    }

    pub(super) fn push(
        &mut self,
        body: &str,
        delay_ms: Option<u64>,
        key: Option<&str>,
    ) -> Result<u64, QueueError> {
        let push = QueueCommand::push(body.to_owned(), delay_ms, key.map(ToOwned::to_owned));
        let QueueReply::Push(id) = self.0.command(push).unwrap() else { panic!("another reply") };
        id
    }

    pub(super) fn pull(&mut self, max: u32, visibility_ms: u64) -> Vec<Delivery> {
        let QueueReply::Pull(pulled) =
            self.0.command(QueueCommand::pull(max, visibility_ms)).unwrap()
        else {
            panic!("another reply")
        };
        pulled.unwrap()
    }

    /// Runs a command that is about one delivery.
    pub(super) fn settle(&mut self, command: QueueCommand) -> Result<(), QueueError> {
        let (QueueReply::Ack(settled) | QueueReply::Extend(settled) | QueueReply::Nack(settled)) =
            self.0.command(command).unwrap()
        else {
            panic!("another reply")
        };
        settled
    }

    pub(super) fn count(&mut self, command: QueueCommand) -> usize {
        let (QueueReply::Requeue(count) | QueueReply::Discard(count)) =
            self.0.command(command).unwrap()
        else {
            panic!("another reply")
        };
        count
    }

    pub(super) fn stats(&mut self) -> QueueStats {
        let QueueAnswer::Stats(stats) = self.0.query(QueueQuery::stats()) else {
            panic!("another reply")
        };
        stats
    }

    pub(super) fn dead(&mut self) -> Vec<u64> {
        let QueueAnswer::DeadLetters(letters) = self.0.query(QueueQuery::dead_letters()) else {
            panic!("another reply")
        };
        letters.iter().map(|letter| letter.id).collect()
    }

    pub(super) fn pass(&mut self, ms: u64) -> usize {
        self.0.advance(Duration::from_millis(ms))
    }
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| &*delivery.body).collect()
}

#[test]
fn a_message_comes_again_until_it_is_acknowledged() {
    let mut line = Line::new();
    let id = line.push("a", None, None).unwrap();
    let first = line.pull(10, 1_000);
    assert_eq!((first[0].id, first[0].delivery, first.len()), (id, 1, 1));
    assert_eq!(line.pull(10, 1_000), []);
    assert_eq!(line.stats().in_flight, 1);
    assert_eq!(line.pass(1_000), 1, "those who watch hear that it is ready again");
    assert_eq!(line.stats().ready, 1);
    let second = line.pull(10, 1_000);
    assert_eq!((second[0].id, second[0].delivery), (id, 2));
    let ack = |receipt| QueueCommand::ack(id, receipt);
    assert_eq!(line.settle(ack(first[0].receipt)), Err(QueueError::StaleReceipt));
    line.pass(5_000);
    assert_eq!(line.settle(ack(second[0].receipt)), Ok(()), "late, but it wasn't delivered again");
    assert_eq!(line.settle(ack(second[0].receipt)), Err(QueueError::StaleReceipt));
    let stats = line.stats();
    assert_eq!((stats.ready, stats.bytes, stats.oldest_pushed_at_ms), (0, 0, None));
    assert_eq!(line.0.timers(), []);
}

#[test]
fn messages_come_in_order_after_their_delay() {
    let mut line = Line::new();
    line.push("late", Some(2_000), None).unwrap();
    line.push("b", None, None).unwrap();
    line.push("c", None, None).unwrap();
    assert_eq!(line.stats().delayed, 1);
    assert_eq!(bodies(&line.pull(1, 60_000)), ["b"]);
    line.pass(2_000);
    assert_eq!(bodies(&line.pull(10, 60_000)), ["late", "c"]);
}

#[test]
fn messages_of_one_key_come_one_at_a_time() {
    let mut line = Line::new();
    for (body, key) in [("x1", "x"), ("x2", "x"), ("y1", "y")] {
        line.push(body, None, Some(key)).unwrap();
    }
    let pulled = line.pull(10, 1_000);
    assert_eq!(bodies(&pulled), ["x1", "y1"]);
    assert_eq!((line.stats().behind, line.stats().ready), (1, 0));
    line.pass(1_000);
    let again = line.pull(10, 1_000);
    assert_eq!(bodies(&again), ["x1", "y1"]);
    line.settle(QueueCommand::ack(again[0].id, again[0].receipt)).unwrap();
    assert_eq!(bodies(&line.pull(10, 1_000)), ["x2"]);
}

#[test]
fn a_consumer_can_take_longer_or_give_back() {
    let mut line = Line::new();
    let id = line.push("a", None, None).unwrap();
    let receipt = line.pull(1, 1_000)[0].receipt;
    line.pass(900);
    line.settle(QueueCommand::extend(id, receipt, 5_000)).unwrap();
    line.pass(4_999);
    assert_eq!(line.pull(1, 1_000), []);
    line.settle(QueueCommand::nack(id, receipt, Some(2_000))).unwrap();
    assert_eq!(line.settle(QueueCommand::ack(id, receipt)), Err(QueueError::StaleReceipt));
    assert_eq!((line.stats().delayed, line.pull(1, 1_000).len()), (1, 0));
    line.pass(2_000);
    let receipt = line.pull(1, 60_000)[0].receipt;
    line.settle(QueueCommand::nack(id, receipt, None)).unwrap();
    assert_eq!(line.pull(1, 1_000)[0].delivery, 3);
}

#[test]
fn a_message_that_always_fails_becomes_a_dead_letter() {
    let mut line = Line::new();
    line.0.command(QueueCommand::configure(2)).unwrap();
    let (id, other) =
        (line.push("bad", None, None).unwrap(), line.push("worse", None, None).unwrap());
    line.pull(10, 1_000);
    line.pass(1_000);
    let receipt = line.pull(10, 1_000)[0].receipt;
    line.settle(QueueCommand::nack(id, receipt, Some(60_000))).unwrap();
    assert_eq!(line.dead(), [id], "without the delay, which is for a next delivery");
    line.pass(1_000);
    assert_eq!((line.dead(), line.stats().dead, line.stats().ready), (vec![id, other], 2, 0));
    assert_eq!(line.pull(10, 1_000), []);
    assert_eq!(line.count(QueueCommand::requeue(&[id, 7])), 1);
    assert_eq!(line.count(QueueCommand::discard(&[other, id])), 1);
    assert_eq!((line.pull(10, 1_000)[0].delivery, line.dead()), (1, vec![]));
}

#[test]
fn a_queue_that_is_full_says_so() {
    let mut line = Line::new();
    let body = "x".repeat(BODY_LEN_MAX);
    for _ in 0..BYTES_MAX / BODY_LEN_MAX {
        line.push(&body, None, None).unwrap();
    }
    let refused = line.push("y", None, None).unwrap_err();
    let said =
        "the queue is full: it has 8 messages of at most 1024, and 262144 bytes of at most 262144";
    assert_eq!(refused.to_string(), said);
    assert_eq!(line.pull(100, 1_000).len(), 1, "as much as one reply may hold");
    let refused = line.push(&(body + "x"), None, None).unwrap_err();
    assert_eq!(refused, QueueError::TooLong { argument: "body".into(), max: BODY_LEN_MAX });
    let QueueReply::Pull(refused) = line.0.command(QueueCommand::pull(0, 1_000)).unwrap() else {
        panic!("a reply to pull")
    };
    let min_max = QueueError::OutOfRange { argument: "max".into(), min: 1, max: PULL_MAX.into() };
    assert_eq!(refused, Err(min_max));
}

#[test]
fn a_full_queue_fits_into_a_host_s_limit_of_a_state() {
    let mut line = Line::new();
    let key = "k".repeat(KEY_LEN_MAX);
    let mut pushed = 0;
    while line.push("", None, Some(&key)).is_ok() {
        pushed += 1;
    }
    assert_eq!(pushed, MESSAGES_MAX);
    let stored = serde_json::to_vec(line.0.state()).unwrap().len();
    assert!(stored < 1 << 20, "{stored} bytes, and fewer in bincode");
}
