//! [`Kernel`] by real system calls.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::mount as mnt;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Resource, Signal};
use rustix::thread::{self as thread, CapabilitySet, CapabilitySets, LinkNameSpaceType};

use super::sys::{Kernel, MountFlags, Namespace, PASSED, Rlimit};
use super::{packet, raw};

/// Connections that may wait for us at a sandbox's listener.
const BACKLOG: i32 = 128;

/// The running kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linux;

fn attributes(flags: MountFlags) -> mnt::MountAttrFlags {
    let mut attributes = mnt::MountAttrFlags::MOUNT_ATTR_NOSUID;
    attributes.set(mnt::MountAttrFlags::MOUNT_ATTR_RDONLY, flags.read_only);
    attributes.set(mnt::MountAttrFlags::MOUNT_ATTR_NOEXEC, flags.no_exec);
    attributes.set(mnt::MountAttrFlags::MOUNT_ATTR_NODEV, flags.no_dev);
    attributes
}

impl Linux {
    /// A new file system in memory that is not swapped to a disk either, where the kernel can promise
    /// that (Linux 6.4).
    pub(crate) fn new_unswapped(options: &[(&str, String)], flags: MountFlags) -> io::Result<OwnedFd> {
        let context = mnt::fsopen("tmpfs", mnt::FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            mnt::fsconfig_set_string(&context, *key, value.as_str())?;
        }
        // An older kernel does not know the word and takes the rest.
        let _ = mnt::fsconfig_set_flag(&context, "noswap");
        mnt::fsconfig_create(&context)?;
        Ok(mnt::fsmount(&context, mnt::FsMountFlags::FSMOUNT_CLOEXEC, attributes(flags))?)
    }
}

