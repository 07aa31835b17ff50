//! Apps and routes as clients of IronFunctions read them.

use std::collections::BTreeMap;

use picasso_types::{App, Config, Route};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct AppView {
    name: String,
    config: BTreeMap<String, String>,
}

impl From<&App> for AppView {
    fn from(app: &App) -> Self {
        Self { name: app.short_name.to_string(), config: entries(&app.config) }
    }
}

/// All fields of a route; the key of its tokens is not among them.
#[derive(Debug, Serialize)]
pub(super) struct RouteView {
    app_name: String,
    path: String,
    image: String,
    memory: u32,
    headers: BTreeMap<String, Vec<String>>,
    r#type: &'static str,
    format: &'static str,
    max_concurrency: u32,
    timeout: u32,
    idle_timeout: u32,
    config: BTreeMap<String, String>,
}

impl RouteView {
    pub(super) fn new(app: &App, route: &Route) -> Self {
        let spec = &route.latest.spec;
        Self {
            app_name: app.short_name.to_string(),
            path: route.pattern.to_string(),
            image: spec.image.to_string(),
            memory: spec.memory_mb,
            headers: route.delivery.answer_headers.clone(),
            r#type: route.route_type.as_str(),
            format: spec.format.as_str(),
            max_concurrency: spec.max_concurrency.unwrap_or(1),
            timeout: spec.timeout_s,
            idle_timeout: spec.idle_timeout_s,
            config: entries(&spec.config),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct AppsAnswer {
    pub(super) message: &'static str,
    pub(super) apps: Vec<AppView>,
}

#[derive(Debug, Serialize)]
pub(super) struct AppAnswer {
    pub(super) message: &'static str,
    pub(super) app: AppView,
}

#[derive(Debug, Serialize)]
pub(super) struct RoutesAnswer {
    pub(super) message: &'static str,
    pub(super) routes: Vec<RouteView>,
}

#[derive(Debug, Serialize)]
pub(super) struct RouteAnswer {
    pub(super) message: &'static str,
    pub(super) route: RouteView,
}

#[derive(Debug, Serialize)]
pub(super) struct Done {
    pub(super) message: &'static str,
}

fn entries(config: &Config) -> BTreeMap<String, String> {
    config.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
