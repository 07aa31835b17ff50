//! A whole OpenStack for end-to-end tests, in a network of its own that functions reach by egress:
//! Keystone, which notifies, and RabbitMQ from the start; Nova, Aodh and Swift when a test asks for
//! them first. All stand in the catalog with addresses that are good on this machine and in
//! sandboxes.

use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, OnceCell};

use crate::aodh::Aodh;
use crate::broker::{Broker, Kind};
use crate::keystone::{Keystone, KeystoneError, KeystoneOptions};
use crate::network::CloudNetwork;
use crate::nova::Nova;
use crate::picasso::PicassoOptions;
use crate::swift::{Filter, Swift};

/// A running OpenStack; ends when dropped.
#[derive(Debug)]
pub struct OpenStack {
    // Dropped in this order: those that need others first, the network last.
    nova: OnceCell<Nova>,
    aodh: OnceCell<Aodh>,
    swift: OnceCell<Swift>,
    /// The identity service. It notifies the broker, with CADF payloads, on the exchange `keystone`.
    pub keystone: Arc<Keystone>,
    broker: Mutex<Broker>,
    broker_url: String,
    /// Where all of them are.
    pub network: CloudNetwork,
}

impl OpenStack {
    /// Why it cannot run here; `None` when it can. For [`crate::process::require`].
    pub fn missing() -> Option<String> {
        CloudNetwork::missing().or_else(Keystone::missing).or_else(|| Broker::missing(Kind::RabbitMq))
    }

    /// The one that the tests of one binary share while any of them holds it. A test that uses it
    /// changes only users, roles, projects and servers that it made itself, and leaves the broker be.
    pub async fn shared() -> Result<Arc<Self>, KeystoneError> {
        static SHARED: Mutex<Weak<OpenStack>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(openstack) = shared.upgrade() {
            return Ok(openstack);
        }
        let openstack = Arc::new(Self::start().await?);
        *shared = Arc::downgrade(&openstack);
        Ok(openstack)
    }

    /// Starts one of this test's own: RabbitMQ and Keystone.
    pub async fn start() -> Result<Self, KeystoneError> {
        let network = CloudNetwork::start()?;
        let place = network.place();
        let broker = Broker::start_at(&place, Kind::RabbitMq).await?;
        let broker_url = broker.url();
        let options =
            KeystoneOptions { place, broker_url: Some(broker_url.clone()), ..KeystoneOptions::default() };
        let keystone = Arc::new(Keystone::start_with(options).await?);
        Ok(Self {
            nova: OnceCell::new(),
            aodh: OnceCell::new(),
            swift: OnceCell::new(),
            keystone,
            broker: Mutex::new(broker),
            broker_url,
            network,
        })
    }

    /// Nova's API, which is started by the first who asks.
    pub async fn nova(&self) -> Result<&Nova, KeystoneError> {
        self.nova
            .get_or_try_init(|| async {
                let nova = Nova::start(&self.network.place(), &self.keystone).await?;
                self.keystone.set_endpoint("compute", &nova.endpoint()).await?;
                Ok(nova)
            })
            .await
    }

    /// Aodh, which is started by the first who asks.
    pub async fn aodh(&self) -> Result<&Aodh, KeystoneError> {
        self.aodh
            .get_or_try_init(|| async {
                let broker = self.broker.lock().await;
                let aodh = Aodh::start(&self.network.place(), &self.keystone, &broker).await?;
                self.keystone.set_endpoint("alarming", &aodh.url()).await?;
                Ok(aodh)
            })
            .await
    }

    /// Swift, which is started by the first who asks, without a filter of ours.
    pub async fn swift(&self) -> Result<&Swift, KeystoneError> {
        self.swift_with(None).await
    }

    /// Swift with a filter, which the first who asks chooses. A filter that tells a Picasso of events
    /// belongs to that Picasso, so such tests have an [`OpenStack`] of their own or share both.
    pub async fn swift_with(&self, filter: Option<Filter>) -> Result<&Swift, KeystoneError> {
        self.swift
            .get_or_try_init(|| async {
                let swift = Swift::start_at(&self.network.place(), &self.keystone, filter).await?;
                self.keystone.set_endpoint("object-store", &swift.endpoint()).await?;
                Ok(swift)
            })
            .await
    }

    /// The broker, for tests that have an [`OpenStack`] of their own and kill it.
    pub fn broker(&self) -> &Mutex<Broker> {
        &self.broker
    }

    /// The broker's URL (`amqp://…`), with its password.
    pub fn broker_url(&self) -> &str {
        &self.broker_url
    }

    /// Options for a Picasso of this cloud: it listens where the services find it, and functions with
    /// egress reach the services.
    pub fn picasso_options(&self) -> std::io::Result<PicassoOptions> {
        let (subnet, allow) = (CloudNetwork::sandbox_subnet()?, self.network.allow());
        Ok(PicassoOptions {
            more_config: format!("[egress]\nsubnet = \"{subnet}\"\nallow = [\"{allow}\"]\n"),
            address: Some(self.network.host_address()),
            ..PicassoOptions::default()
        })
    }
}
