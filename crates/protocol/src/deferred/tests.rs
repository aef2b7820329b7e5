//! Tests of deferred work: what is sent when, what is forgotten, what wakes.

use alloc::{format, string::ToString, sync::Arc, vec, vec::Vec};

use proptest::{collection::vec as many, prelude::*};

use super::{
    limits::Limits,
    post::{ACKNOWLEDGE_AFTER, Action, AnswerWanted, CommitWanted, Earlier, Post, Stamp},
    *,
};
use crate::{format::varint::Reader, time::Time};

fn vnode(key: &str) -> VnodeName {
    VnodeName::new("cell", key).unwrap()
}

fn wall(millis: u64) -> WallTime {
    WallTime::from_millis(millis)
}

fn number(number: u64) -> RequestNumber {
    RequestNumber::new(number)
}

const NEVER: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

/// Any deferred work that operations can make.
pub(crate) fn any_deferred() -> impl Strategy<Value = Deferred> {
    let step = (0..10u8, 0..4u64, many(any::<u8>(), 0..6), any::<bool>());
    many(step, 0..16).prop_map(|steps| {
        let mut deferred = Deferred::default();
        for (what, which, bytes, tagged) in steps {
            let (name, tag) = (format!("t{which}"), tagged.then_some("tag"));
            let number = number(which + 1);
            let outcome = if tagged { Ok(bytes.clone().into()) } else { Err("no".to_string()) };
            match what {
                0 => deferred.set_timer(&name, wall(which * 1_000), NEVER, bytes.into()),
                1 => deferred.set_timer(&name, wall(which), SECOND, bytes.into()),
                2 => drop(deferred.send(vnode(&name), bytes.into(), tag)),
                3 => drop(deferred.effect(bytes.into(), tag)),
                4 => drop(deferred.answered(number, outcome)),
                5 => deferred.refused(number, wall(which), "schließlich nicht"),
                6 => deferred.effect_failed(number, wall(which), "later"),
                7 => deferred.rebase(&vnode(&name), CommitNumber::new(which)),
                8 => drop(deferred.ask_by_name(vnode(&name), bytes.into(), "by name")),
                _ => drop(deferred.fire(&name, wall(1_500))),
            }
        }
        deferred
    })
}

/// Commits everything, and returns what is due then.
fn due(post: &mut Post, current: &Arc<Deferred>, commit: u64, now: Time) -> Vec<Action> {
    let commit = CommitNumber::new(commit);
    let (CommitWanted::Yes | CommitWanted::No) = post.handed(commit, current);
    post.committed(commit);
    post.due(current, now, wall(0))
}

fn sent(actions: &[Action]) -> Vec<(&str, u64, u64)> {
    let sends = actions.iter().filter_map(|action| match action {
        Action::Send { to, stamp: Stamp { number, lowest, .. }, .. } => {
            Some((to.key(), number.get(), lowest.get()))
        }
        Action::Acknowledge { .. } | Action::Run { .. } | Action::LookAgain(_) => None,
    });
    sends.collect()
}

#[test]
fn nothing_is_sent_before_its_commit_and_messages_to_one_target_follow_each_other() {
    let mut current = Arc::new(Deferred::default());
    let mut post = Post::default();
    let change = Arc::make_mut(&mut current);
    change.send(vnode("a"), Bytes::from_static(b"1"), None);
    change.send(vnode("a"), Bytes::from_static(b"2"), Some("second"));
    change.send(vnode("b"), Bytes::from_static(b"3"), None);
    assert_eq!(post.due(&current, Time::ZERO, wall(0)), []);
    let actions = due(&mut post, &current, 1, Time::ZERO);
    assert_eq!(sent(&actions), [("a", 1, 1), ("b", 3, 3)]);
    assert_eq!(post.due(&current, Time::ZERO, wall(0)), [], "they are in flight");
    post.attempted(&vnode("a"));
    assert_eq!(Arc::make_mut(&mut current).answered(number(1), Ok(Bytes::new())), None);
    // The lowest number is that of the committed outbox.
    let actions = post.due(&current, Time::ZERO, wall(0));
    assert_eq!(sent(&actions), [("a", 2, 1)]);
    let Action::Send { answer, .. } = actions[0] else { panic!("{actions:?}") };
    assert_eq!(answer, AnswerWanted::Content);
    let finished = Arc::make_mut(&mut current).answered(number(2), Err("panicked".into()));
    let finished = finished.unwrap();
    assert_eq!((&*finished.tag, finished.outcome), ("second", Err("panicked".into())));
    assert_eq!(Arc::make_mut(&mut current).answered(number(2), Ok(Bytes::new())), None, "again");
}

