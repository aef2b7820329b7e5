//! `kv`: a small map of text to text, with times to live and compare-and-set.
//!
//! The whole map is one state: it is loaded, changed and committed as one. So it suits maps of some kilobytes, such as
//! the settings of a device or the members of a room. For more data use more vnodes: an idle vnode costs nothing.
//!
//! Invariants:
//!
//! * A field whose time to live is over is never shown, and counts for no comparison.
//! * No change makes a map larger than its limits; one that was larger before may shrink.

pub mod limits;
#[cfg(test)]
mod tests;
mod types;

use core::ops::Bound;
use std::collections::BTreeMap;

use holocron::Context;
use serde::{Deserialize, Serialize};

use self::limits::{BYTES_MAX, FIELDS_MAX, NAME_LEN_MAX, SCAN_DEFAULT, SCAN_MAX, TTL_MAX_MS};
pub use self::types::{Change, Field, KvError, Page};
use crate::{sequence::Sequence, wall::set_timer};

const TIMER: &str = "expire";

/// A map from field to value.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kv {
    revisions: Sequence,
    fields: BTreeMap<String, Field>,
}

/// The state of version 1: values without revision and time to live.
#[derive(Debug, Deserialize)]
pub(crate) struct KvV1 {
    fields: BTreeMap<String, String>,
}

/// The revision of all fields of a state of version 1.
const REVISION_OF_V1: u64 = 1;

#[holocron::vnode(kind = "kv", version = 2)]
impl Kv {
    #[migrate(from = 1)]
    fn from_v1(old: KvV1) -> Self {
        let keep = |value| Field { value, revision: REVISION_OF_V1, expires_at_ms: None };
        Self {
            revisions: Sequence::after(REVISION_OF_V1),
            fields: old.fields.into_iter().map(|(name, value)| (name, keep(value))).collect(),
        }
    }

    /// Sets a field. With `ttl_ms` it is removed after that time; without, it stays, also if it had a time to live before.
    #[command]
    fn put(
        &mut self,
        context: &mut Context<'_, Self>,
        field: &str,
        value: String,
        ttl_ms: Option<u64>,
    ) -> Result<Change, KvError> {
        if ttl_ms.is_some_and(|ttl_ms| !(1..=TTL_MAX_MS).contains(&ttl_ms)) {
            return Err(KvError::TtlOutOfRange { min: 1, max: TTL_MAX_MS });
        }
        let now = self.settle(context);
        let before = self.value_of(field);
        let expires_at_ms = ttl_ms.map(|ttl_ms| now + ttl_ms);
        let revision = self.write(now, field, value, expires_at_ms)?;
        self.set_timer(context);
        Ok(Change { done: true, before, revision: Some(revision) })
    }

    /// Removes a field.
    #[command(name = "delete")]
    fn remove(&mut self, context: &mut Context<'_, Self>, field: &str) -> Change {
        self.settle(context);
        let before = self.fields.remove(field).map(|field| field.value);
        self.set_timer(context);
        Change { done: true, before, revision: None }
    }

    /// Sets or removes a field if its value is `expected`; null stands for no field, in both places. The field keeps its time
    /// to live.
    #[command(name = "compare-and-set")]
    #[expect(clippy::needless_pass_by_value, reason = "an argument is owned inside: it travels")]
    fn compare_and_set(
        &mut self,
        context: &mut Context<'_, Self>,
        field: &str,
        expected: Option<String>,
        value: Option<String>,
    ) -> Result<Change, KvError> {
        let now = self.settle(context);
        if self.value_of(field) != expected {
            return Ok(self.unchanged(field));
        }
        let change = self.change(now, field, value);
        self.set_timer(context);
        change
    }

    /// Sets or removes a field if its revision is `revision`; null stands for no field. Unlike a comparison of values it notices that
    /// a field was changed and changed back. The field keeps its time to live.
    #[command(name = "compare-revision-and-set")]
    fn compare_revision_and_set(
        &mut self,
        context: &mut Context<'_, Self>,
        field: &str,
        revision: Option<u64>,
        value: Option<String>,
    ) -> Result<Change, KvError> {
        let now = self.settle(context);
        if self.revision_of(field) != revision {
            return Ok(self.unchanged(field));
        }
        let change = self.change(now, field, value);
        self.set_timer(context);
        change
    }

    /// Removes the fields whose time to live is over. The map's own timer calls it; calling it does no harm.
    #[command]
    fn expire(&mut self, context: &mut Context<'_, Self>) {
        self.settle(context);
        self.set_timer(context);
    }

