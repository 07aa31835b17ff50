//! Pulls: from Debian's docker-registry, and from registries that lie, wander or stall.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use picasso_image::{ImageError, ImageSettings, RegistryCredential, RegistrySettings, Resolution};
use picasso_testkit::process::require;
use picasso_testkit::registry::Registry;
use picasso_types::Digest;
use serde_json::json;
use support::front::{Answer, Front};
use support::{Image, Images, Tar, describe, gzip, is_root, name, project};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn ready() -> bool {
    is_root() && require("docker-registry", Registry::missing().as_deref())
}

type Change = fn(&str, Vec<u8>) -> Vec<u8>;

/// A registry on this machine that the operator allows.
fn allowed(host: &str) -> RegistrySettings {
    RegistrySettings {
        host: host.to_owned(),
        insecure: true,
        allow_private: true,
        ..RegistrySettings::default()
    }
}

fn images(registries: Vec<RegistrySettings>) -> Images {
    Images::with(ImageSettings { registries, ..ImageSettings::default() })
}

async fn push(registry: &Registry, tag: &str, image: &Image) {
    let mut blobs = image.blobs();
    let (kind, manifest) = blobs.pop().unwrap();
    for (_, bytes) in blobs {
        registry.push_blob("team/hello", Digest::of(&bytes).as_str(), bytes).await.unwrap();
    }
    registry.push_manifest("team/hello", tag, kind, manifest).await.unwrap();
}

fn downloads(registry: &Registry, digest: &Digest) -> usize {
    registry.log().matches(&format!("\"GET /v2/team/hello/blobs/{digest} HTTP")).count()
}

