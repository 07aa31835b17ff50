//! Pulling images from registries that the operator allows.

mod challenge;
mod client;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use picasso_types::{Digest, ImageRef, ProjectId};

use self::client::RegistryClient;
use crate::bridge::bridge;
use crate::documents::{Descriptor, Index, Manifest, Platform, parse};
use crate::staging::{Candidate, StagedFile, Staging};
use crate::store::{ImageStore, Origin};
use crate::{ImageError, RegistrySettings, Scope};

type PullKey = (ProjectId, ImageRef);
type SharedPull = Shared<BoxFuture<'static, Result<Digest, ImageError>>>;

/// Pulls that are under way: who asks for the same image waits for the same pull.
#[derive(Debug, Default)]
pub(crate) struct Pulls(Mutex<HashMap<PullKey, SharedPull>>);

impl ImageStore {
    /// Gets an image from its registry, ready to run; the digest is what a version pins.
    ///
    /// The pull goes on when the caller goes away, and ends after the operator's time limit.
    pub async fn pull(&self, project: &ProjectId, image: &ImageRef) -> Result<Digest, ImageError> {
        self.registry_of(image)?;
        let key = (project.clone(), image.clone());
        let running = {
            let mut pulls = self.0.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = pulls.get(&key) {
                running.clone()
            } else {
                let (store, pulled) = (self.clone(), key.clone());
                let task = tokio::spawn(async move {
                    let result = store.pull_in_time(&pulled.0, &pulled.1).await;
                    store.0.pulls.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pulled);
                    result
                });
                let running = async move {
                    task.await.unwrap_or_else(|e| Err(ImageError::failed("pulling an image")(e.into())))
                }
                .boxed()
                .shared();
                pulls.insert(key, running.clone());
                running
            }
        };
        running.await
    }

    /// The settings of the registry that a reference names, if it may be pulled from.
    pub(crate) fn registry_of(&self, image: &ImageRef) -> Result<&RegistrySettings, ImageError> {
        let registry = image.registry().ok_or_else(|| ImageError::NotFound(image.clone()))?;
        let allowed = &self.0.settings.registries;
        allowed
            .iter()
            .find(|one| one.host.eq_ignore_ascii_case(registry))
            .ok_or_else(|| ImageError::RegistryNotAllowed { registry: registry.to_owned() })
    }

    async fn pull_in_time(&self, project: &ProjectId, image: &ImageRef) -> Result<Digest, ImageError> {
        let scope = Scope::Project(project.clone());
        let _slot = self.slot(&scope).await;
        let limit = self.0.settings.pull_timeout;
        let registry = self.registry_of(image)?;
        let fetched = tokio::time::timeout(limit, self.fetch(registry, project, image)).await;
        let (candidate, reusable, _pin) = fetched.map_err(|_| ImageError::Registry {
            registry: registry.host.clone(),
            reason: format!("did not deliver the image within {} seconds", limit.as_secs()),
            temporary: true,
        })??;
        let info = self.admit(&scope, image, Origin::Pulled, candidate, &reusable).await?;
        Ok(info.digest)
    }

    async fn fetch(
        &self,
        registry: &RegistrySettings,
        project: &ProjectId,
        image: &ImageRef,
    ) -> Result<(Candidate, HashSet<Digest>, impl Drop + use<>), ImageError> {
        let mut client = RegistryClient::new(&self.0.settings, registry, project, image.repository())?;
        let bytes = find_manifest(&mut client, image).await?;
        let manifest: Manifest = parse("manifest", &bytes)?;
        let wanted = self.wanted(&manifest)?;
        let reusable = self.visible_blobs(project);
        let pin = self.pin(wanted.iter().map(|descriptor| descriptor.digest.clone()).collect());
        // Visible before the pin and still there after it: it stays until the pin goes.
        let reusable: HashSet<Digest> =
            reusable.into_iter().filter(|digest| self.0.disk.blob(digest).exists()).collect();
        let mut staging = self.stage()?;
        let manifest = staging.add_bytes(&bytes)?;
        let mut blobs = HashMap::new();
        for descriptor in wanted {
            if !reusable.contains(&descriptor.digest) && !blobs.contains_key(&descriptor.digest) {
                let (blob, back) = download(&mut client, &descriptor, staging).await?;
                blobs.insert(descriptor.digest.clone(), blob);
                staging = back;
            }
        }
        Ok((Candidate { manifest, blobs, _staging: staging }, reusable, pin))
    }

    /// The blobs of a manifest, if it keeps to the bounds: before anything is downloaded.
    fn wanted(&self, manifest: &Manifest) -> Result<Vec<Descriptor>, ImageError> {
        let settings = &self.0.settings;
        let blobs: Vec<Descriptor> =
            std::iter::once(&manifest.config).chain(&manifest.layers).cloned().collect();
        let total = blobs.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        if total > settings.max_archive_bytes {
            return Err(crate::bridge::too_large(settings.max_archive_bytes));
        }
        if manifest.layers.len() > settings.max_layers {
            return Err(ImageError::TooLarge(format!(
                "the image has {} layers; this cloud runs images of 1 to {} layers",
                manifest.layers.len(),
                settings.max_layers
            )));
        }
        Ok(blobs)
    }
}

