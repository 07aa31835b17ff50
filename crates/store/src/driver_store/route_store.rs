//! [`RouteStore`] of each driver.

use async_trait::async_trait;
use picasso_types::{AppId, Digest, NewRoute, Route, RouteChange, RouteId, Timestamp, WebhookChange};

use super::{DriverStore, read, routes, write};
use crate::{RouteStore, StoreError};

#[async_trait]
impl RouteStore for DriverStore {
    async fn create_route(
        &self,
        app: &AppId,
        new: &NewRoute,
        resolved: Option<&Digest>,
        max_routes: u32,
    ) -> Result<Route, StoreError> {
        let resolved = &resolved.cloned();
        write!(self, [app, new, resolved], |db, now| {
            routes::create(db, app, new, resolved.as_ref(), max_routes, now)
        })
    }

    async fn get_route(&self, app: &AppId, pattern: &str) -> Result<Route, StoreError> {
        read!(self, |db| routes::get(db, app, pattern))
    }

    async fn get_route_by_id(&self, id: &RouteId) -> Result<Route, StoreError> {
        read!(self, |db| routes::load(db, id))
    }

    async fn list_routes(&self, app: &AppId) -> Result<Vec<Route>, StoreError> {
        read!(self, |db| routes::list(db, app))
    }

    async fn update_route(
        &self,
        id: &RouteId,
        change: &RouteChange,
        resolved: Option<&Digest>,
    ) -> Result<Route, StoreError> {
        let resolved = &resolved.cloned();
        write!(self, [id, change, resolved], |db, now| {
            routes::update(db, id, change, resolved.as_ref(), now)
        })
    }

    async fn change_webhook(
        &self,
        route: &RouteId,
        change: &WebhookChange,
        previous_until: Timestamp,
    ) -> Result<Route, StoreError> {
        write!(self, [route, change], |db, now| {
            routes::change_webhook(db, route, change, previous_until, now)
        })
    }

    async fn delete_route(&self, id: &RouteId) -> Result<(), StoreError> {
        write!(self, [id], |db, now| routes::delete(db, id, now))
    }

    async fn roll_back(
        &self,
        route: &RouteId,
        number: u32,
        rolled_back_by: &str,
    ) -> Result<Route, StoreError> {
        write!(self, [route, rolled_back_by], |db, now| {
            routes::roll_back(db, route, number, rolled_back_by, now)
        })
    }
}
