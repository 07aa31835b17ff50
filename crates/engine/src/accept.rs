//! Accepting an asynchronous call: its body is read whole, its envelope encoded for the store.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use picasso_store::StoreError;
use picasso_types::{Failure, NewCall, PathParams, RouteType, Timestamp};
use serde::{Deserialize, Serialize};

use crate::invocation::{Body, BodyError, Invocation};

/// Why an asynchronous call was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The body was too large or ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The route has no version that can run yet; see [`Failure::NotReady`].
    #[error("{0}")]
    NotReady(Failure),
    /// The store failed.
    #[error("the call could not be stored")]
    Store(#[from] StoreError),
}

/// What of a request is kept beside its body. Header values need not be UTF-8, so they are kept
/// as bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    method: String,
    url: String,
    params: PathParams,
    headers: Vec<(String, Vec<u8>)>,
}

/// The parts of a request that a stored call brings back.
#[derive(Debug)]
pub struct StoredRequest {
    /// The request's method.
    pub method: Method,
    /// Its URL.
    pub url: String,
    /// Parameters of the route's pattern.
    pub params: PathParams,
    /// Its headers.
    pub headers: HeaderMap,
}

/// Turns an invocation into a call to be stored.
pub async fn new_call(
    invocation: Invocation,
    max_body_bytes: u64,
    now: Timestamp,
) -> Result<NewCall, AcceptError> {
    let target = &invocation.target;
    let Some(version) = &target.version else {
        return Err(AcceptError::NotReady(target.not_ready()));
    };
    let headers = invocation.headers.iter().map(|(k, v)| (k.as_str().to_owned(), v.as_bytes().to_vec()));
    let envelope = Envelope {
        method: invocation.method.to_string(),
        url: invocation.url,
        params: invocation.params,
        headers: headers.collect(),
    };
    Ok(NewCall {
        id: invocation.call_id,
        project_id: target.app.project_id.clone(),
        app_id: target.app.id.clone(),
        route_id: target.route.id.clone(),
        version_id: version.id.clone(),
        trigger: invocation.trigger,
        call_type: RouteType::Async,
        request_id: invocation.request_id,
        not_before: now.plus(Duration::from_secs(target.route.delivery.delay_s.into())),
        priority: target.route.delivery.priority,
        delivery: target.route.delivery.of_call(),
        depth: 0,
        idempotency: None,
        envelope: serde_json::to_vec(&envelope).unwrap_or_default(),
        payload: read_whole(invocation.body, max_body_bytes).await?,
    })
}

async fn read_whole(mut body: Body, max_bytes: u64) -> Result<Vec<u8>, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if (whole.len() + chunk.len()) as u64 > max_bytes {
            return Err(BodyError::TooLarge(max_bytes));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// Reads an envelope back; `None` when it is damaged.
pub fn stored_request(envelope: &[u8]) -> Option<StoredRequest> {
    let envelope: Envelope = serde_json::from_slice(envelope).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in envelope.headers {
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(&value).ok()?);
    }
    Some(StoredRequest {
        method: envelope.method.parse().ok()?,
        url: envelope.url,
        params: envelope.params,
        headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_request_comes_back_as_it_was() {
        let mut invocation = testing::invocation("/a/:id");
        invocation.params = vec![("id".to_owned(), "ä/7".to_owned())];
        invocation.headers.append("x-two", HeaderValue::from_bytes(&[0xff, b'a']).unwrap());
        invocation.headers.append("x-two", "b".parse().unwrap());
        invocation.body = Box::pin(futures_util::stream::iter([Ok("he".into()), Ok("llo".into())]));
        let (headers, url) = (invocation.headers.clone(), invocation.url.clone());
        let call = new_call(invocation, 5, Timestamp(7)).await.unwrap();
        assert_eq!(call.payload, b"hello");
        let request = stored_request(&call.envelope).unwrap();
        assert_eq!(request.headers, headers);
        assert_eq!(request.url, url);
        assert_eq!(request.params, vec![("id".to_owned(), "ä/7".to_owned())]);
        assert_eq!(request.method, Method::POST);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let mut invocation = testing::invocation("/a");
        invocation.body = Box::pin(futures_util::stream::iter([Ok("hello!".into())]));
        let refused = new_call(invocation, 5, Timestamp(7)).await.unwrap_err();
        assert!(matches!(refused, AcceptError::Body(BodyError::TooLarge(5))));
    }
}
