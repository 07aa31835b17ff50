//! The rules of a layer, applied to each entry before a [`Sink`] sees it.

use std::io::Read;

use super::path::{LayerPath, shown};
use crate::tarball::{Entry, Kind, TarReader};
use crate::{LayerFile, UnpackBounds, UnpackError};

/// User and group ids of one sandbox; an owner beyond them could not be shown inside.
const SANDBOX_IDS: u64 = 65_536;
const MAX_ACCOUNT_FILE: u64 = 1024 * 1024;
const MAX_SYMLINK: usize = 4095;
const MAX_XATTRS: usize = 64;

/// Owner, mode, time and attributes of an entry.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub mtime: (i64, u32),
    /// `user.*` attributes only.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a file's content piece by piece; 0 at its end.
pub(super) type Content<'a> = dyn FnMut(&mut [u8]) -> Result<usize, UnpackError> + 'a;

/// Takes a layer's entries: the disk, or a model that only checks them.
pub(super) trait Sink {
    fn directory(&mut self, path: &LayerPath, meta: &Meta) -> Result<(), UnpackError>;
    fn file(&mut self, path: &LayerPath, meta: &Meta, content: &mut Content<'_>) -> Result<(), UnpackError>;
    fn symlink(&mut self, path: &LayerPath, meta: &Meta, target: &[u8]) -> Result<(), UnpackError>;
    fn hard_link(&mut self, path: &LayerPath, target: &LayerPath) -> Result<(), UnpackError>;
    fn fifo(&mut self, path: &LayerPath, meta: &Meta) -> Result<(), UnpackError>;
    /// Hides what lower layers have at `path`.
    fn whiteout(&mut self, path: &LayerPath) -> Result<(), UnpackError>;
    /// Hides what lower layers have below the folder `path`.
    fn opaque(&mut self, path: &LayerPath) -> Result<(), UnpackError>;
    /// Folders made because entries needed them, not because the tar had them.
    fn implied_folders(&self) -> u64;
}

/// What a walk saw.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub bytes: u64,
    pub inodes: u64,
    pub passwd: LayerFile,
    pub group: LayerFile,
}

/// Passes every entry of `tar` that the rules allow to `sink`.
pub(super) fn walk<R: Read>(
    tar: &mut TarReader<R>,
    sink: &mut dyn Sink,
    bounds: UnpackBounds,
) -> Result<Walked, UnpackError> {
    let mut walked = Walked::default();
    while let Some(entry) = tar.next_entry()? {
        walked.count(&entry, bounds)?;
        place(&entry, tar, sink, &mut walked)?;
        if walked.inodes + sink.implied_folders() > bounds.max_inodes {
            return Err(too_many(bounds));
        }
    }
    walked.inodes += sink.implied_folders();
    Ok(walked)
}

fn place<R: Read>(
    entry: &Entry,
    tar: &mut TarReader<R>,
    sink: &mut dyn Sink,
    walked: &mut Walked,
) -> Result<(), UnpackError> {
    let path = LayerPath::parse(&entry.path)?;
    let Some((parent, name)) = path.split() else {
        return match entry.kind {
            Kind::Directory => sink.directory(&path, &meta_of(entry, &path)?),
            _ => Err(refused("the layer's root is not a folder")),
        };
    };
    if let Some(hidden) = name.strip_prefix(b".wh.") {
        return white_out(&parent, hidden, sink, walked);
    }
    let meta = meta_of(entry, &path)?;
    if entry.kind != Kind::Directory {
        walked.note_other(&path);
    }
    match entry.kind {
        Kind::Directory => sink.directory(&path, &meta),
        Kind::File => {
            let mut kept = walked.account_buffer(&path, entry.size);
            sink.file(&path, &meta, &mut |buffer| {
                let count = tar.read_data(buffer)?;
                if let Some(kept) = &mut kept {
                    kept.extend_from_slice(&buffer[..count]);
                }
                Ok(count)
            })?;
            if let (Some(kept), Some(slot)) = (kept, walked.account(&path)) {
                *slot = LayerFile::Content(kept);
            }
            Ok(())
        }
        Kind::Symlink => {
            if entry.link.is_empty() || entry.link.len() > MAX_SYMLINK || entry.link.contains(&0) {
                return Err(refused(format!("the symbolic link \"{path}\" has an impossible target")));
            }
            sink.symlink(&path, &meta, &entry.link)
        }
        Kind::HardLink => {
            let target = LayerPath::parse(&entry.link)?;
            if target.is_root() {
                return Err(refused(format!("the hard link \"{path}\" points at the root")));
            }
            sink.hard_link(&path, &target)
        }
        Kind::Fifo => sink.fifo(&path, &meta),
        Kind::Device => Err(refused(format!(
            "\"{path}\" is a device node; sandboxes bring their own /dev, so make the image without it"
        ))),
    }
}

