//! What every handler works with: constructed values, shared by all faces.

use std::sync::Arc;

use picasso_engine::{Catalog, Engine};
use picasso_identity::policy::Enforcer;
use picasso_identity::{TokenValidator, Trusts};
use picasso_image::ImageStore;
use picasso_outbound::Barbican;
use picasso_store::Store;
use picasso_trigger::Firer;
use picasso_types::Limits;

use crate::announce::Announcer;
use crate::settings::ApiSettings;

/// The parts behind the HTTP faces; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Apps, routes, versions and calls.
    pub store: Arc<dyn Store>,
    /// Apps and routes as calls need them.
    pub catalog: Arc<Catalog>,
    /// Runs calls.
    pub engine: Arc<Engine>,
    /// Turns events into calls.
    pub firer: Firer,
    /// Images on this machine.
    pub images: Arc<ImageStore>,
    /// Who is calling.
    pub tokens: Arc<dyn TokenValidator>,
    /// How much of everything projects may have.
    pub limits: Arc<dyn Limits>,
    /// What callers may do.
    pub policy: Arc<Enforcer>,
    /// What is told on OpenStack's bus.
    pub announcer: Arc<Announcer>,
    /// Where secrets come from that are named by reference; `None` where the operator does not want that.
    pub key_manager: Option<Barbican>,
    /// Trusts and application credentials of functions; `None` without Keystone.
    pub trusts: Option<Arc<Trusts>>,
    /// Limits and choices.
    pub settings: Arc<ApiSettings>,
}
