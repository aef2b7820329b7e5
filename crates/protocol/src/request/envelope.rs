//! The envelope: the stored form of a vnode, in a batch or a pack.
//!
//! A state is always stored with the window of the requests that made it. Both are committed by the same create, so a
//! request's effect and the record of it can't diverge. Deferred work is here for the same reason: timers, messages to other
//! vnodes, effects.
//!
//! The format: a version, the schema version, then sections, each after its tag and in order of the tags; the last is
//! the state, up to the end, or the tombstone. Empty sections are omitted. An unknown section is refused, because
//! dropping it would lose committed data.
//!
//! Invariants:
//!
//! * An envelope has one encoding: decoding and encoding give the same bytes.
//! * A failed encoding leaves nothing behind.

use alloc::{format, string::String, vec::Vec};

use bytes::Bytes;

use crate::{
    deferred::Deferred,
    format::{
        codec::Malformed,
        varint::{Reader, put_number},
    },
    request::window::Window,
};

/// The version of the envelope's format.
const ENVELOPE_VERSION: u8 = 1;

const TAG_WINDOW: u8 = 1;
const TAG_TIMERS: u8 = 2;
const TAG_OUTBOX: u8 = 3;
const TAG_STATE: u8 = 16;
const TAG_TOMBSTONE: u8 = 17;

/// A decoded envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The version of the user's schema that the state was written with; 0 for a tombstone.
    pub schema: u32,
    /// The window of the requests that made the state.
    pub window: Window,
    /// What the vnode has asked for and what isn't done yet.
    pub deferred: Deferred,
    /// The user's state, a slice of what was decoded; `None` when the vnode was deleted.
    pub state: Option<Bytes>,
}

/// Why a state can't be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The error text of the state's own `Serialize`.
    #[error("the state does not serialize: {0}")]
    Refused(String),
    /// The state is larger than its kind allows.
    #[error("a state of {length} bytes; at most {length_max} are allowed")]
    TooLong {
        /// Its length, in bytes.
        length: usize,
        /// The limit, in bytes.
        length_max: usize,
    },
}

/// What an envelope holds besides the state.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The version of the user's schema that the state is written with.
    pub schema: u32,
    /// The window.
    pub window: &'a Window,
    /// The deferred work, if the vnode ever used it.
    pub deferred: Option<&'a Deferred>,
}

