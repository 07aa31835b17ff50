//! What the new process does between its birth and the function's first instruction.
//!
//! It begins as a copy of the spawner with all its rights, in new pid, mount, ipc and uts
//! namespaces. First it sits down: it does whatever is the same for all functions, ahead of any
//! start. Told what to become, it gives its rights up step by step: file tree, limits, user
//! namespace, capabilities, seccomp. The tenant's strings are read only after the user namespace
//! was entered and every capability dropped.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::blob::ProcessBlob;
use super::mounts::{self, Mask, Stage, Tree, TreePart};
use super::sys::{Kernel, Namespace, Rlimit};
use crate::Channel;

/// Name every sandbox's host has: it tells nothing of the real one.
pub(crate) const HOST_NAME: &str = "picasso";

/// Where `PATH` is looked for when the environment has none (as execvp(3) of most systems).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The step at which a start failed. The numbers are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// Ours: joining the cgroup, namespaces, limits, … refused by the kernel.
    Cgroup = 1,
    Network = 2,
    Layer = 3,
    Root = 4,
    Devices = 5,
    Proc = 6,
    Scratch = 7,
    Pivot = 8,
    Session = 9,
    Streams = 10,
    Identity = 11,
    Filter = 12,
    Blob = 13,
    /// The spawner died meanwhile; nobody reads this one.
    Orphan = 14,
    /// Ours: the socket folder or the listener.
    Channel = 15,
    /// An OCI runtime, which said why in the log.
    Runtime = 16,
    /// The image's: its working directory.
    WorkDir = 32,
    /// A program without `/` that no folder of `PATH` has.
    Lookup = 33,
    /// The program itself.
    Exec = 34,
}

impl Step {
    const ALL: [Self; 19] = [
        Self::Cgroup,
        Self::Network,
        Self::Layer,
        Self::Root,
        Self::Devices,
        Self::Proc,
        Self::Scratch,
        Self::Pivot,
        Self::Session,
        Self::Streams,
        Self::Identity,
        Self::Filter,
        Self::Blob,
        Self::Orphan,
        Self::Channel,
        Self::Runtime,
        Self::WorkDir,
        Self::Lookup,
        Self::Exec,
    ];

    /// The step with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|s| *s as u8 == number)
    }
}

impl From<TreePart> for Step {
    fn from(part: TreePart) -> Self {
        match part {
            TreePart::Layer => Self::Layer,
            TreePart::Root => Self::Root,
            TreePart::Devices => Self::Devices,
            TreePart::Proc => Self::Proc,
            TreePart::Scratch => Self::Scratch,
            TreePart::Pivot => Self::Pivot,
        }
    }
}

/// Why a start failed: the step and the kernel's error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartFault {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

impl StartFault {
    pub(crate) fn new(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// The five bytes that travel through the line to the spawner.
    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let e = self.errno.to_le_bytes();
        [self.step as u8, e[0], e[1], e[2], e[3]]
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 5] = bytes.try_into().ok()?;
        let step = Step::from_number(bytes[0])?;
        Some(Self { step, errno: i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) })
    }
}

/// Where a process sits until it is told what to become.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    /// cgroup v1: the `tasks` files to write oneself into; empty on v2, where the clone did it.
    pub(crate) tasks: &'a [OwnedFd],
    pub(crate) netns: BorrowedFd<'a>,
    pub(crate) userns: BorrowedFd<'a>,
    /// Our end of the line to the spawner; closed by exec.
    pub(crate) line: BorrowedFd<'a>,
    /// The masked parts of `/proc` that this kernel has.
    pub(crate) masks: &'a [Mask],
    /// Host id that is 0 inside.
    pub(crate) base_id: u32,
}

/// What it is to become.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) tree: Tree<'a>,
    pub(crate) channel: Channel,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: &'a [u32],
    pub(crate) nofile: u64,
    pub(crate) streams: [BorrowedFd<'a>; 3],
    /// The sealed memory file with the tenant's strings.
    pub(crate) process: BorrowedFd<'a>,
    /// The seccomp program.
    pub(crate) filter: &'a [u8],
}

trait At<T> {
    fn at(self, step: Step) -> Result<T, StartFault>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: Step) -> Result<T, StartFault> {
        self.map_err(|e| StartFault::new(step, &e))
    }
}

/// Does everything that does not depend on what the process will become.
pub(crate) fn sit_down(k: &dyn Kernel, seat: &Seat<'_>) -> Result<Stage, StartFault> {
    // First of all, so that every page from here on is the sandbox's.
    for tasks in seat.tasks {
        k.write_fd(tasks.as_fd(), b"0").at(Step::Cgroup)?;
    }
    k.unshare(Namespace::Cgroup).at(Step::Cgroup)?;
    k.enter(Namespace::Network, seat.netns).at(Step::Network)?;
    // A seat outlives the moment of its making: what is the spawner's is closed in it, and it
    // ends with the spawner.
    k.close_all_but(&[seat.line, seat.userns]).at(Step::Session)?;
    k.die_with_parent().at(Step::Session)?;
    stay_only_with_spawner(k, seat)?;
    k.set_host_name(HOST_NAME).at(Step::Session)?;
    k.default_signals();
    k.new_session().at(Step::Session)?;
    limit_resources(k).at(Step::Session)?;
    mounts::set_stage(k, seat.masks).map_err(|(part, e)| StartFault::new(part.into(), &e))
}

