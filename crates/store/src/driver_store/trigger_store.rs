//! [`TriggerStore`] of each driver.

use async_trait::async_trait;
use picasso_types::trigger::{
    Firing, NewFiring, NewTrigger, Trigger, TriggerChange, TriggerState, TriggerType,
};
use picasso_types::{AppId, InstanceId, ProjectId, Sealed, Timestamp, TriggerId};

use super::{DriverStore, batch, read, triggers, write};
use crate::call_writes::Planning;
use crate::{StoreError, TriggerPlan, TriggerStore};

#[async_trait]
impl TriggerStore for DriverStore {
    async fn create_trigger(&self, new: &NewTrigger, max_triggers: u32) -> Result<Trigger, StoreError> {
        write!(self, [new], |db, now| triggers::create(db, new, max_triggers, now))
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
        read!(self, |db| triggers::list(db, project, &self.unreadable))
    }

    async fn list_triggers_of_kind(
        &self,
        kind: TriggerType,
        after: Option<&TriggerId>,
        limit: u32,
    ) -> Result<Vec<Trigger>, StoreError> {
        read!(self, |db| triggers::list_of_kind(db, kind, after, limit, &self.unreadable))
    }

    async fn list_triggers_of_app(&self, app: &AppId) -> Result<Vec<Trigger>, StoreError> {
        read!(self, |db| triggers::list_of_app(db, app, &self.unreadable))
    }

    async fn update_trigger(
        &self,
        id: &TriggerId,
        revision: u64,
        change: &TriggerChange,
    ) -> Result<Trigger, StoreError> {
        write!(self, [id, change], |db, now| triggers::update(db, id, revision, change, now))
    }

    async fn rotate_hook(
        &self,
        id: &TriggerId,
        revision: u64,
        hook_hash: &str,
        hook_key: Option<&Sealed>,
        updated_by: &str,
    ) -> Result<Trigger, StoreError> {
        let hook_key = &hook_key.cloned();
        write!(self, [id, hook_hash, hook_key, updated_by], |db, now| {
            triggers::rotate_hook(db, id, revision, (hook_hash, hook_key.as_ref()), updated_by, now)
        })
    }

    async fn set_trigger_state(
        &self,
        id: &TriggerId,
        revision: u64,
        state: TriggerState,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let reason = &reason.map(str::to_owned);
        write!(self, [id, reason], |db, now| {
            triggers::set_state(db, id, revision, (state, reason.as_deref()), now)
        })
    }

    async fn delete_trigger(&self, id: &TriggerId) -> Result<(), StoreError> {
        write!(self, [id], |db, now| triggers::delete(db, id, now))
    }

    async fn take_due_triggers(
        &self,
        kind: TriggerType,
        owner: &InstanceId,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Trigger>, StoreError> {
        let now = self.clock.now();
        let due = &read!(self, |db| triggers::list_due(db, kind, limit, now))?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let unreadable = &self.unreadable;
        write!(self, [due, owner, unreadable], |db, now| {
            triggers::take_all(db, due, (owner, lease_until), now, unreadable)
        })
    }

    async fn hold_trigger(
        &self,
        trigger: &Trigger,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        write!(self, [trigger, owner], |db, _now| triggers::hold(db, trigger, owner, lease_until))
    }

    async fn plan_trigger(
        &self,
        trigger: &Trigger,
        owner: &InstanceId,
        plan: &TriggerPlan,
    ) -> Result<bool, StoreError> {
        let (trigger, owner, plan) = (trigger.clone(), owner.clone(), plan.clone());
        batch!(self, planning, Planning { trigger, owner, plan })
    }

    async fn next_due_trigger(&self, kind: TriggerType) -> Result<Option<Timestamp>, StoreError> {
        read!(self, |db| triggers::next_due(db, kind))
    }

    async fn record_firings(&self, firings: &[NewFiring], keep: u32) -> Result<(), StoreError> {
        write!(self, [firings], |db, _now| triggers::record(db, firings, keep))
    }

    async fn list_firings(&self, trigger: &TriggerId, limit: u32) -> Result<Vec<Firing>, StoreError> {
        read!(self, |db| triggers::list_firings(db, trigger, limit))
    }
}
