//! A small cluster of the protocol's own functions, with a map as the store. Every step is atomic: each batch is
//! committed when it is written. Failures in between are searched by the models.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holocron_protocol::{
    checkpoint::{
        pack_writer::{self, PackWriter},
        plan::{Plan, PlanInput, Survey, TenureStatus},
    },
    epoch::record::Holding,
    format::keys,
    ids::{
        CommitNumber, Epoch, HostName, Nonce, PackNumber, Position, SessionId, Slot, Tenure,
        VnodeHash, VnodeName,
    },
    journal::{
        batch::{self, BatchBuilder, JournalObject, Seal, StateFields, StateKind},
        writer::{Carries, Writer},
    },
    slot::{
        fold::{self, Fold, Missing, Recovered},
        log::SlotLog,
        replay::{Base, JournalEnd, JournalReplay, Scope, Source},
        tenure::{self, Adopter, Duty, Submitted},
    },
    state::{
        checkpoint::{Checkpoint, Coverage},
        pack::{PackIndex, PackRef},
        place::{FileId, FileObject, Files, Origin, Place},
    },
};

/// The number of hosts. A host whose session was sealed opens a new one, which shares nothing with the old.
pub(crate) const HOSTS: usize = 3;
pub(crate) const SLOTS: u16 = 2;
pub(crate) const VNODES: usize = 7;

/// A vnode's name.
pub(crate) fn vnode(number: usize) -> VnodeName {
    VnodeName::new("t", &format!("{number}")).unwrap()
}

/// The budget of foreign bytes of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    Nothing,
    OneRecord,
    Plenty,
}

impl Budget {
    const fn len(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::OneRecord => 1,
            Self::Plenty => 1 << 20,
        }
    }
}

struct Session {
    id: SessionId,
    writer: Writer,
    files: Files,
    logs: BTreeMap<Slot, SlotLog>,
    submitted: BTreeMap<Slot, Submitted>,
    /// The newest epoch it has read.
    holdings: Vec<Holding>,
    packs: Vec<PackRef>,
    next_pack: PackNumber,
}

impl Session {
    fn open(id: SessionId, holdings: &[Holding]) -> Self {
        Self {
            id,
            writer: Writer::new(id, 1),
            files: Files::default(),
            logs: BTreeMap::new(),
            submitted: BTreeMap::new(),
            holdings: holdings.to_vec(),
            packs: Vec::new(),
            next_pack: PackNumber::new(1),
        }
    }
}

pub(crate) struct World {
    store: BTreeMap<String, Bytes>,
    epoch: Epoch,
    /// By slot, of the newest epoch.
    holdings: Vec<Holding>,
    /// By host.
    sessions: Vec<Session>,
    /// The positions of the seals of ended sessions.
    sealed: BTreeMap<SessionId, Position>,
    /// Tenures that a committed checkpoint has in full, and (`empty`) those that ended empty.
    full: BTreeSet<(Slot, Tenure)>,
    empty: BTreeSet<(Slot, Tenure)>,
    /// The files of the current reader.
    files: Files,
}

impl World {
    /// Epoch 1 assigns all slots to the first session.
    pub(crate) fn new() -> Self {
        let epoch = Epoch::new(1);
        let owner = Tenure { epoch, session: session_id(0) };
        let holdings = vec![Holding { owner: Some(owner), sources: Vec::new() }; SLOTS.into()];
        let sessions = (0..HOSTS).map(|number| Session::open(session_id(number), &holdings));
        let (store, full, empty) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let sessions = sessions.collect();
        let (sealed, files) = (BTreeMap::new(), Files::default());
        Self { store, epoch, holdings, sessions, sealed, full, empty, files }
    }

    /// The next epoch assigns a slot to a host's session, unless that owns it.
    pub(crate) fn assign(&mut self, slot: u16, to: usize) {
        let session = self.sessions[to].id;
        let holding = &mut self.holdings[usize::from(slot)];
        if holding.is_owned_by(session) {
            return;
        }
        self.epoch = self.epoch.next();
        let before = holding.owner.replace(Tenure { epoch: self.epoch, session });
        holding.sources.insert(0, before.unwrap());
    }

