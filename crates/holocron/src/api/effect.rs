//! Effects: work outside that a vnode asks for, and that runs at least once.

use core::{fmt, str::FromStr};

use bytes::Bytes;
use holocron_protocol::{
    format::codec,
    ids::{RequestNumber, VnodeHash},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{
        call_error::{CallError, Ran},
        reply_shape,
    },
    planted,
};

/// The permanent id of an effect: it is the same in every attempt, by any host, and no other effect has it. Give it to a
/// service as its idempotency key, so that what runs twice counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId {
    vnode: VnodeHash,
    number: RequestNumber,
}

impl EffectId {
    pub(crate) const fn new(vnode: VnodeHash, number: RequestNumber) -> Self {
        Self { vnode, number }
    }

    /// The number among the messages and effects of its vnode.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number.get()
    }
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{}", self.vnode.get(), self.number.get())
    }
}

/// Text that isn't an [`EffectId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an effect's id is 32 hex digits, a hyphen and a number")]
pub struct NoEffectId;

impl FromStr for EffectId {
    type Err = NoEffectId;

    fn from_str(text: &str) -> Result<Self, NoEffectId> {
        let (vnode, number) = text.split_once('-').ok_or(NoEffectId)?;
        let (Ok(bits), Ok(number)) = (u128::from_str_radix(vnode, 16), number.parse()) else {
            return Err(NoEffectId);
        };
        Ok(Self::new(VnodeHash::from_bits(bits), RequestNumber::new(number)))
    }
}

/// An effect to run: what its vnode has asked for, and one attempt's place among the others.
#[derive(Clone, Debug)]
pub struct Effect {
    pub(crate) id: EffectId,
    pub(crate) key: String,
    pub(crate) tries: u32,
    pub(crate) work: Bytes,
}

impl Effect {
    /// Its permanent id.
    #[must_use]
    pub const fn id(&self) -> EffectId {
        self.id
    }

    /// The key of the vnode that asks for it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How many attempts have asked for a retry before, as far as is committed: 0 in the first.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// What the vnode gave to [`crate::Context::effect`].
    ///
    /// # Errors
    ///
    /// [`Retry`] when it is of another type: another version of the kind has asked for it. That attempt counts, so that the
    /// effect is set aside in the end.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Retry> {
        codec::from_bincode("effect", &self.work).map_err(|error| Retry(error.why))
    }

    /// The end of the effect, with this result.
    ///
    /// # Errors
    ///
    /// [`Retry`] when the result can't be encoded.
    pub fn done<T: Serialize>(&self, result: &T) -> Result<Done, Retry> {
        let mut out = Vec::new();
        codec::try_to_bincode(result, &mut out).map_err(Retry)?;
        Ok(Done(out.into()))
    }
}

/// The encoded result of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done(pub(crate) Bytes);

/// An effect has not succeeded: run it again, after a pause that grows with each attempt. The reason is shown to the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Retry(pub String);

impl Retry {
    /// Because of this.
    #[must_use]
    pub fn because(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// What came of a message or an effect that a vnode has given a tag.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    pub(crate) tag: &'a str,
    pub(crate) outcome: Result<&'a [u8], &'a str>,
    /// Of a message: the same as an error of a call.
    pub(crate) error: Option<&'a CallError>,
    /// Of the reply to a message: the fingerprint of its shape; 0 if it isn't known.
    pub(crate) shape: u32,
}

impl Finished<'_> {
    /// The tag that the vnode gave it.
    #[must_use]
    pub const fn tag(&self) -> &str {
        self.tag
    }

    /// The reply to the message, or the result of the effect.
    ///
    /// # Errors
    ///
    /// [`Failed`]: why there will never be one, and whether what was asked for was done. A reply of another type is refused, not
    /// misread; between kinds written by hand that is up to the codec.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failed> {
        self.read_as(reply_shape::reply_shape::<T>)
    }

    /// The same, given the shape that a reply must have.
    pub(crate) fn read_as<T: DeserializeOwned>(
        &self,
        shape: impl FnOnce() -> u32,
    ) -> Result<T, Failed> {
        let content = self.outcome.map_err(|why| {
            let ran = self.error.map_or(Ran::Unclear, CallError::ran);
            Failed { ran, why: why.to_owned() }
        })?;
        let read = if planted::differs(self.shape != 0 && self.shape != shape()) {
            Err("it is of another type".to_owned())
        } else {
            codec::from_bincode(self.tag, content).map_err(|error| error.why)
        };
        read.map_err(|why| {
            tracing::warn!(
                tag = self.tag,
                why,
                "a reply can't be read: what was asked for was done, and its result is lost"
            );
            Failed { ran: Ran::Yes, why: format!("the reply can't be read: {why}") }
        })
    }

    /// The reply to a message that was sent with [`crate::Context::ask_by_name`], as JSON.
    ///
    /// # Errors
    ///
    /// Why there will never be one: a panic, a rejection or a refusal. [`CallError::Unclear`]: the target refuses it now, and an
    /// earlier attempt may still run.
    pub fn json(&self) -> Result<&[u8], CallError> {
        self.outcome.map_err(|why| {
            self.error.map_or_else(|| CallError::Rejected { why: why.to_owned() }, CallError::clone)
        })
    }
}

/// A message or an effect has no result that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Failed {
    /// Whether what was asked for was done: [`Ran::No`] if its target panicked, rejected or refused it; [`Ran::Yes`] if it was, and
    /// only the reply can't be read; [`Ran::Unclear`] if an operator has dropped it, or an attempt may still run.
    pub ran: Ran,
    /// Why, for people.
    pub why: String,
}
