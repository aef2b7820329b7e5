//! Shapes as JSON Schema.
//!
//! A named struct or enum becomes a component, named after its kind and itself; another one of the same name gets a number. A
//! shape doesn't say which type a recursive part is (wrappers count, and aren't in it), so such a part may be anything.

use std::collections::BTreeMap;

use holocron::{Part, Scalar, Shape};
use serde_json::{Map, Value, json};

/// The components so far.
#[derive(Default)]
pub(super) struct Schemas {
    components: BTreeMap<String, (Shape, Value)>,
}

impl Schemas {
    pub(super) fn into_components(self) -> Map<String, Value> {
        self.components.into_iter().map(|(name, (_, schema))| (name, schema)).collect()
    }

    /// The schema of a shape, in a kind.
    pub(super) fn of(&mut self, kind: &str, shape: &Shape) -> Value {
        match shape {
            Shape::Scalar(scalar) => scalar_schema(*scalar),
            Shape::Option(inner) => json!({ "anyOf": [self.of(kind, inner), { "type": "null" }] }),
            Shape::List(inner) => json!({ "type": "array", "items": self.of(kind, inner) }),
            Shape::Array(inner, length) => json!({
                "type": "array", "items": self.of(kind, inner), "minItems": length, "maxItems": length,
            }),
            Shape::Map(_, value) => {
                json!({ "type": "object", "additionalProperties": self.of(kind, value) })
            }
            Shape::Tuple(parts) => {
                let items: Vec<Value> = parts.iter().map(|part| self.of(kind, part)).collect();
                json!({ "type": "array", "prefixItems": items, "minItems": parts.len(), "maxItems": parts.len() })
            }
            Shape::Struct { name, fields } if name.is_empty() => self.object(kind, fields),
            // Each has another content.
            Shape::Enum { name, variants, .. } if name == "Result" => {
                self.variants(kind, "", variants)
            }
            Shape::Struct { name, .. } | Shape::Enum { name, .. } => {
                self.component(kind, name, shape)
            }
            Shape::Recursive(_) => {
                json!({ "description": "A part of the same type as one around it." })
            }
            Shape::Alias(_) | Shape::Any | Shape::Unknown => json!({}),
        }
    }

    fn component(&mut self, kind: &str, name: &str, shape: &Shape) -> Value {
        let name = self.free(&format!("{}{}", pascal(kind), pascal(name)), shape);
        if !self.components.contains_key(&name) {
            // The name is taken before its parts are looked at.
            self.components.insert(name.clone(), (shape.clone(), Value::Null));
            let mut schema = if let Shape::Enum { variants, .. } = shape {
                self.variants(kind, &name, variants)
            } else if let Shape::Struct { fields, .. } = shape {
                self.object(kind, fields)
            } else {
                json!({})
            };
            schema["title"] = json!(name);
            self.components.insert(name.clone(), (shape.clone(), schema));
        }
        reference(&name)
    }

    /// An object with these fields.
    pub(super) fn object(&mut self, kind: &str, fields: &[Part]) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for Part { name, shape } in fields {
            // Other names are for readers of older data.
            if matches!(shape, Shape::Alias(_)) {
                continue;
            }
            if !matches!(shape, Shape::Option(_)) {
                required.push(name.clone());
            }
            properties.insert(name.clone(), self.of(kind, shape));
        }
        let mut object =
            json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !required.is_empty() {
            object["required"] = json!(required);
        }
        object
    }

    /// Variants as serde writes them: their name alone, or an object with their name and content.
    ///
    /// Of an enum with a title, each such object is a component: generators make types of them, and some can't make one of an
    /// object within an alternative.
    fn variants(&mut self, kind: &str, title: &str, variants: &[Part]) -> Value {
        let (plain, full): (Vec<&Part>, Vec<&Part>) =
            variants.iter().partition(|variant| variant.shape == Shape::UNIT);
        let names: Vec<&str> = plain.iter().map(|variant| variant.name.as_str()).collect();
        let plain = json!({ "type": "string", "enum": names });
        if full.is_empty() {
            return plain;
        }
        let mut any: Vec<Value> = Vec::new();
        if !names.is_empty() {
            any.push(plain);
        }
        for variant in full {
            any.push(self.variant(kind, title, variant));
        }
        json!({ "oneOf": any })
    }

    fn variant(&mut self, kind: &str, title: &str, variant: &Part) -> Value {
        let Part { name, shape } = variant;
        let own = format!("{title}{}", pascal(name));
        let mut content = self.of(kind, shape);
        let is_inline = matches!(shape, Shape::Struct { name, .. } if name.is_empty());
        if !title.is_empty() && is_inline {
            content = self.add(&format!("{own}Content"), shape, content);
        }
        let object = json!({
            "type": "object",
            "title": own,
            "required": [name],
            "properties": { name: content },
            "additionalProperties": false,
        });
        if title.is_empty() {
            return object;
        }
        let only = Shape::Struct { name: own.clone(), fields: vec![variant.clone()] };
        self.add(&own, &only, object)
    }

    /// Adds a component under this name, or the name with a number if another one has it.
    fn add(&mut self, base: &str, shape: &Shape, mut schema: Value) -> Value {
        let name = self.free(base, shape);
        schema["title"] = json!(name);
        self.components.insert(name.clone(), (shape.clone(), schema));
        reference(&name)
    }

    /// The name of a component of this shape: there already, or free.
    fn free(&self, base: &str, shape: &Shape) -> String {
        let is_free =
            |name: &String| self.components.get(name).is_none_or(|(other, _)| other == shape);
        let numbered = (2..).map(|number: u32| format!("{base}{number}"));
        let mut names = core::iter::once(base.to_owned()).chain(numbered);
        names.find(is_free).expect("there are more numbers than components")
    }
}

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}

