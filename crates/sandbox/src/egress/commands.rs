//! Runs `ip`, `nft` and `iptables` for the root side.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::SandboxError;

/// Where administrators' programs live; the environment's `PATH` is not trusted with root.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A program's full path, if it is installed.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| PathBuf::from(folder).join(program)).find(|path| path.is_file())
}

fn command(program: &str) -> Result<Command, SandboxError> {
    let path = find(program).ok_or_else(|| SandboxError::Unsupported {
        driver: "egress",
        reason: format!("{program} is not installed (hint: apt install nftables iproute2 util-linux)"),
    })?;
    let mut command = Command::new(path);
    command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    Ok(command)
}

fn failed(program: &str, reason: impl Into<String>) -> SandboxError {
    SandboxError::Failed { context: format!("running {program}"), reason: reason.into() }
}

/// Runs a program to its end with `input` on its stdin; its stdout.
pub(super) fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, SandboxError> {
    let mut child = command(program)?
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(program, error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why on stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(program, error.to_string()))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(failed(program, complaint.trim().chars().take(500).collect::<String>()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a program whose end and success nobody waits for.
pub(super) fn start(program: &str, arguments: &[&str]) -> Result<Child, SandboxError> {
    command(program)?
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(program, error.to_string()))
}
