//! A fixture for the checkers' tests: a store that is changed by hand, step by step, correctly or not.
//!
//! There is one slot, with every vnode in it, and segments have four positions. Epochs are written as the chain of the
//! slot: its owner, then its sources.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holocron_protocol::{
    epoch::record::{
        DomainEntry, EpochRecord, Handover, Holding, HostEntry, HostState, Leader, RecordDigest,
        SessionEntry, SessionState, SlotTable,
    },
    epoch::{shards::Shards, versions::KindVersions},
    format::{cluster::Cluster, keys},
    ids::{
        ClientId, ClusterId, CommitNumber, DomainId, Epoch, HostName, Nonce, PackNumber, Position,
        RequestNumber, Segment, SessionId, Slot, Tenure, VnodeName,
    },
    journal::batch::{
        BatchBuilder, BatchHeader, Mark, Opening, Seal, StateFields, StateKind, append_state,
    },
    request::{
        envelope::{self, Head},
        window::{Outcome, Recorded, Request, RequestId, Window, WindowLimits},
    },
    state::{
        checkpoint::{Checkpoint, Coverage, SlotEntry, TenureEntry},
        pack::{PackBuilder, PackIndex, PackRef},
        place::FileNumber,
    },
};

use super::{Event, Objects, Watch};
use crate::trace::Trace;

pub(super) const A: SessionId = SessionId::new(0xa);
pub(super) const B: SessionId = SessionId::new(0xb);
pub(super) const SLOT: Slot = Slot(0);

/// A store and its watch.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) watch: Watch,
    trace: Trace,
    objects: Objects,
    headers: BTreeMap<SessionId, BatchHeader>,
    sealed: BTreeMap<SessionId, Position>,
    detached: BTreeSet<SessionId>,
    record: Option<(EpochRecord, RecordDigest)>,
}

pub(super) fn tenure(session: SessionId, epoch: u64) -> Tenure {
    Tenure { session, epoch: Epoch::new(epoch) }
}

pub(super) fn vnode(key: &str) -> VnodeName {
    VnodeName::new("t", key).unwrap()
}

pub(super) fn host(session: SessionId) -> HostName {
    HostName::new(&format!("{:x}", session.get())).unwrap()
}

/// A request of a client that has no other pending requests.
pub(super) fn request(number: u64) -> Request {
    let number = RequestNumber::new(number);
    let id = RequestId { client: ClientId::new(7), number };
    Request { id, lowest: number, base: CommitNumber::ZERO }
}

/// An envelope with one recorded request, answered `ok`.
pub(super) fn answered(number: u64, commit: u64) -> Vec<u8> {
    let (mut window, mut out) = (Window::default(), Vec::new());
    let outcome = Outcome::Reply(Bytes::from_static(b"ok"));
    let recorded = Recorded { outcome, commit: CommitNumber::new(commit) };
    window.record(&request(number), recorded, &WindowLimits::default());
    let head = Head { schema: 1, window: &window, deferred: None };
    envelope::encode(&mut out, head, |_| Ok(()), 10).unwrap();
    out
}

impl Stage {
    /// A cluster without epochs, with opened sessions A and B.
    pub(super) fn new() -> Self {
        let trace = Trace::default();
        let mut stage = Self {
            watch: Watch::new(trace.clone()),
            trace,
            objects: Objects::new(),
            headers: BTreeMap::new(),
            sealed: BTreeMap::new(),
            detached: BTreeSet::new(),
            record: None,
        };
        let cluster = Cluster {
            slots: 1,
            journal_segment_len: 4,
            epoch_segment_len: 4,
            ..Cluster::new(ClusterId::new(1))
        };
        stage.create(keys::CLUSTER, &cluster.encode(Nonce::new(1)));
        for session in [A, B] {
            let (domain, cluster) = (DomainId::HOME, cluster.cluster);
            let opening = Opening { session, host: host(session), domain, cluster };
            let key = keys::journal_position(session, Position::ZERO);
            stage.create(&key, &opening.encode(Nonce::new(1)));
        }
        stage
    }

    /// Like [`Self::new`]; epoch 1 assigns the slot to A, and A's first batch adopts it.
    pub(super) fn held() -> Self {
        let mut stage = Self::new();
        stage.epoch(&[tenure(A, 1)]);
        stage.batch(A, |batch| batch.adopt(SLOT, Epoch::new(1), &[]));
        stage
    }

