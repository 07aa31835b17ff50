//! [`Store`] over the SQL of the modules beside this one: reads go to the readers, writes to the
//! writer, each with the time at which it runs.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_types::outgoing::{Delivery, DeliveryRoom, DeliveryState, NewDelivery, SigningKeys};
use picasso_types::{
    Accepted, AppId, Call, CallFilter, CallId, CallOutcome, CallOutput, Cancelled, DeliveryId, Failure,
    InstanceId, NewCall, ProjectId, QueueGrant, Retried, RetriedCalls, Sealed, SealedFor, Timestamp,
};

use super::{
    SqliteStore, apps, batch, calls, changes, deliveries, idempotency, objects, outbox, records, routes,
    triggers,
};
use crate::call_writes::{Acceptance, Claim, Ending};
use crate::error::Context as _;
use crate::rows;
use crate::sealed_delivery::{self, seal_signing_key};
use crate::sealed_value;
use crate::{
    ChangeMark, Changes, ClaimedCall, Lease, OutboxBatch, OutboxTake, ProjectUsage, QueuedCalls, Store,
    StoreError, TakenDelivery,
};

#[async_trait]
impl Store for SqliteStore {
    async fn accept_call(&self, new: &NewCall) -> Result<Accepted, StoreError> {
        batch!(self, accepting, Acceptance::seal(&self.key, new)?)
    }

    async fn get_call(&self, id: &CallId) -> Result<Call, StoreError> {
        calls::get(&self.readers, id).await
    }

    async fn list_calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError> {
        records::list(&self.readers, filter).await
    }

    async fn get_call_output(&self, id: &CallId) -> Result<Option<CallOutput>, StoreError> {
        records::get_output(&self.readers, &self.key, id).await
    }

    async fn claim_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<Option<ClaimedCall>, StoreError> {
        batch!(self, claiming, Claim { id: id.clone(), owner: owner.clone(), lease_until })
    }

