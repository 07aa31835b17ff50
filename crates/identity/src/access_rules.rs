//! Access rules of application credentials: which requests a token made from one may send.
//!
//! Patterns are read as keystonemiddleware reads them (`{name}` and `*` stand for one or more
//! characters of one segment, `**` for anything), but for its slips: there every other character
//! of a pattern is a piece of a regular expression, and a lone brace is passed over.

use std::mem;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};

/// More rules than this are not looked at: they allow nothing.
const MAX_RULES: usize = 200;
/// Keystone takes patterns of up to 225 characters.
const MAX_PATTERN: usize = 1024;
/// No longer path is held against rules; it fits none.
const MAX_PATH: usize = 2048;

/// What WSGI servers and webob leave as it is in a path; everything else is `%XX` there.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The rules of one application credential; none of them means that nothing is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct AccessRules(Vec<AccessRule>);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AccessRule {
    service: String,
    method: String,
    path: String,
}

impl AccessRules {
    /// Whether one of the rules is for such a request to the service of that type.
    pub(crate) fn allow(&self, service: &str, method: &Method, path: &str) -> bool {
        let path = quoted(path);
        self.0.iter().take(MAX_RULES).any(|rule| {
            rule.method == method.as_str() && rule.service == service && path_matches(&rule.path, &path)
        })
    }
}

/// A path with each byte either plain or `%XX`, whichever way the client wrote it. A quoted slash
/// stays quoted, as it does not end a segment for the router either.
fn quoted(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let bytes: Vec<u8> = percent_decode_str(segment).collect();
        percent_encode(&bytes, QUOTED).to_string().replace('/', "%2F")
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether the whole of `path` fits `pattern`.
///
/// Both are compared as they are; the time is bounded by the product of their lengths.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    if pattern.len() > MAX_PATTERN || path.len() > MAX_PATH {
        return false;
    }
    let path = path.as_bytes();
    // Where the part of the pattern that was read so far may have ended.
    let mut ends = vec![false; path.len() + 1];
    ends[0] = true;
    let mut rest = pattern;
    while !rest.is_empty() {
        let Some((piece, behind)) = next_piece(rest) else { return false };
        rest = behind;
        match piece {
            Piece::Literal(text) => ends = after_literal(&ends, text.as_bytes(), path),
            Piece::Segment => {
                let mut inside = false;
                for (at, end) in ends.iter_mut().enumerate() {
                    let starts = mem::replace(end, inside);
                    inside = (inside || starts) && path.get(at).is_some_and(|byte| *byte != b'/');
                }
            }
            Piece::Anything => {
                let first = ends.iter().position(|end| *end).unwrap_or(ends.len());
                ends[first..].fill(true);
            }
        }
        if !ends.contains(&true) {
            return false;
        }
    }
    ends[path.len()]
}

enum Piece<'a> {
    Literal(&'a str),
    Segment,
    Anything,
}

/// The first piece of a pattern and what follows it; `None` where a brace has no partner.
fn next_piece(pattern: &str) -> Option<(Piece<'_>, &str)> {
    if let Some(tag) = pattern.strip_prefix('{') {
        return tag.split_once('}').map(|(_, behind)| (Piece::Segment, behind));
    }
    if let Some(behind) = pattern.strip_prefix("**") {
        return Some((Piece::Anything, behind));
    }
    if let Some(behind) = pattern.strip_prefix('*') {
        return Some((Piece::Segment, behind));
    }
    let length = pattern.find(['{', '}', '*']).unwrap_or(pattern.len());
    (length > 0).then(|| (Piece::Literal(&pattern[..length]), &pattern[length..]))
}

