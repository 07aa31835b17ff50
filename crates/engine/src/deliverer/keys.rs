//! The keys that sign what the calls of an app send: its first one, and newer ones.

use picasso_store::{Store, StoreError};
use picasso_types::AppId;
use picasso_types::outgoing::SigningKeys;

use super::signature;
use crate::engine::Engine;

impl Engine {
    /// Gives an app a new key that signs what its calls send, in the form that receivers are given.
    /// The one before it signs, too, for a while. `None` when the system has no randomness to give.
    pub async fn rotate_signing_key(&self, app: &AppId) -> Result<Option<String>, StoreError> {
        let parts = &self.shared.parts;
        let Some(key) = signature::new_key() else { return Ok(None) };
        let until = parts.clock.now().plus(parts.settings.deliveries.signing_key_overlap);
        parts.store.rotate_signing_key(app, &key, until).await?;
        Ok(Some(signature::shown(&key)))
    }
}

/// The keys of an app, which gets its first one here; `None` of an app that is gone.
pub(super) async fn signing_keys(store: &dyn Store, app: &AppId) -> Result<Option<SigningKeys>, StoreError> {
    if let Some(keys) = store.get_signing_keys(app).await? {
        return Ok(Some(keys));
    }
    let Some(key) = signature::new_key() else {
        return Err(StoreError::Damaged { what: "signing key", detail: "there is no randomness".into() });
    };
    // Of two processes that come here at one time, both go on with the key of the first.
    store.add_signing_key(app, &key).await?;
    store.get_signing_keys(app).await
}
