//! The few system calls that neither std nor rustix offers as safe functions.
#![expect(unsafe_code, reason = "system calls without a safe wrapper; each block says why it is sound")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Which side of a clone this is.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The caller, with the new process's pid and a descriptor for it.
    Parent(Process),
}

/// A child process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// `struct clone_args` of `clone3(2)`, version 2 (88 bytes).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Copies the calling process into new namespaces (`CLONE_NEW…` bits) and, on cgroup v2, straight
/// into a cgroup. To be called from a single-threaded process only: the copy has one thread, and
/// every lock of the others would stay taken for ever.
pub(crate) fn clone_process(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: u64::from(flags.cast_unsigned()) | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: the arguments are a valid clone_args of the size given, and live through the call;
    // without CLONE_VM the child runs on its own copy of this stack. The caller is single-threaded.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, std::mem::size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: CLONE_PIDFD made this descriptor for us; nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent(Process { pid: i32::try_from(pid).unwrap_or(-1), pidfd }))
}

/// Ends the calling process at once, without running anything of the copied parent's.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// `mount_setattr(2)` on a detached tree.
pub(crate) fn mount_setattr(
    tree: BorrowedFd<'_>,
    set: u64,
    userns: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: set | if userns.is_some() { MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: the path is a static C string, attr is valid and of the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            std::mem::size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Loads a seccomp filter: `program` is an array of `struct sock_filter`.
pub(crate) fn load_filter(program: &[u8]) -> io::Result<()> {
    const INSTRUCTION: usize = std::mem::size_of::<libc::sock_filter>();
    let filter: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|c| libc::sock_filter {
            code: u16::from_ne_bytes([c[0], c[1]]),
            jt: c[2],
            jf: c[3],
            k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
        })
        .collect();
    let Ok(len) = u16::try_from(filter.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let prog = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    // SAFETY: prog points at len instructions that live through the call; the kernel copies them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const prog) })?;
    Ok(())
}

/// `execve(2)`; returns only when it failed.
pub(crate) fn exec(program: &CStr, argv: &[&CStr], env: &[&CStr]) -> io::Error {
    fn pointers(list: &[&CStr]) -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    }
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both are null-terminated arrays of C strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Makes every signal's disposition the default and unblocks all.
pub(crate) fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: setting a disposition to the default runs no code; numbers that cannot be set
        // are refused by the kernel or the C library.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_signals();
}

/// Lets every signal through again: the mask is inherited by children and over exec.
pub(crate) fn unblock_signals() {
    // SAFETY: an empty set is valid, and null is allowed for the old mask.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Ignores signals that a terminal or an operator sends to the whole process group.
pub(crate) fn ignore_signals(signals: &[i32]) {
    for signal in signals {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

/// Blocks signals and gives a descriptor that becomes readable when one of them arrives.
pub(crate) fn signal_fd(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use; signalfd makes a descriptor that is ours alone.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(libc::c_long::from(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut())))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(libc::c_long::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The number of the next signal waiting in a [`signal_fd`].
pub(crate) fn next_signal(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = [0_u8; std::mem::size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut info) {
        Ok(n) if n == info.len() => Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
        _ => None,
    }
}

/// Takes over a descriptor this process inherited under a number it was told. `None` where it is
/// not open, or is a standard stream.
pub(crate) fn inherited(number: RawFd) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: fcntl on a number is sound whether or not it is open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return None;
    }
    // SAFETY: it is open, and the caller (an entry point of a hidden subcommand, or what takes
    // systemd's sockets, each called once) is the only one who was told its number.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(fd)
}

/// Brings the loopback interface of the calling process's network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: a zeroed ifreq is valid; the name is shorter than its array.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or_default();
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives through the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    }))?;
    Ok(())
}

/// Leaves the namespaces of the given `CLONE_NEW…` bits for new ones.
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: only CLONE_NEW… bits are passed, which do not touch descriptors or memory.
    check(libc::c_long::from(unsafe { libc::unshare(flags) }))?;
    Ok(())
}

/// The ids of a user by name.
pub(crate) fn user_by_name(name: &CStr) -> io::Result<Option<(u32, u32)>> {
    let mut buffer = vec![0; 16 * 1024];
    // SAFETY: a zeroed passwd is valid as an output argument.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found: *mut libc::passwd = std::ptr::null_mut();
    // SAFETY: all pointers are valid, and the buffer is as long as said.
    let code = unsafe {
        libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
    };
    match code {
        0 if found.is_null() => Ok(None),
        0 => Ok(Some((entry.pw_uid, entry.pw_gid))),
        libc::ENOENT | libc::ESRCH => Ok(None),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The id of a group by name.
pub(crate) fn group_by_name(name: &CStr) -> io::Result<Option<u32>> {
    // Large groups list all their members.
    let mut buffer = vec![0; 1024 * 1024];
    // SAFETY: a zeroed group is valid as an output argument.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found: *mut libc::group = std::ptr::null_mut();
    // SAFETY: all pointers are valid, and the buffer is as long as said.
    let code = unsafe {
        libc::getgrnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
    };
    match code {
        0 if found.is_null() => Ok(None),
        0 => Ok(Some(entry.gr_gid)),
        libc::ENOENT | libc::ESRCH => Ok(None),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The groups a user is in by the host's group database, its primary group included.
pub(crate) fn groups_of_user(name: &CStr, primary: u32) -> io::Result<Vec<u32>> {
    // As many as Linux lets a process have (NGROUPS_MAX).
    const MOST: libc::c_int = 65_536;
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(MOST);
        // SAFETY: the name ends with a NUL byte, and the list has room for as many as `count` says.
        let code = unsafe { libc::getgrouplist(name.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count) };
        let found = usize::try_from(count).unwrap_or(0);
        if code >= 0 {
            groups.truncate(found);
            return Ok(groups);
        }
        if count > MOST || found <= groups.len() {
            return Err(io::Error::other("the group database does not tell the user's groups"));
        }
        groups.resize(found, 0);
    }
}

/// Marks every descriptor from `first` on to be closed by exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no descriptor is closed before exec, only marked.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Closes every descriptor from 3 on but `keep`. For a freshly cloned child only, which leaves by
/// exec or [`exit_now`], so that no owner's destructor ever runs in it.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for end in keep.into_iter().map(Some).chain([None]) {
        let last = end.map_or(u32::MAX, |fd| fd.saturating_sub(1));
        if first <= last {
            // SAFETY: the child's table is its own; nothing in it uses these numbers again.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
        first = end.map_or(u32::MAX, |fd| fd.saturating_add(1)).max(first);
    }
    Ok(())
}

/// Closes a freshly cloned child's copy of a descriptor that only its parent should keep. The
/// child must leave by [`exit_now`], so that the owner's destructor never runs in it.
pub(crate) fn close_inherited(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: the child's table is its own; nothing in it uses this number again.
    check(libc::c_long::from(unsafe { libc::close(fd.as_raw_fd()) }))?;
    Ok(())
}

/// A descriptor as tokio watches it.
pub(crate) fn watched(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names one open descriptor for as long as it lives, and the AsyncFd owns
    // it.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(fd) }?)
}
