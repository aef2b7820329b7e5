//! A queue against a model: any steps, checked at each.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{limits::DELIVERIES_DEFAULT, tests::Line, *};

#[derive(Clone, Copy, Debug)]
enum Step {
    Push { delay_ms: Option<u64>, key: Option<&'static str> },
    Pull { max: u32, visibility_ms: u64 },
    Ack(prop::sample::Index),
    Nack(prop::sample::Index, Option<u64>),
    Extend(prop::sample::Index, u64),
    Requeue(prop::sample::Index),
    Discard(prop::sample::Index),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let delay = || prop_oneof![2 => Just(None), 1 => (0_u64..5_000).prop_map(Some)];
    let key = prop_oneof![Just(None), Just(Some("x")), Just(Some("y"))];
    prop_oneof![
        4 => (delay(), key).prop_map(|(delay_ms, key)| Step::Push { delay_ms, key }),
        5 => (1_u32..5, 1_u64..5_000).prop_map(|(max, visibility_ms)| Step::Pull { max, visibility_ms }),
        2 => index().prop_map(Step::Ack),
        2 => (index(), delay()).prop_map(|(at, delay_ms)| Step::Nack(at, delay_ms)),
        1 => (index(), 1_u64..5_000).prop_map(|(at, ms)| Step::Extend(at, ms)),
        1 => index().prop_map(Step::Requeue),
        1 => index().prop_map(Step::Discard),
        5 => (1_u64..4_000).prop_map(Step::Pass),
    ]
}

/// What a user of the queue knows of a message.
#[derive(Debug)]
struct Known {
    key: Option<&'static str>,
    hidden_until: u64,
    deliveries: u32,
}

/// What its users know of a queue.
#[derive(Default)]
struct Model {
    now: u64,
    /// All that were pushed and are neither acknowledged nor discarded.
    known: BTreeMap<u64, Known>,
    /// All deliveries: id and receipt.
    deliveries: Vec<(u64, u64)>,
}

impl Model {
    /// Checks a pull, and notes it.
    fn pulled(&mut self, deliveries: &[Delivery], visibility_ms: u64) {
        assert!(deliveries.is_sorted_by_key(|delivery| delivery.id), "in order");
        for Delivery { id, receipt, delivery, .. } in deliveries {
            assert!(self.deliveries.iter().all(|(_, known)| known < receipt), "receipts grow");
            let known = self.known.get_mut(id).expect("it is neither acknowledged nor discarded");
            assert!(known.hidden_until <= self.now, "{id} was delivered before its time");
            known.deliveries += 1;
            assert_eq!(known.deliveries, *delivery);
            assert!(*delivery <= DELIVERIES_DEFAULT, "{id} should be a dead letter");
            known.hidden_until = self.now + visibility_ms;
            self.deliveries.push((*id, *receipt));
        }
        for (id, of) in deliveries.iter().filter_map(|of| Some((of.id, of.key.as_deref()?))) {
            let earlier = self.known.range(..id).filter(|(_, known)| known.key == Some(of));
            let mut living = earlier.filter(|(_, known)| {
                known.deliveries < DELIVERIES_DEFAULT || known.hidden_until > self.now
            });
            assert_eq!(living.next().map(|(id, _)| *id), None, "{id} overtook one of its key");
        }
    }

    fn pick(&self, at: prop::sample::Index) -> Option<(u64, u64)> {
        (!self.deliveries.is_empty()).then(|| self.deliveries[at.index(self.deliveries.len())])
    }

    /// Whether a receipt is that of the newest delivery of its message.
    fn is_newest(&self, id: u64, receipt: u64) -> bool {
        self.deliveries
            .iter()
            .rfind(|(known, _)| *known == id)
            .is_some_and(|(_, last)| *last == receipt)
    }

    fn check(&self, line: &mut Line) {
        let stats = line.stats();
        let all = stats.ready + stats.behind + stats.in_flight + stats.delayed + stats.dead;
        assert_eq!(all, self.known.len(), "every message is in one condition: {stats:?}");
        for id in line.dead() {
            assert_eq!(self.known[&id].deliveries, DELIVERIES_DEFAULT, "{id} died early");
        }
    }

    fn take(&mut self, line: &mut Line, step: Step) {
        match step {
            Step::Push { delay_ms, key } => {
                let id = line.push("body", delay_ms, key).unwrap();
                let hidden_until = self.now + delay_ms.unwrap_or(0);
                self.known.insert(id, Known { key, hidden_until, deliveries: 0 });
            }
            Step::Pull { max, visibility_ms } => {
                let pulled = line.pull(max, visibility_ms);
                assert!(pulled.len() <= max as usize);
                self.pulled(&pulled, visibility_ms);
            }
            Step::Ack(at) => {
                let Some((id, receipt)) = self.pick(at) else { return };
                if line.settle(QueueCommand::ack(id, receipt)).is_ok() {
                    assert!(self.is_newest(id, receipt));
                    assert!(self.known.remove(&id).is_some(), "{id} was acknowledged twice");
                }
            }
            Step::Nack(at, delay_ms) => {
                let Some((id, receipt)) = self.pick(at) else { return };
                if line.settle(QueueCommand::nack(id, receipt, delay_ms)).is_ok() {
                    assert!(self.is_newest(id, receipt));
                    let known = self.known.get_mut(&id).unwrap();
                    let is_last = known.deliveries == DELIVERIES_DEFAULT;
                    known.hidden_until = self.now + if is_last { 0 } else { delay_ms.unwrap_or(0) };
                }
            }
            Step::Extend(at, ms) => {
                let Some((id, receipt)) = self.pick(at) else { return };
                if line.settle(QueueCommand::extend(id, receipt, ms)).is_ok() {
                    assert!(self.is_newest(id, receipt));
                    self.known.get_mut(&id).unwrap().hidden_until = self.now + ms;
                }
            }
            Step::Requeue(at) => self.of_dead(line, at, Self::requeue),
            Step::Discard(at) => self.of_dead(line, at, Self::discard),
            Step::Pass(ms) => {
                line.pass(ms);
                self.now += ms;
            }
        }
    }

    fn of_dead(
        &mut self,
        line: &mut Line,
        at: prop::sample::Index,
        act: fn(&mut Self, &mut Line, u64),
    ) {
        let dead = line.dead();
        if !dead.is_empty() {
            act(self, line, dead[at.index(dead.len())]);
        }
    }

    fn requeue(&mut self, line: &mut Line, id: u64) {
        assert_eq!(line.count(QueueCommand::requeue(&[id])), 1);
        let known = self.known.get_mut(&id).unwrap();
        (known.deliveries, known.hidden_until) = (0, self.now);
    }

    fn discard(&mut self, line: &mut Line, id: u64) {
        assert_eq!(line.count(QueueCommand::discard(&[id])), 1);
        self.known.remove(&id);
    }
}

proptest! {
    #[test]
    fn no_message_is_lost_early_or_counted_twice(steps in prop::collection::vec(step(), 1..150)) {
        let (mut line, mut model) = (Line::new(), Model::default());
        for step in steps {
            model.take(&mut line, step);
            model.check(&mut line);
        }
        // In the end each message that is left can be had, one way or the other.
        line.pass(60_000);
        let left = line.stats();
        prop_assert_eq!(left.ready + left.behind + left.dead, model.known.len());
    }
}
