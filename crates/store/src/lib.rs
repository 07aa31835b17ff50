//! The store: apps, routes, versions and calls, behind the bare noun [`Store`].
//!
//! What is the same text of SQL for every database is compiled once for each (`*_sql`), and so is what
//! leads to it (`driver_store`); one module per database holds the rest. All drivers pass one conformance
//! suite (`tests/conformance`). A call row is the truth of an asynchronous call: accepting it is one
//! transaction over row, payload and outbox entry.

mod aliases;
mod apps;
mod batches;
mod body_cipher;
mod call_writes;
mod changes;
mod error;
mod identities;
mod line;
mod mariadb;
mod objects;
mod old_versions;
mod placeholders;
mod postgres;
mod preparation;
mod routes;
mod rows;
mod schema;
mod sealed_body;
mod sealed_delivery;
mod sealed_value;
mod server;
mod sqlite;
mod triggers;
mod turns;
mod unreadable;
mod versions;

use std::collections::HashMap;

use async_trait::async_trait;
use picasso_types::outgoing::{Delivery, DeliveryRoom, DeliveryState, NewDelivery, SigningKeys};
use picasso_types::{
    Accepted, AppId, Call, CallFilter, CallId, CallOutcome, CallOutput, Cancelled, DeliveryId, Failure,
    InstanceId, NewCall, ProjectId, QueueGrant, Retried, RetriedCalls, Sealed, SealedFor, Timestamp,
};

pub use aliases::AliasStore;
pub use apps::AppStore;
pub use body_cipher::{SECRET_KEY_BYTES, SecretKey, SecretKeyError};
pub use changes::{ChangeMark, Changed, Changes};
pub use error::StoreError;
pub use identities::IdentityStore;
pub use mariadb::{MariaDbSettings, MariaDbStore};
pub use objects::{KeptObjectStore, KeptOutputs};
pub use postgres::{PostgresSettings, PostgresStore};
pub use routes::RouteStore;
pub use sqlite::{SqliteSettings, SqliteStore};
pub use triggers::{TriggerPlan, TriggerStore};
pub use versions::{PreparingVersion, VersionStore};

/// A call that this instance holds and is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedCall {
    /// The row, already `running`.
    pub call: Call,
    /// The encoded invocation as it was accepted.
    pub envelope: Vec<u8>,
    /// The request body.
    pub payload: Vec<u8>,
}

/// A delivery that this instance holds and is to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenDelivery {
    /// The row, this attempt counted.
    pub delivery: Delivery,
    /// What is sent; `None` when it cannot be read (the key was changed).
    pub content: Option<Vec<u8>>,
}

/// What extending a lease tells the one who runs the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It is extended.
    Held,
    /// It is extended, and somebody wants the call to end.
    CancelRequested,
    /// The call is not held any more: it ended, or another process has it.
    Lost,
}

/// A call that waited in the outbox and is now in the hands of who took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The call.
    pub call_id: CallId,
    /// Its project.
    pub project_id: ProjectId,
    /// 0 to 2; higher runs first.
    pub priority: u8,
}

/// How much of the outbox a process takes at once.
#[derive(Debug, Clone)]
pub struct OutboxTake {
    /// The process.
    pub taken_by: InstanceId,
    /// What nobody has claimed by then waits again.
    pub until: Timestamp,
    /// Most entries in all.
    pub limit: u32,
    /// Most entries of one project that are taken and not claimed, by all processes together.
    /// Several that take at the same moment may pass it once each.
    pub window: u32,
    /// Most entries of one project.
    pub per_project: u32,
    /// The same for projects of which the process wants more, fewer or none.
    pub wanted: HashMap<ProjectId, u32>,
    /// Begins behind this project: where the last one ended ([`OutboxBatch::after`]).
    pub after: Option<ProjectId>,
}

/// What was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxBatch {
    /// Project by project; within one by priority, then by the time they were due.
    pub entries: Vec<OutboxEntry>,
    /// The last project that was looked at.
    pub after: Option<ProjectId>,
    /// There may be more to take at once.
    pub more: bool,
}

/// How much of what is limited by number a project has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectUsage {
    /// Apps.
    pub apps: u64,
    /// Routes of all of them.
    pub routes: u64,
    /// Triggers.
    pub triggers: u64,
    /// Queued calls, those that are not due yet included.
    pub queued_calls: u64,
    /// Results and logs that are kept, bytes.
    pub output_bytes: u64,
}

/// The queued calls of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedCalls {
    /// The project.
    pub project_id: ProjectId,
    /// How many, those that are not due yet included.
    pub calls: u64,
    /// Since when the first of them is due.
    pub due_since: Option<Timestamp>,
}

