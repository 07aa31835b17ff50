//! The folder of unpacked layers: made whole or not at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use picasso_types::Digest;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, mkdirat, openat2, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::disk::{BENEATH, DiskSink};
use super::inspect::inspect;
use super::read_layer;
use crate::{UnpackBounds, UnpackError, UnpackedLayer};

const TEMPORARY: &str = ".tmp-";

/// `layers/`: a folder per unpacked layer, named by the hex digits of its `diff_id`.
///
/// One process at a time works in it; names that start with `.tmp-` are half-made layers.
#[derive(Debug)]
pub struct LayerFolder {
    folder: OwnedFd,
    made: u64,
}

impl LayerFolder {
    /// Takes an open folder and removes what an earlier process left half done.
    pub fn open(folder: OwnedFd) -> io::Result<Self> {
        let this = Self { folder, made: 0 };
        for (name, _) in entries(&this.folder)? {
            if name.starts_with(TEMPORARY.as_bytes()) {
                remove_tree(&this.folder, OsStr::from_bytes(&name))?;
            }
        }
        Ok(this)
    }

    /// Whether the layer is unpacked.
    pub fn has(&self, diff_id: &Digest) -> Result<bool, UnpackError> {
        match statat(&self.folder, diff_id.hex(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Unpacks a layer, or proves its content where it is unpacked already; see
    /// [`LayerUnpacker::unpack`](crate::LayerUnpacker::unpack).
    pub fn unpack(
        &mut self,
        blob: File,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError> {
        if self.has(diff_id)? {
            return inspect(blob, diff_id, bounds);
        }
        let name = self.temporary_name();
        let unpacked = self.unpack_as(&name, blob, diff_id, bounds);
        if unpacked.is_err() {
            remove_tree(&self.folder, OsStr::new(&name)).map_err(|e| UnpackError::Failed(e.to_string()))?;
        }
        unpacked
    }

    fn unpack_as(
        &self,
        name: &str,
        blob: File,
        diff_id: &Digest,
        bounds: UnpackBounds,
    ) -> Result<UnpackedLayer, UnpackError> {
        mkdirat(&self.folder, name, Mode::from(0o700)).map_err(failed)?;
        let root = open_folder(&self.folder, OsStr::new(name)).map_err(failed)?;
        // Layers that do not name their root get what a root usually is.
        rustix::fs::fchmod(&root, Mode::from(0o755)).map_err(failed)?;
        let mut sink = DiskSink::new(root);
        let unpacked = read_layer(blob, diff_id, bounds, &mut sink)?;
        sink.finish()?;
        renameat_with(&self.folder, name, &self.folder, diff_id.hex(), RenameFlags::NOREPLACE)
            .map_err(failed)?;
        rustix::fs::fsync(&self.folder).map_err(failed)?;
        Ok(unpacked)
    }

    /// Removes an unpacked layer; fine to repeat.
    pub fn remove(&mut self, diff_id: &Digest) -> Result<(), UnpackError> {
        // Renamed first: a half-removed layer must never look like a whole one.
        let name = self.temporary_name();
        match renameat_with(&self.folder, diff_id.hex(), &self.folder, &name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        remove_tree(&self.folder, OsStr::new(&name)).map_err(|e| UnpackError::Failed(e.to_string()))
    }

    fn temporary_name(&mut self) -> String {
        self.made += 1;
        format!("{TEMPORARY}{}", self.made)
    }
}

fn open_folder(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(parent, name, flags, Mode::empty(), BENEATH)
}

fn entries(folder: &OwnedFd) -> io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::new(open_folder(folder, OsStr::new("."))?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(found)
}

/// Removes a tree of at most 128 levels (the bound of layer paths) without following links.
fn remove_tree(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let folder = match open_folder(parent, name) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(unlinkat(parent, name, AtFlags::empty())?),
        Err(error) => return Err(error.into()),
    };
    for (child, kind) in entries(&folder)? {
        let child = OsStr::from_bytes(&child);
        if kind == FileType::Directory || kind == FileType::Unknown {
            remove_tree(&folder, child)?;
        } else {
            unlinkat(&folder, child, AtFlags::empty())?;
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn failed(error: Errno) -> UnpackError {
    UnpackError::Failed(format!("layer folder: {error}"))
}
