//! Making an image from local files, without Docker: what `picasso image build` does.
//!
//! The same input gives the same bytes, so the same digest: times are 0, owners root, entries
//! sorted (OCI image-spec 1.1, layer.md and image-layout.md).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use picasso_types::Digest;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::documents::{
    Descriptor, ImageConfig, Index, LayoutMark, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST,
    RootFsIds, RunConfig, host_architecture, to_bytes,
};
use crate::{ImageError, UnpackError};

/// Collects what an image consists of; [`Self::write`] makes it.
#[derive(Debug, Default)]
pub struct ImageBuilder {
    items: BTreeMap<String, Item>,
    run: RunConfig,
    name: Option<String>,
}

#[derive(Debug)]
enum Item {
    File { source: PathBuf, mode: u32 },
    Bytes { content: Vec<u8>, mode: u32 },
    Directory { mode: u32 },
    Symlink { target: String },
}

impl ImageBuilder {
    /// An image without files and without anything to run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a local file at `path` of the image, with permission bits `mode`.
    pub fn file(&mut self, source: &Path, path: &str, mode: u32) -> Result<&mut Self, ImageError> {
        self.add(path, Item::File { source: source.to_owned(), mode: mode & 0o7777 })
    }

    /// Adds a file of these bytes.
    pub fn bytes(
        &mut self,
        content: impl Into<Vec<u8>>,
        path: &str,
        mode: u32,
    ) -> Result<&mut Self, ImageError> {
        self.add(path, Item::Bytes { content: content.into(), mode: mode & 0o7777 })
    }

