//! Where this cloud's Zaqar is: what Keystone's catalog says, asked again once a minute.
//!
//! The catalog belongs to the operator, so the client that goes there may reach private addresses
//! too. Nothing else uses that client, and it follows no redirect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use picasso_config::Settings;
use picasso_identity::KeystoneValidator;
use picasso_outbound::{EndpointUnknown, MessagingEndpoint, Zaqar};
use tokio::sync::Mutex;
use url::Url;

use crate::convert;
use crate::failure::ServerFailure;

/// The type of Zaqar in catalogs (service-types-authority).
const SERVICE: &str = "messaging";
/// How long an endpoint is believed; that there is none is not.
const BELIEVED: Duration = Duration::from_mins(1);

/// The endpoint by the catalog.
#[derive(Debug)]
struct ByCatalog {
    tokens: Arc<KeystoneValidator>,
    interface: String,
    region: Option<String>,
    known: Mutex<Option<(Instant, Url)>>,
}

#[async_trait]
impl MessagingEndpoint for ByCatalog {
    async fn messaging_endpoint(&self) -> Result<Option<Url>, EndpointUnknown> {
        // Held over the question: those who come meanwhile wait for its answer.
        let mut known = self.known.lock().await;
        if let Some((since, url)) = &*known
            && since.elapsed() < BELIEVED
        {
            return Ok(Some(url.clone()));
        }
        let asked = self.tokens.endpoint(SERVICE, &self.interface, self.region.as_deref()).await;
        let text = asked.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the catalog cannot be asked for the messaging service"
            );
            EndpointUnknown
        })?;
        let url = text.as_deref().and_then(|text| Url::parse(text).ok());
        if let (Some(text), None) = (&text, &url) {
            tracing::error!(url = text, "the catalog's URL of the messaging service is none");
        }
        *known = url.clone().map(|url| (Instant::now(), url));
        Ok(url)
    }
}

/// `None` where the operator does not want queues as destinations, or there is no Keystone whose
/// catalog names them.
pub(crate) fn zaqar(
    settings: &Settings,
    keystone: Option<Arc<KeystoneValidator>>,
) -> Result<Option<Zaqar>, ServerFailure> {
    let messaging = &settings.messaging;
    let Some(tokens) = keystone.filter(|_| messaging.enabled) else { return Ok(None) };
    let endpoint = ByCatalog {
        tokens,
        interface: messaging.interface.clone(),
        region: messaging.region.clone(),
        known: Mutex::default(),
    };
    let client = convert::client(settings, convert::guard(settings).allowing_private())?;
    Ok(Some(Zaqar::new(client, Arc::new(endpoint))))
}
