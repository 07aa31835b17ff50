//! Bodies that make and change apps.

use std::collections::BTreeMap;

use picasso_types::{AppName, Bounds, Config, NewApp, ProjectId};
use serde::{Deserialize, Deserializer};

use super::error::IronError;

/// Longest name, bytes.
const MAX_NAME: usize = 30;

#[derive(Debug, Deserialize)]
pub(super) struct AppWrapper {
    pub(super) app: Option<AppBody>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AppBody {
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "entries")]
    pub(super) config: Option<BTreeMap<String, String>>,
}

/// A configuration as Go reads it: `null` is the empty value.
pub(super) fn entries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let entries = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?;
    let filled = |(key, value): (String, Option<String>)| (key, value.unwrap_or_default());
    Ok(entries.map(|entries| entries.into_iter().map(filled).collect()))
}

impl AppWrapper {
    /// The app that is meant.
    pub(super) fn app(self) -> Result<AppBody, IronError> {
        self.app.ok_or_else(|| IronError::bad("Missing new application"))
    }
}

/// An app to be stored; the fault is IronFunctions' list.
pub(super) fn new_app(
    name: &str,
    config: BTreeMap<String, String>,
    bounds: &Bounds,
) -> Result<NewApp, IronError> {
    let made = || {
        let name = checked_name(name)?;
        let config = Config::parse(config, bounds).map_err(|fault| fault.to_string())?;
        NewApp::new(ProjectId::ironfunctions(), name, Some(String::new()), config, bounds)
            .map_err(|fault| fault.to_string())
    };
    made().map_err(|fault| IronError::bad(format!("validation failure list:\n{fault}")))
}

fn checked_name(name: &str) -> Result<AppName, String> {
    if name.is_empty() {
        return Err("Missing app name".to_owned());
    }
    if name.len() > MAX_NAME {
        return Err("App name must be 30 characters or less".to_owned());
    }
    AppName::parse(name).map_err(|_| "Invalid app name".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_null_is_empty_as_go_reads_it() {
        let body: AppBody = serde_json::from_str(r#"{"config":{"A":null,"B":"b"}}"#).unwrap();
        let config = body.config.unwrap();
        assert_eq!((config["A"].as_str(), config["B"].as_str()), ("", "b"));
        assert!(serde_json::from_str::<AppBody>(r#"{"config":null}"#).unwrap().config.is_none());
        assert!(serde_json::from_str::<AppBody>(r#"{"config":{"A":1}}"#).is_err());
    }

    #[test]
    fn a_name_is_letters_digits_dashes_and_underscores() {
        for good in ["a", "AMY", "Z", "my-app_1", &"x".repeat(30)] {
            assert_eq!(checked_name(good).unwrap().as_str(), good);
        }
        for (bad, text) in [
            ("", "Missing app name"),
            ("a b", "Invalid app name"),
            ("~", "Invalid app name"),
            ("[", "Invalid app name"),
            ("ä", "Invalid app name"),
            (&"x".repeat(31), "App name must be 30 characters or less"),
        ] {
            assert_eq!(checked_name(bad).unwrap_err(), text);
        }
    }
}
