//! The image store as its users see it: both archive formats, names, visibility, collection.

mod support;

use std::io::Read;
use std::time::Duration;

use picasso_image::{ImageBuilder, ImageError, ImageSettings, ImageStore, Resolution, Scope};
use picasso_types::Digest;
use serde_json::json;
use support::{
    Image, Images, Tar, blob_path, describe, gzip, is_root, layout_of, name, pack, project, scope,
};
use tokio::io::AsyncReadExt;

fn without_grace() -> ImageSettings {
    ImageSettings { collect_grace: Duration::ZERO, ..ImageSettings::default() }
}

async fn load(images: &Images, owner: &Scope, called: &str, image: &Image) -> Digest {
    let archive = pack(&image.layout());
    images.store.import(owner, &name(called), archive.as_slice()).await.unwrap().digest
}

#[tokio::test]
async fn an_oci_layout_is_loaded_and_ready_to_run() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let passwd = "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/false\n";
    let image = Image::of(vec![
        Tar::new().file("etc/passwd", passwd).file("etc/group", "www:x:34:\nlogs:x:4:web\n").end(),
        Tar::new().file("bin/hello", "hi").end(),
    ])
    .set("Cmd", json!(["--loud"]))
    .set("User", json!("web"))
    .set("WorkingDir", json!("/srv"))
    .set("Env", json!(["PATH=/bin", "A=b=c", "broken"]));
    let info = images
        .store
        .import(&scope("p1"), &name("hello:1"), gzip(&pack(&image.layout())).as_slice())
        .await
        .unwrap();
    assert_eq!(
        (info.digest.clone(), info.name.to_string(), info.shared),
        (image.digest(), "hello:1".to_owned(), false)
    );
    assert!(info.size_bytes > 0 && info.created_at.0 > 1_600_000_000_000_000);

    let resolved = images.store.resolve(&project("p1"), &name("hello:1")).await.unwrap();
    assert_eq!(resolved, Resolution::Local(image.digest()));
    let rootfs = images.store.rootfs(&project("p1"), &image.digest()).await.unwrap();
    assert_eq!(rootfs.layers, [image.diff_id(0), image.diff_id(1)]);
    let process = &rootfs.process;
    assert_eq!(process.argv, ["/bin/hello", "--loud"]);
    assert_eq!((process.uid, process.gid, process.groups.as_slice()), (33, 34, &[4][..]));
    assert_eq!(process.cwd, "/srv");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(process.env, [pair("PATH", "/bin"), pair("A", "b=c")]);
    assert_eq!(std::fs::read(images.layers.path(&image.diff_id(1)).join("bin/hello")).unwrap(), b"hi");
    assert!(images.leftovers().is_empty());
}

#[tokio::test]
async fn a_docker_save_archive_is_loaded_with_its_repeated_layers() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let layer = Tar::new().file("bin/hello", "hi").end();
    let image = Image::of(vec![layer.clone(), layer]);
    let mut files = image.saved(&["example/hello:2"]);
    files.remove("1/layer.tar");
    let mut tar = Tar::new();
    for (path, content) in &files {
        tar = tar.file(path, content);
    }
    let archive = tar.symlink("1/layer.tar", "../0/layer.tar").end();
    let info = images.store.import(&Scope::Shared, &name("anything:1"), archive.as_slice()).await.unwrap();
    assert!(info.shared);
    let rootfs = images.store.rootfs(&project("p1"), &info.digest).await.unwrap();
    assert_eq!(rootfs.layers, [image.diff_id(0), image.diff_id(0)]);
}

