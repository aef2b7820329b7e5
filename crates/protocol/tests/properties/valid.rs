//! Objects as the library writes them; each is read back and compared when it is made.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::{
    control::hints::{HostHint, LeaderHint},
    deferred::Deferred,
    epoch::{
        draft::Draft,
        record::{EpochRecord, HostEntry, HostState, Leader, RecordDigest},
    },
    format::{cluster::Cluster, keys},
    ids::{
        ClientId, ClusterId, CommitNumber, DomainId, Epoch, HostName, Nonce, PackNumber, Position,
        RequestNumber, SessionId, Slot, Tenure, VnodeName,
    },
    journal::batch::{
        self, BatchBuilder, BatchHeader, JournalObject, Opening, Seal, StateFields, StateKind,
    },
    request::{
        envelope::{self, Envelope, Head},
        window::{
            Admission, Outcome, Recorded, Request, RequestId, Window, WindowLimits, WindowSize,
        },
    },
    state::{
        checkpoint::{Checkpoint, Coverage, SlotEntry, TenureEntry},
        pack::{PackBuilder, PackIndex, PackRef},
        place::FileNumber,
    },
    time::WallTime,
};
use proptest::{collection::vec, prelude::*, sample::select};

fn bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..len_max).prop_map(Bytes::from)
}

fn host_name() -> impl Strategy<Value = HostName> {
    "[a-z0-9_-][a-z0-9._-]{0,62}".prop_map(|name| HostName::new(&name).expect("it is valid"))
}

fn nonce() -> impl Strategy<Value = Nonce> {
    any::<u128>().prop_map(Nonce::new)
}

/// Numbers of all lengths.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn vnode() -> impl Strategy<Value = VnodeName> {
    ("[a-z]{1,8}", "\\PC{1,12}")
        .prop_map(|(kind, key)| VnodeName::new(&kind, &key).expect("it is valid"))
}

pub(crate) fn seal() -> impl Strategy<Value = Bytes> {
    (nonce(), host_name(), number(), number(), number()).prop_map(
        |(nonce, by, epoch, low_water, checkpoint_at)| {
            let seal = Seal {
                by,
                epoch: Epoch::new(epoch),
                low_water: Position::new(low_water),
                checkpoint_at: Position::new(checkpoint_at),
            };
            let object = seal.encode(nonce);
            let read = batch::decode("key", &object);
            assert!(matches!(read, Ok(JournalObject::Seal(read)) if read == seal));
            object
        },
    )
}

pub(crate) fn opening() -> impl Strategy<Value = Bytes> {
    (nonce(), any::<u128>(), host_name(), any::<u16>(), any::<u128>()).prop_map(
        |(nonce, session, host, domain, cluster)| {
            let opening = Opening {
                session: SessionId::new(session),
                host,
                domain: DomainId(domain),
                cluster: ClusterId::new(cluster),
            };
            let object = opening.encode(nonce);
            assert_eq!(Opening::decode("key", &object), Ok(opening));
            object
        },
    )
}

#[derive(Clone, Debug)]
enum Entry {
    State(VnodeName, StateKind, u64, u64, Bytes),
    Adopt(u16, u64, Vec<(u64, u128)>),
    Release(u16, u64),
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = select(vec![StateKind::Put, StateKind::Delta, StateKind::Delete]);
    let sources = vec((number(), any::<u128>()), 0..9);
    prop_oneof![
        3 => (vnode(), kind, number(), number(), envelope_or_not())
            .prop_map(|(name, kind, commit, wake, state)| Entry::State(name, kind, commit, wake, state)),
        1 => (any::<u16>(), number(), sources).prop_map(|(slot, epoch, sources)| Entry::Adopt(slot, epoch, sources)),
        1 => (any::<u16>(), number()).prop_map(|(slot, epoch)| Entry::Release(slot, epoch)),
    ]
}

fn envelope_or_not() -> impl Strategy<Value = Bytes> {
    prop_oneof![envelope(), bytes(40)]
}

