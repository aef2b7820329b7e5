//! Shapes: what a serialized form consists of, as serde sees it.
//!
//! Two types of one shape have the same encodings in bincode. Names of types and wrappers (`struct Sku(String)`) aren't part of it, names
//! of fields and variants are.

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The shape of a serialized form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One value without parts.
    Scalar(Scalar),
    /// A value or nothing.
    Option(Box<Self>),
    /// Any number of values.
    List(Box<Self>),
    /// Keys with values.
    Map(Box<Self>, Box<Self>),
    /// A fixed number of values.
    Tuple(Vec<Self>),
    /// A fixed number of values of one shape.
    Array(Box<Self>, u32),
    /// Named fields.
    Struct {
        /// The type's name, for people; empty for a variant with fields.
        name: String,
        /// Its fields, in order.
        fields: Vec<Part>,
    },
    /// One of several variants.
    Enum {
        /// The type's name, for people.
        name: String,
        /// The names of its variants, in order.
        variants: Vec<Part>,
        /// How many variants there are: fewer than names if some names are aliases.
        distinct: u32,
    },
    /// Of a field: another name of the field of this name, for reading.
    Alias(String),
    /// A type that contains itself: the struct, enum or wrapper that many levels above.
    Recursive(u32),
    /// Anything; the bytes say what it is.
    Any,
    /// Not known: serde didn't show it.
    Unknown,
}

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scalar {
    /// `bool`.
    Bool,
    /// `i8`.
    I8,
    /// `i16`.
    I16,
    /// `i32`.
    I32,
    /// `i64`.
    I64,
    /// `i128`.
    I128,
    /// `u8`.
    U8,
    /// `u16`.
    U16,
    /// `u32`.
    U32,
    /// `u64`.
    U64,
    /// `u128`.
    U128,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
    /// `char`.
    Char,
    /// Text.
    String,
    /// Bytes as one value; a `Vec<u8>` without `serde_bytes` is a list.
    Bytes,
    /// Nothing: `()`, a struct without fields, a variant without content.
    Unit,
}

impl Scalar {
    /// In Rust's words.
    const fn text(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "String",
            Self::Bytes => "bytes",
            Self::Unit => "()",
        }
    }
}

/// A field or variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its content.
    pub shape: Shape,
}

impl Shape {
    /// Nothing.
    pub const UNIT: Self = Self::Scalar(Scalar::Unit);

    /// Whether all of it is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Scalar(_) | Self::Alias(_) | Self::Recursive(_) | Self::Any => true,
            Self::Option(inner) | Self::List(inner) | Self::Array(inner, _) => inner.is_known(),
            Self::Map(key, value) => key.is_known() && value.is_known(),
            Self::Tuple(parts) => parts.iter().all(Self::is_known),
            Self::Struct { fields: parts, .. } | Self::Enum { variants: parts, .. } => {
                parts.iter().all(|part| part.shape.is_known())
            }
        }
    }

    /// A number that differs, up to chance (1 in 2⁶⁴), between shapes with different encodings. The same in every build.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut text = String::new();
        write!(text, "{}", Canonical(self)).expect("a string takes any text");
        xxh3_64(text.as_bytes())
    }

    /// Calls `each` for every struct and enum in it, in order; one inside another comes after it.
    pub fn each_named<'a>(&'a self, each: &mut impl FnMut(&'a str, &'a Self)) {
        match self {
            Self::Option(inner) | Self::List(inner) | Self::Array(inner, _) => {
                inner.each_named(each);
            }
            Self::Map(key, value) => {
                key.each_named(each);
                value.each_named(each);
            }
            Self::Tuple(parts) => parts.iter().for_each(|part| part.each_named(each)),
            Self::Struct { name, fields: parts } | Self::Enum { name, variants: parts, .. } => {
                if !name.is_empty() {
                    each(name, self);
                }
                parts.iter().for_each(|part| part.shape.each_named(each));
            }
            Self::Scalar(_) | Self::Alias(_) | Self::Recursive(_) | Self::Any | Self::Unknown => {}
        }
    }

    /// `Result<ok, err>`, if it is one.
    fn as_result(&self) -> Option<[&Self; 2]> {
        let Self::Enum { name, variants, .. } = self else { return None };
        let [ok, err] = &variants[..] else { return None };
        let is_result = name == "Result" && ok.name == "Ok" && err.name == "Err";
        is_result.then_some([&ok.shape, &err.shape])
    }

    /// The definition of a struct or enum, in Rust's words: `{ sku: String, n: u32 }` or `Empty | Full { max: u32 }`.
    #[must_use]
    pub fn definition(&self) -> String {
        if let Self::Struct { fields, .. } = self {
            return format!("{{ {} }}", fields_of(fields));
        }
        let Self::Enum { variants, .. } = self else { return self.to_string() };
        variants.iter().map(defined_variant).collect::<Vec<_>>().join(" | ")
    }
}

