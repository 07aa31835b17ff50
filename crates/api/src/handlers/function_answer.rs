//! A function's answer as the caller gets it: its bytes, and its status and headers where its
//! format has them.
//!
//! Functions of all tenants share one origin. What a header says of the whole origin, or of the
//! service, is therefore not a function's to say.

use axum::body::Body as HttpBody;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use picasso_engine::{Answer, AnswerHead, Output};
use picasso_types::Failure;

use crate::request::headers::is_our_cookie;

/// Of answers, these are only ours to set; beside them everything that begins with [`OUR_PREFIX`].
const OURS: [&str; 2] = ["x-openstack-request-id", "fn-call-id"];
const OUR_PREFIX: &str = "picasso-";

/// Headers that bind the browser for the whole origin, so for other tenants' functions too.
const ORIGIN_WIDE: [&str; 7] = [
    "alt-svc",
    "clear-site-data",
    "nel",
    "public-key-pins",
    "report-to",
    "service-worker-allowed",
    "strict-transport-security",
];

/// The function's answer as ours. An error in the middle of it makes the server abort the
/// connection, so that nobody takes half an answer for a whole one.
pub(crate) async fn unwrapped(answer: Answer, method: &Method) -> Result<Response, Failure> {
    let Answer { head, first, rest } = answer;
    let Some(AnswerHead { status, mut headers }) = head else {
        let content_type = content_type(&first, rest.is_none());
        let mut response = Response::new(body(first, rest));
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        return Ok(response);
    };
    check_status(status)?;
    keep_the_functions_own(&mut headers);
    let is_head = method == Method::HEAD;
    let (first, rest) = if is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        read_out(rest).await?;
        (Bytes::new(), None)
    } else {
        (first, rest)
    };
    // The length of what is in memory is known better here, and HTTP has another way to end a body
    // whose length is not said.
    if !((is_head || rest.is_some()) && has_length(&headers)) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut response = Response::new(body(first, rest));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A final answer has no status below 200: those announce one.
pub(super) fn check_status(status: StatusCode) -> Result<(), Failure> {
    if status.is_informational() {
        return Err(Failure::BadAnswer { reason: format!("its status is {}", status.as_u16()) });
    }
    Ok(())
}

/// Reads what nobody may be sent: dropping it would cut off a call that is about to end well.
async fn read_out(rest: Option<Output>) -> Result<(), Failure> {
    if let Some(mut rest) = rest {
        while let Some(piece) = rest.next().await {
            piece?;
        }
    }
    Ok(())
}

fn has_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let number = lengths.next().and_then(|value| value.to_str().ok());
    number.is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok())
        && lengths.next().is_none()
}

fn keep_the_functions_own(headers: &mut HeaderMap) {
    let foreign: Vec<_> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with(OUR_PREFIX) || OURS.contains(&name) || ORIGIN_WIDE.contains(&name)
        })
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    if let header::Entry::Occupied(cookies) = headers.entry(header::SET_COOKIE) {
        let kept: Vec<_> = cookies.iter().filter(|value| !sets_ours(value)).cloned().collect();
        cookies.remove_entry_mult();
        for value in kept {
            headers.append(header::SET_COOKIE, value);
        }
    }
}

/// Cookies know no ports: one that a function sets is sent to the API and the console as well.
fn sets_ours(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let pair = bytes.split(|byte| *byte == b';').next().unwrap_or_default();
    let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (&b""[..], pair),
    };
    // A cookie without a name is sent as its bare value, which may read as a name and a value.
    if name.trim_ascii().is_empty() { is_our_cookie(value) } else { is_our_cookie(name) }
}

fn body(first: Bytes, rest: Option<Output>) -> HttpBody {
    match rest {
        None => HttpBody::from(first),
        Some(rest) => {
            let first = stream::iter((!first.is_empty()).then_some(Ok::<_, CutShort>(first)));
            HttpBody::from_stream(first.chain(rest.map(|piece| piece.map_err(CutShort))))
        }
    }
}