fn append(builder: &mut BatchBuilder, entry: &Entry) {
    match entry {
        Entry::State(name, kind, commit, wake_at, envelope) => {
            builder.state(StateFields {
                kind: *kind,
                hash: name.hash(),
                commit: CommitNumber::new(*commit),
                wake_at: *wake_at,
                name,
                envelope,
            });
        }
        Entry::Adopt(slot, epoch, sources) => {
            let sources: Vec<Tenure> = sources
                .iter()
                .map(|&(epoch, session)| Tenure {
                    epoch: Epoch::new(epoch),
                    session: SessionId::new(session),
                })
                .collect();
            builder.adopt(Slot(*slot), Epoch::new(*epoch), &sources);
        }
        Entry::Release(slot, epoch) => builder.release(Slot(*slot), Epoch::new(*epoch)),
    }
}

pub(crate) fn batch() -> impl Strategy<Value = Bytes> {
    let checkpoint = proptest::option::of(checkpoint());
    (nonce(), any::<u128>(), number(), vec(entry(), 0..8), checkpoint).prop_map(
        |(nonce, session, position, entries, checkpoint)| {
            let position = Position::new(position.max(1));
            let before = position.previous().expect("it is at least 1");
            let header = BatchHeader {
                session: SessionId::new(session),
                position,
                committed: before,
                low_water: Position::new(before.get() / 2),
                checkpoint_at: if checkpoint.is_some() { position } else { before },
            };
            let mut builder = BatchBuilder::default();
            entries.iter().for_each(|entry| append(&mut builder, entry));
            checkpoint.iter().for_each(|content| builder.checkpoint(content));
            let object = builder.finish(header, nonce);
            let key = keys::journal_position(header.session, position);
            match batch::decode(&key, &object) {
                Ok(JournalObject::Batch(read)) => {
                    assert_eq!(read.header, header);
                    assert_eq!(
                        read.records().count(),
                        entries.len() + usize::from(checkpoint.is_some())
                    );
                }
                other => panic!("{other:?}"),
            }
            object
        },
    )
}

pub(crate) fn checkpoint() -> impl Strategy<Value = Bytes> {
    let coverage = select(vec![Coverage::Part, Coverage::Full]);
    let tenures = proptest::collection::btree_map(number(), coverage, 0..4);
    let entry = (number(), tenures).prop_map(|(released, tenures)| SlotEntry {
        released: Epoch::new(released),
        tenures: tenures
            .into_iter()
            .map(|(epoch, coverage)| TenureEntry { epoch: Epoch::new(epoch), coverage })
            .collect(),
    });
    let slots = vec((0..200_u16, 1..40_u16, entry), 0..6);
    let packs = proptest::collection::btree_map(number(), any::<(u32, u32)>(), 0..5);
    (number(), packs, slots).prop_map(|(low_water, packs, runs)| {
        let mut slots = BTreeMap::new();
        for (first, len, entry) in runs {
            slots.extend((first..first + len).map(|slot| (Slot(slot), entry.clone())));
        }
        let packs = packs
            .into_iter()
            .map(|(number, (length, index_offset))| PackRef {
                number: PackNumber::new(number),
                length,
                index_offset,
            })
            .collect();
        let checkpoint = Checkpoint { low_water: Position::new(low_water), packs, slots };
        let content = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&content), Ok(checkpoint));
        content.into()
    })
}

fn window() -> impl Strategy<Value = Window> {
    let outcome = prop_oneof![
        bytes(20).prop_map(Outcome::Reply),
        Just(Outcome::Panicked),
        "\\PC{0,9}".prop_map(Outcome::Rejected),
    ];
    let limits = WindowLimits::exactly(WindowSize { answers: 6, clients: 3, bytes: 300 });
    vec((0..5_u128, 1..400_u64, 0..200_u64, outcome), 0..12).prop_map(move |steps| {
        let mut window = Window::default();
        let mut commit = CommitNumber::new(1);
        for (client, number, ahead, outcome) in steps {
            commit = CommitNumber::new(commit.get() + ahead);
            let id =
                RequestId { client: ClientId::new(client), number: RequestNumber::new(number) };
            let request = Request { id, lowest: id.number, base: commit };
            if window.admit(&request) == Admission::Run {
                window.record(&request, Recorded { outcome, commit }, &limits);
            }
        }
        window
    })
}

