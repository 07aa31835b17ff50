//! The catalog: apps and routes as calls need them, cached so that a call reads no database.

use std::sync::Arc;

use picasso_types::{App, PathParams, Route, RouteVersion};

/// What a call runs: an app's route with its active version.
#[derive(Debug, Clone)]
pub struct Target {
    /// The app.
    pub app: Arc<App>,
    /// The route.
    pub route: Arc<Route>,
    /// The version that runs; `None` while the route's first version is not ready.
    pub version: Option<Arc<RouteVersion>>,
}

/// What a path met.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// A route and the parameters of its pattern.
    Found(Arc<Target>, PathParams),
    /// The path exists, the method does not; the methods that do.
    MethodNotAllowed(Vec<String>),
    /// No such app.
    NoApp,
    /// No such route.
    NoRoute,
}

/// Looks up targets; see the methods of its implementation.
#[derive(Debug)]
pub struct Catalog;
