//! Frames as the library writes them.

use bytes::Bytes;
use holocron::{
    Answer, Call, Format, Health, JoinRequest, ListRequest, ListedPage, Mode, Offer, Outcome,
    PeerMessage, PeerReply, Progress, Rule, ServeRequest, VnodeStatus,
    frame::{Frame, Hello, Refusal, Versions, Welcome},
};
use holocron_protocol::{
    checkpoint::retain::Copying,
    control::{
        load::{Coarse, LoadReport},
        report::{Access, DomainHealth},
    },
    epoch::{domain::Names, versions::KindVersions},
    ids::{
        ClientId, ClusterId, CommitNumber, DomainId, Epoch, HostName, Position, RequestNumber,
        SessionId, Slot, StoreId, VnodeHash, VnodeName,
    },
    request::window::{Request, RequestId},
    slot::listing::{Filter, Reached},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

fn host_name() -> impl Strategy<Value = HostName> {
    "[a-z0-9]{1,12}".prop_map(|name| HostName::new(&name).expect("it is valid"))
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch::new)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<u128>().prop_map(SessionId::new)
}

fn progress() -> impl Strategy<Value = Progress> {
    any::<(u64, u64, u64, bool)>().prop_map(|(committed, low_water, checkpoint_at, waiting)| {
        Progress {
            committed: Position::new(committed),
            low_water: Position::new(low_water),
            checkpoint_at: Position::new(checkpoint_at),
            waiting,
        }
    })
}

