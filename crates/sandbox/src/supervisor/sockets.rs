//! Listening sockets that the engine inherits, because it cannot make them itself: Unix sockets
//! with an owner and permissions, which take root, and those that systemd made beforehand.
//!
//! Contract of the latter: sd_listen_fds(3).

use std::ffi::CString;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::native::raw;

/// The first descriptor that systemd passes.
const FIRST: RawFd = 3;
/// More than any server needs.
const MOST: usize = 64;

/// A Unix socket to be made.
#[derive(Debug, Clone)]
pub struct UnixSocketSettings {
    /// What the engine knows it by.
    pub name: String,
    /// Where it is. A socket that nobody listens on any more is replaced, nothing else is.
    pub path: PathBuf,
    /// Its permissions; who may write to it may connect.
    pub mode: u32,
    /// Its owner as `user`, `user:group` or `:group`, by name or number; else who started us.
    pub owner: Option<String>,
}

/// A listening socket for the engine.
#[derive(Debug)]
pub struct ListeningSocket {
    /// What the engine knows it by: systemd's `FileDescriptorName=`, or the name in the settings.
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// The sockets of a start.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// For the engine; those that were passed stand first.
    pub(super) listening: Vec<ListeningSocket>,
    /// The files of those made here; they go when this is dropped.
    pub(super) files: SocketFiles,
}

impl Sockets {
    /// Takes those that were passed, and makes those of `settings` of whose name none was.
    pub(super) fn open(settings: &[UnixSocketSettings]) -> Result<Self, String> {
        let mut sockets = Self { listening: passed()?, files: SocketFiles::default() };
        for wanted in settings {
            if sockets.listening.iter().any(|passed| passed.name == wanted.name) {
                continue;
            }
            let failed = |fault: String| format!("cannot listen on {}: {fault}", wanted.path.display());
            let socket = bind(wanted).map_err(failed)?;
            sockets.files.0.push(SocketFile::of(&wanted.path).map_err(failed)?);
            sockets.listening.push(ListeningSocket { name: wanted.name.clone(), socket });
        }
        Ok(sockets)
    }
}

/// Takes what systemd passed, once in the life of the process.
fn passed() -> Result<Vec<ListeningSocket>, String> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let for_us = variable("LISTEN_PID") == std::process::id().to_string();
    if !for_us || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let names = names(&variable("LISTEN_FDS"), &variable("LISTEN_FDNAMES"))?;
    let numbered = names.into_iter().zip(FIRST..);
    let taken = numbered.map(|(name, number)| match raw::inherited(number) {
        Some(socket) => Ok(ListeningSocket { name, socket }),
        None => Err(format!("LISTEN_FDS counts the descriptor {number}, which is not open")),
    });
    taken.collect()
}

/// The names of the passed descriptors in their order.
fn names(count: &str, names: &str) -> Result<Vec<String>, String> {
    let count: usize = count
        .parse()
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or_else(|| format!("LISTEN_FDS must be a number up to {MOST}, not {count:?}"))?;
    let names: Vec<String> = names.split(':').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() == count {
        Ok(names)
    } else {
        let told = "sockets were passed without a name for each; write FileDescriptorName= into their units";
        Err(told.to_owned())
    }
}

fn bind(settings: &UnixSocketSettings) -> Result<OwnedFd, String> {
    let path = &settings.path;
    let owner = settings.owner.as_deref().map(owner).transpose()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err("something that is no socket is there; it was left alone".to_owned());
        }
        Ok(_) if UnixStream::connect(path).is_ok() => return Err("another process listens on it".to_owned()),
        Ok(_) => std::fs::remove_file(path).map_err(|e| format!("removing the old one: {e}"))?,
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e.to_string()),
    }
    // It has its permissions from the first moment, and none are changed by its name, which could
    // be another file's by then. This process has one thread, so that nobody else meets the mask.
    let before = umask(Mode::from_raw_mode(!settings.mode & 0o777));
    let bound = UnixListener::bind(path);
    umask(before);
    let socket = bound.map_err(|e| e.to_string())?;
    if let Some((user, group)) = owner {
        lchown(path, user, group).map_err(|e| format!("giving it to its owner: {e}"))?;
    }
    Ok(socket.into())
}

/// User and group of `user:group`; a user alone leaves the group.
fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let id = |name: &str, kind: &str, find: fn(&std::ffi::CStr) -> std::io::Result<Option<u32>>| {
        if name.is_empty() {
            return Ok(None);
        }
        if let Ok(number) = name.parse() {
            return Ok(Some(number));
        }
        let c_name = CString::new(name).map_err(|_| format!("the {kind} has a NUL byte"))?;
        match find(&c_name) {
            Ok(Some(id)) => Ok(Some(id)),
            Ok(None) => Err(format!("there is no {kind} {name}")),
            Err(e) => Err(format!("looking up the {kind} {name}: {e}")),
        }
    };
    let user = id(user, "user", |name| Ok(raw::user_by_name(name)?.map(|(user, _)| user)))?;
    Ok((user, id(group, "group", raw::group_by_name)?))
}

/// Files of Unix sockets; removed when dropped, unless others have taken their places.
#[derive(Debug, Default)]
pub(super) struct SocketFiles(Vec<SocketFile>);

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> Result<Self, String> {
        let there = std::fs::symlink_metadata(path).map_err(|e| e.to_string())?;
        Ok(Self { path: path.to_owned(), identity: identity(&there) })
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFiles {
    fn drop(&mut self) {
        for file in &self.0 {
            if std::fs::symlink_metadata(&file.path).is_ok_and(|there| identity(&there) == file.identity) {
                let _ = std::fs::remove_file(&file.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path, owner: Option<&str>) -> UnixSocketSettings {
        let (path, owner) = (path.to_owned(), owner.map(str::to_owned));
        UnixSocketSettings { name: "api".to_owned(), path, mode: 0o640, owner }
    }

    #[test]
    fn each_passed_descriptor_needs_a_name() {
        assert_eq!(names("2", "api:functions").unwrap(), ["api", "functions"]);
        assert_eq!(names("0", "").unwrap(), Vec::<String>::new());
        for (count, given) in [("2", "api"), ("1", ""), ("1", "a:b"), ("x", "a"), ("65", "a"), ("-1", "a")] {
            assert!(names(count, given).is_err(), "{count} {given}");
        }
    }

    #[test]
    fn a_socket_has_its_permissions_and_a_dead_one_is_replaced_but_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        let sockets = Sockets::open(&[at(&path, None)]).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
        let taken = Sockets::open(&[at(&path, None)]).unwrap_err();
        assert!(taken.contains("another process listens on it"), "{taken}");
        drop(sockets);
        assert!(!path.exists());

        std::fs::write(&path, "a thesis").unwrap();
        let refused = Sockets::open(&[at(&path, None)]).unwrap_err();
        assert!(refused.contains("no socket"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a thesis");
    }

    #[test]
    fn a_socket_that_took_our_place_stays_when_we_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let ours = Sockets::open(&[at(&path, None)]).unwrap();
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        let _theirs = UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
    }

    #[test]
    fn owners_are_found_by_name_and_number() {
        assert_eq!(owner("root:root").unwrap(), (Some(0), Some(0)));
        assert_eq!(owner("12:34").unwrap(), (Some(12), Some(34)));
        assert_eq!(owner(":root").unwrap(), (None, Some(0)));
        assert_eq!(owner("root").unwrap(), (Some(0), None));
        assert!(owner("no-such-user-here").unwrap_err().contains("there is no user"));
        assert!(owner("root:no-such-group").unwrap_err().contains("there is no group"));
    }
}
