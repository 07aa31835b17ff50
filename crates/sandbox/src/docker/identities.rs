//! Folders with the identities of containers: in the same file system of the host's memory as their
//! secret files, each bound read-only into its container.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::models::Mount;

use super::secret_files::bind;
use crate::{IDENTITY_FOLDER, IdentityFolder, IdentityFolderId, IdentityFolders, SandboxError};

/// The folder with those of one server.
#[derive(Debug)]
pub(super) struct Identities {
    root: PathBuf,
    /// What the names of this process's folders begin with.
    prefix: String,
    /// From the first on.
    folders: Mutex<Option<Arc<IdentityFolders>>>,
}

impl Identities {
    pub(super) fn new(parent: &Path, instance: &str, run: u128) -> Self {
        let root = parent.join(format!("picasso-identity-{instance}"));
        Self { root, prefix: format!("{run:x}-"), folders: Mutex::default() }
    }

    /// Makes a container's folder.
    pub(super) fn make(&self) -> Result<IdentityFolder, SandboxError> {
        self.folders().and_then(|folders| folders.make()).map_err(failed("making the folder of an identity"))
    }

    /// What to bind into a container.
    pub(super) fn mount(&self, id: IdentityFolderId) -> Mount {
        let name = format!("{}{}", self.prefix, id.name());
        bind(self.root.join(name).to_string_lossy().into_owned(), IDENTITY_FOLDER)
    }

    /// Removes what earlier processes left.
    pub(super) fn reap(&self) -> Result<(), SandboxError> {
        if !self.root.exists() {
            return Ok(());
        }
        self.folders().and_then(|folders| folders.reap()).map_err(failed("removing old identities"))
    }

    fn folders(&self) -> std::io::Result<Arc<IdentityFolders>> {
        let mut opened = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folders) = &*opened {
            return Ok(folders.clone());
        }
        let folders = IdentityFolders::open(&self.root, &self.prefix)?;
        Ok(opened.insert(folders).clone())
    }
}

fn failed(context: &'static str) -> impl Fn(std::io::Error) -> SandboxError {
    move |error| SandboxError::Failed { context: context.to_owned(), reason: error.to_string() }
}
