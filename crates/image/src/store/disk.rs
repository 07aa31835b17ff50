//! The store's folder: what is where, and how it changes without ever being half visible.
//!
//! ```text
//! blobs/sha256/<hex>      content-addressed
//! records/<hex>.json      one per image, named by the manifest's digest
//! names/shared.json       names/project-<id>.json
//! doubtful/<hex>          layers that may be unpacked without an image needing them
//! tmp/                    imports and pulls in progress; emptied at the start
//! ```

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use picasso_types::{Digest, ProjectId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::{ImageRecord, ScopeIndex};
use crate::staging::StagedFile;
use crate::{ImageError, Scope};

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Makes the folders that are missing and empties `tmp`.
    pub fn open(root: PathBuf) -> Result<Self, ImageError> {
        let failed = || ImageError::failed(format!("opening the image folder {}", root.display()));
        let tmp = root.join("tmp");
        if tmp.exists() {
            fs::remove_dir_all(&tmp).map_err(failed())?;
        }
        for folder in ["blobs/sha256", "records", "names", "doubtful", "tmp"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(folder)).map_err(failed())?;
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).map_err(failed())?;
        Ok(Self { root })
    }

    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Moves a staged blob to its place, on disk before this returns.
    pub fn keep_blob(&self, staged: &StagedFile) -> io::Result<()> {
        let place = self.blob(&staged.digest);
        if place.exists() {
            return Ok(());
        }
        File::open(&staged.path)?.sync_all()?;
        fs::rename(&staged.path, place)
    }

    pub fn sync_blobs(&self) -> io::Result<()> {
        File::open(self.root.join("blobs/sha256"))?.sync_all()
    }

    pub fn remove_blob(&self, digest: &Digest) -> io::Result<()> {
        remove_if_there(&self.blob(digest))
    }

    pub fn blobs(&self) -> io::Result<Vec<Digest>> {
        digests_in(&self.root.join("blobs/sha256"))
    }

    pub fn save_record(&self, record: &ImageRecord) -> io::Result<()> {
        self.replace(&self.record(&record.manifest.digest), record)
    }

    pub fn remove_record(&self, digest: &Digest) -> io::Result<()> {
        remove_if_there(&self.record(digest))
    }

    pub fn records(&self) -> io::Result<HashMap<Digest, Arc<ImageRecord>>> {
        let mut records = HashMap::new();
        for path in files_in(&self.root.join("records"))? {
            let record: ImageRecord = read_json(&path)?;
            records.insert(record.manifest.digest.clone(), Arc::new(record));
        }
        Ok(records)
    }

    pub fn save_scope(&self, scope: &Scope, index: &ScopeIndex) -> io::Result<()> {
        let file = match scope {
            Scope::Shared => "shared.json".to_owned(),
            Scope::Project(project) => format!("project-{project}.json"),
        };
        self.replace(&self.root.join("names").join(file), index)
    }

    pub fn scopes(&self) -> io::Result<HashMap<Scope, ScopeIndex>> {
        let mut scopes = HashMap::new();
        for path in files_in(&self.root.join("names"))? {
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let scope = if name == "shared" {
                Scope::Shared
            } else {
                let project = name.strip_prefix("project-").and_then(|id| ProjectId::stored(id).ok());
                Scope::Project(project.ok_or_else(|| damaged(&path, "its name is not a project's"))?)
            };
            scopes.insert(scope, read_json(&path)?);
        }
        Ok(scopes)
    }

    /// Notes that a layer may be unpacked without an image needing it.
    pub fn doubt_layer(&self, diff_id: &Digest) -> io::Result<()> {
        File::create(self.root.join("doubtful").join(diff_id.hex())).map(drop)
    }

    pub fn trust_layer(&self, diff_id: &Digest) -> io::Result<()> {
        remove_if_there(&self.root.join("doubtful").join(diff_id.hex()))
    }

    pub fn doubtful_layers(&self) -> io::Result<HashSet<Digest>> {
        Ok(digests_in(&self.root.join("doubtful"))?.into_iter().collect())
    }

    fn record(&self, digest: &Digest) -> PathBuf {
        self.root.join("records").join(format!("{}.json", digest.hex()))
    }

    /// Replaces a file as a whole: readers and crashes see the old one or the new one.
    fn replace(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join("tmp").join(format!("file-{number}"));
        let mut file = File::create_new(&temporary)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn digests_in(folder: &Path) -> io::Result<Vec<Digest>> {
    let names = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<OsString>>>()?;
    Ok(names
        .into_iter()
        .filter_map(|name| Digest::parse(&format!("sha256:{}", name.to_str()?)).ok())
        .collect())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(|error| damaged(path, &error.to_string()))
}

fn damaged(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {why}", path.display()))
}
