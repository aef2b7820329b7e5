//! Everything that ever landed, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holocron::{Answer, Call};
use holocron_protocol::{
    epoch::record::SessionState,
    format::{
        cluster::Cluster,
        keys::{self, Key},
        segment::{EpochSegments, SegmentLen},
    },
    ids::{DomainId, Epoch, PackNumber, Position, SLOTS_DEFAULT, Segment, SessionId, Slot, Tenure},
    state::{checkpoint::Coverage, pack::PackRef},
};

use super::{
    Event, Objects, answers,
    invariant::{Broken, Invariant},
    journal::{Journal, SegmentState},
    log::{self, Change, Log},
    needs::Needs,
    packs::Packs,
    page::Entry,
    recover,
    tenures::Tenures,
    truth::Truth,
};

/// Everything that was ever in the store of one domain.
#[derive(Debug)]
pub(super) struct Facts {
    domain: DomainId,
    pub(super) slots: u16,
    segments: SegmentLen,
    epoch_segments: EpochSegments,
    pub(super) journals: BTreeMap<SessionId, Journal>,
    pub(super) packs: Packs,
    pub(super) log: Log,
    pub(super) truth: Truth,
    tenures: Tenures,
    needs: Needs,
    /// Objects deleted from outside.
    pub(super) deleted_outside: BTreeSet<String>,
}

impl Facts {
    /// Nothing yet, of this domain.
    pub(super) fn of(domain: DomainId) -> Self {
        Self {
            domain,
            slots: SLOTS_DEFAULT,
            segments: SegmentLen::JOURNAL,
            epoch_segments: EpochSegments::new(
                holocron_protocol::format::cluster::EPOCH_SEGMENT_LEN_DEFAULT.into(),
            ),
            journals: BTreeMap::new(),
            packs: Packs::default(),
            log: Log::of(domain),
            truth: Truth::default(),
            tenures: Tenures::default(),
            needs: Needs::default(),
            deleted_outside: BTreeSet::new(),
        }
    }

    /// Takes what was created in the home domain's store and concerns every domain: the cluster's numbers, and epochs.
    /// `log` is what is in that store, and `objects` what is in this domain's.
    pub(super) fn follow(
        &mut self,
        key: &str,
        body: &Bytes,
        log: &Objects,
        objects: &Objects,
    ) -> Vec<Broken> {
        let mut broken = Vec::new();
        match keys::parse(key) {
            Some(Key::Cluster) => self.cluster(key, body, &mut broken),
            Some(Key::Epoch(epoch)) => {
                let segment_state = self.segment_state_of_epoch(epoch, log);
                // The log itself is checked once, with the home domain.
                let change = self.log.landed((key, epoch), body, segment_state, &mut Vec::new());
                if let Some(change) = change {
                    self.epoch(&change, objects, &mut broken);
                }
            }
            _ => {}
        }
        broken
    }

    fn cluster(&mut self, key: &str, body: &Bytes, broken: &mut Vec<Broken>) {
        match Cluster::decode(key, body) {
            Ok(cluster) => {
                self.slots = cluster.slots;
                self.segments = cluster.journal_segments();
                self.epoch_segments = cluster.epoch_segments();
            }
            Err(malformed) => broken.push(Invariant::OneWinner.broken(malformed)),
        }
    }

    /// An object was created.
    pub(super) fn created(&mut self, event: Event<'_>, body: &Bytes) -> Vec<Broken> {
        let mut broken = Vec::new();
        let (key, objects) = (event.key, event.objects);
        match keys::parse(key) {
            Some(Key::Cluster) => self.cluster(key, body, &mut broken),
            Some(Key::Journal(session, position)) => {
                self.journal_landed((key, session, position), body, objects, &mut broken);
            }
            Some(Key::Epoch(epoch)) => {
                let segment_state = self.segment_state_of_epoch(epoch, objects);
                let change = self.log.landed((key, epoch), body, segment_state, &mut broken);
                if let Some(change) = change {
                    self.epoch(&change, objects, &mut broken);
                }
            }
            Some(Key::TrimMark(session, segment)) => {
                let before = segment.previous().map(|before| keys::trim_mark(session, before));
                contiguous(before, objects, &mut broken);
                let journal = self.journals.entry(session).or_default();
                journal.marked(segment, self.segments, &mut broken);
            }
            Some(Key::EndMark(session)) if !self.log.detached(session) => {
                let how = format!("no epoch says that {session:?} is detached");
                broken.push(Invariant::LowWaterFirst.broken(how));
            }
            Some(Key::EndMark(_)) => {}
            Some(Key::EpochMark(segment)) => self.epochs_marked(segment, objects, &mut broken),
            Some(Key::Domain | Key::Kind(..)) => {}
            Some(Key::LeaderHint | Key::HostHint(_) | Key::Pack(..)) => {
                broken.push(Invariant::OneWinner.broken("created, but this kind of object is put"));
            }
            None if key.starts_with(keys::PROBE) => {}
            None => broken.push(Invariant::OneWinner.broken("created under a foreign key")),
        }
        broken
    }

