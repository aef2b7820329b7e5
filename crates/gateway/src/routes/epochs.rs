//! What happened in the cluster: pages of epochs in words, and one epoch with its hosts and slots.

use std::{collections::BTreeSet, sync::Arc};

use axum::extract::{Request, State};
use holocron::inspect::{ClusterReader, ENTRIES_MAX, Entry, ReadError};
use holocron_protocol::{
    epoch::{
        changes::{Change, changes},
        record::EpochRecord,
    },
    ids::Epoch,
};
use serde_json::{Value, json as value};

use super::{Answered, json};
use crate::{
    access::Scope,
    arguments::pairs,
    gateway::{Gateway, to_cluster},
    problem::{Problem, ProblemKind},
    request::path,
    status::picture,
};

/// Epochs on a page, if the request doesn't say.
const EPOCHS_DEFAULT: u64 = 20;
/// Most epochs on a page. One more is read, to say what changed with the first.
pub(crate) const EPOCHS_MAX: u64 = 200;
const _: () = assert!(EPOCHS_MAX < ENTRIES_MAX);

/// Changes that a page tells of one epoch: when many hosts move slots, there are thousands. The epoch alone has all.
const CHANGES_MAX: usize = 100;

/// Which epochs a page shows.
#[derive(Clone, Copy)]
enum Place {
    Newest,
    After(u64),
    Before(u64),
}

/// `GET /v1/epochs`
pub(super) async fn epochs(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (head, _) = request.into_parts();
    gateway.admit(&head, to_cluster(Scope::Admin)).await?;
    let (mut place, mut limit) = (Place::Newest, EPOCHS_DEFAULT);
    for (name, text) in pairs(&head.uri)? {
        let number = text.parse::<u64>().ok();
        match (&*name, number, place) {
            ("after", Some(number), Place::Newest) => place = Place::After(number),
            ("before", Some(number), Place::Newest) => place = Place::Before(number),
            ("limit", Some(number), _) if (1..=EPOCHS_MAX).contains(&number) => limit = number,
            _ => {
                let why =
                    format!("there are after or before (an epoch) and limit (1 to {EPOCHS_MAX})");
                return Err(ProblemKind::Malformed.with(why));
            }
        }
    }
    let page = page(reader(&gateway).await?, place, limit).await.map_err(unread)?;
    Ok(json(page.to_string()))
}

async fn page(reader: &ClusterReader, place: Place, limit: u64) -> Result<Value, ReadError> {
    let kept = reader.kept().await?;
    let (oldest, newest) = (kept.first.get(), kept.newest.get());
    let shown = match place {
        Place::Newest => kept.last(limit),
        Place::After(after) => {
            let first = after.saturating_add(1).max(oldest);
            first..=newest.min(first.saturating_add(limit - 1))
        }
        Place::Before(before) => {
            let last = newest.min(before.saturating_sub(1));
            (last + 1).saturating_sub(limit).max(oldest)..=last
        }
    };
    let mut epochs = Vec::new();
    if !shown.is_empty() {
        // The one before says what has changed with the first.
        let first = *shown.start();
        let read = (first - 1).max(oldest)..=*shown.end();
        let mut before: Option<Arc<EpochRecord>> = None;
        for (epoch, entry) in reader.entries(read).await? {
            if epoch.get() >= first {
                epochs.push(told(epoch.get(), before.as_deref(), &entry, CHANGES_MAX));
            }
            before = entry.record().cloned();
        }
    }
    Ok(value!({ "oldest": oldest, "newest": newest, "epochs": epochs }))
}

/// `GET /v1/epochs/{epoch}`
pub(super) async fn epoch(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (mut head, _) = request.into_parts();
    let number = path::<String>(&mut head).await?.parse::<u64>();
    gateway.admit(&head, to_cluster(Scope::Admin)).await?;
    let number = number.ok().filter(|number| *number > 0);
    let number = number
        .ok_or_else(|| ProblemKind::Malformed.with("an epoch is a number from 1 on".to_owned()))?;
    let reader = reader(&gateway).await?;
    let entry = match known(&gateway, number) {
        Some(record) => Entry::Record(record),
        None => reader.entry(Epoch::new(number)).await.map_err(unread)?,
    };
    let why = match &entry {
        Entry::Record(record) => {
            let before = match number {
                1 => None,
                _ => reader.stored(Epoch::new(number - 1)).await.map_err(unread)?.record().cloned(),
            };
            let mut shown = told(number, before.as_deref(), &entry, usize::MAX);
            shown["hosts"] = picture::hosts(record);
            shown["slots"] = value!(record.slot_count);
            shown["domains"] = picture::domains(record);
            shown["moved"] = before.map_or(Value::Null, |before| moved(&before, record));
            return Ok(json(shown.to_string()));
        }
        Entry::Deleted => "is no longer kept",
        Entry::Absent => "is not written yet, or was deleted from outside",
        Entry::Undecodable(malformed) => {
            return Err(ProblemKind::NotFound.with(format!("epoch {number}: {malformed}")));
        }
    };
    Err(ProblemKind::NotFound.with(format!("epoch {number} {why}")))
}

/// The newest record, which the host of this gateway has in memory: while slots move, operators look at it again and again.
fn known(gateway: &Gateway, number: u64) -> Option<Arc<EpochRecord>> {
    let record = gateway.0.observer.as_ref()?.view()?.record;
    (record.epoch.get() == number).then_some(record)
}

/// The slots that went from one owner to another.
fn moved(before: &EpochRecord, record: &EpochRecord) -> Value {
    let all = changes(Some(before), record).into_iter();
    all.filter_map(|change| {
        let Change::SlotsMoved(moved) = change else { return None };
        Some(value!({
            "domain": moved.domain_name,
            "slots": moved.slots,
            "from": moved.from.map(|party| party.host),
            "to": moved.to.map(|party| party.host),
            "how": moved.how,
        }))
    })
    .collect()
}

/// An epoch, with what changed since the one before, in words: so many changes at most.
fn told(epoch: u64, before: Option<&EpochRecord>, entry: &Entry, max: usize) -> Value {
    let Some(record) = entry.record() else {
        return value!({ "epoch": epoch, "readable": false });
    };
    let changed = changes(before, record);
    let kinds: BTreeSet<String> = changed.iter().map(kind_of).collect();
    let left_out = changed.len().saturating_sub(max);
    let changed: Vec<String> = changed.iter().take(max).map(ToString::to_string).collect();
    value!({
        "epoch": epoch,
        "readable": true,
        "wall_ms": record.wall_ms,
        "leader": record.leader.host.as_str(),
        "reason": record.reason,
        "kinds": kinds,
        "changes": changed,
        "changes_left_out": left_out,
    })
}

/// What kind of change it is, for programs. Of slots that moved, how they did.
fn kind_of(change: &Change) -> String {
    let field = if matches!(change, Change::SlotsMoved(_)) { "how" } else { "change" };
    value!(change)[field].as_str().unwrap_or_default().to_owned()
}

/// A reader of the store of this gateway's host.
pub(super) async fn reader(gateway: &Gateway) -> Result<&ClusterReader, Problem> {
    let Some(observer) = &gateway.0.observer else {
        return Err(ProblemKind::NotFound.with("this gateway has no host, and no store to read"));
    };
    let reader = gateway.0.reader.get_or_try_init(|| observer.reader(super::STORE_WITHIN)).await;
    reader.map_err(unread)
}

/// What the store doesn't say.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(super) fn unread(error: ReadError) -> Problem {
    ProblemKind::StoreUnavailable.with(error.to_string())
}