fn call() -> impl Strategy<Value = Call> {
    let mode = select(vec![
        Mode::Command,
        Mode::Query,
        Mode::Local,
        Mode::Tell,
        Mode::Ask,
        Mode::Acknowledge,
        Mode::Delete,
        Mode::Exists,
        Mode::Deferred,
        Mode::Amend,
        Mode::Watch,
        Mode::State,
        Mode::Create,
    ]);
    let numbers = any::<(u128, u64, u64, u64)>();
    let body = (select(vec![Format::Bincode, Format::Json]), bytes());
    ("[a-z]{1,64}", "\\PC{1,64}", mode, numbers, epoch(), body).prop_map(
        |(kind, key, mode, (client, number, lowest, base), epoch, (format, body))| Call {
            name: VnodeName::new(&kind, &key).expect("it is valid"),
            mode,
            request: Request {
                id: RequestId { client: ClientId::new(client), number: RequestNumber::new(number) },
                lowest: RequestNumber::new(lowest),
                base: CommitNumber::new(base),
            },
            epoch,
            format,
            body,
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    let outcome = prop_oneof![
        bytes().prop_map(Outcome::Reply),
        Just(Outcome::Panicked),
        text().prop_map(Outcome::Rejected),
        any::<u64>().prop_map(|base| Outcome::Rebase(CommitNumber::new(base))),
        Just(Outcome::NotOwner),
        Just(Outcome::Busy),
        Just(Outcome::Quarantined),
        Just(Outcome::UnknownKind),
        text().prop_map(Outcome::Undecodable),
        text().prop_map(Outcome::Unreadable),
        Just(Outcome::Unclear),
        text().prop_map(Outcome::UnknownCommand),
        text().prop_map(Outcome::OtherArguments),
    ];
    (epoch(), any::<u64>(), outcome).prop_map(|(epoch, commit, outcome)| Answer {
        epoch,
        commit: CommitNumber::new(commit),
        outcome,
    })
}

fn shards() -> impl Strategy<Value = std::collections::BTreeMap<String, u16>> {
    proptest::collection::btree_map(text(), any::<u16>(), 0..3)
}

fn versions() -> impl Strategy<Value = KindVersions> {
    vec((text(), any::<u32>()), 0..3).prop_map(|versions| versions.into_iter().collect())
}

fn list_request() -> impl Strategy<Value = ListRequest> {
    let slots = vec(any::<u16>().prop_map(Slot), 0..4);
    (any::<u16>(), slots, option::of(any::<u128>()), text(), text()).prop_map(
        |(domain, slots, after, kind, prefix)| ListRequest {
            domain: DomainId(domain),
            slots,
            after: after.map(VnodeHash::from_bits),
            filter: Filter { kind, prefix },
        },
    )
}

fn message() -> impl Strategy<Value = PeerMessage> {
    prop_oneof![
        Just(PeerMessage::View),
        (host_name(), text(), session(), any::<u32>(), option::of(text()), shards(), versions())
            .prop_map(|(name, address, session, weight, zone, shards, versions)| {
                PeerMessage::Join(JoinRequest {
                    name,
                    address,
                    session,
                    weight,
                    zone,
                    shards,
                    versions,
                })
            }),
        (epoch(), session(), any::<u64>()).prop_map(|(epoch, leader, loads_heard)| {
            PeerMessage::Heartbeat { epoch, leader, loads_heard }
        }),
        (session(), progress())
            .prop_map(|(session, progress)| PeerMessage::Prefetch { session, progress }),
        (epoch(), bytes()).prop_map(|(epoch, stored)| PeerMessage::Epoch { epoch, stored }),
        session().prop_map(PeerMessage::Leave),
        Just(PeerMessage::Status),
        Just(PeerMessage::Kinds),
        any::<(u16, u128)>().prop_map(|(domain, bits)| PeerMessage::Vnode {
            domain: DomainId(domain),
            hash: VnodeHash::from_bits(bits),
        }),
        offer().prop_map(PeerMessage::OfferDomain),
        text().prop_map(PeerMessage::RemoveDomain),
        (session(), any::<u16>(), session(), epoch()).prop_map(|(home, domain, session, as_of)| {
            let domain = DomainId(domain);
            PeerMessage::Serve(ServeRequest { home, domain, session, as_of })
        }),
        (session(), option::of(any::<u64>())).prop_map(|(session, committed)| {
            PeerMessage::SealSession { session, committed: committed.map(Position::new) }
        }),
        session().prop_map(PeerMessage::CollectSession),
        list_request().prop_map(PeerMessage::List),
    ]
}

fn load_report() -> impl Strategy<Value = LoadReport> {
    let slots = vec((any::<u16>().prop_map(Slot), any::<u64>().prop_map(Coarse::of)), 0..9);
    (any::<u64>(), slots).prop_map(|(number, slots)| LoadReport { number, slots })
}

fn offer() -> impl Strategy<Value = Offer> {
    let rule = prop_oneof![text().prop_map(Rule::Kind), text().prop_map(Rule::KeyPrefix)];
    let names = select(vec![Names::Unverified, Names::New]);
    (text(), vec(rule, 0..3), option::of(any::<u128>()), names).prop_map(
        |(name, rules, store, names)| Offer { name, rules, store: store.map(StoreId::new), names },
    )
}

fn reply() -> impl Strategy<Value = PeerReply> {
    prop_oneof![
        Just(PeerReply::Noted),
        bytes().prop_map(PeerReply::View),
        option::of(text()).prop_map(|leader| PeerReply::NotLeader { leader }),
        text().prop_map(PeerReply::Refused),
        any::<u32>().prop_map(|waiting| PeerReply::Vnode(VnodeStatus::Active { waiting })),
        Just(PeerReply::Vnode(VnodeStatus::NotServed)),
        (session(), epoch(), progress(), vec(session(), 0..4), option::of(load_report())).prop_map(
            |(session, epoch, progress, awaiting, loads)| {
                let access = Access::Failing;
                PeerReply::Health(Health {
                    session,
                    epoch,
                    progress,
                    facts: Vec::new(),
                    awaiting,
                    copying: Copying::Remaining,
                    loads,
                    domains: vec![DomainHealth { session, progress, access }],
                })
            }
        ),
        any::<u64>().prop_map(|position| PeerReply::Sealed(Position::new(position))),
        text().prop_map(PeerReply::Kinds),
        (vec(text(), 0..4), any::<u32>(), option::of(any::<u128>())).prop_map(
            |(keys, slots, after)| {
                let after = after.map(VnodeHash::from_bits);
                PeerReply::Listed(ListedPage { keys, reached: Reached { slots, after } })
            }
        ),
        Just(PeerReply::NotServed),
    ]
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        1 => (option::of(any::<u128>()), text()).prop_map(|(cluster, who)| {
            Frame::Hello(Versions::spoken(), Some(Hello { cluster: cluster.map(ClusterId::new), who }))
        }),
        1 => any::<(u128, u32, u32, u16)>().prop_map(|(cluster, calls_max, messages_max, version)| {
            Frame::Welcome(Welcome { cluster: ClusterId::new(cluster), calls_max, messages_max, version })
        }),
        1 => (text(), any::<u16>()).prop_map(|(why, newest)| Frame::Refusal(Refusal { why, newest })),
        3 => (any::<u64>(), call()).prop_map(|(id, call)| Frame::Call(id, call)),
        3 => (any::<u64>(), answer()).prop_map(|(id, answer)| Frame::Answer(id, answer)),
        3 => (any::<u64>(), message()).prop_map(|(id, message)| Frame::Peer(id, message)),
        3 => (any::<u64>(), reply()).prop_map(|(id, reply)| Frame::PeerReply(id, reply)),
        1 => (epoch(), bytes()).prop_map(|(epoch, stored)| Frame::Epoch(epoch, stored)),
        1 => Just(Frame::Ping),
        1 => Just(Frame::Pong),
    ]
}
