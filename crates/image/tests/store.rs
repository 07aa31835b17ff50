//! The image store as its users see it: names, visibility, collection, restarts.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod support;

use std::time::Duration;

use picasso_image::{ImageError, ImageSettings, ImageStore, Resolution, Scope};
use picasso_types::Digest;
use serde_json::json;
use support::{Image, Images, Tar, blob_path, gzip, is_root, name, pack, project, scope};

fn without_grace() -> ImageSettings {
    ImageSettings { collect_grace: Duration::ZERO, ..ImageSettings::default() }
}

async fn load(images: &Images, owner: &Scope, called: &str, image: &Image) -> Digest {
    let archive = pack(&image.layout());
    images.store.import(owner, &name(called), archive.as_slice()).await.unwrap().digest
}

#[tokio::test]
async fn an_image_is_visible_to_its_project_only_and_a_foreign_digest_gives_no_right() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let (private, shared) = (Image::hello("private"), Image::hello("shared"));
    load(&images, &scope("p1"), "hello:1", &private).await;
    load(&images, &Scope::Shared, "common:1", &shared).await;
    let store = &images.store;
    let p2 = project("p2");

    for reference in ["hello:1".to_owned(), format!("hello@{}", private.digest())] {
        let foreign = store.resolve(&p2, &name(&reference)).await.unwrap_err();
        assert!(matches!(foreign, ImageError::NotFound(_)), "{foreign}");
        let own = store.resolve(&project("p1"), &name(&reference)).await.unwrap();
        assert_eq!(own, Resolution::Local(private.digest()));
    }
    assert!(store.rootfs(&p2, &private.digest()).await.is_err());
    for reference in ["common:1".to_owned(), format!("common@{}", shared.digest())] {
        let found = store.resolve(&p2, &name(&reference)).await.unwrap();
        assert_eq!(found, Resolution::Local(shared.digest()));
    }
    assert!(store.rootfs(&p2, &shared.digest()).await.is_ok());
    assert_eq!(store.list(&scope("p2")).await.unwrap(), []);

    load(&images, &scope("p2"), "common:1", &Image::hello("own")).await;
    let own = store.resolve(&p2, &name("common:1")).await.unwrap();
    assert_eq!(own, Resolution::Local(Image::hello("own").digest()), "a project's names come first");
}

#[tokio::test]
async fn naming_anothers_layer_without_its_content_does_not_give_it_away() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let secret = Image::hello("a secret program");
    load(&images, &scope("p1"), "hello:1", &secret).await;
    let mut thief = Image::hello("decoy");
    thief.config["rootfs"]["diff_ids"] = json!([secret.diff_id(0).to_string()]);
    let error = images
        .store
        .import(&scope("p2"), &name("mine:1"), pack(&thief.layout()).as_slice())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("but the image says"), "{error}");
    // Nor the blob: an archive has to bring every one itself.
    let mut files = secret.layout();
    files.remove(&blob_path(&gzip(&secret.layers[0])));
    let error =
        images.store.import(&scope("p2"), &name("mine:1"), pack(&files).as_slice()).await.unwrap_err();
    assert!(error.to_string().contains("does not have the blob"), "{error}");
    assert!(images.store.rootfs(&project("p1"), &secret.digest()).await.is_ok(), "the owner's stays");
    assert!(images.layers.path(&secret.diff_id(0)).exists());
}

#[tokio::test]
async fn a_removed_name_keeps_running_versions_until_collection_finds_nobody() {
    if !is_root() {
        return;
    }
    let mut images = Images::with(without_grace());
    let base = Tar::new().file("base", "b").end();
    let old = Image::of(vec![base.clone(), Tar::new().file("bin/hello", "old").end()]);
    let new = Image::of(vec![base, Tar::new().file("bin/hello", "new").end()]);
    load(&images, &scope("p1"), "hello:1", &old).await;
    load(&images, &scope("p1"), "hello:1", &new).await;
    let p1 = project("p1");

    images.store.collect(&[old.digest()]).await.unwrap();
    assert!(images.store.rootfs(&p1, &old.digest()).await.is_ok(), "a version pins it");
    images.store.collect(&[]).await.unwrap();
    assert!(images.store.rootfs(&p1, &old.digest()).await.is_err());
    assert!(!images.layers.path(&old.diff_id(1)).exists());
    assert!(images.layers.path(&old.diff_id(0)).exists(), "the new image has the same base");
    assert!(images.store.rootfs(&p1, &new.digest()).await.is_ok());

    images.store.remove(&scope("p1"), &name("hello:1")).await.unwrap();
    assert!(matches!(
        images.store.remove(&scope("p1"), &name("hello:1")).await,
        Err(ImageError::NotFound(_))
    ));
    images.reopen(without_grace());
    assert!(images.store.resolve(&p1, &name("hello:1")).await.is_err(), "a removed name stays removed");
    images.store.collect(&[]).await.unwrap();
    assert_eq!((images.blobs(), images.layers.names()), (vec![], vec![]));
}