    /// The next epoch drops the sources that the newest full checkpoint makes void, and those that ended empty.
    pub(crate) fn drop_sources(&mut self, slot: u16) {
        let holding = &mut self.holdings[usize::from(slot)];
        let chain: Vec<Tenure> = holding.owner.iter().chain(&holding.sources).copied().collect();
        let settled = chain.iter().find(|&&tenure| self.full.contains(&(Slot(slot), tenure)));
        let settled = settled.map_or(Epoch::ZERO, |tenure| tenure.epoch);
        holding.sources.retain(|source| {
            source.epoch >= settled && !self.empty.contains(&(Slot(slot), *source))
        });
        self.epoch = self.epoch.next();
    }

    pub(crate) fn learn(&mut self, session: usize) {
        self.sessions[session].holdings.clone_from(&self.holdings);
        let session = &mut self.sessions[session];
        session
            .logs
            .retain(|slot, log| log.keep_listed(session.id, &session.holdings[slot.index()]));
    }

    pub(crate) fn duty(&self, session: usize, slot: u16) -> Duty {
        let session = &self.sessions[session];
        let submitted = session.submitted.get(&Slot(slot)).copied().unwrap_or_default();
        tenure::duty(session.id, Slot(slot), &session.holdings[usize::from(slot)], submitted)
    }

    pub(crate) fn release(&mut self, session: usize, slot: u16, epoch: Epoch) {
        let mut batch = BatchBuilder::default();
        batch.release(Slot(slot), epoch);
        self.commit(session, batch, Carries::Records);
        let session = &mut self.sessions[session];
        session.submitted.entry(Slot(slot)).or_default().released = epoch;
        session.logs.entry(Slot(slot)).or_default().release(epoch).unwrap();
    }

    pub(crate) fn recover(&mut self, session: usize, slot: u16) -> Fold {
        let reader = &self.sessions[session];
        let holding = reader.holdings[usize::from(slot)].clone();
        let submitted = reader.submitted.get(&Slot(slot)).copied().unwrap_or_default();
        let reader = Adopter { tenure: holding.owner.unwrap(), submitted };
        let me = reader.tenure.session;
        // The session's own journal is read like any other, from its bytes.
        let mut readings = BTreeMap::new();
        loop {
            let mut journals: BTreeMap<SessionId, Source<'_>> = BTreeMap::new();
            for (&id, reading) in &readings {
                let reading: &JournalReplay = reading;
                journals.insert(id, reading.source(Slot(slot)));
            }
            match fold::fold(&reader, &holding.sources, &journals).unwrap() {
                Fold::Missing(Missing::Journal(id)) => {
                    let reading = self.read_journal(id, slot);
                    readings.insert(id, reading);
                }
                fold @ Fold::Missing(Missing::End(tenure)) => {
                    assert_ne!(tenure.session, me, "its own Release is committed");
                    return fold;
                }
                fold @ Fold::Recovered(_) => return fold,
            }
        }
    }

