//! Commands and queries by name: the wire form of those that `#[holocron::vnode]` writes.
//!
//! In a format that isn't for people, a call is its name, a fingerprint of the shapes of its arguments and its result, and the
//! arguments in order. Both ends must agree on the fingerprint: bytes that were written for other types are refused, never
//! read as something else. In JSON a call is `{"add": {"sku": "x", "n": 2}}`, read by name; `"expire"` is enough for a call
//! without arguments.
//!
//! Only the macro's code uses what is public here.

use core::{fmt, marker::PhantomData};
use std::{panic::catch_unwind, sync::OnceLock};

use holocron_protocol::schema::{
    shape::Shape,
    trace::{Form, shape_of},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap as _, SerializeTuple as _},
};

use crate::{
    api::{
        call_error::Ran,
        effect::{Done, Effect, Failed, Finished, Retry},
        reply_shape::ReplyShape,
    },
    planted,
};

/// A name, a fingerprint and arguments.
const PARTS: usize = 3;

/// What a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    /// It may change the state.
    Command,
    /// It reads the state.
    Query,
    /// It works outside.
    Effect,
}

impl Noun {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Effect => "effect",
        }
    }
}

/// A command or query of a kind.
#[derive(Debug)]
pub struct Entry {
    pub(crate) name: &'static str,
    pub(crate) docs: &'static str,
    shapes: fn(Form) -> Shapes,
    fingerprint: OnceLock<u32>,
    reply_shape: ReplyShape,
}

/// The shapes of the arguments, as a struct, and of the result.
#[derive(Debug)]
pub(crate) struct Shapes {
    pub(crate) arguments: Shape,
    pub(crate) result: Shape,
}

fn shapes<A: DeserializeOwned, R: DeserializeOwned>(form: Form) -> Shapes {
    Shapes { arguments: shape::<A>(form), result: shape::<R>(form) }
}

/// The shape of a user's type. A `Deserialize` that panics shows nothing.
pub(crate) fn shape<T: DeserializeOwned>(form: Form) -> Shape {
    catch_unwind(|| shape_of::<T>(form)).unwrap_or(Shape::Unknown)
}

impl Entry {
    /// A call with these arguments and this result.
    #[must_use]
    pub const fn new<A: DeserializeOwned, R: DeserializeOwned>(
        name: &'static str,
        docs: &'static str,
    ) -> Self {
        Self {
            name,
            docs,
            shapes: shapes::<A, R>,
            fingerprint: OnceLock::new(),
            reply_shape: ReplyShape::new(),
        }
    }

    pub(crate) fn shapes(&self, form: Form) -> Shapes {
        (self.shapes)(form)
    }

    /// The fingerprint of the result alone.
    pub(crate) fn reply_shape(&self) -> u32 {
        self.reply_shape.of(|| self.shapes(Form::Binary).result)
    }

    /// Differs, up to chance (1 in 4 billion), if the arguments or the result have other encodings.
    fn fingerprint(&self) -> u32 {
        *self.fingerprint.get_or_init(|| {
            let Shapes { arguments, result } = self.shapes(Form::Binary);
            let both = Shape::Tuple(vec![arguments, result]).fingerprint();
            u32::try_from(both >> 32).expect("32 bits are left")
        })
    }
}

/// The commands or the queries of a kind.
pub trait ByName: Sized {
    /// Which of both.
    const NOUN: Noun;

    /// All of them, in the order of the variants.
    fn entries() -> &'static [Entry];

    /// Reads the arguments of one of them, by its place among the entries.
    ///
    /// # Errors
    ///
    /// Those of reading.
    fn read<A: ReadArguments>(at: usize, arguments: A) -> Result<Self, A::Error>;
}

/// Where the arguments of a call are read from.
pub trait ReadArguments {
    /// Why they can't be read.
    type Error;

    /// Reads them.
    ///
    /// # Errors
    ///
    /// When they aren't there.
    fn read<T: DeserializeOwned>(self) -> Result<T, Self::Error>;
}

/// Encodes a call.
///
/// # Errors
///
/// Those of the serializer.
pub fn encode<A: Serialize, S: Serializer>(
    entry: &Entry,
    arguments: &A,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(entry.name, arguments)?;
        return map.end();
    }
    let mut tuple = serializer.serialize_tuple(PARTS)?;
    tuple.serialize_element(entry.name)?;
    tuple.serialize_element(&entry.fingerprint())?;
    tuple.serialize_element(arguments)?;
    tuple.end()
}

/// Decodes a call.
///
/// # Errors
///
/// Those of the deserializer; an unknown name; arguments of another shape.
pub fn decode<'de, C: ByName, D: Deserializer<'de>>(deserializer: D) -> Result<C, D::Error> {
    let visitor = Calls(PhantomData);
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(visitor)
    } else {
        deserializer.deserialize_tuple(PARTS, visitor)
    }
}

struct Calls<C>(PhantomData<C>);

