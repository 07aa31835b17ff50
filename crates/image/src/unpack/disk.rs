//! Writes a layer's entries below one folder, as overlayfs wants to find them.
//!
//! Every path is opened with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`, so the kernel
//! itself refuses to leave the folder or to write through a link, whatever the checks before
//! missed. Whiteouts become character devices 0:0 and opaque folders carry
//! `trusted.overlay.opaque` (Linux Documentation/filesystems/overlayfs.rst).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat2, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::path::{LayerPath, NameBudget};
use super::walk::{Content, Meta, Sink};
use crate::UnpackError;

pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// What is at a path already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Folder,
    Whiteout,
    Other,
}

/// A layer's folder that is being filled.
pub(super) struct DiskSink {
    root: OwnedFd,
    implied: u64,
    /// Times are set last: adding an entry to a folder would change them.
    folder_times: HashMap<LayerPath, (i64, u32)>,
    names: NameBudget,
}

impl DiskSink {
    pub fn new(root: OwnedFd) -> Self {
        Self { root, implied: 0, folder_times: HashMap::new(), names: NameBudget::default() }
    }

    /// Sets the folders' times and waits until all is on the disk.
    pub fn finish(self) -> Result<(), UnpackError> {
        for (path, mtime) in &self.folder_times {
            match self.open_raw(path) {
                Ok(folder) => futimens(&folder, &times(*mtime)).map_err(|e| failed(path, e))?,
                // A later entry of the same name replaced the folder.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(failed(path, error)),
            }
        }
        rustix::fs::syncfs(&self.root).map_err(|e| failed(&LayerPath::default(), e))
    }

    fn open_folder(&self, path: &LayerPath) -> Result<OwnedFd, UnpackError> {
        self.open_raw(path).map_err(|e| place_error(path, e))
    }

    fn open_raw(&self, path: &LayerPath) -> Result<OwnedFd, Errno> {
        // Without O_NOFOLLOW, so that a link is told apart (ELOOP) from a file (ENOTDIR).
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.root, OsStr::from_bytes(path.as_bytes()), flags, Mode::empty(), BENEATH)
    }

    /// Opens the parent of `path`, making folders that the tar did not name.
    fn parent<'p>(&mut self, path: &'p LayerPath) -> Result<(OwnedFd, &'p OsStr), UnpackError> {
        let Some(name) = path.components().last() else {
            return Err(UnpackError::Refused("the layer's root is not a folder".to_owned()));
        };
        let (parent, _) = path.split().unwrap_or_default();
        let folder = match self.open_raw(&parent) {
            Ok(folder) => folder,
            // A whiteout may stand where a folder is needed now.
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_folders(&parent)?,
            Err(error) => return Err(place_error(&parent, error)),
        };
        Ok((folder, OsStr::from_bytes(name)))
    }

    fn make_folders(&mut self, path: &LayerPath) -> Result<OwnedFd, UnpackError> {
        let mut at = LayerPath::default();
        for component in path.components() {
            let parent = self.open_raw(&at).map_err(|e| place_error(path, e))?;
            at = at.join(component);
            let name = OsStr::from_bytes(component);
            let found = look(&parent, name, &at)?;
            if matches!(found, Found::Nothing | Found::Whiteout) {
                self.implied += 1;
                self.make_folder(&parent, name, &at, found)?;
            }
        }
        self.open_folder(path)
    }

    fn make_folder(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &LayerPath,
        found: Found,
    ) -> Result<OwnedFd, UnpackError> {
        if matches!(found, Found::Whiteout | Found::Other) {
            unlinkat(parent, name, AtFlags::empty()).map_err(|e| failed(path, e))?;
        }
        mkdirat(parent, name, Mode::from(0o755)).map_err(|e| place_error(path, e))?;
        let folder = self.open_folder(path)?;
        // The mode of `mkdir` went through the umask.
        fchmod(&folder, Mode::from(0o755)).map_err(|e| failed(path, e))?;
        if found == Found::Whiteout {
            mark_opaque(&folder, path)?;
        }
        Ok(folder)
    }

    /// Makes room for something that is not a folder; a later entry of the same name wins.
    fn clear(parent: &OwnedFd, name: &OsStr, path: &LayerPath) -> Result<(), UnpackError> {
        match look(parent, name, path)? {
            Found::Nothing => Ok(()),
            Found::Whiteout | Found::Other => {
                unlinkat(parent, name, AtFlags::empty()).map_err(|e| failed(path, e))
            }
            Found::Folder => unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(|e| match e {
                Errno::NOTEMPTY | Errno::EXIST => not_empty(path),
                other => failed(path, other),
            }),
        }
    }

    /// Owner before mode: changing the owner clears the set-user-id bits.
    fn finish_node(
        parent: &OwnedFd,
        name: &OsStr,
        path: &LayerPath,
        meta: &Meta,
        is_link: bool,
    ) -> Result<(), UnpackError> {
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| failed(path, e))?;
        if !is_link {
            // The name was made just now and nobody else writes here, so it is no link.
            rustix::fs::chmodat(parent, name, Mode::from(meta.mode), AtFlags::empty())
                .map_err(|e| failed(path, e))?;
        }
        utimensat(parent, name, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(path, e))
    }
}

