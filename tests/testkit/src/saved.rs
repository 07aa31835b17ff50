//! Copies of prepared data folders, made once and kept under `target/testkit/`: making a service's
//! database takes many seconds, copying it none.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use crate::keystone::root;

/// A folder that `make` has filled, in this process or in an earlier one. It is made anew when the
/// versions of the services change, or `form`, which says what `make` does.
pub(crate) fn saved(
    name: &str,
    form: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let constraints = root().join("scripts/openstack-constraints.txt");
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(&constraints).map_err(|error| told(&constraints, error))?);
    hasher.write(form.as_bytes());
    let all = root().join("target/testkit");
    let folder = all.join(format!("{name}-{:016x}", hasher.finish()));
    std::fs::create_dir_all(&all).map_err(|error| told(&all, error))?;
    let lock = all.join(format!("{name}.lock"));
    let file = File::options().create(true).append(true).open(&lock).map_err(|error| told(&lock, error))?;
    file.lock().map_err(|error| told(&lock, error))?;
    if !folder.is_dir() {
        let unfinished = folder.with_extension("unfinished");
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir(&unfinished).map_err(|error| told(&unfinished, error))?;
        make(&unfinished)?;
        std::fs::rename(&unfinished, &folder).map_err(|error| told(&folder, error))?;
    }
    Ok(folder)
}

/// Copies the files of a folder that [`saved`] gave.
pub(crate) fn restore(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
