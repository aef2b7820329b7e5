//! The operations of a kind: one for each command and query, and those that every kind has.

use axum::http::Uri;
use holocron::{CallArguments, CallDescription, KindDescription, Scalar, Shape};
use serde_json::{Value, json};

use super::{Operation, Paths, json_content, parameter, schema::Schemas};
use crate::arguments::{CONSISTENCY, UNNAMED, VALUE};

/// Adds the operations of a kind.
pub(super) fn add(kind: &KindDescription, paths: &mut Paths, schemas: &mut Schemas) {
    every_kind(kind, paths);
    for command in &kind.commands {
        add_command(kind, command, paths, schemas);
    }
    for query in &kind.queries {
        add_query(kind, query, paths, schemas);
    }
}

/// A segment of a path as it is written in one.
fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let written: String = name
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    debug_assert!(format!("/{written}").parse::<Uri>().is_ok(), "{written}");
    written
}

/// A name as part of an operation's id.
fn word(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

fn key() -> Value {
    let schema = json!({ "type": "string", "minLength": 1, "maxLength": 1024 });
    parameter("path", "key", &schema, "The vnode's key; a slash in it is written %2F.")
}

fn timeout() -> Value {
    let schema = json!({ "type": "number", "exclusiveMinimum": 0 });
    parameter("header", "Request-Timeout", &schema, "Seconds that the request may take.")
}

fn every_kind(kind: &KindDescription, paths: &mut Paths) {
    let name = &kind.kind;
    let operation = |id: &str, summary: &str, parameters, success| Operation {
        id: format!("{}_{id}", word(name)),
        summary: summary.to_owned(),
        tag: name.clone(),
        parameters,
        body: None,
        success,
    };
    let reference = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
    let all = format!("/v1/vnodes/{}", segment(name));
    let text = json!({ "type": "string" });
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": crate::routes::LIST_MAX });
    let parameters = vec![
        parameter("query", "prefix", &text, "Only keys that begin so."),
        parameter("query", "limit", &limit, "How many; 100 if not given."),
        parameter("query", "after", &text, "The cursor that the page before has given."),
        timeout(),
    ];
    let page = (200, "A page of keys, in no order", Some(json_content(&reference("Page"))));
    paths.add(&all, "get", operation("list", "List the vnodes that exist", parameters, page));
    let one = format!("{all}/{{key}}");
    let found = (200, "It exists", Some(json_content(&reference("Vnode"))));
    let parameters = || vec![key(), timeout()];
    paths.add(&one, "get", operation("exists", "Whether a vnode exists", parameters(), found));
    let gone = (204, "It does not exist any more", None);
    paths.add(&one, "delete", operation("delete", "Delete a vnode", parameters(), gone));
}

fn path_of(kind: &KindDescription, call: &CallDescription) -> String {
    let name = call.name.as_deref().unwrap_or(UNNAMED);
    format!("/v1/vnodes/{}/{{key}}/{}", segment(&kind.kind), segment(name))
}

/// An id that no other operation has: a query may be named like a command, and either like what every kind has.
fn id_of(kind: &KindDescription, call: &CallDescription, taken: &[CallDescription]) -> String {
    let name = call.name.as_deref().unwrap_or("call");
    let is_taken = ["list", "exists", "delete"].contains(&name)
        || taken.iter().any(|other| other.name == call.name);
    let suffix = match (is_taken, taken.is_empty()) {
        (false, _) => "",
        (true, true) => "_command",
        (true, false) => "_query",
    };
    format!("{}_{}{suffix}", word(&kind.kind), word(name))
}

fn add_command(
    kind: &KindDescription,
    call: &CallDescription,
    paths: &mut Paths,
    schemas: &mut Schemas,
) {
    let body = match &call.arguments {
        CallArguments::None => None,
        CallArguments::Named(parts) => Some(schemas.object(&kind.kind, parts)),
        CallArguments::Value(shape) => Some(schemas.of(&kind.kind, shape)),
    };
    let idempotency = parameter(
        "header",
        "Idempotency-Key",
        &json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        "A retry with the same key takes effect once.",
    );
    let operation = Operation {
        id: id_of(kind, call, &[]),
        summary: call.docs.clone(),
        tag: kind.kind.clone(),
        parameters: vec![key(), idempotency, timeout()],
        body: body.map(|schema| json!({ "required": true, "content": json_content(&schema) })),
        success: (200, "The reply", Some(json_content(&schemas.of(&kind.kind, &call.result)))),
    };
    paths.add(&path_of(kind, call), "post", operation);
}

fn add_query(
    kind: &KindDescription,
    call: &CallDescription,
    paths: &mut Paths,
    schemas: &mut Schemas,
) {
    let mut parameters = vec![key()];
    let mut add = |name: &str, shape: &Shape| {
        let required = !matches!(shape, Shape::Option(_));
        let is_plain = matches!(shape, Shape::Scalar(scalar) if *scalar != Scalar::Unit);
        let (schema, docs) = if is_plain {
            (schemas.of(&kind.kind, shape), "")
        } else {
            (json!({ "type": "string", "contentMediaType": "application/json" }), "As JSON.")
        };
        let mut argument = parameter("query", name, &schema, docs);
        argument["required"] = json!(required);
        parameters.push(argument);
    };
    match &call.arguments {
        CallArguments::None | CallArguments::Value(Shape::UNIT) => {}
        CallArguments::Named(parts) => {
            let parts = parts.iter().filter(|part| !matches!(part.shape, Shape::Alias(_)));
            parts.for_each(|part| add(&part.name, &part.shape));
        }
        CallArguments::Value(shape) => add(VALUE, shape),
    }
    let consistency = json!({ "type": "string", "enum": ["linearizable", "local"] });
    parameters.push(parameter(
        "query",
        CONSISTENCY,
        &consistency,
        "local is cheaper, and may be stale.",
    ));
    parameters.push(timeout());
    let mut content = json_content(&schemas.of(&kind.kind, &call.result));
    content["text/event-stream"] = json!({ "schema": { "type": "string" } });
    let operation = Operation {
        id: id_of(kind, call, &kind.commands),
        summary: call.docs.clone(),
        tag: kind.kind.clone(),
        parameters,
        body: None,
        success: (
            200,
            "The answer, or with Accept: text/event-stream one for each commit",
            Some(content),
        ),
    };
    paths.add(&path_of(kind, call), "get", operation);
}
