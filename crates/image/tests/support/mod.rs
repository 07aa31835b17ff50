//! What the image tests share: archives made by hand, and an unpacker in the test's own process.
#![expect(dead_code, clippy::unwrap_used, reason = "each test binary uses its part, and may unwrap")]

pub mod front;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use picasso_image::unpack::LayerFolder;
use picasso_image::{
    ImageSettings, ImageStore, LayerUnpacker, Scope, UnpackBounds, UnpackError, UnpackedLayer,
};
use picasso_types::{Digest, ImageRef, ProjectId};
use serde_json::{Value, json};
use tar::{EntryType, Header};
use tempfile::TempDir;

pub const BOUNDS: UnpackBounds =
    UnpackBounds { max_bytes: 1 << 20, max_inodes: 1000, timeout: Duration::from_secs(30) };

/// Whether the tests may make device nodes and set owners; says so where they may not.
pub fn is_root() -> bool {
    let missing = (!rustix::process::geteuid().is_root()).then_some("the tests run as another user");
    picasso_testkit::process::require("root", missing)
}

/// A tar, entry by entry; nothing is checked, so that it can be hostile.
#[derive(Default)]
pub struct Tar {
    bytes: Vec<u8>,
    uid: u64,
    gid: u64,
    mode: Option<u32>,
    mtime: u64,
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// Owner, mode and time of the entries that follow.
    pub fn owned_by(mut self, uid: u64, gid: u64, mode: u32, mtime: u64) -> Self {
        (self.uid, self.gid, self.mode, self.mtime) = (uid, gid, Some(mode), mtime);
        self
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, path, "", content.as_ref())
    }

    pub fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, b"")
    }

    pub fn entry(mut self, kind: EntryType, path: &str, link: &str, content: &[u8]) -> Self {
        let size = content.len() as u64;
        self.header(kind, path.as_bytes(), link.as_bytes(), size);
        self.raw(content).pad()
    }

    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", "", &content)
    }

    pub fn header(&mut self, kind: EntryType, path: &[u8], link: &[u8], size: u64) {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path);
        gnu.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_uid(self.uid);
        header.set_gid(self.gid);
        header.set_mtime(self.mtime);
        header.set_mode(self.mode.unwrap_or(if kind == EntryType::Directory { 0o755 } else { 0o644 }));
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn pad(mut self) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// The tar with its end mark.
    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }

    pub fn cut(self) -> Vec<u8> {
        self.bytes
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A file with these bytes, read from its start.
pub fn blob(bytes: &[u8]) -> File {
    use std::io::Seek;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A layer folder of the test's own, unpacked into by the test's own process.
#[derive(Debug)]
pub struct Layers {
    pub dir: TempDir,
    folder: Mutex<LayerFolder>,
    pub unpacked: Mutex<Vec<Digest>>,
}

impl Layers {
    pub fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let folder = Mutex::new(LayerFolder::open(OwnedFd::from(File::open(dir.path()).unwrap())).unwrap());
        Arc::new(Self { dir, folder, unpacked: Mutex::default() })
    }

    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.dir.path().join(diff_id.hex())
    }

    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Unpacks a plain tar under its own digest.
    pub fn take(&self, tar: &[u8]) -> Result<UnpackedLayer, UnpackError> {
        self.take_with(tar, &Digest::of(tar), BOUNDS)
    }

    pub fn take_with(
        &self,
        bytes: &[u8],
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError> {
        self.folder.lock().unwrap().unpack(blob(bytes), diff_id, bounds)
    }
}

#[async_trait]
impl LayerUnpacker for Layers {
    async fn unpack(
        &self,
        blob: File,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError> {
        self.unpacked.lock().unwrap().push(diff_id.clone());
        self.folder.lock().unwrap().unpack(blob, diff_id, bounds)
    }

    async fn has(&self, diff_id: &Digest) -> Result<bool, UnpackError> {
        self.folder.lock().unwrap().has(diff_id)
    }

    async fn remove(&self, diff_id: &Digest) -> Result<(), UnpackError> {
        self.folder.lock().unwrap().remove(diff_id)
    }
}

/// A store with its layers, in temporary folders.
pub struct Images {
    pub store: ImageStore,
    pub layers: Arc<Layers>,
    pub dir: TempDir,
}

impl Images {
    pub fn new() -> Self {
        Self::with(ImageSettings::default())
    }

    pub fn with(settings: ImageSettings) -> Self {
        let (dir, layers) = (tempfile::tempdir().unwrap(), Layers::new());
        let unpacker: Arc<dyn LayerUnpacker> = layers.clone();
        let store = ImageStore::open(dir.path().join("images"), settings, unpacker).unwrap();
        Self { store, layers, dir }
    }

    /// Opens the folder again, as a restarted server does.
    pub fn reopen(&mut self, settings: ImageSettings) {
        let unpacker: Arc<dyn LayerUnpacker> = self.layers.clone();
        self.store = ImageStore::open(self.dir.path().join("images"), settings, unpacker).unwrap();
    }

    pub fn blobs(&self) -> Vec<String> {
        files(&self.dir.path().join("images/blobs/sha256"))
    }

    pub fn leftovers(&self) -> Vec<String> {
        files(&self.dir.path().join("images/tmp"))
    }
}

pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub fn project(id: &str) -> ProjectId {
    ProjectId::parse(id).unwrap()
}

pub fn scope(id: &str) -> Scope {
    Scope::Project(project(id))
}

pub fn name(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

/// Layers and configuration of an image, to be packed in either format, right or wrong.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    pub config: Value,
}

impl Image {
    /// One layer with `/bin/hello`, entry point `/bin/hello`.
    pub fn hello(content: &str) -> Self {
        Self::of(vec![Tar::new().owned_by(0, 0, 0o755, 0).file("bin/hello", content).end()])
    }

    pub fn of(layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        Self {
            layers,
            config: json!({
                "architecture": "amd64",
                "os": "linux",
                "config": {"Entrypoint": ["/bin/hello"], "Cmd": null, "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }),
        }
    }

    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.config["config"][key] = value;
        self
    }

    fn config_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.config).unwrap()
    }

    /// Its blobs, manifest last: media type and bytes.
    pub fn blobs(&self) -> Vec<(&'static str, Vec<u8>)> {
        let config = self.config_bytes();
        let mut blobs = vec![("application/vnd.oci.image.config.v1+json", config)];
        for layer in &self.layers {
            blobs.push(("application/vnd.oci.image.layer.v1.tar+gzip", gzip(layer)));
        }
        let described: Vec<Value> = blobs.iter().map(|(kind, bytes)| describe(kind, bytes)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described[0],
            "layers": described[1..],
        });
        blobs.push(("application/vnd.oci.image.manifest.v1+json", serde_json::to_vec(&manifest).unwrap()));
        blobs
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.blobs().pop().unwrap().1)
    }

    pub fn diff_id(&self, at: usize) -> Digest {
        Digest::of(&self.layers[at])
    }

    /// Files of an OCI image layout.
    pub fn layout(&self) -> BTreeMap<String, Vec<u8>> {
        let blobs = self.blobs();
        let (kind, manifest) = blobs.last().unwrap();
        let mut files = layout_of(&[describe(kind, manifest)]);
        for (_, bytes) in blobs {
            files.insert(blob_path(&bytes), bytes);
        }
        files
    }

    /// Files of a `docker save` archive.
    pub fn saved(&self, tags: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let config = self.config_bytes();
        let config_name = format!("{}.json", Digest::of(&config).hex());
        let layers: Vec<String> = (0..self.layers.len()).map(|at| format!("{at}/layer.tar")).collect();
        let list = json!([{"Config": config_name, "RepoTags": tags, "Layers": layers}]);
        let mut files = BTreeMap::from([
            (config_name, config),
            ("manifest.json".to_owned(), serde_json::to_vec(&list).unwrap()),
        ]);
        files.extend(layers.into_iter().zip(self.layers.clone()));
        files
    }
}

pub fn layout_of(manifests: &[Value]) -> BTreeMap<String, Vec<u8>> {
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    BTreeMap::from([
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), serde_json::to_vec(&index).unwrap()),
    ])
}

pub fn describe(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

pub fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

/// Packs files into a tar.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    files.iter().fold(Tar::new(), |tar, (path, content)| tar.file(path, content)).end()
}
