//! What a call runs: a route of an app in one of its versions.

use std::sync::Arc;

use picasso_types::{App, Failure, Route, RouteVersion};

use crate::place::Place;

/// What a call runs: an app's route with its active version.
#[derive(Debug, Clone)]
pub struct Target {
    /// The app.
    pub app: Arc<App>,
    /// The route.
    pub route: Arc<Route>,
    /// The version that runs; `None` while the route's first version is not ready.
    pub version: Option<Arc<RouteVersion>>,
    /// Where its calls run, found with the first of them.
    pub(crate) place: Place,
}

impl Target {
    /// A route of `app` with the version that new calls run.
    pub(crate) fn active(app: &Arc<App>, route: Route) -> Self {
        let version = route.active.clone().map(Arc::new);
        Self { app: app.clone(), route: Arc::new(route), version, place: Place::default() }
    }

    /// Whether its calls wait for the consent of who granted its identity.
    pub(crate) fn is_suspended(&self) -> bool {
        self.route.identity.is_some_and(|identity| identity.is_suspended)
    }

    /// Why the target cannot run yet, or cannot run at all.
    pub(crate) fn not_ready(&self) -> Failure {
        let preparing = || "its image is still being prepared".to_owned();
        Failure::NotReady { reason: self.route.latest.error.clone().unwrap_or_else(preparing) }
    }
}
