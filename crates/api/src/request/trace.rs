//! What links a call to the work around it: W3C Trace Context and the caller's own request id.
//!
//! Contract: Trace Context, level 1 (<https://www.w3.org/TR/trace-context/>): a valid `traceparent`
//! is passed on with its `tracestate`; anything else starts a new trace.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use picasso_types::random;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every implementation of Trace Context should take is 512 characters; twice that is a lot.
const MAX_TRACESTATE: usize = 1024;
/// Longer ones are no ids.
const MAX_REQUEST_ID: usize = 128;

/// Sees to it that `headers` name a trace.
pub(crate) fn carry_trace(headers: &mut HeaderMap) {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let valid = given.next().is_some_and(|value| is_traceparent(value.as_bytes())) && given.next().is_none();
    if valid {
        let length: usize = headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum();
        if length > MAX_TRACESTATE {
            headers.remove(TRACESTATE);
        }
        return;
    }
    headers.remove(TRACESTATE);
    if let Ok(fresh) = HeaderValue::from_str(&random::traceparent()) {
        headers.insert(TRACEPARENT, fresh);
    }
}

/// Removes a caller's `X-Request-Id` that is no id: the call then carries ours.
pub(crate) fn bound_request_id(headers: &mut HeaderMap) {
    if let header::Entry::Occupied(entry) = headers.entry(REQUEST_ID) {
        let mut ids = entry.iter();
        let fits = |id: &HeaderValue| {
            (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        if !(ids.next().is_some_and(fits) && ids.next().is_none()) {
            entry.remove_entry_mult();
        }
    }
}

/// `version-trace-parent-flags`, lower-case hex; a later version may go on after that.
fn is_traceparent(text: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let zeros = |part: &[u8]| part.iter().all(|b| *b == b'0');
    let Some((head, rest)) = text.split_at_checked(55) else { return false };
    let (version, trace, parent, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
    let rest_fits = rest.is_empty() || (version != b"00" && rest[0] == b'-' && rest.len() <= 200);
    [head[2], head[35], head[52]] == *b"---"
        && [version, trace, parent, flags].into_iter().all(hex)
        && version != b"ff"
        && !zeros(trace)
        && !zeros(parent)
        && rest_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn map(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_valid_trace_goes_on_with_its_state() {
        for good in [GOOD, "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later"] {
            let mut headers = map(&[(TRACEPARENT, good), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]);
            carry_trace(&mut headers);
            assert_eq!(headers[TRACEPARENT], good);
            assert_eq!(headers.get_all(TRACESTATE).iter().count(), 2);
        }
    }

    #[test]
    fn anything_else_starts_a_new_trace_without_state() {
        let bad = [
            "",
            "x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        for bad in bad {
            let mut headers = map(&[(TRACEPARENT, bad), (TRACESTATE, "a=1")]);
            carry_trace(&mut headers);
            assert_ne!(headers[TRACEPARENT], bad);
            assert!(is_traceparent(headers[TRACEPARENT].as_bytes()), "{:?}", headers[TRACEPARENT]);
            assert!(!headers.contains_key(TRACESTATE));
        }
        let mut twice = map(&[(TRACEPARENT, GOOD), (TRACEPARENT, GOOD)]);
        carry_trace(&mut twice);
        assert_eq!(twice.get_all(TRACEPARENT).iter().count(), 1);
        assert_ne!(twice[TRACEPARENT], GOOD);
    }

    #[test]
    fn a_state_that_is_too_long_is_left_out() {
        let mut headers = map(&[(TRACEPARENT, GOOD), (TRACESTATE, &"a=1,".repeat(300))]);
        carry_trace(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_request_id_is_one_short_word() {
        let kept = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| (REQUEST_ID, *value)).collect();
            let mut headers = map(&pairs);
            bound_request_id(&mut headers);
            headers.len()
        };
        assert_eq!(kept(&["req-1:a/b"]), 1);
        let long = "a".repeat(129);
        for bad in [&[""][..], &["a b"], &["a", "b"], &[&long]] {
            assert_eq!(kept(bad), 0, "{bad:?}");
        }
    }
}
