//! Programs that tests run inside sandboxes: static binaries of the workspace's examples, and
//! images of those in Python and Node.js with the real function frameworks.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of static binaries; naming it keeps the flag off build scripts and macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Builds an example (`picasso-example-probe`) as a static binary under `target/static` and says
/// where it is; quick when it is up to date.
pub fn static_binary(package: &str) -> Result<PathBuf, String> {
    let workspace = workspace();
    let folder = workspace.join("target/static");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(&workspace)
        .args(["build", "--quiet", "--release", "--locked", "--package", package, "--target", TARGET])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("building {package}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(folder.join(TARGET).join("release").join(package))
}

/// The archive of an example in Python or Node.js (`python-json`), made by `scripts/example-image`
/// out of this machine's own interpreters; quick when it is up to date.
pub fn example_image(name: &str) -> Result<PathBuf, String> {
    let script = workspace().join("scripts/example-image");
    let path = crate::process::run(&script.display().to_string(), [name])?;
    Ok(PathBuf::from(path.trim()))
}

/// Why no image of Node.js can be made here; `None` when it can.
pub fn node_missing() -> Option<String> {
    let tools = ["node", "npm", "cmake", "autoconf", "libtoolize", "g++"];
    let missing: Vec<&str> =
        tools.into_iter().filter(|tool| crate::process::run(tool, ["--version"]).is_err()).collect();
    (!missing.is_empty())
        .then(|| format!("{} not found; run scripts/install-packages test", missing.join(", ")))
}
