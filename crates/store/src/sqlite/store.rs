//! [`Store`] over the SQL of the modules beside this one: reads go to the readers, writes to the
//! writer, each with the time at which it runs.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_types::outgoing::{Delivery, DeliveryRoom, DeliveryState, NewDelivery, SigningKeys};
use picasso_types::{
    Accepted, Alias, AliasName, AliasSpec, App, AppChange, AppId, Call, CallFilter, CallId, CallOutcome,
    CallOutput, Cancelled, DeliveryId, Digest, Failure, FullName, InstanceId, NewApp, NewCall, NewObject,
    NewRoute, ObjectId, ProjectId, QueueGrant, RemovableObject, Retried, RetriedCalls, Route, RouteChange,
    RouteId, RouteIdentity, RouteVersion, Sealed, SealedFor, Timestamp, TrustId, TrustRevocation, VersionId,
    WebhookChange,
};

use super::{
    SqliteStore, aliases, apps, batch, calls, changes, deliveries, idempotency, identities, objects, outbox,
    records, routes, triggers, versions,
};
use crate::call_writes::{Acceptance, Claim, Ending};
use crate::error::Context as _;
use crate::rows;
use crate::sealed_delivery::{self, seal_signing_key};
use crate::sealed_value;
use crate::{
    ChangeMark, Changes, ClaimedCall, KeptOutputs, Lease, OutboxBatch, OutboxTake, PreparingVersion,
    ProjectUsage, QueuedCalls, Store, StoreError, TakenDelivery,
};

