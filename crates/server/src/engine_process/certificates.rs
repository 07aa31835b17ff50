//! Certificates of the listeners: read at the start, and again when their files change or on SIGHUP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use picasso_api::ServerTls;
use picasso_config::settings::Tls;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::failure::ServerFailure;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// The certificate of the listener with this section of the settings; `None` without TLS.
pub(super) fn load(section: &str, tls: &Tls) -> Result<Option<Arc<ServerTls>>, ServerFailure> {
    let Some((certificate, key)) = tls.files() else { return Ok(None) };
    let loaded = ServerTls::load(certificate, key).map_err(|error| {
        ServerFailure::new(format!("{section}.tls cannot be used"))
            .because(error)
            .hint("certificate_file and key_file are PEM files that the server's user (server.user) can read")
    })?;
    Ok(Some(Arc::new(loaded)))
}

/// Keeps certificates current until `stopping`.
pub(super) fn keep_current(all: Vec<Arc<ServerTls>>, mut hangups: Signal, stopping: CancellationToken) {
    tokio::spawn(async move {
        loop {
            let asked = tokio::select! {
                _ = hangups.recv() => true,
                () = tokio::time::sleep(INTERVAL) => false,
                () = stopping.cancelled() => return,
            };
            for tls in &all {
                let tls = tls.clone();
                // Files may lie on a network.
                let _ = tokio::task::spawn_blocking(move || renew(&tls, asked)).await;
            }
        }
    });
}

fn renew(tls: &ServerTls, asked: bool) {
    if !asked && !tls.has_changed() {
        return;
    }
    let file: PathBuf = tls.certificate().to_owned();
    match tls.reload() {
        Ok(()) => {
            metrics::counter!("picasso_tls_reloads_total", "outcome" => "used").increment(1);
            tracing::info!(file = %file.display(), "the certificate was read again");
        }
        Err(error) => {
            metrics::counter!("picasso_tls_reloads_total", "outcome" => "refused").increment(1);
            tracing::error!(
                file = %file.display(),
                error = &error as &dyn std::error::Error,
                "the new certificate cannot be used; connections get the one before"
            );
        }
    }
}
