//! Watchers: callers that wait until a vnode commits something newer than they have seen.
//!
//! A watcher names a commit number. If the vnode's newest commit is larger, it is answered with that; else it waits here, and
//! is answered with the next commit, or is told at its deadline that there was none, and comes again. However many commits a
//! watcher misses, it gets the newest.
//!
//! What is kept here of a vnode outlasts its time in memory: a watcher that comes again waits without the vnode, because
//! nothing can have been committed meanwhile. So a vnode that is only watched leaves memory like any other.
//!
//! Invariants:
//!
//! * A watcher waits only while the vnode's newest commit isn't above the number that it named.
//! * Everything here of a vnode is of one tenure. With its slot it goes.
//! * Watchers are bounded: [`VNODE_MAX`] of a vnode, [`ALL_MAX`] in total; each waits until its deadline at most.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use crate::{
    ids::{CommitNumber, Epoch, Slot, VnodeHash},
    planted,
    time::Time,
};

/// Most watchers of one vnode that wait.
pub const VNODE_MAX: usize = 10_000;
/// Most watchers of a session that wait.
pub const ALL_MAX: usize = 100_000;
/// Longest time that a watcher waits; then it comes again.
pub const HOLD_MAX: Duration = Duration::from_secs(30);
/// How long the commit number of a vnode is kept after its last watcher left. One that comes again within this time waits
/// without the vnode.
pub const KEEP: Duration = Duration::from_secs(5);

/// Which vnode is watched, and under which tenure it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The vnode.
    pub vnode: VnodeHash,
    /// Its slot.
    pub slot: Slot,
    /// The tenure.
    pub tenure: Epoch,
}

/// A watcher that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watcher<T> {
    /// It has seen the commits up to this one.
    pub after: CommitNumber,
    /// How long it waits; [`HOLD_MAX`] at most.
    pub hold: Duration,
    /// What it is answered through.
    pub caller: T,
}

/// What becomes of a watcher that arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<T> {
    /// It waits.
    Waits,
    /// The vnode has committed something newer: answer with that.
    Newer(T),
    /// Too many wait already, or the tenure is over.
    Refused(T),
}

/// The watchers of a session that wait.
#[derive(Debug)]
pub struct Watchers<T> {
    vnodes: BTreeMap<VnodeHash, OneVnode<T>>,
    /// When a watcher, or what is kept of a vnode, is to be looked at.
    deadlines: BTreeSet<(Time, VnodeHash, u64)>,
    waiting: usize,
    /// Numbers watchers.
    last: u64,
}

#[derive(Debug)]
struct OneVnode<T> {
    slot: Slot,
    tenure: Epoch,
    /// The newest commit; it may still be in flight.
    commit: CommitNumber,
    waiting: BTreeMap<u64, Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    after: CommitNumber,
    until: Time,
    caller: T,
}

impl<T> Default for Watchers<T> {
    fn default() -> Self {
        Self { vnodes: BTreeMap::new(), deadlines: BTreeSet::new(), waiting: 0, last: 0 }
    }
}

