//! Logs to standard error, metrics to whoever asks the admin listener.

use std::sync::Arc;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use picasso_api::MetricsText;
use picasso_config::settings::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::ServerFailure;

/// Upper ends of the buckets of all durations, seconds: from a warm call to the longest one.
const DURATIONS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0, 900.0];

/// What of `log.level` is understood; told before anything is started when it is not.
pub(crate) fn filter(log: &Log) -> Result<EnvFilter, ServerFailure> {
    EnvFilter::builder().parse(directives(&log.level)).map_err(|error| {
        ServerFailure::new(format!("log.level {:?} is not understood", log.level))
            .because(error)
            .hint("write error, warn, info, debug or trace, or levels by module: info,picasso_engine=debug")
    })
}

pub(super) fn start_logs(log: &Log) -> Result<(), ServerFailure> {
    let filter = filter(log)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
    };
    started.map_err(|error| ServerFailure::new("cannot start the log").because(error))
}

/// A level alone means our own modules: what libraries say at `debug` about connections could
/// hold what must not be logged.
fn directives(level: &str) -> String {
    match level {
        "debug" | "trace" => format!("info,picasso={level}"),
        other => other.to_owned(),
    }
}

pub(super) fn start_metrics() -> Result<MetricsText, ServerFailure> {
    let failed = |error| ServerFailure::new("cannot start the metrics").because(error);
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATIONS)
        .map_err(failed)?
        .install_recorder()
        .map_err(failed)?;
    picasso_api::describe_metrics();
    Ok(Arc::new(move || {
        // Each rendering also folds what was recorded since the last one.
        handle.run_upkeep();
        handle.render()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loud_level_is_for_our_own_modules() {
        assert_eq!(directives("trace"), "info,picasso=trace");
        assert_eq!(directives("warn"), "warn");
        assert_eq!(directives("info,hyper=debug"), "info,hyper=debug");
    }
}
