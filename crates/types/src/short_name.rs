//! Names that people choose for what belongs to one of their routes or projects: aliases, triggers.

use crate::fault::FieldFault;

/// Longest such name, bytes.
const MAX: usize = 63;

/// A type of its own for the names of one kind of thing. They all obey one rule, [`check`].
macro_rules! short_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Parses a name; the fault names the field `name`.
            pub fn parse(text: &str) -> Result<Self, $crate::fault::FieldFault> {
                $crate::short_name::check(text).map(|()| Self(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use short_name;

/// A lower-case letter, then lower-case letters, digits, `-` or `_`, 63 in all: never a number, and never
/// an id of ours, which begins with a digit.
pub(crate) fn check(text: &str) -> Result<(), FieldFault> {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let begins_well = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if begins_well && text.len() <= MAX && text.bytes().all(inside) {
        return Ok(());
    }
    let limit = "must be a lower-case letter and then up to 62 lower-case letters, digits, \"-\" or \"_\"";
    Err(FieldFault::new("name", limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TriggerId;

    #[test]
    fn a_name_is_never_a_number_or_an_id_and_has_few_characters() {
        for good in ["live", "a", "v2", "blue-green_3", &"x".repeat(63)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "12", "-a", "_a", "Live", "a.b", "a/b", "a@b", "ä", "a b", &"x".repeat(64)] {
            assert_eq!(check(bad).unwrap_err().field, "name", "{bad}");
        }
        assert!(check(TriggerId::generate().as_str()).is_err());
    }
}
