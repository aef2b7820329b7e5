//! Comparing shapes: whether what one type wrote can be read as another, and if not, which parts differ.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    record::Codec,
    shape::{Part, Shape, encoded},
};

/// Differences that are told, at most.
const TOLD_MAX: usize = 8;

/// What keeps states of the recorded shape from being read as the own one, and states of the own shape from being read by a
/// host with the recorded one; in words, each with the path of the part. Empty: nothing does.
///
/// In bincode nothing may differ but names of types: a state is read by position. In `MessagePack` it is read by name, so the order
/// doesn't matter, and fields and variants may be added: serde's default stands for a field that is missing. A field that was removed
/// would be lost from the states that have it; a field that was renamed looks like that.
#[must_use]
pub fn differences(recorded: &Shape, own: &Shape, codec: Codec) -> Vec<String> {
    let mut told = Told { codec, differences: Vec::new() };
    told.compare("", recorded, own);
    told.differences.truncate(TOLD_MAX);
    told.differences
}

struct Told {
    codec: Codec,
    differences: Vec<String>,
}

impl Told {
    fn tell(&mut self, path: &str, what: &str) {
        let path = if path.is_empty() { "the state" } else { path };
        self.differences.push(format!("{path} {what}"));
    }

    fn compare(&mut self, path: &str, recorded: &Shape, own: &Shape) {
        match (recorded, own) {
            // What serde doesn't show can't be compared.
            (Shape::Unknown, _) | (_, Shape::Unknown) => {}
            (Shape::Option(recorded), Shape::Option(own))
            | (Shape::List(recorded), Shape::List(own)) => {
                self.compare(&format!("{path}[]"), recorded, own);
            }
            (Shape::Array(recorded, length), Shape::Array(own, now)) if length == now => {
                self.compare(&format!("{path}[]"), recorded, own);
            }
            (Shape::Map(key, value), Shape::Map(own_key, own_value)) => {
                self.compare(&format!("{path}{{key}}"), key, own_key);
                self.compare(&format!("{path}{{}}"), value, own_value);
            }
            (Shape::Tuple(recorded), Shape::Tuple(own)) if recorded.len() == own.len() => {
                for (at, (recorded, own)) in recorded.iter().zip(own).enumerate() {
                    self.compare(&join(path, &at.to_string()), recorded, own);
                }
            }
            (Shape::Struct { fields, .. }, Shape::Struct { fields: own, .. }) => {
                self.parts(path, ["field", "fields"], fields, own);
            }
            (
                Shape::Enum { variants, distinct, .. },
                Shape::Enum { variants: own, distinct: own_distinct, .. },
            ) => {
                let told = self.differences.len();
                self.parts(path, ["variant", "variants"], variants, own);
                let is_told = self.differences.len() > told;
                // The names are the same, but another number of them are aliases.
                if self.codec == Codec::Bincode && distinct != own_distinct && !is_told {
                    self.tell(path, &format!("had {distinct} variants and has {own_distinct}"));
                }
            }
            (recorded, own) => {
                if recorded != own {
                    self.tell(path, &format!("was {recorded} and is {own}"));
                }
            }
        }
    }

    /// Fields or variants.
    fn parts(&mut self, path: &str, [noun, plural]: [&str; 2], recorded: &[Part], own: &[Part]) {
        let by_position = match self.codec {
            Codec::Bincode => true,
            Codec::MessagePack => false,
        };
        let mut before = Vec::new();
        for part in encoded(recorded) {
            match find(own, &part.name) {
                // By position, another name is another field.
                Some(now) if !by_position || now.name == part.name => {
                    before.push(part.name.as_str());
                    self.compare(&join(path, &part.name), &part.shape, &now.shape);
                }
                Some(_) | None => {
                    let told = format!("had the {noun} {}, which is missing", defined(part));
                    self.tell(path, &told);
                }
            }
        }
        if !by_position {
            return;
        }
        let mut now = Vec::new();
        for part in encoded(own) {
            if encoded(recorded).any(|recorded| recorded.name == part.name) {
                now.push(part.name.as_str());
            } else {
                self.tell(path, &format!("has the new {noun} {}", defined(part)));
            }
        }
        if before != now {
            let (before, now) = (before.join(", "), now.join(", "));
            let told =
                format!("had its {plural} in the order {before}, and has them in the order {now}");
            self.tell(path, &told);
        }
    }
}

/// The part that reads a name: that of the name, or the one that has it as an alias.
fn find<'a>(parts: &'a [Part], name: &str) -> Option<&'a Part> {
    let found = parts.iter().find(|part| part.name == name)?;
    if let Shape::Alias(of) = &found.shape {
        return parts.iter().find(|part| part.name == *of);
    }
    Some(found)
}

