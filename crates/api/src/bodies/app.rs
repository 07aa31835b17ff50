//! Bodies that make and change apps.

use std::collections::BTreeMap;

use picasso_types::{App, AppChange, AppName, Bounds, Config, FieldFault, NewApp, ProjectId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::cors::CorsFields;
use super::nullable::nullable;
use super::secrets::{SecretField, SecretFields};
use crate::error::ApiError;

/// `POST …/apps`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApp {
    /// The app to make.
    app: AppFields,
}

/// The app to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AppFields {
    /// 1 to 63 letters, digits, `-` or `_`; unique within the project.
    #[schema(example = "hello")]
    name: String,
    /// Handed to all routes' functions as environment variables.
    config: Option<BTreeMap<String, String>>,
    /// Values that all routes' functions get and nobody is shown again, by name.
    #[schema(value_type = Option<BTreeMap<String, SecretField>>)]
    secrets: Option<SecretFields>,
    /// Which pages of other origins may call the app's public functions; absent: that is left to the
    /// functions.
    cors: Option<CorsFields>,
    /// Free text; `App for project {project_id}` where it is absent.
    description: Option<String>,
}

/// `PUT …/apps/{app}`: an absent field stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(crate) struct UpdateApp {
    /// Merged into the app's configuration; the value `""` deletes a key.
    config: Option<BTreeMap<String, String>>,
    /// Merged into the app's secrets; null or the value `""` deletes one.
    #[schema(value_type = Option<BTreeMap<String, SecretField>>)]
    secrets: Option<SecretFields>,
    /// Replaces the rules for pages of other origins; null takes them away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<CorsFields>)]
    cors: Option<Option<CorsFields>>,
    /// Replaces the description.
    description: Option<String>,
}

impl CreateApp {
    /// Takes the secrets, which only a store can seal.
    pub(crate) fn take_secrets(&mut self) -> Option<SecretFields> {
        self.app.secrets.take()
    }

    /// The app to be stored; faults name `app.…`.
    pub(crate) fn into_new(self, project: ProjectId, bounds: &Bounds) -> Result<NewApp, ApiError> {
        let of_app = |fault: FieldFault| ApiError::field_of("app", fault);
        let AppFields { name, config, secrets: _, cors, description } = self.app;
        let name = AppName::parse(&name).map_err(of_app)?;
        let config = Config::parse(config.unwrap_or_default(), bounds).map_err(of_app)?;
        let cors = cors.map(CorsFields::into_rules).transpose().map_err(of_app)?;
        let new = NewApp::new(project, name, description, config, bounds).map_err(of_app)?;
        Ok(NewApp { cors, ..new })
    }
}

impl UpdateApp {
    /// Takes the secrets, which only a store can seal.
    pub(crate) fn take_secrets(&mut self) -> Option<SecretFields> {
        self.secrets.take()
    }

    /// The app after the change.
    pub(crate) fn into_change(self, app: &App, bounds: &Bounds) -> Result<AppChange, ApiError> {
        let change = AppChange::of(app, self.config.as_ref(), self.description, bounds)?;
        let cors = self.cors.map(|cors| cors.map(CorsFields::into_rules).transpose()).transpose()?;
        Ok(AppChange { cors: cors.unwrap_or_else(|| app.cors.clone()), ..change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> ProjectId {
        ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap()
    }

    fn create(body: &str) -> Result<NewApp, ApiError> {
        let body: CreateApp = serde_json::from_str(body).unwrap();
        body.into_new(project(), &Bounds::default())
    }

    #[test]
    fn the_configuration_of_a_create_is_kept() {
        let app = create(r#"{"app":{"name":"hello","config":{"A":"1"}}}"#).unwrap();
        assert_eq!(app.config.entries().collect::<Vec<_>>(), [("A", "1")]);
        assert_eq!(app.description, "App for project 968f523b6fec4a7694aaa27b300bb879");
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let app = create(r#"{"app":{"name":"hello","config":null,"description":null}}"#).unwrap();
        assert_eq!(app.config, Config::default());
    }

    #[test]
    fn a_fault_names_the_field_in_its_wrapper() {
        let Err(ApiError::InvalidField(fault)) = create(r#"{"app":{"name":"a b"}}"#) else { panic!() };
        assert_eq!(fault.field, "app.name");
        let Err(ApiError::InvalidField(fault)) = create(r#"{"app":{"name":"a","config":{"A=":"1"}}}"#) else {
            panic!()
        };
        assert_eq!(fault.field, "app.config");
    }
}
