//! The table of all endpoints with the policy rule that each enforces, taken from the routers.
//!
//! Tests walk it (who may call what, byte for byte), so that an endpoint without an expectation
//! fails the build.

use crate::openapi;

/// Which listener an endpoint is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointFace {
    /// The OpenStack face.
    Api,
    /// Function URLs.
    Functions,
}

/// One method of one URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `GET`, `PUT`, …
    pub method: &'static str,
    /// The template, `/v1/{project_id}/apps/{app}/routes/{*route}`.
    pub path: String,
    /// The listener.
    pub face: EndpointFace,
    /// The policy rule that it enforces; none for one that asks for no token.
    pub rule: Option<String>,
}

/// All documented endpoints of both faces.
pub fn endpoints() -> Vec<Endpoint> {
    let faces = [
        (EndpointFace::Api, crate::routers::api_routes().into_openapi()),
        (EndpointFace::Functions, crate::routers::function_routes().into_openapi()),
    ];
    let mut all = Vec::new();
    for (face, document) in faces {
        let document = openapi::as_value(document);
        for (path, method, operation) in openapi::operations(&document) {
            let rule = openapi::enforced_rule(operation).map(str::to_owned);
            all.push(Endpoint { method, path: path.to_owned(), face, rule });
        }
    }
    all
}
