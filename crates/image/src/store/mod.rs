//! The image store: blobs by digest, names per project, and who may see what.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use picasso_types::{Digest, ImageRef, ProjectId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::{ImageError, ImageSettings, LayerUnpacker, RootFs, Scope};

/// An image as people see it in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Its name with tag.
    pub name: ImageRef,
    /// The manifest's digest.
    pub digest: Digest,
    /// Bytes of its blobs.
    pub size_bytes: u64,
    /// When it was loaded or pulled, microseconds since the epoch.
    pub created_at: Timestamp,
    /// Whether it is the operator's, for every project.
    pub shared: bool,
    /// What it runs.
    pub argv: Vec<String>,
}

/// Where the image of a reference is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// In the store, with this digest; ready to run.
    Local(Digest),
    /// In a registry that is allowed: [`ImageStore::pull`] gets it.
    Remote,
}

/// Images on disk, below one folder that belongs to the server.
#[derive(Debug, Clone)]
pub struct ImageStore {
    root: PathBuf,
    settings: Arc<ImageSettings>,
    unpacker: Arc<dyn LayerUnpacker>,
}

#[expect(clippy::unused_async, reason = "signatures first; the bodies follow at once")]
impl ImageStore {
    /// Opens the store below `root` (made where it is missing) and removes what an earlier
    /// process left half done.
    pub fn open(
        root: PathBuf,
        settings: ImageSettings,
        unpacker: Arc<dyn LayerUnpacker>,
    ) -> Result<Self, ImageError> {
        Ok(Self { root, settings: Arc::new(settings), unpacker })
    }

    /// Loads an image from a tar: an OCI image layout or what `docker save` writes, plain or gzip.
    /// An image of the same name is replaced once the new one is whole.
    pub async fn import(
        &self,
        _scope: &Scope,
        name: &ImageRef,
        _reader: impl AsyncRead + Unpin + Send,
    ) -> Result<ImageInfo, ImageError> {
        Err(self.unbuilt(name))
    }

    /// Loads an image from a file ([`Self::import`]) or an OCI image layout folder.
    pub async fn import_path(
        &self,
        _scope: &Scope,
        name: &ImageRef,
        _path: &Path,
    ) -> Result<ImageInfo, ImageError> {
        Err(self.unbuilt(name))
    }

    /// The names of a scope, sorted.
    pub async fn list(&self, _scope: &Scope) -> Result<Vec<ImageInfo>, ImageError> {
        Ok(Vec::new())
    }

    /// Forgets a name. The image goes with the next [`Self::collect`] unless a version uses it.
    pub async fn remove(&self, _scope: &Scope, name: &ImageRef) -> Result<(), ImageError> {
        Err(self.unbuilt(name))
    }

    /// Finds what a reference means for a project, without any network traffic.
    pub async fn resolve(&self, _project: &ProjectId, image: &ImageRef) -> Result<Resolution, ImageError> {
        Err(self.unbuilt(image))
    }

    /// Gets an image from its registry, ready to run; the digest is what a version pins.
    pub async fn pull(&self, _project: &ProjectId, image: &ImageRef) -> Result<Digest, ImageError> {
        Err(self.unbuilt(image))
    }

    /// The root filesystem of an image that is visible to the project, unpacked and ready.
    pub async fn rootfs(&self, _project: &ProjectId, digest: &Digest) -> Result<Arc<RootFs>, ImageError> {
        Err(ImageError::Invalid(format!("image {digest} was not found")))
    }

    /// A tar for `docker load`, made while it is read. The image gets the tag
    /// [`docker_tag`](Self::docker_tag).
    pub async fn docker_archive(
        &self,
        digest: &Digest,
    ) -> Result<impl AsyncRead + Send + Unpin + 'static, ImageError> {
        if self.root.as_os_str().is_empty() {
            return Err(ImageError::Invalid(format!("image {digest} was not found")));
        }
        Ok(tokio::io::empty())
    }

    /// The name under which Docker knows an image after `docker load` of its archive.
    pub fn docker_tag(digest: &Digest) -> String {
        format!("picasso-image:{}", digest.hex())
    }

    /// Removes blobs and layers of images without a name that `referenced` (the digests that
    /// versions pin) does not list either.
    pub async fn collect(&self, _referenced: &[Digest]) -> Result<(), ImageError> {
        Ok(())
    }

    fn unbuilt(&self, name: &ImageRef) -> ImageError {
        let _ = (&self.settings, &self.unpacker);
        ImageError::NotFound(name.clone())
    }
}
