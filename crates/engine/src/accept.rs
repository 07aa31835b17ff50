//! Accepting an asynchronous call: its body is read whole, its envelope encoded for the store.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use picasso_store::StoreError;
use picasso_types::{
    CallDelivery, CallId, Digest, Failure, HttpUrl, IdempotencyKey, NewCall, PathParams, RouteType, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::back_pressure::QueueFull;
use crate::invocation::{Body, BodyError, Invocation};
use crate::settings::EngineSettings;

/// Why an asynchronous call was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The body was too large or ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The route has no version that can run yet ([`Failure::NotReady`]), or calls cause each other
    /// without end ([`Failure::TooDeep`]).
    #[error("{0}")]
    Refused(Failure),
    /// The idempotency key stands for another request.
    #[error("the idempotency key stands for another request")]
    KeyOfOther,
    /// As many calls are queued as may be.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
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

/// What a caller asks for beside what its route says; checked at the edge.
#[derive(Debug, Clone, Default)]
pub struct AcceptOptions {
    /// When it is due, instead of after the route's `delay`.
    pub not_before: Option<Timestamp>,
    /// 0 to 2, instead of the route's `priority`.
    pub priority: Option<u8>,
    /// The caller's name for the request.
    pub idempotency_key: Option<String>,
    /// Where the answer is to be sent; allowed for this caller.
    pub callback_url: Option<HttpUrl>,
}

/// An accepted call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedCall {
    /// Its id.
    pub id: CallId,
    /// `false` when its idempotency key was used before: then this is the call of then.
    pub is_new: bool,
}

/// Turns an invocation into a call to be stored.
pub async fn new_call(
    invocation: Invocation,
    options: AcceptOptions,
    settings: &EngineSettings,
    now: Timestamp,
) -> Result<NewCall, AcceptError> {
    let target = &invocation.target;
    let Some(version) = &target.version else {
        return Err(AcceptError::Refused(target.not_ready()));
    };
    let payload = read_whole(invocation.body, settings.max_async_body_bytes).await?;
    let idempotency = options.idempotency_key.map(|key| IdempotencyKey {
        key_hash: Digest::of(key.as_bytes()).hex().to_owned(),
        request_hash: request_hash(&invocation.method, &invocation.url, &invocation.params, &payload),
        expires_at: now.plus(settings.calls.idempotency_window),
    });
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
        not_before: options
            .not_before
            .unwrap_or_else(|| now.plus(Duration::from_secs(target.route.delivery.delay_s.into()))),
        priority: options.priority.unwrap_or(target.route.delivery.priority),
        delivery: CallDelivery { callback_url: options.callback_url, ..target.route.delivery.of_call() },
        depth: invocation.depth,
        idempotency,
        envelope: serde_json::to_vec(&envelope).unwrap_or_default(),
        payload,
    })
}

/// What makes two requests the same: method, parameters, query and body. Headers differ between
/// two sendings of one request.
fn request_hash(method: &Method, url: &str, params: &PathParams, payload: &[u8]) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let body = Digest::of(payload).to_string();
    let parts = serde_json::json!([method.as_str(), params, query, body]);
    Digest::of(parts.to_string().as_bytes()).hex().to_owned()
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
    use std::sync::Arc;

    use picasso_types::{DeliveryOptions, RetryPolicy, Route};

    use super::*;
    use crate::testing;

    fn small() -> EngineSettings {
        EngineSettings { max_async_body_bytes: 5, ..EngineSettings::default() }
    }

    fn with_body(body: &'static str) -> Invocation {
        Invocation {
            body: Box::pin(futures_util::stream::iter([Ok(body.into())])),
            ..testing::invocation("/a")
        }
    }

    #[tokio::test]
    async fn a_call_takes_its_routes_options_unless_its_caller_asks_for_others() {
        let settings = EngineSettings::default();
        let route = DeliveryOptions {
            delay_s: 7,
            priority: 2,
            retry: Some(RetryPolicy::new(3)),
            ..DeliveryOptions::default()
        };
        let invocation = || {
            let mut target = testing::target("/a");
            let with = Route { delivery: route.clone(), ..(*target.route).clone() };
            target.route = Arc::new(with);
            Invocation { target: Arc::new(target), depth: 3, ..testing::invocation("/a") }
        };
        let now = Timestamp(0);
        let call = new_call(invocation(), AcceptOptions::default(), &settings, now).await.unwrap();
        assert_eq!((call.not_before, call.priority, call.depth), (Timestamp(7_000_000), 2, 3));
        assert_eq!((call.delivery, call.idempotency), (route.of_call(), None));
        let url = HttpUrl::parse("url", "https://example.org/").unwrap();
        let asked = AcceptOptions {
            not_before: Some(Timestamp(9)),
            priority: Some(0),
            idempotency_key: None,
            callback_url: Some(url.clone()),
        };
        let call = new_call(invocation(), asked, &settings, now).await.unwrap();
        assert_eq!((call.not_before, call.priority), (Timestamp(9), 0));
        assert_eq!(call.delivery, CallDelivery { callback_url: Some(url), ..route.of_call() });
    }

    #[tokio::test]
    async fn a_key_is_kept_as_its_hash_with_that_of_the_request() {
        let settings = EngineSettings::default();
        let keyed = async |invocation, key: &str| {
            let options = AcceptOptions { idempotency_key: Some(key.to_owned()), ..AcceptOptions::default() };
            new_call(invocation, options, &settings, Timestamp(0)).await.unwrap().idempotency.unwrap()
        };
        let first = keyed(with_body("a"), "secret-key").await;
        assert_eq!(first.expires_at, Timestamp(0).plus(settings.calls.idempotency_window));
        assert!(!format!("{first:?}").contains("secret-key"));
        assert_eq!(keyed(with_body("a"), "secret-key").await, first);
        let other = keyed(with_body("a"), "other-key").await;
        assert!(other.key_hash != first.key_hash && other.request_hash == first.request_hash);
        let url = |url: &str| Invocation { url: url.to_owned(), ..with_body("a") };
        let params = Invocation { params: vec![("id".to_owned(), "7".to_owned())], ..with_body("a") };
        let method = Invocation { method: Method::PUT, ..with_body("a") };
        for different in [with_body("b"), url("http://h/f/app/a?x=1"), params, method] {
            assert_ne!(keyed(different, "secret-key").await.request_hash, first.request_hash);
        }
        let elsewhere = keyed(url("https://other/v1/f/app/a"), "secret-key").await;
        assert_eq!(elsewhere, first, "the same call by another name of the service");
    }

    #[tokio::test]
    async fn a_request_comes_back_as_it_was() {
        let mut invocation = testing::invocation("/a/:id");
        invocation.params = vec![("id".to_owned(), "ä/7".to_owned())];
        invocation.headers.append("x-two", HeaderValue::from_bytes(&[0xff, b'a']).unwrap());
        invocation.headers.append("x-two", "b".parse().unwrap());
        invocation.body = Box::pin(futures_util::stream::iter([Ok("he".into()), Ok("llo".into())]));
        let (headers, url) = (invocation.headers.clone(), invocation.url.clone());
        let call = new_call(invocation, AcceptOptions::default(), &small(), Timestamp(7)).await.unwrap();
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
        let refused =
            new_call(invocation, AcceptOptions::default(), &small(), Timestamp(7)).await.unwrap_err();
        assert!(matches!(refused, AcceptError::Body(BodyError::TooLarge(5))));
    }
}
