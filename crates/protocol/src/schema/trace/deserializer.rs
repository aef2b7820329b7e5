//! The deserializer of a pass: notes what a type asks for, and gives it a made-up value.

use alloc::{boxed::Box, vec};
use core::cell::Cell;

use serde::de::{Deserializer, Visitor};

use super::{
    DEPTH_MAX, Form, LENGTHS, Node, Pass, Refused, Seen, TEXTS, Variants,
    access::{Counted, Entry, Fields, One, Parts, Variant},
    identity, unseen,
};
use crate::schema::shape::{Scalar, Shape};

/// Deserializes one part of a type.
pub(super) struct Tracer<'a, 'p> {
    pub(super) node: &'a mut Node,
    pub(super) pass: &'a Pass<'p>,
}

impl<'a, 'p> Tracer<'a, 'p> {
    /// A scalar: gives the next sample that wasn't refused.
    fn scalar<S: Copy, V>(
        self,
        shape: Shape,
        samples: &[S],
        give: impl FnOnce(S) -> Result<V, Refused>,
    ) -> Result<V, Refused> {
        let Self { node, pass } = self;
        pass.see(node, || Seen::Scalar(shape))?;
        let sample = samples[node.refused.min(samples.len() - 1)];
        let given = give(sample);
        if given.is_err() && node.refused + 1 < samples.len() {
            node.refused += 1;
            pass.learn();
        }
        given
    }

    /// A struct, an enum or a wrapper, unless it is inside itself: then its smallest value.
    fn named<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        deserialize: impl FnOnce(Tracer<'_, 'p>, V) -> Result<V::Value, Refused>,
    ) -> Result<V::Value, Refused> {
        let pass = self.pass;
        if pass.inside.borrow().len() > DEPTH_MAX {
            return Err(Refused::Value);
        }
        let levels = if pass.wants_smallest() { None } else { pass.levels_above(identity::<V>()) };
        pass.inside.borrow_mut().push(identity::<V>());
        let made = match levels {
            Some(levels) => self.recursive(levels, visitor, deserialize),
            None => deserialize(self, visitor),
        };
        pass.inside.borrow_mut().pop();
        made
    }

    fn recursive<'de, V: Visitor<'de>>(
        self,
        levels: u32,
        visitor: V,
        deserialize: impl FnOnce(Tracer<'_, 'p>, V) -> Result<V::Value, Refused>,
    ) -> Result<V::Value, Refused> {
        /// Choices of variants that are tried for the smallest value.
        const CHOICES_MAX: usize = 64;
        let Self { node, pass } = self;
        pass.see(node, || Seen::Recursive(levels))?;
        let learned = pass.learned.get();
        pass.smallest.set(Some(node.refused));
        let mut scratch = Node::default();
        let made = deserialize(Tracer { node: &mut scratch, pass }, visitor);
        pass.smallest.set(None);
        // What was seen of it counts where it is not inside itself.
        pass.learned.set(learned);
        if made.is_err() && node.refused < CHOICES_MAX {
            node.refused += 1;
            pass.learn();
        }
        made
    }

    /// A fixed number of parts.
    fn parts<'de, V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Refused> {
        let Self { node, pass } = self;
        if length > super::NODES_MAX {
            return Err(Refused::Value);
        }
        pass.see(node, || Seen::Tuple((0..length).map(|_| Node::default()).collect()))?;
        let Seen::Tuple(parts) = &mut node.seen else { return Err(Refused::Value) };
        visitor.visit_seq(Parts::new(parts.iter_mut(), pass))
    }

    /// Named fields.
    pub(super) fn fields<'de, V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let Self { node, pass } = self;
        pass.see(node, || Seen::Struct(name, unseen(fields)))?;
        let Node { seen, refused, .. } = node;
        let Seen::Struct(_, parts) = seen else { return Err(Refused::Value) };
        let before = pass.learned.get();
        if *refused > 0 {
            return visitor.visit_seq(Parts::new(parts.iter_mut().map(|(_, part)| part), pass));
        }
        let made = match visitor.visit_map(Fields::new(parts, pass)) {
            Err(Refused::Duplicate(field)) => {
                note_alias(parts, field, pass);
                return Err(Refused::Value);
            }
            made => made,
        };
        if made.is_err()
            && pass.learned.get() == before
            && parts.iter().all(|(_, part)| !part.stuck)
        {
            // It may not take fields by name.
            *refused += 1;
            pass.learn();
        }
        made
    }
}

