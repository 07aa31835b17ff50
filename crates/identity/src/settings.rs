//! How to reach Keystone and as whom: what the server's configuration is turned into.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::SharedCacheSettings;

/// Everything [`crate::KeystoneValidator`] needs to know.
#[derive(Debug, Clone)]
pub struct KeystoneSettings {
    /// Keystone's root or its `/v3`, `http` or `https`. TLS certificates are always verified.
    pub auth_url: String,
    /// What `WWW-Authenticate` tells users; absent: `auth_url`. Set where users reach Keystone at
    /// another address than we do (`www_authenticate_uri` of keystonemiddleware).
    pub public_auth_url: Option<String>,
    /// As whom we ask. The role `service` is enough.
    pub credentials: ServiceCredentials,
    /// Our type in the catalog and in access rules of application credentials.
    pub service_type: String,
    /// Roles of which a service token needs one.
    pub service_token_roles: Vec<String>,
    /// Whether a service token without any of those roles is refused; else it is a service token,
    /// too, but makes no expired user token good.
    pub service_token_roles_required: bool,
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a validated token is believed; `None` asks Keystone on every request. A revoked
    /// token goes on working for this long. See [`KeystoneSettings::cache_time_of`].
    pub cache_time: Option<Duration>,
    /// A cache shared with other servers; without `cache_time` it is not used.
    pub shared_cache: Option<SharedCacheSettings>,
    /// How long a refused token stays refused without asking again; zero asks every time.
    pub refused_cache_time: Duration,
    /// How many tokens each of the two caches holds at most.
    pub cache_capacity: u64,
    /// How many requests may be under way to Keystone at once.
    pub max_parallel: usize,
    /// How many more may wait for their turn; what comes on top is told to come back later.
    pub max_waiting: usize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long a caller waits at most, over waiting for its turn and all attempts.
    pub total_timeout: Duration,
    /// How often a request is tried again after a failed connection or a timeout.
    pub retries: u32,
    /// What a caller is told to wait while Keystone is not available.
    pub retry_after: Duration,
}

impl KeystoneSettings {
    /// The default settings for `auth_url` and `credentials`.
    pub fn new(auth_url: impl Into<String>, credentials: ServiceCredentials) -> Self {
        Self {
            auth_url: auth_url.into(),
            public_auth_url: None,
            credentials,
            service_type: "functions".to_owned(),
            service_token_roles: vec!["service".to_owned()],
            service_token_roles_required: true,
            ca_file: None,
            cache_time: Some(Duration::from_mins(1)),
            shared_cache: None,
            refused_cache_time: Duration::from_secs(10),
            cache_capacity: 10_000,
            max_parallel: 16,
            max_waiting: 512,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(10),
            retries: 2,
            retry_after: Duration::from_secs(5),
        }
    }

    /// `token_cache_time` as operators write it: seconds, with `0` and `-1` for no cache
    /// (keystonemiddleware knows only `-1`).
    pub fn cache_time_of(seconds: i64) -> Option<Duration> {
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

/// The identity of this service itself.
#[derive(Debug, Clone)]
pub enum ServiceCredentials {
    /// A user of Keystone, scoped to a project in which it has the role `service`.
    Password {
        /// The user's name.
        username: String,
        /// The name of the user's domain.
        user_domain: String,
        /// Its password.
        password: SecretString,
        /// The name of the project.
        project: String,
        /// The name of the project's domain.
        project_domain: String,
    },
    /// An application credential; it carries its project and roles.
    ApplicationCredential {
        /// Its id.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_minus_one_seconds_mean_no_cache() {
        assert_eq!(KeystoneSettings::cache_time_of(0), None);
        assert_eq!(KeystoneSettings::cache_time_of(-1), None);
        assert_eq!(KeystoneSettings::cache_time_of(60), Some(Duration::from_mins(1)));
    }

    #[test]
    fn passwords_and_secrets_do_not_show_in_debug_output() {
        let credentials = ServiceCredentials::Password {
            username: "picasso".into(),
            user_domain: "Default".into(),
            password: "hush-hush".into(),
            project: "service".into(),
            project_domain: "Default".into(),
        };
        let settings = KeystoneSettings::new("http://keystone/v3", credentials);
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
