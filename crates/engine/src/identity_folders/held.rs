//! The identity that one sandbox has.

use std::sync::Arc;

use picasso_sandbox::{IdentityFolder, IdentityFolderId};
use picasso_types::RouteId;
use ring::digest::{Context, SHA256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The identity of one sandbox, for as long as the sandbox is there.
#[derive(Debug)]
pub(crate) struct HeldIdentity {
    folder: IdentityFolder,
    /// A hash of the variables that it was started with, which no renewal can replace.
    env: Vec<u8>,
    withdrawn: CancellationToken,
    route: RouteId,
    /// Tells its route's task that it is gone.
    gone: Arc<Notify>,
}

impl HeldIdentity {
    pub(super) fn new(
        folder: IdentityFolder,
        env: &[(String, String)],
        route: RouteId,
        gone: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self { folder, env: hash(env), withdrawn: CancellationToken::new(), route, gone })
    }

    /// The folder its sandbox is started with.
    pub(crate) fn folder(&self) -> IdentityFolderId {
        self.folder.id()
    }

    /// Whether it does not hold any more: its sandbox takes no further call.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.is_cancelled()
    }

    /// Resolves when it does not hold any more.
    pub(crate) async fn withdrawn(&self) {
        self.withdrawn.cancelled().await;
    }

    /// Whether the sandbox was started with other variables than these.
    pub(super) fn differs(&self, env: &[(String, String)]) -> bool {
        self.env != hash(env)
    }

    /// Puts newer files in the place of the old ones.
    pub(super) fn renew(&self, files: &[(String, Vec<u8>)]) -> std::io::Result<()> {
        self.folder.replace(files)
    }

    /// Takes the identity from the sandbox.
    pub(super) fn withdraw(&self) {
        self.withdrawn.cancel();
        if let Err(error) = self.folder.clear() {
            tracing::error!(route = %self.route, %error, "an identity could not be removed");
        }
    }
}

impl Drop for HeldIdentity {
    fn drop(&mut self) {
        self.gone.notify_one();
    }
}

fn hash(env: &[(String, String)]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for text in env.iter().flat_map(|(name, value)| [name, value]) {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().to_vec()
}
