//! Whether a rule holds for a target and credentials.
//!
//! Pure: what a policy server answers is handed in. Where an answer is needed that is not there yet,
//! evaluation stops and names the URL, so that only what really decides is asked.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::check::{Check, Operand};
use super::python;
use super::rules::RuleSet;
use super::template::{Template, Unfilled};

/// How deep rules and their parts may lie in each other; rules that refer to each other in a circle
/// end here.
const MAX_DEPTH: usize = 100;

/// What stays as it is in a value within a URL (RFC 3986, unreserved).
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The attributes of what the request is about.
    pub target: &'a Map<String, Value>,
    /// The attributes of who asks; `roles` is a list.
    pub credentials: &'a Map<String, Value>,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// The target lacks a value; a rule that refers to this one takes it for a no.
    MissingKey,
    /// The rule cannot be evaluated: a fault of whoever wrote it. Never a yes.
    Broken(&'static str),
    /// A policy server has to be asked first: its URL.
    Ask(String),
}

impl From<Unfilled> for Halt {
    fn from(unfilled: Unfilled) -> Self {
        match unfilled {
            Unfilled::MissingKey => Self::MissingKey,
            Unfilled::Broken => Self::Broken("a text with % is neither %(name)s nor %%"),
        }
    }
}

/// Whether `check` holds. `answers` is what policy servers said, by URL.
pub fn evaluate(
    check: &Check,
    rules: &RuleSet,
    question: Question<'_>,
    answers: &BTreeMap<String, bool>,
) -> Result<bool, Halt> {
    Evaluation { rules, question, answers }.holds(check, 0)
}

struct Evaluation<'a> {
    rules: &'a RuleSet,
    question: Question<'a>,
    answers: &'a BTreeMap<String, bool>,
}

