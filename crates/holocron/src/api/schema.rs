//! The schema of a kind: its commands and queries, for tools, and for errors that say what doesn't fit.

use std::collections::BTreeMap;

use holocron_protocol::{
    format::codec,
    schema::{
        record::Codec,
        shape::{Part, Shape},
        trace::Form,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::api::{
    by_name::{self, ByName, Entry, Head, Noun, Shapes},
    call::Format,
    vnode::Vnode,
};

/// What a host knows of the commands and queries of a kind. [`macro@crate::vnode`] writes it; for a [`Vnode`] by hand it is
/// found from the types of its commands and queries.
#[derive(Debug)]
pub struct Schema {
    pub(crate) commands: Calls,
    pub(crate) queries: Calls,
    pub(crate) state: fn(Form) -> Shape,
}

/// The commands or queries of a kind.
#[derive(Debug)]
pub(crate) enum Calls {
    /// By name.
    Named(Noun, &'static [Entry]),
    /// A type of the user's own.
    Typed(fn(Form) -> Shape),
}

impl Schema {
    /// The schema of a kind whose calls are types of the user's own.
    pub(crate) fn of_types<V: Vnode>() -> Self {
        Self {
            commands: Calls::Typed(by_name::shape::<V::Command>),
            queries: Calls::Typed(by_name::shape::<V::Query>),
            state: by_name::shape::<V>,
        }
    }
}

/// The schema of a kind whose calls travel by name.
#[must_use]
pub fn schema<V: DeserializeOwned, C: ByName, Q: ByName>() -> Schema {
    Schema {
        commands: Calls::Named(C::NOUN, C::entries()),
        queries: Calls::Named(Q::NOUN, Q::entries()),
        state: by_name::shape::<V>,
    }
}

/// Why a call doesn't run, or didn't count.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// There is no call of that name.
    Unknown(String),
    /// It has other arguments, or another result.
    OtherArguments(String),
    /// It can't be decoded.
    Malformed(String),
    /// Its result can't be written in the format of the call.
    Unwritable(String),
}

impl NotRun {
    /// The reason, for people.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Unknown(why)
            | Self::OtherArguments(why)
            | Self::Malformed(why)
            | Self::Unwritable(why) => why,
        }
    }
}

impl Calls {
    /// Why a call can't be decoded, given what its decoder says.
    pub(crate) fn judge(&self, format: Format, body: &[u8], why: String) -> NotRun {
        let Self::Named(noun, entries) = self else { return NotRun::Malformed(why) };
        let (name, head) = match format {
            Format::Bincode => {
                let head = codec::bincode_prefix::<Head>(body);
                (head.as_ref().map(|head| head.name.clone()), head)
            }
            Format::Json => (name_in_json(body), None),
        };
        let Some(name) = name else { return NotRun::Malformed(why) };
        match entries.iter().find(|entry| entry.name == name) {
            None => NotRun::Unknown(by_name::unknown(*noun, &name, entries)),
            Some(entry) if head.is_some_and(|head| !head.fits(entry)) => {
                NotRun::OtherArguments(by_name::other_arguments(*noun, entry))
            }
            Some(_) => NotRun::Malformed(format!("{} {name}: {why}", noun.text())),
        }
    }

    /// The fingerprint of the shape of the reply to a call in bincode; 0 for calls without names.
    pub(crate) fn reply_shape(&self, body: &[u8]) -> u32 {
        let Self::Named(_, entries) = self else { return 0 };
        let head = codec::bincode_prefix::<Head>(body);
        let entry = head.and_then(|head| entries.iter().find(|entry| entry.name == head.name));
        entry.map_or(0, Entry::reply_shape)
    }

    /// For people and tools.
    pub(crate) fn describe(&self) -> Vec<CallDescription> {
        match self {
            Self::Named(_, entries) => entries.iter().map(describe_entry).collect(),
            Self::Typed(shape) => {
                let shape = shape(Form::Readable);
                if let Shape::Enum { variants, .. } = shape {
                    return variants.into_iter().map(describe_variant).collect();
                }
                vec![CallDescription {
                    name: None,
                    docs: String::new(),
                    arguments: CallArguments::Value(shape),
                    result: Shape::Unknown,
                }]
            }
        }
    }
}

/// `"expire"` or `{"add": …}`.
fn name_in_json(body: &[u8]) -> Option<String> {
    if let Ok(name) = serde_json::from_slice::<String>(body) {
        return Some(name);
    }
    let map: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_slice(body).ok()?;
    let mut names = map.into_keys();
    names.next().filter(|_| names.next().is_none())
}

/// A kind that a host runs, as the host describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindDescription {
    /// Its name.
    pub kind: String,
    /// The version of its state.
    pub version: u32,
    /// How its states are encoded.
    pub codec: Codec,
    /// The number of its shards, if it declares any.
    pub shards: Option<u16>,
    /// The shape of its state.
    pub state: Shape,
    /// Its commands.
    pub commands: Vec<CallDescription>,
    /// Its queries.
    pub queries: Vec<CallDescription>,
}

/// Kinds whose names begin so belong to the runtime and its parts: tools don't list them, and the gateway doesn't reach them.
const RESERVED: &str = "holocron.";

impl KindDescription {
    /// Whether a kind of this name belongs to the runtime and its parts.
    #[must_use]
    pub fn is_reserved(kind: &str) -> bool {
        kind.starts_with(RESERVED)
    }
}

/// A command or query, as a host describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDescription {
    /// Its name. None if the kind's commands or queries have no names: then the arguments are the call.
    pub name: Option<String>,
    /// The first paragraph of its documentation.
    pub docs: String,
    /// What it takes.
    pub arguments: CallArguments,
    /// What it returns; unknown for a kind without the macro.
    pub result: Shape,
}

/// What a call takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallArguments {
    /// Nothing.
    None,
    /// Named arguments, in order.
    Named(Vec<Part>),
    /// One value.
    Value(Shape),
}

fn describe_entry(entry: &Entry) -> CallDescription {
    let Shapes { arguments, result } = entry.shapes(Form::Readable);
    CallDescription {
        name: Some(entry.name.to_owned()),
        docs: entry.docs.to_owned(),
        arguments: if arguments == Shape::UNIT {
            CallArguments::None
        } else if let Shape::Struct { fields, .. } = arguments {
            CallArguments::Named(fields)
        } else {
            CallArguments::Value(arguments)
        },
        result,
    }
}

fn describe_variant(variant: Part) -> CallDescription {
    let arguments = if variant.shape == Shape::UNIT {
        CallArguments::None
    } else if let Shape::Struct { name, fields } = &variant.shape
        // A variant with fields, not one around a struct.
        && name.is_empty()
    {
        CallArguments::Named(fields.clone())
    } else {
        CallArguments::Value(variant.shape)
    };
    CallDescription {
        name: Some(variant.name),
        docs: String::new(),
        arguments,
        result: Shape::Unknown,
    }
}