#[tokio::test]
async fn of_several_images_the_one_that_is_named_is_taken() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let (one, two) = (Image::hello("one"), Image::hello("two"));
    let mut files = one.saved(&["team/one:1"]);
    let second = two.saved(&["docker.io/team/two:1"]);
    let mut list: Vec<serde_json::Value> = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let mut other: Vec<serde_json::Value> = serde_json::from_slice(&second["manifest.json"]).unwrap();
    other[0]["Layers"] = json!(["two/layer.tar"]);
    list.append(&mut other);
    files.extend(second.into_iter().filter(|(path, _)| path.len() > 60));
    files.insert("two/layer.tar".to_owned(), two.layers[0].clone());
    files.insert("manifest.json".to_owned(), serde_json::to_vec(&list).unwrap());
    let archive = pack(&files);

    let info = images.store.import(&scope("p1"), &name("team/two:1"), archive.as_slice()).await.unwrap();
    let rootfs = images.store.rootfs(&project("p1"), &info.digest).await.unwrap();
    assert_eq!(rootfs.layers, [two.diff_id(0)]);
    let error = images.store.import(&scope("p1"), &name("three:1"), archive.as_slice()).await.unwrap_err();
    assert!(error.is_user_fault());
    assert_eq!(
        error.to_string(),
        "the archive holds 2 images (team/one:1, docker.io/team/two:1); load it under the name of the one you mean"
    );
}

#[tokio::test]
async fn of_several_platforms_this_machines_is_taken() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let (ours, foreign) = (Image::hello("ours"), Image::hello("foreign"));
    let (mut files, mut manifests) = (layout_of(&[]), Vec::new());
    for (image, architecture) in [(&foreign, "s390x"), (&ours, "amd64")] {
        let blobs = image.blobs();
        let (kind, manifest) = blobs.last().unwrap();
        let mut described = describe(kind, manifest);
        described["platform"] = json!({"os": "linux", "architecture": architecture});
        manifests.push(described);
        files.extend(blobs.into_iter().map(|(_, bytes)| (blob_path(&bytes), bytes)));
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes();
    files.insert(blob_path(&index), index.clone());
    files.extend(layout_of(&[describe("application/vnd.oci.image.index.v1+json", &index)]));
    let info = images.store.import(&scope("p1"), &name("multi:1"), pack(&files).as_slice()).await.unwrap();
    assert_eq!(info.digest, ours.digest());

    let mut arm = Image::hello("arm");
    arm.config["architecture"] = json!("s390x");
    let error =
        images.store.import(&scope("p1"), &name("arm:1"), pack(&arm.layout()).as_slice()).await.unwrap_err();
    assert_eq!(error.to_string(), "the image is for linux/s390x, this cloud runs linux/amd64");
}

#[tokio::test]
async fn damaged_archives_are_refused_and_leave_nothing() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let image = Image::hello("hi");
    let layout = image.layout();
    let layer_path = blob_path(&gzip(&image.layers[0]));
    let change = |path: &str, content: Option<Vec<u8>>| {
        let mut files = layout.clone();
        match content {
            Some(content) => files.insert(path.to_owned(), content),
            None => files.remove(path),
        };
        pack(&files)
    };
    let lying = {
        let mut lying = image.clone();
        lying.config["rootfs"]["diff_ids"] = json!([Digest::of(b"something else").to_string()]);
        pack(&lying.layout())
    };
    let hostile = Image::of(vec![Tar::new().file("ok", "1").file("../escape", "x").end()]);
    let nothing_to_run = image.clone().set("Entrypoint", json!(null));
    let whole = pack(&layout);
    for (what, archive, expected) in [
        ("a blob of another content", change(&layer_path, Some(b"tampered".to_vec())), "is damaged"),
        ("a missing blob", change(&layer_path, None), "does not have the blob"),
        ("no index", change("index.json", None), "has no index.json"),
        ("a layer of another content than the config says", lying, "but the image says"),
        ("a hostile layer", pack(&hostile.layout()), "outside the layer's folder"),
        ("nothing to run", pack(&nothing_to_run.layout()), "names nothing to run"),
        (
            "an unknown user",
            pack(&image.clone().set("User", json!("nobody")).layout()),
            "not in its /etc/passwd",
        ),
        (
            "a relative folder",
            pack(&image.clone().set("WorkingDir", json!("srv")).layout()),
            "not an absolute path",
        ),
        ("a truncated archive", whole[..600].to_vec(), "cannot be read"),
        ("garbage", b"not a tar at all".repeat(100), "cannot be read"),
        ("an empty file", Vec::new(), "neither an OCI image layout"),
        ("an empty tar", Tar::new().end(), "neither an OCI image layout"),
        ("a link out", Tar::new().symlink("manifest.json", "../../etc/passwd").end(), "link that leaves it"),
        ("a path out", Tar::new().file("../../etc/x", "").end(), "impossible name"),
    ] {
        let error = images.store.import(&scope("p1"), &name("bad:1"), archive.as_slice()).await.unwrap_err();
        assert!(error.is_user_fault(), "{what}: {error:?}");
        assert!(error.to_string().contains(expected), "{what}: {error}");
    }
    assert!(images.store.list(&scope("p1")).await.unwrap().is_empty());
    assert_eq!(images.blobs(), Vec::<String>::new());
    assert_eq!(images.leftovers(), Vec::<String>::new());
    assert_eq!(images.layers.names(), Vec::<String>::new());
}

