//! What the API faces are told by the composition root.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use picasso_types::Bounds;

/// Limits and choices of the HTTP faces. The server crate turns configuration into it.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Operator maxima and defaults of apps, routes and calls.
    pub bounds: Bounds,
    /// Answer a public run of a private route with 404 instead of the old service's 403.
    pub hide_private_routes: bool,
    /// The API's base URL as clients see it (`https://functions.example.org:10001`), where a
    /// proxy stands in front; without it links follow the request's `Host`.
    pub api_base: Option<String>,
    /// The same for function URLs.
    pub functions_base: Option<String>,
    /// The port of function URLs, where their base URL is not configured.
    pub functions_port: u16,
    /// Proxies whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whose addresses `/healthcheck` answers; empty: everybody's.
    pub health_sources: Vec<IpNet>,
    /// While this file exists, `/healthcheck` says that the node is being drained.
    pub drain_file: Option<PathBuf>,
    /// Largest body of a request about apps and routes, bytes.
    pub max_api_body_bytes: u64,
    /// Largest body of a wrapped run, bytes; it is held in memory.
    pub max_run_body_bytes: u64,
    /// Largest body of a function URL, bytes; it is streamed.
    pub max_function_body_bytes: u64,
    /// Largest answer of a wrapped run, bytes; it is held in memory.
    pub max_result_bytes: u64,
    /// Largest image upload, bytes; it is streamed to disk.
    pub max_image_bytes: u64,
    /// How long the next piece of a request body may take, and a body of the API as a whole.
    pub body_timeout: Duration,
    /// Whether notifications of OpenStack's services are listened to.
    pub hears_notifications: bool,
    /// The least time between two times of a schedule, seconds.
    pub least_schedule_interval_s: u64,
    /// How long `/healthcheck` waits for the database.
    pub health_timeout: Duration,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            hide_private_routes: false,
            api_base: None,
            functions_base: None,
            functions_port: 10002,
            trusted_proxies: Vec::new(),
            health_sources: Vec::new(),
            drain_file: None,
            // oslo.middleware's sizelimit default.
            max_api_body_bytes: 114_688,
            max_run_body_bytes: 6 * 1024 * 1024,
            max_function_body_bytes: 4 * 1024 * 1024 * 1024,
            max_result_bytes: 6 * 1024 * 1024,
            max_image_bytes: 2 * 1024 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            hears_notifications: true,
            least_schedule_interval_s: 1,
            health_timeout: Duration::from_secs(2),
        }
    }
}
