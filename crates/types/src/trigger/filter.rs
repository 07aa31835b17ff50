//! Which events a trigger takes: conditions that must all hold.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::EventPath;
use crate::fault::FieldFault;

/// Most conditions of a filter.
const MAX_CONDITIONS: usize = 16;
/// Most values of `one_of`.
const MAX_VALUES: usize = 64;
/// Longest text of a condition, bytes.
const MAX_TEXT: usize = 512;

/// Conditions that must all hold; none lets every event through.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<RawCondition>", into = "Vec<RawCondition>")]
pub struct Filter(Vec<Condition>);

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What it looks at.
    pub field: EventPath,
    /// What must be so.
    pub test: Test,
}

/// What must be so of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It is this text, number, boolean or null.
    Equals(Value),
    /// It is not this one, or not there.
    NotEquals(Value),
    /// It is a text that this pattern matches: `*` is any text, `?` any character.
    Glob(String),
    /// It is a text that begins so.
    Prefix(String),
    /// It is a text that ends so.
    Suffix(String),
    /// It is one of these.
    OneOf(Vec<Value>),
    /// It is there, or it is not.
    Exists(bool),
    /// It is a number, and not below this one.
    AtLeast(f64),
    /// It is a number, and not above this one.
    AtMost(f64),
}

impl Filter {
    /// Reads a filter as people write it; faults name the field below `filter`.
    pub fn parse(value: Value) -> Result<Self, FieldFault> {
        let raw: Vec<RawCondition> = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { "filter".to_owned() } else { format!("filter{path}") };
            FieldFault::new(field, error.into_inner().to_string())
        })?;
        Self::try_from(raw)
    }

    /// Its conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }
}

/// A condition as people write it and as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCondition {
    field: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    equals: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    not_equals: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    glob: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
}

/// `null` is a value to compare with, not an absent one.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl TryFrom<Vec<RawCondition>> for Filter {
    type Error = FieldFault;

    fn try_from(raw: Vec<RawCondition>) -> Result<Self, FieldFault> {
        if raw.len() > MAX_CONDITIONS {
            let limit = format!("must have at most {MAX_CONDITIONS} conditions");
            return Err(FieldFault::new("filter", limit));
        }
        let conditions = raw.into_iter().enumerate().map(|(at, raw)| {
            raw.checked().map_err(|message| FieldFault::new(format!("filter[{at}]"), message))
        });
        conditions.collect::<Result<_, _>>().map(Self)
    }
}

impl From<Filter> for Vec<RawCondition> {
    fn from(filter: Filter) -> Self {
        filter.0.into_iter().map(RawCondition::from).collect()
    }
}

impl RawCondition {
    fn checked(self) -> Result<Condition, String> {
        let field = EventPath::parse(&self.field).map_err(|limit| format!("field {limit}"))?;
        let tests = [
            self.equals.map(Test::Equals),
            self.not_equals.map(Test::NotEquals),
            self.glob.map(Test::Glob),
            self.prefix.map(Test::Prefix),
            self.suffix.map(Test::Suffix),
            self.one_of.map(Test::OneOf),
            self.exists.map(Test::Exists),
            self.at_least.map(Test::AtLeast),
            self.at_most.map(Test::AtMost),
        ];
        let mut tests = tests.into_iter().flatten();
        let (Some(test), None) = (tests.next(), tests.next()) else {
            return Err(
                "must have exactly one of equals, not_equals, glob, prefix, suffix, one_of, exists, \
                        at_least and at_most"
                    .to_owned(),
            );
        };
        test.check()?;
        Ok(Condition { field, test })
    }
}

impl Test {
    fn check(&self) -> Result<(), String> {
        let texts_fit = |value: &Value| match value {
            Value::Array(_) | Value::Object(_) => false,
            Value::String(text) => text.len() <= MAX_TEXT,
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
        };
        let fits = match self {
            Self::Equals(value) | Self::NotEquals(value) => texts_fit(value),
            Self::Glob(text) | Self::Prefix(text) | Self::Suffix(text) => text.len() <= MAX_TEXT,
            Self::OneOf(values) => (1..=MAX_VALUES).contains(&values.len()) && values.iter().all(texts_fit),
            Self::Exists(_) | Self::AtLeast(_) | Self::AtMost(_) => true,
        };
        if fits {
            return Ok(());
        }
        Err(format!(
            "must compare with texts of up to {MAX_TEXT} bytes, numbers, booleans or null; one_of with 1 to \
             {MAX_VALUES} of them"
        ))
    }
}

impl From<Condition> for RawCondition {
    fn from(Condition { field, test }: Condition) -> Self {
        let mut raw = Self {
            field: field.as_str().to_owned(),
            equals: None,
            not_equals: None,
            glob: None,
            prefix: None,
            suffix: None,
            one_of: None,
            exists: None,
            at_least: None,
            at_most: None,
        };
        match test {
            Test::Equals(value) => raw.equals = Some(value),
            Test::NotEquals(value) => raw.not_equals = Some(value),
            Test::Glob(text) => raw.glob = Some(text),
            Test::Prefix(text) => raw.prefix = Some(text),
            Test::Suffix(text) => raw.suffix = Some(text),
            Test::OneOf(values) => raw.one_of = Some(values),
            Test::Exists(wanted) => raw.exists = Some(wanted),
            Test::AtLeast(bound) => raw.at_least = Some(bound),
            Test::AtMost(bound) => raw.at_most = Some(bound),
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_comes_back_as_it_was_written() {
        let written = json!([
            {"field": "type", "glob": "compute.*"},
            {"field": "data.payload.state", "equals": null},
            {"field": "data.size", "at_least": 10.5},
            {"field": "subject", "one_of": ["a", 1, true]},
            {"field": "data.x", "exists": false},
        ]);
        let filter = Filter::parse(written.clone()).unwrap();
        assert_eq!(filter.conditions().len(), 5);
        assert_eq!(serde_json::to_value(&filter).unwrap(), written);
        assert_eq!(Filter::parse(json!([])).unwrap(), Filter::default());
    }

    #[test]
    fn a_refused_filter_names_its_condition() {
        let many = Value::Array(vec![json!({"field": "type", "prefix": "a"}); 17]);
        for (wrong, field) in [
            (json!({}), "filter"),
            (many, "filter"),
            (json!([{"field": "type"}]), "filter[0]"),
            (json!([{"field": "type", "glob": "*", "prefix": "a"}]), "filter[0]"),
            (json!([{"field": "type", "prefix": "a"}, {"field": "nope!", "prefix": "a"}]), "filter[1]"),
            (json!([{"field": "type", "equals": [1]}]), "filter[0]"),
            (json!([{"field": "type", "one_of": []}]), "filter[0]"),
            (json!([{"field": "type", "glob": "x".repeat(513)}]), "filter[0]"),
            (json!([{"field": "type", "like": "x"}]), "filter[0].like"),
        ] {
            assert_eq!(Filter::parse(wrong.clone()).unwrap_err().field, field, "{wrong}");
        }
    }
}
