//! What the operator decides about images: bounds, quota and registries.

use std::sync::Arc;
use std::time::Duration;

use picasso_outbound::{Guard, Resolver, SystemResolver};
use picasso_types::{Clock, FixedLimits, Limit, LimitSource, Limits, ProjectId, ProjectLimits, SystemClock};
use secrecy::SecretString;

/// Settings of an [`ImageStore`](crate::ImageStore).
#[derive(Debug, Clone)]
pub struct ImageSettings {
    /// Largest archive or pulled image: bytes of all its blobs as they are sent, and, for a
    /// compressed archive, as they are stored.
    pub max_archive_bytes: u64,
    /// Most layers of an image.
    pub max_layers: usize,
    /// Most bytes of an image's files once unpacked, all layers together.
    pub max_unpacked_bytes: u64,
    /// Most files, folders and links of an image, all layers together.
    pub max_inodes: u64,
    /// How long one layer may take to unpack.
    pub unpack_timeout: Duration,
    /// How long a pull may take, and how long an archive may take to be sent.
    pub pull_timeout: Duration,
    /// How long a sender of an archive may stay silent.
    pub idle_timeout: Duration,
    /// How much disk the images (blobs and unpacked files) of projects may take.
    pub limits: Arc<dyn Limits>,
    /// Most names in one project.
    pub max_names: usize,
    /// Most imports and pulls at the same time; one project gets at most half of them.
    pub max_parallel: usize,
    /// How long an image stays that nothing names or uses.
    pub collect_grace: Duration,
    /// Registries that may be pulled from; none by default.
    pub registries: Vec<RegistrySettings>,
    /// What registries' addresses may be, but for those that allow private ones.
    pub guard: Guard,
    /// Who knows the addresses of registries.
    pub resolver: Arc<dyn Resolver>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for ImageSettings {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        let none = Limit { max: None, source: LimitSource::Default };
        Self {
            max_archive_bytes: 4 * GIB,
            max_layers: 128,
            max_unpacked_bytes: 8 * GIB,
            max_inodes: 500_000,
            unpack_timeout: Duration::from_mins(5),
            pull_timeout: Duration::from_mins(15),
            idle_timeout: Duration::from_mins(1),
            limits: Arc::new(FixedLimits(Arc::new(ProjectLimits::new(|_| none)))),
            max_names: 500,
            max_parallel: 4,
            collect_grace: Duration::from_mins(10),
            registries: Vec::new(),
            guard: Guard::default(),
            resolver: Arc::new(SystemResolver),
            clock: Arc::new(SystemClock),
        }
    }
}

/// One registry that may be pulled from.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// `host` or `host:port`, exactly as image references write it.
    pub host: String,
    /// Speak plain HTTP to it.
    pub insecure: bool,
    /// It may have a private, loopback or link-local address; otherwise such an address is
    /// refused after the name was resolved.
    pub allow_private: bool,
    /// Other hosts (`host` or `host:port`) that it may send us to for blobs and tokens, such as
    /// its token service or content network.
    pub also_hosts: Vec<String>,
    /// PEM file with certificate authorities to trust beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Credentials; a project's own come before those for every project.
    pub credentials: Vec<RegistryCredential>,
}

/// A user name and password of a registry.
#[derive(Debug, Clone)]
pub struct RegistryCredential {
    /// The project whose pulls use it; `None` for every project.
    pub project: Option<ProjectId>,
    /// User name.
    pub username: String,
    /// Password or access token.
    pub password: SecretString,
}