fn defined_variant(Part { name, shape }: &Part) -> String {
    if *shape == Shape::UNIT {
        return name.clone();
    }
    if let Shape::Struct { name: unnamed, fields } = shape
        && unnamed.is_empty()
    {
        return format!("{name} {{ {} }}", fields_of(fields));
    }
    if let Shape::Tuple(_) = shape {
        return format!("{name}{shape}");
    }
    format!("{name}({shape})")
}

fn fields_of(fields: &[Part]) -> String {
    let each = encoded(fields).map(|field| format!("{}: {}", field.name, field.shape));
    each.collect::<Vec<_>>().join(", ")
}

/// In Rust's words, with structs and enums by their names.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some([ok, err]) = self.as_result() {
            return write!(f, "Result<{ok}, {err}>");
        }
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.text()),
            Self::Option(inner) => write!(f, "Option<{inner}>"),
            Self::List(inner) => write!(f, "Vec<{inner}>"),
            Self::Map(key, value) => write!(f, "Map<{key}, {value}>"),
            Self::Array(inner, length) => write!(f, "[{inner}; {length}]"),
            Self::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                write!(f, "({})", parts.join(", "))
            }
            Self::Struct { name, .. } | Self::Enum { name, .. } => f.write_str(name),
            Self::Alias(of) => write!(f, "alias of {of}"),
            Self::Recursive(_) => f.write_str("…"),
            Self::Any => f.write_str("any"),
            Self::Unknown => f.write_char('?'),
        }
    }
}

/// A shape as text without the names of types: equal exactly if the shapes have equal encodings.
struct Canonical<'a>(&'a Shape);

impl fmt::Display for Canonical<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Shape::Scalar(scalar) => f.write_str(scalar.text()),
            Shape::Option(inner) => write!(f, "?{}", Canonical(inner)),
            Shape::List(inner) => write!(f, "*{}", Canonical(inner)),
            Shape::Map(key, value) => write!(f, "<{}:{}>", Canonical(key), Canonical(value)),
            Shape::Array(inner, length) => write!(f, "[{};{length}]", Canonical(inner)),
            Shape::Tuple(parts) => {
                f.write_char('(')?;
                parts.iter().try_for_each(|part| write!(f, "{},", Canonical(part)))?;
                f.write_char(')')
            }
            Shape::Struct { fields: parts, .. } | Shape::Enum { variants: parts, .. } => {
                let is_struct = matches!(self.0, Shape::Struct { .. });
                let (open, close) = if is_struct { ('{', '}') } else { ('|', '|') };
                f.write_char(open)?;
                // The length of a name comes first, so that no name can imitate what follows.
                for Part { name, shape } in encoded(parts) {
                    write!(f, "{}{name}={},", name.len(), Canonical(shape))?;
                }
                if let Shape::Enum { distinct, .. } = self.0
                    && *distinct as usize != parts.len()
                {
                    write!(f, "{distinct}")?;
                }
                f.write_char(close)
            }
            Shape::Alias(of) => write!(f, "={of}"),
            Shape::Recursive(levels) => write!(f, "^{levels}"),
            Shape::Any => f.write_char('@'),
            Shape::Unknown => f.write_char('!'),
        }
    }
}

/// The parts that have an encoding of their own.
pub(super) fn encoded(parts: &[Part]) -> impl Iterator<Item = &Part> {
    parts.iter().filter(|part| !matches!(part.shape, Shape::Alias(_)))
}

/// A tuple, or an array if all its parts have one shape.
pub(super) fn tuple(parts: Vec<Shape>) -> Shape {
    match &parts[..] {
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|part| part == first) => {
            let length = u32::try_from(parts.len()).expect("bounded by the number of nodes");
            Shape::Array(Box::new(first.clone()), length)
        }
        _ => Shape::Tuple(parts),
    }
}

/// A field or variant.
pub(super) fn part(name: &str, shape: Shape) -> Part {
    Part { name: name.to_owned(), shape }
}
