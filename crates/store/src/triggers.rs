//! What the store keeps of triggers: the part of [`crate::Store`] that they need.

use async_trait::async_trait;
use picasso_types::trigger::{
    Firing, NewFiring, NewTrigger, Trigger, TriggerChange, TriggerState, TriggerType,
};
use picasso_types::{AppId, InstanceId, ProjectId, Timestamp, TriggerId};

use crate::StoreError;

/// What a process writes when it has looked at a trigger that it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerPlan {
    /// When it is to be looked at next; `None`: not by itself.
    pub next_at: Option<Timestamp>,
    /// What its kind keeps of its progress.
    pub progress: Option<String>,
    /// The state it ends in, with the reason, where that changes.
    pub state: Option<(TriggerState, Option<String>)>,
}

/// Triggers and their firings. Errors as for [`crate::Store`].
///
/// A row that cannot be read (damage, something of a later release) is left out of every list, and the log
/// has it once; whoever asks for that very trigger gets `Damaged`.
#[async_trait]
pub trait TriggerStore: Send + Sync + std::fmt::Debug {
    /// Makes a trigger. `TriggerExists` when the project has one of the name; `OverLimit` when it
    /// already has `max_triggers`; `NotFound` when its route is gone.
    async fn create_trigger(&self, new: &NewTrigger, max_triggers: u32) -> Result<Trigger, StoreError>;

    /// The project's trigger of this name or id.
    async fn get_trigger(&self, project: &ProjectId, name_or_id: &str) -> Result<Trigger, StoreError>;

    /// The trigger of this id, of any project.
    async fn get_trigger_by_id(&self, id: &TriggerId) -> Result<Trigger, StoreError>;

    /// The webhook whose URL's token has this SHA-256, in hex.
    async fn get_trigger_by_hook(&self, hook_hash: &str) -> Result<Trigger, StoreError>;

    /// The project's triggers in order of their names.
    async fn list_triggers(&self, project: &ProjectId) -> Result<Vec<Trigger>, StoreError>;

    /// Triggers of a kind, of all projects and in every state, in order of their ids, behind `after`.
    /// Fewer than `limit` are the last.
    async fn list_triggers_of_kind(
        &self,
        kind: TriggerType,
        after: Option<&TriggerId>,
        limit: u32,
    ) -> Result<Vec<Trigger>, StoreError>;

    /// The triggers of an app's routes, of all kinds and in every state.
    async fn list_triggers_of_app(&self, app: &AppId) -> Result<Vec<Trigger>, StoreError>;

    /// Changes a trigger that has this revision; `Changed` when it has another one, `TriggerExists`
    /// when the project has another of the new name. Its lease ends.
    async fn update_trigger(
        &self,
        id: &TriggerId,
        revision: u64,
        change: &TriggerChange,
    ) -> Result<Trigger, StoreError>;

    /// Gives a webhook a new token and key. `Changed` as above.
    async fn rotate_hook(
        &self,
        id: &TriggerId,
        revision: u64,
        hook_hash: &str,
        hook_key: Option<&picasso_types::Sealed>,
        updated_by: &str,
    ) -> Result<Trigger, StoreError>;

    /// Puts a trigger into a state, for a reason of which 500 bytes are kept: the service stops it.
    /// Nothing happens when its revision is another one.
    async fn set_trigger_state(
        &self,
        id: &TriggerId,
        revision: u64,
        state: TriggerState,
        reason: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Deletes a trigger with its firings.
    async fn delete_trigger(&self, id: &TriggerId) -> Result<(), StoreError>;

    /// Takes active triggers of a kind whose time has come and that nobody holds: the longest due
    /// first, until `lease_until`. No trigger is taken by two processes at once. What cannot be read is
    /// put off for five minutes: fewer than `limit` are not always all.
    async fn take_due_triggers(
        &self,
        kind: TriggerType,
        owner: &InstanceId,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Trigger>, StoreError>;

    /// Holds a trigger longer; `false` when `owner` lost it, or somebody changed it.
    async fn hold_trigger(
        &self,
        trigger: &Trigger,
        owner: &InstanceId,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Writes what comes next of a trigger that `owner` took, and gives it back. `false` when `owner`
    /// lost it, or somebody changed it meanwhile: then nothing is written.
    async fn plan_trigger(
        &self,
        trigger: &Trigger,
        owner: &InstanceId,
        plan: &TriggerPlan,
    ) -> Result<bool, StoreError>;

    /// When the first active trigger of a kind is due that nobody holds, or the first lease ends.
    async fn next_due_trigger(&self, kind: TriggerType) -> Result<Option<Timestamp>, StoreError>;

    /// Writes firings down; of each trigger the newest `keep` stay. Those of triggers that are gone
    /// are left out. Accepted ones count.
    async fn record_firings(&self, firings: &[NewFiring], keep: u32) -> Result<(), StoreError>;

    /// The last firings of a trigger, newest first.
    async fn list_firings(&self, trigger: &TriggerId, limit: u32) -> Result<Vec<Firing>, StoreError>;
}
