//! The `OpenAPI` 3.1 document of a gateway, made from the kinds of the cluster.

mod calls;
mod fixed;
mod schema;

use std::collections::BTreeMap;

use holocron::KindDescription;
use serde_json::{Map, Value, json};

use self::schema::Schemas;
use crate::problem::{Row, TABLE};

/// The document for these kinds.
pub(crate) fn document<'a>(kinds: impl Iterator<Item = &'a KindDescription>) -> Value {
    let mut paths = Paths::default();
    let mut schemas = Schemas::default();
    fixed::add(&mut paths);
    for kind in kinds {
        calls::add(kind, &mut paths, &mut schemas);
    }
    let mut components = schemas.into_components();
    components.insert("Problem".to_owned(), problem());
    components.extend(fixed::schemas());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Holocron gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Calls to the vnodes of a Holocron cluster. Any gateway answers for any vnode.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths.0,
        "components": { "schemas": components },
    })
}

/// The operations by path and method.
#[derive(Default)]
struct Paths(BTreeMap<String, Map<String, Value>>);

impl Paths {
    fn add(&mut self, path: &str, method: &str, operation: Operation) {
        self.0.entry(path.to_owned()).or_default().insert(method.to_owned(), operation.into_json());
    }
}

/// One operation.
struct Operation {
    id: String,
    summary: String,
    tag: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// Its answer if all goes well: status, description, content.
    success: (u16, &'static str, Option<Value>),
}

impl Operation {
    fn into_json(self) -> Value {
        let Self { id, summary, tag, parameters, body, success: (status, description, content) } =
            self;
        let mut responses = problems();
        let mut success = json!({ "description": description });
        if let Some(content) = content {
            success["content"] = content;
        }
        responses.insert(status.to_string(), success);
        let mut operation = json!({
            "operationId": id,
            "tags": [tag],
            "parameters": parameters,
            "responses": responses,
        });
        if !summary.is_empty() {
            operation["summary"] = json!(summary);
        }
        if let Some(body) = body {
            operation["requestBody"] = body;
        }
        operation
    }
}

/// A JSON answer of a schema.
fn json_content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// A parameter.
fn parameter(place: &str, name: &str, schema: &Value, docs: &str) -> Value {
    json!({
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        "description": docs,
    })
}

/// The answers of every operation when something goes wrong, by status.
fn problems() -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for Row { name, status, .. } in &TABLE {
        by_status.entry(status.as_u16()).or_default().push(name);
    }
    let responses = by_status.into_iter().map(|(status, names)| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let content = json!({ crate::problem::MEDIA_TYPE: { "schema": schema } });
        (status.to_string(), json!({ "description": names.join(", "), "content": content }))
    });
    responses.collect()
}

/// The schema of a problem.
fn problem() -> Value {
    let types: Vec<String> =
        TABLE.iter().map(|row| format!("urn:holocron:problem:{}", row.name)).collect();
    json!({
        "type": "object",
        "title": "Problem",
        "description": "RFC 9457, and whether the call took effect.",
        "required": ["type", "title", "status", "detail", "ran"],
        "properties": {
            "type": { "type": "string", "examples": types },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "ran": { "type": "string", "enum": ["yes", "no", "unclear"] },
            "retry_after_s": { "type": "integer", "description": "Seconds after which a retry may help." },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_kinds_has_the_fixed_paths_and_all_problems() {
        let document = document(core::iter::empty());
        assert_eq!(document["openapi"], "3.1.0");
        for path in [
            "/healthz",
            "/readyz",
            "/v1/kinds",
            "/v1/hosts",
            "/v1/status",
            "/v1/epochs",
            "/v1/epochs/{epoch}",
            "/v1/explain/{kind}/{key}",
        ] {
            assert!(document["paths"][path]["get"].is_object(), "{path}");
        }
        let responses = document["paths"]["/v1/hosts"]["get"]["responses"].as_object().unwrap();
        for row in &TABLE {
            let listed = responses[row.status.as_str()]["description"].as_str().unwrap();
            assert!(listed.contains(row.name), "{}", row.name);
        }
    }
}
