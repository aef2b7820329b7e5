//! The emulator's one bucket: names, bytes and generations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::time::Instant;

/// Google's limit for one name: one write in this time.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// An object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) body: Bytes,
    /// Increases with every write in the bucket, so no two objects have the same generation.
    pub(super) generation: u64,
}

/// Why a write is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// The object has another generation than the condition requires.
    Condition,
    /// The name was written less than a second ago.
    TooFast,
    /// There is no object to delete.
    Missing,
}

/// All objects by name.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    objects: BTreeMap<String, Object>,
    generation: u64,
    /// When each name was last written or deleted, if writes are limited.
    written: Option<BTreeMap<String, Instant>>,
}

impl Bucket {
    pub(super) fn limit_writes(&mut self) {
        self.written.get_or_insert_default();
    }

    pub(super) fn get(&self, name: &str) -> Option<&Object> {
        self.objects.get(name)
    }

    /// Writes if the current generation (0 for no object) meets the condition. Returns the new generation.
    pub(super) fn put(
        &mut self,
        name: &str,
        body: Bytes,
        generation: Option<u64>,
    ) -> Result<Object, Refusal> {
        let stands = self.objects.get(name).map_or(0, |object| object.generation);
        if generation.is_some_and(|asked| asked != stands) {
            return Err(Refusal::Condition);
        }
        self.may_write(name)?;
        self.generation += 1;
        let object = Object { body, generation: self.generation };
        self.objects.insert(name.to_owned(), object.clone());
        Ok(object)
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), Refusal> {
        if !self.objects.contains_key(name) {
            return Err(Refusal::Missing);
        }
        self.may_write(name)?;
        self.objects.remove(name);
        Ok(())
    }

    /// The names that start with `prefix`, after the name `after`, in order.
    pub(super) fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a String, &'a Object)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
    }

    fn may_write(&mut self, name: &str) -> Result<(), Refusal> {
        let Some(written) = &mut self.written else { return Ok(()) };
        if written.get(name).is_some_and(|written| written.elapsed() < WRITE_EVERY) {
            return Err(Refusal::TooFast);
        }
        written.insert(name.to_owned(), Instant::now());
        Ok(())
    }
}
