//! The headers of a callback: those that OpenFaaS's queue worker sends, the function's own included.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT, HOST};

/// The function's headers may have this many bytes; the rest is left out.
const MAX_BYTES: usize = 8 * 1024;
/// What only we say.
const OURS: [&str; 4] = ["picasso-", "webhook-", "x-picasso-", "ce-"];

/// The function's headers as far as a callback passes them on; those of the connection are gone
/// already.
pub(super) fn of_function(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut room = MAX_BYTES;
    let mut kept = Vec::new();
    for (name, value) in headers {
        let text = name.as_str();
        let Ok(value) = value.to_str() else { continue };
        let forbidden = [CONTENT_LENGTH, EXPECT, HOST].contains(name)
            || text == "user-agent"
            || OURS.iter().any(|prefix| text.starts_with(prefix));
        if forbidden {
            continue;
        }
        let Some(left) = room.checked_sub(text.len() + value.len()) else { break };
        room = left;
        kept.push((text.to_owned(), value.to_owned()));
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_functions_own_headers_go_along_and_none_that_others_have_to_say() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-kind", "thumbnail"),
            ("content-type", "image/png"),
            ("host", "169.254.169.254"),
            ("content-length", "7"),
            ("webhook-signature", "v1,forged"),
            ("picasso-error-kind", "forged"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut kept = of_function(&headers);
        kept.sort();
        let wanted = [("content-type", "image/png"), ("x-kind", "thumbnail")];
        assert_eq!(kept, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        headers.clear();
        for number in 0..100 {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            headers.insert(name, HeaderValue::try_from("y".repeat(1000)).unwrap());
        }
        assert_eq!(of_function(&headers).len(), 8);
    }
}
