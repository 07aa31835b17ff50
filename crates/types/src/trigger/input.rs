//! What a function gets instead of an event's data: any JSON, with places that the event fills.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::EventPath;
use crate::fault::FieldFault;

/// Largest template, bytes of JSON.
const MAX_TEMPLATE: usize = 16 * 1024;

/// A JSON value whose strings may have places: `${data.server.id}`, `${subject}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawInput", into = "RawInput")]
pub struct InputTemplate(Value);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    template: Value,
}

/// A string of a template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text that stays.
    Text(&'a str),
    /// A place for what lies at this path.
    Place(EventPath),
}

impl InputTemplate {
    /// Reads `{"template": …}`; faults name the field `input`.
    pub fn parse(value: Value) -> Result<Self, FieldFault> {
        let raw: RawInput =
            serde_json::from_value(value).map_err(|error| FieldFault::new("input", error.to_string()))?;
        Self::try_from(raw)
    }

    /// The template.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// The pieces of a string; the message says what is wrong with a place.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, behind) = (&rest[..at], &rest[at + 2..]);
        let Some(end) = behind.find('}') else {
            return Err("has a \"${\" without its \"}\"".to_owned());
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let path = EventPath::parse(&behind[..end]);
        pieces.push(Piece::Place(path.map_err(|limit| format!("has a place that {limit}"))?));
        rest = &behind[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn check(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => pieces(text).map(|_| ()),
        Value::Array(values) => values.iter().try_for_each(check),
        Value::Object(map) => map.values().try_for_each(check),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

impl TryFrom<RawInput> for InputTemplate {
    type Error = FieldFault;

    fn try_from(raw: RawInput) -> Result<Self, FieldFault> {
        let fault = |message: String| FieldFault::new("input.template", message);
        if raw.template.to_string().len() > MAX_TEMPLATE {
            return Err(fault(format!("must be at most {MAX_TEMPLATE} bytes of JSON")));
        }
        check(&raw.template).map_err(fault)?;
        Ok(Self(raw.template))
    }
}

impl From<InputTemplate> for RawInput {
    fn from(input: InputTemplate) -> Self {
        Self { template: input.0 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_string_is_text_and_places() {
        let place = |path| Piece::Place(EventPath::parse(path).unwrap());
        assert_eq!(pieces("${data.a}").unwrap(), [place("data.a")]);
        assert_eq!(
            pieces("a $x ${subject}-${data}!").unwrap(),
            [Piece::Text("a $x "), place("subject"), Piece::Text("-"), place("data"), Piece::Text("!")]
        );
        assert_eq!(pieces("").unwrap(), []);
    }

    #[test]
    fn a_template_is_bounded_and_its_places_are_checked_when_it_is_saved() {
        let parse = |template| InputTemplate::parse(json!({"template": template}));
        let good = parse(json!({"a": ["${data.x}", 1], "b": "${type}"})).unwrap();
        assert_eq!(InputTemplate::parse(serde_json::to_value(&good).unwrap()).unwrap(), good);
        for wrong in [json!("${data."), json!(["${data..x}"]), json!({"a": "${}"}), json!("x".repeat(17_000))]
        {
            assert_eq!(parse(wrong).unwrap_err().field, "input.template");
        }
        assert_eq!(InputTemplate::parse(json!("x")).unwrap_err().field, "input");
    }
}
