//! Secrets of apps and routes: values that functions get and nobody is shown again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::clock::Timestamp;
use crate::fault::FieldFault;
use crate::ids::{AppId, RouteId};
use crate::sealed::{Sealed, SealedFor};
use crate::text_enum::text_enum;

text_enum!(
    /// How a secret reaches its function.
    SecretForm, "as" {
        /// As an environment variable of its name.
        Env = "env",
        /// As a file of its name under `/run/secrets`.
        File = "file",
    }
);

/// Whose a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretOwner {
    /// An app's: all of its routes get it.
    App(AppId),
    /// A route's own.
    Route(RouteId),
}

impl SecretOwner {
    /// What a secret of this name of its is sealed for.
    pub fn sealed_for<'a>(&'a self, name: &'a str) -> SealedFor<'a> {
        match self {
            Self::App(app) => SealedFor::AppSecret(app, name),
            Self::Route(route) => SealedFor::RouteSecret(route, name),
        }
    }
}

/// One secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// How it reaches the function.
    #[serde(rename = "as")]
    pub form: SecretForm,
    /// When its value was set.
    pub set_at: Timestamp,
    /// Length of its value, bytes.
    pub bytes: u32,
    /// Whose it is.
    pub owner: SecretOwner,
    /// The id of the secret of Barbican that its value is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Its value.
    pub value: Sealed,
}

/// The secrets of an app or a route, or of both together as a version has them; by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The secrets, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    /// The secret of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them is a file.
    pub fn has_files(&self) -> bool {
        self.0.values().any(|secret| secret.form == SecretForm::File)
    }

    /// Sets one.
    pub fn set(&mut self, name: String, secret: Secret) {
        self.0.insert(name, secret);
    }

    /// Deletes one; none of the name is fine.
    pub fn delete(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// These with `over` on top, as a function gets an app's and its route's.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(over.0.clone());
        Self(all)
    }

    /// Checks number and size of all against the operator's bounds, which are those of a
    /// configuration; a fault names `secrets`.
    pub fn check(&self, bounds: &Bounds) -> Result<(), FieldFault> {
        if self.0.len() > bounds.max_config_entries as usize {
            let message = format!("has more than {} entries", bounds.max_config_entries);
            return Err(FieldFault::new("secrets", message));
        }
        let bytes: usize = self.0.iter().map(|(name, secret)| name.len() + secret.bytes as usize).sum();
        if bytes > bounds.max_config_bytes as usize {
            let message = format!("is larger than {} bytes", bounds.max_config_bytes);
            return Err(FieldFault::new("secrets", message));
        }
        Ok(())
    }
}

/// Checks a secret's name: 1 to 128 letters, digits or `_`, no digit first. It names an environment
/// variable (POSIX.1-2017, chapter 8) or a file; a fault names `secrets`.
pub fn check_secret_name(name: &str) -> Result<(), FieldFault> {
    let bytes = name.as_bytes();
    let good = (1..=128).contains(&bytes.len())
        && bytes.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    if good {
        return Ok(());
    }
    let shown: String = name.chars().take(40).collect();
    let message = format!(
        "has the name {shown:?}; a name is 1 to 128 letters, digits or \"_\", and does not start with a digit"
    );
    Err(FieldFault::new("secrets", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(owner: SecretOwner, bytes: u32) -> Secret {
        let value = Sealed { key_id: "k".to_owned(), sealed: "c2VhbGVk".to_owned() };
        Secret { form: SecretForm::Env, set_at: Timestamp(1), bytes, owner, reference: None, value }
    }

    fn of_app(name: &str, bytes: u32) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.set(name.to_owned(), secret(SecretOwner::App(AppId::generate()), bytes));
        secrets
    }

    #[test]
    fn a_routes_secret_wins_over_its_apps_of_the_same_name() {
        let route = SecretOwner::Route(RouteId::generate());
        let mut app = of_app("A", 1);
        app.set("B".to_owned(), secret(SecretOwner::App(AppId::generate()), 1));
        let mut own = Secrets::default();
        own.set("A".to_owned(), secret(route.clone(), 1));
        let both = app.overlaid(&own);
        assert_eq!(both.get("A").unwrap().owner, route);
        assert!(matches!(both.get("B").unwrap().owner, SecretOwner::App(_)));
    }

    #[test]
    fn number_and_size_are_bounded() {
        let bounds = Bounds { max_config_bytes: 10, max_config_entries: 1, ..Bounds::default() };
        assert!(of_app("A", 9).check(&bounds).is_ok());
        assert_eq!(of_app("A", 10).check(&bounds).unwrap_err().message, "is larger than 10 bytes");
        let two = of_app("A", 1).overlaid(&of_app("B", 1));
        assert_eq!(two.check(&bounds).unwrap_err().message, "has more than 1 entries");
    }

    #[test]
    fn a_name_that_is_no_variable_and_no_file_is_refused() {
        for good in ["A", "_a9", "DB_PASSWORD"] {
            assert!(check_secret_name(good).is_ok(), "{good}");
        }
        for bad in ["", "9A", "A-B", "A.B", "../x", "A/B", "A=", "ä", "A\0", &"A".repeat(129)] {
            assert_eq!(check_secret_name(bad).unwrap_err().field, "secrets", "{bad}");
        }
    }

    #[test]
    fn debug_output_shows_no_sealed_value() {
        assert!(!format!("{:?}", of_app("A", 1)).contains("c2VhbGVk"));
    }
}
