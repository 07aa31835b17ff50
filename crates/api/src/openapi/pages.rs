//! `/api` and `/api/swagger.json`.

use std::sync::LazyLock;

use axum::Extension;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use serde_json::Value;

use super::page;

/// The document in both its forms.
#[derive(Debug)]
pub(crate) struct Pages {
    html: Bytes,
    json: Bytes,
}

impl Pages {
    /// Those of a document.
    pub(crate) fn of(document: &Value) -> Self {
        let json = serde_json::to_vec(document).unwrap_or_default();
        Self { html: Bytes::from(page::render(document)), json: Bytes::from(json) }
    }
}

/// What the router lends the handlers: it alone knows which URLs there are, these among them.
pub(crate) type LentPages = Extension<&'static LazyLock<Pages>>;

/// Read about all URLs in a browser.
#[utoipa::path(
    get,
    path = "/api",
    tag = "service",
    responses((status = 200, description = "The page", content_type = "text/html", body = String))
)]
pub(crate) async fn get_page(Extension(pages): LentPages) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    (headers, pages.html.clone()).into_response()
}

/// Show the OpenAPI document of all URLs.
#[utoipa::path(
    get,
    path = "/api/swagger.json",
    tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object))
)]
pub(crate) async fn get_document(Extension(pages): LentPages) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], pages.json.clone()).into_response()
}
