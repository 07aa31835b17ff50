//! Images in and out: both archive formats, damaged ones, bounds, our builder, Docker's archive.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod support;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use picasso_image::{ImageBuilder, ImageError, ImageSettings, Resolution, Scope};
use picasso_types::{Digest, FixedLimits, Limit, LimitSource, Limits, ProjectLimits, Resource};
use serde_json::json;
use support::{
    Image, Images, Tar, blob_path, describe, gzip, is_root, layout_of, name, pack, project, scope,
};
use tokio::io::AsyncReadExt;

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

/// The limits of projects that may have one MiB of images.
fn one_mib() -> Arc<dyn Limits> {
    let limit =
        |resource| Limit { max: (resource == Resource::Images).then_some(1), source: LimitSource::Default };
    Arc::new(FixedLimits(Arc::new(ProjectLimits::new(limit))))
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
        (
            "the project's limit",
            small(&|s| s.limits = one_mib()),
            &bomb,
            "functions_image_mb is over limit of 1 due",
        ),
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
    let settings = ImageSettings { pull_timeout: Duration::from_millis(50), ..ImageSettings::default() };
    let slow = Images::with(settings);
    let (_open, endless) = tokio::io::duplex(64);
    let error = slow.store.import(&scope("p1"), &name("x:1"), endless).await.unwrap_err();
    assert!(error.is_user_fault() && error.to_string().contains("not sent whole"), "{error}");
    assert!(slow.leftovers().is_empty());
    let broken = tokio_util::io::StreamReader::new(futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"start")),
        Err(std::io::Error::other("connection reset")),
    ]));
    let error = images.store.import(&scope("p1"), &name("x:1"), broken).await.unwrap_err();
    assert!(error.is_user_fault() && error.to_string().contains("broke off"), "{error}");
    assert!(images.leftovers().is_empty());
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