fn deferred() -> impl Strategy<Value = Deferred> {
    let asked = (any::<bool>(), "[a-z]{1,4}", 0..1_000_u64, bytes(9));
    vec(asked, 0..4).prop_map(|asked| {
        let mut deferred = Deferred::default();
        for (tagged, name, at, content) in asked {
            let (time, every) = (WallTime::from_millis(at), Duration::from_millis(at / 2));
            let to = VnodeName::new("kind", &name).expect("it is valid");
            let tag = tagged.then_some(&*name);
            match at % 4 {
                3 => drop(deferred.ask_by_name(to, content, &name)),
                0 => deferred.set_timer(&name, time, every, content),
                1 => drop(deferred.effect(content, tag)),
                _ => {
                    let number = deferred.send(to, content, tag);
                    deferred.refused(number, time, "refused");
                }
            }
        }
        deferred
    })
}

pub(crate) fn envelope() -> impl Strategy<Value = Bytes> {
    let parts = (any::<u32>(), window(), deferred(), proptest::option::of(bytes(30)));
    parts.prop_map(|(schema, window, deferred, state)| {
        let mut out = Vec::new();
        let schema = if state.is_some() { schema } else { 0 };
        match &state {
            None => envelope::encode_tombstone(&mut out, &window, Some(&deferred)),
            Some(state) => {
                let append = |out: &mut Vec<u8>| {
                    out.extend_from_slice(state);
                    Ok(())
                };
                let head = Head { schema, window: &window, deferred: Some(&deferred) };
                envelope::encode(&mut out, head, append, 30).expect("it is valid");
            }
        }
        let out = Bytes::from(out);
        let envelope = Envelope { schema, window, deferred, state };
        assert_eq!(Envelope::decode("envelope", &out), Ok(envelope));
        out
    })
}

pub(crate) fn pack() -> impl Strategy<Value = Bytes> {
    let vnode = (0..4_u16, 1..4_u64, vnode(), 0..1_u64 << 48, number(), bytes(30));
    (nonce(), any::<u128>(), number(), vec(vnode, 0..9)).prop_map(
        |(nonce, session, number, vnodes)| {
            let mut records = BTreeMap::new();
            for (slot, epoch, name, commit, wake_at, envelope) in vnodes {
                let mut record = Vec::new();
                let fields = StateFields {
                    kind: StateKind::Put,
                    hash: name.hash(),
                    commit: CommitNumber::new(commit),
                    wake_at,
                    name: &name,
                    envelope: &envelope,
                };
                batch::append_state(&mut record, fields);
                records.insert((Slot(slot), Epoch::new(epoch), name.hash()), record);
            }
            let number = PackNumber::new(number);
            let file = FileNumber::default();
            let mut builder = PackBuilder::new(SessionId::new(session), number, file);
            for ((slot, epoch, _), record) in &records {
                builder.add(*slot, *epoch, record).expect("it is valid");
            }
            let (object, named) = builder.finish(nonce);
            let (read, index) = PackIndex::of_object("pack", &object).expect("it is valid");
            assert_eq!((read, index.count()), (named, records.len()));
            object
        },
    )
}

/// A change of a cluster between two epochs.
#[derive(Clone, Debug)]
enum Change {
    Join(u8, u32),
    Remove(u8),
    Drain(u8),
    Rebalance,
    Sealed(u64),
    Resign(Option<u8>),
    Declare(u8, u8, u16),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..4_u8, 0..1_000_u32).prop_map(|(host, weight)| Change::Join(host, weight)),
        2 => (0..4_u8).prop_map(Change::Remove),
        1 => (0..4_u8).prop_map(Change::Drain),
        2 => Just(Change::Rebalance),
        2 => (0..12_u64).prop_map(Change::Sealed),
        1 => proptest::option::of(0..4_u8).prop_map(Change::Resign),
        2 => (0..4_u8, 0..3_u8, 0..9_u16).prop_map(|(host, kind, count)| Change::Declare(host, kind, count)),
    ]
}

fn named(host: u8) -> HostName {
    HostName::new(&format!("h{host}")).expect("it is valid")
}

fn session_of(draft: &Draft, host: u8) -> Option<SessionId> {
    draft.hosts().get(&named(host)).and_then(|entry| entry.sessions.get(&DomainId::HOME)).copied()
}

