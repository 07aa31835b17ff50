//! Opens the object store of large results and logs that the settings name.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_config::Settings;
use picasso_config::settings::{ObjectsUrl, S3Url, SwiftUrl};
use picasso_identity::KeystoneValidator;
use picasso_objects::{
    FileObjects, ObjectError, ObjectStore, S3Objects, S3Settings, SwiftAccess, SwiftObjects, SwiftSettings,
};
use secrecy::SecretString;
use url::Url;

use crate::failure::ServerFailure;

/// The store; `None` where large outputs are not kept. One that is away is no reason not to start.
pub(crate) fn open(
    settings: &Settings,
    keystone: Option<&Arc<KeystoneValidator>>,
) -> Result<Option<Arc<dyn ObjectStore>>, ServerFailure> {
    let opened: Result<Arc<dyn ObjectStore>, ObjectError> = match &settings.calls.large_outputs {
        ObjectsUrl::Off => return Ok(None),
        ObjectsUrl::File(folder) => {
            let default = || settings.server.data_dir.join("outputs");
            FileObjects::open(folder.clone().unwrap_or_else(default)).map(|store| Arc::new(store) as _)
        }
        ObjectsUrl::S3(url) => S3Objects::new(s3(settings, url)?).map(|store| Arc::new(store) as _),
        ObjectsUrl::Swift(url) => {
            let SwiftUrl { container, prefix, .. } = url.clone();
            let ca_file = settings.calls.large_outputs_ca_file.clone();
            let keystone = keystone
                .cloned()
                .ok_or_else(|| ServerFailure::new("calls.large_outputs is in Swift, which needs Keystone"))?;
            let access = ServiceUser { keystone, url: url.clone() };
            SwiftObjects::new(SwiftSettings { container, prefix, ca_file }, access)
                .map(|store| Arc::new(store) as _)
        }
    };
    opened.map(Some).map_err(|error| {
        ServerFailure::new("the object store of calls.large_outputs cannot be used").because(error)
    })
}

fn s3(settings: &Settings, url: &S3Url) -> Result<S3Settings, ServerFailure> {
    let calls = &settings.calls;
    let missing = |what| ServerFailure::new(format!("calls.{what} is missing"));
    Ok(S3Settings {
        endpoint: url.endpoint.clone(),
        region: url.region.clone(),
        bucket: url.bucket.clone(),
        prefix: url.prefix.clone(),
        access_key: calls.s3_access_key.clone().ok_or_else(|| missing("s3_access_key"))?,
        secret_key: calls.s3_secret_key.clone().ok_or_else(|| missing("s3_secret_key"))?,
        ca_file: calls.large_outputs_ca_file.clone(),
    })
}

/// Swift as our service user.
#[derive(Debug)]
struct ServiceUser {
    keystone: Arc<KeystoneValidator>,
    url: SwiftUrl,
}

#[async_trait]
impl SwiftAccess for ServiceUser {
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, ObjectError> {
        let token = self.keystone.service_token(refused).await;
        token.map_err(|error| away(error.to_string()))
    }

    async fn storage_url(&self) -> Result<Url, ObjectError> {
        let SwiftUrl { storage_url, region, interface, .. } = &self.url;
        if let Some(url) = storage_url {
            return Ok(url.clone());
        }
        let found = self.keystone.endpoint("object-store", interface, region.as_deref()).await;
        let found = found.map_err(|error| away(error.to_string()))?;
        let found =
            found.ok_or_else(|| away("the catalog has no such endpoint of object-store".to_owned()))?;
        Url::parse(&found).map_err(|_| away("the catalog's endpoint of object-store is no URL".to_owned()))
    }
}

fn away(reason: String) -> ObjectError {
    ObjectError::Unavailable { context: "asking Keystone for the way to Swift", reason }
}