#[tokio::test]
async fn a_young_image_outlives_a_collection_that_does_not_know_its_version_yet() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let image = Image::hello("hi");
    load(&images, &scope("p1"), "hello:1", &image).await;
    images.store.remove(&scope("p1"), &name("hello:1")).await.unwrap();
    images.store.collect(&[]).await.unwrap();
    assert!(images.store.rootfs(&project("p1"), &image.digest()).await.is_ok());
}

#[tokio::test]
async fn a_restart_keeps_images_restores_lost_layers_and_clears_leftovers() {
    if !is_root() {
        return;
    }
    let mut images = Images::new();
    let image = Image::hello("hi");
    load(&images, &scope("p1"), "hello:1", &image).await;
    let listed = images.store.list(&scope("p1")).await.unwrap();
    std::fs::create_dir(images.dir.path().join("images/tmp/halfway")).unwrap();
    std::fs::remove_dir_all(images.layers.path(&image.diff_id(0))).unwrap();

    images.reopen(ImageSettings::default());
    assert_eq!(images.store.list(&scope("p1")).await.unwrap(), listed);
    assert!(images.leftovers().is_empty());
    images.store.rootfs(&project("p1"), &image.digest()).await.unwrap();
    assert!(images.layers.path(&image.diff_id(0)).join("bin/hello").exists());
    let times = images.layers.unpacked.lock().unwrap().len();
    images.store.rootfs(&project("p1"), &image.digest()).await.unwrap();
    assert_eq!(images.layers.unpacked.lock().unwrap().len(), times, "the second time is from memory");
}

#[tokio::test]
async fn a_layer_that_a_crash_left_behind_is_collected() {
    if !is_root() {
        return;
    }
    let mut images = Images::with(without_grace());
    let image = Image::hello("hi");
    load(&images, &scope("p1"), "hello:1", &image).await;
    // As if the server had died between unpacking and writing the record.
    let root = images.dir.path().join("images");
    let hex = image.digest().hex().to_owned();
    std::fs::remove_file(root.join(format!("records/{hex}.json"))).unwrap();
    std::fs::write(root.join("doubtful").join(image.diff_id(0).hex()), "").unwrap();
    images.reopen(without_grace());
    assert!(images.store.list(&scope("p1")).await.unwrap().is_empty());
    images.store.collect(&[]).await.unwrap();
    assert_eq!((images.blobs(), images.layers.names()), (vec![], vec![]));
}

#[tokio::test]
async fn a_registry_that_is_not_listed_is_refused_before_any_traffic() {
    let images = Images::new();
    let store = &images.store;
    let error = store.resolve(&project("p1"), &name("registry.example.org/a/b:1")).await.unwrap_err();
    assert!(
        matches!(&error, ImageError::RegistryNotAllowed { registry } if registry == "registry.example.org")
    );
    assert!(error.is_user_fault());
    assert!(store.pull(&project("p1"), &name("registry.example.org/a/b:1")).await.is_err());
}

#[tokio::test]
async fn without_an_unpacker_images_are_checked_by_the_same_rules() {
    let dir = tempfile::tempdir().unwrap();
    let unpacker = std::sync::Arc::new(picasso_image::unpack::InspectOnly);
    let store = ImageStore::open(dir.path().to_owned(), ImageSettings::default(), unpacker).unwrap();
    let image = Image::of(vec![
        Tar::new().file("etc/passwd", "web:x:33:34::/:/\n").end(),
        Tar::new().file("bin/hello", "hi").end(),
    ])
    .set("User", json!("web"));
    let info = store.import(&scope("p1"), &name("hello:1"), pack(&image.layout()).as_slice()).await.unwrap();
    let rootfs = store.rootfs(&project("p1"), &info.digest).await.unwrap();
    assert_eq!((rootfs.process.uid, rootfs.process.gid), (33, 34));
    let hostile = Image::of(vec![Tar::new().symlink("l", "/etc").file("l/passwd", "x").end()]);
    let error =
        store.import(&scope("p1"), &name("bad:1"), pack(&hostile.layout()).as_slice()).await.unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
}
