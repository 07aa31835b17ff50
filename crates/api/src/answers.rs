//! The statuses of answers that change something, as the client's version of the API has them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::microversion::Microversion;
use crate::views::Done;

/// Something was made, and is at `location`: 201 and where it is; the old service's 200 in 1.0.
pub(crate) fn created(version: Microversion, location: String, body: impl Serialize) -> Response {
    if version < Microversion::GUIDE_STATUSES {
        return Json(body).into_response();
    }
    at(location, (StatusCode::CREATED, Json(body)).into_response())
}

/// Something will go on after the answer, to be watched at `location` by who may: 202; 200 in 1.0.
pub(crate) fn accepted(version: Microversion, location: Option<String>, body: impl Serialize) -> Response {
    if version < Microversion::GUIDE_STATUSES {
        return Json(body).into_response();
    }
    let response = (StatusCode::ACCEPTED, Json(body)).into_response();
    match location {
        Some(location) => at(location, response),
        None => response,
    }
}

/// Something is gone: 204 without a body; in 1.0 200 with the old service's message.
pub(crate) fn deleted(version: Microversion, done: Done) -> Response {
    if version < Microversion::GUIDE_STATUSES {
        return Json(done).into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}

fn at(location: String, mut response: Response) -> Response {
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