/// The answers of a registry with one image: path to media type and bytes.
fn content(image: &Image, tag: &str) -> HashMap<String, (String, Vec<u8>)> {
    let blobs = image.blobs();
    let manifest = blobs.last().unwrap();
    let mut content: HashMap<_, _> = blobs
        .iter()
        .map(|(kind, bytes)| {
            (format!("/v2/team/hello/blobs/{}", Digest::of(bytes)), ((*kind).to_owned(), bytes.clone()))
        })
        .collect();
    content.insert(format!("/v2/team/hello/manifests/{tag}"), (MANIFEST.to_owned(), manifest.1.clone()));
    content
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a handler's answer")]
fn answer(content: &HashMap<String, (String, Vec<u8>)>, path: &str) -> Answer {
    let Some((kind, bytes)) = content.get(path) else { return Some((404, vec![], vec![])) };
    Some((200, vec![("content-type", kind.clone())], bytes.clone()))
}

async fn refused(images: &Images, host: &str) -> ImageError {
    let error = images.store.pull(&project("p1"), &name(&format!("{host}/team/hello:1"))).await.unwrap_err();
    assert_eq!((images.blobs(), images.layers.names()), (vec![], vec![]), "{error}");
    assert!(images.leftovers().is_empty(), "{error}");
    error
}

#[tokio::test]
async fn an_image_is_pulled_pinned_and_its_blobs_are_fetched_once() {
    if !ready() {
        return;
    }
    let registry = Registry::start().await.unwrap();
    let base = Tar::new().file("base", "shared by both").end();
    let one = Image::of(vec![base.clone(), Tar::new().file("bin/hello", "1").end()]);
    let two = Image::of(vec![base, Tar::new().file("bin/hello", "2").end()]);
    push(&registry, "1", &one).await;
    let images = images(vec![allowed(&registry.host())]);
    let image = name(&format!("{}/team/hello:1", registry.host()));
    let p1 = project("p1");
    assert_eq!(images.store.resolve(&p1, &image).await.unwrap(), Resolution::Remote);

    let (first, second) = tokio::join!(images.store.pull(&p1, &image), images.store.pull(&p1, &image));
    assert_eq!((first.unwrap(), second.unwrap()), (one.digest(), one.digest()));
    let layer = Digest::of(&gzip(&one.layers[0]));
    assert_eq!(downloads(&registry, &layer), 1, "both wait for one pull");
    assert_eq!(images.store.rootfs(&p1, &one.digest()).await.unwrap().process.argv, ["/bin/hello"]);
    assert!(
        images.store.rootfs(&project("p2"), &one.digest()).await.is_err(),
        "another project has no right"
    );

    // The tag moves; what was pinned stays, and the base that the project has is not fetched again.
    push(&registry, "1", &two).await;
    assert_eq!(images.store.resolve(&p1, &image).await.unwrap(), Resolution::Remote);
    assert_eq!(images.store.pull(&p1, &image).await.unwrap(), two.digest());
    assert!(images.store.rootfs(&p1, &one.digest()).await.is_ok());
    assert_eq!(downloads(&registry, &layer), 1);
    let pinned = name(&format!("{}/team/hello@{}", registry.host(), one.digest()));
    assert_eq!(images.store.resolve(&p1, &pinned).await.unwrap(), Resolution::Local(one.digest()));

    // Another project has to prove that it may read the layer, although it is on disk.
    assert_eq!(images.store.resolve(&project("p2"), &pinned).await.unwrap(), Resolution::Remote);
    assert_eq!(images.store.pull(&project("p2"), &pinned).await.unwrap(), one.digest());
    assert_eq!(downloads(&registry, &layer), 2);
}

#[tokio::test]
async fn credentials_belong_to_a_registry_and_a_project() {
    if !ready() {
        return;
    }
    let (user, password) = ("puller", "a-password-of-this-test");
    let registry = Registry::start_with_login(user, password).await.unwrap();
    let image = Image::hello("hi");
    push(&registry, "1", &image).await;
    let reference = name(&format!("{}/team/hello:1", registry.host()));
    let credential = |project, password: &str| RegistryCredential {
        project,
        username: user.to_owned(),
        password: password.into(),
    };
    let with = |credentials| images(vec![RegistrySettings { credentials, ..allowed(&registry.host()) }]);

    let bound = with(vec![credential(Some(project("p1")), password)]);
    assert_eq!(bound.store.pull(&project("p1"), &reference).await.unwrap(), image.digest());
    let denied = bound.store.pull(&project("p2"), &reference).await.unwrap_err();
    assert!(denied.is_user_fault());
    assert_eq!(
        denied.to_string(),
        format!(
            "registry \"{}\": does not let this project read the image; check its credentials",
            registry.host()
        )
    );
    let general = with(vec![credential(None, password), credential(Some(project("p2")), "wrong")]);
    general.store.pull(&project("p1"), &reference).await.unwrap();
    let own = general.store.pull(&project("p2"), &reference).await.unwrap_err();
    assert!(own.to_string().contains("check its credentials"), "its own come first: {own}");
    let told = format!("{:?} {own:?} {denied:?}", general.store);
    assert!(!told.contains(password), "a credential was shown");
}

#[tokio::test]
async fn content_that_was_tampered_with_is_refused() {
    if !ready() {
        return;
    }
    let registry = Registry::start().await.unwrap();
    let image = Image::hello("hi");
    push(&registry, "1", &image).await;
    let layer = Digest::of(&gzip(&image.layers[0])).to_string();
    let behind = registry.host();
    let forward = move |path: &str| {
        let url = format!("http://{behind}{path}");
        tokio::runtime::Handle::current().block_on(async {
            picasso_testkit::keystone::install_tls_provider();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let response = client.get(url).header("accept", MANIFEST).send().await.unwrap();
            let digest = response.headers().get("docker-content-digest").cloned();
            let digest = digest.map(|value| value.to_str().unwrap().to_owned());
            (digest, response.bytes().await.unwrap().to_vec())
        })
    };
    let flip: Change = |_, mut bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let cut: Change = |_, bytes| bytes[..bytes.len() - 1].to_vec();
    let more: Change = |_, bytes| [bytes, vec![0]].concat();
    for (target, change, expected) in [
        (layer.as_str(), flip, "a content that does not have this digest"),
        (layer.as_str(), cut, "a content that does not have this digest"),
        (layer.as_str(), more, "more bytes than it says"),
        ("manifests/1", flip, "does not have the digest it says"),
    ] {
        let (forward, target) = (forward.clone(), target.to_owned());
        let front = Front::start(move |asked| {
            let (digest, bytes) = forward(&asked.path);
            let bytes = if asked.path.ends_with(&target) { change(&target, bytes) } else { bytes };
            let headers = digest.map(|digest| ("docker-content-digest", digest)).into_iter().collect();
            Some((200, headers, bytes))
        })
        .await;
        let images = images(vec![allowed(&front.host())]);
        let error = refused(&images, &front.host()).await;
        assert!(error.to_string().contains(expected), "{error}");
    }
    let lying = Front::start({
        let content = content(&Image::hello("other"), "1");
        move |_| answer(&content, "/v2/team/hello/manifests/1")
    })
    .await;
    let images = images(vec![allowed(&lying.host())]);
    let pinned = name(&format!("{}/team/hello@{}", lying.host(), image.digest()));
    let error = images.store.pull(&project("p1"), &pinned).await.unwrap_err();
    assert!(error.to_string().contains("another digest than was asked for"), "{error}");
}

#[tokio::test]
async fn of_an_index_this_machines_manifest_is_pulled() {
    if !ready() {
        return;
    }
    let registry = Registry::start().await.unwrap();
    let (ours, foreign) = (Image::hello("ours"), Image::hello("foreign"));
    let mut manifests = Vec::new();
    for (image, architecture) in [(&foreign, "s390x"), (&ours, "amd64")] {
        push(&registry, image.digest().as_str(), image).await;
        let (kind, bytes) = image.blobs().pop().unwrap();
        let mut described = describe(kind, &bytes);
        described["platform"] = json!({"os": "linux", "architecture": architecture});
        manifests.push(described);
    }
    let index = |manifests: &[serde_json::Value]| {
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes()
    };
    registry.push_manifest("team/hello", "1", INDEX, index(&manifests)).await.unwrap();
    registry.push_manifest("team/hello", "foreign", INDEX, index(&manifests[..1])).await.unwrap();
    let images = images(vec![allowed(&registry.host())]);
    let reference = |tag: &str| name(&format!("{}/team/hello:{tag}", registry.host()));
    let p1 = project("p1");
    assert_eq!(images.store.pull(&p1, &reference("1")).await.unwrap(), ours.digest());
    let error = images.store.pull(&p1, &reference("foreign")).await.unwrap_err();
    assert!(error.to_string().contains("has no variant for linux/amd64"), "{error}");
    let missing = images.store.pull(&p1, &reference("missing")).await.unwrap_err();
    assert!(missing.is_user_fault() && missing.to_string().contains("does not have the image"), "{missing}");
}

#[tokio::test]
async fn a_private_address_is_refused_unless_the_operator_allows_it() {
    let front = Front::start(|_| Some((404, vec![], vec![]))).await;
    let port = front.host().rsplit_once(':').unwrap().1.to_owned();
    let spellings =
        ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "127.1", "0.0.0.0"];
    for host in spellings.map(|host| format!("{host}:{port}")) {
        let images = images(vec![RegistrySettings { allow_private: false, ..allowed(&host) }]);
        let error = refused(&images, &host).await;
        assert!(error.is_user_fault() && error.to_string().contains("private, reserved"), "{error}");
    }
    assert!(front.asked().is_empty(), "a request went out");
}

