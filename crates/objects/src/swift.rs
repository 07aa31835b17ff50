//! Parts in a container of Swift, as our service user.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Client, Response};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;
use url::Url;

use crate::http::{chain, client, endpoint};
use crate::{MAX_PART_BYTES, ObjectError, ObjectName, ObjectStore};

/// How we come to Swift.
#[async_trait]
pub trait SwiftAccess: Send + Sync + std::fmt::Debug {
    /// A token of our own; another one than `refused`, which Swift did not take.
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, ObjectError>;

    /// The URL of our account, as the catalog has it: `https://host/v1/AUTH_…`.
    async fn storage_url(&self) -> Result<Url, ObjectError>;
}

/// Which container, and how it is reached.
#[derive(Debug, Clone)]
pub struct SwiftSettings {
    /// Its name; made where there is none.
    pub container: String,
    /// What names in the container begin with; may be empty.
    pub prefix: String,
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// [`ObjectStore`] in a container.
#[derive(Debug)]
pub struct SwiftObjects<A> {
    http: Client,
    access: A,
    settings: SwiftSettings,
    /// The URL of the container, once it is there.
    container: OnceCell<Url>,
}

impl<A: SwiftAccess> SwiftObjects<A> {
    /// A store that has not been asked yet.
    ///
    /// A process-wide TLS provider (`rustls::crypto::CryptoProvider`) must have been installed.
    pub fn new(settings: SwiftSettings, access: A) -> Result<Self, ObjectError> {
        let http = client(settings.ca_file.as_ref(), true)?;
        Ok(Self { http, access, settings, container: OnceCell::new() })
    }

    /// The container's URL; it is made the first time.
    async fn container(&self) -> Result<&Url, ObjectError> {
        let made = async {
            let mut url = self.access.storage_url().await?;
            endpoint(&url)?;
            append(&mut url, &self.settings.container)?;
            // 201 where it was made, 202 where it was there.
            let answer = self.send(Method::PUT, &url, Bytes::new()).await?;
            if answer.status().is_success() { Ok(url) } else { Err(refused("making a container", &answer)) }
        };
        self.container.get_or_try_init(|| made).await
    }

    async fn url(&self, name: &ObjectName) -> Result<Url, ObjectError> {
        let mut url = self.container().await?.clone();
        for piece in self.settings.prefix.split('/').filter(|piece| !piece.is_empty()) {
            append(&mut url, piece)?;
        }
        for piece in name.folder().split('/') {
            append(&mut url, piece)?;
        }
        append(&mut url, name.file())?;
        Ok(url)
    }

    /// Sends a request; once more with another token where Swift does not take the first.
    async fn send(&self, method: Method, url: &Url, body: Bytes) -> Result<Response, ObjectError> {
        let token = self.access.token(None).await?;
        let answer = self.send_with(&token, method.clone(), url, body.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.access.token(Some(&token)).await?;
        self.send_with(&token, method, url, body).await
    }

    async fn send_with(
        &self,
        token: &SecretString,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<Response, ObjectError> {
        let mut value = HeaderValue::from_str(token.expose_secret())
            .map_err(|_| ObjectError::unavailable("asking Swift", "our token cannot be a header value"))?;
        value.set_sensitive(true);
        let mut request = self.http.request(method.clone(), url.clone()).header("x-auth-token", value);
        if method == Method::PUT {
            // Also of an empty body, which has none by itself.
            request = request.header("content-length", body.len());
        }
        request
            .header("content-type", "application/octet-stream")
            .body(body)
            .send()
            .await
            .map_err(|error| ObjectError::unavailable("asking Swift", chain(&error.without_url())))
    }
}

#[async_trait]
impl<A: SwiftAccess> ObjectStore for SwiftObjects<A> {
    async fn put(&self, name: &ObjectName, part: Bytes) -> Result<(), ObjectError> {
        let url = self.url(name).await?;
        let answer = self.send(Method::PUT, &url, part).await?;
        if answer.status() == StatusCode::CREATED {
            Ok(())
        } else {
            Err(refused("putting an object", &answer))
        }
    }

    async fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        let url = self.url(name).await?;
        let mut answer = self.send(Method::GET, &url, Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(ObjectError::Missing),
            _ => return Err(refused("getting an object", &answer)),
        }
        let mut content = BytesMut::new();
        let broken = |error: reqwest::Error| {
            ObjectError::unavailable("getting an object", chain(&error.without_url()))
        };
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            if content.len() + chunk.len() > MAX_PART_BYTES {
                return Err(ObjectError::TooLarge { limit: MAX_PART_BYTES });
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let url = self.url(name).await?;
        let answer = self.send(Method::DELETE, &url, Bytes::new()).await?;
        match answer.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(refused("deleting an object", &answer)),
        }
    }

    fn is_local(&self) -> bool {
        false
    }
}

/// Adds one segment, escaped.
fn append(url: &mut Url, piece: &str) -> Result<(), ObjectError> {
    let mut segments = url
        .path_segments_mut()
        .map_err(|()| ObjectError::Settings("the storage URL of Swift has no path".to_owned()))?;
    segments.pop_if_empty().push(piece);
    Ok(())
}

fn refused(context: &'static str, answer: &Response) -> ObjectError {
    let status = answer.status();
    let hint = match status {
        StatusCode::FORBIDDEN => "; our user needs a role that may write to the account (member)",
        status if status.is_redirection() => "; redirects are not followed",
        _ => "",
    };
    ObjectError::unavailable(context, format!("Swift answered {status}{hint}"))
}
