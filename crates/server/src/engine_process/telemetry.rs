//! Logs to standard error, metrics to whoever asks the admin listener.

use std::io::{self, BufWriter, Stderr, Write};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use picasso_api::MetricsText;
use picasso_config::settings::{Log, LogFormat};
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::EitherWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::ServerFailure;

/// Upper ends of the buckets of all durations, seconds: from a warm call to the longest one.
const DURATIONS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0, 900.0];

/// Lines that may wait for standard error; a few MiB at most.
const WAITING_LINES: usize = 8192;
/// Lines are written together where many wait: one system call for all of them.
const WRITE_BYTES: usize = 32 * 1024;
/// Rest of the log's thread after it has written all that waited. A busy service then wakes it two
/// hundred times a second, not with every line; a line that comes alone is written at once.
const REST: Duration = Duration::from_millis(5);

/// What of `log.level` is understood; told before anything is started when it is not.
pub(crate) fn filter(log: &Log) -> Result<EnvFilter, ServerFailure> {
    EnvFilter::builder().parse(directives(&log.level)).map_err(|error| {
        ServerFailure::new(format!("log.level {:?} is not understood", log.level))
            .because(error)
            .hint("write error, warn, info, debug or trace, or levels by module: info,picasso_engine=debug")
    })
}

/// The running log; what still waits is written when it is dropped.
pub(super) struct Logs {
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

pub(super) fn start_logs(log: &Log) -> Result<Logs, ServerFailure> {
    let filter = filter(log)?;
    let (waiting, writer) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(Paced(BufWriter::with_capacity(WRITE_BYTES, std::io::stderr())));
    let lost = waiting.error_counter();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(waiting));
    let started = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
    };
    started.map_err(|error| ServerFailure::new("cannot start the log").because(error))?;
    Ok(Logs { lost, _writer: writer })
}

/// Rests after every flush, which is when nothing waits any more.
struct Paced<W>(W);

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        std::thread::sleep(REST);
        flushed
    }
}

/// Where lines go. Calls leave lines faster than a slow reader of standard error takes them, and
/// must not wait for it: theirs wait in memory, and when too many do, further ones are counted and
/// dropped. Warnings and errors are few and each is needed: they are written at once.
struct Lines(NonBlocking);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = EitherWriter<NonBlocking, Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        EitherWriter::A(self.0.clone())
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Self::Writer {
        if *of.level() <= Level::WARN { EitherWriter::B(std::io::stderr()) } else { self.make_writer() }
    }
}

/// A level alone means our own modules: what libraries say at `debug` about connections could
/// hold what must not be logged.
fn directives(level: &str) -> String {
    match level {
        "debug" | "trace" => format!("info,picasso={level}"),
        other => other.to_owned(),
    }
}

pub(super) fn start_metrics(logs: &Logs) -> Result<MetricsText, ServerFailure> {
    let failed = |error| ServerFailure::new("cannot start the metrics").because(error);
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATIONS)
        .map_err(failed)?
        .install_recorder()
        .map_err(failed)?;
    picasso_api::describe_metrics();
    picasso_notify::describe_metrics();
    picasso_trigger::notification::describe_metrics();
    metrics::describe_counter!(
        "picasso_log_lines_lost_total",
        "Log lines below warnings that were dropped because standard error was read too slowly"
    );
    let lost = logs.lost.clone();
    Ok(Arc::new(move || {
        metrics::counter!("picasso_log_lines_lost_total").absolute(lost.dropped_lines() as u64);
        // Each rendering also folds what was recorded since the last one.
        handle.run_upkeep();
        handle.render()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing until it is told to.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl std::io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_holds_up_no_line_and_lost_lines_are_counted() {
        let (open, closed) = std::sync::mpsc::channel();
        let (waiting, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(4).finish(Stuck(closed));
        let lost = waiting.error_counter();
        let lines = tracing_subscriber::fmt().with_writer(Lines(waiting)).finish();
        tracing::subscriber::with_default(lines, || {
            for _ in 0..100 {
                tracing::info!("a call ended");
            }
            let before = lost.dropped_lines();
            tracing::error!("an error goes past those that wait");
            assert_eq!(lost.dropped_lines(), before);
        });
        // One is being written, four wait.
        assert!((95..=96).contains(&lost.dropped_lines()), "{}", lost.dropped_lines());
        drop(open);
        drop(guard);
    }

    #[test]
    fn a_loud_level_is_for_our_own_modules() {
        assert_eq!(directives("trace"), "info,picasso=trace");
        assert_eq!(directives("warn"), "warn");
        assert_eq!(directives("info,hyper=debug"), "info,hyper=debug");
    }
}
