//! The URL and the signing key of a webhook: made by us, shown once.

use picasso_types::trigger::TriggerKind;
use picasso_types::trigger::webhook::Signature;
use picasso_types::{Sealed, SealedFor, TriggerId};

use crate::error::ApiError;
use crate::request::webhook;
use crate::state::ApiState;
use crate::trigger_views::HookView;

/// What is kept of a webhook's secrets, and what is shown of them once.
pub(super) struct Hook {
    pub(super) hash: String,
    pub(super) key: Option<Sealed>,
    pub(super) shown: HookView,
}

impl Hook {
    /// New secrets for a trigger; `None` unless it is a webhook. `base` is that of function URLs.
    pub(super) fn make(
        state: &ApiState,
        id: &TriggerId,
        kind: &TriggerKind,
        base: &str,
    ) -> Result<Option<Self>, ApiError> {
        let TriggerKind::Webhook(options) = kind else { return Ok(None) };
        let token = new_secret()?;
        let url = format!("{base}/t/{}", webhook::segment(&token));
        let (key, signing_key) = match options.signature {
            Signature::None => (None, None),
            Signature::Github => {
                let (key, shown) = Self::new_key(state, id)?;
                (Some(key), Some(shown))
            }
        };
        let shown = HookView { url: Some(url), signing_key };
        Ok(Some(Self { hash: webhook::token_hash(&token), key, shown }))
    }

    /// A new signing key: sealed, and as it is shown.
    pub(super) fn new_key(state: &ApiState, id: &TriggerId) -> Result<(Sealed, String), ApiError> {
        let key = new_secret()?;
        let sealed = state.store.seal(SealedFor::TriggerKey(id), key.as_bytes());
        Ok((sealed.map_err(|error| ApiError::store("sealing a webhook's key", error))?, key))
    }
}

fn new_secret() -> Result<String, ApiError> {
    webhook::new_secret().ok_or_else(|| ApiError::internal("making a secret", "the system has no randomness"))
}