/// Appends an envelope; `state` appends the user's state, which may be at most `state_len_max` bytes.
///
/// # Errors
///
/// [`EncodeError`]; `out` is then as it was before.
///
/// # Panics
///
/// When `state` shortens `out`.
pub fn encode(
    out: &mut Vec<u8>,
    head: Head<'_>,
    state: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    state_len_max: usize,
) -> Result<(), EncodeError> {
    let begin = out.len();
    encode_head(out, head);
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

/// Appends the envelope of a deleted vnode. It keeps the window, because requests must not run again after a delete
/// either, and the outbox, because what the vnode has asked for before is still to be done.
pub fn encode_tombstone(out: &mut Vec<u8>, window: &Window, deferred: Option<&Deferred>) {
    encode_head(out, Head { schema: 0, window, deferred });
    out.push(TAG_TOMBSTONE);
}

fn encode_head(out: &mut Vec<u8>, Head { schema, window, deferred }: Head<'_>) {
    out.push(ENVELOPE_VERSION);
    put_number(out, u64::from(schema));
    if !window.is_empty() {
        out.push(TAG_WINDOW);
        window.encode(out);
    }
    let Some(deferred) = deferred else { return };
    if deferred.has_timers() {
        out.push(TAG_TIMERS);
        deferred.encode_timers(out);
    }
    if deferred.has_outbox() {
        out.push(TAG_OUTBOX);
        deferred.encode_outbox(out);
    }
}

impl Envelope {
    /// Decodes an envelope; `what` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when it is damaged, or has a section that this release doesn't know.
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
                return Err(reader.malformed("an empty window that is not omitted"));
            }
            tag = reader.byte()?;
        }
        let mut deferred = Deferred::default();
        if tag == TAG_TIMERS {
            deferred.decode_timers(&mut reader)?;
            tag = reader.byte()?;
        }
        if tag == TAG_OUTBOX {
            deferred.decode_outbox(&mut reader)?;
            tag = reader.byte()?;
        }
        let state = match tag {
            TAG_STATE => Some(bytes.slice(reader.at()..)),
            TAG_TOMBSTONE if schema == 0 && reader.left() == 0 => None,
            TAG_TOMBSTONE => return Err(reader.malformed("a tombstone with a state")),
            _ => {
                return Err(reader.malformed(&format!(
                    "section {tag}, which this release does not know here: use the release that wrote it"
                )));
            }
        };
        Ok(Self { schema, window, deferred, state })
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        deferred::tests::any_deferred,
        ids::{ClientId, CommitNumber, RequestNumber},
        request::window::{Outcome, Recorded, Request, RequestId, WindowLimits, WindowSize},
    };

    fn recorded(window: &mut Window, client: u128, number: u64, commit: u64, outcome: Outcome) {
        let id = RequestId { client: ClientId::new(client), number: RequestNumber::new(number) };
        let commit = CommitNumber::new(commit);
        let request = Request { id, lowest: id.number, base: commit };
        let limits = WindowLimits::exactly(WindowSize { answers: 6, clients: 3, bytes: 300 });
        if window.admit(&request) == crate::request::window::Admission::Run {
            window.record(&request, Recorded { outcome, commit }, &limits);
        }
    }

    fn window() -> Window {
        let mut window = Window::default();
        recorded(&mut window, 1, 4, 3, Outcome::Reply(Bytes::from_static(b"four")));
        recorded(&mut window, 2, 9, 3, Outcome::Panicked);
        recorded(&mut window, 1, 5, 4, Outcome::Rejected("too large".into()));
        window
    }

    fn encoded(schema: u32, window: &Window, state: &[u8]) -> Bytes {
        with_head(Head { schema, window, deferred: None }, state)
    }

    fn with_head(head: Head<'_>, state: &[u8]) -> Bytes {
        let mut out = Vec::new();
        encode(
            &mut out,
            head,
            |out| {
                out.extend_from_slice(state);
                Ok(())
            },
            usize::MAX,
        )
        .unwrap();
        out.into()
    }

    /// Encodes a decoded envelope.
    fn again(envelope: &Envelope) -> Bytes {
        match &envelope.state {
            Some(state) => {
                let Envelope { schema, window, deferred, .. } = envelope;
                let head = Head { schema: *schema, window, deferred: Some(deferred) };
                with_head(head, state)
            }
            None => {
                let mut out = Vec::new();
                encode_tombstone(&mut out, &envelope.window, Some(&envelope.deferred));
                out.into()
            }
        }
    }

    #[test]
    fn an_envelope_reads_back_and_its_state_is_not_copied() {
        let bytes = encoded(7, &window(), b"state");
        let envelope = Envelope::decode("e", &bytes).unwrap();
        assert_eq!((envelope.schema, &envelope.window), (7, &window()));
        let state = envelope.state.unwrap();
        assert_eq!(&state[..], b"state");
        assert_eq!(state.as_ptr(), bytes[bytes.len() - 5..].as_ptr());
    }

    #[test]
    fn an_empty_window_costs_nothing_and_an_answer_four_bytes_and_its_content() {
        assert_eq!(encoded(1, &Window::default(), b"state").len(), 3 + 5);
        let mut window = Window::default();
        recorded(&mut window, 1, 1, 1, Outcome::Reply(Bytes::from_static(b"one")));
        let one = encoded(1, &window, b"").len();
        let id = RequestId { client: ClientId::new(1), number: RequestNumber::new(2) };
        let request = Request { id, lowest: RequestNumber::new(1), base: CommitNumber::ZERO };
        let outcome = Outcome::Reply(Bytes::from_static(b"two"));
        window.record(
            &request,
            Recorded { outcome, commit: CommitNumber::new(2) },
            &WindowLimits::default(),
        );
        assert_eq!(encoded(1, &window, b"").len(), one + 4 + "two".len() + 1);
    }

    #[test]
    fn a_tombstone_keeps_the_window_and_the_outbox() {
        let mut deferred = Deferred::default();
        deferred.effect(Bytes::from_static(b"mail"), None);
        let mut out = Vec::new();
        encode_tombstone(&mut out, &window(), Some(&deferred));
        let envelope = Envelope::decode("e", &out.into()).unwrap();
        assert_eq!(envelope, Envelope { schema: 0, window: window(), deferred, state: None });
    }

    #[test]
    fn an_empty_state_is_not_a_tombstone() {
        let envelope = Envelope::decode("e", &encoded(0, &Window::default(), b"")).unwrap();
        assert_eq!(envelope.state, Some(Bytes::new()));
    }

    #[test]
    fn a_state_that_fails_to_serialize_or_is_too_long_leaves_nothing_behind() {
        let mut out = vec![1, 2, 3];
        let refused = |out: &mut Vec<u8>| {
            out.push(9);
            Err("a map with keys that are maps".to_string())
        };
        let window = window();
        let head = Head { schema: 1, window: &window, deferred: None };
        let error = encode(&mut out, head, refused, 10).unwrap_err();
        assert_eq!(error, EncodeError::Refused("a map with keys that are maps".into()));
        let eleven = |out: &mut Vec<u8>| {
            out.extend_from_slice(&[0; 11]);
            Ok(())
        };
        let error = encode(&mut out, head, eleven, 10).unwrap_err();
        assert_eq!(error, EncodeError::TooLong { length: 11, length_max: 10 });
        assert_eq!(out, [1, 2, 3]);
        assert_eq!(encode(&mut out, head, eleven, 11), Ok(()));
        assert_eq!(out[..3], [1, 2, 3]);
    }

    #[test]
    fn unknown_sections_are_refused_by_name_and_never_dropped() {
        for (tag, name) in [(4, "section 4"), (15, "section 15"), (18, "section 18")] {
            let mut bytes = encoded(1, &window(), b"").to_vec();
            let last = bytes.len() - 1;
            bytes.splice(last..last, [tag, 1, 0]);
            let error = Envelope::decode("account/a", &bytes.into()).unwrap_err();
            assert!(error.why.contains(name) && error.what == "account/a", "{error}");
        }
    }

    #[test]
    fn another_version_is_refused_with_advice() {
        let mut bytes = encoded(1, &window(), b"").to_vec();
        bytes[0] = 2;
        let error = Envelope::decode("e", &bytes.into()).unwrap_err();
        assert!(error.why.contains("envelope version 2"), "{error}");
    }

    #[test]
    fn a_sender_of_an_unknown_kind_is_refused() {
        let mut bytes = encoded(1, &window(), b"").to_vec();
        // Version, schema, tag, mark, count of clients; then the first client's kind.
        bytes[5] = 2;
        let error = Envelope::decode("e", &bytes.into()).unwrap_err();
        assert!(error.why.contains("a sender of a kind"), "{error}");
    }

    #[test]
    fn a_truncated_envelope_is_refused() {
        let bytes = encoded(300, &window(), b"");
        for end in 0..bytes.len() {
            assert!(Envelope::decode("e", &bytes.slice(..end)).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_repeated_client_or_answer_is_refused() {
        let mut window = Window::default();
        recorded(&mut window, 1, 1, 1, Outcome::Panicked);
        let bytes = encoded(1, &window, b"");
        let (client, entry) = (bytes.slice(5..24), bytes.slice(25..29));
        let twice = |clients: u8, entries: u8| {
            let mut bytes = bytes[..4].to_vec();
            bytes.push(clients);
            (0..clients).for_each(|_| bytes.extend_from_slice(&client));
            bytes.push(entries);
            (0..entries).for_each(|_| bytes.extend_from_slice(&entry));
            bytes.push(TAG_STATE);
            Envelope::decode("e", &bytes.into()).map_err(|error| error.why)
        };
        assert_eq!(twice(1, 1).unwrap().window, window);
        assert!(twice(2, 1).unwrap_err().contains("a client twice"));
        assert!(twice(1, 2).unwrap_err().contains("an answer twice"));
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20)
                .prop_map(|reply| Outcome::Reply(reply.into())),
            Just(Outcome::Panicked),
            "[a-zé ]{0,9}".prop_map(Outcome::Rejected),
        ]
    }

    fn any_window() -> impl Strategy<Value = Window> {
        // The upper three are vnodes.
        let client = prop_oneof![0..5u128, (1u128 << 127)..(3 + (1u128 << 127))];
        let step = (client, 1..400u64, 0..200u64, outcome());
        proptest::collection::vec(step, 0..20).prop_map(|steps| {
            let mut window = Window::default();
            let mut commit = 1;
            for (client, number, ahead, outcome) in steps {
                commit += ahead;
                recorded(&mut window, client, number, commit, outcome);
            }
            window
        })
    }

    proptest! {
        #[test]
        fn an_envelope_reads_back_and_encodes_to_the_same_bytes(
            window in any_window(),
            deferred in any_deferred(),
            schema: u32,
            state in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let head = Head { schema, window: &window, deferred: Some(&deferred) };
            let bytes = with_head(head, &state);
            let envelope = Envelope::decode("e", &bytes).unwrap();
            prop_assert_eq!((&envelope.window, &envelope.deferred), (&window, &deferred));
            prop_assert_eq!(envelope.state.as_deref(), Some(&state[..]));
            prop_assert_eq!(again(&envelope), bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let bytes: Vec<u8> = [1, 0, TAG_WINDOW].into_iter().chain(bytes).collect();
            drop(Envelope::decode("e", &bytes.clone().into()));
            drop(Envelope::decode("e", &Bytes::from(bytes).slice(3..)));
        }

        #[test]
        fn a_damaged_envelope_is_refused_or_is_another_with_one_encoding(
            window in any_window(),
            deferred in any_deferred(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let head = Head { schema: 3, window: &window, deferred: Some(&deferred) };
            let mut bytes = with_head(head, b"state").to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let bytes = Bytes::from(bytes);
            if let Ok(envelope) = Envelope::decode("e", &bytes) {
                prop_assert_eq!(again(&envelope), bytes);
            }
        }
    }
}
