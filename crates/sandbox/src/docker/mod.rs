//! The Docker driver: sandboxes as containers of a Docker Engine, through its API.
//!
//! As hardened as Docker allows: no capabilities, `no_new_privs`, the same system call table as
//! the native driver, read-only root, bounded `/tmp`, memory without swap, CPU and pids limits,
//! no log file, no network or one that the egress filter guards. What Docker cannot give: a range
//! of user ids of its own for each sandbox (its `userns-remap` is one range for the whole Engine,
//! which an operator should switch on), the most memory used after the end, and an exit code
//! above 128 apart from a signal. It is for machines where the native driver cannot run, and
//! slower by two orders of magnitude.

mod api;
mod container;
mod driver;
mod identities;
mod images;
mod network;
mod secret_files;
mod streams;

use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;
use picasso_types::Digest;
use tokio::io::AsyncRead;

pub use driver::DockerSandbox;

use crate::SandboxError;
use crate::egress::EgressSettings;

/// Gives out images in the form Docker loads.
#[async_trait]
pub trait ImageExport: Send + Sync + std::fmt::Debug {
    /// The image as an uncompressed `docker load` tar (`manifest.json`, one configuration, its
    /// layers) that names no tag.
    ///
    /// Its configuration says only architecture, system and root filesystem: what to run comes
    /// with each start, and volumes or health checks of an image have no place here.
    async fn docker_archive(&self, digest: &Digest) -> Result<Pin<Box<dyn AsyncRead + Send>>, SandboxError>;
}

/// What the Docker driver needs to know.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// The Engine's Unix socket.
    pub socket: PathBuf,
    /// The server's instance id, which labels and names everything the driver makes.
    pub instance: String,
    /// Where secret files and identities of containers lie; a folder of a file system in memory, which the Engine must see
    /// under the same path.
    pub secrets_folder: PathBuf,
    /// Network access, where it is configured **and** root has loaded the filter
    /// ([`crate::egress::load_docker_filter`]); `None` leaves `Features::egress` off.
    pub egress: Option<EgressSettings>,
}
