//! What a host measures, as it tells tools: its status, with rates, latencies, cost and the last takeovers.
//!
//! Travels as JSON, so that a release may add to it.

use std::collections::BTreeMap;

use holocron_protocol::ids::{Epoch, HostName, SessionId};
use serde::{Deserialize, Serialize};

use super::peer::HostStatus;

/// What a host measures. Counts are since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMeasures {
    /// Its status.
    pub status: HostStatus,
    /// Its release.
    pub version: String,
    /// When it answered, by its wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// When it started, by the same clock.
    pub started_ms: u64,
    /// Resident memory of its process, where the operating system says.
    pub resident_bytes: Option<u64>,
    /// From the closing of a batch until it was committed.
    pub commits: Buckets,
    /// Answered calls, by mode: `command`, `query`, `local`, `message`, `upkeep`.
    pub calls: BTreeMap<String, CallMeasures>,
    /// Requests to the home domain's store, by verb.
    pub requests: BTreeMap<String, u64>,
    /// Slots of the home domain that it was given and hasn't recovered yet, as ranges: `0-12 40`.
    pub recovering: String,
    /// Slots of the home domain that it gave away and hasn't released yet.
    pub going: String,
    /// The last steps of takeovers that it took part in, oldest first.
    pub takeovers: Vec<TakeoverStep>,
}

/// The answered calls of one mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMeasures {
    /// Those that ended well.
    pub ok: u64,
    /// All others: refused, busy, unclear and so on. Clients repeat many of these by themselves.
    pub others: u64,
    /// From the arrival to the answer.
    pub durations: Buckets,
}

/// A distribution of durations: the buckets that aren't empty, each with its upper bound in nanoseconds (none: above all
/// bounds) and how many values are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Buckets(pub Vec<(Option<u64>, u64)>);

impl Buckets {
    /// Adds the values of another distribution with the same bounds, in order.
    pub fn add(&mut self, other: impl IntoIterator<Item = (Option<u64>, u64)>) {
        for (bound, count) in other.into_iter().filter(|(_, count)| *count > 0) {
            match self.0.iter_mut().find(|(own, _)| *own == bound) {
                Some((_, own)) => *own += count,
                None => self.0.push((bound, count)),
            }
        }
        // The bucket without a bound is the last.
        self.0.sort_by_key(|(bound, _)| bound.unwrap_or(u64::MAX));
    }
}

/// One step of a takeover, or of a planned move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum TakeoverStep {
    /// The leader sealed a session: it is suspected, or has left.
    Seal(SealStep),
    /// A host recovered slots that an epoch gave it.
    Recover(RecoverStep),
}

/// A session is sealed by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealStep {
    /// Which.
    pub session: SessionId,
    /// Its host, if the newest record listed it.
    pub host: Option<HostName>,
    /// When the leader decided it, by its wall clock.
    pub began_ms: u64,
    /// How long it took until the seal was known; none yet.
    pub took_ms: Option<u64>,
}

/// A session recovers slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverStep {
    /// Which.
    pub session: SessionId,
    /// The epoch that gave it the slots; the newest, if there were several.
    pub epoch: Epoch,
    /// How many slots.
    pub slots: u32,
    /// How many of them are still left.
    pub left: u32,
    /// The sessions that had the slots before; 16 at most.
    pub sources: Vec<Source>,
    /// When it began, by its host's wall clock.
    pub began_ms: u64,
    /// How long it took until all were adopted; none yet.
    pub took_ms: Option<u64>,
}

/// A session that slots are recovered from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Which.
    pub session: SessionId,
    /// Its host, if the record lists it.
    pub host: Option<HostName>,
    /// Whether it is over: a takeover. Else it hands the slots over.
    pub is_over: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_two_kinds_add_up_in_order() {
        let mut buckets = Buckets::default();
        buckets.add([(Some(10), 1), (Some(20), 0), (None, 2)]);
        buckets.add([(Some(10), 3), (Some(20), 4)]);
        assert_eq!(buckets.0, [(Some(10), 4), (Some(20), 4), (None, 2)]);
    }
}