/// Everything that outlives a process. All methods are safe to call concurrently, from several
/// processes on one database. Errors are [`StoreError`]; a missing row is `NotFound`.
#[async_trait]
pub trait Store:
    AppStore + RouteStore + VersionStore + AliasStore + IdentityStore + TriggerStore + KeptObjectStore
{
    /// Accepts an asynchronous call: row, payload and outbox entry in one transaction that is on
    /// disk when this returns. `NotFound` when the route or its version is gone. A caller that
    /// drops the future before its turn accepted nothing.
    ///
    /// Where the call has an idempotency key that stands for a call of the route already, nothing
    /// is stored and the answer says so; of several calls at one time with one key, one is stored.
    async fn accept_call(&self, new: &NewCall) -> Result<Accepted, StoreError>;

    /// One call.
    async fn get_call(&self, id: &CallId) -> Result<Call, StoreError>;

    /// The calls that a filter lets through, by `created_at` and `id`, newest first.
    async fn list_calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError>;

    /// What is kept of an ended call's result and log; `None` where nothing is.
    async fn get_call_output(&self, id: &CallId) -> Result<Option<CallOutput>, StoreError>;

    /// Takes a `queued` call, or a `running` one whose lease ended (`lost_runs` counts up), for
    /// `owner`: it becomes `running`, `attempt` counts up, its outbox entry goes. `None` when it is finished, held by another, or not due.
    async fn claim_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<Option<ClaimedCall>, StoreError>;

    /// Extends the lease of a call that `owner` holds.
    async fn extend_lease(
        &self,
        id: &CallId,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<Lease, StoreError>;

    /// Gives a call that `owner` holds back to the queue, due at `not_before`, with a new outbox
    /// entry in the same transaction; the attempt does not count.
    async fn release_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        not_before: Timestamp,
    ) -> Result<(), StoreError>;

    /// Gives a call that `owner` holds back to the queue for its next attempt, due at `not_before`,
    /// with a new outbox entry in the same transaction: `failed_runs` counts up, and `failure`
    /// says how the last run ended until the next one does. `NotFound` when `owner` lost it.
    async fn repeat_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        not_before: Timestamp,
        failure: &Failure,
    ) -> Result<(), StoreError>;

    /// Ends a call that `owner` holds and keeps its output (nothing of an empty one). What the
    /// caller sent is deleted when the call succeeded, and kept for a retry otherwise. Its
    /// `deliveries` are made in the same transaction, due now. `false` when `owner` lost it.
    async fn finish_call(
        &self,
        id: &CallId,
        owner: &InstanceId,
        outcome: &CallOutcome,
        output: &CallOutput,
        deliveries: &[NewDelivery],
    ) -> Result<bool, StoreError>;

    /// The deliveries of a call, in the order in which they were made.
    async fn list_deliveries(&self, call: &CallId) -> Result<Vec<Delivery>, StoreError>;

    /// Takes due deliveries for `owner`, as many of each project as there is room for, the longest
    /// due first: their attempts count up, and nobody else gets them before `lease_until`.
    async fn take_deliveries(
        &self,
        owner: &InstanceId,
        lease_until: Timestamp,
        room: &DeliveryRoom,
    ) -> Result<Vec<TakenDelivery>, StoreError>;

    /// Ends a delivery that `owner` holds as `delivered` or `failed`; its content goes. `false` when
    /// `owner` lost it.
    async fn end_delivery(
        &self,
        id: &DeliveryId,
        owner: &InstanceId,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<bool, StoreError>;

    /// Puts a delivery that `owner` holds back until `not_before`, with the reason, of which 500
    /// bytes are kept. `false` when `owner` lost it.
    async fn put_back_delivery(
        &self,
        id: &DeliveryId,
        owner: &InstanceId,
        not_before: Timestamp,
        error: &str,
    ) -> Result<bool, StoreError>;

    /// Puts deliveries that `owner` holds and did not try back until `not_before`; their attempts do
    /// not count.
    async fn postpone_deliveries(
        &self,
        ids: &[DeliveryId],
        owner: &InstanceId,
        not_before: Timestamp,
    ) -> Result<(), StoreError>;

    /// Gives an app a new signing key; the one it had stays beside it until `previous_until`.
    async fn rotate_signing_key(
        &self,
        app: &AppId,
        key: &[u8],
        previous_until: Timestamp,
    ) -> Result<(), StoreError>;

    /// Gives an app its first signing key; one that it has already stays.
    async fn add_signing_key(&self, app: &AppId, key: &[u8]) -> Result<(), StoreError>;

    /// Seals a value of an app or a route; nothing is stored.
    fn seal(&self, what: SealedFor<'_>, value: &[u8]) -> Result<Sealed, StoreError>;

    /// Opens what [`Store::seal`] sealed; `Damaged` where it was sealed for something else.
    fn open(&self, what: SealedFor<'_>, sealed: &Sealed) -> Result<Vec<u8>, StoreError>;

    /// Seals leave to post into a queue for an app's routes: what it is in bytes, and what of it may
    /// be shown (`sealed` and `key_id` of `shown` are filled in). Nothing is stored.
    fn seal_grant(&self, app: &AppId, shown: QueueGrant, grant: &[u8]) -> Result<QueueGrant, StoreError>;

    /// The inverse; `Damaged` for a grant that was sealed for another app.
    fn open_grant(&self, app: &AppId, grant: &QueueGrant) -> Result<Vec<u8>, StoreError>;

    /// The signing keys of an app; `None` when it never got one.
    async fn get_signing_keys(&self, app: &AppId) -> Result<Option<SigningKeys>, StoreError>;

    /// Cancels a `queued` call of the project at once, its outbox entry with it; what the caller
    /// sent is kept for a retry. Of a `running` one it notes the wish, which
    /// [`Store::list_changes`] and [`Store::extend_lease`] tell. `NotFound` when the project has no such call.
    async fn cancel_call(&self, project: &ProjectId, id: &CallId) -> Result<Cancelled, StoreError>;

    /// Queues an ended call of the project that did not succeed again, due now, with a new outbox
    /// entry in the same transaction: its outcome and output go, `attempt` counts on. `NotFound`
    /// when the project has no such call.
    async fn retry_call(&self, project: &ProjectId, id: &CallId) -> Result<Retried, StoreError>;

    /// [`Store::retry_call`] for the ended calls that a filter lets through and whose body is kept,
    /// the oldest first, in one transaction; `after` is not looked at. Calls that succeeded are
    /// never among them.
    async fn retry_calls(&self, filter: &CallFilter) -> Result<RetriedCalls, StoreError>;

    /// Deletes idempotency keys whose window is over: up to `limit`. Returns how many.
    async fn delete_expired_keys(&self, limit: u32) -> Result<u64, StoreError>;

    /// Writes down calls that have ended already and were never accepted here (synchronous ones):
    /// rows only. Ids that are there already are left alone.
    async fn record_calls(&self, ended: &[Call]) -> Result<(), StoreError>;

    /// Deletes calls without waiting deliveries, with all that is kept of them, that ended before `before`, and of each
    /// project those that ended first beyond `max_per_project` ended ones: up to `limit` in all.
    /// Returns how many.
    async fn delete_ended_calls(
        &self,
        before: Timestamp,
        max_per_project: u32,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Puts an outbox entry for every `running` call whose lease ended and that has none. Returns
    /// how many; at most a driver's batch at a time.
    async fn sweep_calls(&self) -> Result<u64, StoreError>;

    /// What an earlier process of this state folder held: ends its leases at once, those of deliveries,
    /// too, and what it took of the outbox waits again. Returns how many leases of calls.
    async fn abandon_leases(&self, owner: &InstanceId) -> Result<u64, StoreError>;

    /// Takes due entries of the outbox, the projects in turn, so that a long queue of one does not
    /// hold up the others. No entry is taken by two processes at once. An entry that was taken and
    /// is not claimed in time waits again, and is found by this method, too.
    async fn take_outbox(&self, take: &OutboxTake) -> Result<OutboxBatch, StoreError>;

    /// Entries that were taken in vain wait again at once; others are left alone.
    async fn return_outbox(&self, calls: &[CallId]) -> Result<(), StoreError>;

    /// The queued calls by project; only of those that have any. Reads the whole outbox by an index.
    async fn count_queued(&self) -> Result<Vec<QueuedCalls>, StoreError>;

    /// How much of what is limited by number a project has. Counted by indexes.
    async fn project_usage(&self, project: &ProjectId) -> Result<ProjectUsage, StoreError>;

    /// What was changed in apps, routes and versions since `after`, by whatever process, and where
    /// to go on; [`Changed::Anything`] without a mark. No change that was committed before this is
    /// asked is ever left out, also when transactions commit in another order than they began.
    /// Where it does not return, the caller stops waiting; the next one works on a new connection.
    async fn list_changes(&self, after: Option<ChangeMark>) -> Result<Changes, StoreError>;

    /// Forgets changes that were made before `before`, but for the newest.
    async fn delete_changes(&self, before: Timestamp) -> Result<(), StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
