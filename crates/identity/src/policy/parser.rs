//! Text and lists into checks, token by token as oslo.policy's shift-reduce parser does it, so that
//! also its odd corners come out alike.

use serde_json::Value;

use super::check::{Check, Operand};
use super::python;
use super::template::Template;

/// The longest rule that is read, bytes; a longer one is never fulfilled.
pub const MAX_RULE_BYTES: usize = 16 * 1024;
/// How many words may wait for their closing parenthesis or what they negate.
const MAX_OPEN: usize = 64;

/// What a rule in the policy language, or one written as a list of lists, means.
///
/// A text that is not understood becomes [`Check::Never`]; the second value tells then what is
/// wrong. `None` for a value that is neither a text nor a list.
pub fn parse(rule: &Value) -> Option<(Check, Option<String>)> {
    match rule {
        Value::String(text) => Some(parse_text(text)),
        Value::Array(list) => parse_list(list),
        _ => None,
    }
}

/// As [`parse`], of a text.
pub fn parse_text(rule: &str) -> (Check, Option<String>) {
    if rule.len() > MAX_RULE_BYTES {
        return (Check::Never, Some(format!("it is longer than {MAX_RULE_BYTES} bytes")));
    }
    if rule.is_empty() {
        return (Check::Always, None);
    }
    let mut faults = Vec::new();
    let mut stack = Vec::new();
    for word in rule.split(is_python_space).filter(|word| !word.is_empty()) {
        tokens(word, &mut faults, |token| {
            if stack.len() <= MAX_OPEN {
                stack.push(token);
                reduce(&mut stack);
            }
        });
        if stack.len() > MAX_OPEN {
            return (Check::Never, Some("its parts lie too deep in each other".to_owned()));
        }
    }
    let check = match (stack.pop(), stack.is_empty()) {
        (Some(Token::Check(check) | Token::AndExpr(check) | Token::OrExpr(check)), true) => check,
        _ => {
            faults.insert(
                0,
                "its words do not make a rule: look at and, or, not, parentheses and quotes".into(),
            );
            Check::Never
        }
    };
    (check, faults.into_iter().next())
}

/// The outer list is joined by `or`, the inner ones by `and`.
fn parse_list(outer: &[Value]) -> Option<(Check, Option<String>)> {
    if outer.is_empty() {
        return Some((Check::Always, None));
    }
    let mut faults = Vec::new();
    let mut any = Vec::new();
    for inner in outer {
        let words = match inner {
            Value::String(word) => std::slice::from_ref(inner).get(..usize::from(!word.is_empty()))?,
            Value::Array(words) => words,
            _ => return None,
        };
        let mut all = words
            .iter()
            .map(|word| word.as_str().map(|word| single(word, &mut faults)))
            .collect::<Option<Vec<_>>>()?;
        match all.len() {
            0 => {}
            1 => any.append(&mut all),
            _ => any.push(Check::All(all)),
        }
    }
    let check = match any.len() {
        0 => Check::Never,
        1 => any.remove(0),
        _ => Check::Any(any),
    };
    Some((check, faults.into_iter().next()))
}

/// Python's `\s`.
fn is_python_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

enum Token {
    Check(Check),
    AndExpr(Check),
    OrExpr(Check),
    And,
    Or,
    Not,
    Open,
    Close,
    Text,
}

/// The tokens of one word. Parentheses count only at its ends: within it they belong to `%(…)s`.
fn tokens(word: &str, faults: &mut Vec<String>, mut emit: impl FnMut(Token)) {
    let inner = word.trim_start_matches('(');
    for _ in inner.len()..word.len() {
        emit(Token::Open);
    }
    if inner.is_empty() {
        return;
    }
    let clean = inner.trim_end_matches(')');
    let in_quotes = |quote: char| inner.len() >= 2 && inner.starts_with(quote) && inner.ends_with(quote);
    match clean.to_ascii_lowercase().as_str() {
        "" => {}
        "and" => emit(Token::And),
        "or" => emit(Token::Or),
        "not" => emit(Token::Not),
        _ if in_quotes('\'') || in_quotes('"') => emit(Token::Text),
        _ => emit(Token::Check(single(clean, faults))),
    }
    for _ in clean.len()..inner.len() {
        emit(Token::Close);
    }
}

/// One check without `and`, `or`, `not`.
fn single(text: &str, faults: &mut Vec<String>) -> Check {
    match text {
        "!" => return Check::Never,
        "@" => return Check::Always,
        _ => {}
    }
    let Some((kind, matched)) = text.split_once(':') else {
        faults.push(format!("{text:?} is no check: it has no colon"));
        return Check::Never;
    };
    match kind {
        "rule" => Check::Rule(matched.to_owned()),
        "role" => Check::Role(Template::parse(matched)),
        "http" | "https" => Check::Remote(Template::parse(text)),
        _ => {
            let left = match (python::literal(kind), python::attribute(kind)) {
                (Some(literal), _) => Operand::Literal(literal),
                (None, Some(path)) => Operand::Attribute(path),
                (None, None) => {
                    faults.push(format!("{kind:?} is neither a literal nor an attribute"));
                    Operand::Broken
                }
            };
            Check::Compare { left, right: Template::parse(matched) }
        }
    }
}

