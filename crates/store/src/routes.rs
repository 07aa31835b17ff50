//! What the store keeps of routes: the part of [`crate::Store`] that they need.

use async_trait::async_trait;
use picasso_types::{AppId, Digest, NewRoute, Route, RouteChange, RouteId, Timestamp, WebhookChange};

use crate::StoreError;

/// Routes of apps. Errors as for [`crate::Store`].
#[async_trait]
pub trait RouteStore: Send + Sync + std::fmt::Debug {
    /// Makes a route with version 1. `resolved` is the image's digest when it is on this machine
    /// already: the version is then `ready` at once, else `preparing`.
    ///
    /// `RouteExists` when a route of the app has the same pattern shape and shares a method;
    /// `OverLimit` when the apps of its project already have `max_routes`.
    async fn create_route(
        &self,
        app: &AppId,
        new: &NewRoute,
        resolved: Option<&Digest>,
        max_routes: u32,
    ) -> Result<Route, StoreError>;

    /// The app's route with this pattern text (`/users/:id`); the oldest where several routes of
    /// the pattern share no method.
    async fn get_route(&self, app: &AppId, pattern: &str) -> Result<Route, StoreError>;

    /// One route by its id.
    async fn get_route_by_id(&self, id: &RouteId) -> Result<Route, StoreError>;

    /// The app's routes in order of their patterns.
    async fn list_routes(&self, app: &AppId) -> Result<Vec<Route>, StoreError>;

    /// Changes a route: makes its next version; see [`RouteStore::create_route`] for `resolved`.
    async fn update_route(
        &self,
        id: &RouteId,
        change: &RouteChange,
        resolved: Option<&Digest>,
    ) -> Result<Route, StoreError>;

    /// Changes the webhook secrets of a route; the one before stays good until `previous_until`.
    async fn change_webhook(
        &self,
        route: &RouteId,
        change: &WebhookChange,
        previous_until: Timestamp,
    ) -> Result<Route, StoreError>;

    /// Deletes one route with its versions. Its finished calls stay; queued ones become
    /// `cancelled`.
    async fn delete_route(&self, id: &RouteId) -> Result<(), StoreError>;

    /// Makes a new version of what version `number` ran: its image by digest, limits and the route's
    /// own configuration; the app's configuration stays as it is now. The new one is `ready` and
    /// active at once. What is of the route itself (methods, type, delivery) stays.
    ///
    /// `VersionNotFound`, or `VersionNotReady` for one that cannot run.
    async fn roll_back(
        &self,
        route: &RouteId,
        number: u32,
        rolled_back_by: &str,
    ) -> Result<Route, StoreError>;
}
