//! The real `openstack` command finds the service in the catalog, asks it for its versions, and
//! gets tokens that it takes.

use std::path::{Path, PathBuf};

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::evidence;
use picasso_testkit::keystone::Keystone;
use picasso_testkit::process::run;
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// The command in the Python environment that Keystone runs from.
fn client() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let venv = std::env::var_os("PICASSO_VENV").map_or_else(|| root.join(".run/venv"), PathBuf::from);
    venv.join("bin/openstack")
}

/// Runs `openstack …` as a user; its JSON.
fn openstack(keystone: &Keystone, user: &str, arguments: &str) -> Value {
    let script = format!(
        "source {} && exec {} {arguments} -f json",
        keystone.openrc(user).display(),
        client().display()
    );
    let output =
        run("bash", ["-c", &script]).unwrap_or_else(|error| panic!("openstack {arguments}: {error}"));
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("openstack {arguments}: {error}: {output}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openstack_command_finds_the_service_and_its_tokens_are_taken() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    cloud.keystone.set_functions_url(&cloud.picasso.api_url()).await.unwrap();

    let entry = openstack(&cloud.keystone, "demo1-member", "catalog show functions");
    assert_eq!(entry["name"], "picasso");
    assert_eq!(entry["type"], "functions");
    assert!(entry["endpoints"].to_string().contains(&cloud.picasso.api_url()), "{entry}");

    let versions = openstack(&cloud.keystone, "demo1-member", "versions show --service functions");
    assert!(versions.to_string().contains("CURRENT"), "{versions}");

    let token = openstack(&cloud.keystone, "demo1-member", "token issue");
    let (id, project) = (token["id"].as_str().unwrap(), token["project_id"].as_str().unwrap());
    evidence::note_secret(id);
    let answer = cloud.api(Method::GET, &format!("/v1/{project}/apps"), Some(id), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}
