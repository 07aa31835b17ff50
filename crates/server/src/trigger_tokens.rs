//! Tokens for triggers that act in somebody's name: by the trusts that their owners gave.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_identity::{GrantedTokens, TrustError, Trusts};
use picasso_trigger::{TokenError, TriggerTokens};
use picasso_types::trigger::Trigger;
use picasso_types::{Clock, TrustId};
use secrecy::SecretString;

/// Tokens from Keystone, kept while they are good.
#[derive(Debug)]
pub(crate) struct ByTrust(GrantedTokens);

impl ByTrust {
    /// Tokens by `trusts`, at most `max` of them kept.
    pub(crate) fn open(trusts: Arc<Trusts>, clock: Arc<dyn Clock>, max: u64) -> Arc<dyn TriggerTokens> {
        Arc::new(Self(GrantedTokens::new(trusts, clock, max)))
    }
}

#[async_trait]
impl TriggerTokens for ByTrust {
    async fn token(&self, trigger: &Trigger) -> Result<SecretString, TokenError> {
        let trust = trigger.identity.as_ref().and_then(|identity| TrustId::parse(&identity.trust_id).ok());
        let Some(trust) = trust else {
            let told = "it has no identity to act with; save it with an identity of the type trust";
            return Err(TokenError::Refused(told.to_owned()));
        };
        match self.0.by_trust(&trust).await {
            // A trust stands for its project alone: what a row says otherwise is not believed.
            Ok(token) if token.caller.project_id() == Some(&trigger.project_id) => Ok(token.secret.clone()),
            Ok(_) => Err(TokenError::Refused("its trust is for another project".to_owned())),
            Err(TrustError::Refused(reason)) => {
                Err(TokenError::Refused(format!("Keystone gives no token by its trust: {reason}")))
            }
            Err(error @ (TrustError::NoTrustee | TrustError::Unavailable(_))) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    trigger = %trigger.id,
                    "there is no token by a trigger's trust"
                );
                Err(TokenError::Unavailable)
            }
        }
    }

    async fn forget(&self, trigger: &Trigger) {
        let trust = trigger.identity.as_ref().and_then(|identity| TrustId::parse(&identity.trust_id).ok());
        if let Some(trust) = trust {
            self.0.forget_trust(&trust).await;
        }
    }
}
