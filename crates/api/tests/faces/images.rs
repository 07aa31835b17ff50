//! Images of a project over the API.

use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::support::{Options, PROJECT, Server};

fn images() -> String {
    format!("/v1/{PROJECT}/images")
}

#[tokio::test]
async fn an_uploaded_image_runs_and_is_seen_by_its_project_only() {
    let server = Server::start().await;
    let app = server.app().await;
    let tar = server.image_tar("printf uploaded");
    let headers = [("x-auth-token", "member"), (CONTENT_TYPE.as_str(), "application/x-tar")];
    let loaded = server.api.send("PUT", &format!("{}/team/tool:1", images()), &headers, tar).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(loaded.json()["image"]["name"], "team/tool:1");
    assert_eq!(loaded.json()["image"]["shared"], false);

    let body = json!({"route": {"path": "/a", "image": "team/tool:1", "is_public": true}});
    let made = server.api.post(&format!("/v1/{PROJECT}/apps/hello/routes"), "member", &body).await;
    assert_eq!(made.json()["route"]["state"], "ready", "{}", made.text());
    assert_eq!(server.functions.send("GET", &format!("/f/{app}/a"), &[], "").await.text(), "uploaded");

    let listed = server.api.get(&images(), "reader").await.json();
    assert_eq!(listed["images"].as_array().unwrap().len(), 1);
    let others = server.api.get(&format!("/v1/{}/images", crate::support::OTHER), "other").await.json();
    assert_eq!(others["images"], json!([]));

    let removed = server.api.delete(&format!("{}/team/tool:1", images()), "member").await;
    assert_eq!(removed.json(), json!({"message": "Image successfully deleted"}));
    let again = server.api.delete(&format!("{}/team/tool:1", images()), "member").await;
    assert_eq!((again.status, again.message().as_str()), (404, "Image team/tool:1 not found"));
    // A version keeps what it pinned.
    assert_eq!(server.functions.send("GET", &format!("/f/{app}/a"), &[], "").await.text(), "uploaded");
}

#[tokio::test]
async fn an_upload_that_is_no_image_or_too_large_is_refused() {
    let mut options = Options::default();
    options.api.max_image_bytes = 1_000_000;
    let server = Server::start_with(options).await;
    let headers = [("x-auth-token", "member")];
    let url = format!("{}/x:1", images());
    let broken = server.api.send("PUT", &url, &headers, "this is no tar").await;
    assert_eq!((broken.status, broken.kind().as_str()), (400, "invalid_image"), "{}", broken.text());
    let large = server.api.send("PUT", &url, &headers, vec![0; 1_000_001]).await;
    assert_eq!((large.status, large.kind().as_str()), (413, "body_too_large"), "{}", large.text());
    let name = server.api.send("PUT", &format!("{}/UPPER", images()), &headers, "").await;
    assert_eq!((name.status, name.kind().as_str()), (400, "invalid_field"));
    let listed = server.api.get(&images(), "reader").await.json();
    assert_eq!(listed["images"], json!([]));
}
