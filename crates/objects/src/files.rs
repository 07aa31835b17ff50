//! Parts as files below one folder: readable by the server's user only, on disk before they count.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{MAX_PART_BYTES, ObjectError, ObjectName, ObjectStore};

/// [`ObjectStore`] in a folder.
#[derive(Debug)]
pub struct FileObjects {
    root: PathBuf,
}

impl FileObjects {
    /// The folder, which is made where there is none.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ObjectError> {
        let root = root.into();
        make_folder(&root).map_err(|error| {
            let shown = root.display();
            ObjectError::Settings(format!("the folder {shown} cannot be made: {error}"))
        })?;
        Ok(Self { root })
    }

    async fn blocking<T: Send + 'static>(
        context: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let done = tokio::task::spawn_blocking(work).await;
        match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(value) => Ok(value),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(ObjectError::Missing),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                Err(ObjectError::TooLarge { limit: MAX_PART_BYTES })
            }
            Err(error) => Err(ObjectError::unavailable(context, error)),
        }
    }
}

#[async_trait]
impl ObjectStore for FileObjects {
    async fn put(&self, name: &ObjectName, part: Bytes) -> Result<(), ObjectError> {
        let (root, name) = (self.root.clone(), name.clone());
        Self::blocking("writing a file", move || put(&root, &name, &part)).await
    }

    async fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let path = self.root.join(name.folder()).join(name.file());
        Self::blocking("reading a file", move || get(&path)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let folder = self.root.join(name.folder());
        let (path, beside) = (folder.join(name.file()), beside(&folder, name));
        Self::blocking("deleting a file", move || {
            for path in [path, beside] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// Where a part is written until it is whole.
fn beside(folder: &Path, name: &ObjectName) -> PathBuf {
    folder.join(format!("{}.new", name.file()))
}

fn put(root: &Path, name: &ObjectName, part: &[u8]) -> io::Result<()> {
    let folder = root.join(name.folder());
    make_folder(&folder)?;
    let beside = beside(&folder, name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(part)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(name.file()))?;
    File::open(&folder)?.sync_all()
}

fn get(path: &Path) -> io::Result<Bytes> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_PART_BYTES as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_PART_BYTES {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(content.into())
}

/// Makes a folder and those above it; each is on disk, entry and all.
fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let Some(above) = folder.parent() else { return Err(error) };
            make_folder(above)?;
            match DirBuilder::new().mode(0o700).create(folder) {
                // Another part's folder.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
                made => made?,
            }
        }
        Err(error) => return Err(error),
    }
    match folder.parent() {
        Some(above) => File::open(above)?.sync_all(),
        None => Ok(()),
    }
}
