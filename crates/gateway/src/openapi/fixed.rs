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
        parameter("query", "before", &number, "Only epochs before this one; not with `after`."),
        parameter("query", "limit", &number, "How many; 20 if not given, 200 at most."),
    ];
    let epochs = "What happened in the cluster, the newest last";
    paths.add("/v1/epochs", "get", get("list_epochs", epochs, parameters, "Epochs"));
    let parameters = vec![parameter("path", "epoch", &number, "Its number.")];
    let epoch = "One epoch, with its hosts and the owners of all slots";
    paths.add("/v1/epochs/{epoch}", "get", get("get_epoch", epoch, parameters, "EpochPicture"));
    let status = "Every host with what it measures, and the last takeovers";
    paths.add("/v1/status", "get", get("get_status", status, vec![], "Status"));
    let text = json!({ "type": "string", "minLength": 1 });
    let parameters = vec![
        parameter("path", "kind", &text, "The vnode's kind."),
        parameter("path", "key", &text, "The vnode's key; a slash is written %2F."),
    ];
    let explain = "Where a vnode is, since when and why, and its state if the caller may read it";
    let explain = get("explain_vnode", explain, parameters, "Explained");
    paths.add("/v1/explain/{kind}/{key}", "get", explain);
    let document = Operation {
        success: (200, "OpenAPI 3.1", Some(json_content(&json!({ "type": "object" })))),
        ..get("openapi", "This document", vec![], "Health")
    };
    paths.add("/v1/openapi.json", "get", document);
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "integer" })
}

#[expect(clippy::needless_pass_by_value, reason = "it is written in place")]
fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// An object with all of these properties, which are required.
#[expect(clippy::needless_pass_by_value, reason = "it is written in place")]
fn object(properties: Value) -> Value {
    let names: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// The schemas of their answers.
pub(super) fn schemas() -> Map<String, Value> {
    let host = object(json!({
        "name": text(), "address": text(), "leads": { "type": "boolean" }, "slots": number(),
        "status": { "type": "string", "enum": ["active", "draining"] },
        "weight": number(), "zone": { "type": ["string", "null"] },
    }));
    let epoch = epoch();
    let mut all = looked_at();
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
        object(
            json!({ "oldest": number(), "newest": number(), "epochs": list(reference("Epoch")) }),
        ),
    );
    all.insert("Vnode".to_owned(), object(json!({ "kind": text(), "key": text() })));
    let next = json!({ "type": ["string", "null"], "description": "Give it as `after` for the next page." });
    all.insert(
        "Page".to_owned(),
        object(json!({ "kind": text(), "keys": list(text()), "next": next })),
    );
    all
}

/// The words of an epoch. One that can't be read has only its number.
fn epoch() -> Value {
    let mut epoch = object(json!({
        "epoch": number(), "readable": { "type": "boolean" }, "wall_ms": number(), "leader": text(),
        "reason": text(), "kinds": list(text()), "changes": list(text()), "changes_left_out": number(),
    }));
    epoch["required"] = json!(["epoch", "readable"]);
    epoch
}

/// What operators look at, in the dashboard and elsewhere. Their parts may get more with any release.
fn looked_at() -> Map<String, Value> {
    let any = || json!({ "type": "object" });
    let picture = object(json!({
        "epoch": number(), "wall_ms": number(), "leader": text(), "reason": text(), "changes": list(text()),
        "slots": number(), "hosts": list(reference("Host")), "domains": list(any()),
    }));
    let status = object(json!({
        "epoch": number(), "reason": text(), "wall_ms": number(), "now_ms": number(), "leader": text(),
        "slots": number(), "version": text(), "is_priced": { "type": "boolean" },
        "hosts": list(any()), "takeovers": list(any()),
    }));
    let explained = object(json!({
        "kind": text(), "key": text(), "domain": text(), "slot": number(), "slots": number(), "epoch": number(),
        "sources": list(any()), "journals": list(any()), "memory": any(), "state": any(),
    }));
    let all = [("EpochPicture", picture), ("Status", status), ("Explained", explained)];
    all.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
