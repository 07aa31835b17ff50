//! Apps: a named group of routes with a configuration of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::clock::Timestamp;
use crate::cors::CorsRules;
use crate::fault::FieldFault;
use crate::ids::{AppId, ProjectId};
use crate::name::{AppName, FullName};
use crate::secrets::Secrets;

/// Configuration handed to a function as environment variables.
///
/// Keys are 1 to 128 of letters, digits, `_`, `-`, `.`, starting with a letter or `_`; values
/// hold no NUL byte. Both because they become environment variables (POSIX.1-2017, chapter 8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// Checks `entries` against the operator's bounds; faults name `config` or `config.KEY`.
    pub fn parse(entries: BTreeMap<String, String>, bounds: &Bounds) -> Result<Self, FieldFault> {
        for (key, value) in &entries {
            if !is_key(key) {
                let shown: String = key.chars().take(40).collect();
                return Err(FieldFault::new(
                    "config",
                    format!(
                        "has the key {shown:?}; a key is 1 to 128 letters, digits, \"_\", \"-\" or \".\", starting with a letter or \"_\""
                    ),
                ));
            }
            if value.contains('\0') {
                return Err(FieldFault::new(format!("config.{key}"), "must not contain a NUL byte"));
            }
        }
        if entries.len() > bounds.max_config_entries as usize {
            return Err(FieldFault::new(
                "config",
                format!("has more than {} entries", bounds.max_config_entries),
            ));
        }
        let bytes: usize = entries.iter().map(|(k, v)| k.len() + v.len()).sum();
        if bytes > bounds.max_config_bytes as usize {
            return Err(FieldFault::new(
                "config",
                format!("is larger than {} bytes", bounds.max_config_bytes),
            ));
        }
        Ok(Self(entries))
    }

    /// The entries, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Merges `change` into this configuration: a value replaces, `""` deletes the key
    /// (IronFunctions' PATCH rule, kept by Picasso's PUT). The result is checked again.
    pub fn merged(&self, change: &BTreeMap<String, String>, bounds: &Bounds) -> Result<Self, FieldFault> {
        let mut entries = self.0.clone();
        for (key, value) in change {
            if value.is_empty() {
                entries.remove(key);
            } else {
                entries.insert(key.clone(), value.clone());
            }
        }
        Self::parse(entries, bounds)
    }

    /// This configuration with `over` on top, as a function sees app and route configuration.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let mut entries = self.0.clone();
        entries.extend(over.0.clone());
        Self(entries)
    }
}

fn is_key(key: &str) -> bool {
    let bytes = key.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// An app as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// The project that owns it.
    pub project_id: ProjectId,
    /// The name its creator chose; unique within the project.
    pub short_name: AppName,
    /// The name clients use; unique over all projects.
    pub full_name: FullName,
    /// Free text.
    pub description: String,
    /// Configuration of all its routes.
    pub config: Config,
    /// Secrets of all its routes.
    pub secrets: Secrets,
    /// Which pages of other origins may call its public functions; `None`: none.
    pub cors: Option<CorsRules>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What is needed to make an app; the store picks full name and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApp {
    /// Its id, which its secrets are sealed for.
    pub id: AppId,
    /// The owning project.
    pub project_id: ProjectId,
    /// The name its creator chose.
    pub short_name: AppName,
    /// Free text, or `App for project {project_id}` where the creator gave none.
    pub description: String,
    /// Its configuration.
    pub config: Config,
    /// Its secrets.
    pub secrets: Secrets,
    /// Which pages of other origins may call its public functions.
    pub cors: Option<CorsRules>,
}

impl NewApp {
    /// Builds a new app without secrets; an absent description becomes the old service's default.
    pub fn new(
        project_id: ProjectId,
        short_name: AppName,
        description: Option<String>,
        config: Config,
        bounds: &Bounds,
    ) -> Result<Self, FieldFault> {
        let description = match description {
            Some(text) => checked_description(text, bounds)?,
            None => format!("App for project {project_id}"),
        };
        Ok(Self {
            id: AppId::generate(),
            project_id,
            short_name,
            description,
            config,
            secrets: Secrets::default(),
            cors: None,
        })
    }
}

/// A change of an app: everything that can change as it is afterwards, already merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppChange {
    /// The configuration after the change.
    pub config: Config,
    /// The secrets after the change.
    pub secrets: Secrets,
    /// The rules for pages of other origins after the change.
    pub cors: Option<CorsRules>,
    /// The description after the change.
    pub description: String,
    /// The app that the change was made for, where it must not have become another one since.
    pub expected: Option<Box<App>>,
}

impl AppChange {
    /// Applies a PUT body to `app`: `config` merges, an absent field stays; so does all else.
    pub fn of(
        app: &App,
        config: Option<&BTreeMap<String, String>>,
        description: Option<String>,
        bounds: &Bounds,
    ) -> Result<Self, FieldFault> {
        Ok(Self {
            config: match config {
                Some(change) => app.config.merged(change, bounds)?,
                None => app.config.clone(),
            },
            secrets: app.secrets.clone(),
            cors: app.cors.clone(),
            description: match description {
                Some(text) => checked_description(text, bounds)?,
                None => app.description.clone(),
            },
            expected: None,
        })
    }
}

fn checked_description(text: String, bounds: &Bounds) -> Result<String, FieldFault> {
    // Not every database can hold it in text.
    if text.contains('\0') {
        return Err(FieldFault::new("description", "contains a NUL character"));
    }
    if text.len() > bounds.max_description_bytes as usize {
        return Err(FieldFault::new(
            "description",
            format!("is larger than {} bytes", bounds.max_description_bytes),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn merging_replaces_adds_and_deletes_by_empty_value() {
        let bounds = Bounds::default();
        let before = Config::parse(config(&[("A", "1"), ("B", "2")]), &bounds).unwrap();
        let after = before.merged(&config(&[("A", ""), ("B", "3"), ("C", "4")]), &bounds).unwrap();
        assert_eq!(after, Config::parse(config(&[("B", "3"), ("C", "4")]), &bounds).unwrap());
    }

    #[test]
    fn a_key_that_cannot_be_an_environment_variable_is_refused_by_name() {
        for bad in ["", "A=B", "1A", "A B", "A\0"] {
            let fault = Config::parse(config(&[(bad, "x")]), &Bounds::default()).unwrap_err();
            assert_eq!(fault.field, "config");
        }
    }

    #[test]
    fn a_configuration_over_the_byte_limit_is_refused() {
        let bounds = Bounds { max_config_bytes: 10, ..Bounds::default() };
        assert!(Config::parse(config(&[("A", "123456789")]), &bounds).is_ok());
        assert!(Config::parse(config(&[("A", "1234567890")]), &bounds).is_err());
    }
}
