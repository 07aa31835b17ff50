//! The routes of the Runtime API, version 2018-06-01.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::Body;
use http_body_util::Full;

use super::fault::{self, Fault};
use super::function_error::FunctionError;
use super::response::{Read, read_whole, take_error, take_response};
use super::session::Session;

const RUNTIME: &str = "/2018-06-01/runtime/";

/// Answers one request of the runtime.
pub(super) async fn answer<B: Body<Data = Bytes> + Unpin>(
    session: &Arc<Session>,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    route(session, request).await.unwrap_or_else(Fault::response)
}

async fn route<B: Body<Data = Bytes> + Unpin>(
    session: &Arc<Session>,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, Fault> {
    let (parts, body) = request.into_parts();
    let only = |method: Method, name: &'static str| {
        if parts.method == method { Ok(()) } else { Err(Fault::MethodNotAllowed(name)) }
    };
    let path = parts.uri.path();
    if matches!(path, "/ping" | "/2018-06-01/ping") {
        only(Method::GET, "GET")?;
        return Ok(Response::new(Full::new(Bytes::from_static(b"pong"))));
    }
    match path.strip_prefix(RUNTIME).ok_or(Fault::NotFound)? {
        "invocation/next" => {
            only(Method::GET, "GET")?;
            next(session).await
        }
        "init/error" => {
            only(Method::POST, "POST")?;
            let body = match read_whole(body, session.max_answer).await {
                Read::Whole(body) => body,
                Read::TooLarge => Bytes::new(),
                Read::Truncated => return Err(Fault::TruncatedRequest),
            };
            session.fail_init(|| FunctionError::parse(&parts.headers, &body).sentence())?;
            Ok(fault::accepted())
        }
        // Snapshots are not taken here.
        "restore/next" => {
            only(Method::GET, "GET")?;
            Err(session.refuse_restore("RestoreReady"))
        }
        "restore/error" => {
            only(Method::POST, "POST")?;
            Err(session.refuse_restore("RestoreError"))
        }
        path => {
            let (id, kind) = path
                .strip_prefix("invocation/")
                .and_then(|rest| rest.split_once('/'))
                .ok_or(Fault::NotFound)?;
            match kind {
                "response" => {
                    only(Method::POST, "POST")?;
                    take_response(session, id, &parts.headers, body).await
                }
                "error" => {
                    only(Method::POST, "POST")?;
                    take_error(session, id, &parts.headers, body).await
                }
                _ => Err(Fault::NotFound),
            }
        }
    }
}

/// Waits without a limit: runtimes set none either, and the sandbox may be frozen meanwhile.
async fn next(session: &Session) -> Result<Response<Full<Bytes>>, Fault> {
    // Refused later: the runtime asked on another connection meanwhile.
    let superseded = Fault::InvalidStateTransition { from: "Ready", to: "Ready" };
    let event = session.ask()?.await.map_err(|_| superseded)?;
    let mut response = Response::new(Full::new(event.body));
    *response.headers_mut() = event.headers;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
