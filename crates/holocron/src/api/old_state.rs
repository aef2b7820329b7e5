//! States of older versions of a kind, and the check that a type is the one that a version had.

use core::any::TypeId;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use holocron_protocol::schema::{
    compare::differences,
    record::{Codec, KindRecord},
    trace::Form,
};
use serde::de::DeserializeOwned;

use crate::api::{by_name, codec};

/// The versions of a kind that the store has a record of.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    recorded: BTreeMap<u32, KindRecord>,
    /// Whether a type has the shape of a version: found once for each.
    checked: Mutex<BTreeMap<(u32, TypeId), Result<(), String>>>,
}

impl Versions {
    pub(crate) fn new(recorded: impl IntoIterator<Item = KindRecord>) -> Self {
        let recorded = recorded.into_iter().map(|record| (record.version, record)).collect();
        Self { recorded, checked: Mutex::default() }
    }

    /// How the states of a version are encoded. One without a record is older than records, and older than the choice.
    fn codec(&self, version: u32) -> Codec {
        self.recorded.get(&version).map_or(Codec::Bincode, |record| record.codec)
    }

    /// Whether a type can read the states of a version; the error says what differs.
    fn check<T: DeserializeOwned + 'static>(&self, version: u32) -> Result<(), String> {
        let Some(record) = self.recorded.get(&version) else { return Ok(()) };
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let check = || {
            let own = by_name::shape::<T>(Form::Binary);
            let differences = differences(&record.state, &own, record.codec);
            if differences.is_empty() {
                return Ok(());
            }
            let name = core::any::type_name::<T>();
            Err(format!(
                "{name} is not the state that version {version} had: {}",
                differences.join("; ")
            ))
        };
        checked.entry((version, TypeId::of::<T>())).or_insert_with(check).clone()
    }
}

/// A state that was stored under an older version of its kind, for [`crate::Vnode::migrate`].
#[derive(Clone, Copy, Debug)]
pub struct OldState<'a> {
    version: u32,
    bytes: &'a [u8],
    versions: &'a Versions,
}

impl<'a> OldState<'a> {
    pub(crate) const fn new(version: u32, bytes: &'a [u8], versions: &'a Versions) -> Self {
        Self { version, bytes, versions }
    }

    /// The version that stored it.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Its bytes, in the codec of that version.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads it as the type that the state had in that version: keep that type, under another name. A type of another shape
    /// than the version was recorded with is refused by name.
    ///
    /// # Errors
    ///
    /// What differs, or why the bytes can't be read; for the callers of the vnode.
    pub fn read<T: DeserializeOwned + 'static>(&self) -> Result<T, String> {
        self.versions.check::<T>(self.version)?;
        codec::decode(self.versions.codec(self.version), self.bytes)
    }

    /// The error of a migration that doesn't know this version.
    #[must_use]
    pub fn unknown(&self) -> String {
        format!("this program has no migration from version {} of the kind", self.version)
    }
}
