//! The right side of a check: text with values of the target, `%(project_id)s`, as Python's `%`
//! operator fills it in.

use serde_json::{Map, Value};

use super::python;

/// A text with places for values of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(String),
    /// A conversion other than `%(…)s` and `%%`. oslo.policy's would raise, or write the whole target.
    Broken,
}

/// Why a template could not be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// The target has no such value.
    MissingKey,
    /// The text is no template.
    Broken,
}

impl Template {
    /// Takes a text apart; what is wrong with it shows when it is filled in, as in Python.
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (piece, behind) = conversion(after);
            let broken = piece == Piece::Broken;
            pieces.push(piece);
            rest = behind;
            if broken {
                return Self(pieces);
            }
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Self(pieces)
    }

    /// The text with the values of `target`, each through `written`.
    pub(super) fn fill(
        &self,
        target: &Map<String, Value>,
        written: impl Fn(String) -> String,
    ) -> Result<String, Unfilled> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Value(key) => {
                    let value = target.get(key).ok_or(Unfilled::MissingKey)?;
                    text.push_str(&written(python::text(value)));
                }
                Piece::Broken => return Err(Unfilled::Broken),
            }
        }
        Ok(text)
    }
}

/// What follows a `%`, and what comes after it. Parentheses within a key are counted, as in Python.
fn conversion(after: &str) -> (Piece, &str) {
    if let Some(behind) = after.strip_prefix('%') {
        return (Piece::Text("%".to_owned()), behind);
    }
    let Some(key) = after.strip_prefix('(') else { return (Piece::Broken, "") };
    let mut open = 1_usize;
    for (at, byte) in key.bytes().enumerate() {
        match byte {
            b'(' => open += 1,
            b')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return match key[at + 1..].strip_prefix('s') {
                Some(behind) => (Piece::Value(key[..at].to_owned()), behind),
                None => (Piece::Broken, ""),
            };
        }
    }
    (Piece::Broken, "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(text: &str) -> Result<String, Unfilled> {
        let target = json!({"project_id": "p1", "a.b": 3, "on": true, "x(y)": "z"});
        Template::parse(text).fill(target.as_object().unwrap(), |value| value)
    }

    #[test]
    fn values_of_the_target_are_filled_in() {
        for (text, expected) in [
            ("plain", "plain"),
            ("%(project_id)s", "p1"),
            ("a-%(project_id)s-%(a.b)s", "a-p1-3"),
            ("%(on)s", "True"),
            ("100%%", "100%"),
            ("%(x(y))s", "z"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_missing_value_and_a_broken_text_are_told_apart() {
        assert_eq!(filled("%(nothing)s"), Err(Unfilled::MissingKey));
        for broken in ["%", "%s", "%(project_id", "%(project_id)", "%(project_id)d", "50% off"] {
            assert_eq!(filled(broken), Err(Unfilled::Broken), "{broken}");
        }
    }
}
