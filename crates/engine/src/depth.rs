//! The recursion guard: how many calls caused each other.
//!
//! A function is told how deep its call is, in a header of ours and in W3C Trace Context's
//! `tracestate`, which instrumented functions pass on by themselves. Whoever calls with either
//! makes a call that is one deeper. Who forges a depth harms only the own call, and who hides it is
//! bounded by what the project may run; the guard is for loops that nobody meant.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The depth of a call, told to its function and by it.
pub const DEPTH: HeaderName = HeaderName::from_static("x-picasso-depth");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Our member of `tracestate`; its value is `d:DEPTH`.
const MEMBER: &str = "picasso";
/// More members than Trace Context allows are not looked at.
const MAX_MEMBERS: usize = 32;
/// More digits are no depth.
const MAX_DIGITS: usize = 6;

/// The depth of a call that a request with these headers makes: 0 where nothing valid says that
/// another call caused it.
pub fn of_request(headers: &HeaderMap) -> u32 {
    let told = headers.get_all(DEPTH).iter().filter_map(|value| number(value.to_str().ok()?));
    let traced = members(headers).filter_map(|member| {
        let (name, value) = member.split_once('=')?;
        number(value.strip_prefix("d:")?).filter(|_| name == MEMBER)
    });
    told.chain(traced).max().map_or(0, |depth| depth + 1)
}

/// Tells a function how deep its call is; what the caller said of it is replaced.
pub fn tell(headers: &mut HeaderMap, depth: u32) {
    let mut state = format!("{MEMBER}=d:{depth}");
    // The newest member comes first; the last ones go where there are too many.
    for member in members(headers).filter(|member| !is_ours(member)).take(MAX_MEMBERS - 1) {
        state.push(',');
        state.push_str(member);
    }
    headers.insert(DEPTH, HeaderValue::from(depth));
    if let Ok(state) = HeaderValue::from_str(&state) {
        headers.insert(TRACESTATE, state);
    }
}

fn members(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(TRACESTATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .take(MAX_MEMBERS)
}

fn is_ours(member: &str) -> bool {
    member.split_once('=').is_some_and(|(name, _)| name == MEMBER)
}

fn number(text: &str) -> Option<u32> {
    let fits = (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_call_is_one_deeper_than_what_its_caller_tells() {
        for (given, depth) in [
            (&[][..], 0),
            (&[("x-picasso-depth", "0")][..], 1),
            (&[("tracestate", "picasso=d:4")], 5),
            (&[("tracestate", "a=1, picasso=d:4 ,b=2")], 5),
            (&[("tracestate", "a=1"), ("tracestate", "picasso=d:7")], 8),
            (&[("x-picasso-depth", "2"), ("tracestate", "picasso=d:4")], 5),
            (&[("x-picasso-depth", "9"), ("tracestate", "picasso=d:4")], 10),
        ] {
            assert_eq!(of_request(&headers(given)), depth, "{given:?}");
        }
    }

    #[test]
    fn what_is_no_depth_counts_as_none() {
        for bad in ["", "-1", "+1", "1.5", "x", "99999999", " 1", "0x1"] {
            assert_eq!(of_request(&headers(&[("x-picasso-depth", bad)])), 0, "{bad:?}");
            let state = format!("picasso=d:{bad}x");
            assert_eq!(of_request(&headers(&[("tracestate", &state)])), 0, "{state:?}");
        }
        assert_eq!(of_request(&headers(&[("tracestate", "picasso=4,other=d:9,picasso")])), 0);
        assert_eq!(of_request(&headers(&[("x-picasso-depth", "999999")])), 1_000_000);
    }

    #[test]
    fn the_function_is_told_once_and_other_members_stay_behind_ours() {
        let mut given = headers(&[
            ("x-picasso-depth", "3"),
            ("x-picasso-depth", "4"),
            ("tracestate", "a=1,picasso=d:3"),
            ("tracestate", "b=2"),
        ]);
        tell(&mut given, 5);
        assert_eq!(given.len(), 2);
        assert_eq!(given["x-picasso-depth"], "5");
        assert_eq!(given["tracestate"], "picasso=d:5,a=1,b=2");
        assert_eq!(of_request(&given), 6);
    }
}
