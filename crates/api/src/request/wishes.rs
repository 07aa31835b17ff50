//! What a caller asks of one call in headers of ours: sync or async, when, how urgently, and under
//! which name. None of them reaches the function but `Idempotency-Key`, which it may use itself.

use http::HeaderMap;
use picasso_types::delivery::MAX_PRIORITY;
use picasso_types::{Bounds, FieldFault, HttpUrl, Route, RouteType, Timestamp};

/// `sync` or `async`, where the route lets its callers choose.
const INVOKE: &str = "X-Picasso-Invoke";
/// Seconds from now, or a time (RFC 3339).
const DELAY: &str = "X-Picasso-Delay";
/// 0 to 2; for callers with a token.
const PRIORITY: &str = "X-Picasso-Priority";
/// Where the answer is to be sent (OpenFaaS).
const CALLBACK_URL: &str = "X-Callback-Url";
/// draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Longest idempotency key, bytes.
const MAX_KEY_BYTES: usize = 255;

/// The wishes of one caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallWishes {
    /// How the call is made: as the route says, or as the caller chose.
    pub(crate) call_type: RouteType,
    /// When it is due.
    pub(crate) not_before: Option<Timestamp>,
    /// How urgent it is.
    pub(crate) priority: Option<u8>,
    /// The caller's name for the request.
    pub(crate) idempotency_key: Option<String>,
    /// Where the answer is to be sent.
    pub(crate) callback_url: Option<HttpUrl>,
}

impl CallWishes {
    /// Reads them; a fault names the header. Those of an asynchronous call are refused for a
    /// synchronous one, but for the idempotency key, which is the function's then.
    pub(crate) fn read(
        headers: &HeaderMap,
        route: &Route,
        with_token: bool,
        bounds: &Bounds,
        now: Timestamp,
    ) -> Result<Self, FieldFault> {
        let call_type = call_type(headers, route)?;
        let not_before = one(headers, DELAY)?.map(|text| due(text, bounds, now)).transpose()?;
        let priority = one(headers, PRIORITY)?.map(|text| urgency(text, with_token)).transpose()?;
        if call_type == RouteType::Sync {
            for (name, is_set) in [(DELAY, not_before.is_some()), (PRIORITY, priority.is_some())] {
                if is_set {
                    return Err(FieldFault::new(name, "is for asynchronous calls; this one is synchronous"));
                }
            }
            // The callback's header is the function's own there.
            return Ok(Self {
                call_type,
                not_before: None,
                priority: None,
                idempotency_key: None,
                callback_url: None,
            });
        }
        let idempotency_key = one(headers, IDEMPOTENCY_KEY)?.map(key).transpose()?;
        let callback_url =
            one(headers, CALLBACK_URL)?.map(|text| callback(text, route, with_token)).transpose()?;
        Ok(Self { call_type, not_before, priority, idempotency_key, callback_url })
    }
}

fn call_type(headers: &HeaderMap, route: &Route) -> Result<RouteType, FieldFault> {
    let Some(text) = one(headers, INVOKE)? else { return Ok(route.route_type) };
    let wanted = RouteType::parse(text).map_err(|fault| FieldFault::new(INVOKE, fault.message))?;
    if route.delivery.may_invoke(route.route_type, wanted) {
        return Ok(wanted);
    }
    let own = route.route_type;
    Err(FieldFault::new(
        INVOKE,
        format!("must be \"{own}\": the route's \"invoke\" does not list \"{wanted}\""),
    ))
}

fn due(text: &str, bounds: &Bounds, now: Timestamp) -> Result<Timestamp, FieldFault> {
    let max = bounds.max_delay_s;
    let fault = || {
        FieldFault::new(
            DELAY,
            format!("must be 0 to {max} seconds, or a time as 2026-01-31T12:00:00Z within them"),
        )
    };
    let latest = now.plus(std::time::Duration::from_secs(max.into()));
    let due = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds: u32 = text.parse().map_err(|_| fault())?;
        now.plus(std::time::Duration::from_secs(seconds.into()))
    } else {
        let time: jiff::Timestamp = text.parse().map_err(|_| fault())?;
        // What should have run already runs now.
        Timestamp(time.as_microsecond()).max(now)
    };
    if due <= latest { Ok(due) } else { Err(fault()) }
}

fn urgency(text: &str, with_token: bool) -> Result<u8, FieldFault> {
    if !with_token {
        return Err(FieldFault::new(PRIORITY, "is for callers with a token"));
    }
    text.parse()
        .ok()
        .filter(|priority| *priority <= MAX_PRIORITY)
        .ok_or_else(|| FieldFault::new(PRIORITY, format!("must be 0 to {MAX_PRIORITY} (higher runs first)")))
}

/// Any URL of a caller with a token; of others those that the route lists, to the letter once URL
/// parsing has given both their one form.
fn callback(text: &str, route: &Route, with_token: bool) -> Result<HttpUrl, FieldFault> {
    let url = HttpUrl::parse(CALLBACK_URL, text)?;
    if with_token || route.delivery.callback_urls.contains(&url) {
        return Ok(url);
    }
    Err(FieldFault::new(
        CALLBACK_URL,
        "must be one of the route's \"callback_urls\" for callers without a token",
    ))
}

