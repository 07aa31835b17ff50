//! The vocabulary of Picasso: ids, names, apps, routes, versions and calls.
//!
//! Every type here is validated once, when it is parsed; code that holds one may
//! rely on it. Nothing here does I/O, knows HTTP handlers or SQL, or reads the
//! clock except through [`clock::Clock`].

pub mod access;
pub mod alias;
pub mod app;
pub mod bounds;
pub mod call;
pub mod clock;
pub mod cloud_event;
pub mod cors;
pub mod delivery;
pub mod digest;
mod failure;
pub mod fault;
pub mod identity;
pub mod ids;
pub mod image_ref;
pub mod kept_object;
pub mod limits;
pub mod name;
pub mod network;
pub mod outgoing;
pub mod pattern;
pub mod random;
pub mod rate_limit;
pub mod route;
pub mod route_table;
mod route_type;
pub mod sealed;
pub mod secrets;
mod short_name;
pub mod text;
mod text_enum;
pub mod trigger;

pub use access::{Rotated, RouteAccess, WebhookChange, WebhookSecrets};
pub use alias::{Alias, AliasName, AliasSpec, Selector, Share, Shares, Sticky};
pub use app::{App, AppChange, Config, NewApp};
pub use bounds::Bounds;
pub use call::{
    Accepted, Call, CallFilter, CallOutcome, CallOutput, CallState, Cancelled, IdempotencyKey, NewCall,
    Retried, RetriedCalls, Trigger,
};
pub use clock::{Clock, SystemClock, Timestamp};
pub use cors::CorsRules;
pub use delivery::{
    Backoff, CallDelivery, DeliveryOptions, Destination, HttpUrl, QueueGrant, RetryOn, RetryPolicy,
    Thousandths,
};
pub use digest::Digest;
pub use failure::Failure;
pub use fault::FieldFault;
pub use identity::{
    IdentityGrant, IdentityKind, RouteIdentity, RouteIdentityState, Suspension, TrustId, TrustRevocation,
};
pub use ids::{
    AppId, CallId, DeliveryId, FiringId, InstanceId, ObjectId, ProjectId, RequestId, RouteId, TriggerId,
    VersionId,
};
pub use image_ref::ImageRef;
pub use kept_object::{KeptObject, NewObject, RemovableObject};
pub use limits::{
    FixedLimits, Limit, LimitSource, Limits, LimitsFuture, OverLimit, ProjectLimits, Resource, mib_of,
};
pub use name::{AppName, FullName};
pub use pattern::{PathParams, RoutePattern};
pub use rate_limit::RateLimit;
pub use route::{
    Format, Methods, NetworkMode, NewRoute, Route, RouteChange, RouteVersion, VersionSpec, VersionState,
};
pub use route_table::RouteTable;
pub use route_type::RouteType;
pub use sealed::{Sealed, SealedFor};
pub use secrets::{Secret, SecretForm, SecretOwner, Secrets};
