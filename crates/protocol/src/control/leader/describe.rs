//! What a leader is about to do and what it waits for, for people.

use alloc::{collections::BTreeMap, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    Leadership,
    loads::Waits,
    moves::{Pair, Plan},
};
use crate::{ids::HostName, time::Time};

/// What a leader is about to do, and what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderStatus {
    /// The slots that the next records move between hosts that live: new owners fetch the journals of the present ones first.
    pub planned: Vec<PlannedMove>,
    /// Slots that an operator has ordered to be moved and that no plan has yet.
    pub ordered: u32,
    /// Hosts that joined without a share of the slots because they were sealed a moment ago, and for how many milliseconds yet.
    pub waiting_for_share: Vec<(HostName, u64)>,
    /// For how many milliseconds every look has found the load uneven; `None` if it is even.
    pub uneven_ms: Option<u64>,
    /// What slots that would move towards balance wait for, if for anything.
    pub balance_waits: Option<Waits>,
}

/// Slots that will move from one host to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// The present owner.
    pub from: HostName,
    /// The next one.
    pub to: HostName,
    /// How many.
    pub slots: u32,
}

impl Leadership {
    /// What it is about to do, for people.
    #[must_use]
    pub fn describe(&self, now: Time) -> LeaderStatus {
        let planned = match &self.plan {
            Plan::None => BTreeMap::new(),
            Plan::Fetching { asked, .. } | Plan::Ready { asked } => asked.clone(),
        };
        let planned = planned.into_iter().filter_map(|((to, from), slots): (Pair, u32)| {
            let name = |session| self.record.host_of(session).map(|(name, _)| name.clone());
            Some(PlannedMove { from: name(from)?, to: name(to)?, slots })
        });
        let waiting = self.waiting_for_share.keys().map(|host| {
            let left = self.backoff.slots_from(host, now).since(now);
            (host.clone(), u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
        });
        let (uneven_ms, balance_waits) = self.loads.describe(now);
        LeaderStatus {
            planned: planned.collect(),
            ordered: u32::try_from(self.changes.orders.slots.len()).unwrap_or(u32::MAX),
            waiting_for_share: waiting.collect(),
            uneven_ms,
            balance_waits,
        }
    }
}
