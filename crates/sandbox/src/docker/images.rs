//! Images in the Engine: loaded once, tagged by digest, removed with the instance.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bollard::query_parameters::{
    ImportImageOptions, ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::StreamExt;
use picasso_types::Digest;
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;

use super::ImageExport;
use super::api::{Api, shortened, status};
use crate::SandboxError;

/// Messages of one load that are read; the Engine sends a few for each layer.
const MESSAGES: usize = 100_000;

/// The images of one instance in the Engine.
#[derive(Debug)]
pub(super) struct Images {
    instance: String,
    export: Arc<dyn ImageExport>,
    /// Loads go one after the other: they are the Engine's heaviest work.
    ready: Mutex<HashSet<Digest>>,
}

impl Images {
    pub(super) fn new(instance: String, export: Arc<dyn ImageExport>) -> Self {
        Self { instance, export, ready: Mutex::default() }
    }

    fn repository(&self) -> String {
        format!("picasso-{}", self.instance)
    }

    /// The name an image has in the Engine.
    pub(super) fn reference(&self, digest: &Digest) -> String {
        format!("{}:{}", self.repository(), digest.hex())
    }

    /// Loads an image unless it is there.
    pub(super) async fn prepare(&self, api: &Api, digest: &Digest) -> Result<(), SandboxError> {
        let mut ready = self.ready.lock().await;
        if ready.contains(digest) {
            return Ok(());
        }
        let reference = self.reference(digest);
        let reference = reference.as_str();
        let inspect = api.call(|docker| async move { docker.inspect_image(reference).await }).await;
        match inspect {
            Ok(_) => {}
            Err(error) if status(&error) == Some(404) => self.load(api, digest).await?,
            Err(error) => return Err(api.error("looking for an image in the Docker Engine", &error)),
        }
        ready.insert(digest.clone());
        Ok(())
    }

    /// Forgets that an image is ready: somebody removed it from the Engine.
    pub(super) async fn forget(&self, digest: &Digest) {
        self.ready.lock().await.remove(digest);
    }

    async fn load(&self, api: &Api, digest: &Digest) -> Result<(), SandboxError> {
        let archive = self.export.docker_archive(digest).await?;
        let chunks = ReaderStream::with_capacity(archive, 64 * 1024);
        let mut messages = Box::pin(
            api.long().import_image_stream(ImportImageOptions::default(), chunks, None).take(MESSAGES),
        );
        let mut loaded = None;
        while let Some(message) = messages.next().await {
            let message =
                message.map_err(|error| api.error("loading an image into the Docker Engine", &error))?;
            if let Some(text) = message.stream
                && let Some(id) = text.trim().strip_prefix("Loaded image ID: ")
            {
                loaded = Some(id.to_owned());
            }
        }
        let Some(id) = loaded else {
            return Err(SandboxError::Failed {
                context: format!("loading image {} into the Docker Engine", digest.as_str()),
                reason: "the Engine did not say which image it loaded".to_owned(),
            });
        };
        let id = id.as_str();
        self.check(api, id).await?;
        let options = TagImageOptionsBuilder::new().repo(&self.repository()).tag(digest.hex()).build();
        api.call(|docker| async move { docker.tag_image(id, Some(options)).await })
            .await
            .map_err(|error| api.error("naming an image in the Docker Engine", &error))
    }

    /// A volume of the image would be a folder of the host that its function can fill.
    async fn check(&self, api: &Api, id: &str) -> Result<(), SandboxError> {
        let image = api
            .call(|docker| async move { docker.inspect_image(id).await })
            .await
            .map_err(|error| api.error("looking at a loaded image", &error))?;
        let volumes = image.config.and_then(|config| config.volumes).unwrap_or_default();
        if volumes.is_empty() {
            return Ok(());
        }
        Err(SandboxError::CannotStart(format!(
            "the image declares volumes ({}), which sandboxes do not have",
            shortened(&volumes.join(", "))
        )))
    }

    /// Removes every image of the instance.
    pub(super) async fn reap(&self, api: &Api) -> Result<(), SandboxError> {
        let mut ready = self.ready.lock().await;
        ready.clear();
        let ours = HashMap::from([("reference", vec![self.repository()])]);
        let options = ListImagesOptionsBuilder::new().filters(&ours).build();
        let images = api
            .call(|docker| async move { docker.list_images(Some(options)).await })
            .await
            .map_err(|error| api.error("listing the Docker Engine's images", &error))?;
        let prefix = format!("{}:", self.repository());
        for tag in images.into_iter().flat_map(|image| image.repo_tags) {
            if !tag.starts_with(&prefix) {
                continue;
            }
            let tag = tag.as_str();
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            match api.call(|docker| async move { docker.remove_image(tag, Some(options), None).await }).await
            {
                Ok(_) => {}
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => return Err(api.error("removing an image from the Docker Engine", &error)),
            }
        }
        Ok(())
    }
}
