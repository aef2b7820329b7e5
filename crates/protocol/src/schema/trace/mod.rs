//! Tracing: finds the shape of a type from its `Deserialize` alone.
//!
//! A type is deserialized again and again from made-up values. Each pass shows what the type asks for, and goes where the
//! passes before haven't been: into the next variant, into the fields that aren't known yet. A type may refuse a made-up
//! value (a URL is not any text). Then other samples are tried; if it refuses them all, its own shape is known anyway, and
//! what comes after it is reached by giving that first.
//!
//! Invariants:
//!
//! * Every pass learns something, or is the last: a type that can't be traced is [`Shape::Unknown`], never a guess.
//! * The result depends on the type only.

mod access;
mod deserializer;

use alloc::{boxed::Box, string::ToString, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::DeserializeOwned;

use self::deserializer::Tracer;
use super::shape::{Shape, part, tuple};

/// Passes over one type, at most.
const PASSES_MAX: usize = 4_096;
/// Parts of one type, at most; what is beyond is unknown.
const NODES_MAX: usize = 16_384;
/// Parts inside each other, at most. A shape is stored as JSON, where a part takes up to four levels of the 128 that a reader
/// accepts.
const DEPTH_MAX: usize = 28;

/// For whom a value is encoded. Some types have two forms: an address is bytes in one and text in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In a binary format: bincode, `MessagePack`.
    Binary,
    /// In a format for people: JSON.
    Readable,
}

/// The shape of a type.
#[must_use]
pub fn shape_of<T: DeserializeOwned>(form: Form) -> Shape {
    let mut root = Node::default();
    let known = Cell::new(0);
    for _ in 0..PASSES_MAX {
        let pass = Pass::new(form, &known);
        // Whether it succeeds doesn't matter, only what was seen.
        let (Ok(()) | Err(_)) =
            pass.part(&mut root, |node| T::deserialize(Tracer { node, pass: &pass }).map(drop));
        if root.is_settled() {
            break;
        }
    }
    root.shape()
}

/// A type refused a value, or can't be traced.
#[derive(Debug)]
enum Refused {
    Value,
    /// It takes this field under the name that was given last too.
    Duplicate(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a made-up value was refused")
    }
}

impl core::error::Error for Refused {}

impl serde::de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Value
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Duplicate(field)
    }
}

/// What is known of a part of a type.
#[derive(Debug, Default)]
struct Node {
    seen: Seen,
    /// Whether a value of it was made.
    made: bool,
    /// Whether no value of it can be made: nothing is left to try.
    stuck: bool,
    /// How many samples were refused.
    refused: usize,
    /// Of a field: it has aliases, so it is given first.
    is_first: bool,
    /// Of an enum: how many variants there are by number.
    variants: Variants,
}

#[derive(Clone, Copy, Debug)]
enum Variants {
    /// At least so many.
    Counting(usize),
    Counted(usize),
}

impl Default for Variants {
    fn default() -> Self {
        Self::Counting(0)
    }
}

#[derive(Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    Scalar(Shape),
    Option(Box<Node>),
    List(Box<Node>),
    Map(Box<[Node; 2]>),
    Tuple(Vec<Node>),
    Struct(&'static str, Vec<(&'static str, Node)>),
    Enum(&'static str, Vec<(&'static str, Node)>),
    /// Another name of this field.
    Alias(&'static str),
    Recursive(u32),
}

impl Node {
    /// Whether no pass can learn more of it.
    fn is_settled(&self) -> bool {
        self.stuck
            || match &self.seen {
                Seen::Nothing => false,
                Seen::Alias(_) => true,
                Seen::Scalar(_) | Seen::Recursive(_) => self.made,
                Seen::Option(inner) | Seen::List(inner) => inner.is_settled(),
                Seen::Map(entry) => entry.iter().all(Self::is_settled),
                Seen::Tuple(parts) => parts.iter().all(Self::is_settled),
                Seen::Struct(_, parts) | Seen::Enum(_, parts) => {
                    parts.iter().all(|(_, part)| part.is_settled())
                }
            }
    }

    /// Has it looked at again: something may be learned beside it.
    fn unsettle(&mut self) {
        self.made = false;
        match &mut self.seen {
            Seen::Nothing | Seen::Alias(_) | Seen::Scalar(_) | Seen::Recursive(_) => {}
            Seen::Option(inner) | Seen::List(inner) => inner.unsettle(),
            Seen::Map(entry) => entry.iter_mut().for_each(Self::unsettle),
            Seen::Tuple(parts) => parts.iter_mut().for_each(Self::unsettle),
            Seen::Struct(_, parts) | Seen::Enum(_, parts) => {
                parts.iter_mut().for_each(|(_, part)| part.unsettle());
            }
        }
    }

