//! Identity: who is calling, as Keystone says it.
//!
//! Tokens are validated as keystonemiddleware's auth_token does it, with our own service user,
//! and cached by the SHA-256 of the token for a bounded time, sealed where the cache is shared. No
//! token is ever stored or logged.
//! What a caller may do is decided by [`policy`]. Where we differ from auth_token on purpose:
//! docs/authentication.md.

mod access_rules;
mod caller;
mod client;
mod error;
mod gate;
mod granted_tokens;
mod handed;
mod limits;
pub mod policy;
mod presented;
pub mod request_id;
mod session;
mod settings;
mod shared_cache;
mod token;
mod trusts;
mod validated;
mod validator;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use access_rules::path_matches;
pub use caller::{ApplicationCredential, Caller, Domain, Project, Scope, Trust};
pub use error::{KeystoneError, KeystoneSettingsError};
pub use granted_tokens::GrantedTokens;
pub use handed::{Handed, HandedIdentity, Place};
pub use limits::{KeystoneLimits, LimitsSettings};
pub use presented::Presented;
pub use settings::{KeystoneSettings, ServiceCredentials};
pub use shared_cache::SharedCacheSettings;
pub use trusts::{IssuedToken, NewTrust, ServiceEndpoint, TrustError, Trusts};
pub use validator::KeystoneValidator;

/// Why a token was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// 401: no token, a malformed, expired, revoked or unscoped one. The reason is safe to show.
    #[error("{reason}")]
    Unauthorized {
        /// What is wrong with it, without the token.
        reason: &'static str,
    },
    /// 503: Keystone did not answer, or refuses our own service user.
    #[error("the identity service is not available")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Validates tokens.
#[async_trait]
pub trait TokenValidator: Send + Sync + std::fmt::Debug {
    /// The caller of a request with these tokens, where they allow such a request.
    async fn validate(&self, request: &Presented) -> Result<Arc<Caller>, AuthError>;

    /// Where users authenticate: the value of `WWW-Authenticate` is `Keystone uri="<this>"`.
    fn auth_uri(&self) -> &str;
}
