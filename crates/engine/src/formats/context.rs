//! What every hot format tells a function beside the request itself, and what it never passes on.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use picasso_types::CallId;

use crate::invocation::Invocation;

/// The call's id, under Fn's name for it.
pub(crate) const CALL_ID: HeaderName = HeaderName::from_static("fn-call-id");
/// The id of the request that brought the call.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers of one connection (RFC 9110, 7.6.1): a function's answer speaks for its own connection
/// only, not for the caller's.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Adds the ids to headers that go to a function. A caller's own `X-Request-Id` is kept, as
/// proxies do; the call id is always ours. `traceparent` is there already: the edge sees to it.
pub(crate) fn add_ids(headers: &mut HeaderMap, invocation: &Invocation) {
    headers.insert(CALL_ID, call_id(&invocation.call_id));
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(invocation.request_id.as_str())
    {
        headers.insert(REQUEST_ID, id);
    }
}

/// The id as a header's value: ids of ours are letters, digits, `-` and `_`.
fn call_id(id: &CallId) -> HeaderValue {
    HeaderValue::from_str(id.as_str()).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// Removes what a function says of its own connection from its answer's headers.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_call_id_is_ours_and_a_callers_request_id_is_kept() {
        let invocation = testing::invocation("/a");
        let mut headers = HeaderMap::new();
        headers.insert(CALL_ID, HeaderValue::from_static("forged"));
        add_ids(&mut headers, &invocation);
        assert_eq!(headers[&CALL_ID], invocation.call_id.as_str());
        assert_eq!(headers[&REQUEST_ID], invocation.request_id.as_str());
        headers.insert(REQUEST_ID, HeaderValue::from_static("mine"));
        add_ids(&mut headers, &invocation);
        assert_eq!(headers[&REQUEST_ID], "mine");
    }

    #[test]
    fn a_functions_connection_headers_stay_here() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, X-Private"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        headers.insert("x-mine", HeaderValue::from_static("1"));
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-mine"], "1");
    }
}
