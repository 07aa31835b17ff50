//! [`Store`] of a database server, over the SQL of the modules beside it: reads by the pool, writes
//! in transactions that are tried again when the server undid them, all within a bounded time.
//!
//! Compiled once for each such driver (`mod store` in its folder), with that driver's `apps`,
//! `calls` and so on: they have functions of the same names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_types::outgoing::{Delivery, DeliveryRoom, DeliveryState, NewDelivery, SigningKeys};
use picasso_types::{
    Accepted, AppId, Call, CallFilter, CallId, CallOutcome, CallOutput, Cancelled, Clock, DeliveryId,
    Failure, InstanceId, NewCall, ProjectId, QueueGrant, Retried, RetriedCalls, Sealed, SealedFor, Timestamp,
};

use super::{
    DriverStore, ServerPool, apps, call_batches, calls, changes, deliveries, idempotency, objects, outbox,
    records, routes, triggers,
};
use crate::batches::Batches;
use crate::call_writes::{self, Acceptance, CallWrites, Claim, Ending, Planning};
use crate::error::Context as _;
use crate::sealed_delivery::{self, seal_signing_key};
use crate::sealed_value;
use crate::server::{batch, bounded, retried, write};
use crate::{
    ChangeMark, Changes, ClaimedCall, Lease, OutboxBatch, OutboxTake, ProjectUsage, QueuedCalls, SecretKey,
    Store, StoreError, TakenDelivery,
};

/// Batches of a kind that are on their way at one time: the server syncs them together.
const AT_ONCE: usize = 4;

/// Starts gathering what is written of calls. What the server undid is done again, within `limit`.
pub(super) fn start_writes(
    pool: &ServerPool,
    key: &Arc<SecretKey>,
    clock: &Arc<dyn Clock>,
    limit: Duration,
) -> CallWrites {
    let (to, at) = (pool.clone(), Arc::clone(clock));
    let accepting = Batches::start(AT_ONCE, move |calls: Vec<Arc<Acceptance>>| {
        let (pool, clock) = (to.clone(), Arc::clone(&at));
        async move { retried(limit, || call_batches::accept(&pool, &calls, clock.now())).await }
    });
    let (to, at, key) = (pool.clone(), Arc::clone(clock), Arc::clone(key));
    let claiming = Batches::start(AT_ONCE, move |claims: Vec<Arc<Claim>>| {
        let (pool, clock, key) = (to.clone(), Arc::clone(&at), Arc::clone(&key));
        async move {
            let bodies = bounded(limit, call_batches::bodies(&pool, &claims)).await?;
            let write = async |claims: Vec<Arc<Claim>>| {
                retried(limit, || call_batches::claim(&pool, &claims, clock.now())).await
            };
            let exists = async |id| bounded(limit, calls::get(&pool, &id)).await;
            call_writes::claim(&key, claims, bodies, write, exists).await
        }
    });
    let (to, at) = (pool.clone(), Arc::clone(clock));
    let ending = Batches::start(AT_ONCE, move |endings: Vec<Arc<Ending>>| {
        let (pool, clock) = (to.clone(), Arc::clone(&at));
        async move { retried(limit, || call_batches::finish(&pool, &endings, clock.now())).await }
    });
    let (to, at) = (pool.clone(), Arc::clone(clock));
    let planning = Batches::start(AT_ONCE, move |plans: Vec<Arc<Planning>>| {
        let (pool, clock) = (to.clone(), Arc::clone(&at));
        async move {
            let write = || async {
                let mut transaction = pool.begin().await.context("beginning a transaction")?;
                let planned = triggers::plan_all(&mut transaction, &plans, clock.now()).await?;
                transaction.commit().await.context("committing a transaction")?;
                Ok(planned)
            };
            retried(limit, write).await
        }
    });
    CallWrites { accepting, claiming, ending, planning }
}

impl DriverStore {
    async fn read<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        bounded(self.answer_timeout, work).await
    }

    /// Runs a write; again when the server undid it.
    async fn retried<T, F>(&self, work: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        retried(self.answer_timeout, work).await
    }
}

