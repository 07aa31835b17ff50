//! What a version is made with beside its spec: what it has of its app, and how far its image is.

use picasso_types::text::cut;
use picasso_types::{Config, Digest, RouteVersion, Secrets, VersionId, VersionSpec, VersionState};

/// Longest kept reason of a failed preparation, bytes.
const MAX_ERROR_BYTES: usize = 2048;

/// What a version's function gets: its app's under its route's.
pub(crate) struct Merged {
    pub(crate) config: Config,
    pub(crate) secrets: Secrets,
}

impl Merged {
    pub(crate) fn of(config: &Config, secrets: &Secrets, spec: &VersionSpec) -> Self {
        Self { config: config.overlaid(&spec.config), secrets: secrets.overlaid(&spec.secrets) }
    }
}

/// How far a new version's image is.
pub(crate) struct Preparation<'a> {
    pub(crate) state: VersionState,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) error: Option<&'a str>,
    pub(crate) copy_of: Option<&'a VersionId>,
    pub(crate) rolled_back_to: Option<u32>,
}

impl<'a> Preparation<'a> {
    /// Ready where the digest is known, else to be prepared.
    pub(crate) fn of(resolved: Option<&'a Digest>) -> Self {
        let state = if resolved.is_some() { VersionState::Ready } else { VersionState::Preparing };
        Self { state, digest: resolved, error: None, copy_of: None, rolled_back_to: None }
    }

    /// As far as `version` is; when that is still preparing, the copy shares its outcome.
    pub(crate) fn copied(version: &'a RouteVersion) -> Self {
        Self {
            state: version.state,
            digest: version.digest.as_ref(),
            error: version.error.as_deref(),
            copy_of: (version.state == VersionState::Preparing).then_some(&version.id),
            rolled_back_to: None,
        }
    }

    /// What `version`, which is ready, ran: exactly its image, whatever the name means by now.
    pub(crate) fn rolled_back(version: &'a RouteVersion) -> Self {
        Self { rolled_back_to: Some(version.number), ..Self::copied(version) }
    }
}

/// What is kept of the reason why a preparation failed.
pub(crate) fn kept_error(error: &str) -> &str {
    cut(error, MAX_ERROR_BYTES)
}