    pub(super) fn create(&mut self, key: &str, body: &Bytes) {
        self.objects.insert(key.to_owned(), body.clone());
        self.watch.created(
            Event { place: super::Place::Home, node: "n", key, objects: &self.objects },
            body,
        );
    }

    pub(super) fn put(&mut self, key: &str, body: &Bytes) {
        self.objects.insert(key.to_owned(), body.clone());
        self.watch
            .put(Event { place: super::Place::Home, node: "n", key, objects: &self.objects }, body);
    }

    pub(super) fn delete(&mut self, key: &str) {
        assert!(self.objects.remove(key).is_some(), "{key} doesn't exist");
        self.watch.deleted(Event {
            place: super::Place::Home,
            node: "n",
            key,
            objects: &self.objects,
        });
    }

    pub(super) fn delete_outside(&mut self, key: &str) {
        assert!(self.objects.remove(key).is_some(), "{key} doesn't exist");
        self.watch.deleted_outside(key);
    }

    pub(super) fn get(&self, key: &str) -> Bytes {
        self.objects[key].clone()
    }

    /// The correct header of a session's next batch.
    pub(super) fn next(&self, session: SessionId) -> BatchHeader {
        let last = self.headers.get(&session);
        let zero = Position::ZERO;
        let committed = last.map_or(zero, |last| last.position);
        BatchHeader {
            session,
            position: committed.next(),
            committed,
            low_water: last.map_or(zero, |last| last.low_water),
            checkpoint_at: last.map_or(zero, |last| last.checkpoint_at),
        }
    }

    /// The next batch of a session lands.
    pub(super) fn batch(&mut self, session: SessionId, fill: impl FnOnce(&mut BatchBuilder)) {
        self.batch_with(self.next(session), fill);
    }

    /// A batch with any header lands.
    pub(super) fn batch_with(&mut self, header: BatchHeader, fill: impl FnOnce(&mut BatchBuilder)) {
        let mut batch = BatchBuilder::default();
        fill(&mut batch);
        self.headers.insert(header.session, header);
        let key = keys::journal_position(header.session, header.position);
        self.create(&key, &batch.finish(header, Nonce::new(1)));
    }

    /// The next batch of a session writes these vnodes, with these commit numbers.
    pub(super) fn write(&mut self, session: SessionId, vnodes: &[(&str, u64)]) {
        self.batch(session, |batch| {
            for &(key, commit) in vnodes {
                state(batch, key, commit, &answered(commit, commit));
            }
        });
    }

    /// The next batch of a session is a checkpoint of everything before it.
    pub(super) fn checkpoint(&mut self, session: SessionId, packs: Vec<PackRef>, slot: SlotEntry) {
        let before = self.next(session);
        let (low_water, checkpoint_at) = (before.committed, before.position);
        let header = BatchHeader { low_water, checkpoint_at, ..before };
        let slots = BTreeMap::from([(SLOT, slot)]);
        let content = Checkpoint { low_water, packs, slots }.encode();
        self.batch_with(header, |batch| batch.checkpoint(&content));
    }

    /// A pack of a session is put, with these vnodes under that epoch.
    pub(super) fn pack(
        &mut self,
        (session, number): (SessionId, u64),
        epoch: u64,
        vnodes: &[(&str, u64)],
    ) -> PackRef {
        let mut builder = PackBuilder::new(session, PackNumber::new(number), FileNumber::default());
        let mut names: Vec<_> = vnodes.iter().map(|&(key, commit)| (vnode(key), commit)).collect();
        names.sort_by_key(|(name, _)| name.hash());
        for (name, commit) in names {
            let mut record = Vec::new();
            append_state(&mut record, fields(&name, commit, &answered(commit, commit)));
            builder.add(SLOT, Epoch::new(epoch), &record).unwrap();
        }
        let key = keys::pack(session, PackNumber::new(number));
        let (object, _) = builder.finish(Nonce::new(1));
        self.put(&key, &object);
        PackIndex::of_object(&key, &object).unwrap().0
    }

    /// A session is sealed right after its last batch.
    pub(super) fn seal(&mut self, session: SessionId) {
        self.seal_at(session, self.next(session).position);
    }

    /// A seal with the content of the last header lands at any position.
    pub(super) fn seal_at(&mut self, session: SessionId, position: Position) {
        let BatchHeader { low_water, checkpoint_at, .. } = self.next(session);
        let seal = Seal { by: host(B), epoch: Epoch::new(1), low_water, checkpoint_at };
        self.sealed.insert(session, position);
        let key = keys::journal_position(session, position);
        self.create(&key, &seal.encode(Nonce::new(2)));
    }