impl Sink for DiskSink {
    fn directory(&mut self, path: &LayerPath, meta: &Meta) -> Result<(), UnpackError> {
        let folder = if path.is_root() {
            self.open_folder(path)?
        } else {
            let (parent, name) = self.parent(path)?;
            match look(&parent, name, path)? {
                Found::Folder => self.open_folder(path)?,
                found => self.make_folder(&parent, name, path, found)?,
            }
        };
        fchown(&folder, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
            .map_err(|e| failed(path, e))?;
        fchmod(&folder, Mode::from(meta.mode)).map_err(|e| failed(path, e))?;
        set_xattrs(&folder, path, meta)?;
        self.names.take(path)?;
        self.folder_times.insert(path.clone(), meta.mtime);
        Ok(())
    }

    fn file(&mut self, path: &LayerPath, meta: &Meta, content: &mut Content<'_>) -> Result<(), UnpackError> {
        let (parent, name) = self.parent(path)?;
        Self::clear(&parent, name, path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat2(&parent, name, flags, Mode::from(0o600), BENEATH).map_err(|e| place_error(path, e))?;
        let mut buffer = vec![0_u8; 128 * 1024];
        loop {
            let count = content(&mut buffer)?;
            if count == 0 {
                break;
            }
            let mut written = 0;
            while written < count {
                written += rustix::io::write(&file, &buffer[written..count]).map_err(|e| failed(path, e))?;
            }
        }
        fchown(&file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
            .map_err(|e| failed(path, e))?;
        fchmod(&file, Mode::from(meta.mode)).map_err(|e| failed(path, e))?;
        set_xattrs(&file, path, meta)?;
        futimens(&file, &times(meta.mtime)).map_err(|e| failed(path, e))
    }

    fn symlink(&mut self, path: &LayerPath, meta: &Meta, target: &[u8]) -> Result<(), UnpackError> {
        let (parent, name) = self.parent(path)?;
        Self::clear(&parent, name, path)?;
        symlinkat(OsStr::from_bytes(target), &parent, name).map_err(|e| failed(path, e))?;
        Self::finish_node(&parent, name, path, meta, true)
    }

    fn hard_link(&mut self, path: &LayerPath, target: &LayerPath) -> Result<(), UnpackError> {
        let no_target = || {
            UnpackError::Refused(format!(
                "the hard link \"{path}\" points at \"{target}\", which is not a file of the same layer"
            ))
        };
        let (folder, target_name) = target.split().ok_or_else(no_target)?;
        let folder = self.open_raw(&folder).map_err(|e| match e {
            Errno::NOENT | Errno::NOTDIR => no_target(),
            other => place_error(&folder, other),
        })?;
        let target_name = OsStr::from_bytes(target_name);
        if look(&folder, target_name, target)? != Found::Other {
            return Err(no_target());
        }
        if path == target {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        Self::clear(&parent, name, path)?;
        linkat(&folder, target_name, &parent, name, AtFlags::empty()).map_err(|e| match e {
            Errno::MLINK => UnpackError::Refused(format!("\"{target}\" has too many hard links")),
            Errno::NOENT => no_target(),
            other => failed(path, other),
        })
    }

    fn fifo(&mut self, path: &LayerPath, meta: &Meta) -> Result<(), UnpackError> {
        let (parent, name) = self.parent(path)?;
        Self::clear(&parent, name, path)?;
        mknodat(&parent, name, FileType::Fifo, Mode::from(0o600), 0).map_err(|e| failed(path, e))?;
        Self::finish_node(&parent, name, path, meta, false)
    }

    fn whiteout(&mut self, path: &LayerPath) -> Result<(), UnpackError> {
        let (parent, name) = self.parent(path)?;
        match look(&parent, name, path)? {
            // The layer's own entry hides the lower one already, but folders would merge.
            Found::Whiteout | Found::Other => Ok(()),
            Found::Folder => mark_opaque(&self.open_folder(path)?, path),
            Found::Nothing => mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(|e| failed(path, e)),
        }
    }

    fn opaque(&mut self, path: &LayerPath) -> Result<(), UnpackError> {
        let folder = match self.open_raw(path) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_folders(path)?,
            Err(error) => return Err(place_error(path, error)),
        };
        mark_opaque(&folder, path)
    }

    fn implied_folders(&self) -> u64 {
        self.implied
    }
}

fn look(parent: &OwnedFd, name: &OsStr, path: &LayerPath) -> Result<Found, UnpackError> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Folder,
            FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
            _ => Found::Other,
        }),
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Err(error) => Err(failed(path, error)),
    }
}

