//! The engine process: everything that speaks HTTP, without privileges.

mod certificates;
mod listeners;
mod maintenance;
mod no_keystone;
mod parts;
mod signals;
pub(crate) mod telemetry;
mod triggers;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use picasso_api::{
    ServeLimits, UnixPeers, admin_router, admin_socket_router, api_router, functions_router, iron_router,
    serve_face, serve_unix,
};
use picasso_config::Settings;
use picasso_sandbox::supervisor::EngineSide;
use tokio_util::sync::CancellationToken;

use crate::failure::{ServerFailure, say};
use crate::handover::Handover;
use crate::{convert, database};
use listeners::{Listeners, OpenStackListeners};
use parts::Parts;

/// After the time of grace: for answers on their way out.
const LAST_WORDS: Duration = Duration::from_secs(5);

pub(crate) fn main(args: &[OsString]) -> Result<ExitCode, ServerFailure> {
    let side = EngineSide::take(args).map_err(|error| {
        ServerFailure::new("this command is for picasso itself").because(error).hint("run `picasso serve`")
    })?;
    let Handover { loaded, key, root } = Handover::from_bytes(&side.settings)?;
    let logs = telemetry::start_logs(&loaded.settings.log)?;
    let metrics = telemetry::start_metrics(&logs)?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err(ServerFailure::new("another TLS provider is installed already"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerFailure::new("cannot start threads").because(error))?;
    let ended = runtime.block_on(async {
        // First of all, so that a signal during the start is not lost.
        let signals = signals::Signals::listen()?;
        run(side, root, &loaded.settings, database::secret_key(&key)?, metrics, signals).await
    })?;
    // The process ends with its runtime still there: what hangs in the kernel cannot keep it, and
    // the sockets of its helpers close when it is gone. The supervisor would start a helper again
    // that ends before.
    std::mem::forget((runtime, ended.parts));
    Ok(ended.code)
}

/// The end of a run.
struct Ended {
    code: ExitCode,
    parts: Option<Parts>,
}

async fn run(
    mut side: EngineSide,
    root: bool,
    settings: &Settings,
    key: picasso_store::SecretKey,
    metrics: picasso_api::MetricsText,
    mut signals: signals::Signals,
) -> Result<Ended, ServerFailure> {
    // Before anything is touched: a taken port is the commonest reason not to start.
    let listeners = Listeners::bind(settings, std::mem::take(&mut side.sockets)).await?;
    let started = tokio::select! {
        parts = Parts::build(side, root, settings, key) => parts?,
        () = signals.next() => return Ok(Ended { code: ExitCode::SUCCESS, parts: None }),
    };
    let code = serve_until_stopped(listeners, settings, &started, metrics, signals).await?;
    let _ = std::fs::remove_file(settings.admin_socket());
    tracing::info!("stopped");
    Ok(Ended { code, parts: Some(started) })
}

async fn serve_until_stopped(
    listeners: Listeners,
    settings: &Settings,
    parts: &Parts,
    metrics: picasso_api::MetricsText,
    mut signals: signals::Signals,
) -> Result<ExitCode, ServerFailure> {
    let stopping = CancellationToken::new();
    maintenance::start(parts, &stopping);
    parts.triggers.hear(settings, &parts.api.catalog, &parts.store, &stopping);
    certificates::keep_current(listeners.certificates(), signals::hangups()?, stopping.clone());
    let ready = listeners.describe();
    let serving = serve_all(listeners, settings, parts, metrics, &stopping);
    tokio::pin!(serving);
    let (sandbox, egress) = (parts.sandbox.name(), parts.sandbox.features().egress);
    tracing::info!(sandbox, egress, "ready: {ready}");
    if std::io::stderr().is_terminal() {
        say(&format_args!("\npicasso is ready: {ready}\nCtrl-C ends it; its logs follow.\n"));
    }

    tokio::select! {
        () = &mut serving => return Err(ServerFailure::new("the listeners ended by themselves")),
        () = signals.next() => {}
    }
    let grace = grace(settings);
    tracing::info!(grace_s = grace.as_secs(), "stopping: no new calls; running ones may finish");
    stopping.cancel();
    let connections = tokio::time::timeout(grace + LAST_WORDS, serving);
    let finished = async {
        let in_time = tokio::join!(parts.engine.shut_down(grace), connections).1.is_ok();
        let _ = tokio::time::timeout(LAST_WORDS, parts.triggers.finish()).await;
        parts.notifier.flush(LAST_WORDS).await;
        in_time
    };
    // A second signal ends all at once: the helpers notice that this process is gone and end
    // every sandbox.
    Ok(tokio::select! {
        in_time = finished => {
            if !in_time {
                tracing::warn!("connections did not end in time and are closed");
            }
            ExitCode::SUCCESS
        }
        () = signals.next() => {
            tracing::warn!("a second signal: running calls are ended");
            ExitCode::from(130)
        }
    })
}

/// Serves all faces until `stopping` and the end of their connections. Accepting happens on this
/// task; each connection has its own.
async fn serve_all(
    listeners: Listeners,
    settings: &Settings,
    parts: &Parts,
    metrics: picasso_api::MetricsText,
    stopping: &CancellationToken,
) {
    let api = &settings.listeners.api;
    let limits = |name| ServeLimits {
        name,
        max_connections: api.max_connections as usize,
        header_timeout: Duration::from_secs(api.header_timeout_s.into()),
        grace: grace(settings),
        ..ServeLimits::default()
    };
    let state = &parts.api;
    let users = vec![0, rustix::process::geteuid().as_raw()];
    let openstack = async {
        if let Some(OpenStackListeners { api, functions }) = listeners.openstack {
            tokio::join!(
                serve_face(api, api_router(state.clone()), limits("api"), stopping.clone()),
                serve_face(functions, functions_router(state.clone()), limits("functions"), stopping.clone()),
            );
        }
    };
    let iron = async {
        if let Some(listener) = listeners.iron {
            let face = convert::iron(settings, &listener.addresses());
            serve_face(listener, iron_router(state.clone(), face), limits("iron"), stopping.clone()).await;
        }
    };
    tokio::join!(
        openstack,
        iron,
        serve_face(listeners.admin, admin_router(state.clone(), metrics), limits("admin"), stopping.clone()),
        serve_unix(
            listeners.admin_socket,
            UnixPeers::Users(users),
            admin_socket_router(state.clone()),
            limits("admin_socket"),
            stopping.clone(),
        ),
    );
}

fn grace(settings: &Settings) -> Duration {
    Duration::from_secs(settings.server.shutdown_grace_s.into())
}