    /// Reads a journal from its bytes: the range by the newest header, the checkpoint it names, its packs, the tail.
    fn read_journal(&mut self, id: SessionId, slot: u16) -> JournalReplay {
        let prefix = keys::journal(id);
        let keys: Vec<String> =
            self.store.range(prefix.clone()..).map(|(key, _)| key.clone()).collect();
        let mut keys = keys.into_iter().filter(|key| key.starts_with(&prefix));
        let newest = keys.next_back().map(|key| batch::decode(&key, &self.store[&key]).unwrap());
        let (end, through, low_water, checkpoint_at) = match newest {
            None => (JournalEnd::Live, Position::ZERO, Position::ZERO, Position::ZERO),
            Some(JournalObject::Seal(seal)) => {
                let position = self.sealed[&id];
                let through = position.previous().unwrap();
                (JournalEnd::Sealed(position), through, seal.low_water, seal.checkpoint_at)
            }
            Some(JournalObject::Batch(batch)) => {
                let header = batch.header;
                (JournalEnd::Live, header.position, header.low_water, header.checkpoint_at)
            }
            Some(JournalObject::Opening(_)) => panic!("this world writes no openings"),
        };
        let scope = Scope { slots: BTreeSet::from([Slot(slot)]), slot_count: SLOTS };
        let checkpoint =
            (checkpoint_at > Position::ZERO).then(|| self.checkpoint_of(id, checkpoint_at));
        let packs = checkpoint.iter().flat_map(|checkpoint| &checkpoint.packs).map(|pack| {
            let key = keys::pack(id, pack.number);
            let tail = self.store[&key].slice(pack.index_offset as usize..);
            PackIndex::decode(&key, pack, &tail).unwrap()
        });
        let packs: Vec<PackIndex> = packs.collect();
        let base = checkpoint.as_ref().map(|checkpoint| Base { checkpoint, packs: &packs });
        assert_eq!(base.map_or(Position::ZERO, |base| base.checkpoint.low_water), low_water);
        let mut reading = JournalReplay::new(id, scope, base, &mut self.files).unwrap();
        let mut position = low_water.next();
        while position <= through {
            reading.batch(&self.batch_at(id, position), &mut self.files).unwrap();
            position = position.next();
        }
        if let JournalEnd::Sealed(position) = end {
            reading.seal(position);
        }
        reading
    }

    fn batch_at(&self, id: SessionId, position: Position) -> batch::Batch {
        let key = keys::journal_position(id, position);
        let object = self.store.get(&key).unwrap_or_else(|| panic!("{key} is missing"));
        match batch::decode(&key, object).unwrap() {
            JournalObject::Batch(batch) => batch,
            other @ (JournalObject::Seal(_) | JournalObject::Opening(_)) => panic!("{other:?}"),
        }
    }

    fn checkpoint_of(&self, id: SessionId, position: Position) -> Checkpoint {
        let batch = self.batch_at(id, position);
        let contents = batch.records().filter_map(|record| match record.unwrap().1 {
            batch::Record::Checkpoint(content) => Some(content),
            batch::Record::State(_)
            | batch::Record::Adopt { .. }
            | batch::Record::Release { .. } => None,
        });
        Checkpoint::decode(&contents.last().unwrap()).unwrap()
    }

    pub(crate) fn adopt(&mut self, session: usize, slot: u16, epoch: Epoch, recovered: &Recovered) {
        let mut batch = BatchBuilder::default();
        batch.adopt(Slot(slot), epoch, &recovered.sources);
        self.commit(session, batch, Carries::Records);
        for &tenure in &recovered.empty {
            self.empty.insert((Slot(slot), tenure));
        }
        let session = &mut self.sessions[session];
        session.submitted.entry(Slot(slot)).or_default().adopted = epoch;
        // The reader's file numbers become the session's.
        let index = recovered.index.iter().map(|(hash, place)| {
            (hash, Place { file: session.files.number(self.files.id(place.file)), ..place })
        });
        let index = holocron_protocol::state::index::SlotIndex::from_sorted(index);
        session.logs.entry(Slot(slot)).or_default().adopt(epoch, index).unwrap();
    }

    /// Writes a vnode if the session may serve its slot and isn't fenced; returns its commit number.
    pub(crate) fn write(&mut self, session: usize, name: &VnodeName) -> Option<CommitNumber> {
        let slot = name.hash().slot(SLOTS);
        let Duty::Serve(epoch) = self.duty(session, slot.0) else { return None };
        let index = &self.sessions[session].logs[&slot].tenure(epoch).unwrap().entries;
        let commit = index.get(name.hash()).map_or(CommitNumber::ZERO, |place| place.commit).next();
        let mut batch = BatchBuilder::default();
        let kind = if commit.get().is_multiple_of(3) { StateKind::Delete } else { StateKind::Put };
        let fields =
            StateFields { kind, hash: name.hash(), commit, wake_at: 0, name, envelope: b"state" };
        let range = batch.state(fields);
        let position = self.commit(session, batch, Carries::Records);
        let session = &mut self.sessions[session];
        let key = keys::journal_position(session.id, position);
        let id = FileId { session: session.id, object: FileObject::Journal(position) };
        let bytes = self.store[&key].slice(range.clone());
        let file = session.files.number(id);
        let (hash, place) = Place::of_record(file, range.start, &bytes, Origin::Own).unwrap();
        session.logs.get_mut(&slot).unwrap().write(hash, &place).unwrap();
        Some(commit)
    }

