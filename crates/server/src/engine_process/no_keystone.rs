//! Who is calling where there is no Keystone: nobody with a token. The faces that ask for tokens are
//! not served then; this is what their part of the state holds.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_identity::{AuthError, Caller, Presented, TokenValidator};

/// Accepts no token.
#[derive(Debug)]
pub(super) struct NoKeystone;

#[async_trait]
impl TokenValidator for NoKeystone {
    async fn validate(&self, _: &Presented) -> Result<Arc<Caller>, AuthError> {
        Err(AuthError::Unauthorized { reason: "this server has no Keystone" })
    }

    fn auth_uri(&self) -> &'static str {
        ""
    }
}