fn make(draft: &mut Draft, change: &Change, session: u128) {
    match change {
        Change::Join(host, weight) => {
            let entry = HostEntry {
                address: format!("10.0.0.{host}:7000"),
                sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(session))]),
                state: HostState::Active,
                weight: *weight,
                zone: (host % 2 == 0).then(|| "a".into()),
                versions: [
                    ("cart", u32::from(host % 3)),
                    ("order", u32::try_from(session % 3).unwrap_or(0)),
                ]
                .into_iter()
                .collect(),
            };
            // A refused change leaves the draft as it was.
            let _refused = draft.join(&named(*host), entry);
        }
        Change::Remove(host) => {
            let _lived = session_of(draft, *host).is_some_and(|session| draft.remove(session));
        }
        Change::Drain(host) => {
            let _lived = session_of(draft, *host).is_some_and(|session| draft.drain(session));
        }
        Change::Rebalance => {
            let _moves = draft.rebalance(8);
        }
        // A session has one seal, so its position is derived from the session.
        Change::Sealed(session) => draft
            .seal_known(SessionId::new(u128::from(*session)), Position::new(session * session + 1)),
        Change::Resign(host) => {
            let _refused = draft.resign(host.map(named).as_ref());
        }
        // Kind 0 stands for none. A number that differs from the recorded one, or 0, is refused.
        Change::Declare(host, kind, count) => {
            let declared = (*kind > 0).then(|| (format!("kind {kind}"), *count)).into_iter();
            let _refused = draft.declare(&named(*host), &declared.collect());
        }
    }
}

/// The last of several epochs of a small cluster with random changes.
pub(crate) fn epoch() -> impl Strategy<Value = Bytes> {
    let epochs = vec(vec(change(), 0..4), 1..6);
    (nonce(), 1..40_u16, epochs, "\\PC{0,12}", number()).prop_map(
        |(nonce, slots, epochs, reason, wall_ms)| {
            let cluster = Cluster { slots, ..Cluster::new(ClusterId::new(1)) };
            let leader =
                Leader { host: named(0), session: SessionId::new(0), address: "a:1".into() };
            let mut session = 0;
            let mut last: Option<EpochRecord> = None;
            for changes in &epochs {
                let mut draft = match &last {
                    None => Draft::first(&cluster),
                    Some(record) => {
                        Draft::after(record, RecordDigest::of(&record.encode(Nonce::new(1))))
                    }
                };
                for change in changes {
                    make(&mut draft, change, session);
                    session += 1;
                }
                last = Some(draft.finish(leader.clone(), &reason, wall_ms));
            }
            let record = last.expect("there is at least one");
            let object = record.encode(nonce);
            assert_eq!(EpochRecord::decode(&keys::epoch(record.epoch), &object), Ok(record));
            object
        },
    )
}

pub(crate) fn leader_hint() -> impl Strategy<Value = Bytes> {
    (nonce(), number(), any::<u128>(), number(), "\\PC{0,20}").prop_map(
        |(nonce, epoch, session, counter, address)| {
            let (epoch, session) = (Epoch::new(epoch), SessionId::new(session));
            let hint = LeaderHint { epoch, session, counter, address };
            let object = hint.encode(nonce);
            assert_eq!(LeaderHint::decode("hint", &object), Ok(hint));
            object
        },
    )
}

pub(crate) fn host_hint() -> impl Strategy<Value = Bytes> {
    let sessions = proptest::collection::btree_map(any::<u16>(), any::<u128>(), 0..4);
    let shards = proptest::collection::btree_map("[a-z]{1,8}", any::<u16>(), 0..3);
    (nonce(), "\\PC{0,20}", sessions, number(), number(), shards).prop_map(
        |(nonce, address, sessions, load, counter, shards)| {
            let sessions = sessions
                .into_iter()
                .map(|(domain, session)| (DomainId(domain), SessionId::new(session)))
                .collect();
            let versions = shards.keys().map(|kind: &String| (kind.clone(), 3)).collect();
            let hint = HostHint { address, sessions, load, counter, shards, versions };
            let object = hint.encode(nonce);
            assert_eq!(HostHint::decode("hint", &object), Ok(hint));
            object
        },
    )
}

pub(crate) fn cluster() -> impl Strategy<Value = Bytes> {
    (nonce(), any::<u128>(), 1..=u16::MAX, 2..=u32::MAX, 2..=u32::MAX).prop_map(
        |(nonce, cluster, slots, journal_segment_len, epoch_segment_len)| {
            let cluster = ClusterId::new(cluster);
            let cluster = Cluster { cluster, slots, journal_segment_len, epoch_segment_len };
            let object = cluster.encode(nonce);
            assert_eq!(Cluster::decode("cluster", &object), Ok(cluster));
            object
        },
    )
}
