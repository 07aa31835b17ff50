//! A temporary folder for the blobs of one import or pull; gone when dropped.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use picasso_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::ImageError;
use crate::bridge::too_large;
use crate::documents::MAX_DOCUMENT;

/// A file of the staging folder, hashed while it was written.
#[derive(Debug, Clone)]
pub(crate) struct StagedFile {
    pub path: PathBuf,
    pub digest: Digest,
    pub size: u64,
}

impl StagedFile {
    /// Its bytes, where it is small enough to be a document.
    pub fn document(&self, what: &str) -> Result<Vec<u8>, ImageError> {
        if self.size > MAX_DOCUMENT {
            return Err(ImageError::TooLarge(format!("the image's {what} is larger than 4 MiB")));
        }
        fs::read(&self.path).map_err(ImageError::failed("reading a staged blob"))
    }
}

/// The folder; see the module.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: PathBuf,
    files: u64,
    max_bytes: u64,
    left: u64,
}

impl Staging {
    /// Makes a folder below `parent` for at most `max_bytes`.
    pub fn create(parent: &Path, max_bytes: u64) -> Result<Self, ImageError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{}-{number}", std::process::id()));
        fs::create_dir(&folder).map_err(ImageError::failed("making a staging folder"))?;
        Ok(Self { folder, files: 0, max_bytes, left: max_bytes })
    }

    /// Writes what `read` gives until it gives 0.
    pub fn add(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, ImageError>,
    ) -> Result<StagedFile, ImageError> {
        let path = self.folder.join(self.files.to_string());
        self.files += 1;
        let failed = || ImageError::failed("writing a staged blob");
        let mut file = File::create_new(&path).map_err(failed())?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0_u8; 128 * 1024];
        loop {
            let count = read(&mut buffer)?;
            if count == 0 {
                return Ok(StagedFile { path, digest: Digest::from_hash(&hash.finalize()), size });
            }
            self.left = self.left.checked_sub(count as u64).ok_or_else(|| too_large(self.max_bytes))?;
            size += count as u64;
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(failed())?;
        }
    }

    /// [`Self::add`] from a reader whose errors are ours.
    pub fn add_file(&mut self, mut file: impl Read) -> Result<StagedFile, ImageError> {
        self.add(|buffer| file.read(buffer).map_err(ImageError::failed("reading an image file")))
    }

    /// [`Self::add`] from memory.
    pub fn add_bytes(&mut self, mut bytes: &[u8]) -> Result<StagedFile, ImageError> {
        self.add_file(&mut bytes)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "a staging folder stays until the next start");
        }
    }
}

/// An image whose blobs are all here but that nobody can see yet.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub manifest: StagedFile,
    /// Every other blob that arrived, by digest.
    pub blobs: HashMap<Digest, StagedFile>,
    /// Keeps the files until they were moved into the store.
    pub _staging: Staging,
}
