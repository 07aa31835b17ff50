//! Route patterns: `/hello`, `/a/b`, `/users/:id`, `/files/*rest`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Longest pattern, bytes (`data-model`: paths ≤ 512 bytes).
pub const MAX_PATTERN_BYTES: usize = 512;

/// Parameters of a matched path, in the order of the pattern.
pub type PathParams = Vec<(String, String)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(String),
    Param(String),
    Rest(String),
}

impl Segment {
    /// Lower is more specific.
    const fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Param(_) => 1,
            Self::Rest(_) => 2,
        }
    }
}

/// A parsed route pattern.
///
/// Segments are literal text, `:name` (one segment) or, last only, `*name` (one or more).
/// Literal segments hold no control characters, `?`, `#`, `%`, `\`, and are not `.` or `..`:
/// paths are compared after percent-decoding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePattern {
    text: String,
    segments: Vec<Segment>,
}

impl RoutePattern {
    /// Parses a pattern; a missing leading slash is added, as the old service did for URLs.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        let fault = |message: String| Err(FieldFault::new("path", message));
        let text = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        if text.len() > MAX_PATTERN_BYTES {
            return fault(format!("is longer than {MAX_PATTERN_BYTES} bytes"));
        }
        let mut segments = Vec::new();
        let mut names = BTreeSet::new();
        if text != "/" {
            let parts: Vec<&str> = text[1..].split('/').collect();
            for (index, part) in parts.iter().enumerate() {
                let segment = match part.as_bytes().first() {
                    None => {
                        return fault(
                            "has an empty segment; write \"/a/b\", without \"//\" or a slash at the end"
                                .into(),
                        );
                    }
                    Some(b':') => Segment::Param(part[1..].to_owned()),
                    Some(b'*') if index + 1 == parts.len() => Segment::Rest(part[1..].to_owned()),
                    Some(b'*') => {
                        return fault("has \"*\" before its end; a wildcard is the last segment".into());
                    }
                    Some(_) => Segment::Literal((*part).to_owned()),
                };
                match &segment {
                    Segment::Literal(literal) if !is_literal(literal) => {
                        return fault(format!(
                            "has the segment {literal:?}; control characters, \"?\", \"#\", \"%\", \"\\\", \".\" and \"..\" are not allowed"
                        ));
                    }
                    Segment::Param(name) | Segment::Rest(name) => {
                        if !is_param_name(name) {
                            return fault(format!(
                                "has the parameter {name:?}; a name is 1 to 32 letters, digits or \"_\", starting with a letter"
                            ));
                        }
                        if !names.insert(name.to_ascii_uppercase()) {
                            return fault(format!("names the parameter {name:?} twice"));
                        }
                    }
                    Segment::Literal(_) => {}
                }
                segments.push(segment);
            }
        }
        Ok(Self { text, segments })
    }

    /// The pattern as text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has neither parameters nor a wildcard.
    pub fn is_literal(&self) -> bool {
        self.segments.iter().all(|s| matches!(s, Segment::Literal(_)))
    }

    /// The same pattern with parameter names blanked: two patterns with equal shapes match
    /// the same paths, so one app cannot hold both for the same methods.
    pub fn shape(&self) -> String {
        if self.segments.is_empty() {
            return "/".to_owned();
        }
        self.segments.iter().fold(String::new(), |mut shape, segment| {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::Param(_) => shape.push(':'),
                Segment::Rest(_) => shape.push('*'),
            }
            shape
        })
    }

    /// Matches a percent-decoded path (`/users/7`); `None` when it does not fit.
    pub fn matches(&self, path: &str) -> Option<PathParams> {
        let rest = path.strip_prefix('/')?;
        if self.segments.is_empty() {
            return rest.is_empty().then(Vec::new);
        }
        let mut params = Vec::new();
        let mut remaining = Some(rest);
        for segment in &self.segments {
            let current = remaining?;
            let (head, tail) = match current.split_once('/') {
                Some((head, tail)) => (head, Some(tail)),
                None => (current, None),
            };
            match segment {
                Segment::Literal(text) if text == head => remaining = tail,
                Segment::Param(name) if !head.is_empty() => {
                    params.push((name.clone(), head.to_owned()));
                    remaining = tail;
                }
                Segment::Rest(name) if !current.is_empty() => {
                    params.push((name.clone(), current.to_owned()));
                    remaining = None;
                }
                _ => return None,
            }
        }
        remaining.is_none().then_some(params)
    }

    /// Orders patterns so that the more specific one comes first: segment by segment a literal
    /// before a parameter before a wildcard, then the longer pattern.
    pub fn by_specificity(&self, other: &Self) -> Ordering {
        let ranks = |p: &Self| p.segments.iter().map(Segment::rank).collect::<Vec<_>>();
        let (mine, theirs) = (ranks(self), ranks(other));
        mine.iter()
            .zip(&theirs)
            .map(|(a, b)| a.cmp(b))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| theirs.len().cmp(&mine.len()))
            .then_with(|| self.text.cmp(&other.text))
    }
}

fn is_literal(text: &str) -> bool {
    text != "."
        && text != ".."
        && !text.chars().any(|c| c.is_control() || matches!(c, '?' | '#' | '%' | '\\'))
}

fn is_param_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphabetic()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RoutePattern {
    type Error = FieldFault;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<RoutePattern> for String {
    fn from(pattern: RoutePattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pattern: &str, path: &str) -> Option<PathParams> {
        RoutePattern::parse(pattern).unwrap().matches(path)
    }

    #[test]
    fn literals_match_exactly() {
        assert_eq!(params("/a/b", "/a/b"), Some(vec![]));
        assert_eq!(params("/a/b", "/a/b/"), None);
        assert_eq!(params("/a/b", "/a"), None);
        assert_eq!(params("/", "/"), Some(vec![]));
        assert_eq!(params("/", "/a"), None);
    }

    #[test]
    fn parameters_and_wildcards_are_captured() {
        assert_eq!(params("/users/:id", "/users/7"), Some(vec![("id".into(), "7".into())]));
        assert_eq!(params("/users/:id", "/users/"), None);
        assert_eq!(params("/files/*rest", "/files/a/b"), Some(vec![("rest".into(), "a/b".into())]));
        assert_eq!(params("/files/*rest", "/files/"), None);
        assert_eq!(params("/files/*rest", "/files"), None);
    }

    #[test]
    fn a_pattern_is_refused_with_the_reason() {
        for bad in ["/a//b", "/a/", "/*x/b", "/:", "/:1", "/a/../b", "/a?b", "/:id/:ID", "/a%2fb"] {
            assert_eq!(RoutePattern::parse(bad).unwrap_err().field, "path", "{bad}");
        }
        assert!(RoutePattern::parse(&format!("/{}", "a".repeat(512))).is_err());
    }

    #[test]
    fn the_leading_slash_is_added() {
        assert_eq!(RoutePattern::parse("hello").unwrap().as_str(), "/hello");
    }
}