    /// An object was put: a hint, or a pack under a name never used before.
    pub(super) fn put(&mut self, event: Event<'_>, body: &Bytes) -> Vec<Broken> {
        let mut broken = Vec::new();
        match keys::parse(event.key) {
            Some(Key::LeaderHint | Key::HostHint(_)) => {}
            Some(Key::Pack(session, number)) => {
                let at = (event.key, session, number);
                self.packs.landed(at, body, &self.truth, &mut broken);
            }
            None if event.key.starts_with(keys::PROBE) => {}
            _ => {
                broken.push(Invariant::OneWinner.broken("put, but this kind of object is created"));
            }
        }
        broken
    }

    /// An object was deleted.
    pub(super) fn deleted(&mut self, event: Event<'_>) -> Vec<Broken> {
        let mut broken = Vec::new();
        let (key, objects) = (event.key, event.objects);
        match keys::parse(key) {
            Some(Key::Journal(session, position)) => {
                let segment_state = self.segment_state(session, position, objects);
                let journal = self.journals.entry(session).or_default();
                journal.deleted(position, segment_state, &mut broken);
            }
            Some(Key::TrimMark(..) | Key::EndMark(_) | Key::EpochMark(_)) => {
                broken.push(Invariant::Immortal.broken("a mark is deleted"));
            }
            Some(Key::Epoch(epoch)) => {
                let segment_state = self.segment_state_of_epoch(epoch, objects);
                self.log.deleted(epoch, segment_state, &mut broken);
            }
            Some(Key::Pack(session, number)) => {
                self.pack_deleted(session, number, objects, &mut broken);
            }
            Some(Key::Kind(..)) => {
                broken.push(Invariant::OneWinner.broken("the record of a kind is deleted"));
            }
            Some(Key::Cluster | Key::Domain) => {
                broken.push(Invariant::OneWinner.broken("the cluster's own object is deleted"));
            }
            Some(Key::LeaderHint | Key::HostHint(_)) => {}
            None if key.starts_with(keys::PROBE) => {}
            None => broken.push(Invariant::OneWinner.broken("a foreign key is deleted")),
        }
        broken
    }

    /// A host sent an answer.
    pub(super) fn answered(&self, call: &Call, answer: &Answer) -> Option<Broken> {
        answers::check(&self.truth, self.slots, call, answer)
    }

    fn segment_state(
        &self,
        session: SessionId,
        position: Position,
        objects: &Objects,
    ) -> SegmentState {
        let mark = keys::trim_mark(session, self.segments.segment(position));
        if objects.contains_key(&keys::end_mark(session)) {
            SegmentState::Ended
        } else if objects.contains_key(&mark) {
            SegmentState::Trimmed
        } else {
            SegmentState::Live
        }
    }

    fn segment_state_of_epoch(&self, epoch: Epoch, objects: &Objects) -> SegmentState {
        let mark = keys::epoch_mark(self.epoch_segments.segment(epoch));
        if objects.contains_key(&mark) { SegmentState::Trimmed } else { SegmentState::Live }
    }

    fn journal_landed(
        &mut self,
        at: (&str, SessionId, Position),
        body: &Bytes,
        objects: &Objects,
        broken: &mut Vec<Broken>,
    ) {
        let (key, session, position) = at;
        let segment_state = self.segment_state(session, position, objects);
        let journal = self.journals.entry(session).or_default();
        let committed = journal.landed((key, position), body, segment_state, broken);
        let sealed = journal.seal() == Some(position);
        let mut slots = BTreeSet::new();
        for position in committed {
            slots.extend(self.committed((session, position), objects, broken));
        }
        if sealed {
            self.tenures.sealed(session);
            slots.extend(self.needed_from(session));
        }
        broken.extend(recover::check(self, &slots, objects));
    }

