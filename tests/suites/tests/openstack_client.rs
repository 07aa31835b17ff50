//! The real `openstack` command finds the service in the catalog, asks it for its versions, and
//! gets tokens that it takes.

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::evidence;
use reqwest::{Method, StatusCode};

#[tokio::test(flavor = "multi_thread")]
async fn the_openstack_command_finds_the_service_and_its_tokens_are_taken() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    cloud.keystone.set_functions_url(&cloud.picasso.api_url()).await.unwrap();

    let entry = cloud.openstack("catalog show functions").await;
    assert_eq!(entry["name"], "picasso");
    assert_eq!(entry["type"], "functions");
    assert!(entry["endpoints"].to_string().contains(&cloud.picasso.api_url()), "{entry}");

    let versions = cloud.openstack("versions show --service functions").await;
    assert!(versions.to_string().contains("CURRENT"), "{versions}");
    let version = versions.as_array().unwrap().iter().find(|one| one["Status"] == "CURRENT").unwrap();
    assert_eq!((&version["Min Microversion"], &version["Max Microversion"]), (&"1.0".into(), &"1.1".into()));

    let token = cloud.openstack("token issue").await;
    let (id, project) = (token["id"].as_str().unwrap(), token["project_id"].as_str().unwrap());
    evidence::note_secret(id);
    let answer = cloud.api(Method::GET, &format!("/v1/{project}/apps"), Some(id), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}