    async fn extend_lease(
        &self,
        id: &CallId,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<Lease, StoreError> {
        let (id, owner) = (id.clone(), owner.clone());
        self.writer
            .run(move |db| Box::pin(async move { calls::extend_lease(db, &id, &owner, lease_until).await }))
            .await
    }

    async fn release_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, owner, clock) = (id.clone(), owner.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move { calls::release(db, &id, &owner, not_before, clock.now()).await })
            })
            .await
    }

    async fn repeat_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        not_before: Timestamp,
        failure: &Failure,
    ) -> Result<(), StoreError> {
        let (id, owner, failure) = (id.clone(), owner.clone(), failure.clone());
        let clock = Arc::clone(&self.clock);
        self.writer
            .run(move |db| {
                Box::pin(
                    async move { calls::repeat(db, &id, &owner, not_before, &failure, clock.now()).await },
                )
            })
            .await
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

    async fn list_deliveries(&self, call: &CallId) -> Result<Vec<Delivery>, StoreError> {
        deliveries::list(&self.readers, call).await
    }

    async fn take_deliveries(
        &self,
        owner: &InstanceId,
        lease_until: Timestamp,
        room: &DeliveryRoom,
    ) -> Result<Vec<TakenDelivery>, StoreError> {
        // Looked for apart, so that the writer hears of it only when there are any.
        let due = deliveries::due_projects(&self.readers, self.clock.now()).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let (owner, room) = (owner.clone(), room.clone());
        let (key, clock) = (Arc::clone(&self.key), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    deliveries::take(db, &key, (&due, &room), &owner, lease_until, clock.now()).await
                })
            })
            .await
    }

    async fn end_delivery(
        &self,
        id: &DeliveryId,
        owner: &InstanceId,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<bool, StoreError> {
        let (id, owner, error) = (id.clone(), owner.clone(), error.map(str::to_owned));
        let clock = Arc::clone(&self.clock);
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    deliveries::end(db, &id, &owner, state, error.as_deref(), clock.now()).await
                })
            })
            .await
    }

    async fn put_back_delivery(
        &self,
        id: &DeliveryId,
        owner: &InstanceId,
        not_before: Timestamp,
        error: &str,
    ) -> Result<bool, StoreError> {
        let (id, owner, error) = (id.clone(), owner.clone(), error.to_owned());
        self.writer
            .run(move |db| {
                Box::pin(async move { deliveries::put_back(db, &id, &owner, not_before, &error).await })
            })
            .await
    }

    async fn postpone_deliveries(
        &self,
        ids: &[DeliveryId],
        owner: &InstanceId,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let (ids, owner) = (ids.to_vec(), owner.clone());
        self.writer
            .run(move |db| Box::pin(async move { deliveries::postpone(db, &ids, &owner, not_before).await }))
            .await
    }

    async fn rotate_signing_key(
        &self,
        app: &AppId,
        key: &[u8],
        previous_until: Timestamp,
    ) -> Result<(), StoreError> {
        let sealed = seal_signing_key(&self.key, app, key)?;
        let (app, key_id) = (app.clone(), self.key.id().to_owned());
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    deliveries::rotate_signing_key(db, &app, (&key_id, &sealed), previous_until).await
                })
            })
            .await
    }

    async fn add_signing_key(&self, app: &AppId, key: &[u8]) -> Result<(), StoreError> {
        let sealed = seal_signing_key(&self.key, app, key)?;
        let (app, key_id) = (app.clone(), self.key.id().to_owned());
        self.writer
            .run(move |db| {
                Box::pin(async move { deliveries::add_signing_key(db, &app, (&key_id, &sealed)).await })
            })
            .await
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
        deliveries::signing_keys(&self.readers, &self.key, app, self.clock.now()).await
    }

    async fn cancel_call(&self, project: &ProjectId, id: &CallId) -> Result<Cancelled, StoreError> {
        let (project, id, clock) = (project.clone(), id.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { records::cancel(db, &project, &id, clock.now()).await }))
            .await
    }

    async fn retry_call(&self, project: &ProjectId, id: &CallId) -> Result<Retried, StoreError> {
        let (project, id, clock) = (project.clone(), id.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { records::retry(db, &project, &id, clock.now()).await }))
            .await
    }

    async fn retry_calls(&self, filter: &CallFilter) -> Result<RetriedCalls, StoreError> {
        let (filter, clock) = (filter.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { records::retry_all(db, &filter, clock.now()).await }))
            .await
    }

    async fn delete_expired_keys(&self, limit: u32) -> Result<u64, StoreError> {
        let clock = Arc::clone(&self.clock);
        self.writer
            .run(move |db| Box::pin(async move { idempotency::delete_expired(db, limit, clock.now()).await }))
            .await
    }

    async fn record_calls(&self, ended: &[Call]) -> Result<(), StoreError> {
        let ended = ended.to_vec();
        self.writer.run(move |db| Box::pin(async move { records::record(db, &ended).await })).await
    }

    async fn delete_ended_calls(
        &self,
        before: Timestamp,
        max_per_project: u32,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let ended = records::count_ended(&self.readers).await?;
        self.writer
            .run(move |db| {
                Box::pin(
                    async move { records::delete_ended(db, &ended, before, max_per_project, limit).await },
                )
            })
            .await
    }

    async fn sweep_calls(&self) -> Result<u64, StoreError> {
        let clock = Arc::clone(&self.clock);
        self.writer.run(move |db| Box::pin(async move { outbox::sweep(db, clock.now()).await })).await
    }

    async fn abandon_leases(&self, owner: &InstanceId) -> Result<u64, StoreError> {
        let (owner, clock) = (owner.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    deliveries::abandon(db, &owner, clock.now()).await?;
                    calls::abandon_leases(db, &owner, clock.now()).await
                })
            })
            .await
    }

    async fn take_outbox(&self, take: &OutboxTake) -> Result<OutboxBatch, StoreError> {
        if !outbox::is_anything_due(&self.readers, self.clock.now()).await? {
            return Ok(OutboxBatch { after: take.after.clone(), ..OutboxBatch::default() });
        }
        let (take, clock) = (take.clone(), Arc::clone(&self.clock));
        self.writer.run(move |db| Box::pin(async move { outbox::take(db, &take, clock.now()).await })).await
    }

    async fn return_outbox(&self, calls: &[CallId]) -> Result<(), StoreError> {
        if calls.is_empty() {
            return Ok(());
        }
        let calls: Vec<&str> = calls.iter().map(CallId::as_str).collect();
        let calls = rows::to_json("calls", &calls)?;
        self.writer.run(move |db| Box::pin(async move { outbox::give_back(db, &calls).await })).await
    }

    async fn count_queued(&self) -> Result<Vec<QueuedCalls>, StoreError> {
        outbox::count(&self.readers).await
    }

    async fn project_usage(&self, project: &ProjectId) -> Result<ProjectUsage, StoreError> {
        Ok(ProjectUsage {
            apps: apps::count(&self.readers, project).await?,
            routes: routes::count(&self.readers, project).await?,
            triggers: {
                let mut connection = self.readers.acquire().await.context("connecting")?;
                triggers::count(&mut connection, project).await?
            },
            queued_calls: outbox::count_of_project(&self.readers, project).await?,
            output_bytes: objects::kept_of_project(&self.readers, project).await?,
        })
    }

    async fn list_changes(&self, after: Option<ChangeMark>) -> Result<Changes, StoreError> {
        changes::list(&self.readers, after).await
    }

    async fn delete_changes(&self, before: Timestamp) -> Result<(), StoreError> {
        self.writer.run(move |db| Box::pin(async move { changes::delete(db, before).await })).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        if !self.writer.is_alive() {
            return Err(StoreError::Database { context: "writing", source: "the writer has ended".into() });
        }
        sqlx::query("SELECT 1").execute(&self.readers).await.context("asking the database")?;
        Ok(())
    }
}
