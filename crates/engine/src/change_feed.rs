//! Follows what other processes on the same database change, so that this one sees it within a
//! second: what is cached of it is dropped, sandboxes of superseded versions end, and so do calls that
//! run here and were cancelled there.
//!
//! By polling, which is alike on every database: one read of an index that mostly finds nothing new.
//! A look that fails, or takes too long, means that changes may pass unheard from now on; the next
//! one that succeeds therefore counts everything as changed, also because the database that comes
//! back may be a restored one. Until then the catalog knows that the store is away.

use std::time::Duration;

use picasso_store::Changes;

use crate::engine::Engine;

/// How often changes are looked for: a change is to be seen within a second.
const POLL: Duration = Duration::from_millis(250);
/// After this time without an answer the database counts as away.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest pause between looks at a database that is away.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Runs until the engine stops.
pub(crate) async fn run(engine: Engine) {
    let shared = &engine.shared;
    let parts = &shared.parts;
    let mut mark = None;
    let mut pause = POLL;
    loop {
        let answer = match tokio::time::timeout(PATIENCE, parts.store.list_changes(mark)).await {
            Ok(Ok(changes)) => Ok(changes),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        match answer {
            Ok(Changes { upto, changed, cancelled, more }) => {
                if pause > POLL {
                    tracing::info!("the database answers again");
                }
                pause = POLL;
                mark = Some(upto);
                for call in cancelled.iter().filter_map(|id| shared.running.get(id)) {
                    call.cancel.cancel();
                }
                parts.catalog.heard(changed).await;
                if more {
                    continue;
                }
            }
            Err(error) => {
                if pause == POLL {
                    tracing::error!(error, "the database does not answer: only what is cached is served");
                }
                pause = (pause * 2).min(MAX_PAUSE);
                mark = None;
                parts.catalog.lost_touch();
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stopping.cancelled() => return,
        }
    }
}