impl Evaluation<'_> {
    fn holds(&self, check: &Check, depth: usize) -> Result<bool, Halt> {
        if depth > MAX_DEPTH {
            return Err(Halt::Broken("rules refer to each other in a circle, or lie too deep in each other"));
        }
        let inner = |check| self.holds(check, depth + 1);
        match check {
            Check::Always => Ok(true),
            Check::Never => Ok(false),
            Check::Not(check) => inner(check).map(|holds| !holds),
            Check::All(parts) => {
                for part in parts {
                    if !inner(part)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Check::Any(parts) => {
                for part in parts {
                    if inner(part)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Check::Rule(name) => match self.rules.check(name).map(inner) {
                None | Some(Err(Halt::MissingKey)) => Ok(false),
                Some(verdict) => verdict,
            },
            Check::Role(role) => self.has_role(role),
            Check::Remote(url) => {
                let encoded = |value: String| utf8_percent_encode(&value, IN_URL).to_string();
                let url = url.fill(self.question.target, encoded)?;
                self.answers.get(&url).copied().ok_or(Halt::Ask(url))
            }
            Check::Compare { left, right } => self.compare(left, right),
        }
    }

    fn has_role(&self, role: &Template) -> Result<bool, Halt> {
        let wanted = match role.fill(self.question.target, |value| value) {
            Ok(role) => role.to_lowercase(),
            Err(Unfilled::MissingKey) => return Ok(false),
            Err(broken) => return Err(broken.into()),
        };
        let Some(roles) = self.question.credentials.get("roles") else { return Ok(false) };
        let roles = roles.as_array().ok_or(Halt::Broken("the roles of the credentials are no list"))?;
        let mut found = false;
        for role in roles {
            let role = role.as_str().ok_or(Halt::Broken("a role of the credentials is no text"))?;
            found |= role.to_lowercase() == wanted;
        }
        Ok(found)
    }

    fn compare(&self, left: &Operand, right: &Template) -> Result<bool, Halt> {
        let wanted = match right.fill(self.question.target, |value| value) {
            Ok(text) => text,
            Err(Unfilled::MissingKey) => return Ok(false),
            Err(broken) => return Err(broken.into()),
        };
        match left {
            Operand::Literal(literal) => Ok(*literal == wanted),
            Operand::Attribute(path) => match path.split_first() {
                Some((first, rest)) => match self.question.credentials.get(first) {
                    None => Ok(false),
                    Some(value) => in_member(value, rest, &wanted),
                },
                None => Err(Halt::Broken("an attribute has no name")),
            },
            Operand::Broken => Err(Halt::Broken("the left side of a check is neither literal nor attribute")),
        }
    }
}

/// What was found under a name: of a list each item is looked at.
fn in_member(value: &Value, path: &[String], wanted: &str) -> Result<bool, Halt> {
    match value {
        Value::Array(items) => {
            for item in items {
                if in_value(item, path, wanted)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => in_value(other, path, wanted),
    }
}

fn in_value(value: &Value, path: &[String], wanted: &str) -> Result<bool, Halt> {
    let Some((first, rest)) = path.split_first() else { return Ok(python::text(value) == wanted) };
    match value {
        Value::Object(map) => match map.get(first) {
            None => Ok(false),
            Some(member) => in_member(member, rest, wanted),
        },
        _ => Err(Halt::Broken("an attribute is looked for in a value that has none")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::parser::parse_text;

    fn verdict(rule: &str) -> Result<bool, Halt> {
        let rules = RuleSet::of([
            ("owner", "project_id:%(project_id)s"),
            ("circle", "rule:round"),
            ("round", "rule:circle"),
            ("lacking", "http://localhost/%(nothing)s"),
            ("default", "role:fallback"),
        ]);
        let target = json!({"project_id": "p1", "role": "Member", "a/b": "x y/ü"});
        let credentials = json!({
            "project_id": "p1", "roles": ["Admin", "member", "fallback"],
            "user": {"domain": {"id": "d"}, "groups": [{"id": "g1"}, {"id": "g2"}]}, "flags": ["x", 1],
        });
        let question =
            Question { target: target.as_object().unwrap(), credentials: credentials.as_object().unwrap() };
        evaluate(&parse_text(rule).0, &rules, question, &BTreeMap::new())
    }

    #[test]
    fn rules_that_hold() {
        for rule in [
            "",
            "@",
            "role:ADMIN",
            "role:%(role)s",
            "rule:owner",
            "rule:no_such_rule",
            "not role:other",
            "'p1':%(project_id)s",
            "user.domain.id:d",
            "user.groups.id:g2",
            "flags:1",
            "role:other or role:admin and rule:owner",
        ] {
            assert_eq!(verdict(rule), Ok(true), "{rule}");
        }
    }

    #[test]
    fn rules_that_do_not_hold() {
        for rule in [
            "!",
            "not @",
            "role:%(nothing)s",
            "unknown:p1",
            "user.unknown.id:d",
            "user.groups.id:g3",
            "'p2':%(project_id)s",
            "rule:lacking",
            "project_id:%(nothing)s",
        ] {
            assert_eq!(verdict(rule), Ok(false), "{rule}");
        }
    }

    #[test]
    fn a_fault_is_never_a_yes_not_even_negated() {
        for rule in ["rule:circle", "not rule:circle", "not project_id:%s", "not 1a:b", "not project_id.id:d"]
        {
            assert!(matches!(verdict(rule), Err(Halt::Broken(_))), "{rule}");
        }
    }

    #[test]
    fn values_in_a_url_are_encoded_and_only_what_decides_is_asked() {
        assert_eq!(
            verdict("http://localhost/check?x=%(a/b)s"),
            Err(Halt::Ask("http://localhost/check?x=x%20y%2F%C3%BC".to_owned()))
        );
        assert_eq!(verdict("@ or http://localhost/"), Ok(true));
        assert_eq!(verdict("! and http://localhost/"), Ok(false));
        assert_eq!(verdict("http://localhost/%(nothing)s"), Err(Halt::MissingKey));
    }
}
