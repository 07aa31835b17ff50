//! Starting the helper processes: the own binary under a hidden subcommand, with descriptors
//! inherited under numbers it is told.
#![expect(unsafe_code, reason = "Command::pre_exec, which runs between fork and exec")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::SPAWNER_COMMAND;
use super::id_block::IdBlock;
use super::user::{self, User};
use crate::SandboxError;
use crate::egress::EgressSettings;
use crate::native::spawner::{JSON_VARIABLE, SpawnerSettings, is_json, prepare_folders};
use crate::native::{raw, sealed};
use crate::supervisor::NativeSettings;

/// Variables whose values may be secrets of the server's or its operator's.
const SECRET_PREFIXES: [&str; 3] = ["PICASSO_", "KEYSTONE_", "OS_"];
/// What systemd said to this process alone (sd_listen_fds(3)).
const FOR_US_ALONE: &str = "LISTEN_";

/// How a child relates to its parent.
pub(super) enum Role<'a> {
    /// Ends by itself when its socket closes; keeps root.
    Helper,
    /// Dies with the supervisor, and becomes this user first where there is one.
    Engine(Option<&'a User>),
}

/// A socket pair as all processes of the server use them.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Starts a hidden subcommand with the descriptors' numbers and a path as its arguments. The calling process is single-threaded, so no other child can
/// inherit the descriptors meanwhile.
pub(super) fn start(
    program: &Path,
    subcommand: &str,
    fds: &[&OwnedFd],
    path: Option<&Path>,
    role: &Role<'_>,
) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg0("picasso").arg(subcommand).stdin(Stdio::null()).process_group(0);
    command.args(fds.iter().map(|fd| fd.as_raw_fd().to_string())).args(path);
    let engine = match role {
        Role::Helper => {
            command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
            command.envs(is_json().then_some((JSON_VARIABLE, "1")));
            None
        }
        Role::Engine(user) => {
            for (name, _) in std::env::vars_os() {
                let text = name.to_string_lossy();
                let withheld = SECRET_PREFIXES.iter().chain([&FOR_US_ALONE]);
                if withheld.into_iter().any(|prefix| text.starts_with(prefix)) {
                    command.env_remove(&name);
                }
            }
            Some(user.cloned())
        }
    };
    let parent = std::process::id();
    let prepare = move || {
        // The supervisor blocks what it reads from a descriptor, and children inherit that.
        raw::unblock_signals();
        match &engine {
            None => Ok(()),
            Some(user) => {
                user.as_ref().map_or(Ok(()), User::become_it)?;
                // One that comes before the engine listens for it must not end it.
                raw::ignore_signals(&[libc::SIGHUP]);
                // After the change of ids, which clears it.
                user::die_with(parent)
            }
        }
    };
    // SAFETY: the caller is single-threaded, so no lock is held across the fork; the closure makes
    // system calls only.
    unsafe { command.pre_exec(prepare) };
    for fd in fds {
        fcntl_setfd(fd, FdFlags::empty())?;
    }
    let child = command.spawn();
    for fd in fds {
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    child
}

/// A started spawner.
#[derive(Debug)]
pub(super) struct StartedSpawner {
    pub(super) child: Child,
    /// The engine's end of its socket.
    pub(super) socket: OwnedFd,
    /// Hangs up when the spawner and all its own helpers are gone.
    pub(super) life: OwnedFd,
}

/// Starts a spawner.
pub(super) fn start_spawner(
    program: &Path,
    settings: &SpawnerSettings,
    ids: &IdBlock,
) -> io::Result<StartedSpawner> {
    let (ours, theirs) = pair()?;
    let (life, alive) = pipe_with(PipeFlags::CLOEXEC)?;
    let settings = sealed(&serde_json::to_vec(settings)?)?;
    let fds = [&theirs, &settings, &alive, &ids.lock];
    let child = start(program, SPAWNER_COMMAND, &fds, None, &Role::Helper)?;
    Ok(StartedSpawner { child, socket: ours, life })
}

/// A spawner without a supervisor: what a tool or a test runs the native driver with.
#[derive(Debug)]
pub struct SpawnedNative {
    /// The spawner process.
    pub child: Child,
    /// The socket to drive it by, for `NativeSandbox::new`. It ends everything when this closes.
    pub socket: OwnedFd,
    /// Keeps the block of host ids for as long as its sandboxes may live.
    pub ids: OwnedFd,
}

/// Starts a spawner for the data directory `data_dir` (layers in `data_dir/layers`), under an
/// instance id of the caller's choice (8 hex digits). `program` is the binary whose hidden
/// subcommand [`SPAWNER_COMMAND`] is the spawner. To be called by root, with no other thread
/// starting processes at the same moment.
pub fn spawn_native(
    program: &Path,
    data_dir: PathBuf,
    instance: &str,
    native: NativeSettings,
    egress: Option<EgressSettings>,
) -> Result<SpawnedNative, SandboxError> {
    let failed = |reason: String| SandboxError::Failed { context: "starting a spawner".to_owned(), reason };
    let resolv_conf = egress.as_ref().map(EgressSettings::resolv_conf).unwrap_or_default();
    prepare_folders(&data_dir, &resolv_conf).map_err(|e| failed(e.to_string()))?;
    let ids = IdBlock::take().map_err(failed)?;
    let settings = SpawnerSettings {
        instance: instance.to_owned(),
        data_dir,
        first_id: ids.first,
        engine: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        native,
        egress,
        reaped: crate::Reaped::default(),
    };
    let started = start_spawner(program, &settings, &ids).map_err(|e| failed(e.to_string()))?;
    let StartedSpawner { child, socket, .. } = started;
    Ok(SpawnedNative { child, socket, ids: ids.lock })
}