    fn shape(self) -> Shape {
        let parts = |parts: Vec<(&'static str, Self)>| {
            parts.into_iter().map(|(name, node)| part(name, node.shape())).collect()
        };
        match self.seen {
            Seen::Nothing => Shape::Unknown,
            Seen::Scalar(shape) => shape,
            Seen::Option(inner) => Shape::Option(Box::new(inner.shape())),
            Seen::List(inner) => Shape::List(Box::new(inner.shape())),
            Seen::Map(entry) => {
                let [key, value] = *entry;
                Shape::Map(Box::new(key.shape()), Box::new(value.shape()))
            }
            Seen::Tuple(nodes) => tuple(nodes.into_iter().map(Self::shape).collect()),
            Seen::Struct(_, fields) if fields.is_empty() => Shape::UNIT,
            Seen::Struct(name, fields) => {
                Shape::Struct { name: name.to_string(), fields: parts(fields) }
            }
            Seen::Enum(name, variants) => {
                let count = match self.variants {
                    // They aren't found by number, so each name counts.
                    Variants::Counting(0) | Variants::Counted(0) => variants.len(),
                    Variants::Counting(count) | Variants::Counted(count) => count,
                };
                let distinct = u32::try_from(count).expect("bounded by the number of names");
                Shape::Enum { name: name.to_string(), variants: parts(variants), distinct }
            }
            Seen::Alias(of) => Shape::Alias(of.to_string()),
            Seen::Recursive(levels) => Shape::Recursive(levels),
        }
    }
}

/// One pass over a type.
struct Pass<'a> {
    form: Form,
    /// Counts what was learned.
    learned: Cell<u64>,
    /// Parts that were seen in all passes.
    known: &'a Cell<usize>,
    /// How many parts the current one is inside.
    depth: Cell<usize>,
    /// The name of a field that was given last.
    given: Cell<&'static str>,
    /// The types that are being deserialized, outermost first, each by the name of its visitor.
    inside: RefCell<Vec<&'static str>>,
    /// Set inside a type that contains itself: make the smallest value, with this choice of variants.
    smallest: Cell<Option<usize>>,
}

impl<'a> Pass<'a> {
    const fn new(form: Form, known: &'a Cell<usize>) -> Self {
        Self {
            form,
            learned: Cell::new(0),
            known,
            depth: Cell::new(0),
            given: Cell::new(""),
            inside: RefCell::new(Vec::new()),
            smallest: Cell::new(None),
        }
    }

    fn learn(&self) {
        self.learned.set(self.learned.get() + 1);
    }

    /// Deserializes a part of a type. A part that fails without anything new is stuck.
    fn part<R>(
        &self,
        node: &mut Node,
        deserialize: impl FnOnce(&mut Node) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        let before = self.learned.get();
        let depth = self.depth.replace(self.depth.get() + 1);
        let made = if depth < DEPTH_MAX { deserialize(node) } else { Err(Refused::Value) };
        self.depth.set(depth);
        match &made {
            Ok(_) => node.made = true,
            Err(_) if self.learned.get() == before && !node.stuck => {
                node.stuck = true;
                self.learn();
            }
            Err(_) => {}
        }
        made
    }

    /// Notes what a part turned out to be, when it is seen for the first time.
    fn see(&self, node: &mut Node, seen: impl FnOnce() -> Seen) -> Result<(), Refused> {
        if !matches!(node.seen, Seen::Nothing) {
            return Ok(());
        }
        if self.smallest.get().is_none() {
            if self.known.get() >= NODES_MAX {
                return Err(Refused::Value);
            }
            self.known.set(self.known.get() + 1);
        }
        node.seen = seen();
        self.learn();
        Ok(())
    }

    /// Whether values without content are wanted: an empty list, no value of an option.
    fn wants_smallest(&self) -> bool {
        self.smallest.get().is_some()
    }

    /// How many levels above a type is being deserialized already.
    fn levels_above(&self, visitor: &'static str) -> Option<u32> {
        let inside = self.inside.borrow();
        let above = inside.iter().rev().position(|other| *other == visitor)?;
        u32::try_from(above + 1).ok()
    }
}

/// The nodes of a type's parts.
fn unseen(names: &'static [&'static str]) -> Vec<(&'static str, Node)> {
    names.iter().map(|name| (*name, Node::default())).collect()
}

/// The name by which a type is recognised inside itself. It names the type's generic arguments too.
fn identity<V>() -> &'static str {
    core::any::type_name::<V>()
}

/// A text for what some types read from text: dates, addresses, ids, numbers.
const TEXTS: [&str; 16] = [
    "",
    "a",
    "0",
    "1",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "1970-01-01",
    "00:00:00",
    "127.0.0.1",
    "::1",
    "127.0.0.1:1",
    "[::1]:1",
    "00000000-0000-4000-8000-000000000000",
    "http://localhost/",
    "0.0.0",
    "true",
];

/// Lengths of bytes for what some types read from bytes: ids, addresses, keys.
const LENGTHS: [usize; 8] = [0, 16, 4, 12, 20, 32, 64, 8];

#[cfg(test)]
mod tests;
