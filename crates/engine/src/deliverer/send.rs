//! One attempt of a delivery, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use picasso_outbound::OutboundError;
use picasso_store::StoreError;
use picasso_types::outgoing::Delivery;
use picasso_types::{CallId, Failure, RequestId, Trigger};
use url::Url;

use super::keys::signing_keys;
use super::parcel::{Parcel, Receiver};
use super::sent::Sent;
use super::{signature, zaqar};
use crate::accept::AcceptError;
use crate::catalog::Lookup;
use crate::engine::Engine;
use crate::invocation::Invocation;

pub(super) async fn send(engine: &Engine, delivery: &Delivery, parcel: Parcel) -> Sent {
    match parcel.head.to.clone() {
        Receiver::Url(url) => in_time(engine, post(engine, delivery, &url, parcel)).await,
        Receiver::Route { app, path, call, depth } => {
            call_route(engine, delivery, (&app, &path), (call, depth), parcel).await
        }
        Receiver::ZaqarQueue { queue, route, grant } => {
            let posted = zaqar::post(engine, &delivery.app_id, &queue, (&route, grant), &parcel.body);
            in_time(engine, posted).await
        }
    }
}

async fn in_time(engine: &Engine, attempt: impl Future<Output = Sent>) -> Sent {
    tokio::time::timeout(engine.shared.parts.settings.deliveries.timeout, attempt)
        .await
        .unwrap_or_else(|_| Sent::Again("the receiver did not answer in time".to_owned(), None))
}

async fn post(engine: &Engine, delivery: &Delivery, url: &str, parcel: Parcel) -> Sent {
    let parts = &engine.shared.parts;
    let Ok(url) = Url::parse(url) else { return Sent::Failed("its URL cannot be read".to_owned()) };
    let keys = match signing_keys(parts.store.as_ref(), &delivery.app_id).await {
        Ok(Some(keys)) => keys,
        Ok(None) => return Sent::Failed("its app, and the key that would sign it, were deleted".to_owned()),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a signing key cannot be read");
            return Sent::Again("the signing key could not be read".to_owned(), None);
        }
    };
    let signed = signature::headers(delivery.id.as_str(), parts.clock.now(), &parcel.body, &keys);
    let kept = parcel.head.headers.into_iter();
    let mut headers = HeaderMap::new();
    for (name, value) in kept.chain(signed.into_iter().map(|(name, value)| (name.to_owned(), value))) {
        // What a function chose as its content type need not be fit for a header.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    match parts.outbound.send(Method::POST, &url, headers, Bytes::from(parcel.body)).await {
        Ok(answer) => {
            let sent = meaning(answer.status, &answer.headers, parts.clock.now());
            answer.discard(parts.settings.deliveries.max_answer_bytes).await;
            sent
        }
        Err(error @ OutboundError::Refused(_)) => Sent::Failed(error.to_string()),
        Err(error) => Sent::Again(format!("the receiver {error}"), None),
    }
}

/// 2xx: taken. 410: never again. 408, 425, 429 and 5xx: later. All else, redirects too: never.
fn meaning(status: StatusCode, headers: &HeaderMap, now: picasso_types::Timestamp) -> Sent {
    let said = format!("the receiver answered with status {}", status.as_u16());
    match status.as_u16() {
        200..300 => Sent::Delivered,
        429 | 503 => Sent::Again(said, retry_after(headers, now)),
        408 | 425 | 500.. => Sent::Again(said, None),
        _ => Sent::Failed(said),
    }
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: picasso_types::Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_microsecond();
    Some(Duration::from_micros(u64::try_from(date - now.0).unwrap_or_default()))
}

