//! [`AppStore`] of each driver.

use async_trait::async_trait;
use picasso_types::{App, AppChange, AppId, FullName, NewApp, ProjectId};

use super::{DriverStore, apps, read, write};
use crate::{AppStore, StoreError};

#[async_trait]
impl AppStore for DriverStore {
    async fn create_app(&self, new: &NewApp, max_apps: u32) -> Result<App, StoreError> {
        write!(self, [new], |db, now| apps::create(db, new, max_apps, now))
    }

    async fn get_app(&self, project: &ProjectId, name: &str) -> Result<App, StoreError> {
        read!(self, |db| apps::get(db, project, name))
    }

    async fn get_app_by_full_name(&self, name: &FullName) -> Result<App, StoreError> {
        read!(self, |db| apps::get_by_full_name(db, name))
    }

    async fn get_app_by_id(&self, id: &AppId) -> Result<App, StoreError> {
        read!(self, |db| apps::load(db, id))
    }

    async fn list_apps(&self, project: &ProjectId) -> Result<Vec<App>, StoreError> {
        read!(self, |db| apps::list(db, project))
    }

    async fn update_app(&self, id: &AppId, change: &AppChange, changed_by: &str) -> Result<App, StoreError> {
        write!(self, [id, change, changed_by], |db, now| apps::update(db, id, change, changed_by, now))
    }

    async fn delete_app(&self, id: &AppId) -> Result<(), StoreError> {
        write!(self, [id], |db, now| apps::delete(db, id, now))
    }
}
