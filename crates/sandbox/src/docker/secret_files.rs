//! Secret files of containers: written into a folder of the host's memory, of which a container has
//! its own part bound read-only.
//!
//! The Engine's archive call would write them to the disk, and a volume in memory is empty again
//! when its container starts.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType};

use crate::{SECRET_FOLDER, SandboxError, SecretFile};

/// Permissions of everybody but the owner.
const OF_OTHERS: u32 = 0o077;

/// The folder with those of all containers of one server.
#[derive(Debug)]
pub(super) struct SecretFiles {
    root: PathBuf,
}

impl SecretFiles {
    pub(super) fn new(parent: &Path, instance: &str) -> Self {
        Self { root: parent.join(format!("picasso-secrets-{instance}")) }
    }

    /// Writes a container's files; what to bind into it, or `None` where it has none.
    pub(super) async fn write(
        &self,
        container: &str,
        files: &[SecretFile],
    ) -> Result<Option<Mount>, SandboxError> {
        if files.is_empty() {
            return Ok(None);
        }
        let (root, folder, files) = (self.root.clone(), self.root.join(container), files.to_vec());
        let source = folder.to_string_lossy().into_owned();
        blocking("writing secret files", move || write(&root, &folder, &files)).await?;
        Ok(Some(bind(source, SECRET_FOLDER)))
    }

    /// Removes a container's files.
    pub(super) async fn remove(&self, container: &str) -> Result<(), SandboxError> {
        let folder = self.root.join(container);
        blocking("removing secret files", move || gone(fs::remove_dir_all(&folder))).await
    }

    /// Removes those of all containers but `mine`.
    pub(super) async fn reap(&self, mine: Vec<String>) -> Result<(), SandboxError> {
        let root = self.root.clone();
        blocking("removing old secret files", move || reap(&root, &mine)).await
    }
}

async fn blocking(
    context: &'static str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), SandboxError> {
    let failed = |reason: String| SandboxError::Failed { context: context.to_owned(), reason };
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))?;
    done.map_err(|error| failed(error.to_string()))
}

fn write(root: &Path, folder: &Path, files: &[SecretFile]) -> io::Result<()> {
    let made = DirBuilder::new().mode(0o700).create(root);
    if !matches!(&made, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
        made?;
    }
    check_owner(root)?;
    // One attempt to start it may have failed before.
    gone(fs::remove_dir_all(folder))?;
    fs::create_dir(folder)?;
    // Whoever the function runs as reads them; others do not come through the folder above.
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for file in files {
        let path = folder.join(&file.name);
        let mut written = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
        written.write_all(&file.content)?;
        written.set_permissions(Permissions::from_mode(0o444))?;
    }
    Ok(())
}

/// In a folder that everybody may write to, somebody else may have been first.
fn check_owner(root: &Path) -> io::Result<()> {
    let is = fs::symlink_metadata(root)?;
    if is.is_dir() && is.uid() == rustix::process::geteuid().as_raw() && is.mode() & OF_OTHERS == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{} is not a folder of this server alone", root.display())))
}

fn reap(root: &Path, mine: &[String]) -> io::Result<()> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !mine.iter().any(|container| entry.file_name() == container.as_str()) {
            gone(fs::remove_dir_all(entry.path()))?;
        }
    }
    Ok(())
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    if matches!(&removed, Err(error) if error.kind() == io::ErrorKind::NotFound) { Ok(()) } else { removed }
}

/// A folder of the host bound into a container, which reads it alone.
pub(super) fn bind(source: String, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(target.to_owned()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> Vec<SecretFile> {
        vec![SecretFile { name: "KEY".to_owned(), content: content.to_vec() }]
    }

    #[tokio::test]
    async fn files_lie_where_only_the_server_gets_and_go_with_their_container() {
        let parent = tempfile::tempdir().unwrap();
        let secrets = SecretFiles::new(parent.path(), "1");
        assert!(secrets.write("one", &[]).await.unwrap().is_none());
        secrets.reap(Vec::new()).await.unwrap();
        for content in [b"first", b"again"] {
            let mount = secrets.write("one", &file(content)).await.unwrap().unwrap();
            let path = Path::new(mount.source.as_deref().unwrap()).join("KEY");
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o444);
        }
        assert_eq!(fs::metadata(&secrets.root).unwrap().mode() & 0o777, 0o700);
        for other in ["two", "three"] {
            secrets.write(other, &file(b"x")).await.unwrap();
        }
        secrets.remove("one").await.unwrap();
        secrets.remove("one").await.unwrap();
        secrets.reap(vec!["three".to_owned()]).await.unwrap();
        let left: Vec<_> =
            fs::read_dir(&secrets.root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["three"]);
    }

    #[tokio::test]
    async fn a_folder_that_others_reach_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let secrets = SecretFiles::new(parent.path(), "1");
        let elsewhere = parent.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &secrets.root).unwrap();
        assert!(secrets.write("one", &file(b"x")).await.is_err(), "a link");
        fs::remove_file(&secrets.root).unwrap();
        fs::create_dir(&secrets.root).unwrap();
        fs::set_permissions(&secrets.root, Permissions::from_mode(0o755)).unwrap();
        assert!(secrets.write("one", &file(b"x")).await.is_err(), "a folder others look into");
        assert_eq!(fs::read_dir(&secrets.root).unwrap().count(), 0);
    }
}
