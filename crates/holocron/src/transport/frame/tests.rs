//! Frames read back as they were written, and anything else is rejected.

use futures::FutureExt;
use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber, VnodeName},
    request::window::{Request, RequestId},
};
use proptest::prelude::*;

use super::{read::SKIP_LEN_MAX, *};
use crate::api::call::{Format, Mode, Outcome};

/// Every frame that bytes hold, and how reading them ended.
fn read_all(bytes: &[u8], trusted: bool) -> (Vec<Received>, Result<(), Broken>) {
    let mut reader = FrameReader::new(bytes);
    if trusted {
        reader.trust();
    }
    let mut frames = Vec::new();
    loop {
        match reader.next().now_or_never().expect("a slice is always ready") {
            Ok(Some(received)) => frames.push(received),
            Ok(None) => return (frames, Ok(())),
            Err(broken) => return (frames, Err(broken)),
        }
    }
}

fn frame_bytes(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, frame).unwrap();
    out
}

fn header(length: u32, kind: u8, id: u64) -> Vec<u8> {
    [&length.to_le_bytes()[..], &[kind], &id.to_le_bytes()].concat()
}

#[test]
fn an_oversize_body_is_skipped_and_reported() {
    let length = FRAME_LEN_MAX + 1;
    let mut bytes = header(u32::try_from(length).unwrap(), Kind::Call as u8, 9);
    bytes.resize(HEADER_LEN + length, 0);
    bytes.extend(frame_bytes(&Frame::Ping));
    let (frames, end) = read_all(&bytes, true);
    end.unwrap();
    assert!(matches!(frames[0], Received::Unusable { kind: Kind::Call, id: 9, .. }), "{frames:?}");
    assert!(matches!(frames[1], Received::Frame(Frame::Ping)), "{frames:?}");
}

#[test]
fn an_invalid_header_ends_the_reading() {
    let too_long = u32::try_from(SKIP_LEN_MAX + 1).unwrap();
    for bytes in [header(0, 99, 0), header(too_long, Kind::Call as u8, 0), b"GET / HTTP/1.1".into()]
    {
        let (frames, end) = read_all(&bytes, true);
        assert!(
            frames.is_empty() && matches!(end, Err(Broken::Malformed(_))),
            "{frames:?} {end:?}"
        );
    }
}

#[test]
fn an_unknown_peer_may_send_no_more_than_a_hello() {
    let length = u32::try_from(HELLO_LEN_MAX + 1).unwrap();
    let (_, end) = read_all(&header(length, Kind::Hello as u8, 0), false);
    assert!(matches!(end, Err(Broken::Malformed(_))), "{end:?}");
}

#[test]
fn an_undecodable_body_costs_one_frame() {
    for kind in [Kind::Call, Kind::Answer, Kind::Peer, Kind::PeerReply, Kind::Welcome] {
        let mut bytes = header(3, kind as u8, 5);
        bytes.extend([0xff; 3]);
        bytes.extend(frame_bytes(&Frame::Pong));
        let (frames, end) = read_all(&bytes, true);
        end.unwrap();
        assert!(matches!(frames[0], Received::Unusable { id: 5, .. }), "{frames:?}");
        assert!(matches!(frames[1], Received::Frame(Frame::Pong)), "{frames:?}");
    }
}

#[test]
fn a_connection_that_ends_inside_a_frame_is_an_error() {
    let bytes = frame_bytes(&Frame::Refusal(Refusal { why: "no".into(), newest: NEWEST }));
    for end in 1..bytes.len() {
        let (frames, end) = read_all(&bytes[..end], true);
        assert!(frames.is_empty() && matches!(end, Err(Broken::CutShort)), "{frames:?} {end:?}");
    }
}

#[test]
fn a_hello_of_another_version_is_read_as_a_hello() {
    let hello = Hello { cluster: None, who: "x".into() };
    let mut bytes = frame_bytes(&Frame::Hello(Versions::spoken(), Some(hello)));
    // The oldest version is in the header, the newest behind the magic.
    (bytes[5], bytes[HEADER_LEN + 4]) = (76, 77);
    let (frames, _) = read_all(&bytes, false);
    let theirs = Versions { oldest: 76, newest: 77 };
    assert!(
        matches!(frames[0], Received::Frame(Frame::Hello(read, None)) if read == theirs),
        "{frames:?}"
    );
}

#[test]
fn a_frame_that_is_too_large_writes_nothing() {
    let mut out = frame_bytes(&Frame::Ping);
    let before = out.clone();
    let error = put(&mut out, &Frame::Epoch(Epoch::new(1), vec![0; FRAME_LEN_MAX + 1].into()));
    assert_eq!((out, error), (before, Err(TooLarge(FRAME_LEN_MAX + 1))));
}