/// A field was given twice: under its own name and under an alias, of which the later is the one that was given last.
fn note_alias(parts: &mut [(&'static str, Node)], field: &'static str, pass: &Pass<'_>) {
    let given = pass.given.get();
    if given == field {
        // The alias came before, and may be any of those given before: next time it comes after.
        for (name, node) in parts.iter_mut() {
            if *name == field {
                node.is_first = true;
            } else {
                node.unsettle();
            }
        }
        pass.learn();
    } else if let Some((_, node)) = parts.iter_mut().find(|(name, _)| *name == given) {
        node.seen = Seen::Alias(field);
        pass.learn();
    }
}

/// The methods of the scalars, each with its samples.
macro_rules! scalars {
    ($($deserialize:ident $visit:ident $shape:ident [$($sample:expr),+];)+) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.scalar(Shape::Scalar(Scalar::$shape), &[$($sample),+], |sample| visitor.$visit(sample))
        })+
    };
}

impl<'de> Deserializer<'de> for Tracer<'_, '_> {
    type Error = Refused;

    fn is_human_readable(&self) -> bool {
        self.pass.form == Form::Readable
    }

    scalars! {
        deserialize_bool visit_bool Bool [false, true];
        deserialize_i8 visit_i8 I8 [1, 0, 2];
        deserialize_i16 visit_i16 I16 [1, 0, 2];
        deserialize_i32 visit_i32 I32 [1, 0, 2];
        deserialize_i64 visit_i64 I64 [1, 0, 2];
        deserialize_i128 visit_i128 I128 [1, 0, 2];
        deserialize_u8 visit_u8 U8 [1, 0, 2];
        deserialize_u16 visit_u16 U16 [1, 0, 2];
        deserialize_u32 visit_u32 U32 [1, 0, 2];
        deserialize_u64 visit_u64 U64 [1, 0, 2];
        deserialize_u128 visit_u128 U128 [1, 0, 2];
        deserialize_f32 visit_f32 F32 [1.0, 0.0];
        deserialize_f64 visit_f64 F64 [1.0, 0.0];
        deserialize_char visit_char Char ['a', '0'];
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        // An untagged enum asks for anything and takes what fits one of its variants.
        self.scalar(Shape::Any, &[0, 1, 2, 3, 4], |sample| match sample {
            0 => visitor.visit_unit(),
            1 => visitor.visit_str("a"),
            2 => visitor.visit_u64(1),
            3 => visitor.visit_bool(true),
            _ => visitor.visit_map(Fields::none()),
        })
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.scalar(Shape::Scalar(Scalar::String), &TEXTS, |text| visitor.visit_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.scalar(Shape::Scalar(Scalar::Bytes), &LENGTHS, |length| {
            visitor.visit_byte_buf(vec![0; length])
        })
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.scalar(Shape::UNIT, &[()], |()| visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let Self { node, pass } = self;
        pass.see(node, || Seen::Option(Box::default()))?;
        let Seen::Option(inner) = &mut node.seen else { return Err(Refused::Value) };
        if pass.wants_smallest() || inner.is_settled() {
            return visitor.visit_none();
        }
        pass.part(inner, |node| visitor.visit_some(Tracer { node, pass }))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.named(visitor, |tracer, visitor| visitor.visit_newtype_struct(tracer))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let Self { node, pass } = self;
        pass.see(node, || Seen::List(Box::default()))?;
        let Seen::List(inner) = &mut node.seen else { return Err(Refused::Value) };
        let wanted = !pass.wants_smallest() && !inner.is_settled();
        visitor.visit_seq(One { node: wanted.then_some(&mut **inner), pass })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.parts(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.named(visitor, |tracer, visitor| tracer.parts(length, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let Self { node, pass } = self;
        pass.see(node, || Seen::Map(Box::default()))?;
        let is_settled = node.is_settled();
        let Seen::Map(entry) = &mut node.seen else { return Err(Refused::Value) };
        if pass.wants_smallest() || is_settled {
            return visitor.visit_map(Entry::none(pass));
        }
        visitor.visit_map(Entry::one(entry, pass))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.named(visitor, |tracer, visitor| tracer.fields(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.named(visitor, |Tracer { node, pass }, visitor| {
            pass.see(node, || Seen::Enum(name, unseen(variants)))?;
            if let Variants::Counting(count) = node.variants
                && !pass.wants_smallest()
            {
                let is_there = Cell::new(false);
                let counted =
                    visitor.visit_enum(Counted { number: count as u64, is_there: &is_there });
                node.variants = match is_there.get() {
                    true if count + 1 < variants.len() => Variants::Counting(count + 1),
                    true => Variants::Counted(count + 1),
                    false => Variants::Counted(count),
                };
                pass.learn();
                return counted;
            }
            let Seen::Enum(_, parts) = &mut node.seen else { return Err(Refused::Value) };
            if parts.is_empty() {
                return Err(Refused::Value);
            }
            // One that isn't known yet, else one of which a value can be made.
            let next = match pass.smallest.get() {
                Some(choice) => choice % parts.len(),
                None => (parts.iter().position(|(_, part)| !part.is_settled()))
                    .or_else(|| parts.iter().position(|(_, part)| part.made))
                    .unwrap_or(0),
            };
            let (variant, content) = &mut parts[next];
            pass.part(content, |node| visitor.visit_enum(Variant { variant, node, pass }))
        })
    }
}
