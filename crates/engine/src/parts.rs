//! What an engine is made of.

use std::sync::Arc;

use picasso_image::ImageStore;
use picasso_outbound::{GuardedClient, Zaqar};
use picasso_queue::Queue;
use picasso_sandbox::Sandbox;
use picasso_store::Store;
use picasso_types::{Clock, InstanceId, Limits};

use crate::catalog::Catalog;
use crate::identities::Identities;
use crate::large_outputs::OutputObjects;
use crate::settings::EngineSettings;

/// What an engine is made of; constructed once by the server.
#[derive(Debug, Clone)]
pub struct EngineParts {
    /// Limits and sizes.
    pub settings: EngineSettings,
    /// Names this server's leases.
    pub instance: InstanceId,
    /// Apps, routes, calls.
    pub store: Arc<dyn Store>,
    /// Dispatches ids of asynchronous calls.
    pub queue: Arc<dyn Queue>,
    /// Where root filesystems come from.
    pub images: Arc<ImageStore>,
    /// Where functions run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where calls find their target.
    pub catalog: Arc<Catalog>,
    /// Sends what tenants can aim.
    pub outbound: GuardedClient,
    /// Takes messages for queues; `None` where the operator does not want that.
    pub zaqar: Option<Zaqar>,
    /// Where large results and logs lie; `None`: they are cut.
    pub outputs: Option<OutputObjects>,
    /// Gives functions their identities; `None`: calls of routes with one fail.
    pub identities: Option<Arc<dyn Identities>>,
    /// How much projects may have.
    pub limits: Arc<dyn Limits>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}
