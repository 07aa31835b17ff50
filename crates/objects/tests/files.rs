//! The files driver: the suite, and what is special about files.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod conformance;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use picasso_objects::{FileObjects, ObjectName, ObjectStore as _};
use picasso_types::{ObjectId, ProjectId};

#[tokio::test]
async fn files_do_what_every_object_store_does() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileObjects::open(folder.path().join("a/b")).unwrap();
    conformance::check(&store).await;
}

fn modes(folder: &Path) -> Vec<u32> {
    let mut modes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        modes.push(path.metadata().unwrap().permissions().mode() & 0o777);
        if path.is_dir() {
            modes.extend(self::modes(&path));
        }
    }
    modes
}

#[tokio::test]
async fn only_the_servers_user_reads_files_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileObjects::open(folder.path().join("outputs")).unwrap();
    let name = ObjectName::new(&ProjectId::parse("demo").unwrap(), &ObjectId::generate(), 0);
    store.put(&name, "text".into()).await.unwrap();
    assert_eq!(modes(folder.path()), [0o700, 0o700, 0o700, 0o600]);
}

#[tokio::test]
async fn what_an_interrupted_write_left_goes_with_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileObjects::open(folder.path()).unwrap();
    let name = ObjectName::new(&ProjectId::parse("demo").unwrap(), &ObjectId::generate(), 0);
    store.put(&name, "text".into()).await.unwrap();
    let path = folder.path().join(name.to_string());
    let left = path.with_extension("00000.new");
    std::fs::rename(&path, &left).unwrap();
    store.delete(&name).await.unwrap();
    assert!(!left.exists() && !path.exists());
}
