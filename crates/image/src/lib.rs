//! Images: an OCI image store on disk, filled by import or pull, unpacked once into layers.
//!
//! The store itself is unprivileged: it keeps blobs by digest and who may see them. Unpacking,
//! which writes owners and modes chosen by strangers, happens behind [`LayerUnpacker`], in a
//! process of its own that the sandbox crate confines; [`unpack`] is the logic it runs.

mod bridge;
mod build;
mod documents;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod import;
mod process;
mod pull;
mod rootfs;
mod settings;
mod staging;
mod store;
mod tarball;
pub mod unpack;
mod users;

use std::fs::File;
use std::time::Duration;

use async_trait::async_trait;
use picasso_types::{Digest, ProjectId};

pub use build::ImageBuilder;
pub use error::ImageError;
pub use rootfs::{ImageProcess, RootFs};
pub use settings::{ImageSettings, RegistryCredential, RegistrySettings};
pub use store::{ImageInfo, ImageStore, Resolution};

/// Whose an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The operator's: every project may run it.
    Shared,
    /// One project's own.
    Project(ProjectId),
}

/// Bounds of one unpacked layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackBounds {
    /// Sum of the sizes of its files, bytes.
    pub max_bytes: u64,
    /// Number of its entries.
    pub max_inodes: u64,
    /// How long it may take.
    pub timeout: Duration,
}

/// What one layer says about a file that later layers may replace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LayerFile {
    /// Nothing: a lower layer's file stays.
    #[default]
    Absent,
    /// The layer hides a lower layer's file (whiteout), or has something there that is not a
    /// regular file of at most 1 MiB.
    Hidden,
    /// The layer's own file.
    Content(Vec<u8>),
}

/// What unpacking a layer told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedLayer {
    /// The digest of the uncompressed tar: its folder's name and OCI's `diff_id`.
    pub diff_id: Digest,
    /// Sum of file sizes, bytes.
    pub bytes: u64,
    /// Number of entries.
    pub inodes: u64,
    /// Length of the uncompressed tar stream, bytes.
    pub tar_bytes: u64,
    /// The layer's `/etc/passwd`.
    pub passwd: LayerFile,
    /// The layer's `/etc/group`.
    pub group: LayerFile,
}

/// Why a layer was not unpacked. `Refused` is the image's fault, `Failed` ours.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UnpackError {
    /// The layer tried something that is not allowed, or is too large; a sentence for its owner.
    #[error("{0}")]
    Refused(String),
    /// The disk, the unpacker process, …
    #[error("unpacking failed: {0}")]
    Failed(String),
}

/// Unpacks layers into the layer folder, content-addressed by `diff_id`.
#[async_trait]
pub trait LayerUnpacker: Send + Sync + std::fmt::Debug {
    /// Unpacks a blob (plain, gzip or zstd tar; told by its first bytes) whose uncompressed digest
    /// must be `diff_id`. The digest is checked even where the layer is there already (then
    /// nothing is written): who names another's layer must prove to have its content. After an
    /// error nothing is left behind.
    async fn unpack(
        &self,
        blob: File,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError>;

    /// Whether the layer is unpacked.
    async fn has(&self, diff_id: &Digest) -> Result<bool, UnpackError>;

    /// Removes an unpacked layer that no image needs any more; fine to repeat.
    async fn remove(&self, diff_id: &Digest) -> Result<(), UnpackError>;
}
