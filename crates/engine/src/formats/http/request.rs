//! The HTTP/1.1 request that a function of format `http` reads: the caller's own, with what
//! IronFunctions tells beside it in headers (`Method`, `Route`, `Request_url`, `Header_…`,
//! `Param_…`, `Task-ID`: its hot containers' contract).

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::environment;
use crate::formats::context;
use crate::invocation::{Body, BodyError, Invocation};

/// IronFunctions' name for the call's id.
pub(super) const TASK_ID: HeaderName = HeaderName::from_static("task-id");

/// The request's head; `length` is that of its body, where it is known.
pub(super) fn head(invocation: &Invocation, length: Option<u64>) -> Request<()> {
    let mut headers = invocation.headers.clone();
    context::remove_hop_by_hop(&mut headers);
    headers.remove(header::EXPECT);
    headers.remove(header::CONTENT_LENGTH);
    let url: Uri = invocation.url.parse().unwrap_or_default();
    if !headers.contains_key(header::HOST)
        && let Some(host) = url.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        headers.insert(header::HOST, host);
    }
    for (variable, value) in environment::of_request(invocation) {
        if let Ok(name) = HeaderName::from_bytes(variable.as_bytes()) {
            headers.insert(name, header_value(&value));
        }
    }
    headers.insert(TASK_ID, header_value(invocation.call_id.as_str()));
    context::add_ids(&mut headers, invocation);
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(());
    *request.method_mut() = invocation.method.clone();
    *request.uri_mut() = path.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    request
}

/// A value without the control characters that a header cannot hold: a decoded parameter may.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let allowed: Vec<u8> = text.bytes().filter(|byte| *byte >= b' ' && *byte != 0x7f).collect();
        HeaderValue::from_bytes(&allowed).unwrap_or_else(|_| HeaderValue::from_static(""))
    })
}

/// How long the body is: as the caller said, or 0 where it ends before its first byte; `None`
/// where only its end will tell. Looks at the first bytes, which stay in the body.
pub(super) async fn length(headers: &HeaderMap, body: &mut Body) -> Result<Option<u64>, BodyError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some() {
        return Ok(declared);
    }
    loop {
        match body.next().await.transpose()? {
            None => return Ok(Some(0)),
            Some(chunk) if chunk.is_empty() => {}
            Some(chunk) => {
                let rest = std::mem::replace(body, Box::pin(stream::empty()));
                *body = Box::pin(stream::iter([Ok(chunk)]).chain(rest));
                return Ok(None);
            }
        }
    }
}

/// The body on its way to the function.
pub(super) struct RequestBody {
    /// Only polled through `&mut self`; the lock makes it `Sync`, which tasks that hold a
    /// reference across a wait need.
    body: Mutex<Body>,
    length: Option<u64>,
}

impl RequestBody {
    pub(super) fn new(body: Body, length: Option<u64>) -> Self {
        Self { body: Mutex::new(body), length }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        body.as_mut().poll_next(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_function_sees_the_request_itself_and_what_ironfunctions_tells_beside_it() {
        let mut invocation = testing::invocation("/users/:id");
        invocation.url = "http://host:10002/f/app/users/7?x=1".to_owned();
        invocation.params = vec![("id".to_owned(), "7\r\nForged: 1".to_owned())];
        invocation.headers.append("x-two", "a".parse().unwrap());
        invocation.headers.append("x-two", "b".parse().unwrap());
        invocation.headers.insert("task-id", "forged".parse().unwrap());
        invocation.headers.insert("method", "forged".parse().unwrap());
        invocation.headers.insert("expect", "100-continue".parse().unwrap());
        invocation.headers.insert("connection", "close".parse().unwrap());
        let head = head(&invocation, Some(5));
        assert_eq!(head.method(), "POST");
        assert_eq!(head.uri(), "/f/app/users/7?x=1");
        let value = |name: &str| head.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(value("host"), Some("host:10002"));
        assert_eq!(value("method"), Some("POST"));
        assert_eq!(value("route"), Some("/users/:id"));
        assert_eq!(value("request_url"), Some("http://host:10002/f/app/users/7?x=1"));
        assert_eq!(value("header_x_two"), Some("a b"));
        assert_eq!(value("param_id"), Some("7Forged: 1"));
        assert_eq!(value("task-id"), Some(invocation.call_id.as_str()));
        assert_eq!(value("fn-call-id"), Some(invocation.call_id.as_str()));
        assert_eq!(value("content-length"), Some("5"));
        assert_eq!((value("expect"), value("connection")), (None, None));
        assert_eq!(head.headers().get_all("x-two").iter().count(), 2);
    }

    #[tokio::test]
    async fn the_length_is_what_the_caller_said_or_what_an_empty_body_has() {
        let mut headers = HeaderMap::new();
        let mut body: Body = Box::pin(stream::iter([Ok(Bytes::new()), Ok(Bytes::from_static(b"ab"))]));
        assert_eq!(length(&headers, &mut body).await, Ok(None));
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"ab"))));
        assert_eq!(length(&headers, &mut body).await, Ok(Some(0)));
        headers.insert(header::CONTENT_LENGTH, 2.into());
        assert_eq!(length(&headers, &mut body).await, Ok(Some(2)));
    }
}