    /// Adds a folder; folders that files need are made with mode 0755 by themselves.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<&mut Self, ImageError> {
        self.add(path, Item::Directory { mode: mode & 0o7777 })
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, target: &str, path: &str) -> Result<&mut Self, ImageError> {
        self.add(path, Item::Symlink { target: target.to_owned() })
    }

    /// The program and its first arguments.
    pub fn entrypoint<S: Into<String>>(&mut self, argv: impl IntoIterator<Item = S>) -> &mut Self {
        self.run.entrypoint = argv.into_iter().map(Into::into).collect();
        self
    }

    /// Further arguments, or the program where there is no entry point.
    pub fn cmd<S: Into<String>>(&mut self, argv: impl IntoIterator<Item = S>) -> &mut Self {
        self.run.cmd = argv.into_iter().map(Into::into).collect();
        self
    }

    /// Adds an environment variable.
    pub fn env(&mut self, key: &str, value: &str) -> &mut Self {
        self.run.env.push(format!("{key}={value}"));
        self
    }

    /// The working directory.
    pub fn workdir(&mut self, path: &str) -> &mut Self {
        path.clone_into(&mut self.run.working_dir);
        self
    }

    /// The user: `user`, `uid`, `user:group` or `uid:gid`.
    pub fn user(&mut self, user: &str) -> &mut Self {
        user.clone_into(&mut self.run.user);
        self
    }

    /// Adds a label.
    pub fn label(&mut self, key: &str, value: &str) -> &mut Self {
        self.run.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The name that the layout gives its image (annotation `org.opencontainers.image.ref.name`).
    pub fn name(&mut self, name: &str) -> &mut Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Writes the image as the tar of an OCI image layout; the file appears when it is whole.
    /// Gives the manifest's digest.
    pub fn write(&self, output: &Path) -> Result<Digest, ImageError> {
        let failed = || ImageError::failed(format!("writing {}", output.display()));
        let beside = |suffix: &str| {
            let mut name = output.as_os_str().to_owned();
            name.push(format!(".{}.{suffix}", std::process::id()));
            PathBuf::from(name)
        };
        let (layer_path, whole_path) = (beside("layer"), beside("whole"));
        let written = self.write_with(&layer_path, &whole_path);
        let _ = fs::remove_file(&layer_path);
        match written {
            Ok(digest) => fs::rename(&whole_path, output).map_err(failed()).map(|()| digest),
            Err(error) => {
                let _ = fs::remove_file(&whole_path);
                Err(failed()(error))
            }
        }
    }

    fn add(&mut self, path: &str, item: Item) -> Result<&mut Self, ImageError> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let reserved = |part: &&str| *part == ".." || part.starts_with(".wh.") || part.contains('\0');
        if parts.is_empty() || parts.iter().any(reserved) {
            return Err(ImageError::Invalid(format!("\"{path}\" cannot be a path in an image")));
        }
        let path = parts.join("/");
        for (slash, _) in path.match_indices('/') {
            self.items.entry(path[..slash].to_owned()).or_insert(Item::Directory { mode: 0o755 });
        }
        self.items.insert(path, item);
        Ok(self)
    }

    fn write_with(&self, layer_path: &Path, whole_path: &Path) -> io::Result<Digest> {
        let mut layer_file = File::options().read(true).write(true).create_new(true).open(layer_path)?;
        let (layer, diff_id) = self.write_layer(&mut layer_file)?;
        layer_file.rewind()?;
        let config = to_bytes(&ImageConfig {
            architecture: host_architecture().to_owned(),
            os: "linux".to_owned(),
            config: self.run.clone(),
            rootfs: RootFsIds { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
        })
        .map_err(io::Error::other)?;
        let manifest = to_bytes(&Manifest::new(describe(OCI_CONFIG, &config), vec![layer.clone()]))
            .map_err(io::Error::other)?;
        let mut named = describe(OCI_MANIFEST, &manifest);
        if let Some(name) = &self.name {
            named.annotations.insert("org.opencontainers.image.ref.name".to_owned(), name.clone());
        }
        let digest = named.digest.clone();
        let index = Index { schema_version: 2, media_type: OCI_INDEX.to_owned(), manifests: vec![named] };
        let index = to_bytes(&index).map_err(io::Error::other)?;
        let mark =
            to_bytes(&LayoutMark { image_layout_version: "1.0.0".to_owned() }).map_err(io::Error::other)?;

        let mut tar = tar::Builder::new(BufWriter::new(File::create_new(whole_path)?));
        let blob_name = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        append(&mut tar, "oci-layout", 0o644, mark.len() as u64, mark.as_slice())?;
        append(&mut tar, "index.json", 0o644, index.len() as u64, index.as_slice())?;
        append(&mut tar, &blob_name(&digest), 0o644, manifest.len() as u64, manifest.as_slice())?;
        append(&mut tar, &blob_name(&Digest::of(&config)), 0o644, config.len() as u64, config.as_slice())?;
        append(&mut tar, &blob_name(&layer.digest), 0o644, layer.size, BufReader::new(layer_file))?;
        let file = tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(digest)
    }

    /// Writes the compressed layer; gives its descriptor and the digest of the plain tar.
    fn write_layer(&self, file: &mut File) -> io::Result<(Descriptor, Digest)> {
        let compressed = HashingWriter::new(BufWriter::new(file));
        let gzip = GzBuilder::new().mtime(0).operating_system(255).write(compressed, Compression::best());
        let mut tar = tar::Builder::new(HashingWriter::new(gzip));
        for (path, item) in &self.items {
            match item {
                Item::File { source, mode } => {
                    let read = |error: io::Error| {
                        io::Error::new(error.kind(), format!("reading {}: {error}", source.display()))
                    };
                    let content = File::open(source).map_err(read)?;
                    let size = content.metadata().map_err(read)?.len();
                    append(&mut tar, path, *mode, size, content)?;
                }
                Item::Bytes { content, mode } => {
                    append(&mut tar, path, *mode, content.len() as u64, content.as_slice())?;
                }
                Item::Directory { mode } => {
                    let mut header = header_of(*mode, 0, EntryType::Directory);
                    tar.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Item::Symlink { target } => {
                    let mut header = header_of(0o777, 0, EntryType::Symlink);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        let plain = tar.into_inner()?;
        let diff_id = Digest::from_hash(&plain.hash.finalize());
        let mut compressed = plain.inner.finish()?;
        compressed.flush()?;
        let digest = Digest::from_hash(&compressed.hash.finalize());
        let layer = Descriptor {
            media_type: format!("{OCI_LAYER}+gzip"),
            digest,
            size: compressed.written,
            annotations: BTreeMap::new(),
            platform: None,
        };
        Ok((layer, diff_id))
    }
}

fn describe(media_type: &str, content: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(content),
        size: content.len() as u64,
        annotations: BTreeMap::new(),
        platform: None,
    }
}

fn header_of(mode: u32, size: u64, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = header_of(mode, size, EntryType::Regular);
    let mut counted = Counted { inner: content.take(size), count: 0 };
    tar.append_data(&mut header, path, &mut counted)?;
    if counted.count == size {
        return Ok(());
    }
    Err(io::Error::other(UnpackError::Failed(format!("{path} changed while it was read"))))
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    written: u64,
}

impl<W: Write> HashingWriter<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), written: 0 }
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(data)?;
        self.hash.update(&data[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
