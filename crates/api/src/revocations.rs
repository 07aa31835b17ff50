//! Revoking the trusts that nothing needs any more: at once where Keystone answers, else again later.
//!
//! The store names them from the moment an identity is replaced, deleted, or gone with its route; so
//! none is forgotten when Keystone or this process is away.

use std::time::Duration;

use picasso_identity::{TrustError, Trusts};
use picasso_store::{Store, StoreError};
use picasso_types::{Timestamp, TrustRevocation};

/// Most trusts of one look.
const BATCH: u32 = 100;
/// The first pause before another attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// Attempts after which a trust is left alone that Keystone has, and gives no token by: weeks after its
/// user was disabled or lost the role, so that it is of no use to anybody.
const MAX_ATTEMPTS: u32 = 40;

/// Revokes what is due. Several processes may do so at one time: a trust that is gone is revoked.
pub async fn revoke_due(store: &dyn Store, trusts: &Trusts, now: Timestamp) -> Result<(), StoreError> {
    for due in store.list_trust_revocations(BATCH).await? {
        match trusts.delete(&due.trust).await {
            Ok(()) => {
                tracing::info!(trust = %due.trust, "a trust that is not needed any more was revoked");
                store.forget_trust_revocation(&due.trust).await?;
            }
            Err(TrustError::Refused(reason)) if due.attempts >= MAX_ATTEMPTS => {
                tracing::warn!(trust = %due.trust, reason, "a trust is left in Keystone: no token can be had by it");
                store.forget_trust_revocation(&due.trust).await?;
            }
            Err(error) => {
                tracing::warn!(trust = %due.trust, %error, "a trust could not be revoked yet");
                store.put_off_trust_revocation(&due.trust, now.plus(pause(&due))).await?;
                if matches!(error, TrustError::Unavailable(_)) {
                    // It does not answer for the others either.
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn pause(due: &TrustRevocation) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << due.attempts.min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use picasso_types::TrustId;

    use super::*;

    #[test]
    fn pauses_grow_to_a_day() {
        let after = |attempts| pause(&TrustRevocation { trust: TrustId::parse("a").unwrap(), attempts });
        assert_eq!(after(0), Duration::from_mins(1));
        assert_eq!(after(3), Duration::from_mins(8));
        assert_eq!(after(u32::MAX), LONGEST_PAUSE);
    }
}
