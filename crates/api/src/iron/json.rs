//! JSON in and out as gin writes and Go's `encoding/json` reads it: unknown fields are ignored, and
//! what is declared as another type is read all the same. Faults share one message; which of them it
//! is stands in the error's `fields`.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::IronState;
use super::error::IronError;
use crate::error::ApiError;
use crate::request::body::read_all;
use crate::request::json::parse;

/// An answer in JSON.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let Ok(text) = serde_json::to_vec(body) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

/// 200.
pub(super) fn ok(body: &impl Serialize) -> Response {
    answer(StatusCode::OK, body)
}

/// A request's body, bounded.
pub(super) struct JsonBody(Bytes);

impl FromRequest<IronState> for JsonBody {
    type Rejection = IronError;

    async fn from_request(request: Request, state: &IronState) -> Result<Self, IronError> {
        let settings = &state.api.settings;
        let body = read_all(request.into_body(), settings.max_api_body_bytes, settings.body_timeout);
        Ok(Self(body.await.map_err(|error: ApiError| IronError::from(error))?))
    }
}

impl JsonBody {
    /// Parses it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, IronError> {
        parse(&self.0).map_err(|fault| IronError::bad("Invalid JSON").fields(fault.message()))
    }
}
