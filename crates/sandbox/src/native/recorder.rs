//! The recording double of [`Kernel`]: a host made of strings. It keeps a list of what was done,
//! answers reads from files the test laid, and fails where the test says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::sys::{Kernel, MountFlags, Namespace, Rlimit};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    done: RefCell<Vec<String>>,
    files: RefCell<BTreeMap<PathBuf, String>>,
    dirs: RefCell<Vec<PathBuf>>,
    /// What a call that begins like this fails with, from the n-th such call on.
    failures: RefCell<Vec<(String, i32)>>,
    /// Names given to the descriptors that were handed out.
    names: RefCell<BTreeMap<i32, String>>,
}

impl Recorder {
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.files.borrow_mut().insert(path.into(), text.to_owned());
        self
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.dirs.borrow_mut().push(path.into());
        self
    }

    /// Calls whose record begins with `call` fail with `errno`.
    pub(crate) fn failing(self, call: &str, errno: i32) -> Self {
        self.failures.borrow_mut().push((call.to_owned(), errno));
        self
    }

    /// Stops the failures of [`Self::failing`].
    pub(crate) fn heal(&self) {
        self.failures.borrow_mut().clear();
    }

    /// What was done, and forgets it.
    pub(crate) fn take(&self) -> Vec<String> {
        self.done.take()
    }

    /// The process sits and waits for what it is to become.
    pub(crate) fn note_seated(&self) {
        self.done.borrow_mut().push("seated".to_owned());
    }

    /// A descriptor with a name, as calls on it are recorded.
    pub(crate) fn named(&self, name: &str) -> OwnedFd {
        let fd: OwnedFd = File::open("/dev/null").unwrap().into();
        self.names.borrow_mut().insert(fd.as_raw_fd(), name.to_owned());
        fd
    }

    fn name(&self, fd: BorrowedFd<'_>) -> String {
        if fd.as_raw_fd() == libc::AT_FDCWD {
            return "cwd".to_owned();
        }
        self.names.borrow().get(&fd.as_raw_fd()).cloned().unwrap_or_else(|| "?".to_owned())
    }

    fn note(&self, call: String) -> io::Result<()> {
        let failure = self.failure(&call);
        self.done.borrow_mut().push(call);
        failure.map_or(Ok(()), Err)
    }

    fn failure(&self, call: &str) -> Option<io::Error> {
        let failures = self.failures.borrow();
        let found = failures.iter().find(|(begin, _)| call.starts_with(begin.as_str()));
        found.map(|(_, errno)| io::Error::from_raw_os_error(*errno))
    }

    fn open(&self, call: String, name: &str) -> io::Result<OwnedFd> {
        self.note(call)?;
        Ok(self.named(name))
    }
}

fn flags(flags: MountFlags) -> String {
    let mut text = String::from("nosuid");
    for (on, name) in [(flags.read_only, ",ro"), (flags.no_exec, ",noexec"), (flags.no_dev, ",nodev")] {
        if on {
            text.push_str(name);
        }
    }
    text
}