impl Kernel for Linux {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.write_all(bytes)
    }

    fn open_for_write(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(path)?.into())
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        Ok(OpenOptions::new().read(true).custom_flags(flags).open(path)?.into())
    }

    fn write_fd(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
        rustix::io::write(fd, bytes)?;
        Ok(())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn dirs(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn kill(&self, pid: i32) -> io::Result<()> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(rustix::process::kill_process(pid, Signal::KILL)?)
    }

    fn clone_tree(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
        let flags = mnt::OpenTreeFlags::OPEN_TREE_CLONE
            | mnt::OpenTreeFlags::OPEN_TREE_CLOEXEC
            | mnt::OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        Ok(mnt::open_tree(dir, path, flags)?)
    }

    fn restrict(&self, tree: BorrowedFd<'_>, flags: MountFlags) -> io::Result<()> {
        raw::mount_setattr(tree, attributes(flags).bits().into(), None)
    }

    fn restrict_mapped(
        &self,
        tree: BorrowedFd<'_>,
        flags: MountFlags,
        userns: BorrowedFd<'_>,
    ) -> io::Result<()> {
        raw::mount_setattr(tree, attributes(flags).bits().into(), Some(userns))
    }

    fn new_file_system(
        &self,
        kind: &str,
        options: &[(&str, String)],
        flags: MountFlags,
    ) -> io::Result<OwnedFd> {
        let context = mnt::fsopen(kind, mnt::FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            mnt::fsconfig_set_string(&context, *key, value.as_str())?;
        }
        mnt::fsconfig_create(&context)?;
        Ok(mnt::fsmount(&context, mnt::FsMountFlags::FSMOUNT_CLOEXEC, attributes(flags))?)
    }

    fn attach(&self, tree: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        let flags =
            mnt::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | mnt::MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(mnt::move_mount(tree, "", to, "", flags)?)
    }

    fn mount_overlay(&self, target: &str, options: &str) -> io::Result<()> {
        let flags = mnt::MountFlags::RDONLY | mnt::MountFlags::NOSUID | mnt::MountFlags::NODEV;
        let options = std::ffi::CString::new(options)?;
        Ok(mnt::mount("overlay", target, "overlay", flags, options.as_c_str())?)
    }

    fn bind(&self, source: &str, target: &str) -> io::Result<()> {
        Ok(mnt::mount_bind(source, target)?)
    }

    fn open_in(&self, root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
    }

    fn make_device(&self, dir: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> io::Result<()> {
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(dir, name, FileType::CharacterDevice, mode, device)?;
        // The umask has taken bits away, and no sandbox owns its devices.
        Ok(rustix::fs::chmodat(dir, name, mode, AtFlags::empty())?)
    }

    fn make_link(&self, dir: BorrowedFd<'_>, name: &str, target: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, dir, name)?)
    }

    fn make_dir_in(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?)
    }

    fn make_owned_dir(&self, dir: BorrowedFd<'_>, name: &str, uid: u32, gid: u32) -> io::Result<()> {
        self.make_dir_in(dir, name)?;
        // The umask has taken bits away.
        rustix::fs::chmodat(dir, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn write_new(&self, dir: BorrowedFd<'_>, name: &CStr, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o400))?;
        File::from(file).write_all(bytes)
    }

    fn enter_dir(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::process::fchdir(dir)?)
    }

    fn pivot_here(&self) -> io::Result<()> {
        rustix::process::pivot_root(".", ".")?;
        mnt::unmount(".", mnt::UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }

    fn enter(&self, namespace: Namespace, fd: BorrowedFd<'_>) -> io::Result<()> {
        let kind = match namespace {
            Namespace::Network => LinkNameSpaceType::Network,
            Namespace::User => LinkNameSpaceType::User,
            Namespace::Cgroup => LinkNameSpaceType::ControlGroup,
        };
        Ok(thread::move_into_link_name_space(fd, Some(kind))?)
    }

    fn unshare(&self, namespace: Namespace) -> io::Result<()> {
        raw::unshare(match namespace {
            Namespace::Network => libc::CLONE_NEWNET,
            Namespace::User => libc::CLONE_NEWUSER,
            Namespace::Cgroup => libc::CLONE_NEWCGROUP,
        })
    }

    fn set_host_name(&self, name: &str) -> io::Result<()> {
        Ok(rustix::system::sethostname(name.as_bytes())?)
    }

    fn default_signals(&self) {
        raw::default_signals();
    }

    fn new_session(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(())
    }

    fn limit(&self, which: Rlimit, value: u64) -> io::Result<()> {
        let resource = match which {
            Rlimit::Core => Resource::Core,
            Rlimit::OpenFiles => Resource::Nofile,
            Rlimit::MessageQueueBytes => Resource::Msgqueue,
            Rlimit::PendingSignals => Resource::Sigpending,
            Rlimit::LockedBytes => Resource::Memlock,
        };
        // Without CAP_SYS_RESOURCE a hard limit can only go down.
        let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let value = Some(value.min(hard));
        let limit = rustix::process::Rlimit { current: value, maximum: value };
        Ok(rustix::process::setrlimit(resource, limit)?)
    }

    fn own_pipe(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
        Ok(rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    fn set_stream(&self, fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
        match number {
            0 => rustix::stdio::dup2_stdin(fd)?,
            1 => rustix::stdio::dup2_stdout(fd)?,
            _ => rustix::stdio::dup2_stderr(fd)?,
        }
        Ok(())
    }

    fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
        raw::close_all_but(keep)
    }

    fn close_on_exec_from(&self, first: u32) -> io::Result<()> {
        raw::close_on_exec_from(first)
    }

    fn listen(&self, port: u16) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    }

    fn pass(&self, socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
        packet::send(socket, PASSED, &[fd])
    }

    fn set_ids(&self, uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
        let groups: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
        thread::set_thread_groups(&groups)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        thread::set_thread_res_gid(gid, gid, gid)?;
        Ok(thread::set_thread_res_uid(uid, uid, uid)?)
    }

    fn drop_capabilities(&self) -> io::Result<()> {
        for number in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match thread::remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // The first number that this kernel does not know.
                Err(rustix::io::Errno::INVAL) => break,
                Err(e) => return Err(e.into()),
            }
        }
        thread::clear_ambient_capability_set()?;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        Ok(thread::set_capabilities(None, sets)?)
    }

    fn no_new_privileges(&self) -> io::Result<()> {
        Ok(thread::set_no_new_privs(true)?)
    }

    fn die_with_parent(&self) -> io::Result<()> {
        Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
    }

    fn peer_is_gone(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP))
    }

    fn change_dir(&self, path: &CStr) -> io::Result<()> {
        Ok(rustix::process::chdir(path)?)
    }

    fn load_filter(&self, program: &[u8]) -> io::Result<()> {
        raw::load_filter(program)
    }

    fn exec(&self, program: &CStr, argv: &[&CStr], env: &[&CStr]) -> io::Error {
        raw::exec(program, argv, env)
    }
}

/// The network namespace of the calling process.
pub(crate) fn own_network() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/self/ns/net")?.into())
}
