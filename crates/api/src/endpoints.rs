//! The table of all endpoints with what each asks of its caller, taken from the routers.
//!
//! Tests walk it (who may call what, byte for byte), so that an endpoint without an expectation
//! fails the build.

use crate::openapi;

/// What an endpoint asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointAccess {
    /// Nothing.
    Public,
    /// A token with the role reader, or one that implies it.
    Read,
    /// A token with the role member, or one that implies it.
    Write,
}

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
    /// What it asks of its caller.
    pub access: EndpointAccess,
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
            let access = match openapi::required_role(operation) {
                None => EndpointAccess::Public,
                Some("reader") => EndpointAccess::Read,
                Some(_) => EndpointAccess::Write,
            };
            all.push(Endpoint { method, path: path.to_owned(), face, access });
        }
    }
    all
}
