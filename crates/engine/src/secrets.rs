//! A version's secrets once they are opened, and the variables of its route's identity: for the moment
//! in which its function is started.

use picasso_sandbox::SecretFile;
use picasso_store::Store;
use picasso_types::{AppId, Failure, RouteVersion, SecretForm, SecretOwner};

use crate::call_events::End;

/// What a function gets of its secrets. There is no `Debug`: nothing may show them.
#[derive(Default)]
pub struct OpenSecrets {
    env: Vec<(String, String)>,
    files: Vec<SecretFile>,
}

impl OpenSecrets {
    /// Opens the secrets of a version of a route of `app`. One that cannot be opened, or that is
    /// neither the app's nor the route's, fails the call and is told to the operator.
    pub(crate) fn of_version(store: &dyn Store, app: &AppId, version: &RouteVersion) -> Result<Self, End> {
        let mut opened = Self::default();
        for (name, secret) in version.merged_secrets.entries() {
            let is_ours = match &secret.owner {
                SecretOwner::App(owner) => owner == app,
                SecretOwner::Route(owner) => *owner == version.route_id,
            };
            let value = match store.open(secret.owner.sealed_for(name), &secret.value) {
                Ok(value) if is_ours => value,
                Ok(_) => return Err(unreadable(version, name, "it belongs to another app or route")),
                Err(error) => return Err(unreadable(version, name, &error.to_string())),
            };
            match secret.form {
                SecretForm::Env => {
                    let value =
                        String::from_utf8(value).map_err(|_| unreadable(version, name, "it is no text"))?;
                    opened.env.push((name.to_owned(), value));
                }
                SecretForm::File => {
                    opened.files.push(SecretFile { name: name.to_owned(), content: value });
                }
            }
        }
        Ok(opened)
    }

    /// The variables of an identity, which win over secrets, configuration and image.
    #[must_use]
    pub(crate) fn with_identity(mut self, env: Vec<(String, String)>) -> Self {
        self.env.extend(env);
        self
    }

    /// Those that are environment variables; what is later wins.
    pub fn env(&self) -> impl Iterator<Item = &(String, String)> {
        self.env.iter()
    }

    /// Those that are files.
    pub(crate) fn into_files(self) -> Vec<SecretFile> {
        self.files
    }

    /// Environment variables for a test.
    #[cfg(test)]
    pub fn of_env(pairs: &[(&str, &str)]) -> Self {
        let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { env, files: Vec::new() }
    }
}

fn unreadable(version: &RouteVersion, name: &str, reason: &str) -> End {
    tracing::error!(version = %version.id, secret = name, reason, "a secret cannot be read");
    End::of(Failure::Internal)
}
