//! A reference recovery from the objects in the store now, as if all hosts had just crashed. Checks invariant 1 against
//! the truth, and that no needed object is missing.
//!
//! It doesn't use the library's own fold, and is slow: every journal is read from its checkpoint to its last committed
//! batch, and every tenure of the chain is taken completely.

use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::{
    format::keys,
    ids::{Epoch, PackNumber, Position, SessionId, Slot, Tenure, VnodeHash},
    state::checkpoint::{Checkpoint, Coverage},
};

use super::{
    Facts, Objects,
    invariant::{Broken, Invariant},
    log,
    page::{Entry, Version},
};

type Found = BTreeMap<VnodeHash, Version>;

/// What one journal has of each tenure.
#[derive(Debug, Default)]
struct Read {
    tenures: BTreeMap<(Slot, Epoch), Found>,
    full: BTreeSet<(Slot, Epoch)>,
    /// The tenure of the slot's next records.
    open: BTreeMap<Slot, Epoch>,
    missing: Option<String>,
}

/// Recovers these slots and compares the result with what was committed.
pub(super) fn check(facts: &Facts, slots: &BTreeSet<Slot>, objects: &Objects) -> Option<Broken> {
    let record = facts.log.newest()?;
    let mut reads: BTreeMap<SessionId, Read> = BTreeMap::new();
    for &slot in slots {
        let Some(holding) = facts.log.holding_in(record, slot) else { continue };
        let chain = log::chain(holding);
        for tenure in &chain {
            reads.entry(tenure.session).or_insert_with(|| read(facts, tenure.session, objects));
        }
        if let Some(how) = differs(facts, slot, &chain, &reads) {
            let how = format!("recovery of {slot} from {chain:?} at {}: {how}", record.epoch);
            // One slot is enough; the others usually have the same cause.
            return Some(Invariant::Recovered.broken(how));
        }
    }
    None
}

/// The difference between what was found and what was committed.
fn differs(
    facts: &Facts,
    slot: Slot,
    chain: &[Tenure],
    reads: &BTreeMap<SessionId, Read>,
) -> Option<String> {
    let mut found = Found::new();
    for tenure in chain {
        let read = &reads[&tenure.session];
        if let Some(missing) = &read.missing {
            return Some(missing.clone());
        }
        for (&hash, &version) in read.tenures.get(&(slot, tenure.epoch)).into_iter().flatten() {
            // Newest first: a newer tenure overrules older ones.
            found.entry(hash).or_insert(version);
        }
        if read.full.contains(&(slot, tenure.epoch)) {
            break;
        }
    }
    for (hash, history) in facts.truth.slot(slot) {
        let (finds, newest) = (found.remove(&hash), history.newest_version());
        if finds != newest {
            let (name, place) = (&history.name, history.place_of_newest());
            return Some(format!("{name}: finds {finds:?} instead of {newest:?}{place}"));
        }
    }
    found.first_key_value().map(|(hash, version)| format!("finds {version:?} of unknown {hash:?}"))
}

/// Reads a journal up to its last committed position.
fn read(facts: &Facts, session: SessionId, objects: &Objects) -> Read {
    let mut read = Read::default();
    let Some(journal) = facts.journals.get(&session) else { return read };
    let (checkpoint_at, low_water) = journal.checkpoint();
    let through = journal.through();
    let mut position = low_water;
    let missing = |position: Position| {
        let key = keys::journal_position(session, position);
        let gone = !objects.contains_key(&key) && !facts.deleted_outside.contains(&key);
        gone.then(|| format!("{key} is missing"))
    };
    if checkpoint_at > Position::ZERO {
        read.missing = missing(checkpoint_at);
        let page = journal.page(checkpoint_at).expect("it is committed, so it landed");
        let checkpoint = page.checkpoint.as_ref().expect("it carries a checkpoint");
        for pack in &checkpoint.packs {
            read.pack(facts, (session, pack.number), checkpoint);
        }
        read.checkpoint(checkpoint);
    }
    while position < through {
        position = position.next();
        read.missing = read.missing.take().or_else(|| missing(position));
        let page = journal.page(position).expect("it is committed, so it landed");
        for entry in &page.entries {
            read.entry(facts.slots, entry);
        }
    }
    read
}

impl Read {
    fn pack(&mut self, facts: &Facts, id: (SessionId, PackNumber), checkpoint: &Checkpoint) {
        let Some(pack) = facts.packs.pack(id.0, id.1) else {
            let missing = format!("{} is missing", keys::pack(id.0, id.1));
            self.missing.get_or_insert(missing);
            return;
        };
        for (&(slot, epoch), entries) in &pack.groups {
            let tenures = checkpoint.slots.get(&slot).map(|entry| &entry.tenures);
            // Pack entries of a tenure that the checkpoint doesn't list are void.
            if tenures.is_some_and(|tenures| tenures.iter().any(|it| it.epoch == epoch)) {
                let found = self.tenures.entry((slot, epoch)).or_default();
                for &(hash, version) in entries {
                    let newest = found.entry(hash).or_insert(version);
                    if version.commit >= newest.commit {
                        *newest = version;
                    }
                }
            }
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        for (&slot, entry) in &checkpoint.slots {
            for tenure in &entry.tenures {
                if tenure.coverage == Coverage::Full {
                    self.full.insert((slot, tenure.epoch));
                }
                if entry.released <= tenure.epoch {
                    self.open.insert(slot, tenure.epoch);
                }
            }
        }
    }

    fn entry(&mut self, slots: u16, entry: &Entry) {
        match entry {
            Entry::Adopt { slot, epoch, .. } => drop(self.open.insert(*slot, *epoch)),
            Entry::Release { slot, .. } => drop(self.open.remove(slot)),
            Entry::State(written) => {
                let slot = written.hash.slot(slots);
                if let Some(&epoch) = self.open.get(&slot) {
                    let found = self.tenures.entry((slot, epoch)).or_default();
                    found.insert(written.hash, written.version);
                }
            }
        }
    }
}