fn after_literal(ends: &[bool], literal: &[u8], path: &[u8]) -> Vec<bool> {
    let mut after = vec![false; ends.len()];
    for (at, _) in ends.iter().enumerate().filter(|(_, end)| **end) {
        if path[at..].starts_with(literal) {
            after[at + literal.len()] = true;
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_stand_for_what_keystonemiddleware_takes_them_for() {
        for (pattern, path, fits) in [
            ("/v1/p/apps", "/v1/p/apps", true),
            ("/v1/p/apps", "/v1/p/apps/", false),
            ("/v1/p/apps", "/v1/p/app", false),
            ("/v1/p/apps", "/x/v1/p/apps", false),
            ("/v1/*/apps", "/v1/p/apps", true),
            ("/v1/*/apps", "/v1//apps", false),
            ("/v1/*/apps", "/v1/p/q/apps", false),
            ("/v1/{project_id}/apps", "/v1/p/apps", true),
            ("/v1/{project_id}/apps", "/v1/apps", false),
            ("/v1/{}/apps/{a b/c}", "/v1/p/apps/x", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v1/p/apps/a/routes/b", true),
            ("/v1/**", "/v1", false),
            ("/v1/**/routes", "/v1/p/apps/a/routes", true),
            ("/v1/**/routes", "/v1//routes", true),
            ("**", "", true),
            ("*", "", false),
            ("/v1/p/ap*", "/v1/p/apps", true),
            ("/v1/p/ap*", "/v1/p/ap", false),
            ("/v1/p/*s", "/v1/p/apps", true),
            ("/***", "/a/b", true),
            ("/***", "/", false),
            ("/a*b*c", "/aXbYbZc", true),
            ("", "", true),
            ("", "/", false),
        ] {
            assert_eq!(path_matches(pattern, path), fits, "{pattern:?} {path:?}");
        }
    }

    #[test]
    fn what_means_something_in_regular_expressions_means_itself() {
        assert!(!path_matches("/v1/p/a.c", "/v1/p/abc"));
        assert!(path_matches("/v1/p/a.c", "/v1/p/a.c"));
        assert!(!path_matches("/v1/(p|q)", "/v1/p"));
        assert!(!path_matches("/v1/x?", "/v1/"));
        assert!(!path_matches("/v1|/.+", "/v1"));
    }

    #[test]
    fn a_lone_brace_fits_nothing() {
        for pattern in ["/v1/{p", "/v1/p}", "/v1/}", "{", "/v1/{a}}"] {
            for path in ["/v1/p", "/v1/", "/v1/{p", "/v1/p}", "/v1/a"] {
                assert!(!path_matches(pattern, path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn a_path_is_the_same_however_it_is_quoted_but_for_slashes() {
        assert_eq!(quoted("/v1/a%70%70s"), "/v1/apps");
        assert_eq!(quoted("/v1/a%2fb/%2A"), "/v1/a%2Fb/*");
        assert_eq!(quoted("/v1/ü ?"), "/v1/%C3%BC%20%3F");
        assert_eq!(quoted("/v1/%zz%"), "/v1/%25zz%25");
        assert_eq!(quoted("//a//"), "//a//");
    }

    #[test]
    fn service_method_and_path_must_all_fit_one_rule() {
        let rules: AccessRules = serde_json::from_value(json!([
            {"id": "1", "service": "functions", "method": "POST", "path": "/v1/*/apps"},
            {"id": "2", "service": "functions", "method": "GET", "path": "/v1/**"},
            {"id": "3", "service": "compute", "method": "DELETE", "path": "**"},
        ]))
        .unwrap();
        assert!(rules.allow("functions", &Method::POST, "/v1/p/apps"));
        assert!(rules.allow("functions", &Method::GET, "/v1/p/apps/a"));
        assert!(!rules.allow("functions", &Method::HEAD, "/v1/p/apps/a"));
        assert!(!rules.allow("functions", &Method::DELETE, "/v1/p/apps/a"));
        assert!(!rules.allow("functions", &Method::POST, "/v1/p%2Fq/apps/x"));
        let nothing: AccessRules = serde_json::from_value(json!([])).unwrap();
        assert!(!nothing.allow("functions", &Method::GET, "/v1"));
    }

    #[test]
    fn rules_behind_the_limit_and_endless_paths_allow_nothing() {
        let rule = |path: &str| AccessRule {
            service: "functions".to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
        };
        let mut rules = vec![rule("/no"); MAX_RULES];
        rules.push(rule("/yes"));
        assert!(!AccessRules(rules.clone()).allow("functions", &Method::GET, "/yes"));
        rules.remove(0);
        assert!(AccessRules(rules).allow("functions", &Method::GET, "/yes"));
        assert!(!path_matches("**", &"/".repeat(MAX_PATH + 1)));
    }
}
