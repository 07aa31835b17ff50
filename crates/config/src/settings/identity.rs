//! How functions act in OpenStack.

use url::Url;

use crate::tree::section;

section! {
    /// Identities of functions; `docs/identity.md`.
    pub struct Identity {
        /// Keystone's URL with the version as functions reach it, which they find in `OS_AUTH_URL` and
        /// `clouds.yaml`. `egress.allow` must list its address, and those of the services that
        /// functions use. Default: `keystone.auth_uri`, else `keystone.auth_url`.
        pub auth_url: Option<Url> = None,
        /// The region whose endpoints functions are told. Default: the first that the catalog has of each
        /// service.
        pub region: Option<String> = None,
        /// Tokens of functions in memory, one for each route that has an identity and is in use. They are
        /// never stored.
        pub max_tokens: u32 = 10_000,
    }
}