#[test]
fn a_payload_of_the_promised_length_fits_beside_the_longest_names() {
    let name = VnodeName::new(&"k".repeat(64), &"k".repeat(1024)).unwrap();
    let request = Request {
        id: RequestId { client: ClientId::new(1), number: RequestNumber::new(1) },
        lowest: RequestNumber::new(1),
        base: CommitNumber::ZERO,
    };
    let body: Bytes = vec![0; PAYLOAD_LEN_MAX].into();
    let call = Call {
        name,
        mode: Mode::Command,
        request,
        epoch: Epoch::ZERO,
        format: Format::Bincode,
        body: body.clone(),
    };
    put_call(&mut Vec::new(), 1, &call).unwrap();
    let outcome = Outcome::Reply(body);
    put_answer(
        &mut Vec::new(),
        1,
        &Answer { epoch: Epoch::ZERO, commit: CommitNumber::ZERO, outcome },
    )
    .unwrap();
}

#[test]
fn a_false_length_gets_memory_only_for_what_arrives() {
    let mut bytes = header(u32::try_from(FRAME_LEN_MAX).unwrap(), Kind::Call as u8, 1);
    bytes.extend([0; 100]);
    let mut reader = FrameReader::new(&bytes[..]);
    reader.trust();
    assert!(reader.next().now_or_never().expect("a slice is always ready").is_err());
    assert!(reader.capacity() < 200 << 10, "{}", reader.capacity());
}

fn calls() -> impl Strategy<Value = Call> {
    let mode = prop_oneof![Just(Mode::Command), Just(Mode::Query), Just(Mode::Local)];
    let format = prop_oneof![Just(Format::Bincode), Just(Format::Json)];
    let numbers = any::<(u128, u64, u64, u64, u64)>();
    let body = proptest::collection::vec(any::<u8>(), 0..100);
    ("[a-z]{1,64}", "\\PC{1,64}", mode, numbers, (format, body)).prop_map(
        |(kind, key, mode, (client, number, lowest, base, epoch), (format, body))| Call {
            name: VnodeName::new(&kind, &key).unwrap(),
            mode,
            request: Request {
                id: RequestId { client: ClientId::new(client), number: RequestNumber::new(number) },
                lowest: RequestNumber::new(lowest),
                base: CommitNumber::new(base),
            },
            format,
            epoch: Epoch::new(epoch),
            body: body.into(),
        },
    )
}

fn answers() -> impl Strategy<Value = Answer> {
    let outcome = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(|body| Outcome::Reply(body.into())),
        Just(Outcome::Panicked),
        ".*".prop_map(Outcome::Rejected),
        any::<u64>().prop_map(|base| Outcome::Rebase(CommitNumber::new(base))),
        Just(Outcome::NotOwner),
        Just(Outcome::Busy),
        Just(Outcome::Quarantined),
        Just(Outcome::UnknownKind),
        ".*".prop_map(Outcome::Undecodable),
        ".*".prop_map(Outcome::Unreadable),
        Just(Outcome::Unclear),
    ];
    (any::<u64>(), any::<u64>(), outcome).prop_map(|(epoch, commit, outcome)| Answer {
        epoch: Epoch::new(epoch),
        commit: CommitNumber::new(commit),
        outcome,
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), trusted: bool) {
        drop(read_all(&bytes, trusted));
    }

    #[test]
    fn arbitrary_bodies_never_panic(kind in 0..12_u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut frame = header(u32::try_from(bytes.len()).unwrap(), kind, 1);
        frame.extend(bytes);
        drop(read_all(&frame, true));
    }

    #[test]
    fn a_call_reads_back(id: u64, call in calls()) {
        let mut bytes = Vec::new();
        put_call(&mut bytes, id, &call).unwrap();
        let (frames, end) = read_all(&bytes, true);
        end.unwrap();
        let [Received::Frame(Frame::Call(read_id, read))] = &frames[..] else {
            panic!("{frames:?}");
        };
        prop_assert_eq!(*read_id, id);
        prop_assert_eq!((&read.name, read.mode, read.request, read.epoch), (&call.name, call.mode, call.request, call.epoch));
        prop_assert_eq!(&read.body, &call.body);
    }

    #[test]
    fn an_answer_reads_back(id: u64, answer in answers()) {
        let mut bytes = Vec::new();
        put_answer(&mut bytes, id, &answer).unwrap();
        let (frames, end) = read_all(&bytes, true);
        end.unwrap();
        let [Received::Frame(Frame::Answer(read_id, read))] = &frames[..] else {
            panic!("{frames:?}");
        };
        prop_assert_eq!((*read_id, read), (id, &answer));
    }

    /// Only the one encoding of a call or answer is decoded: a damaged one is never read as another.
    #[test]
    fn calls_and_answers_have_one_encoding(call in calls(), answer in answers(), at: prop::sample::Index, flip in 1..=255_u8) {
        let mut call_bytes = Vec::new();
        put_call(&mut call_bytes, 1, &call).unwrap();
        let mut answer_bytes = Vec::new();
        put_answer(&mut answer_bytes, 1, &answer).unwrap();
        for mut bytes in [call_bytes, answer_bytes] {
            let at = HEADER_LEN + at.index(bytes.len() - HEADER_LEN);
            bytes[at] ^= flip;
            let (frames, end) = read_all(&bytes, true);
            end.unwrap();
            if let [Received::Frame(frame)] = &frames[..] {
                prop_assert_eq!(frame_bytes(frame), bytes);
            }
        }
    }
}
