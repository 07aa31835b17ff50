//! The OpenAPI document: generated from the handlers, completed with what all of them share.

pub(crate) mod page;
pub(crate) mod pages;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::microversion::Microversion;
use crate::request::microversion::{SERVICE_TYPE, VERSION_HEADER_NAME};

/// The methods an OpenAPI path item may have, as they are written there.
pub(crate) const METHODS: [(&str, &str); 7] = [
    ("get", "GET"),
    ("head", "HEAD"),
    ("post", "POST"),
    ("put", "PUT"),
    ("patch", "PATCH"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
];

/// The finished document of the two faces that have documented URLs.
pub(crate) fn document(api: OpenApi, functions: OpenApi) -> Value {
    let mut document = as_value(api);
    let functions = as_value(functions);
    merge(&mut document, &functions);
    complete(&mut document);
    document
}

/// A generated part as JSON; routers' templates (`{*route}`) are still in it.
pub(crate) fn as_value(part: OpenApi) -> Value {
    // The types of the document serialize without a failing case.
    serde_json::to_value(part).unwrap_or_default()
}

/// The policy rule that an operation enforces, as the handlers' `security` says it.
pub(crate) fn enforced_rule(operation: &Value) -> Option<&str> {
    operation.get("security")?.get(0)?.get("keystone_token")?.get(0)?.as_str()
}

/// The operations of a document with their templates.
pub(crate) fn operations(document: &Value) -> impl Iterator<Item = (&str, &'static str, &Value)> {
    let paths = document.get("paths").and_then(Value::as_object);
    paths.into_iter().flatten().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |(key, method)| Some((path.as_str(), *method, item.get(key)?)))
    })
}

fn merge(document: &mut Value, other: &Value) {
    for section in ["/paths", "/components/schemas"] {
        let from = other.pointer(section).and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(into) = document.pointer_mut(section).and_then(Value::as_object_mut) {
            into.extend(from);
        }
    }
}

/// Adds what no handler says for itself: title, token scheme, the answers every URL can give.
fn complete(document: &mut Value) {
    document["info"] = json!({
        "title": "Picasso",
        "version": "1.0",
        "summary": "Functions as a Service for OpenStack",
        "description": "Paths that begin with /f/, /v1/f/ or /t/ are function URLs and webhooks: they are on a listener of \
            their own (port 10002 unless configured otherwise), everything else is on the API's (port 10001). \
            Every answer carries X-Openstack-Request-Id; every error carries Picasso-Error-Kind and a body \
            of the form of ErrorView. Statuses depend on OpenStack-API-Version: 1.0, what clients get that do not ask, \
            answers 200 also where 1.1 has 201, 202 or 204.",
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    document["components"]["securitySchemes"] = json!({
        "keystone_token": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Auth-Token",
            "description": "A Keystone token scoped to the project of the URL. Each operation names the \
                policy rule that decides. Unless the operator changed it: reader reads, member (and admin, \
                in every project) also changes and runs.",
        }
    });
    let paths = document["paths"].take();
    let Value::Object(paths) = paths else { return };
    let mut completed = Map::new();
    for (path, mut item) in paths {
        let mut methods = 0;
        for (key, _) in METHODS {
            methods += usize::from(item.get(key).is_some());
        }
        for (key, method) in METHODS {
            if let Some(operation) = item.get_mut(key) {
                complete_operation(operation, &path, method, methods);
            }
        }
        completed.insert(path.replace("{*", "{"), item);
    }
    document["paths"] = Value::Object(completed);
}

fn complete_operation(operation: &mut Value, path: &str, method: &str, methods: usize) {
    let is_function_url = ["/f/", "/v1/f/", "/t/"].iter().any(|begin| path.starts_with(begin));
    // One handler for all methods: ids have to be unique all the same.
    if is_function_url
        && methods > 1
        && let Some(id) = operation["operationId"].as_str().map(str::to_owned)
    {
        operation["operationId"] = Value::String(format!("{id}_{}", method.to_ascii_lowercase()));
    }
    if is_function_url
        && matches!(method, "GET" | "HEAD" | "OPTIONS")
        && let Some(operation) = operation.as_object_mut()
    {
        operation.remove("requestBody");
    }
    if is_function_url {
        operation["servers"] =
            json!([{ "url": "http://localhost:10002", "description": "The functions listener" }]);
    }
    let is_versioned = !is_function_url && Microversion::applies_to(path);
    if is_versioned {
        add_version(operation);
    }
    if operation.pointer("/responses/412").is_some() {
        add_preconditions(operation);
    }
    if operation.get("requestBody").is_some() {
        add_answer(operation, "400", "The body, or its length, is not well-formed");
        add_answer(operation, "408", "The body did not arrive in time");
        add_answer(operation, "413", "The body is too large");
    }
    let rule = enforced_rule(operation).map(str::to_owned);
    if let Some(rule) = rule {
        add_answer(operation, "401", "No token, or one that Keystone does not accept");
        add_answer(operation, "403", &format!("The policy rule {rule} does not allow it"));
        add_answer(operation, "404", "The project of the URL is not the token's");
        add_answer(operation, "503", "Keystone, or a policy server, does not answer; see Retry-After");
    }
    add_answer(operation, "500", "A fault of the service; the log has the reason under the request id");
    add_answer_headers(operation, is_versioned);
}

/// The headers that every answer has.
fn add_answer_headers(operation: &mut Value, is_versioned: bool) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (_, response) in responses.into_iter().flatten() {
        let Some(response) = response.as_object_mut() else { continue };
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        headers["X-Openstack-Request-Id"] = json!({
            "description": "Names the request in the service's log",
            "required": true,
            "schema": { "type": "string", "pattern": "^req-[0-9a-f-]{36}$" },
        });
        if is_versioned {
            headers[VERSION_HEADER_NAME] = json!({
                "description": "The version of the API that the answer has the form of",
                "required": true,
                "schema": { "type": "string", "pattern": format!("^{SERVICE_TYPE} [0-9]+\\.[0-9]+$") },
            });
        }
    }
}

