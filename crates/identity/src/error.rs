//! What can go wrong between us and Keystone. For logs; callers only see [`crate::AuthError`].

use picasso_types::FieldFault;

/// Why Keystone gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum KeystoneError {
    /// No connection, no answer in time, or a broken one.
    #[error("Keystone cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The answer has a status that this request never gets from a working Keystone.
    #[error("Keystone answered {request} with status {status}{hint}")]
    Status {
        /// Method and path.
        request: &'static str,
        /// Its status.
        status: u16,
        /// What to do about it, or nothing.
        hint: &'static str,
    },
    /// The answer is larger than any that Keystone gives.
    #[error("Keystone's answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The answer is not what the Identity API v3 says.
    #[error("Keystone's answer is not understood")]
    NotUnderstood(#[source] serde_json::Error),
    /// The answer lacks something.
    #[error("Keystone's answer is not understood: {0}")]
    Malformed(&'static str),
    /// Keystone refuses our own user.
    #[error(
        "Keystone refuses this service's own user or application credential; check the name, password, project and domains in the configuration"
    )]
    CredentialsRefused,
    /// Keystone refuses the token it has just given us.
    #[error("Keystone refuses this service's own token, also a fresh one")]
    OwnTokenRefused,
    /// It took too long altogether.
    #[error("Keystone did not answer in time")]
    TimedOut,
    /// More requests wait for Keystone than are allowed to.
    #[error("too many requests are waiting for Keystone")]
    Busy,
}

/// Why no validator can be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum KeystoneSettingsError {
    /// A setting is not usable.
    #[error(transparent)]
    Field(FieldFault),
    /// The file of certificate authorities cannot be read.
    #[error("ca_file: cannot read {path}")]
    CaFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of certificate authorities holds none.
    #[error("ca_file: there is no PEM certificate in {path}")]
    NoCertificates {
        /// Which file.
        path: String,
    },
    /// The certificate authorities cannot be used.
    #[error("ca_file: the certificates cannot be used")]
    Tls(#[source] reqwest::Error),
}
