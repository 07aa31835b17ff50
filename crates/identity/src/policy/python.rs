//! Values as Python writes them: oslo.policy compares texts that `str()` and `repr()` made.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Python's `str(value)`.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => representation(other),
    }
}

/// Python's `repr(value)`.
fn representation(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number_text(number),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(representation).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let items: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(key), representation(value)))
                .collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// The shortest digits that give the number back; an exponent below 1e-4 and from 1e16 on.
pub(super) fn float_text(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// A text in quotes, in single ones unless it holds those and no double ones.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char == quote => {
                out.push('\\');
                out.push(char);
            }
            char if u32::from(char) < 0x20 || (0x7f..=0xa0).contains(&u32::from(char)) => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\x{:02x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push(quote);
    out
}

/// Words of Python that no attribute can have as its name: an expression with one of them does not
/// parse.
const KEYWORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not",
    "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// What `ast.literal_eval` makes of the left side of a check, as far as rules have it: the text of
/// a string, a number, `True`, `False` or `None`.
pub(super) fn literal(text: &str) -> Option<String> {
    if matches!(text, "True" | "False" | "None") {
        return Some(text.to_owned());
    }
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return (!inner.contains([quote, '\\'])).then(|| inner.to_owned());
        }
    }
    number(text)
}

fn number(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let is_decimal = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal(digits) {
        // `007` is no number of Python's, but `000` is.
        let trimmed = digits.trim_start_matches('0');
        return match trimmed {
            "" => Some("0".to_owned()),
            _ if trimmed.len() == digits.len() => Some(format!("{sign}{digits}")),
            _ => None,
        };
    }
    let (whole, fraction) = digits.split_once('.')?;
    let decimal = |part: &str| part.is_empty() || is_decimal(part);
    let is_float = decimal(whole) && decimal(fraction) && !(whole.is_empty() && fraction.is_empty());
    is_float.then(|| text.parse().ok().map(float_text))?
}

/// The path of an attribute: words that are names to Python, between dots; hyphens may join them, as
/// Python takes `a-b` for a difference, whose text is then the key.
pub(super) fn attribute(text: &str) -> Option<Vec<String>> {
    let is_name = |word: &str| {
        word.chars().next().is_some_and(|first| first == '_' || first.is_alphabetic())
            && word.chars().all(|char| char == '_' || char.is_alphanumeric())
            && !KEYWORDS.contains(&word)
    };
    let is_named = text.split(['.', '-']).all(is_name);
    is_named.then(|| text.split('.').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_python_writes_them() {
        for (value, expected) in [
            (json!("a"), "a"),
            (json!(true), "True"),
            (json!(null), "None"),
            (json!(7), "7"),
            (json!(1.0), "1.0"),
            (json!(1e16), "1e+16"),
            (json!(1.5e-5), "1.5e-05"),
            (json!(123_456.75), "123456.75"),
            (json!(["a", 1, "it's"]), "['a', 1, \"it's\"]"),
            (json!({"a": [false]}), "{'a': [False]}"),
            (json!(["\n\u{1}"]), "['\\n\\x01']"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn literals_and_attributes_are_told_apart() {
        for (text, expected) in [
            ("'a'", Some("a")),
            ("\"a\"", Some("a")),
            ("''", Some("")),
            ("True", Some("True")),
            ("12", Some("12")),
            ("-1", Some("-1")),
            ("00", Some("0")),
            ("-0", Some("0")),
            ("1.50", Some("1.5")),
            ("1.", Some("1.0")),
            ("012", None),
            ("'a", None),
            ("'", None),
            ("project_id", None),
        ] {
            assert_eq!(literal(text).as_deref(), expected, "{text}");
        }
        assert_eq!(attribute("user.domain.id").unwrap(), ["user", "domain", "id"]);
        assert_eq!(attribute("project-id").unwrap(), ["project-id"]);
        for broken in ["", "a..b", "1a", "a b", "user.is", ".a", "'a"] {
            assert_eq!(attribute(broken), None, "{broken}");
        }
    }
}
