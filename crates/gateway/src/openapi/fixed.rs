//! The operations that don't depend on kinds.

use serde_json::{Map, Value, json};

use super::{Operation, Paths, json_content, parameter};

pub(super) fn add(paths: &mut Paths) {
    let number = json!({ "type": "integer", "minimum": 1 });
    let get = |id: &str, summary: &str, parameters, schema: &str| Operation {
        id: id.to_owned(),
        summary: summary.to_owned(),
        tag: "cluster".to_owned(),
        parameters,
        body: None,
        success: (200, "As asked", Some(json_content(&reference(schema)))),
    };
    paths.add("/healthz", "get", get("healthz", "Whether the process is alive", vec![], "Health"));
    let ready = "Whether the host serves its whole share of the slots";
    paths.add("/readyz", "get", get("readyz", ready, vec![], "Health"));
    paths.add(
        "/v1/kinds",
        "get",
        get("list_kinds", "The kinds that the hosts run", vec![], "Kinds"),
    );
    paths.add("/v1/hosts", "get", get("list_hosts", "The hosts of the cluster", vec![], "Hosts"));
    let parameters = vec![
        parameter(
            "query",
            "after",
            &json!({ "type": "integer", "minimum": 0 }),
            "Only epochs after this one.",
        ),
        parameter("query", "limit", &number, "How many; 20 if not given, 200 at most."),
    ];
    let epochs = "What happened in the cluster, the newest last";
    paths.add("/v1/epochs", "get", get("list_epochs", epochs, parameters, "Epochs"));
    let document = Operation {
        success: (200, "OpenAPI 3.1", Some(json_content(&json!({ "type": "object" })))),
        ..get("openapi", "This document", vec![], "Health")
    };
    paths.add("/v1/openapi.json", "get", document);
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// The schemas of their answers.
pub(super) fn schemas() -> Map<String, Value> {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let object = |properties: Value| {
        let names: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
        json!({ "type": "object", "required": names, "properties": properties })
    };
    let host = object(json!({
        "name": text(), "address": text(), "leads": { "type": "boolean" }, "slots": number(),
        "status": { "type": "string", "enum": ["active", "draining"] },
    }));
    let mut epoch = object(json!({
        "epoch": number(), "readable": { "type": "boolean" }, "wall_ms": number(), "leader": text(),
        "reason": text(), "changes": list(text()),
    }));
    epoch["required"] = json!(["epoch", "readable"]);
    let mut all = Map::new();
    all.insert("Health".to_owned(), object(json!({ "status": text() })));
    all.insert("Kinds".to_owned(), object(json!({ "kinds": list(json!({ "type": "object" })) })));
    all.insert("Host".to_owned(), host);
    all.insert(
        "Hosts".to_owned(),
        object(json!({ "epoch": number(), "hosts": list(reference("Host")) })),
    );
    all.insert("Epoch".to_owned(), epoch);
    all.insert(
        "Epochs".to_owned(),
        object(json!({ "newest": number(), "epochs": list(reference("Epoch")) })),
    );
    all.insert("Vnode".to_owned(), object(json!({ "kind": text(), "key": text() })));
    let next = json!({ "type": ["string", "null"], "description": "Give it as `after` for the next page." });
    all.insert(
        "Page".to_owned(),
        object(json!({ "kind": text(), "keys": list(text()), "next": next })),
    );
    all
}