fn key(text: &str) -> Result<String, FieldFault> {
    if (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Ok(text.to_owned());
    }
    Err(FieldFault::new(IDEMPOTENCY_KEY, format!("must be 1 to {MAX_KEY_BYTES} printable ASCII characters")))
}

/// The value of a header that may be there once; surrounding spaces do not count.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, FieldFault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(FieldFault::new(name, "must be there once"));
    }
    value.to_str().map(|text| Some(text.trim())).map_err(|_| FieldFault::new(name, "must be ASCII text"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::bodies::route::tests::stored;

    const NOW: Timestamp = Timestamp(1_769_860_800_000_000);
    const SECOND: i64 = 1_000_000;

    fn read(route: &str, with_token: bool, headers: &[(&str, &str)]) -> Result<CallWishes, FieldFault> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        CallWishes::read(&map, &stored(route), with_token, &Bounds::default(), NOW)
    }

    const ASYNC: &str = r#"{"path":"/a","image":"x","type":"async"}"#;
    const SYNC: &str = r#"{"path":"/a","image":"x"}"#;
    const BOTH: &str = r#"{"path":"/a","image":"x","invoke":["async"]}"#;

    #[test]
    fn a_caller_chooses_the_type_where_the_route_lets_it() {
        let wanted = |route, text| read(route, false, &[("X-Picasso-Invoke", text)]);
        assert_eq!(wanted(BOTH, "async").unwrap().call_type, RouteType::Async);
        assert_eq!(wanted(BOTH, "sync").unwrap().call_type, RouteType::Sync);
        assert_eq!(wanted(ASYNC, "async").unwrap().call_type, RouteType::Async);
        for (route, text) in [(SYNC, "async"), (ASYNC, "sync"), (BOTH, "later"), (BOTH, "")] {
            assert_eq!(wanted(route, text).unwrap_err().field, "X-Picasso-Invoke", "{text}");
        }
        assert_eq!(read(BOTH, false, &[]).unwrap().call_type, RouteType::Sync);
    }

    #[test]
    fn a_delay_is_seconds_or_a_time_within_the_bound() {
        let due =
            |text: &str| read(ASYNC, false, &[("x-picasso-delay", text)]).map(|wishes| wishes.not_before);
        assert_eq!(due("0").unwrap(), Some(NOW));
        assert_eq!(due(" 90 ").unwrap(), Some(NOW.plus_micros(90 * SECOND)));
        assert_eq!(due("2026-01-31T12:01:00Z").unwrap(), Some(NOW.plus_micros(60 * SECOND)));
        assert_eq!(due("2026-01-31T13:01:00+01:00").unwrap(), Some(NOW.plus_micros(60 * SECOND)));
        assert_eq!(due("2020-01-31T12:01:00Z").unwrap(), Some(NOW));
        let max = Bounds::default().max_delay_s;
        assert!(due(&max.to_string()).is_ok());
        let over = (max + 1).to_string();
        for bad in ["", "-1", "1.5", "soon", "99999999999999", &over, "2027-01-31T12:00:00Z"] {
            let fault = due(bad).unwrap_err();
            assert_eq!(fault.field, "X-Picasso-Delay", "{bad}");
            assert!(fault.message.contains(&max.to_string()), "{}", fault.message);
        }
    }

    #[test]
    fn a_priority_is_for_callers_with_a_token() {
        let priority = |token, text| read(ASYNC, token, &[("X-Picasso-Priority", text)]);
        assert_eq!(priority(true, "2").unwrap().priority, Some(2));
        for (token, text) in [(false, "2"), (true, "3"), (true, "-1"), (true, "x"), (true, "")] {
            assert_eq!(priority(token, text).unwrap_err().field, "X-Picasso-Priority");
        }
    }

    #[test]
    fn an_idempotency_key_is_short_text() {
        let key = |text: &str| {
            read(ASYNC, false, &[("Idempotency-Key", text)]).map(|wishes| wishes.idempotency_key)
        };
        assert_eq!(key("\"8e03978e\"").unwrap().unwrap(), "\"8e03978e\"");
        assert!(key(&"k".repeat(255)).is_ok());
        for bad in ["", "ä", &"k".repeat(256)] {
            assert_eq!(key(bad).unwrap_err().field, "Idempotency-Key", "{bad}");
        }
    }

    #[test]
    fn a_synchronous_call_takes_none_of_an_asynchronous_ones() {
        for name in ["X-Picasso-Delay", "X-Picasso-Priority"] {
            assert_eq!(read(SYNC, true, &[(name, "1")]).unwrap_err().field, name);
        }
        assert_eq!(read(SYNC, false, &[("Idempotency-Key", "k")]).unwrap().idempotency_key, None);
    }

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        for name in ["X-Picasso-Invoke", "X-Picasso-Delay", "X-Picasso-Priority", "Idempotency-Key"] {
            assert_eq!(read(ASYNC, true, &[(name, "1"), (name, "1")]).unwrap_err().field, name);
        }
    }
}