async fn call_route(
    engine: &Engine,
    delivery: &Delivery,
    (app, path): (&str, &str),
    (call, depth): (CallId, u32),
    parcel: Parcel,
) -> Sent {
    let parts = &engine.shared.parts;
    // An attempt before this one may have been cut off after the call was accepted.
    match parts.store.get_call(&call).await {
        Ok(_) => return Sent::Delivered,
        Err(StoreError::NotFound) => {}
        Err(error) => return store_failed(&error),
    }
    let target = match parts.catalog.lookup(&delivery.project_id, app, path, "POST").await {
        Ok(Lookup::Found(target, params)) => (target, params),
        Ok(Lookup::MethodNotAllowed(_)) => return Sent::Failed("the route does not take POST".to_owned()),
        Ok(Lookup::NoApp | Lookup::NoRoute) => return Sent::Failed("there is no such route".to_owned()),
        Err(error) => return store_failed(&error),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in parcel.head.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(parcel.body.len()));
    if let Ok(value) = HeaderValue::try_from(picasso_types::random::traceparent()) {
        headers.insert("traceparent", value);
    }
    let body = Bytes::from(parcel.body);
    let invocation = Invocation {
        call_id: call,
        request_id: RequestId::generate(),
        trigger: Trigger::Destination,
        target: target.0,
        client: None,
        method: Method::POST,
        url: format!("http://localhost{path}"),
        headers,
        params: target.1,
        body: Box::pin(stream::once(async { Ok(body) })),
        depth,
        kept: None,
    };
    match engine.accept(invocation, crate::accept::AcceptOptions::default()).await {
        Ok(_) => Sent::Delivered,
        Err(error) => not_accepted(&error),
    }
}

/// What passes by itself is tried again.
fn not_accepted(error: &AcceptError) -> Sent {
    match error {
        AcceptError::Store(error) => store_failed(error),
        AcceptError::Refused(Failure::NotReady { .. }) | AcceptError::QueueFull(_) => {
            Sent::Again(error.to_string(), None)
        }
        AcceptError::Refused(_) | AcceptError::Body(_) | AcceptError::KeyOfOther => {
            Sent::Failed(error.to_string())
        }
    }
}

fn store_failed(error: &StoreError) -> Sent {
    tracing::error!(error = error as &dyn std::error::Error, "a destination's route cannot be called");
    Sent::Again("the route's call could not be stored".to_owned(), None)
}

#[cfg(test)]
mod tests {
    use picasso_types::Timestamp;

    use super::*;
    use crate::back_pressure::QueueFull;

    fn answered(status: u16, after: Option<&str>) -> Sent {
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
        }
        let now = Timestamp(1_445_412_480 * 1_000_000);
        meaning(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn each_status_means_delivered_later_or_never() {
        for status in [200, 202, 204] {
            assert_eq!(answered(status, None), Sent::Delivered);
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(answered(status, None), Sent::Again(_, None)), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 410, 422] {
            assert!(matches!(answered(status, None), Sent::Failed(_)), "{status}");
        }
    }

    #[test]
    fn a_route_whose_queue_is_full_or_that_is_not_ready_is_called_later_and_a_loop_is_not() {
        let full = AcceptError::QueueFull(QueueFull::Project(7));
        let preparing = AcceptError::Refused(Failure::NotReady { reason: "it is prepared".to_owned() });
        for passing in [full, preparing] {
            assert!(matches!(not_accepted(&passing), Sent::Again(..)), "{passing}");
        }
        let key = AcceptError::KeyOfOther;
        assert!(matches!(not_accepted(&key), Sent::Failed(_)));
        let deep = AcceptError::Refused(Failure::TooDeep { max_depth: 16 });
        assert!(matches!(not_accepted(&deep), Sent::Failed(_)));
    }

    #[test]
    fn a_receiver_says_when_to_come_back_in_seconds_or_by_date() {
        let after = |sent| match sent {
            Sent::Again(_, after) => after.map(|after| after.as_secs()),
            _ => None,
        };
        assert_eq!(after(answered(429, Some("7"))), Some(7));
        assert_eq!(after(answered(503, Some("Wed, 21 Oct 2015 07:28:30 GMT"))), Some(30));
        assert_eq!(after(answered(503, Some("Wed, 21 Oct 2015 07:00:00 GMT"))), Some(0));
        assert_eq!(after(answered(503, Some("soon"))), None);
        assert_eq!(after(answered(500, Some("7"))), None);
    }
}
