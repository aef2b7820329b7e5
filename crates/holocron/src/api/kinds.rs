//! The kinds a host runs, with their types erased: bytes in, bytes out.
//!
//! This is the only place that knows both a user's types and their bytes.

use core::{fmt, marker::PhantomData};
use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::format::codec;

use crate::api::vnode::{Context, Vnode};

/// A vnode in memory, its type erased.
pub(crate) trait AnyVnode: Send {
    /// Runs an encoded command; returns the encoded reply, or why the command can't be decoded.
    fn command(&mut self, context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, String>;
    /// Answers an encoded query; returns the encoded answer, or why the query can't be decoded.
    fn query(&self, context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, String>;
    /// Appends the state.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String>;
    fn on_activate(&mut self, context: &Context<'_>);
    fn on_passivate(&mut self, context: &Context<'_>);
}

/// A kind: makes vnodes from nothing or from their stored state.
pub(crate) trait AnyKind: Send + Sync {
    fn version(&self) -> u32;
    fn fresh(&self) -> Box<dyn AnyVnode>;
    /// Loads a state that was stored by that version; the error says why it can't be read.
    fn load(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyVnode>, String>;
}

/// All kinds of a host, by name.
#[derive(Clone, Default)]
pub(crate) struct Kinds(BTreeMap<&'static str, Arc<dyn AnyKind>>);

impl Kinds {
    /// Adds a kind.
    ///
    /// # Panics
    ///
    /// When two types have the same name: that is a mistake in the program.
    pub(crate) fn add<V: Vnode>(&mut self) {
        let replaced = self.0.insert(V::KIND, Arc::new(Kind::<V>(PhantomData)));
        assert!(replaced.is_none(), "two kinds are named {:?}", V::KIND);
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Arc<dyn AnyKind>> {
        self.0.get(kind)
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

struct Kind<V>(PhantomData<fn() -> V>);

impl<V: Vnode> AnyKind for Kind<V> {
    fn version(&self) -> u32 {
        V::VERSION
    }

    fn fresh(&self) -> Box<dyn AnyVnode> {
        Box::new(Typed(V::default()))
    }

    fn load(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyVnode>, String> {
        let vnode = match version.cmp(&V::VERSION) {
            core::cmp::Ordering::Equal => {
                codec::from_bincode::<V>("stored state", state).map_err(|error| error.why)?
            }
            core::cmp::Ordering::Less => V::migrate(version, state)?,
            core::cmp::Ordering::Greater => {
                return Err(format!(
                    "stored by version {version} of the kind; this host knows versions up to {}",
                    V::VERSION
                ));
            }
        };
        Ok(Box::new(Typed(vnode)))
    }
}

struct Typed<V>(V);

impl<V: Vnode> AnyVnode for Typed<V> {
    fn command(&mut self, context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, String> {
        let command = codec::from_bincode(V::KIND, body).map_err(|error| error.why)?;
        let reply = self.0.command(context, command);
        let mut out = Vec::new();
        codec::try_to_bincode(&reply, &mut out)
            .expect("a reply that can't be encoded is a panic of its handler");
        Ok(out)
    }

    fn query(&self, context: &Context<'_>, body: &[u8]) -> Result<Vec<u8>, String> {
        let query = codec::from_bincode(V::KIND, body).map_err(|error| error.why)?;
        let answer = self.0.query(context, query);
        let mut out = Vec::new();
        codec::try_to_bincode(&answer, &mut out)
            .expect("an answer that can't be encoded is a panic of its handler");
        Ok(out)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        codec::try_to_bincode(&self.0, out)
    }

    fn on_activate(&mut self, context: &Context<'_>) {
        self.0.on_activate(context);
    }

    fn on_passivate(&mut self, context: &Context<'_>) {
        self.0.on_passivate(context);
    }
}
