//! What a pass gives to types that ask for several parts: elements, entries, fields, variants.

use alloc::vec::{self, Vec};
use core::cell::Cell;

use serde::de::{
    DeserializeSeed, Deserializer as _, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
    value::{StrDeserializer, U64Deserializer},
};

use super::{Node, Pass, Refused, Seen, deserializer::Tracer};
use crate::schema::shape::Shape;

/// A list: one element, or none when its shape is known.
pub(super) struct One<'a, 'p> {
    pub(super) node: Option<&'a mut Node>,
    pub(super) pass: &'a Pass<'p>,
}

impl<'de> SeqAccess<'de> for One<'_, '_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some(node) = self.node.take() else { return Ok(None) };
        let pass = self.pass;
        pass.part(node, |node| seed.deserialize(Tracer { node, pass })).map(Some)
    }
}

/// Parts in order.
pub(super) struct Parts<'a, 'p, I> {
    nodes: I,
    pass: &'a Pass<'p>,
}

impl<'a, 'p, I> Parts<'a, 'p, I> {
    pub(super) const fn new(nodes: I, pass: &'a Pass<'p>) -> Self {
        Self { nodes, pass }
    }
}

impl<'de, 'a, I: Iterator<Item = &'a mut Node>> SeqAccess<'de> for Parts<'a, '_, I> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        let pass = self.pass;
        pass.part(node, |node| seed.deserialize(Tracer { node, pass })).map(Some)
    }
}

/// A map: one entry, or none when its shape is known.
pub(super) struct Entry<'a, 'p> {
    key: Option<&'a mut Node>,
    value: Option<&'a mut Node>,
    pass: &'a Pass<'p>,
}

impl<'a, 'p> Entry<'a, 'p> {
    pub(super) const fn one([key, value]: &'a mut [Node; 2], pass: &'a Pass<'p>) -> Self {
        Self { key: Some(key), value: Some(value), pass }
    }

    pub(super) const fn none(pass: &'a Pass<'p>) -> Self {
        Self { key: None, value: None, pass }
    }
}

impl<'de> MapAccess<'de> for Entry<'_, '_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        let Some(node) = self.key.take() else { return Ok(None) };
        let pass = self.pass;
        pass.part(node, |node| seed.deserialize(Tracer { node, pass })).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        let node = self.value.take().ok_or(Refused::Value)?;
        let pass = self.pass;
        pass.part(node, |node| seed.deserialize(Tracer { node, pass }))
    }
}

/// The fields of a struct by name: those with aliases first, then those that aren't known yet, those of which a value can be
/// made, and the others, at which this pass fails.
pub(super) struct Fields<'a, 'p> {
    fields: vec::IntoIter<&'a mut (&'static str, Node)>,
    current: Option<&'a mut Node>,
    pass: Option<&'a Pass<'p>>,
}

impl<'a, 'p> Fields<'a, 'p> {
    pub(super) fn new(fields: &'a mut [(&'static str, Node)], pass: &'a Pass<'p>) -> Self {
        let is_alias = |node: &Node| matches!(node.seen, Seen::Alias(_));
        let mut fields: Vec<_> = fields.iter_mut().filter(|(_, node)| !is_alias(node)).collect();
        fields.sort_by_key(|(_, node)| (!node.is_first, node.is_settled(), node.stuck));
        Self { fields: fields.into_iter(), current: None, pass: Some(pass) }
    }

    /// No field at all.
    pub(super) fn none() -> Self {
        Self { fields: Vec::new().into_iter(), current: None, pass: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        let Some((name, node)) = self.fields.next() else { return Ok(None) };
        self.current = Some(node);
        if let Some(pass) = self.pass {
            pass.given.set(name);
        }
        let name: StrDeserializer<'_, Refused> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        let (Some(node), Some(pass)) = (self.current.take(), self.pass) else {
            return Err(Refused::Value);
        };
        pass.part(node, |node| seed.deserialize(Tracer { node, pass }))
    }
}

/// One variant of an enum.
pub(super) struct Variant<'a, 'p> {
    pub(super) variant: &'a str,
    pub(super) node: &'a mut Node,
    pub(super) pass: &'a Pass<'p>,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Refused> {
        let variant: StrDeserializer<'_, Refused> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        self.pass.see(self.node, || Seen::Scalar(Shape::UNIT))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(Tracer { node: self.node, pass: self.pass })
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        Tracer { node: self.node, pass: self.pass }.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        Tracer { node: self.node, pass: self.pass }.fields("", fields, visitor)
    }
}

/// Whether an enum has a variant of a number. Makes no value.
pub(super) struct Counted<'a> {
    pub(super) number: u64,
    pub(super) is_there: &'a Cell<bool>,
}

impl<'de> EnumAccess<'de> for Counted<'_> {
    type Error = Refused;
    type Variant = Variant<'static, 'static>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), Refused> {
        let number: U64Deserializer<Refused> = self.number.into_deserializer();
        let (Ok(_) | Err(_)) = seed.deserialize(number).map(|_| self.is_there.set(true));
        Err(Refused::Value)
    }
}
