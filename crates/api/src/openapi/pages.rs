//! `/api` and `/api/swagger.json`.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;

use super::{DOCUMENT, page};

static DOCUMENT_TEXT: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(serde_json::to_vec(&*DOCUMENT).unwrap_or_default()));
static PAGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(page::render(&DOCUMENT)));

/// Read about all URLs in a browser.
#[utoipa::path(
    get,
    path = "/api",
    tag = "service",
    responses((status = 200, description = "The page", content_type = "text/html", body = String))
)]
pub(crate) async fn get_page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    (headers, PAGE.clone()).into_response()
}

/// Show the OpenAPI document of all URLs.
#[utoipa::path(
    get,
    path = "/api/swagger.json",
    tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object))
)]
pub(crate) async fn get_document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT_TEXT.clone()).into_response()
}
