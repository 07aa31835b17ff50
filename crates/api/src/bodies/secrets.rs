//! Secrets in bodies that make and change apps and routes.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Secrets by name. On a change they are merged; null or the value `""` deletes one.
pub(crate) type SecretFields = BTreeMap<String, SecretField>;

/// One secret: its value, or an object that also says how the function gets it.
#[derive(Debug)]
pub(crate) enum SecretField {
    /// The value; the secret is an environment variable, or what it was before.
    Value(SecretText),
    /// The value and how the function gets it.
    Full(SecretValue),
    /// None: the secret is deleted.
    Nothing,
}

/// A secret with how its function gets it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretValue {
    /// The value; it is never shown again.
    #[schema(value_type = String)]
    value: SecretText,
    /// `env` (default): an environment variable; `file`: a file in `/run/secrets`.
    #[schema(example = "env")]
    r#as: Option<String>,
}

/// A text that is not shown.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(transparent)]
pub(crate) struct SecretText(pub(crate) String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or an object with \"value\" and \"as\"")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<SecretField, E> {
        Ok(SecretField::Value(SecretText(value.to_owned())))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<SecretField, E> {
        Ok(SecretField::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretField, A::Error> {
        SecretValue::deserialize(MapAccessDeserializer::new(map)).map(SecretField::Full)
    }
}

impl PartialSchema for SecretField {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::String))
            .item(SecretValue::schema())
            .item(ObjectBuilder::new().schema_type(Type::Null))
            .into()
    }
}

impl ToSchema for SecretField {}

impl SecretField {
    /// The value, and the word for how the function gets it; `None`: it is to be deleted.
    pub(crate) fn into_parts(self) -> Option<(String, Option<String>)> {
        match self {
            Self::Value(value) => Some((value.0, None)),
            Self::Full(full) => Some((full.value.0, full.r#as)),
            Self::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_string_or_an_object_and_debug_output_shows_neither() {
        let text = r#"{"A":"hidden-1","B":{"value":"hidden-2","as":"file"},"C":null}"#;
        let fields: SecretFields = serde_json::from_str(text).unwrap();
        assert!(!format!("{fields:?}").contains("hidden"));
        let parts: Vec<_> = fields.into_values().map(SecretField::into_parts).collect();
        let expected = [
            Some(("hidden-1".to_owned(), None)),
            Some(("hidden-2".to_owned(), Some("file".to_owned()))),
            None,
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for bad in [r#"{"A":{"value":"hidden","odd":1}}"#, r#"{"A":["hidden"]}"#, r#"{"A":{"as":"hidden"}}"#]
        {
            let error = serde_json::from_str::<SecretFields>(bad).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