    /// A complete checkpoint; then everything that it allows to delete is deleted.
    pub(crate) fn checkpoint(&mut self, number: usize, budget: Budget) {
        let session = &mut self.sessions[number];
        if session.writer.committed() == Position::ZERO {
            return;
        }
        let mut survey = Survey::default();
        for log in session.logs.values() {
            for tenure in log.tenures() {
                survey.tenure(tenure, status(log, tenure.epoch));
            }
        }
        let input = PlanInput {
            session: session.id,
            low_water: session.writer.committed(),
            slots: session.logs.iter().map(|(&slot, log)| (slot, log.checkpoint_entry())).collect(),
            packs: session.packs.clone(),
            copy_len_max: budget.len(),
        };
        let mut plan = Plan::new(input, &survey, &session.files);
        for (&slot, log) in &session.logs {
            for tenure in log.tenures() {
                plan.tenure(slot, tenure, status(log, tenure.epoch), &session.files);
            }
        }
        let (written, places) = self.pack(number, &plan);
        let session = &mut self.sessions[number];
        let submitted = &session.submitted;
        let content = plan.content(&written, |slot| submitted.get(&slot).and_then(|it| it.open()));
        let low_water = content.low_water;
        let mut batch = BatchBuilder::default();
        batch.checkpoint(&content.encode());
        self.commit(number, batch, Carries::Checkpoint { low_water });

        let session = &mut self.sessions[number];
        for (copy, place) in plan.copies().iter().zip(&places) {
            session.logs.get_mut(&copy.slot).unwrap().copied(copy, place);
        }
        for (slot, epoch) in plan.settled(&content) {
            session.logs.get_mut(&slot).unwrap().settled(epoch);
            self.full.insert((slot, Tenure { epoch, session: session.id }));
        }
        session.packs = content.packs;
        self.trim(number, low_water);
    }

    fn pack(&mut self, number: usize, plan: &Plan) -> (Vec<PackRef>, Vec<Place>) {
        let session = &mut self.sessions[number];
        let reads = pack_writer::reads(plan.copies());
        let fetched: Vec<Bytes> = reads
            .iter()
            .map(|read| {
                let key = session.files.id(read.file).key();
                let object = self.store.get(&key).unwrap_or_else(|| panic!("{key} is missing"));
                object.slice(read.range.start as usize..read.range.end as usize)
            })
            .collect();
        let mut packing = PackWriter::new(session.id, session.next_pack);
        for copy in plan.copies() {
            let bytes = pack_writer::bytes_of(copy, &reads, &fetched).unwrap();
            assert!(packing.fits(copy), "these are small");
            packing.add(copy, &bytes, &mut session.files).unwrap();
        }
        if let Some((pack, object)) = packing.cut(Nonce::new(1)) {
            self.store.insert(keys::pack(session.id, pack.number), object);
            session.next_pack = pack.number.next();
        }
        packing.finish()
    }

    /// Deletes the batches that the checkpoint covers, unless an index points into them, and the packs that no
    /// checkpoint names.
    fn trim(&mut self, number: usize, low_water: Position) {
        let id = self.sessions[number].id;
        let listed = |holding: &Holding| holding.newest_source_of(id).is_some();
        let used = self.used_by_others(number);
        let mut position = Position::new(1);
        while position <= low_water {
            if !used.contains(&FileId { session: id, object: FileObject::Journal(position) }) {
                self.store.remove(&keys::journal_position(id, position));
            }
            position = position.next();
        }
        let session = &self.sessions[number];
        if session.holdings.iter().any(listed) {
            return;
        }
        let named: BTreeSet<String> =
            session.packs.iter().map(|pack| keys::pack(id, pack.number)).collect();
        let prefix = keys::packs(id);
        self.store.retain(|key, _| !key.starts_with(&prefix) || named.contains(key));
    }

