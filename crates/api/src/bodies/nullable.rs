//! Fields that `null` sets back, and their absence leaves as they are.

use serde::{Deserialize, Deserializer};

/// Tells `null` (`Some(None)`) from an absent field (`None`, by `serde(default)`).
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(super) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