fn mark_opaque(folder: &OwnedFd, path: &LayerPath) -> Result<(), UnpackError> {
    fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty()).map_err(|e| failed(path, e))
}

fn set_xattrs(node: &OwnedFd, path: &LayerPath, meta: &Meta) -> Result<(), UnpackError> {
    for (name, value) in &meta.xattrs {
        match fsetxattr(node, OsStr::from_bytes(name), value, XattrFlags::empty()) {
            // Some filesystems have none; user attributes never decide what a program does.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(Errno::TOOBIG | Errno::RANGE | Errno::NOSPC | Errno::INVAL) => {
                return Err(UnpackError::Refused(format!(
                    "\"{path}\" has extended attributes that are too large"
                )));
            }
            Err(error) => return Err(failed(path, error)),
        }
    }
    Ok(())
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanos) };
    Timestamps { last_access: time, last_modification: time }
}

/// Errors of resolving a place are the layer's fault where the kernel says that it met a link
/// or something that is not a folder.
fn place_error(path: &LayerPath, error: Errno) -> UnpackError {
    match error {
        Errno::LOOP => UnpackError::Refused(format!(
            "\"{path}\" would be written through a symbolic link of the same layer"
        )),
        Errno::XDEV => UnpackError::Refused(format!("\"{path}\" would be outside the layer's folder")),
        Errno::NOTDIR => {
            UnpackError::Refused(format!("\"{path}\" lies below something that is not a folder"))
        }
        Errno::NOENT => UnpackError::Refused(format!("\"{path}\" is not in the layer")),
        other => failed(path, other),
    }
}

fn not_empty(path: &LayerPath) -> UnpackError {
    UnpackError::Refused(format!(
        "\"{path}\" is in the layer both as a folder with content and as something else"
    ))
}

fn failed(path: &LayerPath, error: Errno) -> UnpackError {
    UnpackError::Failed(format!("{path}: {error}"))
}