fn add_header_parameter(operation: &mut Value, name: &str, description: &str, example: &str) {
    if let Some(operation) = operation.as_object_mut()
        && let Some(parameters) = operation.entry("parameters").or_insert_with(|| json!([])).as_array_mut()
    {
        parameters.push(json!({
            "name": name,
            "in": "header",
            "required": false,
            "description": description,
            "schema": { "type": "string" },
            "example": example,
        }));
    }
}

/// The headers that say which state of a resource a request is for.
fn add_preconditions(operation: &mut Value) {
    let tag = "\"0123456789abcdef0123456789abcdef\"";
    let described = "Only where the resource has one of these tags, or any (`*`); else 412";
    add_header_parameter(operation, "If-Match", described, tag);
    let described = "Only where the resource has none of these tags; else 304 (of a GET) or 412";
    add_header_parameter(operation, "If-None-Match", described, tag);
    add_answer(operation, "400", "A header is refused; the message names it");
}

/// The header that asks for a version, and what a bad one gets.
fn add_version(operation: &mut Value) {
    let described = "The version of the API, 1.0 without it; every answer names its own";
    let example = format!("{SERVICE_TYPE} {}", Microversion::MAX);
    add_header_parameter(operation, VERSION_HEADER_NAME, described, &example);
    add_answer(operation, "400", "OpenStack-API-Version is malformed");
    add_answer(operation, "406", "The version of the API is not supported; the error says which are");
}

fn add_answer(operation: &mut Value, status: &str, description: &str) {
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    responses.entry(status).or_insert_with(|| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorView" } } },
        })
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use super::*;
    use crate::routers::{api_routes, function_routes};

    /// The document as it is served.
    pub(crate) static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| document(api_routes().into_openapi(), function_routes().into_openapi()));

    #[test]
    fn every_reference_of_the_document_resolves() {
        fn walk(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        found.insert(target.clone());
                    }
                    map.values().for_each(|value| walk(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let mut references = BTreeSet::new();
        walk(&DOCUMENT, &mut references);
        assert!(references.len() > 10);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(DOCUMENT.pointer(pointer).is_some(), "{reference} is not in the document");
        }
    }

    #[test]
    fn operation_ids_are_unique_and_every_operation_has_a_summary_and_a_good_answer() {
        let mut ids = BTreeSet::new();
        for (path, method, operation) in operations(&DOCUMENT) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            assert!(responses.contains_key("500"), "{method} {path}");
        }
        assert!(ids.len() > 25, "{}", ids.len());
    }

    #[test]
    fn every_parameter_of_a_path_is_described_and_no_router_syntax_is_left() {
        for (path, method, operation) in operations(&DOCUMENT) {
            assert!(!path.contains('*'), "{path}");
            let in_path: BTreeSet<_> =
                path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).collect();
            let described: BTreeSet<_> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(in_path, described, "{method} {path}");
        }
    }

    #[test]
    fn everything_below_v1_but_the_version_itself_asks_for_a_token() {
        for (path, method, operation) in operations(&DOCUMENT) {
            let open = enforced_rule(operation).is_none();
            assert_eq!(open, !path.starts_with("/v1/"), "{method} {path}");
        }
    }
}
