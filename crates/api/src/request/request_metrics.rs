//! The metrics of requests. Handles are looked up by name once and kept: a look-up builds labels
//! and takes a lock that all requests share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram, counter, histogram};

/// How a request ended, as its metrics tell it: a status, or `None` when the caller went away.
pub(crate) type Ended = Option<u16>;

/// The handles of one face. What they are kept by is bounded: the templates of the face, methods
/// that are known, statuses.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    face: &'static str,
    routes: ArcSwap<HashMap<String, Arc<Route>>>,
}

type Route = HashMap<(&'static str, Ended), Handles>;

#[derive(Clone)]
struct Handles {
    requests: Counter,
    duration: Histogram,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handles")
    }
}

impl RequestMetrics {
    pub(crate) fn new(face: &'static str) -> Self {
        Self { face, routes: ArcSwap::default() }
    }

    /// Counts one request.
    pub(crate) fn record(&self, route: &str, method: &'static str, ended: Ended, took: Duration) {
        let routes = self.routes.load();
        if let Some(handles) = routes.get(route).and_then(|route| route.get(&(method, ended))) {
            handles.record(took);
        } else {
            self.add(route, method, ended).record(took);
        }
    }

    fn add(&self, route: &str, method: &'static str, ended: Ended) -> Handles {
        let status = ended.map_or_else(|| "hung_up".to_owned(), |status| status.to_string());
        let labels = [
            ("face", self.face.to_owned()),
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status),
        ];
        let handles = Handles {
            requests: counter!("picasso_http_requests_total", &labels),
            duration: histogram!("picasso_http_request_duration_seconds", &labels[..3]),
        };
        self.routes.rcu(|routes| {
            let mut routes = HashMap::clone(routes);
            let mut one = routes.get(route).map(|one| Route::clone(one)).unwrap_or_default();
            one.insert((method, ended), handles.clone());
            routes.insert(route.to_owned(), Arc::new(one));
            routes
        });
        handles
    }
}

impl Handles {
    fn record(&self, took: Duration) {
        self.requests.increment(1);
        self.duration.record(took);
    }
}

/// Names the metrics of this crate to the recorder, with what they count.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "picasso_http_requests_total",
        "HTTP requests by face, method, route template and status (hung_up: the caller went away first)"
    );
    metrics::describe_histogram!(
        "picasso_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "Time from a request's head to its answer's head by face, method and route template"
    );
    metrics::describe_gauge!("picasso_http_connections", "Open connections by face");
    metrics::describe_counter!(
        "picasso_http_connections_refused_total",
        "Connections closed at once because the face had its maximum, by face"
    );
    metrics::describe_counter!(
        "picasso_audit_suppressed_total",
        "Requests with a bad token or none that were not audited, as there were too many in a second"
    );
    metrics::describe_counter!(
        "picasso_tls_reloads_total",
        "Certificates read again, by outcome (refused: connections get the one before)"
    );
}
