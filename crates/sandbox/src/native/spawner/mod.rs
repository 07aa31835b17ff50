//! The spawner: a small single-threaded root process that makes sandboxes.
//!
//! It is driven by the engine over a socket and ends with it: when the socket closes it kills its
//! sandboxes, removes their cgroups and network, and exits. It has no network of its own, opens
//! nothing an engine names, and forks from a few megabytes instead of the engine's heap.

mod answers;
mod checks;
mod ends;
mod farewell;
mod identities;
mod log;
mod network;
mod pool;
mod refill;
mod seat;
mod serve;
mod settings;
mod slot;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use super::cgroup::Cgroups;
use super::sys::{Kernel, Linux};
use super::{mounts, raw, read_sealed, reap};
use crate::oci::Runtime;

pub(crate) use checks::{check_host, prepare_folders};
pub(crate) use log::{JSON_VARIABLE, Level, is_json, log, use_json};
pub(crate) use settings::SpawnerSettings;

/// Longest settings, bytes.
const MAX_SETTINGS: usize = 1 << 20;

/// Entry point of the hidden subcommand: `args` are the numbers of the inherited descriptors -
/// the engine's socket, the settings - and of descriptors that are only kept open.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    match prepare(args).and_then(serve::Spawner::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log(Level::Error, "spawner", &reason);
            ExitCode::FAILURE
        }
    }
}

fn prepare(args: &[OsString]) -> Result<serve::Spawner, String> {
    let mut fds = inherited(args)?;
    let [socket, settings] = [fds.next(), fds.next()].map(|fd| fd.ok_or("missing descriptors"));
    let (socket, settings) = (socket?, settings?);
    let kept: Vec<OwnedFd> = fds.collect();
    let settings = read_sealed(settings.as_fd(), MAX_SETTINGS).map_err(|e| format!("settings: {e}"))?;
    let settings: SpawnerSettings =
        serde_json::from_slice(&settings).map_err(|e| format!("settings: {e}"))?;
    if let Some(fault) = settings.fault() {
        return Err(fault);
    }
    // A terminal's Ctrl-C reaches the whole group; only the socket's end ends the spawner.
    raw::ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]);
    // Device nodes get the mode they are made with; the child sets the function's own mask.
    rustix::process::umask(rustix::fs::Mode::empty());
    // Forked before anything that its copy should not have.
    let network = match &settings.egress {
        Some(egress) => Some(network::Link::start(egress, &settings.data_dir, &socket)?),
        None => None,
    };
    enter_own_namespaces(&settings.data_dir)?;
    checks::try_idmap(settings.first_id)?;
    if let Some(warning) = checks::core_dump_warning() {
        log(Level::Warn, "spawner", &warning);
    }
    let k = Linux;
    let cgroups = match &settings.native.runtime {
        None => Cgroups::detect(&k, &settings.instance),
        Some(_) => Cgroups::detect_with_runtimes(&k, &settings.instance),
    };
    let cgroups = cgroups.map_err(|e| e.to_string())?;
    let left = reap::sandboxes(&k, &cgroups).map_err(|e| e.to_string())?;
    cgroups.prepare(&k).map_err(|e| e.to_string())?;
    let masks = mounts::masks(|name| k.exists(&Path::new("/proc").join(name)));
    let filter = crate::seccomp::filter().map_err(|e| e.to_string())?;
    let runtime = settings.native.runtime.as_deref().map(|program| Runtime::new(program, &masks));
    let tools = seat::Tools { cgroups, masks, filter, runtime: runtime.transpose()? };
    // What a runtime needs of root is for it to say.
    if tools.runtime.is_none() {
        checks::keep_only_needed_capabilities().map_err(|e| format!("own capabilities: {e}"))?;
    }
    let identities = identities::mount(&settings)?;
    serve::Spawner::new(settings, socket, kept, network, tools, left, identities)
}

/// A mount namespace, so that nothing mounted here is seen or left outside, and a network
/// namespace without any interface.
fn enter_own_namespaces(data_dir: &Path) -> Result<(), String> {
    let fault = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| format!("{what}: {e}")
    };
    raw::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET).map_err(fault("own namespaces"))?;
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|e| fault("private mounts")(e.into()))?;
    std::env::set_current_dir(data_dir).map_err(fault("data directory"))
}

fn inherited(args: &[OsString]) -> Result<impl Iterator<Item = OwnedFd>, String> {
    let fds: Option<Vec<OwnedFd>> =
        args.iter().map(|arg| raw::inherited(arg.to_str()?.parse().ok()?)).collect();
    fds.map(Vec::into_iter).ok_or_else(|| {
        "this subcommand is started by `picasso serve` only; it takes inherited descriptors".to_owned()
    })
}