/// The manifest for this machine, its digest checked against whatever names it.
async fn find_manifest(
    client: &mut RegistryClient<'_>,
    image: &ImageRef,
) -> Result<bytes::Bytes, ImageError> {
    let mut pinned = image.digest().cloned();
    let mut reference = match (image.digest(), image.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    for _ in 0..3 {
        let bytes = client.manifest(&reference).await?;
        let actual = Digest::of(&bytes);
        if pinned.as_ref().is_some_and(|pinned| *pinned != actual) {
            return Err(client.error("sent a manifest of another digest than was asked for", false));
        }
        let Ok(index) = serde_json::from_slice::<Index>(&bytes) else { return Ok(bytes) };
        let ours = index.manifests.iter().find(|one| one.platform.as_ref().is_some_and(Platform::is_ours));
        let ours = ours.ok_or_else(|| {
            let host = crate::documents::host_architecture();
            ImageError::Invalid(format!("the image \"{image}\" has no variant for linux/{host}"))
        })?;
        reference = ours.digest.to_string();
        pinned = Some(ours.digest.clone());
    }
    Err(ImageError::Invalid("the image's indexes are nested too deep".to_owned()))
}

async fn download(
    client: &mut RegistryClient<'_>,
    descriptor: &Descriptor,
    mut staging: Staging,
) -> Result<(StagedFile, Staging), ImageError> {
    let mut response = client.blob(&descriptor.digest).await?;
    let (writer, mut input) = bridge();
    let writing = tokio::task::spawn_blocking(move || {
        let file = staging.add(|buffer| {
            std::io::Read::read(&mut input, buffer).map_err(ImageError::failed("receiving a blob"))
        });
        file.map(|file| (file, staging))
    });
    let wrong = |what: &str| client.error(&format!("sent the blob {} {what}", descriptor.digest), false);
    let received: Result<u64, ImageError> = async {
        let mut left = descriptor.size;
        while let Some(chunk) = response.chunk().await.map_err(|e| client.unreachable(&e))? {
            left =
                left.checked_sub(chunk.len() as u64).ok_or_else(|| wrong("with more bytes than it says"))?;
            if !writer.send(chunk).await {
                return Ok(left);
            }
        }
        writer.end().await;
        Ok(left)
    }
    .await;
    // Also after an error: the staging folder must be gone before anybody hears of it.
    let written = writing.await.map_err(|e| ImageError::failed("receiving a blob")(e.into()))?;
    let (left, (file, staging)) = (received?, written?);
    if left > 0 || file.digest != descriptor.digest {
        return Err(wrong("with a content that does not have this digest"));
    }
    Ok((file, staging))
}

/// Reads what a registry asks for.
#[cfg(fuzzing)]
pub(crate) fn challenge(header: &str) {
    let _ = challenge::parse(header);
}
