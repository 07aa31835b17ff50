//! What notifications say of things: ids and names, never configuration.

use picasso_image::ImageInfo;
use picasso_types::trigger::Trigger;
use picasso_types::{Alias, App, Route, RouteIdentity};
use serde_json::{Value, json};

/// A thing that a request is about.
pub(crate) trait Subject {
    /// What notifications of it say.
    fn facts(&self) -> Vec<(&'static str, Value)>;
}

impl Subject for App {
    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("app_id", self.id.as_str().into()),
            ("app_name", self.full_name.as_str().into()),
            ("app_short_name", self.short_name.as_str().into()),
            ("project_id", self.project_id.as_str().into()),
        ]
    }
}

impl Subject for Route {
    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("route_id", self.id.as_str().into()),
            ("path", self.pattern.as_str().into()),
            ("version", self.latest.number.into()),
            ("version_id", self.latest.id.as_str().into()),
            ("image", self.latest.spec.image.to_string().into()),
            ("is_public", self.is_public.into()),
        ]
    }
}

impl Subject for Alias {
    fn facts(&self) -> Vec<(&'static str, Value)> {
        let shares = self.spec.shares.as_slice().iter();
        let shares = shares.map(|share| json!({ "version": share.number, "weight": share.weight })).collect();
        vec![
            ("route_id", self.route_id.as_str().into()),
            ("alias", self.name.as_str().into()),
            ("versions", Value::Array(shares)),
            ("is_public", self.spec.is_public.into()),
        ]
    }
}

impl Subject for Trigger {
    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("trigger_id", self.id.as_str().into()),
            ("trigger", self.spec.name.as_str().into()),
            ("kind", self.spec.kind.trigger_type().as_str().into()),
            ("state", self.state.as_str().into()),
            ("app_id", self.spec.app_id.as_str().into()),
            ("app_name", self.app_name.as_str().into()),
            ("route_id", self.spec.route_id.as_str().into()),
            ("path", self.route_path.as_str().into()),
            ("project_id", self.project_id.as_str().into()),
        ]
    }
}

impl Subject for RouteIdentity {
    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("route_id", self.route_id.as_str().into()),
            ("identity_type", self.grant.kind().as_str().into()),
            ("identity_user_id", self.user_id.as_str().into()),
            ("identity_roles", self.roles.clone().into()),
        ]
    }
}

/// The number of the version that a route is rolled back to.
pub(crate) struct SourceVersion(pub(crate) u32);

impl Subject for SourceVersion {
    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![("source_version", self.0.into())]
    }
}

impl Subject for ImageInfo {
    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("image", self.name.to_string().into()),
            ("digest", self.digest.to_string().into()),
            ("size_bytes", self.size_bytes.into()),
        ]
    }
}
