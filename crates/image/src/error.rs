//! What can go wrong with images, split by whose fault it is.

use std::io;
use std::sync::Arc;

use picasso_types::{ImageRef, OverLimit};
use thiserror::Error;

/// Why an image operation did not happen. Every text is a sentence for the person who asked;
/// `Failed` and `Unavailable` keep what only the operator should see in their source.
#[derive(Debug, Clone, Error)]
pub enum ImageError {
    /// No image of this name is visible to the project.
    #[error(
        "image \"{0}\" was not found among this project's and the shared images; upload it \
         (PUT /v1/{{project_id}}/images/{0}), or name one in a registry that this cloud allows"
    )]
    NotFound(ImageRef),
    /// The reference names a registry that the operator does not allow.
    #[error(
        "registry \"{registry}\" is not on this cloud's list of allowed registries; \
         load the image into Picasso instead, or ask the operator to allow the registry"
    )]
    RegistryNotAllowed {
        /// The registry's host and port.
        registry: String,
    },
    /// The image itself is at fault: damaged, hostile, of another platform, nothing to run, …
    #[error("{0}")]
    Invalid(String),
    /// A bound of bytes, layers, names or time was passed.
    #[error("{0}")]
    TooLarge(String),
    /// The project's images would pass its limit.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// The registry refused us, does not know the image, or broke off.
    #[error("registry \"{registry}\": {reason}")]
    Registry {
        /// The registry's host and port.
        registry: String,
        /// What happened; never holds a credential.
        reason: String,
        /// Whether trying again later may help.
        temporary: bool,
    },
    /// Our own disk or process failed.
    #[error("{context} failed")]
    Failed {
        /// What was being done.
        context: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The unpacker process failed or is being restarted.
    #[error("the image unpacker is not available")]
    Unavailable(#[source] crate::UnpackError),
}

impl ImageError {
    /// Whether the person who named or sent the image can mend it; otherwise it is the
    /// operator's to mend, and the text of the source belongs in the log only.
    pub fn is_user_fault(&self) -> bool {
        match self {
            Self::NotFound(_)
            | Self::RegistryNotAllowed { .. }
            | Self::Invalid(_)
            | Self::TooLarge(_)
            | Self::OverLimit(_) => true,
            Self::Registry { temporary, .. } => !temporary,
            Self::Failed { .. } | Self::Unavailable(_) => false,
        }
    }

    pub(crate) fn failed(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |source| Self::Failed { context, source: Arc::new(source) }
    }
}

impl From<crate::UnpackError> for ImageError {
    fn from(error: crate::UnpackError) -> Self {
        match error {
            crate::UnpackError::Refused(reason) => Self::Invalid(reason),
            failed @ crate::UnpackError::Failed(_) => Self::Unavailable(failed),
        }
    }
}
