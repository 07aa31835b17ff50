//! Parts in a bucket of an S3-compatible store: Amazon's, Ceph's gateway, Swift's `s3api`, MinIO.
//!
//! Requests are signed (version 4) and their bodies' hashes with them; buckets are named in the
//! path, as stores of one's own rarely have a DNS name for each.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt as _, RetryConfig};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::http::{chain, client, endpoint};
use crate::{MAX_PART_BYTES, ObjectError, ObjectName, ObjectStore};

/// Where the bucket is, and as whom it is used.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// `https://s3.example.org`, without the bucket.
    pub endpoint: Url,
    /// What signatures name; most stores of one's own take any.
    pub region: String,
    /// The bucket, which is there already.
    pub bucket: String,
    /// What names in the bucket begin with; may be empty.
    pub prefix: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: SecretString,
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// [`ObjectStore`] in a bucket.
#[derive(Debug)]
pub struct S3Objects {
    store: AmazonS3,
    prefix: String,
}

impl S3Objects {
    /// A store that has not been asked yet.
    ///
    /// A process-wide TLS provider (`rustls::crypto::CryptoProvider`) must have been installed.
    pub fn new(settings: S3Settings) -> Result<Self, ObjectError> {
        endpoint(&settings.endpoint)?;
        let plain = settings.endpoint.scheme() == "http";
        let client = client(settings.ca_file.as_ref(), !plain)?;
        let store = AmazonS3Builder::new()
            .with_endpoint(settings.endpoint.as_str().trim_end_matches('/'))
            .with_allow_http(plain)
            .with_virtual_hosted_style_request(false)
            .with_region(settings.region)
            .with_bucket_name(settings.bucket)
            .with_access_key_id(settings.access_key)
            .with_secret_access_key(settings.secret_key.expose_secret())
            .with_http_connector(Connector(client))
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(1),
                    base: 2.0,
                },
                max_retries: 2,
                retry_timeout: Duration::from_secs(4),
            })
            .build()
            .map_err(|error| ObjectError::Settings(chain(&error)))?;
        Ok(Self { store, prefix: settings.prefix })
    }

    fn path(&self, name: &ObjectName) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }
}

/// Our client, whatever the library would have liked.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn put(&self, name: &ObjectName, part: Bytes) -> Result<(), ObjectError> {
        self.store.put(&self.path(name), part.into()).await.map_err(failed("putting an object"))?;
        Ok(())
    }

    async fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let failed = failed("getting an object");
        let mut stream = self.store.get(&self.path(name)).await.map_err(&failed)?.into_stream();
        let mut content = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(&failed)?;
            if content.len() + chunk.len() > MAX_PART_BYTES {
                return Err(ObjectError::TooLarge { limit: MAX_PART_BYTES });
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        match self.store.delete(&self.path(name)).await.map_err(failed("deleting an object")) {
            Err(ObjectError::Missing) => Ok(()),
            deleted => deleted,
        }
    }

    fn is_local(&self) -> bool {
        false
    }
}

fn failed(context: &'static str) -> impl Fn(object_store::Error) -> ObjectError {
    move |error| match error {
        object_store::Error::NotFound { .. } => ObjectError::Missing,
        error => ObjectError::unavailable(context, chain(&error)),
    }
}
