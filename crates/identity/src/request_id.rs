//! The request that is being worked on, as other services of the cloud are told of it.
//!
//! Contract: oslo.middleware's request ids. Requests that one request causes carry its global id,
//! so that an operator finds them all in the logs of all services.

use std::future::Future;

use http::HeaderName;

/// The header of request ids.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

tokio::task_local! {
    static CURRENT: String;
}

/// Works on `future` for the request `id`: what it asks of other services carries the id.
pub async fn for_request<F: Future>(id: String, future: F) -> F::Output {
    CURRENT.scope(id, future).await
}

/// The id of the request that this task works on, where it works on one.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::KeystoneClient;
    use crate::{KeystoneSettings, ServiceCredentials};

    /// The head of a log-in that Keystone would see.
    async fn head_of_log_in(id: Option<&str>) -> String {
        picasso_testkit::keystone::install_tls_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v3", listener.local_addr().unwrap());
        let credentials =
            ServiceCredentials::ApplicationCredential { id: "me".to_owned(), secret: "mine".into() };
        let settings = KeystoneSettings {
            retries: 0,
            request_timeout: Duration::from_secs(30),
            ..KeystoneSettings::new(&url, credentials)
        };
        let keystone = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&head).to_ascii_lowercase()
        };
        let client = KeystoneClient::new(&settings).unwrap();
        let asking = client.authenticate(&settings.credentials);
        match id {
            Some(id) => tokio::join!(for_request(id.to_owned(), asking), keystone).1,
            None => tokio::join!(asking, keystone).1,
        }
    }

    #[tokio::test]
    async fn what_a_request_asks_of_keystone_carries_its_id() {
        let id = "req-0a1b2c3d-0000-4000-8000-0123456789ab";
        let head = head_of_log_in(Some(id)).await;
        assert!(head.contains(&format!("x-openstack-request-id: {id}\r\n")), "{head}");
        let head = head_of_log_in(None).await;
        assert!(!head.contains("x-openstack-request-id"), "{head}");
    }
}