    /// A batch is committed. Returns the slots whose recovery reads something else now.
    fn committed(
        &mut self,
        (session, position): (SessionId, Position),
        objects: &Objects,
        broken: &mut Vec<Broken>,
    ) -> BTreeSet<Slot> {
        let mut slots = BTreeSet::new();
        let Some(page) =
            self.journals.get(&session).and_then(|journal| journal.page(position)).cloned()
        else {
            return slots;
        };
        for entry in &page.entries {
            match entry {
                Entry::State(written) => {
                    let slot = written.hash.slot(self.slots);
                    broken.extend(self.tenures.written(session, slot));
                    self.truth.committed((session, position), slot, written, broken);
                }
                Entry::Adopt { slot, epoch, sources } => {
                    let tenure = Tenure { epoch: *epoch, session };
                    broken.extend(self.tenures.adopted(*slot, tenure, sources, &self.log));
                    slots.insert(*slot);
                }
                Entry::Release { slot, epoch } => {
                    let at = (session, position);
                    broken.extend(self.tenures.released(at, *slot, *epoch, &self.log));
                }
            }
        }
        if let Some(checkpoint) = &page.checkpoint {
            let deleted_outside =
                |pack: &&PackRef| self.deleted_outside.contains(&keys::pack(session, pack.number));
            let named = checkpoint.packs.iter().filter(|pack| !deleted_outside(pack));
            self.packs.named(session, named, objects, broken);
            for (&slot, entry) in &checkpoint.slots {
                let full = entry.tenures.iter().filter(|it| it.coverage == Coverage::Full);
                for tenure in full {
                    self.tenures.full(slot, Tenure { epoch: tenure.epoch, session });
                }
            }
            slots.extend(self.needed_from(session));
        }
        slots
    }

    /// The slots whose recovery reads a session's journal.
    fn needed_from(&self, session: SessionId) -> BTreeSet<Slot> {
        let Some(record) = self.log.newest() else { return BTreeSet::new() };
        let needs = |slot: &Slot| {
            let holding = self.log.holding_in(record, *slot);
            holding.is_some_and(|it| log::chain(it).iter().any(|it| it.session == session))
        };
        (0..self.slots).map(Slot).filter(needs).collect()
    }

    /// An epoch is the newest one now.
    fn epoch(&mut self, change: &Change, objects: &Objects, broken: &mut Vec<Broken>) {
        let sessions = change.now.sessions.iter();
        for (session, entry) in sessions.filter(|(_, entry)| entry.domain == self.domain) {
            let (SessionState::Sealed(Some(said)) | SessionState::Detached(said)) = entry.state
            else {
                continue;
            };
            let sealed = self.journals.get(session).and_then(Journal::seal);
            if sealed != Some(said) {
                let how = format!(
                    "the epoch says that {session:?} is sealed at {said}; seal: {sealed:?}"
                );
                broken.push(Invariant::BelowSeal.broken(how));
            }
        }
        self.needs.landed(self.domain, change, broken);
        let mut slots = BTreeSet::new();
        for (slot, before, now) in change.slots() {
            broken.extend(self.tenures.dropped(slot, &before, &now));
            slots.insert(slot);
        }
        broken.extend(recover::check(self, &slots, objects));
    }

    fn epochs_marked(&self, segment: Segment, objects: &Objects, broken: &mut Vec<Broken>) {
        contiguous(segment.previous().map(keys::epoch_mark), objects, broken);
        let last = self.epoch_segments.last(segment);
        let newest = self.log.newest().map_or(Epoch::ZERO, |record| record.epoch);
        if last.get() + holocron_protocol::epoch::log::EPOCHS_KEPT_MIN > newest.get() {
            let how = format!("{segment} is marked, but {newest} is the newest");
            broken.push(Invariant::LowWaterFirst.broken(how));
        }
    }

    fn pack_deleted(
        &self,
        session: SessionId,
        number: PackNumber,
        objects: &Objects,
        broken: &mut Vec<Broken>,
    ) {
        if objects.contains_key(&keys::end_mark(session)) {
            return;
        }
        let Some(journal) = self.journals.get(&session) else { return };
        let (newest, _) = journal.checkpoint();
        if journal.names(newest, number) {
            let how = format!("pack {number} is deleted; the checkpoint at {newest} needs it");
            broken.push(Invariant::PacksExist.broken(how));
        }
        // Readers of a released slot use the checkpoint before the Release.
        for (slot, released) in self.releases_listed(session) {
            let at = journal.page(released).map(|page| page.header.checkpoint_at);
            if let Some(at) = at.filter(|&at| journal.names(at, number)) {
                let how = format!(
                    "pack {number} of {session:?} is deleted; the checkpoint at {at} names it, and {slot} was released at {released}"
                );
                broken.push(Invariant::PacksExist.broken(how));
            }
        }
    }

    /// The slots that a session has released while the newest epoch lists it as their source, and the positions of the
    /// Releases.
    fn releases_listed(&self, session: SessionId) -> Vec<(Slot, Position)> {
        let Some(record) = self.log.newest() else { return Vec::new() };
        let released = |slot: Slot| {
            let holding = self.log.holding_in(record, slot)?;
            let reader = holding.owner?;
            let source = holding.newest_source_of(session)?;
            Some((slot, self.tenures.release_of(slot, source, reader)?))
        };
        (0..self.slots).map(Slot).filter_map(released).collect()
    }
}

/// Marks are created in order.
fn contiguous(before: Option<String>, objects: &Objects, broken: &mut Vec<Broken>) {
    if let Some(before) = before.filter(|before| !objects.contains_key(before)) {
        broken.push(Invariant::Immortal.broken(format!("created before {before}")));
    }
}
