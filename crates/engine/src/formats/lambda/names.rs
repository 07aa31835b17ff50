//! What functions and calls are called in Lambda's terms: name, ARN, X-Ray trace.

use http::HeaderMap;
use picasso_types::RouteVersion;

use crate::target::Target;

/// The region of functions whose configuration names none: OpenStack's usual name for one.
pub(super) const REGION: &str = "RegionOne";

/// `AWS_LAMBDA_FUNCTION_NAME`: app and route in the letters that Lambda allows. The route `/` of
/// the app `shop` is `shop`, its `/users/:id` is `shop-users-id`.
pub(super) fn function_name(target: &Target) -> String {
    let route = target.route.pattern.to_string();
    let mut name = target.app.short_name.to_string();
    for part in route.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|part| !part.is_empty())
    {
        name.push('-');
        name.push_str(part);
    }
    name
}

/// `AWS_LAMBDA_FUNCTION_VERSION`: the number of the route's version.
pub(super) fn version_number(version: Option<&RouteVersion>) -> u32 {
    version.map_or(0, |version| version.number)
}

/// `Lambda-Runtime-Invoked-Function-Arn`: in the form of an ARN, with our project as the account.
pub(super) fn arn(target: &Target) -> String {
    let (project, name) = (&target.app.project_id, function_name(target));
    format!(
        "arn:picasso:lambda:{REGION}:{project}:function:{name}:{}",
        version_number(target.version.as_deref())
    )
}

/// `Lambda-Runtime-Trace-Id`: the caller's W3C `traceparent` as X-Ray writes it (AWS X-Ray
/// developer guide, "Tracing header"). `None` where there is no well-formed one.
pub(super) fn xray_trace(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (_version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !(is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2)) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1;
    let (time, rest) = trace.split_at(8);
    Some(format!("Root=1-{time}-{rest};Parent={parent};Sampled={sampled}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_function_is_named_after_app_and_route() {
        assert_eq!(function_name(&testing::target("/")), "app");
        assert_eq!(function_name(&testing::target("/users/:id")), "app-users-id");
        assert_eq!(
            arn(&testing::target("/a")),
            "arn:picasso:lambda:RegionOne:968f523b6fec4a7694aaa27b300bb879:function:app-a:1"
        );
    }

    #[test]
    fn a_traceparent_becomes_an_xray_header() {
        let trace = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", text.parse().unwrap());
            xray_trace(&headers)
        };
        assert_eq!(
            trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").as_deref(),
            Some("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1")
        );
        assert!(
            trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap().ends_with("Sampled=0")
        );
        for bad in ["", "00-4b-00-01", "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", "x;Root=1"]
        {
            assert_eq!(trace(bad), None, "{bad}");
        }
        assert_eq!(xray_trace(&HeaderMap::new()), None);
    }
}