impl<'de, C: ByName> Visitor<'de> for Calls<C> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} by its name", C::NOUN.text())
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<C, E> {
        C::read(find::<C, E>(name)?, Nothing(PhantomData))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<C, A::Error> {
        let named = map.next_key_seed(Name::<C>(PhantomData))?;
        let at =
            named.ok_or_else(|| A::Error::custom(format!("no {} is named", C::NOUN.text())))?;
        let call = C::read(at, Value { map: &mut map, de: PhantomData })?;
        match map.next_key::<serde::de::IgnoredAny>()? {
            None => Ok(call),
            Some(_) => Err(A::Error::custom("a call is an object with one name in it")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<C, A::Error> {
        let short = || A::Error::custom("cut short");
        let at = seq.next_element_seed(Name::<C>(PhantomData))?.ok_or_else(short)?;
        let fingerprint: u32 = seq.next_element()?.ok_or_else(short)?;
        let entry = &C::entries()[at];
        if planted::differs(fingerprint != entry.fingerprint()) {
            return Err(A::Error::custom(other_arguments(C::NOUN, entry)));
        }
        C::read(at, Element { seq, de: PhantomData })
    }
}

/// The name of a call, as its place among the entries.
struct Name<C>(PhantomData<C>);

impl<'de, C: ByName> DeserializeSeed<'de> for Name<C> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<C: ByName> Visitor<'_> for Name<C> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a {}", C::NOUN.text())
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        find::<C, E>(name)
    }
}

fn find<C: ByName, E: serde::de::Error>(name: &str) -> Result<usize, E> {
    let at = C::entries().iter().position(|entry| entry.name == name);
    at.ok_or_else(|| E::custom(unknown(C::NOUN, name, C::entries())))
}

/// That there is no such call, and what there is.
pub(crate) fn unknown(noun: Noun, name: &str, entries: &[Entry]) -> String {
    let noun = noun.text();
    if entries.is_empty() {
        return format!("there is no {noun} {name:?}, and no other one");
    }
    let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    format!("there is no {noun} {name:?}; there are: {}", known.join(", "))
}

/// That a call was written for other types.
pub(crate) fn other_arguments(noun: Noun, entry: &Entry) -> String {
    let Shapes { arguments, result } = entry.shapes(Form::Binary);
    let arguments = arguments.definition();
    format!("{} {} was sent for other types than {arguments} -> {result}", noun.text(), entry.name)
}

/// Arguments that aren't there.
struct Nothing<E>(PhantomData<E>);

impl<E: serde::de::Error> ReadArguments for Nothing<E> {
    type Error = E;

    fn read<T: DeserializeOwned>(self) -> Result<T, E> {
        let none = core::iter::empty::<((), ())>();
        T::deserialize(serde::de::value::MapDeserializer::new(none))
    }
}

/// The value of a map's entry.
struct Value<'a, 'de, A> {
    map: &'a mut A,
    de: PhantomData<&'de ()>,
}

impl<'de, A: MapAccess<'de>> ReadArguments for Value<'_, 'de, A> {
    type Error = A::Error;

    fn read<T: DeserializeOwned>(self) -> Result<T, A::Error> {
        self.map.next_value()
    }
}

/// The next element of a sequence.
struct Element<'de, A> {
    seq: A,
    de: PhantomData<&'de ()>,
}

impl<'de, A: SeqAccess<'de>> ReadArguments for Element<'de, A> {
    type Error = A::Error;

    fn read<T: DeserializeOwned>(mut self) -> Result<T, A::Error> {
        self.seq.next_element()?.ok_or_else(|| A::Error::custom("cut short"))
    }
}

/// Ends an effect with its result, and with its fingerprint, because a later version may read it.
///
/// # Errors
///
/// [`Retry`] when the result can't be encoded.
pub fn done<C: ByName, R: Serialize>(
    at: usize,
    effect: &Effect,
    result: &R,
) -> Result<Done, Retry> {
    effect.done(&(C::entries()[at].fingerprint(), result))
}

/// What came of an effect.
///
/// # Errors
///
/// [`Failed`]: why it has no result, or that its result was one of another version.
pub fn outcome<C: ByName, R: DeserializeOwned>(
    at: usize,
    finished: &Finished<'_>,
) -> Result<R, Failed> {
    let entry = &C::entries()[at];
    let (fingerprint, result) = finished.read::<(u32, R)>()?;
    if fingerprint == entry.fingerprint() {
        Ok(result)
    } else {
        Err(Failed { ran: Ran::Yes, why: other_arguments(C::NOUN, entry) })
    }
}

/// The outcome of a message or an effect has a tag that this version of the kind doesn't know: it is dropped.
pub fn unknown_tag(kind: &str, tag: &str) {
    tracing::warn!(
        kind,
        tag,
        "outcome of a message or effect is dropped; this version of the kind has no method for its tag"
    );
}

/// The head of an encoded call: its name and fingerprint, without its arguments.
#[derive(Deserialize)]
pub(crate) struct Head {
    pub(crate) name: String,
    fingerprint: u32,
}

impl Head {
    pub(crate) fn fits(&self, entry: &Entry) -> bool {
        self.fingerprint == entry.fingerprint()
    }
}
