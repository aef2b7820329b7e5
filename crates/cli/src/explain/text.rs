//! What is known of a vnode, in words.

use core::{fmt, time::Duration};

use holocron::{Clock as _, SystemClock, VnodeStatus, inspect::NewestRecord};
use holocron_protocol::{
    epoch::{
        changes::{How, Moved},
        domain::DomainState,
        record::SessionState,
    },
    ids::DomainId,
    slot::replay::JournalEnd,
    state::place::{FileObject, PlaceKind},
};

use super::{Explained, Given, Memory, Owner};
use crate::{
    table::thousands,
    times::{lasting, shown},
};

/// Width of the labels at the begin of lines.
const LABEL_LEN: usize = 11;

impl Explained {
    pub(super) fn as_text(&self) -> String {
        let Self { name, found, owner, memory } = self;
        let mut lines = Lines::default();
        lines.add("vnode", &name.to_string());
        let domain = &found.record.domains[&found.domain];
        if found.domain != DomainId::HOME {
            let removed = match domain.state {
                DomainState::Serving => "",
                DomainState::Removed => ", which was removed: the vnode can't be called",
            };
            lines.add("domain", &format!("{}{removed}", domain.name));
        }
        let slots = thousands(found.record.slot_count.into());
        lines.add("slot", &format!("{} of {slots}, by the hash of its name", found.slot.0));
        match owner {
            Some(owner) => owner.tell(&mut lines),
            None if found.domain != DomainId::HOME => {
                lines.add("owner", "none: no host has access to the store of its domain");
            }
            None => lines.add("owner", "none: the cluster has no host that could own its slot"),
        }
        let unread = self.unread();
        if !unread.is_empty() {
            let may = if unread.has(name.kind()) { "the vnode may be" } else { "the vnode isn't" };
            let text =
                format!("the owner can't read {unread}, which may be in the slot; {may} affected");
            lines.add("unread", &text);
        }
        let epoch = thousands(found.record.epoch.get());
        lines.add("leader", &format!("{}, in epoch {epoch}, the newest", found.record.leader.host));
        self.tell_sources(&mut lines);
        self.tell_newest(&mut lines);
        self.tell_journals(&mut lines);
        lines.add("in memory", &memory.to_string());
        lines.0
    }

    fn tell_sources(&self, lines: &mut Lines) {
        if self.found.holding.sources.is_empty() {
            let none = "none: what the owner wrote itself is enough to recover the slot";
            lines.add("sources", none);
        }
        for (at, source) in self.found.holding.sources.iter().enumerate() {
            let state =
                match self.found.record.sessions.get(&source.session).map(|entry| entry.state) {
                    Some(SessionState::Sealed(Some(at))) => {
                        format!("sealed at position {}", at.get())
                    }
                    Some(SessionState::Sealed(None)) => "over, being sealed".to_owned(),
                    Some(SessionState::Open) => "the session lives".to_owned(),
                    Some(SessionState::Detached(_)) | None => "detached".to_owned(),
                };
            let text = format!(
                "{}, which had the slot from epoch {} on; {state}",
                self.host(source.session),
                thousands(source.epoch.get())
            );
            lines.add(if at == 0 { "sources" } else { "" }, &text);
        }
    }

    fn tell_newest(&self, lines: &mut Lines) {
        let stored = match &self.found.newest {
            NewestRecord::Never => {
                lines.add("newest", "never written: its state is the default of its kind");
                return;
            }
            NewestRecord::Stored(stored) | NewestRecord::Damaged(stored, _) => stored,
        };
        let writer = self.host(stored.tenure.session);
        let commit = thousands(stored.commit.get());
        let deleted = match stored.kind {
            PlaceKind::Live => "",
            PlaceKind::Tombstone => ", which deleted the vnode",
        };
        let object = match stored.file.object {
            FileObject::Journal(at) => {
                format!("batch {} of the journal of {writer}", thousands(at.get()))
            }
            FileObject::Pack(number) => {
                format!("pack {} of {writer}", thousands(number.get()))
            }
        };
        lines.add("newest", &format!("commit {commit}{deleted}, in {object}"));
        let (length, offset) = (thousands(stored.length.into()), thousands(stored.offset.into()));
        lines.add("  bytes", &format!("{length} from offset {offset} of {}", stored.file.key()));
        if let NewestRecord::Damaged(_, why) = &self.found.newest {
            lines.add("  damaged", why);
        }
    }

    fn tell_journals(&self, lines: &mut Lines) {
        for (at, read) in self.found.journals.iter().enumerate() {
            let end = match read.end {
                JournalEnd::Live => "open",
                JournalEnd::Sealed(_) => "sealed",
            };
            let host = self.host(read.session);
            let text = match read.committed.get() {
                0 => format!("of {host}: nothing committed, {end}"),
                last => format!("of {host}: committed up to batch {}, {end}", thousands(last)),
            };
            lines.add(if at == 0 { "journal" } else { "" }, &text);
        }
    }
}

impl Owner {
    fn tell(&self, lines: &mut Lines) {
        lines.add("owner", &format!("{} at {}", self.host, self.entry.address));
        let epoch = thousands(self.tenure.epoch.get());
        match &self.given {
            Given::By { record, moved } => {
                let ago = SystemClock.wall_ms().saturating_sub(record.wall_ms);
                let ago = lasting(Duration::from_millis(ago));
                let when = shown(record.wall_ms);
                lines.add("  since", &format!("epoch {epoch}, {when}, {ago} ago"));
                lines.add("  why", &record.reason);
                let from = moved.as_ref().map_or_else(
                    || "unknown: the epoch before can't be read".to_owned(),
                    came_from,
                );
                lines.add("  from", &from);
            }
            Given::Unknown(why) => {
                lines.add("  since", &format!("epoch {epoch}"));
                lines.add("  why", &format!("unknown: {why}"));
            }
        }
    }
}

/// From whom the owner got the slot, and how.
fn came_from(moved: &Moved) -> String {
    let same = moved.from.as_ref().zip(moved.to.as_ref());
    let same = same.is_some_and(|(from, to)| from.host == to.host);
    let session = if same { ", its own earlier session" } else { "" };
    match (&moved.from, moved.how) {
        (Some(from), How::TakenOver) => {
            format!("{}{session} (takeover: that session was over)", from.host)
        }
        (Some(from), How::HandedOver) => {
            format!("{}{session} (planned: it handed the slot over)", from.host)
        }
        (Some(from), How::Given | How::Orphaned | How::InBetween) => {
            format!("{}{session}", from.host)
        }
        (None, _) => "no host: the slot had no owner".to_owned(),
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(VnodeStatus::Active { waiting: 0 }) => f.write_str("yes, active"),
            Self::Known(VnodeStatus::Active { waiting }) => {
                write!(f, "yes, active; {waiting} calls wait for it")
            }
            Self::Known(VnodeStatus::Dormant) => f.write_str("no, dormant: the next call loads it"),
            Self::Known(VnodeStatus::Recovering) => {
                f.write_str("no: the owner is still recovering the slot, and calls wait")
            }
            Self::Known(VnodeStatus::NotServed) => f.write_str(
                "no: the host doesn't serve the slot; it may not have read the newest epoch yet",
            ),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Lines with a label each.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, text: &str) {
        self.0.push_str(&format!("{label:<LABEL_LEN$}{text}\n"));
    }
}
