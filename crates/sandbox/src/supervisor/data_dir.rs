//! The data directory: whose it is, which instance it belongs to, and that one server uses it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use picasso_types::InstanceId;
use rustix::fs::FlockOperation;

use super::user::User;

/// A data directory that is ours as long as this lives.
#[derive(Debug)]
pub(super) struct DataDir {
    pub(super) path: PathBuf,
    pub(super) instance: InstanceId,
    _lock: OwnedFd,
}

impl DataDir {
    /// Makes and locks the directory. `user` is whom the engine will run as, where that is
    /// another than ourselves.
    pub(super) fn open(path: &Path, user: Option<&User>) -> Result<Self, String> {
        let fault = |e: io::Error| format!("the data directory {}: {e}", path.display());
        let fresh = match DirBuilder::new().recursive(false).mode(0o700).create(path) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(parent).map_err(fault)?;
                DirBuilder::new().mode(0o700).create(path).map_err(fault)?;
                true
            }
            Err(e) => return Err(fault(e)),
        };
        let path = path.canonicalize().map_err(fault)?;
        if let Some(user) = user {
            own(&path, user, fresh)?;
            reachable(&path, user)?;
        }
        let lock = lock(&path)?;
        let instance = instance(&path).map_err(fault)?;
        Ok(Self { path, instance, _lock: lock })
    }
}

/// Root's, so that the engine cannot replace what root keeps in it; the sticky bit lets the
/// engine's group make files of its own.
fn own(path: &Path, user: &User, fresh: bool) -> Result<(), String> {
    let fault = |e: io::Error| format!("the data directory {}: {e}", path.display());
    let found = fs::metadata(path).map_err(fault)?;
    let ours = fresh || path.join("lock").exists() || is_empty(path).map_err(fault)?;
    if !ours {
        return Err(format!(
            "the data directory {} is not empty and was not made by picasso; \
             name an empty or missing folder",
            path.display()
        ));
    }
    if (found.uid(), found.gid()) != (0, user.gid) {
        std::os::unix::fs::chown(path, Some(0), Some(user.gid)).map_err(fault)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o1770)).map_err(fault)
}

fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

/// Whether the engine's user gets as far as the directory, told before the engine fails at it.
fn reachable(path: &Path, user: &User) -> Result<(), String> {
    for dir in path.ancestors().skip(1) {
        let found = fs::metadata(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mode = found.mode();
        let enters = if found.uid() == user.uid {
            mode & 0o100 != 0
        } else if found.gid() == user.gid {
            mode & 0o010 != 0
        } else {
            mode & 0o001 != 0
        };
        if !enters {
            return Err(format!(
                "user {} cannot reach the data directory {}: {} does not let it pass; \
                 choose another place, or `chmod o+x {}`",
                user.name,
                path.display(),
                dir.display(),
                dir.display()
            ));
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<OwnedFd, String> {
    let fault = |e: io::Error| format!("{}: {e}", path.join("lock").display());
    let lock = open_or_make(&path.join("lock")).map_err(fault)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock.into()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
            "the data directory {} is in use by another server; stop that one, or give this one a \
             data_dir of its own",
            path.display()
        )),
        Err(e) => Err(fault(e.into())),
    }
}

fn open_or_make(path: &Path) -> io::Result<File> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(nofollow)
        .open(path)
}

/// Reads the directory's instance id, or gives it one.
fn instance(path: &Path) -> io::Result<InstanceId> {
    let mut file = open_or_make(&path.join("instance"))?;
    let mut text = String::new();
    Read::by_ref(&mut file).take(64).read_to_string(&mut text)?;
    let text = text.trim();
    if text.is_empty() {
        let id = picasso_types::random::short_id();
        file.write_all(format!("{id}\n").as_bytes())?;
        file.sync_all()?;
        return parse(&id);
    }
    parse(text)
}

fn parse(text: &str) -> io::Result<InstanceId> {
    let hex = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let id = hex.then(|| InstanceId::parse(text).ok()).flatten();
    id.ok_or_else(|| io::Error::other("the file `instance` does not hold 8 hex digits; restore or remove it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> PathBuf {
        let name = format!("picasso-dir-{}", picasso_types::random::short_id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn a_directory_keeps_its_instance_and_is_used_by_one_server() {
        let path = temporary();
        let first = DataDir::open(&path, None).unwrap();
        let id = first.instance.clone();
        let refused = DataDir::open(&path, None).unwrap_err();
        assert!(refused.contains("in use by another server"), "{refused}");
        drop(first);
        assert_eq!(DataDir::open(&path, None).unwrap().instance, id);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_damaged_instance_file_is_refused() {
        let path = temporary();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("instance"), "../../etc").unwrap();
        assert!(DataDir::open(&path, None).unwrap_err().contains("8 hex digits"));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_of_someone_else_is_not_taken_over() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let path = temporary();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("letter.txt"), "dear").unwrap();
        let user = User { name: "nobody".to_owned(), uid: 65534, gid: 65534, groups: Vec::new() };
        let refused = DataDir::open(&path, Some(&user)).unwrap_err();
        assert!(refused.contains("not empty"), "{refused}");
        fs::remove_dir_all(path).unwrap();
    }
}
