//! The keeper of one sandbox: a copy of the spawner, process 1 of a pid namespace, that starts the
//! runtime and stays until the function has ended.
//!
//! The runtime runs detached: it hands the standard streams to the function and ends; what it
//! leaves behind (the function, or the guest kernel it is in) becomes the keeper's child, whose
//! true status the keeper sees and tells the spawner. Everything the runtime made is below the
//! keeper: processes in its pid namespace, state and mounts in its mount namespace. So one SIGKILL
//! to the keeper ends and removes all of it, and so does the death of the spawner.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{WaitOptions, WaitStatus};
use serde_json::value::RawValue;

use super::bundle::{Bundle, Rlimit};
use super::{faults, stage};
use crate::native::blob::ProcessBlob;
use crate::native::mounts::{Folders, Mask, SHM_BYTES, SHM_INODES, Tree, open_folders};
use crate::native::raw::{self, Cloned};
use crate::native::spawner::{Level, log};
use crate::native::{Kernel, Linux, StartFault, Step};
use crate::{EndedBy, SlotLimits};

/// Longest piece of a runtime's log that is looked at, bytes, and of its words that is logged.
const MAX_LOG: usize = 64 << 10;
const MAX_WORDS: usize = 300;
/// All the runtime finds in its environment: `PATH`.
const ENVIRONMENT: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The runtime and what every bundle for it has in common.
#[derive(Debug)]
pub(crate) struct Runtime {
    program: CString,
    seccomp: Box<RawValue>,
    /// Parts of `/proc` to hide, absolute.
    masked: Vec<String>,
}

/// What is to be kept.
#[derive(Debug)]
pub(crate) struct Keep<'a> {
    /// Names the sandbox to its runtime.
    pub(crate) name: &'a str,
    /// The sandbox's group as a bundle names it, and whether it can limit swap.
    pub(crate) cgroup: &'a str,
    pub(crate) swap: bool,
    pub(crate) tree: Tree<'a>,
    pub(crate) limits: &'a SlotLimits,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: &'a [u32],
    pub(crate) streams: [BorrowedFd<'a>; 3],
    /// The sealed memory file with the tenant's strings.
    pub(crate) process: BorrowedFd<'a>,
    /// Closed once the function runs.
    pub(crate) line: &'a OwnedFd,
    /// Where the function's end is told.
    pub(crate) end: BorrowedFd<'a>,
}

