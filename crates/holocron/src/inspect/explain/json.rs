//! What is known of a vnode, for programs.

use holocron_protocol::{
    epoch::record::SessionState,
    ids::{Position, Tenure},
    slot::replay::JournalEnd,
    state::place::{FileObject, PlaceKind},
};
use serde_json::{Value, json};

use super::{Explained, Given, Memory, Owner};
use crate::{
    inspect::{JournalRead, NewestRecord, StoredAt},
    transport::peer::VnodeStatus,
};

impl Explained {
    /// All of it as a JSON object.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let Self { name, found, owner, memory } = self;
        json!({
            "kind": name.kind(),
            "key": name.key(),
            "domain": found.record.domains[&found.domain].name,
            "slot": found.slot.0,
            "slots": found.record.slot_count,
            "epoch": found.record.epoch.get(),
            "leader": found.record.leader.host.as_str(),
            "owner": owner.as_ref().map(Owner::as_json),
            "unread": self.unread(),
            "sources": found.holding.sources.iter().map(|&source| self.source_as_json(source)).collect::<Vec<_>>(),
            "newest": self.newest_as_json(),
            "journals": found.journals.iter().map(|read| self.journal_as_json(read)).collect::<Vec<_>>(),
            "memory": memory.as_json(),
        })
    }

    fn source_as_json(&self, source: Tenure) -> Value {
        let (state, position) =
            match self.found.record.sessions.get(&source.session).map(|entry| entry.state) {
                Some(SessionState::Sealed(None)) => ("over", None),
                Some(SessionState::Sealed(Some(position))) => ("sealed", Some(position)),
                Some(SessionState::Detached(position)) => ("detached", Some(position)),
                Some(SessionState::Open) | None => ("open", None),
            };
        json!({
            "host": self.host(source.session).as_str(),
            "session": source.session,
            "epoch": source.epoch.get(),
            "state": state,
            "position": position.map(Position::get),
        })
    }

    fn newest_as_json(&self) -> Value {
        let (stored, damaged): (&StoredAt, _) = match &self.found.newest {
            NewestRecord::Never => return Value::Null,
            NewestRecord::Stored(stored) => (stored, None),
            NewestRecord::Damaged(stored, why) => (stored, Some(why)),
        };
        let (object, number) = match stored.file.object {
            FileObject::Journal(position) => ("batch", position.get()),
            FileObject::Pack(number) => ("pack", number.get()),
        };
        json!({
            "commit": stored.commit.get(),
            "deleted": stored.kind == PlaceKind::Tombstone,
            "object": object,
            "number": number,
            "key": stored.file.key(),
            "offset": stored.offset,
            "length": stored.length,
            "host": self.host(stored.tenure.session).as_str(),
            "session": stored.tenure.session,
            "epoch": stored.tenure.epoch.get(),
            "damaged": damaged,
        })
    }

    fn journal_as_json(&self, read: &JournalRead) -> Value {
        let sealed = match read.end {
            JournalEnd::Live => None,
            JournalEnd::Sealed(position) => Some(position.get()),
        };
        json!({
            "host": self.host(read.session).as_str(),
            "session": read.session,
            "committed": read.committed.get(),
            "sealed": sealed,
        })
    }
}

impl Owner {
    fn as_json(&self) -> Value {
        let mut owner = json!({
            "host": self.host.as_str(),
            "address": self.entry.address,
            "session": self.tenure.session,
            "since_epoch": self.tenure.epoch.get(),
        });
        match &self.given {
            Given::By { record, moved } => {
                owner["wall_ms"] = json!(record.wall_ms);
                owner["reason"] = json!(record.reason);
                owner["how"] = json!(moved.as_ref().map(|moved| moved.how));
                owner["from"] = json!(moved.as_ref().and_then(|moved| moved.from.as_ref()));
            }
            Given::Unknown(why) => owner["unknown"] = json!(why),
        }
        owner
    }
}

impl Memory {
    fn as_json(&self) -> Value {
        match self {
            Self::Known(VnodeStatus::Active { waiting }) => {
                json!({ "state": "active", "waiting": waiting })
            }
            Self::Known(VnodeStatus::Dormant) => json!({ "state": "dormant" }),
            Self::Known(VnodeStatus::Recovering) => json!({ "state": "recovering" }),
            Self::Known(VnodeStatus::NotServed) => json!({ "state": "not_served" }),
            Self::Unknown(why) => json!({ "state": "unknown", "why": why }),
        }
    }
}