fn scalar_schema(scalar: Scalar) -> Value {
    let integer = |minimum: i64, maximum: u64| json!({ "type": "integer", "minimum": minimum, "maximum": maximum });
    match scalar {
        Scalar::Bool => json!({ "type": "boolean" }),
        Scalar::I8 => integer(i8::MIN.into(), 127),
        Scalar::I16 => integer(i16::MIN.into(), 32_767),
        Scalar::I32 => json!({ "type": "integer", "format": "int32" }),
        Scalar::I64 => json!({ "type": "integer", "format": "int64" }),
        Scalar::U8 => integer(0, u8::MAX.into()),
        Scalar::U16 => integer(0, u16::MAX.into()),
        Scalar::U32 => integer(0, u32::MAX.into()),
        Scalar::U64 => integer(0, u64::MAX),
        Scalar::U128 => json!({ "type": "integer", "minimum": 0 }),
        Scalar::I128 => json!({ "type": "integer" }),
        Scalar::F32 | Scalar::F64 => json!({ "type": "number" }),
        Scalar::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        Scalar::String => json!({ "type": "string" }),
        Scalar::Bytes => json!({ "type": "array", "items": integer(0, u8::MAX.into()) }),
        Scalar::Unit => json!({ "type": "null" }),
    }
}

/// `chat-room` as `ChatRoom`: what every generator can make a name of.
pub(super) fn pascal(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let mut out = String::new();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    if out.is_empty() { "Unnamed".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, field: &str) -> Shape {
        let fields = vec![
            Part { name: field.to_owned(), shape: Shape::Scalar(Scalar::U8) },
            Part { name: "maybe".to_owned(), shape: Shape::Option(Box::new(Shape::Recursive(1))) },
        ];
        Shape::Struct { name: name.to_owned(), fields }
    }

    #[test]
    fn named_types_are_components_and_another_one_of_the_same_name_gets_a_number() {
        let mut schemas = Schemas::default();
        let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        assert_eq!(schemas.of("chat-room", &named("Line", "a")), reference("ChatRoomLine"));
        assert_eq!(schemas.of("chat-room", &named("Line", "a")), reference("ChatRoomLine"));
        assert_eq!(schemas.of("chat-room", &named("Line", "b")), reference("ChatRoomLine2"));
        let components = schemas.into_components();
        assert_eq!(components.len(), 2);
        assert_eq!(components["ChatRoomLine"]["required"], json!(["a"]));
    }

    #[test]
    fn variants_are_names_or_objects_with_one_name() {
        let part = |name: &str, shape| Part { name: name.to_owned(), shape };
        let variants = vec![part("Empty", Shape::UNIT), part("Full", Shape::Scalar(Scalar::U8))];
        let shape = Shape::Enum { name: "Result".to_owned(), variants, distinct: 2 };
        let schema = Schemas::default().of("k", &shape);
        assert_eq!(schema["oneOf"][0], json!({ "type": "string", "enum": ["Empty"] }));
        assert_eq!(schema["oneOf"][1]["required"], json!(["Full"]));
        // Enums of two kinds have a variant of that name, each with content of its own.
        let mut schemas = Schemas::default();
        for kind in ["kv", "queue"] {
            let fields = vec![part(kind, Shape::Scalar(Scalar::U8))];
            let variants = vec![part("full", Shape::Struct { name: String::new(), fields })];
            schemas.of(kind, &Shape::Enum { name: "Error".to_owned(), variants, distinct: 1 });
        }
        let components = schemas.into_components();
        let names: Vec<&String> = components.keys().collect();
        assert_eq!(
            names,
            [
                "KvError",
                "KvErrorFull",
                "KvErrorFullContent",
                "QueueError",
                "QueueErrorFull",
                "QueueErrorFullContent"
            ]
        );
        let full = &components["QueueErrorFull"];
        assert_eq!(full["properties"]["full"], reference("QueueErrorFullContent"));
        assert_eq!(components["QueueErrorFullContent"]["required"], json!(["queue"]));
    }
}
