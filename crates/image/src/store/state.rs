//! The store in memory: who may see which image. Answers need no disk.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use picasso_types::{Digest, ImageRef, ProjectId};

use super::record::{ImageRecord, NameEntry, Origin, ScopeIndex, name_key};
use super::{ImageInfo, Resolution};
use crate::{ImageError, Scope};

#[derive(Debug, Default)]
pub(crate) struct State {
    pub scopes: HashMap<Scope, ScopeIndex>,
    pub records: HashMap<Digest, Arc<ImageRecord>>,
}

impl State {
    pub fn scope(&self, scope: &Scope) -> ScopeIndex {
        self.scopes.get(scope).cloned().unwrap_or_default()
    }

    fn both(&self, project: &ProjectId) -> impl Iterator<Item = &ScopeIndex> {
        let own = self.scopes.get(&Scope::Project(project.clone()));
        own.into_iter().chain(self.scopes.get(&Scope::Shared))
    }

    /// The image, if the project may run it.
    pub fn visible(&self, project: &ProjectId, digest: &Digest) -> Option<Arc<ImageRecord>> {
        let granted = self.both(project).any(|scope| scope.granted.contains_key(digest));
        granted.then(|| self.records.get(digest).cloned())?
    }

    /// Blobs of the images that the project may run: whoever names another's blob has to send it.
    pub fn visible_blobs(&self, project: &ProjectId) -> HashSet<Digest> {
        self.both(project)
            .flat_map(|scope| scope.granted.keys())
            .filter_map(|digest| self.records.get(digest))
            .flat_map(|record| record.blobs().map(|blob| blob.digest.clone()))
            .collect()
    }

    /// `None` where only a registry can tell.
    pub fn resolve(&self, project: &ProjectId, image: &ImageRef) -> Result<Option<Resolution>, ImageError> {
        if let Some(digest) = image.digest() {
            let own = self.scopes.get(&Scope::Project(project.clone()));
            let shared = self.scopes.get(&Scope::Shared);
            // What the operator took back stays for versions that pinned it, not for new ones.
            let visible = own.is_some_and(|scope| scope.granted.contains_key(digest))
                || shared.is_some_and(|scope| scope.names_digest(digest));
            if visible && self.records.contains_key(digest) {
                return Ok(Some(Resolution::Local(digest.clone())));
            }
        } else {
            let key = name_key(image);
            let found = self
                .both(project)
                .filter_map(|scope| scope.names.get(&key))
                .find(|entry| entry.origin == Origin::Loaded);
            if let Some(entry) = found {
                return Ok(Some(Resolution::Local(entry.digest.clone())));
            }
        }
        if image.registry().is_none() { Err(ImageError::NotFound(image.clone())) } else { Ok(None) }
    }

    pub fn list(&self, scope: &Scope) -> Vec<ImageInfo> {
        let Some(index) = self.scopes.get(scope) else { return Vec::new() };
        index.names.values().filter_map(|entry| self.info(scope, entry)).collect()
    }

    pub fn info(&self, scope: &Scope, entry: &NameEntry) -> Option<ImageInfo> {
        let record = self.records.get(&entry.digest)?;
        Some(ImageInfo {
            name: entry.name.clone(),
            digest: entry.digest.clone(),
            size_bytes: record.size_bytes(),
            created_at: entry.created_at,
            shared: *scope == Scope::Shared,
            argv: record.rootfs.process.argv.clone(),
        })
    }

    /// Bytes on disk of a scope's images, and one more; a layer they share counts once.
    pub fn disk_use(&self, index: &ScopeIndex, more: Option<&ImageRecord>) -> u64 {
        let images = index.granted.keys().filter_map(|digest| self.records.get(digest)).map(AsRef::as_ref);
        let parts: HashMap<&Digest, u64> = images.chain(more).flat_map(ImageRecord::disk_use).collect();
        parts.values().sum()
    }

    pub fn needs_layer(&self, diff_id: &Digest) -> bool {
        self.records.values().any(|record| record.diff_ids().any(|one| one == diff_id))
    }
}

/// Content that work in progress needs, whatever the names say.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pins(Arc<Mutex<HashMap<Digest, usize>>>);

impl Pins {
    pub fn hold(&self, digests: Vec<Digest>) -> Pin {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in &digests {
            *held.entry(digest.clone()).or_default() += 1;
        }
        drop(held);
        Pin { pins: self.clone(), digests }
    }

    pub fn holds(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(digest)
    }
}

/// Releases what it holds when dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    digests: Vec<Digest>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.0.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in &self.digests {
            if let Some(count) = held.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    held.remove(digest);
                }
            }
        }
    }
}
