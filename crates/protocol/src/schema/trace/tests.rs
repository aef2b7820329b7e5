//! What tracing finds of types as users write them.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{net::IpAddr, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::*;
use crate::schema::shape::{Scalar, Shape};

fn binary<T: DeserializeOwned>() -> Shape {
    shape_of::<T>(Form::Binary)
}

/// A type's definition, then those of the named types inside it.
fn told<T: DeserializeOwned>() -> String {
    let shape = binary::<T>();
    let mut told = Vec::new();
    shape.each_named(&mut |name, shape| told.push(format!("{name} = {}", shape.definition())));
    if told.is_empty() { shape.to_string() } else { told.join("; ") }
}

#[derive(Default, Serialize, Deserialize)]
struct Sku(String);

#[derive(Serialize, Deserialize)]
struct Item {
    sku: Sku,
    n: NonZeroU32,
    #[serde(default)]
    note: Option<String>,
    #[serde(skip)]
    #[expect(dead_code, reason = "it must not be seen")]
    cached: u64,
}

#[derive(Serialize, Deserialize)]
enum Payment {
    Open,
    Card(String, u16),
    Invoice { to: String, items: Vec<Item> },
    Other(Box<Item>),
}

#[test]
fn a_state_is_told_with_all_that_is_inside_it() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Cart {
        items: BTreeMap<Sku2, u32>,
        paid: bool,
        payments: Vec<Payment>,
        at: (u8, f64),
        key: [u8; 32],
        patience: Duration,
        nothing: (),
    }
    #[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    struct Sku2(String);
    assert_eq!(
        told::<Cart>(),
        "Cart = { items: Map<String, u32>, paid: bool, payments: Vec<Payment>, at: (u8, f64), key: [u8; 32], \
         patience: Duration, nothing: () }; \
         Payment = Open | Card(String, u16) | Invoice { to: String, items: Vec<Item> } | Other(Item); \
         Item = { sku: String, n: u32, note: Option<String> }; \
         Item = { sku: String, n: u32, note: Option<String> }; \
         Duration = { secs: u64, nanos: u32 }"
    );
    assert!(binary::<Cart>().is_known());
}

#[test]
fn a_type_that_contains_itself_ends() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Tree {
        value: u32,
        children: Vec<Self>,
        left: Option<Box<Self>>,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    enum Expression {
        Add(Box<Self>, Box<Self>),
        Not { of: Box<Self> },
        Number(i64),
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Forest(Vec<Self>);
    assert_eq!(told::<Tree>(), "Tree = { value: u32, children: Vec<…>, left: Option<…> }");
    assert_eq!(told::<Expression>(), "Expression = Add([…; 2]) | Not { of: … } | Number(i64)");
    assert_eq!(binary::<Forest>(), Shape::List(Box::new(Shape::Recursive(1))));
}

#[test]
fn a_generic_type_inside_itself_is_not_taken_for_itself() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Page<T> {
        entries: Vec<T>,
    }
    assert_eq!(
        told::<Page<Page<u8>>>(),
        "Page = { entries: Vec<Page> }; Page = { entries: Vec<u8> }"
    );
    assert_ne!(binary::<Page<Page<u8>>>().fingerprint(), binary::<Page<Page<u16>>>().fingerprint());
}

/// Refuses every text but one that no sample has.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Picky;

impl TryFrom<String> for Picky {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "xyzzy" { Ok(Self) } else { Err("not the word") }
    }
}

#[test]
fn what_comes_after_a_value_that_is_refused_is_found_all_the_same() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Guarded {
        before: u8,
        word: Picky,
        after: Payment,
        words: Vec<Picky>,
        last: Option<u64>,
    }
    let told = told::<Guarded>();
    assert!(
        told.starts_with(
            "Guarded = { before: u8, word: String, after: Payment, words: Vec<String>, last: Option<u64> }; \
             Payment = Open | Card(String, u16)"
        ),
        "{told}"
    );
    assert!(binary::<Guarded>().is_known());
}

#[test]
fn a_part_of_a_tuple_behind_a_refused_value_is_unknown_and_not_guessed() {
    let shape = binary::<(u8, Picky, u64)>();
    assert_eq!(
        shape,
        Shape::Tuple(
            [Shape::Scalar(Scalar::U8), Shape::Scalar(Scalar::String), Shape::Unknown].into()
        )
    );
    assert!(!shape.is_known());
}

#[test]
fn types_that_say_themselves_what_they_are_may_be_anything() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its shape matters")]
    enum Loose {
        Text(String),
        Number(u64),
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Holds {
        loose: Loose,
        json: serde_json::Value,
        last: u8,
    }
    assert_eq!(told::<Holds>(), "Holds = { loose: any, json: any, last: u8 }");
}

#[test]
fn aliases_of_fields_are_told_from_fields_and_those_of_variants_are_counted() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Aliased {
        before: u8,
        #[serde(alias = "a", alias = "z")]
        n: u32,
        after: String,
        picky: Picky,
        #[serde(alias = "y")]
        last: Option<u64>,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    enum Choice {
        One,
        #[serde(alias = "Second", alias = "A")]
        Two(u8),
        Three,
    }
    let shape = binary::<Aliased>();
    assert_eq!(
        shape.definition(),
        "{ before: u8, n: u32, after: String, picky: String, last: Option<u64> }"
    );
    let Shape::Struct { fields, .. } = shape else { panic!("{shape:?}") };
    let names: Vec<String> =
        fields.iter().map(|part| format!("{}: {}", part.name, part.shape)).collect();
    for alias in ["a: alias of n", "z: alias of n", "y: alias of last"] {
        assert!(names.iter().any(|name| name == alias), "{alias}: {names:?}");
    }
    let Shape::Enum { variants, distinct, .. } = binary::<Choice>() else { panic!("an enum") };
    assert_eq!((variants.len(), distinct), (5, 3));
}

#[test]
fn an_address_is_bytes_for_machines_and_text_for_people() {
    assert_eq!(shape_of::<IpAddr>(Form::Readable), Shape::Scalar(Scalar::String));
    assert!(matches!(binary::<IpAddr>(), Shape::Enum { .. }));
}

#[test]
fn a_result_is_told_as_in_rust() {
    assert_eq!(binary::<Result<u32, Payment>>().to_string(), "Result<u32, Payment>");
    assert_eq!(binary::<BTreeSet<String>>().to_string(), "Vec<String>");
    assert_eq!(binary::<Option<Vec<[u16; 4]>>>().to_string(), "Option<Vec<[u16; 4]>>");
}

#[test]
fn names_of_types_and_wrappers_do_not_change_a_fingerprint_and_all_else_does() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Point {
        x: u32,
        y: u32,
    }
    #[derive(Deserialize)]
    #[serde(rename = "Position")]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Renamed {
        x: Wrapped,
        y: u32,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Wrapped(u32);
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Turned {
        y: u32,
        x: u32,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Wider {
        x: u32,
        y: u64,
    }
    let point = binary::<Point>().fingerprint();
    assert_eq!(point, binary::<Renamed>().fingerprint());
    for other in [
        binary::<Turned>(),
        binary::<Wider>(),
        binary::<(u32, u32)>(),
        binary::<Option<Point>>(),
        binary::<Vec<Point>>(),
    ] {
        assert_ne!(point, other.fingerprint(), "{other:?}");
    }
    // It travels, so it must be the same in every build.
    assert_eq!(point, 0x8f53_bd1f_0773_a1fe, "{point:#x}");
}
