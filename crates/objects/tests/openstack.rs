//! Swift and S3, against one real Swift with a real Keystone: the suite for each, and both when the
//! store is killed and comes back.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod conformance;

use async_trait::async_trait;
use picasso_objects::{
    ObjectError, ObjectName, ObjectStore, S3Objects, S3Settings, SwiftAccess, SwiftObjects, SwiftSettings,
};
use picasso_testkit::keystone::Keystone;
use picasso_testkit::process::require;
use picasso_testkit::swift::{S3_KEY, Swift};
use picasso_types::{ObjectId, ProjectId};
use secrecy::SecretString;
use url::Url;

/// The service user of the testkit's Keystone.
#[derive(Debug)]
struct ServiceUser {
    token: String,
    storage_url: Url,
}

#[async_trait]
impl SwiftAccess for ServiceUser {
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, ObjectError> {
        // The first is one that Swift does not take.
        let token = if refused.is_some() { &self.token } else { "gAAAAA-no-token" };
        Ok(token.into())
    }

    async fn storage_url(&self) -> Result<Url, ObjectError> {
        Ok(self.storage_url.clone())
    }
}

fn s3(swift: &Swift, secret: &str) -> S3Objects {
    S3Objects::new(S3Settings {
        endpoint: Url::parse(&swift.url()).unwrap(),
        region: "us-east-1".to_owned(),
        bucket: "outputs".to_owned(),
        prefix: "picasso".to_owned(),
        access_key: S3_KEY.0.to_owned(),
        secret_key: secret.into(),
        ca_file: None,
    })
    .unwrap()
}

#[tokio::test]
async fn swift_and_s3_do_what_every_object_store_does_also_after_they_were_killed() {
    if !require("Keystone", Keystone::missing().as_deref()) {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let mut swift = Swift::start(&keystone).await.unwrap();
    let project = keystone.project_id("service").await.unwrap();
    let access = ServiceUser {
        token: keystone.token("picasso", "service").await.unwrap(),
        storage_url: Url::parse(&format!("{}/v1/AUTH_{project}", swift.url())).unwrap(),
    };
    let settings =
        SwiftSettings { container: "call outputs".to_owned(), prefix: "a/b".to_owned(), ca_file: None };
    let in_swift = SwiftObjects::new(settings, access).unwrap();
    conformance::check(&in_swift).await;
    let in_s3 = s3(&swift, S3_KEY.1);
    conformance::check(&in_s3).await;

    let wrong = s3(&swift, "another key");
    let name = ObjectName::new(&ProjectId::parse("demo").unwrap(), &ObjectId::generate(), 0);
    let refused = wrong.put(&name, "text".into()).await.unwrap_err().to_string();
    assert!(!refused.contains("another key"), "{refused}");

    for store in [&in_swift as &dyn ObjectStore, &in_s3] {
        let name = ObjectName::new(&ProjectId::parse("demo").unwrap(), &ObjectId::generate(), 0);
        store.put(&name, "kept".into()).await.unwrap();
        swift.kill();
        assert!(matches!(store.get(&name).await, Err(ObjectError::Unavailable { .. })));
        assert!(matches!(store.put(&name, "lost".into()).await, Err(ObjectError::Unavailable { .. })));
        assert!(matches!(store.delete(&name).await, Err(ObjectError::Unavailable { .. })));
        swift.start_again().await.unwrap();
        assert_eq!(store.get(&name).await.unwrap(), "kept");
    }
}