/// OCI image-spec 1.1, layer.md, Whiteouts.
fn white_out(
    parent: &LayerPath,
    hidden: &[u8],
    sink: &mut dyn Sink,
    walked: &mut Walked,
) -> Result<(), UnpackError> {
    if hidden == b".wh..opq" {
        walked.note_hidden_below(parent);
        return sink.opaque(parent);
    }
    if hidden.is_empty() || hidden == b"." || hidden == b".." || hidden.starts_with(b".wh.") {
        let whiteout = format!(".wh.{}", shown(hidden));
        return Err(refused(format!("the layer has a whiteout with the impossible name \"{whiteout}\"")));
    }
    let path = parent.join(hidden);
    walked.note_whiteout(&path);
    sink.whiteout(&path)
}

fn meta_of(entry: &Entry, path: &LayerPath) -> Result<Meta, UnpackError> {
    if entry.uid >= SANDBOX_IDS || entry.gid >= SANDBOX_IDS {
        return Err(refused(format!(
            "\"{path}\" belongs to {}:{}; a sandbox has user and group ids below 65536 only",
            entry.uid, entry.gid
        )));
    }
    let xattrs: Vec<_> = entry.xattrs.iter().filter(|(name, _)| is_kept_xattr(name)).cloned().collect();
    if xattrs.len() > MAX_XATTRS || xattrs.iter().any(|(name, _)| name.len() > 255 || name.contains(&0)) {
        return Err(refused(format!("\"{path}\" has too many or too long extended attributes")));
    }
    Ok(Meta {
        uid: u32::try_from(entry.uid).unwrap_or_default(),
        gid: u32::try_from(entry.gid).unwrap_or_default(),
        mode: entry.mode,
        mtime: entry.mtime,
        xattrs,
    })
}

/// File capabilities (`security.capability`) would be dead weight: sandboxes run without
/// capabilities and with `no_new_privs`. `user.overlay.` could mean something to overlayfs.
fn is_kept_xattr(name: &[u8]) -> bool {
    name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

impl Walked {
    fn count(&mut self, entry: &Entry, bounds: UnpackBounds) -> Result<(), UnpackError> {
        self.inodes += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > bounds.max_bytes {
            return Err(refused(format!(
                "the image's files would take more than {} bytes, the most this cloud allows",
                bounds.max_bytes
            )));
        }
        if self.inodes > bounds.max_inodes {
            return Err(too_many(bounds));
        }
        Ok(())
    }

    fn account(&mut self, path: &LayerPath) -> Option<&mut LayerFile> {
        match path.as_bytes() {
            b"etc/passwd" => Some(&mut self.passwd),
            b"etc/group" => Some(&mut self.group),
            _ => None,
        }
    }

    fn account_buffer(&mut self, path: &LayerPath, size: u64) -> Option<Vec<u8>> {
        self.account(path).filter(|_| size <= MAX_ACCOUNT_FILE).map(|_| Vec::new())
    }

    /// Something that is not a folder is about to be at `path`.
    fn note_other(&mut self, path: &LayerPath) {
        if let Some(slot) = self.account(path) {
            *slot = LayerFile::Hidden;
        } else if path.as_bytes() == b"etc" {
            (self.passwd, self.group) = (LayerFile::Hidden, LayerFile::Hidden);
        }
    }

    /// A whiteout hides lower layers only: what this layer has itself stays.
    fn note_whiteout(&mut self, path: &LayerPath) {
        if let Some(slot) = self.account(path) {
            hide(slot);
        } else if path.as_bytes() == b"etc" {
            self.note_hidden_below(&LayerPath::default());
        }
    }

    fn note_hidden_below(&mut self, folder: &LayerPath) {
        if folder.is_root() || folder.as_bytes() == b"etc" {
            hide(&mut self.passwd);
            hide(&mut self.group);
        }
    }
}

fn hide(slot: &mut LayerFile) {
    if *slot == LayerFile::Absent {
        *slot = LayerFile::Hidden;
    }
}

fn too_many(bounds: UnpackBounds) -> UnpackError {
    refused(format!(
        "the image has more than {} files, folders and links, the most this cloud allows",
        bounds.max_inodes
    ))
}

fn refused(reason: impl Into<String>) -> UnpackError {
    UnpackError::Refused(reason.into())
}