impl Runtime {
    /// A runtime by its program. The error is a sentence.
    pub(crate) fn new(program: &Path, masks: &[Mask]) -> Result<Self, String> {
        if let Some(fault) = stage::fault() {
            return Err(fault);
        }
        let program = CString::new(program.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        let seccomp = serde_json::value::to_raw_value(&crate::seccomp::profile::profile());
        let masked = masks.iter().map(|mask| match mask {
            Mask::File(name) | Mask::Dir(name) => format!("/proc/{name}"),
        });
        Ok(Self { program, seccomp: seccomp.map_err(|e| e.to_string())?, masked: masked.collect() })
    }

    /// Clones a process that becomes `<runtime> <arguments>` with these streams.
    fn start(&self, arguments: &[&str], streams: [BorrowedFd<'_>; 3]) -> io::Result<i32> {
        let common = ["--root", stage::STATE, "--log", stage::LOG, "--log-format", "json"];
        let arguments = common.iter().chain(arguments).map(|text| CString::new(*text));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let argv: Vec<&CStr> =
            std::iter::once(self.program.as_c_str()).chain(arguments.iter().map(CString::as_c_str)).collect();
        match raw::clone_process(0, None)? {
            Cloned::Parent(process) => Ok(process.pid),
            Cloned::Child => {
                raw::unblock_signals();
                let ready = (0..).zip(streams).try_for_each(|(number, fd)| Linux.set_stream(fd, number));
                if ready.and_then(|()| Linux.close_on_exec_from(3)).is_ok() {
                    Linux.exec(&self.program, &argv, &[ENVIRONMENT]);
                }
                raw::exit_now(127)
            }
        }
    }
}

/// A keeper that waits to be told what to keep.
#[derive(Debug)]
pub(crate) struct Ready {
    signals: OwnedFd,
    folders: Folders,
}

/// Does everything that does not depend on the function. `kept` are the descriptors that stay
/// open; all others are the spawner's, whose ends wait for them to close.
pub(crate) fn make_ready(
    line: &OwnedFd,
    netns: BorrowedFd<'_>,
    kept: &[BorrowedFd<'_>],
) -> Result<Ready, StartFault> {
    let k = &Linux;
    k.close_all_but(kept).map_err(at(Step::Session))?;
    k.die_with_parent().map_err(at(Step::Session))?;
    if k.peer_is_gone(line.as_fd()).map_err(at(Step::Orphan))? {
        return Err(StartFault { step: Step::Orphan, errno: libc::ESRCH });
    }
    k.default_signals();
    let signals = raw::signal_fd(&[libc::SIGTERM, libc::SIGCHLD]).map_err(at(Step::Session))?;
    k.new_session().map_err(at(Step::Session))?;
    let folders = open_folders(k).map_err(|(part, e)| StartFault::new(part.into(), &e))?;
    stage::set(k, netns).map_err(at(Step::Root))?;
    Ok(Ready { signals, folders })
}

fn at(step: Step) -> impl Fn(io::Error) -> StartFault {
    move |e| StartFault::new(step, &e)
}

/// Starts a function and stays until it has ended. Returns only when it could not be started.
pub(crate) fn keep(runtime: &Runtime, ready: &Ready, keep: &Keep<'_>) -> Result<Infallible, StartFault> {
    let Started { function, ended } = start(runtime, ready, keep)?;
    // From here on the spawner takes the function for running.
    let _ = raw::close_inherited(keep.line);
    let by = ended.unwrap_or_else(|| wait(runtime, keep.name, &ready.signals, function));
    // Nobody to tell it to: the spawner is gone, and this process with it.
    let _ = rustix::io::write(keep.end, &to_bytes(by));
    raw::exit_now(0)
}

/// What the keeper told of the function's end; `None` where it was killed before.
pub(crate) fn told(end: &OwnedFd) -> Option<EndedBy> {
    let mut bytes = [0; 5];
    let read = rustix::io::read(end, &mut bytes).ok()?;
    if read == bytes.len() { from_bytes(bytes) } else { None }
}

fn to_bytes(by: EndedBy) -> [u8; 5] {
    let (kind, number) = match by {
        EndedBy::Exit(code) => (0, code),
        EndedBy::Signal(signal) => (1, signal),
    };
    let number = number.to_le_bytes();
    [kind, number[0], number[1], number[2], number[3]]
}

fn from_bytes([kind, a, b, c, d]: [u8; 5]) -> Option<EndedBy> {
    let number = i32::from_le_bytes([a, b, c, d]);
    match kind {
        0 => Some(EndedBy::Exit(number)),
        1 => Some(EndedBy::Signal(number)),
        _ => None,
    }
}

/// A function that was started.
struct Started {
    function: i32,
    /// Where it ended before its runtime did.
    ended: Option<EndedBy>,
}

fn start(runtime: &Runtime, ready: &Ready, keep: &Keep<'_>) -> Result<Started, StartFault> {
    let k = &Linux;
    stage::show_root(k, &ready.folders, &keep.tree)?;
    write_bundle(runtime, keep)?;
    for stream in keep.streams {
        // Programs open /dev/stdout by name: it must be theirs.
        let base = keep.tree.base_id;
        k.own_pipe(stream, base + keep.uid, base + keep.gid).map_err(at(Step::Streams))?;
    }
    let run = ["run", "--detach", "--bundle", stage::BUNDLE, "--pid-file", stage::PID, keep.name];
    let pid = runtime.start(&run, keep.streams).map_err(at(Step::Runtime))?;
    let mut others = Vec::new();
    let status = loop {
        match next_end().map_err(at(Step::Runtime))? {
            (ended, status) if ended == pid => break status,
            other => others.push(other),
        }
    };
    let function = std::fs::read_to_string(stage::PID).ok().and_then(|text| text.trim().parse().ok());
    match function {
        Some(function) if status.exit_status() == Some(0) => {
            let ended = others.iter().find(|(pid, _)| *pid == function).map(|(_, status)| by(*status));
            Ok(Started { function, ended })
        }
        _ => Err(failure(status)),
    }
}

fn write_bundle(runtime: &Runtime, keep: &Keep<'_>) -> Result<(), StartFault> {
    let blob = ProcessBlob::read(keep.process).map_err(at(Step::Blob))?;
    let texts =
        |list: Vec<CString>| list.into_iter().map(CString::into_string).collect::<Result<Vec<_>, _>>();
    write_secrets(keep, &blob.files).map_err(at(Step::Scratch))?;
    let not_text = StartFault { step: Step::Blob, errno: libc::EILSEQ };
    let (argv, env) = (texts(blob.argv).map_err(|_| not_text)?, texts(blob.env).map_err(|_| not_text)?);
    let bundle = Bundle {
        root: stage::ROOT,
        netns: stage::NETNS,
        cgroup: keep.cgroup,
        limits: keep.limits,
        swap: keep.swap,
        base_id: keep.tree.base_id,
        uid: keep.uid,
        gid: keep.gid,
        groups: keep.groups,
        argv: &argv,
        env: &env,
        cwd: blob.cwd.to_str().map_err(|_| not_text)?,
        masked: &runtime.masked,
        secrets: (!blob.files.is_empty()).then_some(stage::SECRETS),
        identity: keep.tree.identity.map(|_| stage::IDENTITY),
        shm: (keep.limits.tmp_bytes.min(SHM_BYTES), keep.limits.tmp_inodes.min(SHM_INODES)),
        rlimits: rlimits(keep.limits.nofile),
        seccomp: &runtime.seccomp,
    };
    let config = bundle.config().map_err(|e| at(Step::Blob)(e.into()))?;
    std::fs::write(stage::CONFIG, config).map_err(at(Step::Blob))
}

/// Files of the function's own, in a folder that the bundle shows it read-only.
fn write_secrets(keep: &Keep<'_>, files: &[(CString, Vec<u8>)]) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let k = &Linux;
    k.make_dir(Path::new(stage::SECRETS))?;
    let folder = k.open_dir(Path::new(stage::SECRETS))?;
    let (uid, gid) = (keep.tree.base_id + keep.uid, keep.tree.base_id + keep.gid);
    for (name, content) in files {
        k.write_new(folder.as_fd(), name, content)?;
        std::os::unix::fs::chown(
            Path::new(stage::SECRETS).join(OsStr::from_bytes(name.as_bytes())),
            Some(uid),
            Some(gid),
        )?;
    }
    std::os::unix::fs::fchown(&folder, Some(uid), Some(gid))?;
    std::fs::set_permissions(stage::SECRETS, std::os::unix::fs::PermissionsExt::from_mode(0o500))
}

/// The native driver's limits, each as far as the hard limit in force allows.
fn rlimits(nofile: u64) -> Vec<Rlimit> {
    use rustix::process::{Resource, getrlimit};
    [
        // 1, not 0: the kernel pipes a core to a host's handler even at 0, and stops at 1.
        ("RLIMIT_CORE", Resource::Core, 1),
        ("RLIMIT_NOFILE", Resource::Nofile, nofile),
        ("RLIMIT_MSGQUEUE", Resource::Msgqueue, 0),
        ("RLIMIT_SIGPENDING", Resource::Sigpending, 1024),
        ("RLIMIT_MEMLOCK", Resource::Memlock, 64 << 10),
    ]
    .into_iter()
    .map(|(kind, resource, value)| {
        let value = value.min(getrlimit(resource).maximum.unwrap_or(u64::MAX));
        Rlimit { kind, hard: value, soft: value }
    })
    .collect()
}

/// What a runtime that did not start the function meant. What is not the image's fault is told to
/// the operator in the runtime's own words, cut and escaped: they may quote a tenant.
fn failure(status: WaitStatus) -> StartFault {
    let log_file = std::fs::read(stage::LOG).unwrap_or_default();
    let tail = &log_file[log_file.len().saturating_sub(MAX_LOG)..];
    let words = faults::last_words(&String::from_utf8_lossy(tail));
    let fault = faults::meaning(&words);
    if fault.step == Step::Runtime {
        let short: String = words.chars().take(MAX_WORDS).collect();
        let code = status.exit_status();
        let signal = status.terminating_signal();
        let text = format!("the OCI runtime failed (exit code {code:?}, signal {signal:?}): {short:?}");
        log(Level::Error, "oci", &text);
    }
    fault
}

/// Waits for the next child to end.
fn next_end() -> io::Result<(i32, WaitStatus)> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => return Ok((pid.as_raw_nonzero().get(), status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn by(status: WaitStatus) -> EndedBy {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => EndedBy::Exit(code),
        (None, signal) => EndedBy::Signal(signal.unwrap_or(libc::SIGKILL)),
    }
}

/// Waits for the function's end; SIGTERM is passed on meanwhile, by the runtime: it alone knows
/// where the function is.
fn wait(runtime: &Runtime, name: &str, signals: &OwnedFd, function: i32) -> EndedBy {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == function => return by(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                // It is nobody's child any more: it cannot be.
                Err(_) => return EndedBy::Signal(libc::SIGKILL),
            }
        }
        let mut fds = [PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut fds, None);
        while let Some(signal) = raw::next_signal(signals.as_fd()) {
            if signal == libc::SIGTERM
                && let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")
            {
                let null = null.as_fd();
                // Where it fails the function is killed at its time, as one that does not listen.
                let _ = runtime.start(&["kill", name, "TERM"], [null, null, null]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_as_it_was_told_and_silence_is_none() {
        for by in [EndedBy::Exit(0), EndedBy::Exit(137), EndedBy::Signal(11)] {
            let (end, tell) = rustix::pipe::pipe().unwrap();
            rustix::io::write(&tell, &to_bytes(by)).unwrap();
            assert_eq!(told(&end), Some(by));
        }
        let (end, tell) = rustix::pipe::pipe().unwrap();
        drop(tell);
        assert_eq!(told(&end), None);
    }
}
