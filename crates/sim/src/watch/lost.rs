//! The rules after a loss of the store. Checks invariant 14.
//!
//! The batch that was in flight, and one sent together with the look that detects the loss, may land in the replacement
//! store. All other writes of a host there, and every answer to a later call, are violations.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holocron::{Answer, Call, Mode, Outcome};
use holocron_protocol::{
    format::keys::{self, Key},
    ids::{Position, SessionId},
    journal::batch::{self, JournalObject},
};

use super::invariant::{Broken, Invariant};

/// Batches of one session that may land in the replacement store.
const BATCHES_MAX: usize = 2;

/// What happened since the store was lost.
#[derive(Debug, Default)]
pub(super) struct Lost {
    landed: BTreeMap<SessionId, BTreeSet<Position>>,
}

impl Lost {
    /// An object lands in the replacement store.
    pub(super) fn created(&mut self, key: &str, body: &Bytes) -> Option<Broken> {
        let Some(Key::Journal(session, position)) = keys::parse(key) else { return None };
        // A leader that has not detected the loss may seal a host that has.
        let Ok(JournalObject::Batch(_)) = batch::decode(key, body) else { return None };
        let landed = self.landed.entry(session).or_default();
        landed.insert(position);
        if landed.len() <= BATCHES_MAX {
            return None;
        }
        let how = format!("{} batches of {session} in the replacement store", landed.len());
        Some(Invariant::LostIsNoticed.broken(how))
    }

    /// A host sends an answer to a call that came after the loss.
    pub(super) fn answered(call: &Call, answer: &Answer) -> Option<Broken> {
        // A local read may be stale until its host has detected the loss.
        if !matches!(answer.outcome, Outcome::Reply(_)) || call.mode == Mode::Local {
            return None;
        }
        let how = format!("{:?} of {} is answered from memory", call.mode, call.name);
        Some(Invariant::LostIsNoticed.broken(how))
    }
}