#[test]
fn a_target_is_told_once_that_nothing_is_left_and_then_forgotten() {
    let mut current = Arc::new(Deferred::default());
    let mut post = Post::default();
    Arc::make_mut(&mut current).send(vnode("a"), Bytes::new(), None);
    assert_eq!(current.wake_at(), 1);
    due(&mut post, &current, 1, Time::ZERO);
    post.attempted(&vnode("a"));
    assert_eq!(Arc::make_mut(&mut current).answered(number(1), Ok(Bytes::new())), None);
    assert_eq!(post.due(&current, Time::ZERO, wall(0)), [], "its answer isn't crossed out yet");
    let actions = due(&mut post, &current, 2, Time::ZERO);
    assert_eq!(actions, [Action::LookAgain(ACKNOWLEDGE_AFTER)]);
    assert_eq!(current.wake_at(), 1, "a new owner tells it too");
    let later = Time::ZERO + ACKNOWLEDGE_AFTER;
    let actions = post.due(&current, later, wall(0));
    let Action::Acknowledge { stamp, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((stamp.number, stamp.lowest), (number(2), number(2)));
    // It was not delivered, and then it was.
    post.lost(&vnode("a"));
    assert!(matches!(post.due(&current, later, wall(0))[..], [Action::Acknowledge { .. }]));
    post.attempted(&vnode("a"));
    Arc::make_mut(&mut current).acknowledged(&vnode("a"), number(2));
    assert_eq!((current.wake_at(), due(&mut post, &current, 3, later)), (0, vec![]));
    assert!(!post.is_busy() && !current.is_unused(), "its next number is kept");
}

#[test]
fn what_is_refused_again_and_again_is_set_aside_and_later_messages_go_on() {
    let mut current = Arc::new(Deferred::default());
    let mut post = Post::default();
    let change = Arc::make_mut(&mut current);
    change.send(vnode("a"), Bytes::from_static(b"poison"), None);
    change.send(vnode("a"), Bytes::from_static(b"good"), None);
    let mut now = 0;
    for tried in 1..=TRIES_MAX {
        let change = Arc::make_mut(&mut current);
        change.refused(number(1), wall(now), "unknown kind");
        let (_, message) = change.messages().next().unwrap();
        assert_eq!(message.tries.is_set_aside(), tried == TRIES_MAX);
        let next = message.tries.not_before(wall(0)).as_millis();
        assert!(next > now && next - now <= 600_000, "{now} to {next}");
        now = next;
    }
    assert!((3_600_000..4 * 3_600_000).contains(&now), "{now} ms");
    assert_eq!(sent(&due(&mut post, &current, 1, Time::ZERO)), [("a", 2, 1)], "1 isn't over");
    let change = Arc::make_mut(&mut current);
    assert!(change.retry(number(2)).unwrap_err().contains("number 2"));
    assert_eq!(change.retry(number(1)), Ok(()));
    assert_eq!(change.messages().next().unwrap().1.tries.count(), 0);
}

#[test]
fn of_an_effect_that_is_dropped_the_vnode_is_told_if_it_wants_to_be() {
    let mut deferred = Deferred::default();
    deferred.effect(Bytes::from_static(b"1"), Some("charge"));
    deferred.effect(Bytes::from_static(b"2"), None);
    let mut now = WallTime::from_millis(0);
    for which in [1, 2] {
        let waits = |deferred: &Deferred| {
            let mut effects = deferred.effects();
            effects.any(|(one, effect)| one == number(which) && !effect.tries.is_set_aside())
        };
        assert!(deferred.discard(number(which)).is_err(), "it isn't set aside yet");
        while waits(&deferred) {
            now = WallTime::from_millis(now.as_millis() + (1 << 30));
            deferred.effect_failed(number(which), now, "busy");
        }
    }
    let told = deferred.discard(number(1)).unwrap().unwrap();
    assert_eq!((&*told.tag, told.outcome.is_err()), ("charge", true));
    assert_eq!(deferred.discard(number(2)), Ok(None));
    assert_eq!(deferred.effects().count(), 0);
}

#[test]
fn a_message_that_failed_for_good_is_retried_under_a_new_number_or_dropped() {
    let mut deferred = Deferred::default();
    deferred.send(vnode("a"), Bytes::from_static(b"1"), None);
    deferred.send(vnode("a"), Bytes::from_static(b"2"), None);
    for which in [1, 2] {
        assert_eq!(deferred.answered(number(which), Err("panicked".into())), None);
    }
    assert_eq!(deferred.failed().count(), 2);
    assert_eq!((deferred.retry(number(1)), deferred.discard(number(2))), (Ok(()), Ok(None)));
    assert_eq!(deferred.failed().count(), 0);
    let (again, message) = deferred.messages().next().unwrap();
    assert_eq!((again, &message.command[..]), (number(3), &b"1"[..]));
    assert!(deferred.discard(number(3)).is_err(), "it wasn't set aside");
}

#[test]
fn a_recurring_timer_does_not_pile_up_and_one_that_was_replaced_does_not_fire() {
    let mut deferred = Deferred::default();
    deferred.set_timer("tick", wall(1_000), SECOND, Bytes::from_static(b"tick"));
    assert_eq!((deferred.wake_at(), deferred.due_timer(wall(999))), (1_000, None));
    assert_eq!(deferred.due_timer(wall(600_000)), Some("tick"));
    let command = Fired::Command(Bytes::from_static(b"tick"));
    assert_eq!(deferred.fire("tick", wall(600_000)), Some(command));
    assert_eq!((deferred.wake_at(), deferred.fire("tick", wall(600_999))), (601_000, None));
    deferred.set_timer("once", wall(5), NEVER, Bytes::new());
    deferred.set_timer("once", wall(700_000), NEVER, Bytes::from_static(b"new"));
    assert_eq!(deferred.fire("once", wall(600_000)), None, "it was set to a later time");
    assert!(deferred.fire("once", wall(700_000)).is_some());
    assert_eq!(deferred.fire("once", wall(700_000)), None, "it has fired");
    deferred.set_timer(EXPIRY, wall(1), NEVER, Bytes::new());
    assert_eq!(deferred.fire(EXPIRY, wall(1)), Some(Fired::Expire));
}

#[test]
fn an_effect_runs_until_it_is_over_and_one_at_a_time() {
    let mut current = Arc::new(Deferred::default());
    let mut post = Post::default();
    Arc::make_mut(&mut current).effect(Bytes::from_static(b"pay"), Some("paid"));
    let actions = due(&mut post, &current, 1, Time::ZERO);
    assert!(matches!(actions[..], [Action::Run { tries: 0, .. }]), "{actions:?}");
    assert_eq!(post.due(&current, Time::ZERO, wall(0)), [], "it runs");
    Arc::make_mut(&mut current).effect_failed(number(1), wall(0), "timeout");
    post.ran(number(1));
    assert_eq!(post.due(&current, Time::ZERO, wall(99)), [], "it rests");
    assert_eq!(current.wake_at(), 100);
    let actions = post.due(&current, Time::ZERO, wall(100));
    assert!(matches!(actions[..], [Action::Run { tries: 1, .. }]), "{actions:?}");
    let done = Ok(Bytes::from_static(b"receipt"));
    let finished = Arc::make_mut(&mut current).effect_ended(number(1), done.clone()).unwrap();
    assert_eq!(finished, Finished { tag: "paid".into(), outcome: done });
    post.ran(number(1));
    assert_eq!(post.due(&current, Time::ZERO, wall(1_000)), []);
}

#[test]
fn what_is_beyond_a_limit_is_named() {
    let mut deferred = Deferred::default();
    let limits = Limits { timers: 1, messages: 1, effects: 1, bytes: 200 };
    deferred.set_timer("a", wall(0), NEVER, Bytes::new());
    deferred.send(vnode("a"), Bytes::new(), None);
    deferred.effect(Bytes::new(), None);
    assert_eq!(deferred.beyond(&limits), None);
    let mut timers = deferred.clone();
    timers.set_timer("b", wall(0), NEVER, Bytes::new());
    let mut large = deferred.clone();
    large.set_timer("a", wall(0), NEVER, vec![0; 200].into());
    deferred.effect(Bytes::new(), None);
    for (deferred, what) in [(timers, "2 timers"), (large, "bytes of"), (deferred, "2 effects")] {
        assert!(deferred.beyond(&limits).unwrap().contains(what), "{what}");
    }
}

proptest! {
    #[test]
    fn it_wakes_exactly_if_something_is_left_to_do(deferred in any_deferred()) {
        let left = deferred.timers().any(|(_, timer)| !timer.tries.is_set_aside())
            || deferred.messages().any(|(_, message)| !message.tries.is_set_aside())
            || deferred.effects().any(|(_, effect)| !effect.tries.is_set_aside())
            || deferred.targets.keys().any(|to| !deferred.first_numbers().contains_key(to));
        prop_assert_eq!(deferred.wake_at() > 0, left);
    }

    #[test]
    fn a_new_owner_carries_everything_out_in_order(deferred in any_deferred()) {
        let mut current = Arc::new(deferred);
        let mut post = Post::new(Arc::clone(&current));
        let mut order: BTreeMap<VnodeName, RequestNumber> = BTreeMap::new();
        for round in 0..200_u32 {
            let now = Time::ZERO + ACKNOWLEDGE_AFTER * round;
            let actions = post.due(&current, now, wall(1 << 40));
            let change = Arc::make_mut(&mut current);
            for action in actions {
                match action {
                    Action::Send { to, stamp, .. } => {
                        prop_assert!(stamp.lowest <= stamp.number);
                        let before = order.insert(to.clone(), stamp.number);
                        prop_assert!(before < Some(stamp.number), "{:?} before {:?}", before, stamp);
                        post.attempted(&to);
                        drop(change.answered(stamp.number, Ok(Bytes::new())));
                    }
                    Action::Acknowledge { to, stamp, .. } => {
                        post.attempted(&to);
                        change.acknowledged(&to, stamp.lowest);
                    }
                    Action::Run { number, .. } => {
                        post.ran(number);
                        drop(change.effect_ended(number, Ok(Bytes::new())));
                    }
                    Action::LookAgain(_) => {}
                }
            }
            let commit = CommitNumber::new(u64::from(round) + 1);
            let (CommitWanted::Yes | CommitWanted::No) = post.handed(commit, &current);
            post.committed(commit);
        }
        let left = |tries: &Tries| !tries.is_set_aside();
        prop_assert!(!current.messages().any(|(_, message)| left(&message.tries)));
        prop_assert!(!current.effects().any(|(_, effect)| left(&effect.tries)));
        let firsts = current.first_numbers();
        prop_assert!(current.targets.keys().all(|to| firsts.contains_key(to)));
    }
}

#[test]
fn a_refusal_says_whether_an_earlier_attempt_may_run() {
    let mut current = Arc::new(Deferred::default());
    let mut post = Post::default();
    let json = Bytes::from_static(b"\"add\"");
    let first = Arc::make_mut(&mut current).ask_by_name(vnode("a"), json, "tag");
    assert!(current.ends_if_refused(first));
    let [Action::Send { encoding: Encoding::Json, .. }] = &*due(&mut post, &current, 1, Time::ZERO)
    else {
        panic!("it is sent as JSON");
    };
    assert_eq!(post.earlier(&vnode("a"), first), Earlier::None);
    post.lost(&vnode("a"));
    assert_eq!(sent(&post.due(&current, Time::ZERO, wall(0))), [("a", 1, 1)]);
    assert_eq!(post.earlier(&vnode("a"), first), Earlier::MayRun, "one was lost");
    let mut post = Post::new(Arc::clone(&current));
    assert_eq!(sent(&post.due(&current, Time::ZERO, wall(0))), [("a", 1, 1)]);
    assert_eq!(post.earlier(&vnode("a"), first), Earlier::MayRun, "another owner may have sent it");
}

/// What releases wrote before there were messages in JSON.
#[test]
fn an_outbox_of_an_earlier_release_is_read_as_it_was_written() {
    let outbox = b"\x03\x02\x01\0\x04cell\x01a\0\x01x\x02\0\x04cell\x01a\x01\x03tag\x01y\0\0\x01\x04cell\x01a\0\0";
    let mut expected = Deferred::default();
    expected.send(vnode("a"), Bytes::from_static(b"x"), None);
    expected.send(vnode("a"), Bytes::from_static(b"y"), Some("tag"));
    let mut read = Deferred::default();
    read.decode_outbox(&mut Reader::new("outbox", outbox)).unwrap();
    assert_eq!(read, expected);
    let mut written = Vec::new();
    read.encode_outbox(&mut written);
    assert_eq!(written, outbox);
    let mut unknown = outbox.to_vec();
    let tag = outbox.windows(4).position(|bytes| bytes == b"\x01\x03ta").unwrap();
    unknown[tag] = 3;
    let error =
        Deferred::default().decode_outbox(&mut Reader::new("outbox", &unknown)).unwrap_err();
    assert!(error.why.contains("an encoding that this release doesn't know"), "{error}");
}
