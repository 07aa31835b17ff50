//! Finding the runtime's program.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The absolute path of a runtime's program, named by its absolute path or by a name that `PATH`
/// has. To be called as root, who will run it. The error is a sentence.
pub fn find(binary: &Path) -> Result<PathBuf, String> {
    find_in(binary, std::env::var_os("PATH").as_deref())
}

fn find_in(binary: &Path, path: Option<&OsStr>) -> Result<PathBuf, String> {
    if binary.is_absolute() {
        return match fault(binary) {
            None => Ok(binary.to_owned()),
            Some(fault) => Err(format!("the OCI runtime {} {fault}", binary.display())),
        };
    }
    let folders = path.into_iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute());
    let found = folders.map(|folder| folder.join(binary)).find(|candidate| fault(candidate).is_none());
    found.ok_or_else(|| {
        format!("the OCI runtime {:?} is in no folder of root's PATH", binary.display().to_string())
    })
}

/// Why a file is no program that root can run.
fn fault(program: &Path) -> Option<&'static str> {
    match std::fs::metadata(program) {
        Err(_) => Some("does not exist"),
        Ok(found) if !found.is_file() => Some("is not a file"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some("is not executable"),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, name: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_name_is_looked_up_and_what_cannot_run_is_passed_over() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        program(first.path(), "runc", 0o644);
        let right = program(second.path(), "runc", 0o755);
        let path = std::env::join_paths([Path::new("bin"), first.path(), second.path()]).unwrap();
        assert_eq!(find_in(Path::new("runc"), Some(&path)), Ok(right.clone()));
        assert_eq!(find_in(&right, None), Ok(right));
    }

    #[test]
    fn a_runtime_that_is_missing_or_cannot_run_is_named_with_its_fault() {
        let folder = tempfile::tempdir().unwrap();
        let plain = program(folder.path(), "runc", 0o644);
        for (binary, told) in [
            (folder.path().join("crun"), "crun does not exist"),
            (folder.path().to_owned(), "is not a file"),
            (plain, "runc is not executable"),
            (PathBuf::from("runc"), "\"runc\" is in no folder of root's PATH"),
        ] {
            let error = find_in(&binary, Some(folder.path().as_os_str())).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
