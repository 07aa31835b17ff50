//! Whose tokens queues are read with.

use async_trait::async_trait;
use picasso_types::trigger::Trigger;
use secrecy::SecretString;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There never will be: the trust is gone, or its user is. A sentence for the trigger's owner.
    #[error("{0}")]
    Refused(String),
    /// Keystone cannot be asked now.
    #[error("Keystone cannot be asked for a token now")]
    Unavailable,
}

/// Tokens of the trusts that owners of triggers gave.
#[async_trait]
pub trait TriggerTokens: Send + Sync + std::fmt::Debug {
    /// A token of the trigger's trust, for the trigger's project.
    async fn token(&self, trigger: &Trigger) -> Result<SecretString, TokenError>;

    /// The token is not good any more: the next one is to be a new one.
    async fn forget(&self, trigger: &Trigger);
}
