//! Keystone: where it is and who we are to it.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::tree::section;

section! {
    /// Keystone.
    pub struct Keystone {
        /// Its URL with the version, `https://keystone.example.org/v3`. Required. The old name
        /// `KEYSTONE_ENDPOINT` sets it, too.
        pub auth_url: Option<Url> = None,
        /// The URL that clients without a valid token are told (`WWW-Authenticate`). Default:
        /// `auth_url`.
        pub auth_uri: Option<Url> = None,
        /// File with the certificate authorities (PEM) to trust for Keystone. Default: the system's.
        pub ca_file: Option<PathBuf> = None,
        /// Our service user, which needs the role `service` in `project`. Either this with a
        /// password, or an application credential.
        pub username: Option<String> = None,
        /// Its password.
        pub password: Option<SecretString> = None,
        /// File whose first line is the password.
        pub password_file: Option<PathBuf> = None,
        /// The domain of the service user.
        pub user_domain: String = "Default".to_owned(),
        /// The service user's project.
        pub project: String = "service".to_owned(),
        /// The domain of that project.
        pub project_domain: String = "Default".to_owned(),
        /// Id of an application credential of our service user, instead of name and password.
        pub application_credential_id: Option<String> = None,
        /// Its secret.
        pub application_credential_secret: Option<SecretString> = None,
        /// File whose first line is that secret.
        pub application_credential_secret_file: Option<PathBuf> = None,
        /// Our type in the catalog. Access rules of application credentials name it; a token with
        /// access rules works only where the catalog has a service of this type.
        pub service_type: String = "functions".to_owned(),
        /// Roles of which a token in `X-Service-Token` needs one.
        pub service_token_roles: Vec<String> = vec!["service".to_owned()],
        /// Whether a service token without any of those roles is refused. Where not, every valid
        /// token passes for a service's, which lifts the access rules of the user's.
        pub service_token_roles_required: bool = true,
        /// How long a validated token is trusted without asking again, seconds. A revoked token
        /// works that much longer. `0` and `-1` ask on every request.
        pub cache_s: i64 = 60,
        /// Tokens in the cache.
        pub max_cached_tokens: u32 = 10_000,
        /// Servers of memcached, `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`, through which several servers
        /// of Picasso share what Keystone said of tokens. Everything there is encrypted.
        pub memcached_servers: Vec<String> = Vec::new(),
        /// What that is encrypted with, 32 characters or more (`openssl rand -hex 32`); the same for
        /// all who share.
        pub memcached_key: Option<SecretString> = None,
        /// File whose first line is that key.
        pub memcached_key_file: Option<PathBuf> = None,
        /// Time for one question to memcached, milliseconds. A server that does not answer in it is
        /// left alone for ten seconds.
        pub memcached_timeout_ms: u32 = 250,
        /// Requests to Keystone at one time.
        pub max_parallel_requests: u32 = 16,
        /// Time for one request to Keystone, seconds; a caller waits at most twice that.
        pub timeout_s: u32 = 5,
    }
}
