//! JSON bodies, read as Go's `encoding/json` does: unknown fields are ignored, and what is declared as
//! another type is read all the same. Faults share one message; which of them it is stands in the
//! error's `fields`.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::IronState;
use super::error::IronError;
use crate::error::ApiError;
use crate::request::body::read_all;
use crate::request::json::parse;

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