/// Joins what is on top of the stack as long as something can be joined.
fn reduce(stack: &mut Vec<Token>) {
    while reduce_once(stack) {}
}

fn reduce_once(stack: &mut Vec<Token>) -> bool {
    use Token::{And, AndExpr, Check as One, Close, Not, Open, Or, OrExpr};
    let joined = match stack.as_slice() {
        [.., Open, One(_) | AndExpr(_) | OrExpr(_), Close]
        | [.., One(_) | AndExpr(_) | OrExpr(_), And | Or, One(_)] => 3,
        [.., Not, One(_)] => 2,
        _ => return false,
    };
    let mut top = stack.split_off(stack.len() - joined).into_iter();
    let new = match (top.next(), top.next(), top.next()) {
        (Some(Open), Some(One(check) | AndExpr(check) | OrExpr(check)), _) => One(check),
        (Some(One(first)), Some(And), Some(One(last))) => AndExpr(Check::All(vec![first, last])),
        (Some(AndExpr(first)), Some(And), Some(One(last))) => AndExpr(and(first, last)),
        (Some(OrExpr(Check::Any(mut parts))), Some(And), Some(One(last))) => {
            // `a or b and c`: the last alternative takes it.
            let before = parts.pop();
            parts.push(match before {
                Some(before) => and(before, last),
                None => last,
            });
            OrExpr(Check::Any(parts))
        }
        (Some(OrExpr(Check::Any(mut parts))), Some(Or), Some(One(last))) => {
            parts.push(last);
            OrExpr(Check::Any(parts))
        }
        (Some(One(first) | AndExpr(first)), Some(Or), Some(One(last))) => {
            OrExpr(Check::Any(vec![first, last]))
        }
        (Some(Not), Some(One(check)), None) => One(Check::Not(Box::new(check))),
        // The shapes above are all there are; anything else is no rule.
        _ => One(Check::Never),
    };
    stack.push(new);
    true
}

fn and(first: Check, last: Check) -> Check {
    match first {
        Check::All(mut parts) => {
            parts.push(last);
            Check::All(parts)
        }
        other => Check::All(vec![other, last]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(name: &str) -> Check {
        Check::Rule(name.to_owned())
    }

    fn not(check: Check) -> Check {
        Check::Not(Box::new(check))
    }

    #[test]
    fn and_binds_closer_than_or_and_not_closest() {
        let a_b = || Check::All(vec![rule("a"), rule("b")]);
        for (text, expected) in [
            ("rule:a and rule:b", a_b()),
            (
                "rule:a or rule:b and rule:c",
                Check::Any(vec![rule("a"), Check::All(vec![rule("b"), rule("c")])]),
            ),
            ("rule:a and rule:b or rule:c", Check::Any(vec![a_b(), rule("c")])),
            (
                "(rule:a or rule:b) and rule:c",
                Check::All(vec![Check::Any(vec![rule("a"), rule("b")]), rule("c")]),
            ),
            ("not rule:a and rule:b", Check::All(vec![not(rule("a")), rule("b")])),
            ("NOT (rule:a AND rule:b)", not(a_b())),
            ("not not @", not(not(Check::Always))),
            ("((rule:a))", rule("a")),
        ] {
            assert_eq!(parse_text(text), (expected, None), "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_never_fulfilled_and_says_why() {
        for text in [
            " ",
            "and",
            "rule:a rule:b",
            "(rule:a",
            "rule:a)",
            "rule:a and",
            "'rule:a'",
            "not",
            "()",
            "nocolon",
        ] {
            let (check, fault) = parse_text(text);
            assert_eq!(check, Check::Never, "{text}");
            assert!(fault.is_some(), "{text}");
        }
        let long = format!("rule:{}", "a".repeat(MAX_RULE_BYTES));
        assert!(parse_text(&long).1.unwrap().contains("longer"));
        for deep in ["not ", "(", "(@ and "] {
            let (check, fault) = parse_text(&format!("{}@", deep.repeat(1000)));
            assert_eq!((check, fault.unwrap().contains("too deep")), (Check::Never, true), "{deep}");
        }
    }

    #[test]
    fn lists_are_joined_by_or_and_their_lists_by_and() {
        let parsed = |value| parse(&value).unwrap().0;
        assert_eq!(parsed(json!([])), Check::Always);
        assert_eq!(parsed(json!([[]])), Check::Never);
        assert_eq!(parsed(json!(["rule:a"])), rule("a"));
        assert_eq!(
            parsed(json!([["rule:a", "rule:b"], "rule:c"])),
            Check::Any(vec![Check::All(vec![rule("a"), rule("b")]), rule("c")])
        );
        for neither in [json!(null), json!(1), json!([1]), json!([[1]]), json!({})] {
            assert_eq!(parse(&neither), None, "{neither}");
        }
    }
}
