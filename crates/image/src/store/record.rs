//! What the store keeps of an image beside its blobs, and of a scope's names.

use std::collections::BTreeMap;
use std::sync::Arc;

use picasso_types::{Digest, ImageRef, Timestamp};
use serde::{Deserialize, Serialize};

use crate::RootFs;

/// One image, ready to run; `records/<hex>.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Digest and size of the manifest.
    pub manifest: BlobRecord,
    /// Digest and size of the configuration.
    pub config: BlobRecord,
    /// Lowest first.
    pub layers: Vec<LayerRecord>,
    /// What drivers need.
    pub rootfs: Arc<RootFs>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BlobRecord {
    pub digest: Digest,
    pub size: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub blob: BlobRecord,
    pub diff_id: Digest,
    /// Length of the uncompressed tar.
    pub tar_bytes: u64,
    /// Sum of file sizes.
    pub unpacked_bytes: u64,
    pub inodes: u64,
}

impl ImageRecord {
    pub fn blobs(&self) -> impl Iterator<Item = &BlobRecord> {
        [&self.manifest, &self.config].into_iter().chain(self.layers.iter().map(|layer| &layer.blob))
    }

    pub fn diff_ids(&self) -> impl Iterator<Item = &Digest> {
        self.layers.iter().map(|layer| &layer.diff_id)
    }

    /// Bytes of its blobs.
    pub fn size_bytes(&self) -> u64 {
        self.blobs().map(|blob| blob.size).sum()
    }

    /// What it takes on disk, by content, so that a quota counts shared layers once.
    pub fn disk_use(&self) -> impl Iterator<Item = (&Digest, u64)> {
        let layers =
            self.layers.iter().map(|layer| (&layer.blob.digest, layer.blob.size + layer.unpacked_bytes));
        [&self.manifest, &self.config].into_iter().map(|blob| (&blob.digest, blob.size)).chain(layers)
    }
}

/// How an image came under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Loaded from an archive: the name means this image until it is loaded again.
    Loaded,
    /// Pulled: the registry decides what the name means the next time.
    Pulled,
}

/// The names of one scope and the images it may run; `names/<scope>.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ScopeIndex {
    pub names: BTreeMap<String, NameEntry>,
    /// Outlives the name: a version that pinned an image may run it until nothing needs it.
    pub granted: BTreeMap<Digest, Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NameEntry {
    pub name: ImageRef,
    pub digest: Digest,
    pub created_at: Timestamp,
    pub origin: Origin,
}

impl ScopeIndex {
    pub fn names_digest(&self, digest: &Digest) -> bool {
        self.names.values().any(|entry| entry.digest == *digest)
    }
}

/// The key of a name: its tag spelt out, its digest only where it has no tag.
pub(crate) fn name_key(name: &ImageRef) -> String {
    let registry = name.registry().map(|host| format!("{host}/")).unwrap_or_default();
    match (name.tag(), name.digest()) {
        (Some(tag), _) => format!("{registry}{}:{tag}", name.repository()),
        (None, Some(digest)) => format!("{registry}{}@{digest}", name.repository()),
        (None, None) => format!("{registry}{}", name.repository()),
    }
}
