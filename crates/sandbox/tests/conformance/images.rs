//! The image of the cases: the probe and next to nothing else, through the real image store.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use picasso_image::unpack::LayerFolder;
use picasso_image::{
    ImageBuilder, ImageSettings, ImageStore, LayerUnpacker, RootFs, Scope, UnpackBounds, UnpackError,
    UnpackedLayer,
};
use picasso_sandbox::SandboxError;
use picasso_sandbox::docker::ImageExport;
use picasso_types::{Digest, ImageRef, ProjectId};
use tokio::io::AsyncRead;

/// Unpacks in this process: who confines the unpacker is another test's concern.
#[derive(Debug)]
struct InProcess(Mutex<LayerFolder>);

#[async_trait]
impl LayerUnpacker for InProcess {
    async fn unpack(
        &self,
        blob: File,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError> {
        self.0.lock().unwrap().unpack(blob, diff_id, bounds)
    }

    async fn has(&self, diff_id: &Digest) -> Result<bool, UnpackError> {
        self.0.lock().unwrap().has(diff_id)
    }

    async fn remove(&self, diff_id: &Digest) -> Result<(), UnpackError> {
        self.0.lock().unwrap().remove(diff_id)
    }
}

/// The store as the Docker driver sees it.
#[derive(Debug)]
pub struct Export(pub ImageStore);

#[async_trait]
impl ImageExport for Export {
    async fn docker_archive(&self, digest: &Digest) -> Result<Pin<Box<dyn AsyncRead + Send>>, SandboxError> {
        let archive = self.0.docker_archive(digest).await.map_err(|error| SandboxError::Failed {
            context: "exporting".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Box::pin(archive))
    }
}

/// Builds the image and unpacks it to `<dir>/layers`.
pub async fn probe_image(dir: &Path, probe: &Path) -> (ImageStore, Arc<RootFs>) {
    let layout = dir.join("layout.tar");
    let mut builder = ImageBuilder::new();
    builder.file(probe, "bin/probe", 0o755).unwrap();
    builder.bytes("root:x:0:0::/:/bin/probe\n", "etc/passwd", 0o644).unwrap();
    builder.bytes("for the function only", "etc/private-note", 0o600).unwrap();
    builder.directory("work", 0o755).unwrap();
    builder.directory("open", 0o1777).unwrap();
    builder.directory("tmp", 0o1777).unwrap();
    builder.entrypoint(["/bin/probe"]).cmd(["identity"]);
    builder.write(&layout).unwrap();
    let layers = dir.join("layers");
    std::fs::create_dir_all(&layers).unwrap();
    std::fs::set_permissions(&layers, PermissionsExt::from_mode(0o700)).unwrap();
    let folder: OwnedFd = OpenOptions::new().read(true).open(&layers).unwrap().into();
    let unpacker = InProcess(Mutex::new(LayerFolder::open(folder).unwrap()));
    let store = ImageStore::open(dir.join("images"), ImageSettings::default(), Arc::new(unpacker)).unwrap();
    let name = ImageRef::parse("probe:1").unwrap();
    let info = store.import_path(&Scope::Shared, &name, &layout).await.unwrap();
    let project = ProjectId::parse("0123456789abcdef0123456789abcdef").unwrap();
    let rootfs = store.rootfs(&project, &info.digest).await.unwrap();
    (store, rootfs)
}