/// Text where the first bytes are UTF-8, else bytes. Nothing is guessed beyond that, and `nosniff`
/// keeps browsers from guessing: a function's HTML is not rendered unless it says so itself.
fn content_type(first: &Bytes, whole: bool) -> HeaderValue {
    let is_text = match std::str::from_utf8(first) {
        Ok(_) => true,
        // The cut may be inside a character.
        Err(error) => !whole && error.error_len().is_none(),
    };
    HeaderValue::from_static(if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" })
}

/// The function failed after its answer began.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut short: {0}")]
struct CutShort(Failure);

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http_body_util::BodyExt;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], first: &'static str, rest: Option<Output>) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let head = Some(AnswerHead { status: StatusCode::from_u16(status).unwrap(), headers: map });
        Answer { head, first: Bytes::from(first), rest }
    }

    fn pieces(pieces: Vec<Result<Bytes, Failure>>) -> Output {
        Box::pin(stream::iter(pieces))
    }

    async fn shown(answer: Answer) -> Response {
        unwrapped(answer, &Method::GET).await.unwrap()
    }

    #[test]
    fn utf8_is_text_also_when_the_cut_is_inside_a_character() {
        let kind = |head: &'static [u8], whole| content_type(&Bytes::from_static(head), whole);
        assert_eq!(kind(b"hello", true), "text/plain; charset=utf-8");
        assert_eq!(kind(b"", true), "text/plain; charset=utf-8");
        assert_eq!(kind(b"gr\xc3", false), "text/plain; charset=utf-8");
        assert_eq!(kind(b"gr\xc3", true), "application/octet-stream");
        assert_eq!(kind(b"\xff\xd8\xff", false), "application/octet-stream");
    }

    #[tokio::test]
    async fn status_and_headers_are_the_functions_and_no_content_type_is_guessed() {
        let headers = [("x-mine", "1"), ("x-mine", "2"), ("www-authenticate", "Basic")];
        let response = shown(answer(418, &headers, "teapot", None)).await;
        assert_eq!(response.status(), 418);
        assert_eq!(response.headers().get_all("x-mine").iter().count(), 2);
        assert_eq!(response.headers()["www-authenticate"], "Basic");
        assert!(!response.headers().contains_key(header::CONTENT_TYPE));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "teapot");
    }

    #[tokio::test]
    async fn what_only_the_service_may_say_is_removed() {
        let headers = [
            ("picasso-error-kind", "internal"),
            ("picasso-call-id", "x"),
            ("picasso-anything", "x"),
            ("x-openstack-request-id", "req-x"),
            ("fn-call-id", "x"),
            ("strict-transport-security", "max-age=1"),
            ("service-worker-allowed", "/"),
            ("clear-site-data", "*"),
            ("alt-svc", "h3=\":1\""),
        ];
        assert!(shown(answer(200, &headers, "", None)).await.headers().is_empty());
    }

    #[tokio::test]
    async fn cookies_of_ours_cannot_be_set_in_any_spelling() {
        let bad = [
            "picasso_session=x",
            " Picasso-token=x; Path=/",
            "__Host-picasso_session=x; Secure",
            "__secure-picasso=x",
            "=picasso_session=x",
            "picasso_session",
        ];
        let headers: Vec<_> =
            bad.into_iter().chain(["mine=1", "b=picasso"]).map(|v| ("set-cookie", v)).collect();
        let response = shown(answer(200, &headers, "", None)).await;
        let left: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(left, ["mine=1", "b=picasso"]);
    }

    #[tokio::test]
    async fn a_length_is_passed_on_only_where_it_can_be_meant() {
        let streamed =
            |value| answer(200, &[("content-length", value)], "a", Some(pieces(vec![Ok("b".into())])));
        assert_eq!(shown(streamed("2")).await.headers()["content-length"], "2");
        for bad in ["x", "-1", "+2", "", "99999999999999999999999"] {
            assert!(!shown(streamed(bad)).await.headers().contains_key("content-length"), "{bad}");
        }
        let twice = [("content-length", "1"), ("content-length", "2")];
        let twice = answer(200, &twice, "", Some(pieces(vec![Ok("a".into())])));
        assert!(!shown(twice).await.headers().contains_key("content-length"));
        let whole = answer(200, &[("content-length", "9")], "a", None);
        assert!(!shown(whole).await.headers().contains_key("content-length"));
    }

    #[tokio::test]
    async fn an_announcement_is_no_answer() {
        let result = unwrapped(answer(103, &[], "", None), &Method::GET).await;
        assert_eq!(result.err(), Some(Failure::BadAnswer { reason: "its status is 103".to_owned() }));
    }

    #[tokio::test]
    async fn a_body_that_nobody_is_sent_is_read_to_its_end() {
        let cut = Failure::Exit { code: 1 };
        let head = answer(200, &[("content-length", "7")], "a", Some(pieces(vec![Ok("b".into())])));
        let head = unwrapped(head, &Method::HEAD).await.unwrap();
        assert_eq!(head.headers()["content-length"], "7");
        for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
            let good = answer(status, &[], "a", Some(pieces(vec![Ok("b".into())])));
            assert_eq!(unwrapped(good, &method).await.unwrap().status(), status);
            let bad = answer(status, &[], "a", Some(pieces(vec![Ok("b".into()), Err(cut.clone())])));
            assert_eq!(unwrapped(bad, &method).await.err(), Some(cut.clone()));
        }
    }

    #[tokio::test]
    async fn a_failure_in_the_middle_breaks_the_body_off() {
        let cut = answer(200, &[], "a", Some(pieces(vec![Err(Failure::Exit { code: 1 })])));
        assert!(shown(cut).await.into_body().collect().await.is_err());
    }
}
