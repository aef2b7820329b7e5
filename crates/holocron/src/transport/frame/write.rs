//! Writing frames: appends them to a buffer that is written at once.

use holocron_protocol::{
    format::codec,
    request::window::{Request, RequestId},
};

use super::{
    FRAME_LEN_MAX, Frame, HEADER_LEN, Hello, Kind, MAGIC, NEWEST, Refusal, TooLarge, Versions,
    older, version,
};
use crate::{
    api::call::{Answer, Call, Format, Mode, Outcome},
    transport::peer::PeerMessage,
};

fn put_hello(out: &mut Vec<u8>, spoken: Versions, hello: &Hello) -> Result<(), TooLarge> {
    framed(out, Kind::Hello, version::in_header(spoken.oldest), |out| {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&spoken.newest.to_le_bytes());
        codec::to_bincode(hello, out);
    })
}

/// Appends a message in this version of the wire.
///
/// # Errors
///
/// [`TooLarge`], and nothing is appended.
pub(crate) fn put_message(
    out: &mut Vec<u8>,
    id: u64,
    message: &PeerMessage,
    version: u16,
) -> Result<(), TooLarge> {
    framed(out, Kind::Peer, id, |out| older::put_message(out, message, version))
}

/// Appends a call.
///
/// # Errors
///
/// [`TooLarge`], and nothing is appended.
pub(crate) fn put_call(out: &mut Vec<u8>, id: u64, call: &Call) -> Result<(), TooLarge> {
    let (kind, key) = (call.name.kind().as_bytes(), call.name.key().as_bytes());
    framed(out, Kind::Call, id, |out| {
        let Request { id: RequestId { client, number }, lowest, base } = call.request;
        out.push(match call.mode {
            Mode::Command => 0,
            Mode::Query => 1,
            Mode::Local => 2,
            Mode::Tell => 3,
            Mode::Ask => 4,
            Mode::Acknowledge => 5,
            Mode::Delete => 6,
            Mode::Exists => 7,
            Mode::Deferred => 8,
            Mode::Amend => 9,
            Mode::Watch => 10,
            Mode::State => 11,
            Mode::Create => 12,
        });
        out.push(match call.format {
            Format::Bincode => 0,
            Format::Json => 1,
        });
        out.extend_from_slice(&client.get().to_le_bytes());
        for number in [number.get(), lowest.get(), base.get(), call.epoch.get()] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::try_from(kind.len()).expect("KIND_LEN_MAX fits a byte"));
        out.extend_from_slice(
            &u16::try_from(key.len()).expect("KEY_LEN_MAX fits two bytes").to_le_bytes(),
        );
        out.extend_from_slice(kind);
        out.extend_from_slice(key);
        out.extend_from_slice(&call.body);
    })
}

/// Appends an answer.
///
/// # Errors
///
/// [`TooLarge`], and nothing is appended.
pub(crate) fn put_answer(out: &mut Vec<u8>, id: u64, answer: &Answer) -> Result<(), TooLarge> {
    framed(out, Kind::Answer, id, |out| {
        out.extend_from_slice(&answer.epoch.get().to_le_bytes());
        out.extend_from_slice(&answer.commit.get().to_le_bytes());
        let commit;
        let (tag, rest): (u8, &[u8]) = match &answer.outcome {
            Outcome::Reply(body) => (0, body),
            Outcome::Panicked => (1, &[]),
            Outcome::Rejected(why) => (2, why.as_bytes()),
            Outcome::Rebase(base) => {
                commit = base.get().to_le_bytes();
                (3, &commit)
            }
            Outcome::NotOwner => (4, &[]),
            Outcome::Busy => (5, &[]),
            Outcome::Quarantined => (6, &[]),
            Outcome::UnknownKind => (7, &[]),
            Outcome::Undecodable(why) => (8, why.as_bytes()),
            Outcome::Unreadable(why) => (9, why.as_bytes()),
            Outcome::Unclear => (10, &[]),
            Outcome::UnknownCommand(why) => (11, why.as_bytes()),
            Outcome::OtherArguments(why) => (12, why.as_bytes()),
        };
        out.push(tag);
        out.extend_from_slice(rest);
    })
}

/// Appends a frame, in the newest version of the wire.
///
/// # Errors
///
/// [`TooLarge`], and nothing is appended.
///
/// # Panics
///
/// When it is a hello of which only the versions are known.
pub fn put(out: &mut Vec<u8>, frame: &Frame) -> Result<(), TooLarge> {
    match frame {
        Frame::Hello(spoken, hello) => {
            let hello = hello.as_ref().expect("we write hellos of versions that we speak");
            put_hello(out, *spoken, hello)
        }
        Frame::Welcome(welcome) => {
            let id = version::in_header(welcome.version);
            framed(out, Kind::Welcome, id, |out| codec::to_bincode(welcome, out))
        }
        Frame::Refusal(Refusal { why, newest }) => {
            let id = version::in_header(*newest);
            framed(out, Kind::Refusal, id, |out| out.extend_from_slice(why.as_bytes()))
        }
        Frame::Call(id, call) => put_call(out, *id, call),
        Frame::Answer(id, answer) => put_answer(out, *id, answer),
        Frame::Peer(id, message) => put_message(out, *id, message, NEWEST),
        Frame::PeerReply(id, reply) => {
            framed(out, Kind::PeerReply, *id, |out| codec::to_bincode(reply, out))
        }
        Frame::Epoch(epoch, stored) => {
            framed(out, Kind::Epoch, epoch.get(), |out| out.extend_from_slice(stored))
        }
        Frame::Ping => framed(out, Kind::Ping, 0, |_| ()),
        Frame::Pong => framed(out, Kind::Pong, 0, |_| ()),
    }
}

fn framed(
    out: &mut Vec<u8>,
    kind: Kind,
    id: u64,
    body: impl FnOnce(&mut Vec<u8>),
) -> Result<(), TooLarge> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind as u8);
    out.extend_from_slice(&id.to_le_bytes());
    body(out);
    let length = out.len() - start - HEADER_LEN;
    if length > FRAME_LEN_MAX {
        out.truncate(start);
        return Err(TooLarge(length));
    }
    let length = u32::try_from(length).expect("bounded by FRAME_LEN_MAX");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}