/// Becomes the function. Returns only when that failed.
pub(crate) fn become_function(
    k: &dyn Kernel,
    seat: &Seat<'_>,
    stage: &Stage,
    launch: &Launch<'_>,
) -> Result<Infallible, StartFault> {
    let built =
        mounts::build(k, stage, &launch.tree).map_err(|(part, e)| StartFault::new(part.into(), &e))?;
    let channel = match launch.channel {
        Channel::Listener { port } => Some(k.listen(port).at(Step::Channel)?),
        Channel::Streams | Channel::SocketFolder | Channel::Port { .. } => built.socket_folder,
    };
    if let Some(channel) = channel {
        k.pass(seat.line, channel.as_fd()).at(Step::Channel)?;
    }
    k.limit(Rlimit::OpenFiles, launch.nofile).at(Step::Session)?;
    take_streams(k, seat.base_id, launch).at(Step::Streams)?;
    // Last of the namespaces: all others stay owned by the host's, where the function has no
    // rights whatever it is inside.
    k.enter(Namespace::User, seat.userns).at(Step::Identity)?;
    k.set_ids(launch.uid, launch.gid, launch.groups).at(Step::Identity)?;
    k.drop_capabilities().at(Step::Identity)?;
    k.no_new_privileges().at(Step::Identity)?;
    // Again after the change of ids, which clears it.
    k.die_with_parent().at(Step::Identity)?;
    stay_only_with_spawner(k, seat)?;
    run_program(k, launch, built.secrets.as_ref())
}

fn stay_only_with_spawner(k: &dyn Kernel, seat: &Seat<'_>) -> Result<(), StartFault> {
    if k.peer_is_gone(seat.line).at(Step::Orphan)? {
        return Err(StartFault { step: Step::Orphan, errno: libc::ESRCH });
    }
    Ok(())
}

fn limit_resources(k: &dyn Kernel) -> io::Result<()> {
    // 1, not 0: the kernel pipes a core to a host's handler even at 0, and stops at 1.
    k.limit(Rlimit::Core, 1)?;
    k.limit(Rlimit::MessageQueueBytes, 0)?;
    k.limit(Rlimit::PendingSignals, 1024)?;
    k.limit(Rlimit::LockedBytes, 64 << 10)
}

fn take_streams(k: &dyn Kernel, base: u32, launch: &Launch<'_>) -> io::Result<()> {
    for (number, fd) in (0..).zip(launch.streams) {
        // Programs open /dev/stdout by name: it must be theirs.
        k.own_pipe(fd, base + launch.uid, base + launch.gid)?;
        k.set_stream(fd, number)?;
    }
    k.close_on_exec_from(3)
}

fn run_program(
    k: &dyn Kernel,
    launch: &Launch<'_>,
    secrets: Option<&OwnedFd>,
) -> Result<Infallible, StartFault> {
    let blob = ProcessBlob::read(launch.process).at(Step::Blob)?;
    for (name, content) in &blob.files {
        let folder = secrets.ok_or(StartFault { step: Step::Blob, errno: libc::EBADMSG })?;
        k.write_new(folder.as_fd(), name, content).at(Step::Scratch)?;
    }
    k.change_dir(&blob.cwd).at(Step::WorkDir)?;
    k.load_filter(launch.filter).at(Step::Filter)?;
    let argv: Vec<&CStr> = blob.argv.iter().map(CString::as_c_str).collect();
    let env: Vec<&CStr> = blob.env.iter().map(CString::as_c_str).collect();
    let Some(program) = argv.first() else {
        return Err(StartFault { step: Step::Blob, errno: libc::EINVAL });
    };
    if program.to_bytes().contains(&b'/') {
        return Err(StartFault::new(Step::Exec, &k.exec(program, &argv, &env)));
    }
    let mut refused = StartFault { step: Step::Lookup, errno: libc::ENOENT };
    for candidate in candidates(program, &env) {
        let error = k.exec(&candidate, &argv, &env);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            // It is there but not ours to run; another folder may have one that is.
            Some(libc::EACCES) => refused = StartFault { step: Step::Exec, errno: libc::EACCES },
            _ => return Err(StartFault::new(Step::Exec, &error)),
        }
    }
    Err(refused)
}

/// The places where `PATH` may have the program, in order.
fn candidates(program: &CStr, env: &[&CStr]) -> Vec<CString> {
    let path =
        env.iter().find_map(|pair| pair.to_bytes().strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH.as_bytes());
    path.split(|b| *b == b':')
        .filter_map(|dir| {
            let dir = if dir.is_empty() { b"." } else { dir };
            CString::new([dir, b"/", program.to_bytes()].concat()).ok()
        })
        .collect()
}
