//! Services of this cloud that tenants name things of, Zaqar and Barbican: where Keystone's catalog says
//! they are, asked again once a minute.
//!
//! The catalog belongs to the operator, so the clients that go there may reach private addresses
//! too. Nothing else uses these clients, and they follow no redirect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use picasso_config::Settings;
use picasso_identity::KeystoneValidator;
use picasso_outbound::{Barbican, EndpointUnknown, GuardedClient, ServiceEndpoint, Zaqar};
use tokio::sync::Mutex;
use url::Url;

use crate::convert;
use crate::failure::ServerFailure;

/// The types of both in catalogs (service-types-authority).
const MESSAGING: &str = "messaging";
const KEY_MANAGER: &str = "key-manager";
/// How long an endpoint is believed; that there is none is not.
const BELIEVED: Duration = Duration::from_mins(1);

/// The endpoint by the catalog.
#[derive(Debug)]
struct ByCatalog {
    tokens: Arc<KeystoneValidator>,
    service: &'static str,
    interface: String,
    region: Option<String>,
    known: Mutex<Option<(Instant, Url)>>,
}

#[async_trait]
impl ServiceEndpoint for ByCatalog {
    async fn endpoint(&self) -> Result<Option<Url>, EndpointUnknown> {
        // Held over the question: those who come meanwhile wait for its answer.
        let mut known = self.known.lock().await;
        if let Some((since, url)) = &*known
            && since.elapsed() < BELIEVED
        {
            return Ok(Some(url.clone()));
        }
        let asked = self.tokens.endpoint(self.service, &self.interface, self.region.as_deref()).await;
        let text = asked.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                service = self.service,
                "the catalog cannot be asked for a service"
            );
            EndpointUnknown
        })?;
        let url = text.as_deref().and_then(|text| Url::parse(text).ok());
        if let (Some(text), None) = (&text, &url) {
            tracing::error!(url = text, service = self.service, "the catalog's URL of a service is none");
        }
        *known = url.clone().map(|url| (Instant::now(), url));
        Ok(url)
    }
}

impl ByCatalog {
    fn new(
        tokens: Arc<KeystoneValidator>,
        service: &'static str,
        interface: &str,
        region: Option<&str>,
    ) -> Arc<Self> {
        let (interface, region) = (interface.to_owned(), region.map(str::to_owned));
        Arc::new(Self { tokens, service, interface, region, known: Mutex::default() })
    }
}

fn client(settings: &Settings) -> Result<GuardedClient, ServerFailure> {
    convert::client(settings, convert::guard(settings).allowing_private())
}

/// `None` where the operator does not want queues as destinations, or there is no Keystone whose
/// catalog names them.
pub(crate) fn zaqar(
    settings: &Settings,
    keystone: Option<Arc<KeystoneValidator>>,
) -> Result<Option<Zaqar>, ServerFailure> {
    let messaging = &settings.messaging;
    let Some(tokens) = keystone.filter(|_| messaging.enabled) else { return Ok(None) };
    let endpoint = ByCatalog::new(tokens, MESSAGING, &messaging.interface, messaging.region.as_deref());
    Ok(Some(Zaqar::new(client(settings)?, endpoint)))
}

/// `None` where the operator does not want references to secrets of Barbican, or there is no Keystone.
pub(crate) fn barbican(
    settings: &Settings,
    keystone: Option<Arc<KeystoneValidator>>,
) -> Result<Option<Barbican>, ServerFailure> {
    let manager = &settings.key_manager;
    let Some(tokens) = keystone.filter(|_| manager.enabled) else { return Ok(None) };
    let endpoint = ByCatalog::new(tokens, KEY_MANAGER, &manager.interface, manager.region.as_deref());
    Ok(Some(Barbican::new(client(settings)?, endpoint)))
}
