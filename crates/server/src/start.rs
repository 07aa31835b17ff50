//! `picasso serve`: everything before the supervisor takes over. Single-threaded.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use picasso_config::settings::{LogFormat, SandboxRuntime};
use picasso_config::{Inputs, Loaded};
use picasso_sandbox::oci;
use picasso_sandbox::supervisor::{self, SupervisorSettings};

use crate::engine_process::telemetry;
use crate::failure::{ServerFailure, say};
use crate::handover::Handover;
use crate::{convert, key_file};

/// Less free space than this in the data directory is worth a warning, bytes.
const LOW_DISK: u64 = 1 << 30;

pub(crate) fn serve(inputs: &Inputs) -> Result<ExitCode, ServerFailure> {
    let loaded = Loaded::load(inputs)?.with_secret_files()?;
    let settings = &loaded.settings;
    let root = rustix::process::geteuid().is_root();
    let docker = settings.sandbox.runtime == SandboxRuntime::Docker;
    if !root && !docker {
        return Err(ServerFailure::new("the sandbox runtimes native and oci need a start as root")
            .hint("start as root (the part that speaks HTTP becomes server.user), or set sandbox.runtime = \"docker\""));
    }
    let runtime = match &settings.sandbox.runtime {
        SandboxRuntime::Oci(binary) => Some(oci::find(binary.path()).map_err(|fault| {
            ServerFailure::new(fault)
                .hint("sandbox.runtime names it; install it (Debian: apt-get install runc) or give its absolute path")
        })?),
        SandboxRuntime::Native | SandboxRuntime::Docker => None,
    };
    telemetry::filter(&settings.log)?;
    // The engine reads them as its own user; a fault is told before anything is made.
    crate::policy::rules(settings)?;
    claim_data_dir(&settings.server.data_dir)?;
    warn_of_low_disk(&settings.server.data_dir);
    let key = key_file::read_or_make(&settings.encryption_key_file())?;
    let supervisor = SupervisorSettings {
        data_dir: settings.server.data_dir.clone(),
        user: settings.server.user.clone(),
        native: (!docker).then(|| convert::native(settings, runtime)),
        // The supervisor knows the instance and fills it in.
        egress: convert::egress(settings, ""),
        docker,
        unix_sockets: convert::unix_sockets(settings),
        json_logs: settings.log.format == LogFormat::Json,
        engine: Handover { loaded: loaded.clone(), key, root }.to_bytes()?,
    };
    Ok(supervisor::run(&supervisor))
}

/// Makes the data directory, or sees that it is one of ours: the key may lie in it, and is made
/// before the supervisor takes the directory over. Its lock file marks it as ours.
fn claim_data_dir(folder: &Path) -> Result<(), ServerFailure> {
    if !folder.is_absolute() {
        return Err(ServerFailure::new(format!("server.data_dir {} is not absolute", folder.display()))
            .hint("write a path that begins with /"));
    }
    let cannot = |error: std::io::Error| {
        ServerFailure::new(format!("cannot make the data directory {}", folder.display()))
            .because(error)
            .hint("server.data_dir names it; choose one that the user who starts picasso may write")
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let lock = folder.join("lock");
    if lock.exists() {
        return Ok(());
    }
    if std::fs::read_dir(folder).map_err(cannot)?.next().is_some() {
        return Err(ServerFailure::new(format!(
            "the data directory {} is not empty and was not made by picasso",
            folder.display()
        ))
        .hint("name an empty or a missing folder in server.data_dir"));
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock)
        .map_err(cannot)?;
    Ok(())
}

fn warn_of_low_disk(folder: &Path) {
    if let Ok(disk) = rustix::fs::statvfs(folder)
        && disk.f_bavail.saturating_mul(disk.f_frsize) < LOW_DISK
    {
        say(&format_args!(
            "warning: less than 1 GiB is free in {}; images and calls need room",
            folder.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_not_taken_for_data() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "…").unwrap();
        let told = claim_data_dir(folder.path()).unwrap_err().to_string();
        assert!(told.contains("was not made by picasso"), "{told}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_folder_is_claimed_once_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        claim_data_dir(&data).unwrap();
        std::fs::write(data.join("picasso.db"), "").unwrap();
        claim_data_dir(&data).unwrap();
    }
}