    pub(super) fn trim_mark(&mut self, session: SessionId, segment: u64) {
        let mark = Mark { by: host(session) }.encode(Nonce::new(3));
        self.create(&keys::trim_mark(session, Segment::new(segment)), &mark);
    }

    pub(super) fn end_mark(&mut self, session: SessionId) {
        let mark = Mark { by: host(session) }.encode(Nonce::new(3));
        self.create(&keys::end_mark(session), &mark);
    }

    /// The session is detached from the next epoch on.
    pub(super) fn detach(&mut self, session: SessionId) {
        self.detached.insert(session);
    }

    /// The next epoch has this chain for the slot, its owner first.
    pub(super) fn epoch(&mut self, chain: &[Tenure]) {
        let record = self.next_epoch(chain);
        let body = record.encode(Nonce::new(1));
        self.create(&keys::epoch(record.epoch), &body);
        self.record = Some((record, RecordDigest::of(&body)));
    }

    /// The next epoch, not yet written.
    pub(super) fn next_epoch(&self, chain: &[Tenure]) -> EpochRecord {
        let (mut hosts, mut sessions) = (BTreeMap::new(), BTreeMap::new());
        for session in [A, B] {
            let state = match self.sealed.get(&session) {
                Some(&at) if self.detached.contains(&session) => SessionState::Detached(at),
                Some(&at) => SessionState::Sealed(Some(at)),
                None => SessionState::Open,
            };
            let (host, domain) = (host(session), DomainId::HOME);
            sessions.insert(session, SessionEntry { host: host.clone(), domain, state });
            if state == SessionState::Open {
                let sessions = BTreeMap::from([(domain, session)]);
                let (address, state) = ("h:1".to_owned(), HostState::Active);
                hosts.insert(
                    host,
                    HostEntry {
                        address,
                        sessions,
                        state,
                        weight: 1,
                        zone: None,
                        versions: KindVersions::default(),
                    },
                );
            }
        }
        let holding = Holding {
            owner: chain.first().copied(),
            sources: chain[chain.len().min(1)..].to_vec(),
        };
        let home = DomainEntry::home(SlotTable::new(&[holding]));
        EpochRecord {
            epoch: self.record.as_ref().map_or(Epoch::new(1), |(record, _)| record.epoch.next()),
            previous: self.record.as_ref().map(|(_, digest)| *digest),
            leader: Leader { host: host(A), session: A, address: "h:1".to_owned() },
            handover: Handover::Stays,
            reason: "a test".to_owned(),
            wall_ms: 1,
            slot_count: 1,
            hosts,
            sessions,
            domains: BTreeMap::from([(DomainId::HOME, home)]),
            shards: Shards::default(),
        }
    }

    /// The numbers of the violated invariants, each once.
    pub(super) fn broken(&self) -> Vec<u8> {
        let number = |line: &String| {
            let (_, rest) = line.split_once("invariant ").expect("a violation names its invariant");
            rest.split(' ').next().and_then(|number| number.parse().ok()).expect("by number")
        };
        let broken: BTreeSet<u8> = self.trace.violations().iter().map(number).collect();
        broken.into_iter().collect()
    }

    /// There is no violation so far.
    pub(super) fn assert_clean(&self) {
        assert_eq!(self.trace.violations(), Vec::<String>::new());
    }

    /// There is a violation of this invariant.
    pub(super) fn assert_breaks(&self, invariant: u8) {
        let said = self.trace.violations();
        assert!(
            self.broken().contains(&invariant),
            "expected a violation of {invariant}: {said:#?}"
        );
    }
}

fn fields<'a>(name: &'a VnodeName, commit: u64, envelope: &'a [u8]) -> StateFields<'a> {
    StateFields {
        kind: StateKind::Put,
        hash: name.hash(),
        commit: CommitNumber::new(commit),
        wake_at: 0,
        name,
        envelope,
    }
}

/// Adds a vnode's record to a batch.
pub(super) fn state(batch: &mut BatchBuilder, key: &str, commit: u64, envelope: &[u8]) {
    let name = vnode(key);
    batch.state(fields(&name, commit, envelope));
}

/// A checkpoint's entry of the slot: one tenure.
pub(super) fn entry(epoch: u64, coverage: Coverage) -> SlotEntry {
    let tenure = TenureEntry { epoch: Epoch::new(epoch), coverage };
    SlotEntry { released: Epoch::ZERO, tenures: vec![tenure] }
}
