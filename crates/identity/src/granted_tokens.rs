//! Tokens by what users granted, kept until it is time for new ones.
//!
//! One request for a token of one trust is under way at a time, whoever asks meanwhile waits for its
//! outcome. What Keystone refuses, and that it is away, is remembered for a moment, so that many calls of a
//! function that cannot have its identity ask once. Tokens are in memory only.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use moka::ops::compute::{CompResult, Op};
use picasso_types::{Clock, Timestamp, TrustId};
use secrecy::SecretString;

use crate::error::KeystoneError;
use crate::trusts::{IssuedToken, TrustError, Trusts};

/// How long a failure is remembered.
const FAILURE_TIME: Duration = Duration::from_secs(5);
/// No token is kept for longer without being asked for.
const IDLE_TIME: Duration = Duration::from_hours(1);
/// How long before its end a token is not given out any more while no new one can be had.
const LAST_USE_MICROS: i64 = 30_000_000;

/// Keeps tokens of trusts and application credentials.
#[derive(Debug)]
pub struct GrantedTokens {
    trusts: Arc<Trusts>,
    clock: Arc<dyn Clock>,
    kept: Cache<Key, Arc<IssuedToken>>,
    failed: Cache<Key, Failed>,
}

/// Whose tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Trust(TrustId),
    Credential(String),
}

/// Why there was none a moment ago.
#[derive(Debug, Clone)]
enum Failed {
    Refused(String),
    NoTrustee,
    Unavailable,
}

impl GrantedTokens {
    /// Keeps up to `capacity` tokens.
    pub fn new(trusts: Arc<Trusts>, clock: Arc<dyn Clock>, capacity: u64) -> Self {
        Self {
            trusts,
            clock,
            kept: Cache::builder().max_capacity(capacity).time_to_idle(IDLE_TIME).build(),
            failed: Cache::builder().max_capacity(capacity).time_to_live(FAILURE_TIME).build(),
        }
    }

    /// A token by a trust, with at least a fifth of its life ahead unless Keystone is away.
    pub async fn by_trust(&self, trust: &TrustId) -> Result<Arc<IssuedToken>, TrustError> {
        self.get(Key::Trust(trust.clone()), Box::pin(self.trusts.token(trust))).await
    }

    /// The same by an application credential.
    pub async fn by_credential(
        &self,
        id: &str,
        secret: &SecretString,
    ) -> Result<Arc<IssuedToken>, TrustError> {
        let ask = Box::pin(self.trusts.credential_token(id, secret));
        self.get(Key::Credential(id.to_owned()), ask).await
    }

    /// Drops the token of a trust.
    pub async fn forget_trust(&self, trust: &TrustId) {
        self.kept.invalidate(&Key::Trust(trust.clone())).await;
    }

    /// Drops the token of an application credential.
    pub async fn forget_credential(&self, id: &str) {
        self.kept.invalidate(&Key::Credential(id.to_owned())).await;
    }

    async fn get(
        &self,
        key: Key,
        ask: impl Future<Output = Result<IssuedToken, TrustError>> + Send,
    ) -> Result<Arc<IssuedToken>, TrustError> {
        if let Some(kept) = self.kept.get(&key).await
            && self.clock.now() < kept.renew_at()
        {
            return Ok(kept);
        }
        // Large, and rarely needed.
        Box::pin(self.renew(key, ask)).await
    }

    async fn renew(
        &self,
        key: Key,
        ask: impl Future<Output = Result<IssuedToken, TrustError>> + Send,
    ) -> Result<Arc<IssuedToken>, TrustError> {
        let outcome = self
            .kept
            .entry(key.clone())
            .and_try_compute_with(|entry| async {
                let kept = entry.map(moka::Entry::into_value);
                if kept.as_ref().is_some_and(|kept| self.clock.now() < kept.renew_at()) {
                    // Somebody else has been here in the meantime.
                    return Ok(Op::Nop);
                }
                let asked = match self.failed.get(&key).await {
                    Some(failed) => Err(failed.into()),
                    None => self.ask(&key, ask).await,
                };
                match (asked, kept) {
                    (Ok(token), _) => Ok(Op::Put(Arc::new(token))),
                    (Err(TrustError::Unavailable(error)), Some(kept)) if self.is_good_for_a_while(&kept) => {
                        tracing::warn!(%error, "no new token of a function's identity yet; going on with the old one");
                        Ok(Op::Nop)
                    }
                    (Err(error), _) => Err(error),
                }
            })
            .await;
        if matches!(outcome, Err(TrustError::Refused(_))) {
            // What it gave before is no good any more either.
            self.kept.invalidate(&key).await;
        }
        match outcome? {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry)
            | CompResult::Removed(entry) => Ok(entry.into_value()),
            CompResult::StillNone(_) => Err(TrustError::Unavailable(KeystoneError::TimedOut)),
        }
    }

    async fn ask(
        &self,
        key: &Key,
        ask: impl Future<Output = Result<IssuedToken, TrustError>> + Send,
    ) -> Result<IssuedToken, TrustError> {
        let asked = ask.await;
        let failed = match &asked {
            Ok(_) => return asked,
            Err(TrustError::Refused(reason)) => Failed::Refused(reason.clone()),
            Err(TrustError::NoTrustee) => Failed::NoTrustee,
            Err(TrustError::Unavailable(_)) => Failed::Unavailable,
        };
        self.failed.insert(key.clone(), failed).await;
        asked
    }

    fn is_good_for_a_while(&self, kept: &IssuedToken) -> bool {
        self.clock.now() < kept.expires_at.plus_micros(-LAST_USE_MICROS)
    }
}

impl IssuedToken {
    /// When it is time for a new one: after four fifths of its life.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.expires_at.since(self.issued_at).max(0);
        self.issued_at.plus_micros(life - life / 5)
    }
}

impl From<Failed> for TrustError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(reason) => Self::Refused(reason),
            Failed::NoTrustee => Self::NoTrustee,
            Failed::Unavailable => Self::Unavailable(KeystoneError::TimedOut),
        }
    }
}
