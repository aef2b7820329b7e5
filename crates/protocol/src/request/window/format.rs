//! The encoding of a window within the envelope.
//!
//! The mark; the clients, each with its kind of sender, id, lowest number and newest commit number; the answers, each
//! with its client's index, its number minus the client's lowest, the client's newest commit number minus its own, and
//! its outcome. Both lists are in order of last use. An answer takes four bytes in addition to its content.

use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeMap, string::ToString, vec::Vec};

use bytes::Bytes;

use super::{
    ClientRecord, Outcome, Recorded, RequestId, Window, WindowLimits, entry_cost,
    reach::Reach,
    recency::Recency,
    senders::{Sender, Senders},
};
use crate::{
    format::{
        codec::Malformed,
        varint::{Reader, put_bytes, put_number},
    },
    ids::{ClientId, CommitNumber, RequestNumber},
};

/// The sender is a client; its answers are in the list of answers.
const SENDER_CLIENT: u8 = 0;
/// The sender is a vnode; its answers follow it.
const SENDER_VNODE: u8 = 1;

impl Window {
    /// Appends the encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.mark.get());
        let senders = self.senders.iter().flat_map(|senders| &senders.by_id);
        put_number(out, (self.clients.len() + senders.clone().count()) as u64);
        for (id, client) in self.clients.iter() {
            out.push(SENDER_CLIENT);
            out.extend_from_slice(&id.get().to_le_bytes());
            put_number(out, client.lowest.get());
            put_number(out, client.newest.get());
        }
        for (id, Sender { record, answers }) in senders {
            out.push(SENDER_VNODE);
            out.extend_from_slice(&id.get().to_le_bytes());
            put_number(out, record.lowest.get());
            put_number(out, record.newest.get());
            put_number(out, answers.len() as u64);
            for (number, recorded) in answers {
                put_recorded(out, *number, recorded, record);
            }
        }
        put_number(out, self.answers.len() as u64);
        let places = self.clients.places();
        for (id, recorded) in self.answers.iter() {
            let at = places.binary_search_by_key(&id.client, |(client, _)| *client);
            let at = at.expect("an answer's client is kept as long as the answer");
            let client = self.clients.get(&id.client).expect("its index was found");
            put_number(out, places[at].1 as u64);
            put_recorded(out, id.number, recorded, client);
        }
    }

    /// Decodes a window. Replies are copied, because a window lives much longer than the batch it was read from.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mark = CommitNumber::new(reader.number()?);
        let (mut clients, mut newest) = (Recency::default(), mark);
        let mut senders: Option<Box<Senders>> = None;
        for _ in 0..reader.number()? {
            let (kind, id, client) = decode_client(reader)?;
            if kind == SENDER_VNODE {
                newest = newest.max(client.newest);
                let senders = senders.get_or_insert_default();
                if senders.by_id.last_key_value().is_some_and(|(last, _)| *last >= id) {
                    return Err(reader.malformed("senders that aren't in order"));
                }
                senders.push(id, decode_sender(reader, client)?);
                continue;
            }
            if senders.is_some() {
                return Err(reader.malformed("a client behind a vnode"));
            }
            if clients.get(&id).is_some() {
                return Err(reader.malformed("a client twice"));
            }
            newest = newest.max(client.newest);
            clients.push(id, client);
        }
        let (mut answers, mut answers_cost) = (Recency::default(), 0);
        for _ in 0..reader.number()? {
            let (id, recorded) = decode_answer(reader, &clients)?;
            if answers.get(&id).is_some() {
                return Err(reader.malformed("an answer twice"));
            }
            answers_cost += entry_cost(&recorded.outcome);
            answers.push(id, recorded);
        }
        let mut window =
            Self { mark, clients, answers, answers_cost, newest, senders, reach: None };
        if window.exceeds(&WindowLimits::default().soft) {
            window.reach = Some(Box::new(Reach::of_read_back(newest)));
        }
        Ok(window)
    }
}

/// Appends an answer to a client: its number, its commit number and its outcome.
fn put_recorded(
    out: &mut Vec<u8>,
    number: RequestNumber,
    recorded: &Recorded,
    client: &ClientRecord,
) {
    put_number(out, number.get() - client.lowest.get());
    put_number(out, client.newest.get() - recorded.commit.get());
    match &recorded.outcome {
        Outcome::Reply(reply) => {
            out.push(0);
            put_bytes(out, reply);
        }
        Outcome::Panicked => out.push(1),
        Outcome::Rejected(why) => {
            out.push(2);
            put_bytes(out, why.as_bytes());
        }
    }
}

fn decode_client(reader: &mut Reader<'_>) -> Result<(u8, ClientId, ClientRecord), Malformed> {
    let kind = reader.byte()?;
    if !matches!(kind, SENDER_CLIENT | SENDER_VNODE) {
        return Err(reader.malformed("a sender of a kind that this release does not know"));
    }
    let id = reader.take(16)?.try_into().expect("sixteen bytes were taken");
    let id = ClientId::new(u128::from_le_bytes(id));
    if id.is_vnode() != (kind == SENDER_VNODE) {
        return Err(reader.malformed("a sender whose id is of another kind"));
    }
    let lowest = RequestNumber::new(reader.number()?);
    let newest = CommitNumber::new(reader.number()?);
    Ok((kind, id, ClientRecord { lowest, newest }))
}

fn decode_sender(reader: &mut Reader<'_>, record: ClientRecord) -> Result<Sender, Malformed> {
    let mut answers = BTreeMap::new();
    for _ in 0..reader.number()? {
        let (number, recorded) = decode_recorded(reader, &record)?;
        if answers.last_key_value().is_some_and(|(last, _)| *last >= number) {
            return Err(reader.malformed("answers that aren't in order"));
        }
        answers.insert(number, recorded);
    }
    Ok(Sender { record, answers })
}

fn decode_answer(
    reader: &mut Reader<'_>,
    clients: &Recency<ClientId, ClientRecord>,
) -> Result<(RequestId, Recorded), Malformed> {
    let at = usize::try_from(reader.number()?).ok();
    let client = at.and_then(|at| clients.at_place(at));
    let (client, record) = client.ok_or_else(|| reader.malformed("an answer of no client"))?;
    let (number, recorded) = decode_recorded(reader, record)?;
    Ok((RequestId { client: *client, number }, recorded))
}

fn decode_recorded(
    reader: &mut Reader<'_>,
    record: &ClientRecord,
) -> Result<(RequestNumber, Recorded), Malformed> {
    let number = record.lowest.get().checked_add(reader.number()?);
    let number = number.ok_or_else(|| reader.malformed("a request number above 2^64"))?;
    let commit = record.newest.get().checked_sub(reader.number()?);
    let commit = commit.ok_or_else(|| reader.malformed("a commit number below 0"))?;
    let outcome = match reader.byte()? {
        0 => Outcome::Reply(Bytes::copy_from_slice(reader.bytes()?)),
        1 => Outcome::Panicked,
        2 => match core::str::from_utf8(reader.bytes()?) {
            Ok(why) => Outcome::Rejected(why.to_owned()),
            Err(error) => return Err(reader.malformed(&error.to_string())),
        },
        _ => return Err(reader.malformed("an outcome of unknown kind")),
    };
    Ok((RequestNumber::new(number), Recorded { outcome, commit: CommitNumber::new(commit) }))
}
