//! The envelope: what is stored of a vnode, in a batch or a pack.
//!
//! The state never goes without the window that says which requests made it: they are committed by the same create, so
//! a request's effect and the memory of it can't part. Timers and the outbox belong here for the same reason.
//!
//! The format is a version, the schema version, then sections, each behind its tag and in order of the tags; the last
//! is the state, up to the end, or the tombstone. An empty section is left out. A section that this release does not
//! know is refused, since to drop it would be to lose what was committed.
//!
//! Invariants:
//!
//! * One envelope has one encoding: what decodes encodes to the same bytes.
//! * A failed encoding leaves nothing behind.

use alloc::{format, string::String, vec::Vec};

use bytes::Bytes;

use crate::{
    codec::Malformed,
    compact::{Reader, put_number},
    window::Window,
};

/// The version of the envelope's format.
const ENVELOPE_VERSION: u8 = 1;

const TAG_WINDOW: u8 = 1;
/// Kept for timers.
const TAG_TIMERS: u8 = 2;
/// Kept for the outbox.
const TAG_OUTBOX: u8 = 3;
const TAG_STATE: u8 = 16;
const TAG_TOMBSTONE: u8 = 17;

/// An envelope, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The version of the user's schema that the state was written with; 0 for a tombstone.
    pub schema: u32,
    /// The requests that made the state.
    pub window: Window,
    /// The user's state, a slice of what was decoded; `None` when the vnode was deleted.
    pub state: Option<Bytes>,
}

/// Why a state could not become an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The state's own `Serialize` refused, saying this.
    #[error("the state does not serialize: {0}")]
    Refused(String),
    /// The state is larger than its kind allows.
    #[error("a state of {length} bytes; at most {length_max} are allowed")]
    TooLong {
        /// How long it would have been, in bytes.
        length: usize,
        /// How long it may be, in bytes.
        length_max: usize,
    },
}

/// Appends an envelope; `state` appends the user's state, which may be at most `state_len_max` bytes.
///
/// # Errors
///
/// [`EncodeError`]; `out` is then as it was before.
///
/// # Panics
///
/// When `state` cuts off what stood in `out` before it.
pub fn encode(
    out: &mut Vec<u8>,
    schema: u32,
    window: &Window,
    state: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    state_len_max: usize,
) -> Result<(), EncodeError> {
    let begin = out.len();
    encode_head(out, schema, window);
    out.push(TAG_STATE);
    let state_begin = out.len();
    let written = state(out);
    let length = out.len().checked_sub(state_begin).expect("a state is appended");
    let error = match written {
        Ok(()) if length <= state_len_max => return Ok(()),
        Ok(()) => EncodeError::TooLong { length, length_max: state_len_max },
        Err(sentence) => EncodeError::Refused(sentence),
    };
    out.truncate(begin);
    Err(error)
}

/// Appends the envelope of a deleted vnode: its requests must not run again either.
pub fn encode_tombstone(out: &mut Vec<u8>, window: &Window) {
    encode_head(out, 0, window);
    out.push(TAG_TOMBSTONE);
}

fn encode_head(out: &mut Vec<u8>, schema: u32, window: &Window) {
    out.push(ENVELOPE_VERSION);
    put_number(out, u64::from(schema));
    if !window.is_empty() {
        out.push(TAG_WINDOW);
        window.encode(out);
    }
}

impl Envelope {
    /// Reads a whole envelope; `what` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when it is damaged, or holds something that this release does not know.
    pub fn decode(what: &str, bytes: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(what, bytes);
        let version = reader.byte()?;
        if version != ENVELOPE_VERSION {
            return Err(reader.malformed(&format!(
                "envelope version {version}; this release reads {ENVELOPE_VERSION}: use the release that wrote it"
            )));
        }
        let schema = u32::try_from(reader.number()?)
            .map_err(|error| reader.malformed(&format!("schema version: {error}")))?;
        let mut tag = reader.byte()?;
        let mut window = Window::default();
        if tag == TAG_WINDOW {
            window = Window::decode(&mut reader)?;
            if window.is_empty() {
                return Err(reader.malformed("an empty window that is not left out"));
            }
            tag = reader.byte()?;
        }
        let state = match tag {
            TAG_STATE => Some(bytes.slice(reader.at()..)),
            TAG_TOMBSTONE if schema == 0 && reader.left() == 0 => None,
            TAG_TOMBSTONE => return Err(reader.malformed("a tombstone with a state")),
            _ => return Err(reader.malformed(&unknown_section(tag))),
        };
        Ok(Self { schema, window, state })
    }
}

fn unknown_section(tag: u8) -> String {
    let section = match tag {
        TAG_TIMERS => "timers".into(),
        TAG_OUTBOX => "an outbox".into(),
        _ => format!("section {tag}"),
    };
    format!("holds {section}, which this release does not know: use the release that wrote it")
}
