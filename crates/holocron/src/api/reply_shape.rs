//! The shape of a reply, which travels and is stored before the reply to a message: whoever reads it may be of another version than
//! whoever wrote it, or may just take it for something else.

use std::sync::OnceLock;

use bytes::Bytes;
use holocron_protocol::schema::{shape::Shape, trace::Form};
use serde::de::DeserializeOwned;

use crate::api::{
    by_name::shape,
    effect::{Failed, Finished},
};

/// The fingerprint of the shape of a reply, found once.
#[derive(Debug, Default)]
pub struct ReplyShape(OnceLock<u32>);

impl ReplyShape {
    /// Not found yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub(crate) fn of(&self, shape: impl FnOnce() -> Shape) -> u32 {
        *self.0.get_or_init(|| fingerprint_of(&shape()))
    }
}

/// Never 0, which says that a shape isn't known.
fn fingerprint_of(shape: &Shape) -> u32 {
    u32::try_from(shape.fingerprint() >> 32).expect("32 bits are left").max(1)
}

/// The fingerprint of the shape of a type.
pub(crate) fn reply_shape<T: DeserializeOwned>() -> u32 {
    fingerprint_of(&shape::<T>(Form::Binary))
}

/// The reply to a message that was sent with a tag.
///
/// # Errors
///
/// [`Failed`]: why it has no reply, or that the reply is of another type.
pub fn reply<T: DeserializeOwned>(
    shape: &ReplyShape,
    finished: &Finished<'_>,
) -> Result<T, Failed> {
    finished.read_as(|| shape.of(|| self::shape::<T>(Form::Binary)))
}

/// Bytes of a shape before a reply.
const SHAPE_LEN: usize = size_of::<u32>();

/// A reply with its shape before it.
pub(crate) fn with_shape(shape: u32, reply: &[u8]) -> Bytes {
    [&shape.to_le_bytes(), reply].concat().into()
}

/// The shape of a reply, and the reply.
pub(crate) fn shape_and_reply(mut stored: Bytes) -> (u32, Bytes) {
    match stored.first_chunk::<SHAPE_LEN>().copied() {
        Some(shape) => {
            let reply = stored.split_off(SHAPE_LEN);
            (u32::from_le_bytes(shape), reply)
        }
        None => (0, stored),
    }
}
