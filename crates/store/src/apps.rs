//! What the store keeps of apps: the part of [`crate::Store`] that they need.

use async_trait::async_trait;
use picasso_types::{App, AppChange, AppId, FullName, NewApp, ProjectId};

use crate::StoreError;

/// Apps and their names. Errors as for [`crate::Store`].
#[async_trait]
pub trait AppStore: Send + Sync + std::fmt::Debug {
    /// Makes an app under the first free of [`FullName::candidates`].
    ///
    /// `AppExists` when its short name equals any short or full name of the project's apps, or
    /// all candidates are taken; `OverLimit` when the project already has `max_apps`.
    async fn create_app(&self, new: &NewApp, max_apps: u32) -> Result<App, StoreError>;

    /// The project's app with this short or full name.
    async fn get_app(&self, project: &ProjectId, name: &str) -> Result<App, StoreError>;

    /// The app with this full name, in any project (public URLs).
    async fn get_app_by_full_name(&self, name: &FullName) -> Result<App, StoreError>;

    /// One app by its id.
    async fn get_app_by_id(&self, id: &AppId) -> Result<App, StoreError>;

    /// The project's apps in order of their full names.
    async fn list_apps(&self, project: &ProjectId) -> Result<Vec<App>, StoreError>;

    /// Changes an app. When its configuration changes, every route of it gets a new version by
    /// `changed_by` that differs in `merged_config` only, in the same transaction. Where calls run
    /// an older version than the latest, both get one, so that the change reaches calls at once.
    /// The copy of a `preparing` version shares the outcome of its original's preparation.
    async fn update_app(&self, id: &AppId, change: &AppChange, changed_by: &str) -> Result<App, StoreError>;

    /// Deletes an app; `AppHasRoutes` while it has any.
    async fn delete_app(&self, id: &AppId) -> Result<(), StoreError>;
}
