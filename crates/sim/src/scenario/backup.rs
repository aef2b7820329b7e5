//! Cuts that are taken all the time under load and faults, in a third of the seeds. The order in which batches landed in the
//! store shows whether each is one moment. The first is restored, and a cluster begins with it in a world of its own.
//!
//! There, the relays show whether it is one moment: a message that was crossed out must have arrived, and one that has arrived must
//! have been sent. The tallies show whether it has everything that was acknowledged before it began.

use core::{fmt, time::Duration};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use holocron::{
    Clock, Host, Random,
    backup::{BackupError, Original, Snapshot, restore},
};
use holocron_store::{Memory, Store};

use super::{Story, domain};
use crate::{
    chance::Chance,
    cluster::WALL_BEGINS_MS,
    fault::Fault,
    host_clock::HostClock,
    watch::invariant::Invariant,
    workload::{self, lock, relay, tally},
    world::World,
};

/// The node that takes the backup.
const NODE: &str = "backup";
/// At most so many cuts are taken before the one that is restored.
const CUTS_BEFORE: u64 = 8;
/// How long reading the copy may take: relays have a minute to finish what they were about.
const READ_WITHIN: Duration = Duration::from_secs(240);
/// The wall clock of the host that serves the copy is later than all others were.
const LATER_MS: u64 = 600_000;

/// What is known of the backup.
#[derive(Default)]
pub(super) struct Backup(Arc<Mutex<Option<Taken>>>);

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").finish_non_exhaustive()
    }
}

/// By tally, the least and the most that it counts.
type Bounds = BTreeMap<u32, (u64, u64)>;

/// A backup, restored.
struct Taken {
    store: Arc<Memory>,
    /// By tally: what it counted at least when the backup began, and at most when it was taken.
    tallies: Bounds,
}

impl Story {
    /// Whether this run has a backup. No cut is taken of a cluster with further domains.
    pub(super) fn has_backup(&self) -> bool {
        let seed = self.scenario.seed;
        let drawn = Chance::new(seed ^ 0xbac0_0bac).below(3) == 0;
        let lost = self.scenario.faults.contains(Fault::Lost);
        drawn && !lost && domain::drawn(seed).is_none()
    }

    /// Starts a process that takes a backup at some moment of the load.
    pub(super) fn begin_backup(&mut self) -> Backup {
        let backup = Backup::default();
        if !self.has_backup() {
            return backup;
        }
        let chance = Chance::new(self.scenario.seed ^ 0xbac0_57a7);
        let world = &self.cluster.world;
        let original = Original::new(Arc::new(world.store(NODE)))
            .network(Arc::new(world.network(NODE)))
            .random(Random::from_seed(self.scenario.seed ^ 0xbac0));
        let (work, taken) = (Arc::clone(&self.work), Arc::clone(&backup.0));
        let (shelf, load) = (world.shelf.clone(), self.scenario.load);
        drop(self.cluster.world.start(NODE, async move {
            let original = original.clock(Arc::new(HostClock::new(WALL_BEGINS_MS)));
            // Most cuts are taken when nothing else is copied, so that many are.
            let mut restored_at = chance.below(CUTS_BEFORE);
            // Then what was kept for the cuts must go.
            while !work.is_over() {
                tokio::time::sleep(chance.between(Duration::ZERO, load / 16)).await;
                let least = tally::known(&work);
                let taken_now = match Snapshot::take(&original).await {
                    Ok(snapshot) => snapshot,
                    Err(error) => {
                        work.trace.note(format_args!("no cut: {error}"));
                        continue;
                    }
                };
                work.counters().cuts += 1;
                if let Some(why) = shelf.is_no_moment(taken_now.cut()) {
                    work.trace.violate(format_args!("{}: {why}", Invariant::CutIsOneMoment));
                }
                if restored_at > 0 {
                    restored_at -= 1;
                    continue;
                }
                if lock(&taken).is_some() {
                    continue;
                }
                let most = tally::known(&work);
                match copy(&taken_now).await {
                    Ok(store) => {
                        work.counters().backups += 1;
                        *lock(&taken) = Some(Taken { store, tallies: bounds(&least, &most) });
                    }
                    Err(BackupError::Unsound(findings)) => work.trace.violate(format_args!(
                        "{}: the copy is not sound: {findings:?}",
                        Invariant::CutIsOneMoment
                    )),
                    Err(error) => work.trace.note(format_args!("no backup: {error}")),
                }
            }
        }));
        backup
    }

    /// Starts a host on the copy, and compares what it has with what was known.
    pub(super) fn check_backup(&mut self, backup: &Backup) {
        self.cluster.world.crash(NODE);
        let Some(taken) = lock(&backup.0).take() else { return };
        let mut world = World::new(self.scenario.seed ^ 0xbac0_c0b1);
        let builder = Host::builder("memory://")
            .store(taken.store as Arc<dyn Store>)
            .network(Arc::new(world.network("z")))
            .random(Random::from_seed(self.scenario.seed ^ 0xbac1))
            .name("z")
            .listen("z:0")
            .settings(self.cluster.settings().clone());
        let mut builder = workload::kinds(builder);
        let sleepers = self.work.outside.as_ref().map(|outside| outside.sleepers());
        if sleepers.is_some() {
            let outside = Arc::new(relay::Outside::new(self.scenario.seed ^ 0xbac2));
            builder = outside.equip(builder);
        }
        let (trace, tallies) = (self.trace.clone(), taken.tallies);
        let reading = world.start("z", async move {
            let clock = HostClock::new(WALL_BEGINS_MS + LATER_MS);
            let host = match builder.clock(Arc::new(clock) as Arc<dyn Clock>).start().await {
                Ok(host) => host,
                Err(error) => {
                    trace.violate(format_args!("{}: {error}", Invariant::CutIsOneMoment));
                    return;
                }
            };
            tally::check_copy(&host.client(), &trace, &tallies).await;
            if let Some(sleepers) = sleepers {
                relay::check_copy(&host.client(), &trace, sleepers).await;
            }
        });
        if !world.run_until(&reading, READ_WITHIN) {
            self.trace.violate(format_args!(
                "{}: not everything could be read within {READ_WITHIN:?}",
                Invariant::CutIsOneMoment
            ));
        }
    }
}

/// Restores a snapshot.
async fn copy(snapshot: &Snapshot) -> Result<Arc<Memory>, BackupError> {
    let store = Arc::new(Memory::default());
    restore(snapshot, Arc::clone(&store) as Arc<dyn Store>, Arc::default()).await?;
    Ok(store)
}

/// By tally, what it counted at least and at most at some moment between two looks.
fn bounds(before: &Bounds, after: &Bounds) -> Bounds {
    let of = |(number, (_, most)): (&u32, &(u64, u64))| {
        (*number, (before.get(number).map_or(0, |(least, _)| *least), *most))
    };
    after.iter().map(of).collect()
}
