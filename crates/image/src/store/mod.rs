//! The image store: blobs by digest, names per project, and who may see what.

mod admit;
mod collect;
mod disk;
mod docker;
mod record;
mod restore;
mod slots;
mod state;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use picasso_types::{Digest, ImageRef, ProjectId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use self::disk::Disk;
use self::record::name_key;
use self::slots::Slots;
use self::state::{Pins, State};
use crate::bridge::bridge;
use crate::import::{read_archive, read_folder};
use crate::pull::Pulls;
use crate::staging::{Candidate, Staging};
use crate::{ImageError, ImageSettings, LayerUnpacker, Scope};

pub(crate) use self::record::Origin;

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

/// Images on disk, below one folder that belongs to the server. Clones share one store.
#[derive(Debug, Clone)]
pub struct ImageStore(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub disk: Disk,
    pub settings: ImageSettings,
    pub unpacker: Arc<dyn LayerUnpacker>,
    pub pulls: Pulls,
    state: RwLock<State>,
    /// Held while names, records or blobs change, on disk and in memory.
    writer: tokio::sync::Mutex<()>,
    pins: Pins,
    /// Unpacking reads, removing a layer writes: no layer goes while it is being proven.
    layer_gate: tokio::sync::RwLock<()>,
    /// Images whose layers were seen unpacked since the start.
    proven: Mutex<HashSet<Digest>>,
    restoring: tokio::sync::Mutex<()>,
    slots: Slots,
}

impl ImageStore {
    /// Opens the store below `root` (made where it is missing) and removes what an earlier
    /// process left half done. One process at a time may have it open.
    pub fn open(
        root: PathBuf,
        settings: ImageSettings,
        unpacker: Arc<dyn LayerUnpacker>,
    ) -> Result<Self, ImageError> {
        let failed = || ImageError::failed("reading the image folder");
        let disk = Disk::open(root)?;
        let mut state =
            State { scopes: disk.scopes().map_err(failed())?, records: disk.records().map_err(failed())? };
        let State { scopes, records } = &mut state;
        for index in scopes.values_mut() {
            index.granted.retain(|digest, _| records.contains_key(digest));
            index.names.retain(|_, entry| records.contains_key(&entry.digest));
        }
        Ok(Self(Arc::new(Inner {
            disk,
            slots: Slots::new(settings.max_parallel),
            pulls: Pulls::default(),
            settings,
            unpacker,
            state: RwLock::new(state),
            writer: tokio::sync::Mutex::default(),
            pins: Pins::default(),
            layer_gate: tokio::sync::RwLock::default(),
            proven: Mutex::default(),
            restoring: tokio::sync::Mutex::default(),
        })))
    }

    /// Loads an image from a tar: an OCI image layout or what `docker save` writes, plain or gzip.
    /// An image of the same name is replaced once the new one is whole.
    pub async fn import(
        &self,
        scope: &Scope,
        name: &ImageRef,
        reader: impl AsyncRead + Unpin + Send,
    ) -> Result<ImageInfo, ImageError> {
        check_name(name)?;
        let _slot = self.0.slots.take(scope).await;
        let settings = &self.0.settings;
        let (staging, max_bytes) = (self.stage()?, settings.max_archive_bytes);
        let (writer, input) = bridge();
        let wanted = name.clone();
        let reading = tokio::task::spawn_blocking(move || read_archive(input, &wanted, staging, max_bytes));
        let sending = writer.copy(reader, max_bytes, settings.idle_timeout);
        let (sent, read) = tokio::join!(tokio::time::timeout(settings.pull_timeout, sending), reading);
        // A slow sender would keep its place from others.
        let sent = sent.map_err(|_| {
            let limit = settings.pull_timeout.as_secs();
            ImageError::TooLarge(format!("the archive was not sent whole within {limit} seconds"))
        })?;
        // A sender that failed explains why the archive could not be read.
        sent?;
        let candidate = read.map_err(|e| ImageError::failed("reading the archive")(e.into()))??;
        self.admit_loaded(scope, name, candidate).await
    }

