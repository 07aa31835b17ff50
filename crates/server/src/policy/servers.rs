//! Policy servers, asked through the guarded client.

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, header};
use picasso_identity::policy::{MAX_ANSWER_BYTES, RemoteCheck};
use picasso_outbound::GuardedClient;
use url::Url;

/// Policy servers: their URLs hold values that tenants choose.
#[derive(Debug)]
pub(super) struct PolicyServers(GuardedClient);

impl PolicyServers {
    pub(super) fn new(client: GuardedClient) -> Self {
        Self(client)
    }
}

#[async_trait]
impl RemoteCheck for PolicyServers {
    async fn post(&self, url: &Url, content_type: &'static str, body: Vec<u8>) -> Result<String, String> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let mut answer =
            self.0.send(Method::POST, url, headers, body.into()).await.map_err(|error| error.to_string())?;
        if !answer.status.is_success() {
            return Err(format!("it answered with status {}", answer.status.as_u16()));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
            if text.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(format!("its answer is longer than {MAX_ANSWER_BYTES} bytes"));
            }
            text.extend_from_slice(&chunk);
        }
        String::from_utf8(text).map_err(|_| "its answer is no text".to_owned())
    }
}