#[tokio::test]
async fn bounds_of_bytes_layers_inodes_names_and_quota_hold() {
    if !is_root() {
        return;
    }
    let small = |change: &dyn Fn(&mut ImageSettings)| {
        let mut settings = ImageSettings::default();
        change(&mut settings);
        Images::with(settings)
    };
    let bomb = Image::of(vec![Tar::new().file("zeros", vec![0; 3 << 20]).end()]);
    let many = Image::of((0..4).map(|n| Tar::new().file("f", format!("{n}")).end()).collect());
    for (what, images, image, expected) in [
        ("archive bytes", small(&|s| s.max_archive_bytes = 2000), &bomb, "larger than 2000 bytes"),
        ("unpacked bytes", small(&|s| s.max_unpacked_bytes = 1 << 20), &bomb, "more than 1048576 bytes"),
        ("layers", small(&|s| s.max_layers = 3), &many, "has 4 layers"),
        ("inodes over all layers", small(&|s| s.max_inodes = 3), &many, "files, folders and links"),
        ("quota", small(&|s| s.project_quota_bytes = 1 << 20), &bomb, "its quota is 1048576 bytes"),
    ] {
        let archive = pack(&image.layout());
        let error = images.store.import(&scope("p1"), &name("big:1"), archive.as_slice()).await.unwrap_err();
        assert!(error.is_user_fault() && error.to_string().contains(expected), "{what}: {error}");
        assert_eq!((images.blobs(), images.layers.names()), (vec![], vec![]), "{what} left something");
        assert!(images.leftovers().is_empty());
    }
    let images = small(&|s| s.max_names = 1);
    load(&images, &scope("p1"), "one:1", &Image::hello("1")).await;
    load(&images, &scope("p1"), "one:1", &Image::hello("2")).await;
    let archive = pack(&Image::hello("3").layout());
    let error = images.store.import(&scope("p1"), &name("two:1"), archive.as_slice()).await.unwrap_err();
    assert!(matches!(error, ImageError::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn a_sender_that_falls_silent_or_breaks_off_is_told_so() {
    let settings = ImageSettings { idle_timeout: Duration::from_millis(50), ..ImageSettings::default() };
    let images = Images::with(settings);
    let (_open, silent) = tokio::io::duplex(64);
    let error = images.store.import(&scope("p1"), &name("x:1"), silent).await.unwrap_err();
    assert!(error.to_string().contains("nothing was sent"), "{error}");
    let broken = tokio_util::io::StreamReader::new(futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"start")),
        Err(std::io::Error::other("connection reset")),
    ]));
    let error = images.store.import(&scope("p1"), &name("x:1"), broken).await.unwrap_err();
    assert!(error.is_user_fault() && error.to_string().contains("broke off"), "{error}");
    assert!(images.leftovers().is_empty());
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
async fn an_image_of_our_builder_is_the_same_every_time_and_loads() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hello");
    std::fs::write(&program, "#!/bin/true").unwrap();
    let build = |output: &str| {
        let mut builder = ImageBuilder::new();
        builder.file(&program, "/usr/bin/hello", 0o755).unwrap();
        builder.bytes("root:x:0:0::/:/\nfn:x:1000:1000::/:/\n", "/etc/passwd", 0o644).unwrap();
        builder.directory("/srv", 0o700).unwrap();
        builder.symlink("/usr/bin", "/bin").unwrap();
        builder.entrypoint(["/usr/bin/hello"]).cmd(["world"]).env("A", "b").workdir("/srv").user("fn");
        builder.label("z", "1").label("a", "2").name("1");
        let path = folder.path().join(output);
        (builder.write(&path).unwrap(), path)
    };
    let (one, path) = build("one.tar");
    let (two, other) = build("two.tar");
    assert_eq!(one, two);
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(other).unwrap());
    assert_eq!(support::files(folder.path()), ["hello", "one.tar", "two.tar"]);

    let info = images.store.import_path(&Scope::Shared, &name("hello:1"), &path).await.unwrap();
    assert_eq!(info.digest, one);
    let rootfs = images.store.rootfs(&project("p1"), &one).await.unwrap();
    assert_eq!((rootfs.process.uid, rootfs.process.cwd.as_str()), (1000, "/srv"));
    assert_eq!(rootfs.process.argv, ["/usr/bin/hello", "world"]);
    let layer = images.layers.path(&rootfs.layers[0]);
    assert_eq!(std::fs::read(layer.join("usr/bin/hello")).unwrap(), b"#!/bin/true");
    assert_eq!(std::fs::read_link(layer.join("bin")).unwrap().to_str(), Some("/usr/bin"));

    let unpacked = folder.path().join("layout");
    std::fs::create_dir(&unpacked).unwrap();
    tar::Archive::new(std::fs::File::open(&path).unwrap()).unpack(&unpacked).unwrap();
    let again = images.store.import_path(&scope("p1"), &name("folder:1"), &unpacked).await.unwrap();
    assert_eq!(again.digest, one);
    let mut bad = ImageBuilder::new();
    assert!(bad.bytes("x", "../etc/passwd", 0o644).is_err());
    assert!(bad.bytes("x", "/", 0o644).is_err());
}