#[async_trait]
impl Store for SqliteStore {
    async fn create_app(&self, new: &NewApp, max_apps: u32) -> Result<App, StoreError> {
        let (new, clock) = (new.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { apps::create(db, &new, max_apps, clock.now()).await }))
            .await
    }

    async fn get_app(&self, project: &ProjectId, name: &str) -> Result<App, StoreError> {
        apps::get(&self.readers, project, name).await
    }

    async fn get_app_by_id(&self, id: &AppId) -> Result<App, StoreError> {
        apps::load(&self.readers, id).await
    }

    async fn get_app_by_full_name(&self, name: &FullName) -> Result<App, StoreError> {
        apps::get_by_full_name(&self.readers, name).await
    }

    async fn list_apps(&self, project: &ProjectId) -> Result<Vec<App>, StoreError> {
        apps::list(&self.readers, project).await
    }

    async fn update_app(&self, id: &AppId, change: &AppChange, changed_by: &str) -> Result<App, StoreError> {
        let (id, change, changed_by) = (id.clone(), change.clone(), changed_by.to_owned());
        let clock = Arc::clone(&self.clock);
        self.writer
            .run(move |db| {
                Box::pin(async move { apps::update(db, &id, &change, &changed_by, clock.now()).await })
            })
            .await
    }

    async fn delete_app(&self, id: &AppId) -> Result<(), StoreError> {
        let (id, clock) = (id.clone(), Arc::clone(&self.clock));
        self.writer.run(move |db| Box::pin(async move { apps::delete(db, &id, clock.now()).await })).await
    }

    async fn create_route(
        &self,
        app: &AppId,
        new: &NewRoute,
        resolved: Option<&Digest>,
        max_routes: u32,
    ) -> Result<Route, StoreError> {
        let (app, new, resolved) = (app.clone(), new.clone(), resolved.cloned());
        let clock = Arc::clone(&self.clock);
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    routes::create(db, &app, &new, resolved.as_ref(), max_routes, clock.now()).await
                })
            })
            .await
    }

    async fn get_route(&self, app: &AppId, pattern: &str) -> Result<Route, StoreError> {
        routes::get(&self.readers, app, pattern).await
    }

    async fn get_route_by_id(&self, id: &RouteId) -> Result<Route, StoreError> {
        routes::load(&self.readers, id).await
    }

    async fn list_routes(&self, app: &AppId) -> Result<Vec<Route>, StoreError> {
        routes::list(&self.readers, app).await
    }

    async fn update_route(
        &self,
        id: &RouteId,
        change: &RouteChange,
        resolved: Option<&Digest>,
    ) -> Result<Route, StoreError> {
        let (id, change, resolved) = (id.clone(), change.clone(), resolved.cloned());
        let clock = Arc::clone(&self.clock);
        self.writer
            .run(move |db| {
                Box::pin(
                    async move { routes::update(db, &id, &change, resolved.as_ref(), clock.now()).await },
                )
            })
            .await
    }

    async fn delete_route(&self, id: &RouteId) -> Result<(), StoreError> {
        let (id, clock) = (id.clone(), Arc::clone(&self.clock));
        self.writer.run(move |db| Box::pin(async move { routes::delete(db, &id, clock.now()).await })).await
    }

    async fn get_version(&self, id: &VersionId) -> Result<RouteVersion, StoreError> {
        versions::get(&self.readers, id).await
    }

    async fn get_route_version(&self, route: &RouteId, number: u32) -> Result<RouteVersion, StoreError> {
        versions::get_of_route(&self.readers, route, number).await
    }

    async fn list_versions(
        &self,
        route: &RouteId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<RouteVersion>, StoreError> {
        versions::list(&self.readers, route, before, limit).await
    }

    async fn roll_back(
        &self,
        route: &RouteId,
        number: u32,
        rolled_back_by: &str,
    ) -> Result<Route, StoreError> {
        let (route, by, clock) = (route.clone(), rolled_back_by.to_owned(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move { routes::roll_back(db, &route, number, &by, clock.now()).await })
            })
            .await
    }

    async fn delete_old_versions(&self, keep: u32, max_routes: u32) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for route in versions::list_routes_with_old(&self.readers, keep, max_routes).await? {
            let clock = Arc::clone(&self.clock);
            deleted += self
                .writer
                .run(move |db| {
                    Box::pin(async move { versions::delete_old(db, &route, keep, clock.now()).await })
                })
                .await?;
        }
        Ok(deleted)
    }

    async fn create_alias(
        &self,
        route: &RouteId,
        name: &AliasName,
        spec: &AliasSpec,
        created_by: &str,
        max_aliases: u32,
    ) -> Result<Alias, StoreError> {
        let (route, name, spec, by) = (route.clone(), name.clone(), spec.clone(), created_by.to_owned());
        let clock = Arc::clone(&self.clock);
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    aliases::create(db, &route, &name, &spec, &by, max_aliases, clock.now()).await
                })
            })
            .await
    }

    async fn get_alias(&self, route: &RouteId, name: &AliasName) -> Result<Alias, StoreError> {
        aliases::get(&self.readers, route, name).await
    }

    async fn list_aliases(&self, route: &RouteId) -> Result<Vec<Alias>, StoreError> {
        aliases::list(&self.readers, route).await
    }

    async fn list_app_aliases(&self, app: &AppId) -> Result<(Vec<Alias>, Vec<RouteVersion>), StoreError> {
        let aliases = aliases::list_of_app(&self.readers, app).await?;
        if aliases.is_empty() {
            return Ok((aliases, Vec::new()));
        }
        Ok((aliases, aliases::list_versions_of_app(&self.readers, app).await?))
    }

    async fn update_alias(
        &self,
        route: &RouteId,
        name: &AliasName,
        spec: &AliasSpec,
        expected: Option<&Alias>,
        updated_by: &str,
    ) -> Result<Alias, StoreError> {
        let (route, name, spec, by) = (route.clone(), name.clone(), spec.clone(), updated_by.to_owned());
        let (expected, clock) = (expected.cloned(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    aliases::update(db, &route, &name, &spec, expected.as_ref(), &by, clock.now()).await
                })
            })
            .await
    }

    async fn delete_alias(&self, route: &RouteId, name: &AliasName) -> Result<(), StoreError> {
        let (route, name, clock) = (route.clone(), name.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { aliases::delete(db, &route, &name, clock.now()).await }))
            .await
    }

    async fn set_version_ready(&self, id: &VersionId, digest: &Digest) -> Result<(), StoreError> {
        let (id, digest, clock) = (id.clone(), digest.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { versions::set_ready(db, &id, &digest, clock.now()).await }))
            .await
    }

    async fn set_version_failed(&self, id: &VersionId, error: &str) -> Result<(), StoreError> {
        let (id, error, clock) = (id.clone(), error.to_owned(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { versions::set_failed(db, &id, &error, clock.now()).await }))
            .await
    }

    async fn lease_preparation(
        &self,
        id: &VersionId,
        owner: &InstanceId,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, owner, clock) = (id.clone(), owner.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(
                    async move { versions::lease_preparation(db, &id, &owner, until, clock.now()).await },
                )
            })
            .await
    }

    async fn list_kept_warm(&self) -> Result<Vec<AppId>, StoreError> {
        versions::list_kept_warm(&self.readers).await
    }

    async fn list_preparing_versions(&self) -> Result<Vec<PreparingVersion>, StoreError> {
        versions::list_preparing(&self.readers).await
    }

    async fn list_referenced_digests(&self) -> Result<Vec<Digest>, StoreError> {
        versions::list_referenced_digests(&self.readers).await
    }

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

    async fn change_webhook(
        &self,
        route: &RouteId,
        change: &WebhookChange,
        previous_until: Timestamp,
    ) -> Result<Route, StoreError> {
        let (id, change, clock) = (route.clone(), change.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    routes::change_webhook(db, &id, &change, previous_until, clock.now()).await
                })
            })
            .await
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

    async fn begin_object(&self, new: &NewObject) -> Result<(), StoreError> {
        let new = new.clone();
        self.writer.run(move |db| Box::pin(async move { objects::begin(db, &new).await })).await
    }

    async fn abandon_objects(&self, ids: &[ObjectId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.writer.run(move |db| Box::pin(async move { objects::abandon(db, &ids).await })).await
    }

    async fn list_removable_objects(
        &self,
        node: &InstanceId,
        limit: u32,
    ) -> Result<Vec<RemovableObject>, StoreError> {
        objects::list_removable(&self.readers, node, limit, self.clock.now()).await
    }

    async fn forget_objects(&self, ids: &[ObjectId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.writer.run(move |db| Box::pin(async move { objects::forget(db, &ids).await })).await
    }

    async fn list_kept_outputs(&self, limit: u32) -> Result<Vec<KeptOutputs>, StoreError> {
        objects::list_kept(&self.readers, limit).await
    }

    async fn delete_outputs_beyond(
        &self,
        project: &ProjectId,
        max_bytes: u64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let calls = objects::list_beyond(&self.readers, project, max_bytes, limit).await?;
        self.writer.run(move |db| Box::pin(async move { objects::delete_outputs(db, &calls).await })).await
    }

    async fn get_identity(&self, route: &RouteId) -> Result<RouteIdentity, StoreError> {
        identities::get(&self.readers, route).await
    }

    async fn set_identity(
        &self,
        identity: &RouteIdentity,
        seen_number: u32,
        expected: Option<&RouteIdentity>,
    ) -> Result<(), StoreError> {
        let (identity, expected, clock) = (identity.clone(), expected.cloned(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move {
                    identities::set(db, &identity, seen_number, expected.as_ref(), clock.now()).await
                })
            })
            .await
    }

    async fn consent_to_identity(&self, seen: &RouteIdentity) -> Result<RouteIdentity, StoreError> {
        let (seen, clock) = (seen.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { identities::consent(db, &seen, clock.now()).await }))
            .await
    }

    async fn delete_identity(
        &self,
        route: &RouteId,
        expected: Option<&RouteIdentity>,
    ) -> Result<(), StoreError> {
        let (route, expected, clock) = (route.clone(), expected.cloned(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| {
                Box::pin(async move { identities::delete(db, &route, expected.as_ref(), clock.now()).await })
            })
            .await
    }

    async fn add_trust_revocation(&self, trust: &TrustId) -> Result<(), StoreError> {
        let (trust, clock) = (trust.clone(), Arc::clone(&self.clock));
        self.writer
            .run(move |db| Box::pin(async move { identities::add_revocation(db, &trust, clock.now()).await }))
            .await
    }

    async fn list_trust_revocations(&self, limit: u32) -> Result<Vec<TrustRevocation>, StoreError> {
        identities::list_revocations(&self.readers, limit, self.clock.now()).await
    }

    async fn put_off_trust_revocation(&self, trust: &TrustId, until: Timestamp) -> Result<(), StoreError> {
        let trust = trust.clone();
        self.writer
            .run(move |db| Box::pin(async move { identities::put_off_revocation(db, &trust, until).await }))
            .await
    }

    async fn forget_trust_revocation(&self, trust: &TrustId) -> Result<(), StoreError> {
        let trust = trust.clone();
        self.writer
            .run(move |db| Box::pin(async move { identities::forget_revocation(db, &trust).await }))
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