fn defined(Part { name, shape }: &Part) -> String {
    if *shape == Shape::UNIT { name.clone() } else { format!("{name}: {shape}") }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned as _, vec};

    use super::*;
    use crate::schema::shape::Scalar;

    const TEXT: Shape = Shape::Scalar(Scalar::String);
    const NUMBER: Shape = Shape::Scalar(Scalar::U32);

    fn parts(parts: &[(&str, Shape)]) -> Vec<Part> {
        let part =
            |(name, shape): &(&str, Shape)| Part { name: (*name).into(), shape: shape.clone() };
        parts.iter().map(part).collect()
    }

    fn fields(fields: &[(&str, Shape)]) -> Shape {
        Shape::Struct { name: "Cart".into(), fields: parts(fields) }
    }

    fn variants(variants: &[(&str, Shape)]) -> Shape {
        let distinct = u32::try_from(variants.len()).unwrap();
        Shape::Enum { name: "Payment".into(), variants: parts(variants), distinct }
    }

    fn both(recorded: &Shape, own: &Shape) -> [Vec<String>; 2] {
        [Codec::Bincode, Codec::MessagePack].map(|codec| differences(recorded, own, codec))
    }

    #[test]
    fn a_type_has_no_difference_from_itself_under_another_name() {
        let one = fields(&[("a", TEXT), ("b", Shape::List(NUMBER.into()))]);
        let Shape::Struct { fields, .. } = one.clone() else { unreachable!() };
        let other = Shape::Struct { name: "Basket".into(), fields };
        assert!(both(&one, &other).iter().all(Vec::is_empty));
    }

    #[test]
    fn an_added_field_differs_by_position_and_not_by_name() {
        let (one, two) = (fields(&[("a", TEXT)]), fields(&[("a", TEXT), ("b", NUMBER)]));
        let [bincode, named] = both(&one, &two);
        assert_eq!(bincode, ["the state has the new field b: u32"]);
        assert!(named.is_empty(), "{named:?}");
        // The other way round it is lost.
        let lost = vec!["the state had the field b: u32, which is missing".to_owned()];
        assert_eq!(both(&two, &one), [lost.clone(), lost]);
    }

    #[test]
    fn an_order_differs_by_position_only_and_a_type_in_both() {
        let (one, two) = (fields(&[("a", TEXT), ("b", TEXT)]), fields(&[("b", TEXT), ("a", TEXT)]));
        let [bincode, named] = both(&one, &two);
        assert_eq!(
            bincode,
            ["the state had its fields in the order a, b, and has them in the order b, a"]
        );
        assert!(named.is_empty(), "{named:?}");
        let retyped = fields(&[("a", TEXT), ("b", Shape::Option(NUMBER.into()))]);
        let told = vec!["b was String and is Option<u32>".to_owned()];
        assert_eq!(both(&one, &retyped), [told.clone(), told]);
    }

    #[test]
    fn a_variant_in_the_middle_differs_by_position_only() {
        let inside = |variants: Shape| fields(&[("paid", Shape::List(variants.into()))]);
        let one = inside(variants(&[("Cash", Shape::UNIT), ("Card", TEXT)]));
        let two = inside(variants(&[("Cash", Shape::UNIT), ("Cheque", NUMBER), ("Card", TEXT)]));
        let [bincode, named] = both(&one, &two);
        assert_eq!(bincode, ["paid[] has the new variant Cheque: u32"]);
        assert!(named.is_empty(), "{named:?}");
        let lost = "paid[] had the variant Cheque: u32, which is missing";
        assert_eq!(both(&two, &one)[1], [lost]);
    }

    #[test]
    fn what_is_unknown_is_not_compared() {
        let unknown = fields(&[("a", TEXT), ("b", Shape::Unknown)]);
        let known = fields(&[("a", TEXT), ("b", NUMBER)]);
        assert!(both(&unknown, &known).iter().all(Vec::is_empty));
        assert!(both(&known, &unknown).iter().all(Vec::is_empty));
    }

    #[test]
    fn a_field_with_an_alias_is_read_under_both_names_and_by_position_is_another() {
        let before = fields(&[("count", NUMBER), ("name", TEXT)]);
        let alias = Shape::Alias("amount".into());
        let now = fields(&[("amount", NUMBER), ("count", alias), ("name", TEXT)]);
        let [bincode, named] = both(&before, &now);
        assert!(named.is_empty(), "{named:?}");
        assert_eq!(
            bincode,
            [
                "the state had the field count: u32, which is missing",
                "the state has the new field amount: u32"
            ]
        );
        assert_eq!(both(&now, &now), [Vec::<String>::new(), Vec::new()]);
        // An alias has no encoding of its own.
        let two = fields(&[("amount", NUMBER), ("count", NUMBER), ("name", TEXT)]);
        assert_ne!(now.fingerprint(), two.fingerprint());
        assert!(!both(&two, &now)[0].is_empty());
    }

    #[test]
    fn few_differences_are_told() {
        let names: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), NUMBER)).collect();
        assert_eq!(differences(&fields(&many), &fields(&[]), Codec::Bincode).len(), TOLD_MAX);
    }
}
