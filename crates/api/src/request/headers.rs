//! Which of a request's headers a function may see.
//!
//! A call carries what its caller said to the function, not what it said to us or to a proxy:
//! credentials, identity that only Keystone may assert, and hop-by-hop headers stay here. Names
//! with `_` are dropped because the function's environment cannot tell them from names with `-`
//! (`X_Auth_Token` would pass for `X-Auth-Token`).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Which way a request came in: decides whose credentials `Authorization` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A token was asked for: everything that may carry one is ours.
    Ours,
    /// No token was asked for: `Authorization` is between the caller and the function.
    Functions,
}

/// Room for what is added behind this: ids, a trace, who asks.
const ADDED: usize = 6;

/// Cookies of ours begin with this; the others are the function's.
const COOKIE_PREFIX: &[u8] = b"picasso";

/// The headers of `headers` that reach the function.
pub(crate) fn cleaned(headers: &HeaderMap, credentials: Credentials) -> HeaderMap {
    let mut clean = HeaderMap::with_capacity(headers.len() + ADDED);
    for (name, value) in headers {
        if is_ours(name, credentials) {
            continue;
        }
        if *name == header::COOKIE {
            if let Some(rest) = foreign_cookies(value) {
                clean.append(header::COOKIE, rest);
            }
            continue;
        }
        clean.append(name.clone(), value.clone());
    }
    for value in headers.get_all(header::CONNECTION) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                clean.remove(name);
            }
        }
    }
    clean
}

fn is_ours(name: &HeaderName, credentials: Credentials) -> bool {
    let name = name.as_str();
    is_credential(name, credentials)
        || is_of_connection(name)
        || is_identity(name)
        || name.contains('_')
        || is_wish(name)
}

fn is_credential(name: &str, credentials: Credentials) -> bool {
    matches!(name, "x-auth-token" | "x-service-token" | "x-subject-token" | "x-storage-token")
        || (name == "authorization" && credentials == Credentials::Ours)
}

/// What callers ask of us (`X-Picasso-Delay`, …), and what the engine tells functions in the same form.
fn is_wish(name: &str) -> bool {
    name.starts_with("x-picasso-")
}

/// Headers of one connection (RFC 9110, 7.6.1), beside those that `Connection` names.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What keystonemiddleware asserts behind a validated token, each also with `X-Service-`; the short
/// forms of its version 2, and headers without the `X-` form.
fn is_identity(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("x-") else { return name == "openstack-system-scope" };
    matches!(
        rest.strip_prefix("service-").unwrap_or(rest),
        "domain-id"
            | "domain-name"
            | "identity-status"
            | "is-admin-project"
            | "project-domain-id"
            | "project-domain-name"
            | "project-id"
            | "project-name"
            | "role"
            | "roles"
            | "user"
            | "user-domain-id"
            | "user-domain-name"
            | "user-id"
            | "user-name"
    ) || matches!(
        rest,
        "service-catalog" | "service-service-catalog" | "tenant" | "tenant-id" | "tenant-name"
    )
}

/// Whether a cookie of that name is ours, also behind the prefixes that browsers know.
pub(crate) fn is_our_cookie(name: &[u8]) -> bool {
    fn behind<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
        let (head, rest) = name.split_at_checked(prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(rest)
    }
    let name = name.trim_ascii_start();
    let name = behind(name, b"__host-").or_else(|| behind(name, b"__secure-")).unwrap_or(name);
    behind(name, COOKIE_PREFIX).is_some()
}

/// A `Cookie` header without cookies of ours; `None` when nothing is left.
fn foreign_cookies(value: &HeaderValue) -> Option<HeaderValue> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let kept: Vec<&str> = text
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty() && !is_our_cookie(pair.as_bytes()))
        .collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join("; ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)], credentials: Credentials) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        cleaned(&headers, credentials)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn everything_that_keystonemiddleware_asserts_is_removed() {
        // Its list of headers: those of the user, the same of the service, and the others.
        let of_both = [
            "Identity-Status",
            "Roles",
            "Domain-Id",
            "Domain-Name",
            "Project-Id",
            "Project-Name",
            "Project-Domain-Id",
            "Project-Domain-Name",
            "User-Id",
            "User-Name",
            "User-Domain-Id",
            "User-Domain-Name",
        ];
        let others = [
            "X-Auth-Token",
            "X-Storage-Token",
            "X-Service-Token",
            "X-Subject-Token",
            "OpenStack-System-Scope",
            "X-Is-Admin-Project",
            "X-Service-Catalog",
            "X-Role",
            "X-User",
            "X-Tenant-Id",
            "X-Tenant-Name",
            "X-Tenant",
        ];
        let mut asserted: Vec<String> = others.map(str::to_owned).to_vec();
        for name in of_both {
            asserted.extend([format!("X-{name}"), format!("X-Service-{name}")]);
        }
        for name in asserted {
            for credentials in [Credentials::Functions, Credentials::Ours] {
                assert!(names(&[(&name, "x")], credentials).is_empty(), "{name} reached the function");
            }
        }
    }

    #[test]
    fn authorization_is_the_functions_where_we_asked_for_no_token() {
        let header = [("Authorization", "Bearer x")];
        assert_eq!(names(&header, Credentials::Functions), ["authorization: Bearer x"]);
        assert!(names(&header, Credentials::Ours).is_empty());
    }

    #[test]
    fn hop_by_hop_headers_and_those_named_by_connection_are_removed() {
        let left = names(
            &[
                ("Connection", "keep-alive, X-Private"),
                ("Connection", "X-Other"),
                ("Keep-Alive", "5"),
                ("X-Private", "1"),
                ("x-other", "2"),
                ("Transfer-Encoding", "chunked"),
                ("TE", "trailers"),
                ("Upgrade", "h2c"),
                ("Accept", "*/*"),
            ],
            Credentials::Functions,
        );
        assert_eq!(left, ["accept: */*"]);
    }

    #[test]
    fn names_with_an_underscore_are_dropped() {
        assert!(names(&[("X_Auth_Token", "x"), ("a_b", "y")], Credentials::Functions).is_empty());
    }

    #[test]
    fn what_callers_ask_of_us_stays_here() {
        let asked = [("X-Picasso-Delay", "5"), ("X-Picasso-Depth", "3"), ("X-Picasso-Anything", "x")];
        assert!(names(&asked, Credentials::Functions).is_empty());
        assert_eq!(names(&[("Idempotency-Key", "k")], Credentials::Ours), ["idempotency-key: k"]);
    }

    #[test]
    fn our_cookies_are_cut_out_and_others_stay() {
        let left = names(
            &[
                ("Cookie", "a=1; picasso_session=secret; b=2; __Host-picasso_session=secret"),
                ("Cookie", "Picasso-token=x"),
            ],
            Credentials::Functions,
        );
        assert_eq!(left, ["cookie: a=1; b=2"]);
    }

    #[test]
    fn repeated_headers_keep_all_their_values() {
        let left = names(&[("X-A", "1"), ("X-A", "2")], Credentials::Functions);
        assert_eq!(left, ["x-a: 1", "x-a: 2"]);
    }
}
