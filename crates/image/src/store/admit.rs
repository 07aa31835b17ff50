//! From a candidate (blobs that arrived) to an image that can be seen and run.
//!
//! Order matters: everything is checked and unpacked first; then blobs, record and name follow
//! each other, each whole on disk before the next, so that a crash leaves only unnamed content.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use picasso_types::{Digest, ImageRef, OverLimit, Resource};

use super::record::{BlobRecord, ImageRecord, LayerRecord, NameEntry, Origin, name_key};
use super::{ImageInfo, ImageStore};
use crate::documents::{Descriptor, ImageConfig, MAX_DOCUMENT, Manifest, parse};
use crate::process::{check_platform, process_of};
use crate::staging::Candidate;
use crate::users::Accounts;
use crate::{ImageError, RootFs, Scope, UnpackBounds};

impl ImageStore {
    /// Makes a candidate an image of `scope`, under `name`. `reusable` are blobs of the store
    /// that the candidate may count on.
    pub(crate) async fn admit(
        &self,
        scope: &Scope,
        name: &ImageRef,
        origin: Origin,
        candidate: Candidate,
        reusable: &HashSet<Digest>,
    ) -> Result<ImageInfo, ImageError> {
        let parts = Parts::read(self, &candidate, reusable)?;
        let pin = self.0.pins.hold(parts.digests());
        match self.unpack_parts(&parts).await {
            Ok(record) => {
                let committed = self.commit(scope, name, origin, candidate, record).await;
                drop(pin);
                if committed.is_err() {
                    self.drop_layers(parts.config.rootfs.diff_ids).await;
                }
                committed
            }
            Err(error) => {
                drop(pin);
                self.drop_layers(parts.config.rootfs.diff_ids).await;
                Err(error)
            }
        }
    }

    async fn unpack_parts(&self, parts: &Parts) -> Result<ImageRecord, ImageError> {
        let settings = &self.0.settings;
        let (mut bytes_left, mut inodes_left) = (settings.max_unpacked_bytes, settings.max_inodes);
        let (mut accounts, mut layers) = (Accounts::default(), Vec::new());
        for ((descriptor, path), diff_id) in parts.layers.iter().zip(&parts.config.rootfs.diff_ids) {
            let bounds = UnpackBounds {
                max_bytes: bytes_left,
                max_inodes: inodes_left,
                timeout: settings.unpack_timeout,
            };
            let unpacked = self.unpack_layer(path.clone(), diff_id, bounds).await?;
            bytes_left = bytes_left.saturating_sub(unpacked.bytes);
            inodes_left = inodes_left.saturating_sub(unpacked.inodes);
            accounts.stack(unpacked.passwd, unpacked.group);
            layers.push(LayerRecord {
                blob: BlobRecord { digest: descriptor.digest.clone(), size: descriptor.size },
                diff_id: diff_id.clone(),
                tar_bytes: unpacked.tar_bytes,
                unpacked_bytes: unpacked.bytes,
                inodes: unpacked.inodes,
            });
        }
        let rootfs = RootFs {
            digest: parts.manifest.digest.clone(),
            config: parts.config_blob.digest.clone(),
            layers: parts.config.rootfs.diff_ids.clone(),
            process: process_of(&parts.config, &accounts)?,
        };
        Ok(ImageRecord {
            manifest: parts.manifest.clone(),
            config: parts.config_blob.clone(),
            layers,
            rootfs: Arc::new(rootfs),
        })
    }