impl<T> Watchers<T> {
    /// How many wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nothing is kept of any vnode.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vnodes.is_empty()
    }

    /// A watcher arrives at a vnode whose newest commit, which may be in flight, has this number.
    pub fn arrive(
        &mut self,
        now: Time,
        of: Watched,
        commit: CommitNumber,
        watcher: Watcher<T>,
    ) -> Arrival<T> {
        if planted::is_newer(commit > watcher.after) {
            return Arrival::Newer(watcher.caller);
        }
        if self.vnodes.get(&of.vnode).is_some_and(|kept| kept.tenure < of.tenure) {
            // Dropped: their callers hear that and come again.
            drop(self.remove(of.vnode));
        }
        let refused = self
            .vnodes
            .get(&of.vnode)
            .is_some_and(|kept| kept.tenure > of.tenure || kept.waiting.len() >= VNODE_MAX);
        if refused || self.waiting >= ALL_MAX {
            return Arrival::Refused(watcher.caller);
        }
        let Watched { vnode, slot, tenure } = of;
        let kept = self.vnodes.entry(vnode).or_insert_with(|| OneVnode {
            slot,
            tenure,
            commit,
            waiting: BTreeMap::new(),
        });
        assert_eq!(kept.commit, commit, "{vnode:?}: a commit was not noted");
        self.last += 1;
        let until = now + watcher.hold.min(HOLD_MAX);
        let waiting = Waiting { after: watcher.after, until, caller: watcher.caller };
        kept.waiting.insert(self.last, waiting);
        self.deadlines.insert((until, vnode, self.last));
        self.waiting += 1;
        Arrival::Waits
    }

    /// The newest commit of a vnode that isn't in memory, if it is known: it was watched a moment ago, under this tenure.
    #[must_use]
    pub fn newest(&self, vnode: VnodeHash, tenure: Epoch) -> Option<CommitNumber> {
        let kept = self.vnodes.get(&vnode)?;
        (kept.tenure == tenure).then_some(kept.commit)
    }

    /// A vnode commits: those that it has something newer for. Nobody, if its tenure is over.
    #[must_use]
    pub fn commits(&mut self, of: Watched, commit: CommitNumber) -> Vec<T> {
        let vnode = of.vnode;
        let kept = self.vnodes.get_mut(&vnode).filter(|kept| kept.tenure == of.tenure);
        let Some(kept) = kept else { return Vec::new() };
        assert!(kept.commit < commit, "{vnode:?}: {commit:?} after {:?}", kept.commit);
        kept.commit = commit;
        // Someone who names a number that the vnode has not reached goes on waiting.
        let (newer, rest) = core::mem::take(&mut kept.waiting)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, waiting)| waiting.after < commit);
        kept.waiting = rest;
        self.waiting -= newer.len();
        if kept.waiting.is_empty() {
            self.vnodes.remove(&vnode);
        }
        for (number, waiting) in &newer {
            self.deadlines.remove(&(waiting.until, vnode, *number));
        }
        newer.into_values().map(|waiting| waiting.caller).collect()
    }

    /// Those whose time is over, with the number that each has named.
    #[must_use]
    pub fn expire(&mut self, now: Time) -> Vec<(CommitNumber, T)> {
        let mut over = Vec::new();
        while let Some(&(at, vnode, number)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let Some(kept) = self.vnodes.get_mut(&vnode) else { continue };
            if let Some(waiting) = kept.waiting.remove(&number) {
                self.waiting -= 1;
                over.push((waiting.after, waiting.caller));
                self.deadlines.insert((now + KEEP, vnode, 0));
            } else if kept.waiting.is_empty() {
                self.vnodes.remove(&vnode);
            }
        }
        over
    }

    /// Slots are released: the tenures before these epochs have ended. Returns who waited for a vnode of them.
    #[must_use]
    pub fn release(&mut self, released: &BTreeMap<Slot, Epoch>) -> Vec<T> {
        let ended =
            |kept: &OneVnode<T>| released.get(&kept.slot).is_some_and(|epoch| kept.tenure < *epoch);
        let gone: Vec<VnodeHash> =
            self.vnodes.iter().filter(|(_, kept)| ended(kept)).map(|(vnode, _)| *vnode).collect();
        gone.into_iter().flat_map(|vnode| self.remove(vnode)).collect()
    }

    /// All that wait, because the session is over.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<T> {
        let vnodes = core::mem::take(self).vnodes.into_values();
        vnodes.flat_map(|kept| kept.waiting.into_values()).map(|waiting| waiting.caller).collect()
    }

    fn remove(&mut self, vnode: VnodeHash) -> Vec<T> {
        let Some(kept) = self.vnodes.remove(&vnode) else { return Vec::new() };
        self.waiting -= kept.waiting.len();
        for (number, waiting) in &kept.waiting {
            self.deadlines.remove(&(waiting.until, vnode, *number));
        }
        kept.waiting.into_values().map(|waiting| waiting.caller).collect()
    }
}

#[cfg(test)]
mod tests;
