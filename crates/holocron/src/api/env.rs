//! The environments of a host: what its process has for the vnodes of its kinds, by type.

use core::{
    any::{Any, TypeId, type_name},
    fmt,
};
use std::{collections::BTreeMap, sync::Arc};

/// An environment, its type erased.
pub(crate) type AnyEnv = dyn Any + Send + Sync;

/// Environments by their types. `()` is always among them.
pub(crate) struct Environments(BTreeMap<TypeId, Arc<AnyEnv>>);

impl Default for Environments {
    fn default() -> Self {
        let mut nothing_else = Self(BTreeMap::new());
        nothing_else.add(());
        nothing_else
    }
}

impl Environments {
    /// Adds an environment.
    ///
    /// # Panics
    ///
    /// When there is one of its type: that is a mistake in the program.
    pub(crate) fn add<E: Send + Sync + 'static>(&mut self, env: E) {
        let replaced = self.0.insert(TypeId::of::<E>(), Arc::new(env));
        assert!(replaced.is_none(), "the host has two environments of type {}", type_name::<E>());
    }

    pub(crate) fn get<E: Send + Sync + 'static>(&self) -> Option<Arc<E>> {
        let env = Arc::clone(self.0.get(&TypeId::of::<E>())?);
        Some(env.downcast().expect("it is kept under its own type"))
    }
}

impl fmt::Debug for Environments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Environments").field(&self.0.len()).finish()
    }
}