#[tokio::test]
async fn redirects_lead_to_listed_hosts_only_and_take_no_credential_along() {
    if !is_root() {
        return;
    }
    let image = Image::hello("hi");
    let elsewhere = Front::start({
        let content = content(&image, "1");
        move |asked| answer(&content, &asked.path)
    })
    .await;
    let target = elsewhere.host();
    let front = Front::start({
        let content = content(&image, "1");
        move |asked| match &asked.authorization {
            None => Some((401, vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], vec![])),
            Some(_) if asked.path.contains("/blobs/") => {
                Some((307, vec![("location", format!("http://{target}{}", asked.path))], vec![]))
            }
            Some(_) => answer(&content, &asked.path),
        }
    })
    .await;
    let credentials =
        vec![RegistryCredential { project: None, username: "u".to_owned(), password: "p".into() }];
    let settings = RegistrySettings { credentials, ..allowed(&front.host()) };
    let strict = images(vec![settings.clone()]);
    let error = refused(&strict, &front.host()).await;
    assert!(error.to_string().contains("which the operator has not listed"), "{error}");
    assert!(elsewhere.asked().is_empty(), "it was asked all the same");

    let listed = images(vec![RegistrySettings { also_hosts: vec![elsewhere.host()], ..settings }]);
    let reference = name(&format!("{}/team/hello:1", front.host()));
    assert_eq!(listed.store.pull(&project("p1"), &reference).await.unwrap(), image.digest());
    assert!(!elsewhere.asked().is_empty());
    assert!(elsewhere.asked().iter().all(|asked| asked.authorization.is_none()));

    let circle = Front::start(|asked| Some((302, vec![("location", asked.path.clone())], vec![]))).await;
    let error = refused(&images(vec![allowed(&circle.host())]), &circle.host()).await;
    assert!(error.to_string().contains("redirects too often"), "{error}");
}

