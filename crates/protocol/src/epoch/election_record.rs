//! The record of an epoch in an election used alone: who leads, and nothing else.
//!
//! It is of a kind of its own, because a cluster's record without slots would need hosts and sessions that don't exist, and
//! a host could join it by mistake.
//!
//! Invariants:
//!
//! * A decoded record was read under its own key, and its first epoch is 1.
//! * A record's wall time is at least that of the record before.

use alloc::string::String;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    epoch::record::RecordDigest,
    format::{
        codec::{self, Malformed},
        keys,
    },
    ids::{Epoch, HostName, Nonce, SessionId},
};

const NOUN: &str = "election-epoch";

/// Longest address of a member, in bytes.
pub const MEMBER_ADDRESS_LEN_MAX: usize = 1000;

/// The record of one epoch of an election.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectionRecord {
    /// Its number: the fencing token of its leader.
    pub epoch: Epoch,
    /// Why it was written, for people.
    pub reason: String,
    /// When it was written, for people and for the age of history: the larger of the writer's wall clock and the previous
    /// record's value, in milliseconds.
    pub wall_ms: u64,
    /// The digest of the previous record, as stored; `None` for the first.
    #[serde(with = "digest")]
    pub previous: Option<RecordDigest>,
    /// The member that wrote it, and so leads.
    pub leader: ElectionLeader,
    /// Whether the leader continues to lead.
    pub tenure: LeaderTenure,
}

/// The writer of an election's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectionLeader {
    /// Its name, for people: two members may have the same.
    pub name: HostName,
    /// This run of the member: random, never used again.
    pub session: SessionId,
    /// Where others reach it, in words that the election doesn't read; may be empty.
    pub address: String,
}

/// Whether the writer of a record continues to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaderTenure {
    /// It leads until another record is written.
    Stays,
    /// It resigned with this record: there is no leader.
    Resigned,
}

/// The record before, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordBefore {
    /// The digest of its stored bytes.
    pub digest: RecordDigest,
    /// Its wall time.
    pub wall_ms: u64,
}

impl ElectionRecord {
    /// The record's wall time: never before that of the record before, even if the writer's clock is behind.
    #[must_use]
    pub fn wall_after(before: Option<RecordBefore>, now_wall_ms: u64) -> u64 {
        before.map_or(0, |before| before.wall_ms).max(now_wall_ms)
    }

    /// What the next record depends on; `stored` are the bytes of this one.
    #[must_use]
    pub fn as_before(&self, stored: &[u8]) -> RecordBefore {
        RecordBefore { digest: RecordDigest::of(stored), wall_ms: self.wall_ms }
    }

    /// The object to create at [`keys::epoch`].
    ///
    /// # Panics
    ///
    /// When the record breaks a rule of its kind: it could not be read back.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        self.check().unwrap_or_else(|why| panic!("{}: {why}", self.epoch));
        codec::to_json(NOUN, nonce, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        let (_, record): (Nonce, Self) = codec::from_json(key, NOUN, object)?;
        if keys::epoch(record.epoch) != key {
            return Err(Malformed::new(key, "is the record of another epoch"));
        }
        record.check().map_err(|why| Malformed::new(key, why))?;
        Ok(record)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.epoch == Epoch::ZERO {
            return Err("the first epoch is 1");
        }
        if self.previous.is_none() != (self.epoch == Epoch::new(1)) {
            return Err("every epoch but the first names the record before");
        }
        if self.leader.address.len() > MEMBER_ADDRESS_LEN_MAX {
            return Err("the leader's address is too long");
        }
        Ok(())
    }
}

/// The stored form of a digest: 32 hex digits, as in a cluster's record.
mod digest {
    use alloc::string::{String, ToString};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::epoch::record::RecordDigest;

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        digest: &Option<RecordDigest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(|digest| digest.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<RecordDigest>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let digest = RecordDigest::parse(&text);
        digest.map(Some).ok_or_else(|| de::Error::custom("a digest has 32 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64) -> ElectionRecord {
        ElectionRecord {
            epoch: Epoch::new(epoch),
            reason: "a was silent for 10 s".into(),
            wall_ms: 5_000,
            previous: (epoch > 1).then(|| RecordDigest::of(b"the bytes before")),
            leader: ElectionLeader {
                name: HostName::new("b").unwrap(),
                session: SessionId::new(2),
                address: "10.0.0.7:80".into(),
            },
            tenure: LeaderTenure::Stays,
        }
    }

    #[test]
    fn it_reads_back_under_its_own_key_only() {
        for epoch in [1, 42] {
            let (record, key) = (record(epoch), keys::epoch(Epoch::new(epoch)));
            let stored = record.encode(Nonce::new(9));
            assert_eq!(ElectionRecord::decode(&key, &stored), Ok(record));
            assert!(ElectionRecord::decode(&keys::epoch(Epoch::new(43)), &stored).is_err());
        }
    }

    #[test]
    fn a_record_without_its_predecessor_is_refused_on_reading() {
        let torn = ElectionRecord { previous: None, ..record(2) };
        let stored = codec::to_json(NOUN, Nonce::new(9), &torn);
        assert!(ElectionRecord::decode(&keys::epoch(Epoch::new(2)), &stored).is_err());
    }

    #[test]
    fn wall_time_never_goes_back_even_if_the_writers_clock_is_an_hour_behind() {
        let before = record(1).as_before(b"its bytes");
        assert_eq!(ElectionRecord::wall_after(None, 3_000), 3_000);
        assert_eq!(ElectionRecord::wall_after(Some(before), 3_000), 5_000);
        assert_eq!(ElectionRecord::wall_after(Some(before), 7_000), 7_000);
    }
}