impl Kernel for Recorder {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(failure) = self.failure(&format!("read {}", path.display())) {
            return Err(failure);
        }
        let files = self.files.borrow();
        let text = files.get(path).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        Ok(text.clone().into_bytes())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.note(format!("write {} {}", path.display(), String::from_utf8_lossy(bytes)))
    }

    fn open_for_write(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(format!("open {}", path.display()), &path.display().to_string())
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(format!("opendir {}", path.display()), &path.display().to_string())
    }

    fn write_fd(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
        self.note(format!("write {} {}", self.name(fd), String::from_utf8_lossy(bytes)))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.note(format!("mkdir {}", path.display()))?;
        self.dirs.borrow_mut().push(path.to_owned());
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.note(format!("rmdir {}", path.display()))?;
        let mut dirs = self.dirs.borrow_mut();
        let before = dirs.len();
        dirs.retain(|dir| dir != path);
        if dirs.len() == before { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn dirs(&self, path: &Path) -> io::Result<Vec<String>> {
        let dirs = self.dirs.borrow();
        let names = dirs.iter().filter(|dir| dir.parent() == Some(path));
        Ok(names.map(|dir| dir.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.borrow().contains_key(path) || self.dirs.borrow().iter().any(|dir| dir == path)
    }

    fn kill(&self, pid: i32) -> io::Result<()> {
        self.note(format!("kill {pid}"))
    }

    fn clone_tree(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
        self.open(format!("clone {}/{path}", self.name(dir)), &format!("tree:{path}"))
    }

    fn restrict(&self, tree: BorrowedFd<'_>, with: MountFlags) -> io::Result<()> {
        self.note(format!("restrict {} {}", self.name(tree), flags(with)))
    }

    fn restrict_mapped(
        &self,
        tree: BorrowedFd<'_>,
        with: MountFlags,
        userns: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let (tree, userns) = (self.name(tree), self.name(userns));
        self.note(format!("restrict {tree} {} idmap={userns}", flags(with)))
    }

    fn new_file_system(
        &self,
        kind: &str,
        options: &[(&str, String)],
        with: MountFlags,
    ) -> io::Result<OwnedFd> {
        let options: Vec<String> = options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let call = format!("fsmount {kind} [{}] {}", options.join(","), flags(with));
        self.open(call, kind)
    }

    fn attach(&self, tree: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        self.note(format!("attach {} at {}", self.name(tree), self.name(to)))
    }

    fn mount_overlay(&self, target: &str, options: &str) -> io::Result<()> {
        self.note(format!("overlay {target} {options}"))
    }

    fn bind(&self, source: &str, target: &str) -> io::Result<()> {
        self.note(format!("bind {source} {target}"))
    }

    fn open_in(&self, root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
        self.open(format!("open-in {} {path}", self.name(root)), &format!("dir:{path}"))
    }

    fn make_device(&self, dir: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.note(format!("mknod {}/{name} {major}:{minor}", self.name(dir)))
    }

    fn make_link(&self, dir: BorrowedFd<'_>, name: &str, target: &str) -> io::Result<()> {
        self.note(format!("symlink {}/{name} {target}", self.name(dir)))
    }

    fn make_dir_in(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.note(format!("mkdirat {}/{name}", self.name(dir)))
    }

    fn make_owned_dir(&self, dir: BorrowedFd<'_>, name: &str, uid: u32, gid: u32) -> io::Result<()> {
        self.note(format!("mkdirat {}/{name} {uid}:{gid}", self.name(dir)))
    }

    fn write_new(&self, dir: BorrowedFd<'_>, name: &CStr, bytes: &[u8]) -> io::Result<()> {
        self.note(format!("write-new {}/{} {} bytes", self.name(dir), name.to_string_lossy(), bytes.len()))
    }

    fn enter_dir(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.note(format!("chdir {}", self.name(dir)))
    }

    fn pivot_here(&self) -> io::Result<()> {
        self.note("pivot".to_owned())
    }

    fn enter(&self, namespace: Namespace, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.note(format!("setns {namespace:?} {}", self.name(fd)))
    }

    fn unshare(&self, namespace: Namespace) -> io::Result<()> {
        self.note(format!("unshare {namespace:?}"))
    }

    fn set_host_name(&self, name: &str) -> io::Result<()> {
        self.note(format!("hostname {name}"))
    }

    fn default_signals(&self) {
        self.done.borrow_mut().push("signals".to_owned());
    }

    fn new_session(&self) -> io::Result<()> {
        self.note("session".to_owned())
    }

    fn limit(&self, which: Rlimit, value: u64) -> io::Result<()> {
        self.note(format!("rlimit {which:?} {value}"))
    }

    fn own_pipe(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
        self.note(format!("chown {} {uid}:{gid}", self.name(fd)))
    }

    fn set_stream(&self, fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
        self.note(format!("stream {number} {}", self.name(fd)))
    }

    fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
        let keep: Vec<String> = keep.iter().map(|fd| self.name(*fd)).collect();
        self.note(format!("close-all-but {}", keep.join(" ")))
    }

    fn close_on_exec_from(&self, first: u32) -> io::Result<()> {
        self.note(format!("cloexec {first}"))
    }

    fn listen(&self, port: u16) -> io::Result<OwnedFd> {
        self.open(format!("listen {port}"), "listener")
    }

    fn pass(&self, socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.note(format!("pass {} through {}", self.name(fd), self.name(socket)))
    }

    fn set_ids(&self, uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
        self.note(format!("ids {uid}:{gid} {groups:?}"))
    }

    fn drop_capabilities(&self) -> io::Result<()> {
        self.note("drop-capabilities".to_owned())
    }

    fn no_new_privileges(&self) -> io::Result<()> {
        self.note("no-new-privileges".to_owned())
    }

    fn die_with_parent(&self) -> io::Result<()> {
        self.note("die-with-parent".to_owned())
    }

    fn peer_is_gone(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        // A failure of "orphaned" stands for a spawner that died.
        Ok(self.note(format!("orphaned? {}", self.name(fd))).is_err())
    }

    fn change_dir(&self, path: &CStr) -> io::Result<()> {
        self.note(format!("cwd {}", path.to_string_lossy()))
    }

    fn load_filter(&self, program: &[u8]) -> io::Result<()> {
        self.note(format!("seccomp {} bytes", program.len()))
    }

    fn exec(&self, program: &CStr, argv: &[&CStr], env: &[&CStr]) -> io::Error {
        let call = format!("exec {} {argv:?} {env:?}", program.to_string_lossy());
        match self.note(call) {
            Err(e) => e,
            // The double cannot become another program: it says so by an error no kernel gives.
            Ok(()) => io::Error::from_raw_os_error(i32::MAX),
        }
    }
}
