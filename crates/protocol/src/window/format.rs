//! The window as bytes, within the envelope.
//!
//! The mark; the clients, each with its kind of sender, id, lowest number and newest commit number; the answers, each
//! with its client's place among those, its number above the lowest, its commit number below the newest, and its
//! outcome. Both lists are in order of last use. An answer takes four bytes besides its content.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeSet, VecDeque},
    string::ToString,
    vec::Vec,
};

use bytes::Bytes;

use super::{ClientRecord, Entry, Outcome, Recorded, RequestId, Window};
use crate::{
    codec::Malformed,
    compact::{Reader, put_bytes, put_number},
    ids::{ClientId, CommitNumber, RequestNumber},
};

/// Fewest bytes of a client's record.
const CLIENT_LEN_MIN: usize = 19;
/// Fewest bytes of an answer.
const ENTRY_LEN_MIN: usize = 4;
/// A client's record belongs to a client. Other numbers are kept for senders that are vnodes.
const SENDER_CLIENT: u8 = 0;

impl Window {
    /// Appends it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.mark.get());
        put_number(out, self.clients.len() as u64);
        for client in &self.clients {
            out.push(SENDER_CLIENT);
            out.extend_from_slice(&client.id.get().to_le_bytes());
            put_number(out, client.lowest.get());
            put_number(out, client.newest.get());
        }
        put_number(out, self.entries.len() as u64);
        for entry in &self.entries {
            // From the back: most answers are for those who came last.
            let at = self.clients.iter().rposition(|client| client.id == entry.id.client);
            let at = at.expect("an answer's client is kept as long as the answer");
            let client = &self.clients[at];
            put_number(out, at as u64);
            put_number(out, entry.id.number.get() - client.lowest.get());
            put_number(out, client.newest.get() - entry.recorded.commit.get());
            match &entry.recorded.outcome {
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
    }

    /// Reads it. Replies are copied out: a window outlives by far the batch it is read from.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mark = CommitNumber::new(reader.number()?);
        let count = reader.number()?;
        let mut clients = Vec::with_capacity(bounded(count, reader.left() / CLIENT_LEN_MIN));
        let mut seen = BTreeSet::new();
        for _ in 0..count {
            let client = ClientRecord::decode(reader)?;
            if count > 1 && !seen.insert(client.id) {
                return Err(reader.malformed("a client twice"));
            }
            clients.push(client);
        }
        let count = reader.number()?;
        let mut entries = VecDeque::with_capacity(bounded(count, reader.left() / ENTRY_LEN_MIN));
        let mut seen = BTreeSet::new();
        for _ in 0..count {
            let entry = Entry::decode(reader, &clients)?;
            if count > 1 && !seen.insert(entry.id) {
                return Err(reader.malformed("an answer twice"));
            }
            entries.push_back(entry);
        }
        Ok(Self { mark, clients, entries })
    }
}

/// How many to make room for when `count` are promised and there can't be more than `most`.
fn bounded(count: u64, most: usize) -> usize {
    usize::try_from(count).map_or(most, |count| count.min(most))
}

impl ClientRecord {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.byte()? != SENDER_CLIENT {
            return Err(reader.malformed("a sender of a kind that this release does not know"));
        }
        let id = reader.take(16)?.try_into().expect("sixteen bytes were taken");
        Ok(Self {
            id: ClientId::new(u128::from_le_bytes(id)),
            lowest: RequestNumber::new(reader.number()?),
            newest: CommitNumber::new(reader.number()?),
        })
    }
}

impl Entry {
    fn decode(reader: &mut Reader<'_>, clients: &[ClientRecord]) -> Result<Self, Malformed> {
        let at = usize::try_from(reader.number()?).ok();
        let client = at.and_then(|at| clients.get(at));
        let client = client.ok_or_else(|| reader.malformed("an answer of no client"))?;
        let number = client.lowest.get().checked_add(reader.number()?);
        let number = number.ok_or_else(|| reader.malformed("a request number above 2^64"))?;
        let commit = client.newest.get().checked_sub(reader.number()?);
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
        Ok(Self {
            id: RequestId { client: client.id, number: RequestNumber::new(number) },
            recorded: Recorded { outcome, commit: CommitNumber::new(commit) },
        })
    }
}
