//! What the process people start hands to the engine: settings and key, through a descriptor.
//!
//! The engine's user may read neither the configuration nor the key file, and nobody else may see
//! them in arguments or environment.

use picasso_config::Loaded;
use serde::{Deserialize, Serialize};

use crate::failure::ServerFailure;

#[derive(Serialize, Deserialize)]
struct Wire {
    settings: Vec<u8>,
    key: Vec<u8>,
    root: bool,
}

/// Settings with their secrets, and the key that stored bodies are encrypted under.
pub(crate) struct Handover {
    pub(crate) loaded: Loaded,
    pub(crate) key: Vec<u8>,
    /// Whether root started the server, so that packet filters are there.
    pub(crate) root: bool,
}

impl Handover {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, ServerFailure> {
        let failed = |error| ServerFailure::new("cannot hand the settings over").because(error);
        let settings = self.loaded.hand_over().map_err(failed)?;
        serde_json::to_vec(&Wire { settings, key: self.key.clone(), root: self.root }).map_err(failed)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ServerFailure> {
        // The error's text could quote the input, which holds secrets; its place cannot.
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| {
            ServerFailure::new(format!("the handed-over settings are broken at byte {}", error.column()))
        })?;
        Ok(Self { loaded: Loaded::receive(&wire.settings)?, key: wire.key, root: wire.root })
    }
}
