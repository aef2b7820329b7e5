//! Random histories of a few slots over a few sessions, through the real bytes: batches, checkpoints, packs, trims,
//! replays and folds, compared with a map of what was acknowledged.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod support;

use std::collections::BTreeMap;

use holocron_protocol::{
    ids::{CommitNumber, VnodeHash},
    slot::{fold::Fold, tenure::Duty},
};
use proptest::prelude::*;
use support::world::{Budget, HOSTS, SLOTS, VNODES, World, vnode};

/// One step of a history. A step that isn't possible does nothing.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The leader assigns a slot to a session.
    Assign { slot: u16, to: usize },
    /// The leader drops the sources that aren't needed any more.
    Drop { slot: u16 },
    /// A session reads the newest epoch.
    Learn { session: usize },
    /// A session does its duty for a slot.
    Act { session: usize, slot: u16 },
    /// Every session reads the newest epoch and does its duty for a slot.
    Settle { slot: u16 },
    /// Each session that may write a vnode does.
    Write { vnode: usize },
    /// A session writes a checkpoint and trims.
    Checkpoint { session: usize, budget: Budget },
    /// A session is sealed.
    Seal { session: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let (session, slot) = (0..HOSTS, 0..SLOTS);
    prop_oneof![
        3 => (slot.clone(), session.clone()).prop_map(|(slot, to)| Step::Assign { slot, to }),
        1 => slot.clone().prop_map(|slot| Step::Drop { slot }),
        6 => session.clone().prop_map(|session| Step::Learn { session }),
        10 => (session.clone(), slot.clone()).prop_map(|(session, slot)| Step::Act { session, slot }),
        12 => (0..VNODES).prop_map(|vnode| Step::Write { vnode }),
        4 => (session.clone(), prop_oneof![Just(Budget::Nothing), Just(Budget::OneRecord), Just(Budget::Plenty)])
            .prop_map(|(session, budget)| Step::Checkpoint { session, budget }),
        3 => slot.prop_map(|slot| Step::Settle { slot }),
        1 => session.prop_map(|session| Step::Seal { session }),
    ]
}

/// The acknowledged commit number of each vnode.
type Oracle = BTreeMap<VnodeHash, CommitNumber>;

/// The replay of a history.
struct Play {
    world: World,
    oracle: Oracle,
    /// Recoveries of slots with vnodes.
    recoveries: usize,
}

impl Play {
    fn step(&mut self, step: Step) {
        let world = &mut self.world;
        match step {
            Step::Assign { slot, to } => world.assign(slot, to),
            Step::Drop { slot } => world.drop_sources(slot),
            Step::Learn { session } => world.learn(session),
            Step::Act { session, slot } => self.act(session, slot),
            Step::Settle { slot } => {
                // Twice, because a recovery may need a Release of a session that comes later in the loop.
                for session in (0..HOSTS).chain(0..HOSTS) {
                    self.world.learn(session);
                    self.act(session, slot);
                }
            }
            Step::Write { vnode: number } => {
                let name = vnode(number);
                let mut sessions = 0..HOSTS;
                if let Some(commit) = sessions.find_map(|session| world.write(session, &name)) {
                    let before = self.oracle.insert(name.hash(), commit);
                    assert_eq!(before.unwrap_or_default().next(), commit, "{name}");
                }
            }
            Step::Checkpoint { session, budget } => world.checkpoint(session, budget),
            Step::Seal { session } => world.seal(session),
        }
        self.world.check();
    }

    fn act(&mut self, session: usize, slot: u16) {
        let world = &mut self.world;
        let epoch = match world.duty(session, slot) {
            Duty::Nothing | Duty::Serve(_) => return,
            Duty::Release(epoch) => return world.release(session, slot, epoch),
            Duty::Recover(epoch) => epoch,
        };
        let Fold::Recovered(recovered) = world.recover(session, slot) else { return };
        let found: Oracle =
            recovered.index.iter().map(|(hash, place)| (hash, place.commit)).collect();
        let mut acknowledged = self.oracle.clone();
        acknowledged.retain(|hash, _| hash.slot(SLOTS).0 == slot);
        assert_eq!(found, acknowledged, "slot {slot} at session {session}");
        for (hash, place) in recovered.index.iter() {
            world.read(hash, &place);
        }
        self.recoveries += usize::from(!found.is_empty());
        world.adopt(session, slot, epoch, &recovered);
    }
}

/// Replays a history; returns the number of recoveries of slots with vnodes that it checked.
fn play(steps: &[Step]) -> usize {
    let mut play = Play { world: World::new(), oracle: Oracle::new(), recoveries: 0 };
    for &step in steps {
        play.step(step);
    }
    play.recoveries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_changes_are_recovered(steps in proptest::collection::vec(any_step(), 0..160)) {
        play(&steps);
    }
}

#[test]
fn the_histories_have_recoveries() {
    use proptest::{
        strategy::ValueTree,
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = proptest::collection::vec(any_step(), 160);
    let recoveries: usize =
        (0..50).map(|_| play(&strategy.new_tree(&mut runner).unwrap().current())).sum();
    assert!(recoveries > 100, "only {recoveries} recoveries of slots with vnodes");
}
