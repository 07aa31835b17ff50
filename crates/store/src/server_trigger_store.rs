//! [`TriggerStore`] of a database server, compiled once for each such driver as `server_store.rs` is.

use async_trait::async_trait;
use picasso_types::trigger::{
    Firing, NewFiring, NewTrigger, Trigger, TriggerChange, TriggerState, TriggerType,
};
use picasso_types::{AppId, InstanceId, ProjectId, Sealed, Timestamp, TriggerId};

use super::{ServerStore, triggers};
use crate::call_writes::Planning;
use crate::error::Context as _;
use crate::server::{bounded, retried};
use crate::{StoreError, TriggerPlan, TriggerStore};

/// Runs the work in a transaction; again when the server undid it.
macro_rules! write {
    ($self:ident, |$db:ident| $work:expr) => {
        retried($self.answer_timeout, || async {
            let mut transaction = $self.pool.begin().await.context("beginning a transaction")?;
            let $db = &mut *transaction;
            let value = $work.await?;
            transaction.commit().await.context("committing a transaction")?;
            Ok(value)
        })
        .await
    };
}

/// Runs a read.
macro_rules! read {
    ($self:ident, |$db:ident| $work:expr) => {
        bounded($self.answer_timeout, async {
            let mut connection = $self.pool.acquire().await.context("connecting")?;
            let $db = &mut *connection;
            $work.await
        })
        .await
    };
}

#[async_trait]
impl TriggerStore for ServerStore {
    async fn create_trigger(&self, new: &NewTrigger, max_triggers: u32) -> Result<Trigger, StoreError> {
        write!(self, |db| triggers::create(db, new, max_triggers, self.clock.now()))
    }

    async fn get_trigger(&self, project: &ProjectId, name_or_id: &str) -> Result<Trigger, StoreError> {
        read!(self, |db| triggers::get(db, project, name_or_id))
    }

    async fn get_trigger_by_id(&self, id: &TriggerId) -> Result<Trigger, StoreError> {
        read!(self, |db| triggers::load(db, id))
    }

    async fn get_trigger_by_hook(&self, hook_hash: &str) -> Result<Trigger, StoreError> {
        read!(self, |db| triggers::get_by_hook(db, hook_hash))
    }

    async fn list_triggers(&self, project: &ProjectId) -> Result<Vec<Trigger>, StoreError> {
        read!(self, |db| triggers::list(db, project))
    }

    async fn list_triggers_of_kind(
        &self,
        kind: TriggerType,
        after: Option<&TriggerId>,
        limit: u32,
    ) -> Result<Vec<Trigger>, StoreError> {
        read!(self, |db| triggers::list_of_kind(db, kind, after, limit))
    }

    async fn list_triggers_of_app(&self, app: &AppId) -> Result<Vec<Trigger>, StoreError> {
        read!(self, |db| triggers::list_of_app(db, app))
    }

    async fn update_trigger(
        &self,
        id: &TriggerId,
        revision: u64,
        change: &TriggerChange,
    ) -> Result<Trigger, StoreError> {
        write!(self, |db| triggers::update(db, id, revision, change, self.clock.now()))
    }

    async fn rotate_hook(
        &self,
        id: &TriggerId,
        revision: u64,
        hook_hash: &str,
        hook_key: Option<&Sealed>,
        updated_by: &str,
    ) -> Result<Trigger, StoreError> {
        write!(self, |db| {
            triggers::rotate_hook(db, id, revision, (hook_hash, hook_key), updated_by, self.clock.now())
        })
    }

    async fn set_trigger_state(
        &self,
        id: &TriggerId,
        revision: u64,
        state: TriggerState,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        write!(self, |db| triggers::set_state(db, id, revision, (state, reason), self.clock.now()))
    }

    async fn delete_trigger(&self, id: &TriggerId) -> Result<(), StoreError> {
        write!(self, |db| triggers::delete(db, id, self.clock.now()))
    }

    async fn take_due_triggers(
        &self,
        kind: TriggerType,
        owner: &InstanceId,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Trigger>, StoreError> {
        let now = self.clock.now();
        let due = read!(self, |db| triggers::list_due(db, kind, limit, now))?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        write!(self, |db| triggers::take_all(db, &due, owner, lease_until, self.clock.now()))
    }

    async fn hold_trigger(
        &self,
        trigger: &Trigger,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        write!(self, |db| triggers::hold(db, trigger, owner, lease_until))
    }

    async fn plan_trigger(
        &self,
        trigger: &Trigger,
        owner: &InstanceId,
        plan: &TriggerPlan,
    ) -> Result<bool, StoreError> {
        let (trigger, owner, plan) = (trigger.clone(), owner.clone(), plan.clone());
        bounded(self.answer_timeout, self.call_writes.planning.write(Planning { trigger, owner, plan })).await
    }

    async fn next_due_trigger(&self, kind: TriggerType) -> Result<Option<Timestamp>, StoreError> {
        read!(self, |db| triggers::next_due(db, kind))
    }

    async fn record_firings(&self, firings: &[NewFiring], keep: u32) -> Result<(), StoreError> {
        write!(self, |db| triggers::record(db, firings, keep))
    }

    async fn list_firings(&self, trigger: &TriggerId, limit: u32) -> Result<Vec<Firing>, StoreError> {
        read!(self, |db| triggers::list_firings(db, trigger, limit))
    }
}