    /// A host that misses a foreign batch would read its source again; here the batch is kept until it was copied.
    fn used_by_others(&self, number: usize) -> BTreeSet<FileId> {
        let others = self.sessions.iter().enumerate().filter(|(other, _)| *other != number);
        let places = others.flat_map(|(_, session)| {
            let tenures = session.logs.values().flat_map(SlotLog::tenures);
            tenures
                .flat_map(|tenure| tenure.entries.iter())
                .map(|(_, place)| session.files.id(place.file))
        });
        places.collect()
    }

    /// Seals a host's session; the host opens a new one.
    pub(crate) fn seal(&mut self, host: usize) {
        let opened = self.sealed.len() + HOSTS;
        let session = Session::open(session_id(opened), &self.holdings);
        let Session { id, writer, .. } = std::mem::replace(&mut self.sessions[host], session);
        let position = writer.committed().next();
        let seal = Seal {
            by: HostName::new("h").unwrap(),
            epoch: self.epoch,
            low_water: writer.low_water(),
            checkpoint_at: writer.checkpoint_at(),
        };
        self.sealed.insert(id, position);
        self.store.insert(keys::journal_position(id, position), seal.encode(Nonce::new(2)));
    }

    /// Reads a vnode by its place.
    pub(crate) fn read(&self, hash: VnodeHash, place: &Place) {
        let key = self.files.id(place.file).key();
        let object = self.store.get(&key).unwrap_or_else(|| panic!("{key} is missing"));
        let bytes = object.slice(place.offset as usize..(place.offset + place.length) as usize);
        place.open(&key, hash, &bytes).unwrap();
    }

    fn commit(&mut self, session: usize, batch: BatchBuilder, carries: Carries) -> Position {
        let session = &mut self.sessions[session];
        let header = session.writer.submit(carries);
        let key = keys::journal_position(session.id, header.position);
        self.store.insert(key, batch.finish(header, Nonce::new(1)));
        session.writer.won(header.position);
        header.position
    }

    /// The rules that hold after every step.
    pub(crate) fn check(&self) {
        for slot in 0..SLOTS {
            let holds = self.sessions.iter().filter(|session| {
                let log = session.logs.get(&Slot(slot));
                log.is_some_and(|log| log.open().is_some())
            });
            assert!(holds.count() <= 1, "two sessions hold slot {slot} open");
        }
        for session in &self.sessions {
            for pack in &session.packs {
                let key = keys::pack(session.id, pack.number);
                let length = self.store.get(&key).map(Bytes::len);
                assert_eq!(length, Some(pack.length as usize), "{key}");
            }
            for (slot, log) in &session.logs {
                for tenure in log.tenures() {
                    let whole = tenure.coverage == Coverage::Full;
                    assert!(
                        !whole || tenure.entries.foreign() == 0,
                        "{slot} is `full` and has foreign places"
                    );
                    for (hash, place) in tenure.entries.iter() {
                        let key = session.files.id(place.file).key();
                        let object =
                            self.store.get(&key).unwrap_or_else(|| panic!("{key} is missing"));
                        let end = (place.offset + place.length) as usize;
                        place.open(&key, hash, &object.slice(place.offset as usize..end)).unwrap();
                    }
                }
            }
        }
    }
}

fn session_id(number: usize) -> SessionId {
    SessionId::new(number as u128 + 1)
}

fn status(log: &SlotLog, epoch: Epoch) -> TenureStatus {
    match log.open() {
        Some(open) if open.epoch == epoch => TenureStatus::Open,
        Some(_) | None => TenureStatus::Released,
    }
}
