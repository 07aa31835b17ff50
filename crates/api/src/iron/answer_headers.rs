//! The `headers` of routes: what answers carry beside what the function says.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names to values, as clients write them.
pub(super) type AnswerHeaders = BTreeMap<String, Vec<String>>;

/// Most headers of one route.
const MAX_HEADERS: usize = 32;
/// Most bytes of their names and values together.
const MAX_BYTES: usize = 8 * 1024;

/// Headers of the connection and those that say what only the server knows.
const NOT_A_ROUTES: [&str; 11] = [
    "connection",
    "content-length",
    "date",
    "fn-call-id",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-content-type-options",
    "x-openstack-request-id",
];

/// IronFunctions' rule for a change: an empty list deletes, values are added to those there are.
pub(super) fn merged(before: &AnswerHeaders, change: AnswerHeaders) -> AnswerHeaders {
    let mut after = before.clone();
    for (name, values) in change {
        if values.is_empty() {
            after.remove(&name);
        } else {
            after.entry(name).or_default().extend(values);
        }
    }
    after
}

/// Why the headers cannot be put on an answer.
pub(super) fn fault(headers: &AnswerHeaders) -> Option<String> {
    if headers.len() > MAX_HEADERS {
        return Some(format!("headers: has more than {MAX_HEADERS} headers"));
    }
    let bytes: usize =
        headers.iter().map(|(name, values)| name.len() + values.iter().map(String::len).sum::<usize>()).sum();
    if bytes > MAX_BYTES {
        return Some(format!("headers: is larger than {MAX_BYTES} bytes"));
    }
    for (name, values) in headers {
        let shown: String = name.chars().take(40).collect();
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Some(format!("headers: {shown:?} is no name of a header"));
        };
        if NOT_A_ROUTES.contains(&parsed.as_str()) || parsed.as_str().starts_with("picasso-") {
            return Some(format!("headers: {shown:?} is not a route's to set"));
        }
        if values.iter().any(|value| HeaderValue::from_str(value).is_err()) {
            return Some(format!("headers: {shown:?} has a value that no header can hold"));
        }
    }
    None
}

/// Puts the first value of each on an answer.
pub(super) fn put(headers: &AnswerHeaders, on: &mut HeaderMap) {
    for (name, values) in headers {
        if let (Ok(name), Some(Ok(value))) = (
            HeaderName::from_bytes(name.as_bytes()),
            values.first().map(|value| HeaderValue::from_str(value)),
        ) {
            on.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &[&str])]) -> AnswerHeaders {
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        pairs.iter().map(|(name, values)| ((*name).to_owned(), owned(values))).collect()
    }

    #[test]
    fn a_change_adds_values_and_an_empty_list_deletes() {
        let before = headers(&[("X-A", &["1"]), ("X-B", &["1"])]);
        let after = merged(&before, headers(&[("X-A", &["2"]), ("X-B", &[]), ("X-C", &["3"])]));
        assert_eq!(after, headers(&[("X-A", &["1", "2"]), ("X-C", &["3"])]));
    }

    #[test]
    fn the_first_value_is_put_on_an_answer() {
        let mut on = HeaderMap::new();
        on.insert("content-type", HeaderValue::from_static("text/plain"));
        put(&headers(&[("Content-Type", &["text/html", "x"]), ("X-None", &[])]), &mut on);
        assert_eq!((on.len(), on["content-type"].to_str().unwrap()), (1, "text/html"));
    }

    #[test]
    fn what_would_break_an_answer_is_refused() {
        assert_eq!(fault(&headers(&[("Set-Cookie", &["a=1"])])), None);
        for (name, value) in [
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Picasso-Call-Id", "x"),
            ("a b", "x"),
            ("", "x"),
            ("X-A", "a\r\nSet-Cookie: b"),
        ] {
            assert!(fault(&headers(&[(name, &[value])])).is_some(), "{name}");
        }
        let many: AnswerHeaders = (0..33).map(|n| (format!("x-{n}"), vec![])).collect();
        assert!(fault(&many).unwrap().contains("32"));
        assert!(fault(&headers(&[("x", &["v".repeat(8192).as_str()])])).unwrap().contains("8192"));
    }
}
