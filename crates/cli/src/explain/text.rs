//! What is known of a vnode, in words.

use core::time::Duration;

use holocron::{
    Clock as _, SystemClock, VnodeStatus,
    inspect::{Explained, Given, Memory, NewestRecord, Owner},
};
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

use crate::{
    table::thousands,
    times::{lasting, shown},
};

/// Width of the labels at the begin of lines.
const LABEL_LEN: usize = 11;

/// All of it, a line each.
pub(super) fn of(explained: &Explained) -> String {
    let Explained { name, found, owner, memory } = explained;
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
        Some(owner) => tell_owner(owner, &mut lines),
        None if found.domain != DomainId::HOME => {
            lines.add("owner", "none: no host has access to the store of its domain");
        }
        None => lines.add("owner", "none: the cluster has no host that could own its slot"),
    }
    let unread = explained.unread();
    if !unread.is_empty() {
        let may = if unread.has(name.kind()) { "the vnode may be" } else { "the vnode isn't" };
        let text =
            format!("the owner can't read {unread}, which may be in the slot; {may} affected");
        lines.add("unread", &text);
    }
    let epoch = thousands(found.record.epoch.get());
    lines.add("leader", &format!("{}, in epoch {epoch}, the newest", found.record.leader.host));
    tell_sources(explained, &mut lines);
    tell_newest(explained, &mut lines);
    tell_journals(explained, &mut lines);
    lines.add("in memory", &in_memory(memory));
    lines.0
}

fn tell_sources(explained: &Explained, lines: &mut Lines) {
    if explained.found.holding.sources.is_empty() {
        let none = "none: what the owner wrote itself is enough to recover the slot";
        lines.add("sources", none);
    }
    for (at, source) in explained.found.holding.sources.iter().enumerate() {
        let state =
            match explained.found.record.sessions.get(&source.session).map(|entry| entry.state) {
                Some(SessionState::Sealed(Some(at))) => {
                    format!("sealed at position {}", at.get())
                }
                Some(SessionState::Sealed(None)) => "over, being sealed".to_owned(),
                Some(SessionState::Open) => "the session lives".to_owned(),
                Some(SessionState::Detached(_)) | None => "detached".to_owned(),
            };
        let text = format!(
            "{}, which had the slot from epoch {} on; {state}",
            explained.host(source.session),
            thousands(source.epoch.get())
        );
        lines.add(if at == 0 { "sources" } else { "" }, &text);
    }
}

fn tell_newest(explained: &Explained, lines: &mut Lines) {
    let stored = match &explained.found.newest {
        NewestRecord::Never => {
            lines.add("newest", "never written: its state is the default of its kind");
            return;
        }
        NewestRecord::Stored(stored) | NewestRecord::Damaged(stored, _) => stored,
    };
    let writer = explained.host(stored.tenure.session);
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
    if let NewestRecord::Damaged(_, why) = &explained.found.newest {
        lines.add("  damaged", why);
    }
}

fn tell_journals(explained: &Explained, lines: &mut Lines) {
    for (at, read) in explained.found.journals.iter().enumerate() {
        let end = match read.end {
            JournalEnd::Live => "open",
            JournalEnd::Sealed(_) => "sealed",
        };
        let host = explained.host(read.session);
        let text = match read.committed.get() {
            0 => format!("of {host}: nothing committed, {end}"),
            last => format!("of {host}: committed up to batch {}, {end}", thousands(last)),
        };
        lines.add(if at == 0 { "journal" } else { "" }, &text);
    }
}

fn tell_owner(owner: &Owner, lines: &mut Lines) {
    lines.add("owner", &format!("{} at {}", owner.host, owner.entry.address));
    let epoch = thousands(owner.tenure.epoch.get());
    match &owner.given {
        Given::By { record, moved } => {
            let ago = SystemClock.wall_ms().saturating_sub(record.wall_ms);
            let ago = lasting(Duration::from_millis(ago));
            let when = shown(record.wall_ms);
            lines.add("  since", &format!("epoch {epoch}, {when}, {ago} ago"));
            lines.add("  why", &record.reason);
            let from = moved
                .as_ref()
                .map_or_else(|| "unknown: the epoch before can't be read".to_owned(), came_from);
            lines.add("  from", &from);
        }
        Given::Unknown(why) => {
            lines.add("  since", &format!("epoch {epoch}"));
            lines.add("  why", &format!("unknown: {why}"));
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

fn in_memory(memory: &Memory) -> String {
    match memory {
        Memory::Known(VnodeStatus::Active { waiting: 0 }) => "yes, active".to_owned(),
        Memory::Known(VnodeStatus::Active { waiting }) => {
            format!("yes, active; {waiting} calls wait for it")
        }
        Memory::Known(VnodeStatus::Dormant) => "no, dormant: the next call loads it".to_owned(),
        Memory::Known(VnodeStatus::Recovering) => {
            "no: the owner is still recovering the slot, and calls wait".to_owned()
        }
        Memory::Known(VnodeStatus::NotServed) => {
            "no: the host doesn't serve the slot; it may not have read the newest epoch yet"
                .to_owned()
        }
        Memory::Unknown(why) => format!("unknown: {why}"),
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