    pub(super) async fn unpack_layer(
        &self,
        blob: PathBuf,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<crate::UnpackedLayer, ImageError> {
        let failed = || ImageError::failed("opening a layer");
        let file = tokio::task::spawn_blocking(move || File::open(blob)).await;
        let file = file.map_err(|e| failed()(e.into()))?.map_err(failed())?;
        self.0.disk.doubt_layer(diff_id).map_err(failed())?;
        let _no_removal = self.0.layer_gate.read().await;
        Ok(self.0.unpacker.unpack(file, diff_id, bounds).await?)
    }

    async fn commit(
        &self,
        scope: &Scope,
        name: &ImageRef,
        origin: Origin,
        candidate: Candidate,
        record: ImageRecord,
    ) -> Result<ImageInfo, ImageError> {
        let inner = &self.0;
        // Before the lock: somebody may have to be asked.
        let limit = match scope {
            Scope::Project(project) => Some((project, inner.settings.limits.of(project).await)),
            Scope::Shared => None,
        };
        let _writer = inner.writer.lock().await;
        let now = inner.settings.clock.now();
        let digest = record.manifest.digest.clone();
        let (mut index, before, after) = {
            let state = self.read_state();
            let index = state.scope(scope);
            let (before, after) = (state.disk_use(&index, None), state.disk_use(&index, Some(&record)));
            (index, before, after)
        };
        let entry = NameEntry { name: name.clone(), digest: digest.clone(), created_at: now, origin };
        index.names.insert(name_key(name), entry.clone());
        index.granted.insert(digest.clone(), now);
        if let Some((project, limits)) = limit {
            let resource = Resource::Images;
            OverLimit::check_bytes(project, resource, limits.of(resource), before, after)?;
            if index.names.len() > inner.settings.max_names {
                return Err(ImageError::TooLarge(format!(
                    "the project has {} image names already, the most this cloud allows; remove some first",
                    inner.settings.max_names
                )));
            }
        }
        let (disk, saved_scope, saved_index) = (inner.disk.clone(), scope.clone(), index.clone());
        let record = Arc::new(record);
        let saved = Arc::clone(&record);
        let failed = || ImageError::failed("storing the image");
        tokio::task::spawn_blocking(move || {
            for staged in std::iter::once(&candidate.manifest).chain(candidate.blobs.values()) {
                if saved.blobs().any(|blob| blob.digest == staged.digest) {
                    disk.keep_blob(staged)?;
                }
            }
            disk.sync_blobs()?;
            disk.save_record(&saved)?;
            disk.save_scope(&saved_scope, &saved_index)?;
            saved.diff_ids().try_for_each(|diff_id| disk.trust_layer(diff_id))
        })
        .await
        .map_err(|e| failed()(e.into()))?
        .map_err(failed())?;
        let mut state = self.write_state();
        state.records.insert(digest.clone(), record);
        state.scopes.insert(scope.clone(), index);
        let info = state.info(scope, &entry);
        drop(state);
        self.proven().insert(digest);
        info.ok_or_else(|| ImageError::NotFound(name.clone()))
    }
}

/// A candidate's documents, read and checked against each other and the bounds.
struct Parts {
    manifest: BlobRecord,
    config_blob: BlobRecord,
    config: ImageConfig,
    /// Lowest first, each with the file that holds it now.
    layers: Vec<(Descriptor, PathBuf)>,
}

impl Parts {
    fn read(
        store: &ImageStore,
        candidate: &Candidate,
        reusable: &HashSet<Digest>,
    ) -> Result<Self, ImageError> {
        let settings = &store.0.settings;
        let document: Manifest = parse("manifest", &candidate.manifest.document("manifest")?)?;
        if document.layers.is_empty() || document.layers.len() > settings.max_layers {
            return Err(ImageError::TooLarge(format!(
                "the image has {} layers; this cloud runs images of 1 to {} layers",
                document.layers.len(),
                settings.max_layers
            )));
        }
        let find = |descriptor: &Descriptor| match candidate.blobs.get(&descriptor.digest) {
            Some(staged) if staged.size == descriptor.size => Ok(staged.path.clone()),
            None if reusable.contains(&descriptor.digest) => Ok(store.0.disk.blob(&descriptor.digest)),
            _ => Err(ImageError::Invalid(format!("the image's blob {} is missing", descriptor.digest))),
        };
        if document.config.size > MAX_DOCUMENT {
            return Err(ImageError::TooLarge("the image's configuration is larger than 4 MiB".to_owned()));
        }
        let config = std::fs::read(find(&document.config)?)
            .map_err(ImageError::failed("reading the image's configuration"))?;
        let config: ImageConfig = parse("configuration", &config)?;
        check_platform(&config)?;
        if config.rootfs.diff_ids.len() != document.layers.len() {
            return Err(ImageError::Invalid(format!(
                "the image's manifest has {} layers, its configuration {}",
                document.layers.len(),
                config.rootfs.diff_ids.len()
            )));
        }
        let layers = document
            .layers
            .into_iter()
            .map(|descriptor| find(&descriptor).map(|path| (descriptor, path)))
            .collect::<Result<_, _>>()?;
        let staged = &candidate.manifest;
        Ok(Self {
            manifest: BlobRecord { digest: staged.digest.clone(), size: staged.size },
            config_blob: BlobRecord { digest: document.config.digest, size: document.config.size },
            config,
            layers,
        })
    }

    fn digests(&self) -> Vec<Digest> {
        [&self.manifest.digest, &self.config_blob.digest]
            .into_iter()
            .chain(self.layers.iter().map(|(descriptor, _)| &descriptor.digest))
            .chain(&self.config.rootfs.diff_ids)
            .cloned()
            .collect()
    }
}
