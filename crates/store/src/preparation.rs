//! How far the image of a version is, when the version is made.

use picasso_types::{Digest, RouteVersion, VersionId, VersionState};

/// Longest kept reason of a failed preparation, bytes.
const MAX_ERROR_BYTES: usize = 2048;

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
    &error[..error.floor_char_boundary(MAX_ERROR_BYTES)]
}
