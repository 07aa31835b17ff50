//! The result of a call: as JSON, or as the bytes that the function wrote. What lies in the object
//! store goes through in parts and is never held as a whole.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Uri, header};
use picasso_engine::{KeptResult, OutputReadError, OutputStream};
use picasso_identity::policy::defaults as rule;
use picasso_types::{Call, FieldFault, RouteType};

use super::call_records::find_call;
use crate::call_views::ResultAnswer;
use crate::error::{ApiError, ErrorView};
use crate::request::auth::Allowed;
use crate::request::path::CallPath;
use crate::request::query::Query;
use crate::state::ApiState;

/// Show what a function answered to an asynchronous call.
///
/// A large one comes in base64 whatever it is. With `raw=true` the answer is what the function
/// wrote, with its content type and length; `Picasso-Result-Truncated: true` says that it was cut.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/calls/{call_id}/result",
    tag = "calls",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("call_id" = String, Path, description = "The call's id"),
        ("raw" = Option<bool>, Query, description = "Send the bytes that the function wrote"),
    ),
    responses(
        (status = 200, description = "The answer, cut where it is larger than is kept; with `raw=true` as the function wrote it", content(
            (ResultAnswer = "application/json"), (Vec<u8> = "*/*"),
        )),
        (status = 400, description = "A field of the query is refused", body = ErrorView),
        (status = 404, description = "The project has no such call, or nothing of it is kept", body = ErrorView),
        (status = 409, description = "The call has not ended yet", body = ErrorView),
        (status = 503, description = "The store of large results does not answer", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:call:get_result"]))
)]
pub(crate) async fn get_result(
    Allowed(auth, ..): Allowed<rule::GetResult>,
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::parse(uri.query(), &["raw"])?;
    let raw = match query.get("raw") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(FieldFault::new("raw", "must be \"true\" or \"false\"").into()),
    };
    let call = find_call(&state, &auth.project, &id).await?;
    if !call.state.is_final() {
        return Err(ApiError::CallNotFinished(call.state));
    }
    if call.call_type == RouteType::Sync {
        return Err(ApiError::ResultNotKept(id.to_string()));
    }
    let output = state.store.get_call_output(&id).await;
    let output = output.map_err(|error| ApiError::store("loading a call's result", error))?;
    let kept = KeptResult::decode(&output.unwrap_or_default().result)
        .ok_or_else(|| ApiError::internal("reading a call's result", "it is damaged"))?;
    let elsewhere = match &kept.object {
        Some(object) => {
            let stream = state.engine.read_output(&id, &auth.project, object).await;
            Some(stream.map_err(|error| unreadable(&call, error))?)
        }
        None => None,
    };
    Ok(match (raw, elsewhere) {
        (true, Some(stream)) => sent_raw(&kept, Body::from_stream(stream)),
        (true, None) => {
            let body = Body::from(kept.body.clone());
            sent_raw(&kept, body)
        }
        (false, Some(stream)) => large(&call, &kept, stream)?,
        (false, None) => Json(small(&call, kept)).into_response(),
    })
}

/// Why an output of the call cannot be read, for its owner.
pub(super) fn unreadable(call: &Call, error: OutputReadError) -> ApiError {
    match error {
        OutputReadError::Gone => ApiError::ResultNotKept(call.id.to_string()),
        error @ OutputReadError::Unavailable(_) => ApiError::outputs_unavailable("reading an output", error),
        error @ OutputReadError::Damaged(_) => ApiError::internal("reading an output", error),
    }
}

fn answer(call: &Call, kept: &KeptResult) -> ResultAnswer {
    let truncated = kept.total_bytes > kept.kept_bytes();
    ResultAnswer {
        result: String::new(),
        encoding: None,
        content_type: kept.content_type.clone(),
        http_status: call.http_status,
        truncated,
        total_bytes: kept.total_bytes,
        message: if truncated {
            "Successfully loaded the beginning of the result; the rest was not kept"
        } else {
            "Successfully loaded result"
        },
    }
}

fn small(call: &Call, kept: KeptResult) -> ResultAnswer {
    let answer = answer(call, &kept);
    match String::from_utf8(kept.body) {
        Ok(result) => ResultAnswer { result, ..answer },
        Err(error) => {
            ResultAnswer { result: STANDARD.encode(error.as_bytes()), encoding: Some("base64"), ..answer }
        }
    }
}

/// The JSON of an answer whose `result` comes in parts.
fn large(call: &Call, kept: &KeptResult, parts: OutputStream) -> Result<Response, ApiError> {
    const EMPTY: &str = "\"result\":\"";
    let without = ResultAnswer { encoding: Some("base64"), ..answer(call, kept) };
    let json = serde_json::to_string(&without)
        .map_err(|error| ApiError::internal("writing the answer around a result", error))?;
    let begin = json.find(EMPTY).map_or(0, |at| at + EMPTY.len());
    let (before, after) = json.split_at(begin);
    let length = json.len() as u64 + kept.kept_bytes().div_ceil(3) * 4;
    // A part is a multiple of three bytes, but for the last.
    let encoded = parts.map(|part| part.map(|part| Bytes::from(STANDARD.encode(part))));
    let end = |text: &str| {
        let text = Bytes::copy_from_slice(text.as_bytes());
        stream::once(async { Ok::<_, OutputReadError>(text) })
    };
    let body = Body::from_stream(end(before).chain(encoded).chain(end(after)));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok((headers, body).into_response())
}

/// The bytes of a function. They are a tenant's, and this is the origin of the API: a browser must
/// neither show nor run them.
fn sent_raw(kept: &KeptResult, body: Body) -> Response {
    let mut headers = HeaderMap::new();
    let content_type = kept.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
    let unknown = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(unknown));
    headers.insert(header::CONTENT_LENGTH, kept.kept_bytes().into());
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if kept.total_bytes > kept.kept_bytes() {
        headers.insert("picasso-result-truncated", HeaderValue::from_static("true"));
    }
    (headers, body).into_response()
}