#[tokio::test]
async fn dockers_archive_has_every_layer_uncompressed() {
    if !is_root() {
        return;
    }
    let images = Images::new();
    let image = Image::of(vec![
        Tar::new().file("base", vec![7; 200_000]).end(),
        Tar::new().file("bin/hello", "hi").end(),
    ]);
    let digest = load(&images, &scope("p1"), "hello:1", &image).await;
    let mut bytes = Vec::new();
    images.store.docker_archive(&digest).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    let mut found = std::collections::BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(path, content);
    }
    let list: Vec<serde_json::Value> = serde_json::from_slice(&found["manifest.json"]).unwrap();
    for (at, layer) in image.layers.iter().enumerate() {
        assert_eq!(found[list[0]["Layers"][at].as_str().unwrap()], *layer);
    }
    let config: serde_json::Value =
        serde_json::from_slice(&found[list[0]["Config"].as_str().unwrap()]).unwrap();
    assert_eq!(config["rootfs"], image.config["rootfs"]);

    std::fs::write(
        images.dir.path().join("images/blobs/sha256").join(Digest::of(&gzip(&image.layers[0])).hex()),
        "rot",
    )
    .unwrap();
    let mut archive = images.store.docker_archive(&digest).await.unwrap();
    assert!(archive.read_to_end(&mut bytes).await.is_err(), "a broken archive must not look whole");
    assert!(images.store.docker_archive(&Digest::of(b"x")).await.is_err());
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
