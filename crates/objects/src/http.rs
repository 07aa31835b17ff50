//! The HTTP client of the object stores: the operator's endpoint, and nothing that it points to.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use url::Url;

use crate::ObjectError;

/// One request, its answer's body included: a part is small.
const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Follows no redirect: a part, and what signs the request, goes where the settings say.
///
/// A process-wide TLS provider (`rustls::crypto::CryptoProvider`) must have been installed.
pub(crate) fn client(ca_file: Option<&PathBuf>, tls: bool) -> Result<Client, ObjectError> {
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .user_agent(concat!("picasso/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = ca_file {
        let shown = path.display();
        let pem = std::fs::read(path)
            .map_err(|error| ObjectError::Settings(format!("{shown} cannot be read: {error}")))?;
        let authorities = Certificate::from_pem_bundle(&pem)
            .map_err(|error| ObjectError::Settings(format!("{shown} holds no certificates: {error}")))?;
        builder = builder.tls_certs_only(authorities);
    } else if !tls {
        // A machine without any certificates can still use a store without TLS.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| ObjectError::Settings(format!("TLS cannot be used: {error}")))
}

/// An endpoint that is `http` or `https`, and holds no secret.
pub(crate) fn endpoint(url: &Url) -> Result<(), ObjectError> {
    let fits = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if fits {
        return Ok(());
    }
    let text =
        "the endpoint of an object store is http://host or https://host, without user, query or fragment";
    Err(ObjectError::Settings(text.to_owned()))
}

/// An error and its causes in one line, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