    /// One field, if there is one of that name.
    #[query]
    fn get(&self, context: &Context<'_, Self>, field: &str) -> Option<Field> {
        let now = context.now_ms();
        self.fields.get(field).filter(|field| !field.is_over(now)).cloned()
    }

    /// The fields whose names begin with `prefix`, in order: up to `limit` (100 if not given, 1,000 at most), those behind the
    /// name `after` if it is given.
    #[query]
    fn scan(
        &self,
        context: &Context<'_, Self>,
        prefix: &str,
        limit: Option<u32>,
        after: Option<String>,
    ) -> Page {
        let now = context.now_ms();
        let limit = limit.unwrap_or(SCAN_DEFAULT).clamp(1, SCAN_MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let after = after.filter(|after| after.as_str() >= prefix);
        let from = after.as_deref().map_or(Bound::Included(prefix), Bound::Excluded);
        let behind = self.fields.range::<str, _>((from, Bound::Unbounded));
        let mut found = behind
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(_, field)| !field.is_over(now))
            .peekable();
        let mut fields = BTreeMap::new();
        while fields.len() < limit
            && let Some((name, field)) = found.next()
        {
            fields.insert(name.clone(), field.clone());
        }
        let is_more = found.peek().is_some();
        let next = fields.last_key_value().map(|(name, _)| name.clone()).filter(|_| is_more);
        Page { fields, next }
    }

    /// All fields with their values.
    #[query]
    fn all(&self, context: &Context<'_, Self>) -> BTreeMap<String, String> {
        let now = context.now_ms();
        let live = self.fields.iter().filter(|(_, field)| !field.is_over(now));
        live.map(|(name, field)| (name.clone(), field.value.clone())).collect()
    }

    /// Removes what is due. Every command begins with it, so that no rule depends on when the timer fires.
    fn settle(&mut self, context: &Context<'_, Self>) -> u64 {
        let now = context.now_ms();
        self.fields.retain(|_, field| !field.is_over(now));
        now
    }

    fn value_of(&self, field: &str) -> Option<String> {
        self.fields.get(field).map(|field| field.value.clone())
    }

    fn revision_of(&self, field: &str) -> Option<u64> {
        self.fields.get(field).map(|field| field.revision)
    }

    /// What a compare-and-set answers that wasn't applied.
    fn unchanged(&self, field: &str) -> Change {
        Change { done: false, before: self.value_of(field), revision: self.revision_of(field) }
    }

    /// Sets or removes a field, which keeps its time to live.
    fn change(&mut self, now: u64, field: &str, value: Option<String>) -> Result<Change, KvError> {
        let before = self.value_of(field);
        let expires_at_ms = self.fields.get(field).and_then(|field| field.expires_at_ms);
        let revision = match value {
            Some(value) => Some(self.write(now, field, value, expires_at_ms)?),
            None => {
                self.fields.remove(field);
                None
            }
        };
        Ok(Change { done: true, before, revision })
    }

    /// Writes a field within the limits. Returns its revision.
    fn write(
        &mut self,
        now: u64,
        name: &str,
        value: String,
        expires_at_ms: Option<u64>,
    ) -> Result<u64, KvError> {
        if name.len() > NAME_LEN_MAX {
            return Err(KvError::NameTooLong { max: NAME_LEN_MAX });
        }
        let len = |name: &str, field: &Field| name.len() + field.value.len();
        let all: usize = self.fields.iter().map(|(name, field)| len(name, field)).sum();
        let replaced = self.fields.get(name).map(|field| len(name, field));
        let fields = self.fields.len() + usize::from(replaced.is_none());
        let bytes = all - replaced.unwrap_or(0) + name.len() + value.len();
        // A map of version 1 may be over the limits: what doesn't add to it is not refused.
        let grows = replaced.is_none_or(|replaced| name.len() + value.len() > replaced);
        if grows && (fields > FIELDS_MAX || bytes > BYTES_MAX) {
            let (fields_max, bytes_max) = (FIELDS_MAX, BYTES_MAX);
            return Err(KvError::Full { fields, fields_max, bytes, bytes_max });
        }
        let revision = self.revisions.next(now);
        self.fields.insert(name.to_owned(), Field { value, revision, expires_at_ms });
        Ok(revision)
    }

    fn set_timer(&self, context: &mut Context<'_, Self>) {
        let next = self.fields.values().filter_map(|field| field.expires_at_ms).min();
        set_timer(context, TIMER, next, KvCommand::expire());
    }
}
