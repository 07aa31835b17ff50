//! What IronFunctions checks of a route, in its order and its words.

use picasso_types::{Format, RoutePattern, RouteType};

use super::path::clean;
use super::route_body::RouteBody;

/// The faults of a new route.
pub(super) fn of_new(route: &RouteBody) -> Vec<String> {
    let mut faults = Vec::new();
    if route.image.as_deref().unwrap_or_default().is_empty() {
        faults.push("Missing route Image".to_owned());
    }
    path(route.path.as_deref().unwrap_or_default(), &mut faults);
    others(route, &mut faults);
    faults
}

/// The faults of a change, which has no path.
pub(super) fn of_change(route: &RouteBody) -> Vec<String> {
    let mut faults = Vec::new();
    others(route, &mut faults);
    faults
}

fn path(path: &str, faults: &mut Vec<String>) {
    let mut told = |fault: &str| faults.push(fault.to_owned());
    if path.is_empty() {
        told("Missing route Path");
    }
    if is_malformed(path) {
        return told("Path malformed");
    }
    let dynamic = path.contains(':') || path.split('/').any(|segment| segment.starts_with('*'));
    if dynamic {
        told("Dynamic URL is not allowed");
    }
    // What is not clean could be stored and never be reached: URLs are made clean.
    let reachable = path.starts_with('/') && clean(path) == path && RoutePattern::parse(path).is_ok();
    if !(reachable || dynamic && path.starts_with('/')) {
        told("Invalid Path format");
    }
}

/// What Go's `url.Parse` refuses: control characters, and `%` without two hexadecimal digits.
fn is_malformed(path: &str) -> bool {
    let escapes_broken = path.split('%').skip(1).any(|rest| {
        let digits = rest.as_bytes().get(..2);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    escapes_broken || path.chars().any(|c| c.is_ascii_control())
}

fn others(route: &RouteBody, faults: &mut Vec<String>) {
    let mut check = |broken: bool, fault: &str| {
        if broken {
            faults.push(fault.to_owned());
        }
    };
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    check(set(&route.r#type).is_some_and(|text| RouteType::parse(&text).is_err()), "Invalid route Type");
    check(set(&route.format).is_some_and(|text| Format::parse(&text).is_err()), "Invalid route Format");
    check(route.max_concurrency.is_some_and(i64::is_negative), "Negative MaxConcurrency");
    check(route.timeout.is_some_and(i32::is_negative), "Negative timeout");
    check(route.idle_timeout.is_some_and(i32::is_negative), "Negative idle timeout");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        of_new(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn all_faults_are_told_in_ironfunctions_order() {
        let all = r#"{"type":"x","format":"y","max_concurrency":-1,"timeout":-1,"idle_timeout":-1}"#;
        assert_eq!(
            faults(all),
            [
                "Missing route Image",
                "Missing route Path",
                "Invalid Path format",
                "Invalid route Type",
                "Invalid route Format",
                "Negative MaxConcurrency",
                "Negative timeout",
                "Negative idle timeout",
            ]
        );
    }

    #[test]
    fn each_bad_path_has_its_word() {
        for (path, fault) in [
            ("/a%zz", "Path malformed"),
            ("/users/:id", "Dynamic URL is not allowed"),
            ("/files/*rest", "Dynamic URL is not allowed"),
            ("hello", "Invalid Path format"),
            ("/hello/", "Invalid Path format"),
            ("/a//b", "Invalid Path format"),
            ("/a/../b", "Invalid Path format"),
            ("/a?b", "Invalid Path format"),
        ] {
            let text = serde_json::json!({"image": "x", "path": path}).to_string();
            assert_eq!(faults(&text), [fault], "{path}");
        }
        for path in ["/", "/hello", "/a/b/c"] {
            let text = serde_json::json!({"image": "x", "path": path}).to_string();
            assert!(faults(&text).is_empty(), "{path}");
        }
    }
}