    /// Loads an image from a file ([`Self::import`]) or an OCI image layout folder.
    pub async fn import_path(
        &self,
        scope: &Scope,
        name: &ImageRef,
        path: &Path,
    ) -> Result<ImageInfo, ImageError> {
        let failed = || ImageError::failed(format!("opening {}", path.display()));
        if !tokio::fs::metadata(path).await.map_err(failed())?.is_dir() {
            let file = tokio::fs::File::open(path).await.map_err(failed())?;
            return self.import(scope, name, file).await;
        }
        check_name(name)?;
        let _slot = self.0.slots.take(scope).await;
        let (folder, wanted, staging) = (path.to_owned(), name.clone(), self.stage()?);
        let candidate = tokio::task::spawn_blocking(move || read_folder(&folder, &wanted, staging))
            .await
            .map_err(|e| failed()(e.into()))??;
        self.admit_loaded(scope, name, candidate).await
    }

    async fn admit_loaded(
        &self,
        scope: &Scope,
        name: &ImageRef,
        candidate: Candidate,
    ) -> Result<ImageInfo, ImageError> {
        self.admit(scope, name, Origin::Loaded, candidate, &HashSet::new()).await
    }

    /// The names of a scope, sorted.
    #[expect(clippy::unused_async, reason = "a store on another node would ask over the network")]
    pub async fn list(&self, scope: &Scope) -> Result<Vec<ImageInfo>, ImageError> {
        Ok(self.read_state().list(scope))
    }

    /// Bytes on disk of a project's own images.
    #[expect(clippy::unused_async, reason = "a store on another node would ask over the network")]
    pub async fn usage(&self, project: &ProjectId) -> u64 {
        let state = self.read_state();
        state.disk_use(&state.scope(&Scope::Project(project.clone())), None)
    }

    /// Forgets a name. The image goes with the next [`Self::collect`] unless a version uses it.
    pub async fn remove(&self, scope: &Scope, name: &ImageRef) -> Result<(), ImageError> {
        let _writer = self.0.writer.lock().await;
        let mut index = self.read_state().scope(scope);
        if index.names.remove(&name_key(name)).is_none() {
            return Err(ImageError::NotFound(name.clone()));
        }
        let (disk, scope) = (self.0.disk.clone(), scope.clone());
        let failed = || ImageError::failed("removing an image's name");
        let (scope, index) =
            tokio::task::spawn_blocking(move || disk.save_scope(&scope, &index).map(|()| (scope, index)))
                .await
                .map_err(|e| failed()(e.into()))?
                .map_err(failed())?;
        self.write_state().scopes.insert(scope, index);
        Ok(())
    }

    /// Finds what a reference means for a project, without any network traffic: its own names
    /// first, then the operator's shared ones, then a registry. A digest is found only where the
    /// project has that image or it is shared.
    #[expect(clippy::unused_async, reason = "a store on another node would ask over the network")]
    pub async fn resolve(&self, project: &ProjectId, image: &ImageRef) -> Result<Resolution, ImageError> {
        if let Some(resolution) = self.read_state().resolve(project, image)? {
            return Ok(resolution);
        }
        self.registry_of(image).map(|_| Resolution::Remote)
    }

    pub(crate) fn stage(&self) -> Result<Staging, ImageError> {
        Staging::create(&self.0.disk.tmp(), self.0.settings.max_archive_bytes)
    }

    pub(crate) async fn slot(&self, scope: &Scope) -> slots::Slot {
        self.0.slots.take(scope).await
    }

    pub(crate) fn visible_blobs(&self, project: &ProjectId) -> HashSet<Digest> {
        self.read_state().visible_blobs(project)
    }

    pub(crate) fn pin(&self, digests: Vec<Digest>) -> state::Pin {
        self.0.pins.hold(digests)
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn proven(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.0.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_name(name: &ImageRef) -> Result<(), ImageError> {
    if name.digest().is_some() {
        return Err(ImageError::Invalid(format!(
            "an image is loaded under a name and a tag, not under a digest (\"{name}\")"
        )));
    }
    Ok(())
}
