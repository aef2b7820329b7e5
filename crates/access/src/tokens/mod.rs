//! Bearer tokens: what the caller who shows one may do.
//!
//! A file lists the tokens by their SHA-256; the tokens themselves are nowhere. They are 256 random bits ([`NewToken`]), so a digest without
//! salt can't be turned back.
//!
//! Invariants:
//!
//! * What isn't allowed is denied: a scope includes no other one, and a token that is limited to kinds or keys is denied what
//!   concerns the cluster.
//! * The time that a decision takes doesn't depend on how much of a token is right: all digests are compared, each in constant time.

mod file;
mod new;

use core::fmt;
use std::{path::PathBuf, sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

pub use self::new::{Limits, NewToken};
use crate::watched::{FromFiles, Unusable, Watched};

/// Most tokens in a file.
pub const TOKENS_MAX: usize = 1_000;
/// Longest token that is looked at, in bytes; a longer one is unknown.
pub const PRESENTED_LEN_MAX: usize = 256;
/// Bytes of a SHA-256.
const DIGEST_LEN: usize = 32;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// It changes nothing.
    Read,
    /// It may change vnodes.
    Write,
    /// It is an operator's.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// One vnode; or the vnodes whose key begins with `key`, for a listing.
    Vnode {
        /// Its kind.
        kind: &'a str,
        /// Its key, or what the keys begin with.
        key: &'a str,
    },
    /// A kind: what it is, not its vnodes.
    Kind(&'a str),
    /// The cluster.
    Cluster,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// What it does.
    pub scope: Scope,
    /// What it is about.
    pub target: Target<'a>,
}

/// Why a request is denied. Shows no token; names are those in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It came without a token.
    #[error("a bearer token is required")]
    NoToken,
    /// The token isn't in the file.
    #[error("this token is not known")]
    Unknown,
    /// The token was good.
    #[error("token {name} is expired")]
    Expired {
        /// Its name.
        name: String,
    },
    /// The token is good for something else.
    #[error("token {name} {why}")]
    Forbidden {
        /// Its name.
        name: String,
        /// What it lacks.
        why: String,
    },
}

impl Denied {
    /// Whether another token may be shown (401), or else this one is good for something else (403).
    #[must_use]
    pub const fn is_unauthenticated(&self) -> bool {
        match self {
            Self::NoToken | Self::Unknown | Self::Expired { .. } => true,
            Self::Forbidden { .. } => false,
        }
    }
}

/// The tokens of a file, which is read again when it changes. Clones share them.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Watched<List>>);

impl Tokens {
    /// Reads the file, and follows it from now on.
    ///
    /// # Errors
    ///
    /// [`Unusable`], with the line.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn open(file: impl Into<PathBuf>) -> Result<Self, Unusable> {
        Ok(Self(Arc::new(Watched::open(vec![file.into()])?)))
    }

    /// Whether the caller who showed this token, or none, may do that. Returns the token's name, for the audit.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub fn allow(&self, shown: Option<&str>, access: Access<'_>) -> Result<String, Denied> {
        self.0.current().allow(shown, access, SystemTime::now())
    }
}

/// The tokens of a file.
#[derive(Debug, Default)]
struct List(Vec<Token>);

/// One token.
struct Token {
    name: String,
    sha256: [u8; DIGEST_LEN],
    scopes: Vec<Scope>,
    /// The kinds that it is limited to, if it is.
    kinds: Option<Vec<String>>,
    /// What the keys must begin with; empty if it isn't limited.
    key_prefix: String,
    expires: Option<SystemTime>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromFiles for List {
    const WHAT: &'static str = "tokens";

    fn read(files: &[(PathBuf, Vec<u8>)]) -> Result<Self, Unusable> {
        let [(path, contents)] = files else { unreachable!("it has one file") };
        file::parse(contents).map(Self).map_err(|why| Unusable::new(path, why))
    }

    fn warning(&self, now: SystemTime) -> Option<String> {
        let is_over = |token: &&Token| token.expires.is_some_and(|at| at <= now);
        let over: Vec<&str> =
            self.0.iter().filter(is_over).map(|token| token.name.as_str()).collect();
        (!over.is_empty()).then(|| format!("expired: {}", over.join(", ")))
    }
}

impl List {
    fn allow(
        &self,
        shown: Option<&str>,
        access: Access<'_>,
        now: SystemTime,
    ) -> Result<String, Denied> {
        let shown = shown.ok_or(Denied::NoToken)?;
        let token = self.find(shown).ok_or(Denied::Unknown)?;
        let name = || token.name.clone();
        if token.expires.is_some_and(|at| at <= now) {
            return Err(Denied::Expired { name: name() });
        }
        match token.lacks(access) {
            None => Ok(name()),
            Some(why) => Err(Denied::Forbidden { name: name(), why }),
        }
    }

    fn find(&self, shown: &str) -> Option<&Token> {
        // The limit is public, and so is whether a token is above it.
        if shown.len() > PRESENTED_LEN_MAX {
            return None;
        }
        let shown = digest(&SHA256, shown.as_bytes());
        // All of them, without a branch on what is equal. Digests differ, so at most one is.
        let mut found = u32::MAX;
        for (at, token) in (0..).zip(&self.0) {
            let equal: Choice = shown.as_ref().ct_eq(&token.sha256);
            found.conditional_assign(&at, equal);
        }
        self.0.get(usize::try_from(found).ok()?)
    }
}

impl Token {
    /// What it lacks for that, if anything.
    fn lacks(&self, access: Access<'_>) -> Option<String> {
        let Access { scope, target } = access;
        if !self.scopes.contains(&scope) {
            return Some(format!("has no scope {scope}"));
        }
        let may_kind = |kind: &str| {
            self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|allowed| allowed == kind))
        };
        match target {
            Target::Vnode { kind, .. } | Target::Kind(kind) if !may_kind(kind) => {
                Some(format!("is limited to other kinds than {kind:?}"))
            }
            Target::Vnode { key, .. } if !key.starts_with(&self.key_prefix) => {
                Some(format!("is limited to keys that begin with {:?}", self.key_prefix))
            }
            Target::Cluster if self.kinds.is_some() || !self.key_prefix.is_empty() => {
                Some("is limited to some vnodes".to_owned())
            }
            Target::Vnode { .. } | Target::Kind(_) | Target::Cluster => None,
        }
    }
}

#[cfg(test)]
mod tests;