#[tokio::test]
async fn tokens_come_from_listed_services_only_and_for_this_repository() {
    if !is_root() {
        return;
    }
    let image = Image::hello("hi");
    let service = Front::start(|_| {
        Some((200, vec![], br#"{"token":"a-token-of-this-test","expires_in":60}"#.to_vec()))
    })
    .await;
    let realm = format!("http://{}/token", service.host());
    let front = Front::start({
        let content = content(&image, "1");
        move |asked| match asked.authorization.as_deref() {
            Some("Bearer a-token-of-this-test") => answer(&content, &asked.path),
            _ => {
                let challenge = format!("Bearer realm=\"{realm}\",service=\"registry\"");
                Some((401, vec![("www-authenticate", challenge)], vec![]))
            }
        }
    })
    .await;
    let credentials =
        vec![RegistryCredential { project: None, username: "u".to_owned(), password: "p".into() }];
    let settings = RegistrySettings { credentials, ..allowed(&front.host()) };
    let error = refused(&images(vec![settings.clone()]), &front.host()).await;
    assert!(error.to_string().contains("which the operator has not listed"), "{error}");
    assert!(service.asked().is_empty());

    let listed = images(vec![RegistrySettings { also_hosts: vec![service.host()], ..settings }]);
    let reference = name(&format!("{}/team/hello:1", front.host()));
    assert_eq!(listed.store.pull(&project("p1"), &reference).await.unwrap(), image.digest());
    let asked = service.asked();
    assert_eq!(asked[0].path, "/token?scope=repository%3Ateam%2Fhello%3Apull&service=registry");
    assert_eq!(asked[0].authorization.as_deref(), Some("Basic dTpw"));
}

#[tokio::test]
async fn sizes_are_bounded_before_and_while_downloading() {
    let image = Image::hello("hi");
    let manifest: serde_json::Value = serde_json::from_slice(&image.blobs().pop().unwrap().1).unwrap();
    let mut boastful = manifest.clone();
    boastful["layers"][0]["size"] = json!(1_u64 << 60);
    let mut many = manifest;
    many["layers"] = json!(vec![many["layers"][0].clone(); 200]);
    let endless = vec![b' '; 5 << 20];
    for (what, body, expected) in [
        ("a layer of an exbibyte", boastful.to_string().into_bytes(), "larger than 4294967296 bytes"),
        ("200 layers", many.to_string().into_bytes(), "has 200 layers"),
        ("a manifest of 5 MiB", endless, "manifest is larger than 4 MiB"),
        ("no manifest", b"<html>".to_vec(), "manifest cannot be read"),
    ] {
        let front = Front::start(move |_| Some((200, vec![], body.clone()))).await;
        let error = refused(&images(vec![allowed(&front.host())]), &front.host()).await;
        assert!(error.is_user_fault() && error.to_string().contains(expected), "{what}: {error}");
        assert_eq!(front.asked().len(), 1, "{what}: it went on to download");
    }
}

#[tokio::test]
async fn a_registry_that_stalls_fails_or_is_gone_is_a_passing_trouble() {
    let stalled = Front::start(|_| None).await;
    let settings = ImageSettings {
        registries: vec![allowed(&stalled.host())],
        pull_timeout: Duration::from_millis(100),
        ..ImageSettings::default()
    };
    let error = refused(&Images::with(settings), &stalled.host()).await;
    assert!(!error.is_user_fault() && error.to_string().contains("within 0 seconds"), "{error}");

    let broken = Front::start(|_| Some((503, vec![], vec![]))).await;
    let error = refused(&images(vec![allowed(&broken.host())]), &broken.host()).await;
    assert!(!error.is_user_fault() && error.to_string().contains("status 503"), "{error}");

    let host = format!("127.0.0.1:{}", picasso_testkit::process::free_port().unwrap());
    let error = refused(&images(vec![allowed(&host)]), &host).await;
    assert!(!error.is_user_fault() && error.to_string().contains("could not be reached"), "{error}");
}
