//! Folders in which functions find their identities: written by the engine, which has no rights of
//! its own to mount, and shown to one sandbox each, read-only.
//!
//! They lie in a file system in memory whose root only the engine passes. A file is written under
//! another name and renamed, so that a function that reads while it is replaced finds the old one or
//! the new one, whole.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

/// Where a process finds the files of its identity.
pub const IDENTITY_FOLDER: &str = "/run/picasso/identity";

/// Bytes of all files of one folder.
pub const MAX_IDENTITY_BYTES: usize = 64 << 10;
/// Files that are written in one folder over its life, replaced ones included: a function may hold each
/// open, and must not fill what all share.
pub const MAX_IDENTITY_WRITES: usize = 64;
/// Files of one folder, and the longest of their names.
const MAX_FILES: usize = 8;
const MAX_NAME: usize = 64;
/// What a file is called until it is whole; no file is called so.
const UNFINISHED: &str = ".unfinished";
/// Permissions of everybody but the owner.
const OF_OTHERS: u32 = 0o077;

/// The number of a folder: what a driver is told instead of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdentityFolderId(NonZeroU64);

impl IdentityFolderId {
    /// One that no other folder of this process has, whatever spawner it was made for.
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX))
    }

    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The folder's name: always 16 hex digits.
    pub(crate) fn name(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The folder of all such folders.
#[derive(Debug)]
pub struct IdentityFolders {
    root: OwnedFd,
    /// What the names in it begin with, where earlier processes may have left others.
    prefix: String,
}

impl IdentityFolders {
    /// Those below a folder that is closed to everybody but this process's user.
    pub(crate) fn new(root: OwnedFd) -> Arc<Self> {
        Arc::new(Self { root, prefix: String::new() })
    }

    /// Those below `path`, which is made when missing; their names begin with `prefix`. An error where
    /// it is somebody else's or open to others.
    pub fn open(path: &Path, prefix: &str) -> io::Result<Arc<Self>> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        // In a folder that everybody may write to, somebody else may have been first.
        let is = root.metadata()?;
        if is.uid() != rustix::process::geteuid().as_raw() || is.mode() & OF_OTHERS != 0 {
            return Err(io::Error::other(format!("{} is not a folder of this server alone", path.display())));
        }
        Ok(Arc::new(Self { root: root.into(), prefix: prefix.to_owned() }))
    }

    /// Makes an empty folder. It goes when it is dropped.
    pub fn make(self: &Arc<Self>) -> io::Result<IdentityFolder> {
        let id = IdentityFolderId::next();
        let name = self.name(id);
        rustix::fs::mkdirat(&self.root, &name, Mode::from_raw_mode(0o700))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.root, &name, flags, Mode::empty()).and_then(|folder| {
            // Whoever the function runs as reads them; others do not come through the folder above.
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755))?;
            Ok(folder)
        });
        match opened {
            Ok(folder) => Ok(IdentityFolder { of: Arc::clone(self), id, folder, files: Mutex::default() }),
            Err(error) => {
                let _ = rustix::fs::unlinkat(&self.root, &name, AtFlags::REMOVEDIR);
                Err(error.into())
            }
        }
    }

    /// The name of one of them below the root.
    pub(crate) fn name(&self, id: IdentityFolderId) -> String {
        format!("{}{}", self.prefix, id.name())
    }

    /// Removes what earlier processes left.
    pub(crate) fn reap(&self) -> io::Result<()> {
        for entry in Dir::read_from(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || name.to_bytes().starts_with(self.prefix.as_bytes())
            {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = rustix::fs::openat(&self.root, name, flags, Mode::empty())?;
            for file in Dir::read_from(&folder)? {
                let file = file?;
                if !matches!(file.file_name().to_bytes(), b"." | b"..") {
                    rustix::fs::unlinkat(&folder, file.file_name(), AtFlags::empty())?;
                }
            }
            rustix::fs::unlinkat(&self.root, name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }
}

/// The folder of one sandbox. Dropping it removes it with its files.
#[derive(Debug)]
pub struct IdentityFolder {
    of: Arc<IdentityFolders>,
    id: IdentityFolderId,
    folder: OwnedFd,
    /// Held while files are changed.
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    /// Those that are there.
    names: BTreeSet<String>,
    /// How many were written.
    written: usize,
}

impl IdentityFolder {
    /// What the process is started with: [`crate::ProcessSpec::identity`].
    pub fn id(&self) -> IdentityFolderId {
        self.id
    }

    /// Puts these files in the place of those that are there, each at once and whole; one that is the
    /// same stays. Fails before anything changed where a name or the length is not one of an identity,
    /// and once [`MAX_IDENTITY_WRITES`] files were written: another sandbox needs another folder then.
    pub fn replace(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        check(files)?;
        let mut now = self.lock();
        let changed: Vec<_> = files.iter().filter(|(name, content)| !self.has(name, content)).collect();
        if now.written + changed.len() > MAX_IDENTITY_WRITES {
            return Err(io::Error::other(format!("{MAX_IDENTITY_WRITES} files were written in one folder")));
        }
        for (name, content) in changed {
            now.written += 1;
            now.names.insert(name.clone());
            self.put(name, content)?;
        }
        let is_old = |name: &&String| !files.iter().any(|(new, _)| new == *name);
        for name in now.names.iter().filter(is_old).cloned().collect::<Vec<_>>() {
            self.unlink(&name)?;
            now.names.remove(&name);
        }
        Ok(())
    }

    /// Removes all files: the sandbox has no identity any more.
    pub fn clear(&self) -> io::Result<()> {
        let mut now = self.lock();
        let mut outcome = Ok(());
        // One that cannot be removed keeps none of the others.
        now.names.retain(|name| match self.unlink(name) {
            Ok(()) => false,
            Err(error) => {
                outcome = Err(error);
                true
            }
        });
        outcome
    }

    fn has(&self, name: &str, content: &[u8]) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&self.folder, name, flags, Mode::empty()) else { return false };
        let mut there = Vec::with_capacity(content.len());
        let limit = content.len() as u64 + 1;
        File::from(file).take(limit).read_to_end(&mut there).is_ok() && there == content
    }

    fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // One attempt may have failed before.
        self.unlink(UNFINISHED)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, UNFINISHED, flags, Mode::from_raw_mode(0o400))?;
        let mut file = File::from(file);
        let written = file.write_all(content).and_then(|()| {
            file.set_permissions(Permissions::from_mode(0o444))?;
            Ok(rustix::fs::renameat(&self.folder, UNFINISHED, &self.folder, name)?)
        });
        if written.is_err() {
            let _ = self.unlink(UNFINISHED);
        }
        written
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(self.folder.as_fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        // A name is in it before its file is: a panic elsewhere leaves none forgotten.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IdentityFolder {
    fn drop(&mut self) {
        let name = self.of.name(self.id);
        let removed = self
            .clear()
            .and_then(|()| Ok(rustix::fs::unlinkat(&self.of.root, name.as_str(), AtFlags::REMOVEDIR)?));
        if let Err(error) = removed {
            tracing::error!(folder = name, %error, "the folder of an identity could not be removed");
        }
    }
}

