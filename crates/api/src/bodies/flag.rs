//! A boolean that old clients send as a string.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// `true`, `false`, or the same as a JSON string in any case: python-picassoclient sends
/// `"is_public": "true"`, scripts built on Python's `str()` send `"True"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false, also as a string")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Flag, E> {
        Ok(Flag(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Flag, E> {
        if value.eq_ignore_ascii_case("true") {
            Ok(Flag(true))
        } else if value.eq_ignore_ascii_case("false") {
            Ok(Flag(false))
        } else {
            Err(E::invalid_value(de::Unexpected::Str(value), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_and_their_strings_are_taken_and_nothing_else() {
        for (text, value) in [("true", true), ("false", false), ("\"true\"", true), ("\"False\"", false)] {
            assert_eq!(serde_json::from_str::<Flag>(text).unwrap(), Flag(value), "{text}");
        }
        for bad in ["\"yes\"", "1", "null", "\"\"", "[]"] {
            assert!(serde_json::from_str::<Flag>(bad).is_err(), "{bad}");
        }
    }
}
