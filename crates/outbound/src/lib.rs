//! The one HTTP client for everything that tenants can aim: image pulls, destinations, callbacks; and
//! the APIs of Zaqar and Barbican on top of it.
//!
//! Three rules make it safe to hand it a tenant's URL. Names are resolved first and the addresses
//! judged after that, the very ones that are connected to ([`Guard`]), so neither a name that
//! changes its address nor another spelling of one gets past. No redirect is followed: who wants
//! to follow one asks again. Time and bytes are bounded, and no proxy of the environment is used.

mod barbican;
mod client;
mod connector;
mod endpoint;
mod guard;
mod resolver;
mod target;
mod zaqar;

pub use barbican::{Barbican, SecretError};
pub use client::{ClientError, ClientSettings, GuardedClient, OutboundError, Response};
pub use endpoint::{EndpointUnknown, ServiceEndpoint};
pub use guard::{BlockedAddress, Guard};
pub use resolver::{Resolver, SystemResolver};
pub use target::{TargetFault, check_target};
pub use zaqar::{
    Claim, ClaimError, ClaimTimes, Grant, GrantError, Message, PostError, SubscriptionUrl, Zaqar,
};