/// Plain names, and no more than a folder is meant for.
fn check(files: &[(String, Vec<u8>)]) -> io::Result<()> {
    let is_plain = |name: &str| {
        (1..=MAX_NAME).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    if files.len() > MAX_FILES || bytes > MAX_IDENTITY_BYTES || !files.iter().all(|(name, _)| is_plain(name))
    {
        let limits =
            format!("an identity is at most {MAX_FILES} files of {MAX_IDENTITY_BYTES} bytes together");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{limits}, with plain names")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_by_rename_in_a_folder_that_only_the_server_passes_and_go_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("identities");
        let folders = IdentityFolders::open(&root, "1-").unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
        let folder = folders.make().unwrap();
        let path = root.join(folders.name(folder.id()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o755);
        folder.replace(&files(&[("token", "old"), ("clouds.yaml", "clouds: {}")])).unwrap();
        let held = File::open(path.join("token")).unwrap();
        let before = held.metadata().unwrap();
        assert_eq!(before.mode() & 0o777, 0o444);
        folder.replace(&files(&[("token", "new")])).unwrap();
        assert_eq!(names(&path), ["token"], "one that is not given any more goes");
        assert_eq!(fs::read_to_string(path.join("token")).unwrap(), "new");
        assert_eq!(io::read_to_string(held).unwrap(), "old", "who has it open reads on");
        folder.clear().unwrap();
        folder.clear().unwrap();
        assert_eq!(names(&path), [""; 0]);
        folder.replace(&files(&[("token", "again")])).unwrap();
        drop(folder);
        assert_eq!(names(&root), [""; 0]);
    }

    #[test]
    fn names_and_lengths_that_are_none_of_an_identity_change_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("identities");
        let folders = IdentityFolders::open(&root, "").unwrap();
        let folder = folders.make().unwrap();
        folder.replace(&files(&[("token", "old")])).unwrap();
        let long = "x".repeat(MAX_IDENTITY_BYTES + 1);
        for name in ["", ".", "..", ".unfinished", "a/b", "../a", "a b", &"n".repeat(65)] {
            folder.replace(&files(&[("token", "new"), (name, "x")])).unwrap_err();
        }
        folder.replace(&files(&[("token", &long)])).unwrap_err();
        let many: Vec<_> = (0..=MAX_FILES).map(|number| (number.to_string(), Vec::new())).collect();
        folder.replace(&many).unwrap_err();
        let path = root.join(folders.name(folder.id()));
        assert_eq!(names(&path), ["token"]);
        assert_eq!(fs::read_to_string(path.join("token")).unwrap(), "old");
    }

    #[test]
    fn what_is_the_same_stays_and_replacements_are_bounded() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("identities");
        let folders = IdentityFolders::open(&root, "").unwrap();
        let folder = folders.make().unwrap();
        let path = root.join(folders.name(folder.id()));
        let inode = |name: &str| fs::metadata(path.join(name)).unwrap().ino();
        folder.replace(&files(&[("clouds.yaml", "same"), ("token", "0")])).unwrap();
        let first = inode("clouds.yaml");
        for number in 1..MAX_IDENTITY_WRITES - 1 {
            folder.replace(&files(&[("clouds.yaml", "same"), ("token", &number.to_string())])).unwrap();
        }
        assert_eq!(inode("clouds.yaml"), first);
        folder.replace(&files(&[("clouds.yaml", "same"), ("token", "one more")])).unwrap_err();
        let last = (MAX_IDENTITY_WRITES - 2).to_string();
        assert_eq!(fs::read_to_string(path.join("token")).unwrap(), last);
        folder.clear().unwrap();
    }

    #[test]
    fn a_folder_that_others_reach_is_not_used_and_what_earlier_processes_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("identities");
        let elsewhere = parent.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        symlink(&elsewhere, &root).unwrap();
        IdentityFolders::open(&root, "1-").unwrap_err();
        fs::remove_file(&root).unwrap();
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
        IdentityFolders::open(&root, "1-").unwrap_err();
        fs::set_permissions(&root, Permissions::from_mode(0o700)).unwrap();
        let earlier = IdentityFolders::open(&root, "1-").unwrap();
        let left = earlier.make().unwrap();
        left.replace(&files(&[("token", "x")])).unwrap();
        std::mem::forget(left);
        let now = IdentityFolders::open(&root, "2-").unwrap();
        let mine = now.make().unwrap();
        now.reap().unwrap();
        assert_eq!(names(&root), [now.name(mine.id())]);
    }
}