#[async_trait]
impl Store for DriverStore {
    async fn accept_call(&self, new: &NewCall) -> Result<Accepted, StoreError> {
        let call = Acceptance::seal(&self.key, new)?;
        batch!(self, accepting, call)
    }

    async fn get_call(&self, id: &CallId) -> Result<Call, StoreError> {
        self.read(calls::get(&self.pool, id)).await
    }

    async fn claim_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<Option<ClaimedCall>, StoreError> {
        let claim = Claim { id: id.clone(), owner: owner.clone(), lease_until };
        batch!(self, claiming, claim)
    }

    async fn extend_lease(
        &self,
        id: &CallId,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<Lease, StoreError> {
        self.retried(|| calls::extend_lease(&self.pool, id, owner, lease_until)).await
    }

    async fn release_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        write!(self, |db| calls::release(db, id, owner, not_before, self.clock.now()))
    }

    async fn repeat_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        not_before: Timestamp,
        failure: &Failure,
    ) -> Result<(), StoreError> {
        write!(self, |db| calls::repeat(db, id, owner, not_before, failure, self.clock.now()))
    }

    async fn finish_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        outcome: &CallOutcome,
        output: &CallOutput,
        deliveries: &[NewDelivery],
    ) -> Result<bool, StoreError> {
        let ending = Ending::seal(&self.key, id, owner, outcome, output, deliveries)?;
        batch!(self, ending, ending)
    }

    async fn list_calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError> {
        self.read(records::list(&self.pool, filter)).await
    }

    async fn get_call_output(&self, id: &CallId) -> Result<Option<CallOutput>, StoreError> {
        self.read(records::get_output(&self.pool, &self.key, id)).await
    }

    async fn list_deliveries(&self, call: &CallId) -> Result<Vec<Delivery>, StoreError> {
        self.read(deliveries::list(&self.pool, call)).await
    }

    async fn take_deliveries(
        &self,
        owner: &InstanceId,
        lease_until: Timestamp,
        room: &DeliveryRoom,
    ) -> Result<Vec<TakenDelivery>, StoreError> {
        let now = self.clock.now();
        let due = self.read(deliveries::due_projects(&self.pool, now)).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        self.retried(|| deliveries::take(&self.pool, &self.key, (&due, room), owner, lease_until, now)).await
    }

    async fn end_delivery(
        &self,
        id: &DeliveryId,
        owner: &InstanceId,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.retried(|| deliveries::end(&self.pool, id, owner, state, error, self.clock.now())).await
    }

    async fn put_back_delivery(
        &self,
        id: &DeliveryId,
        owner: &InstanceId,
        not_before: Timestamp,
        error: &str,
    ) -> Result<bool, StoreError> {
        self.retried(|| deliveries::put_back(&self.pool, id, owner, not_before, error)).await
    }

    async fn postpone_deliveries(
        &self,
        ids: &[DeliveryId],
        owner: &InstanceId,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        self.retried(|| deliveries::postpone(&self.pool, ids, owner, not_before)).await
    }

    async fn rotate_signing_key(
        &self,
        app: &AppId,
        key: &[u8],
        previous_until: Timestamp,
    ) -> Result<(), StoreError> {
        let sealed = seal_signing_key(&self.key, app, key)?;
        let key = (self.key.id(), sealed.as_slice());
        self.retried(|| deliveries::rotate_signing_key(&self.pool, app, key, previous_until)).await
    }

    async fn add_signing_key(&self, app: &AppId, key: &[u8]) -> Result<(), StoreError> {
        let sealed = seal_signing_key(&self.key, app, key)?;
        let key = (self.key.id(), sealed.as_slice());
        self.retried(|| deliveries::add_signing_key(&self.pool, app, key)).await
    }

    fn seal(&self, what: SealedFor<'_>, value: &[u8]) -> Result<Sealed, StoreError> {
        sealed_value::seal(&self.key, what, value)
    }

    fn open(&self, what: SealedFor<'_>, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
        sealed_value::open(&self.key, what, sealed)
    }

    fn seal_grant(&self, app: &AppId, shown: QueueGrant, grant: &[u8]) -> Result<QueueGrant, StoreError> {
        sealed_delivery::seal_grant(&self.key, app, shown, grant)
    }

    fn open_grant(&self, app: &AppId, grant: &QueueGrant) -> Result<Vec<u8>, StoreError> {
        sealed_delivery::open_grant(&self.key, app, grant)
    }

    async fn get_signing_keys(&self, app: &AppId) -> Result<Option<SigningKeys>, StoreError> {
        self.read(deliveries::signing_keys(&self.pool, &self.key, app, self.clock.now())).await
    }

    async fn cancel_call(&self, project: &ProjectId, id: &CallId) -> Result<Cancelled, StoreError> {
        write!(self, |db| records::cancel(db, project, id, self.clock.now()))
    }

    async fn retry_call(&self, project: &ProjectId, id: &CallId) -> Result<Retried, StoreError> {
        write!(self, |db| records::retry(db, project, id, self.clock.now()))
    }

    async fn retry_calls(&self, filter: &CallFilter) -> Result<RetriedCalls, StoreError> {
        write!(self, |db| records::retry_all(db, filter, self.clock.now()))
    }

    async fn delete_expired_keys(&self, limit: u32) -> Result<u64, StoreError> {
        self.retried(|| idempotency::delete_expired(&self.pool, limit, self.clock.now())).await
    }

    async fn record_calls(&self, ended: &[Call]) -> Result<(), StoreError> {
        write!(self, |db| records::record(db, ended))
    }

    async fn delete_ended_calls(
        &self,
        before: Timestamp,
        max_per_project: u32,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let ended = self.read(records::count_ended(&self.pool)).await?;
        write!(self, |db| records::delete_ended(db, &ended, before, max_per_project, limit))
    }

    async fn sweep_calls(&self) -> Result<u64, StoreError> {
        self.retried(|| outbox::sweep(&self.pool, self.clock.now())).await
    }

    async fn abandon_leases(&self, owner: &InstanceId) -> Result<u64, StoreError> {
        let now = self.clock.now();
        self.retried(|| deliveries::abandon(&self.pool, owner, now)).await?;
        write!(self, |db| calls::abandon_leases(db, owner, now))
    }

    async fn take_outbox(&self, take: &OutboxTake) -> Result<OutboxBatch, StoreError> {
        if !self.read(outbox::is_anything_due(&self.pool, self.clock.now())).await? {
            return Ok(OutboxBatch { after: take.after.clone(), ..OutboxBatch::default() });
        }
        write!(self, |db| outbox::take(db, take, self.clock.now()))
    }

    async fn return_outbox(&self, calls: &[CallId]) -> Result<(), StoreError> {
        if calls.is_empty() {
            return Ok(());
        }
        self.retried(|| outbox::give_back(&self.pool, calls)).await
    }

    async fn count_queued(&self) -> Result<Vec<QueuedCalls>, StoreError> {
        self.read(outbox::count(&self.pool)).await
    }

    async fn project_usage(&self, project: &ProjectId) -> Result<ProjectUsage, StoreError> {
        Ok(ProjectUsage {
            apps: self.read(apps::count(&self.pool, project)).await?,
            routes: self.read(routes::count(&self.pool, project)).await?,
            triggers: self
                .read(async {
                    let mut connection = self.pool.acquire().await.context("connecting")?;
                    triggers::count(&mut connection, project).await
                })
                .await?,
            queued_calls: self.read(outbox::count_of_project(&self.pool, project)).await?,
            output_bytes: self.read(objects::kept_of_project(&self.pool, project)).await?,
        })
    }

    async fn list_changes(&self, after: Option<ChangeMark>) -> Result<Changes, StoreError> {
        self.read(async {
            let mut turn = self.line.turn().await;
            let mut connection = match turn.take() {
                Some(connection) => connection,
                None => self.connect_beside_pool().await?,
            };
            let changes = changes::list(&mut connection, after).await?;
            turn.ended_well(connection);
            Ok(changes)
        })
        .await
    }

    async fn delete_changes(&self, before: Timestamp) -> Result<(), StoreError> {
        write!(self, |db| changes::delete(db, before))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(async {
            sqlx::query("SELECT 1").execute(&self.pool).await.context("asking the database")?;
            Ok(())
        })
        .await
    }
}
