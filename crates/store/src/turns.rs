//! Whose turn it is when the outbox is taken from: arithmetic that all drivers share.

use std::collections::BTreeMap;

use picasso_types::ProjectId;

use crate::{OutboxBatch, OutboxEntry, OutboxTake, QueuedCalls};

/// Projects that one take looks at; the next goes on behind them.
pub(crate) const MAX_PROJECTS: u32 = 64;
/// Entries whose time has come that one take makes `waiting`; the next goes on.
pub(crate) const MAX_RETURNED: u32 = 1000;

/// One take, as it goes from project to project.
pub(crate) struct Turns<'a> {
    take: &'a OutboxTake,
    /// Most for one project in this take, so that all have something of it.
    each: u32,
    batch: OutboxBatch,
}

impl<'a> Turns<'a> {
    /// `projects`: how many have something that waits; `returned`: how many entries came back.
    pub(crate) fn new(take: &'a OutboxTake, projects: usize, returned: u64) -> Self {
        let projects = u32::try_from(projects).unwrap_or(u32::MAX);
        Self {
            take,
            each: (take.limit / projects.max(1)).max(1),
            batch: OutboxBatch {
                entries: Vec::new(),
                after: take.after.clone(),
                more: projects >= MAX_PROJECTS || returned >= u64::from(MAX_RETURNED),
            },
        }
    }

    /// Whether the limit is reached.
    pub(crate) fn is_over(&self) -> bool {
        self.batch.entries.len() >= self.take.limit as usize
    }

    /// How many this process wants of the project, however many are taken already.
    pub(crate) fn wanted(&mut self, project: &ProjectId) -> u32 {
        self.batch.after = Some(project.clone());
        self.take.wanted.get(project).copied().unwrap_or(self.take.per_project)
    }

    /// What the window leaves of them, where `taken` are taken and not claimed.
    pub(crate) fn room(&self, wanted: u32, taken: u32) -> u32 {
        wanted.min(self.take.window.saturating_sub(taken))
    }

    /// How many of that may be taken by this take.
    pub(crate) fn allowed(&self, room: u32) -> u32 {
        let taken = u32::try_from(self.batch.entries.len()).unwrap_or(u32::MAX);
        room.min(self.each).min(self.take.limit.saturating_sub(taken))
    }

    /// Notes what was taken where as many as are allowed were asked for.
    pub(crate) fn took(&mut self, entries: Vec<OutboxEntry>, room: u32) {
        let allowed = self.allowed(room);
        self.batch.more |= entries.len() >= allowed as usize && allowed < room;
        self.batch.entries.extend(entries);
    }

    pub(crate) fn end(self) -> OutboxBatch {
        self.batch
    }
}

/// Puts the states of a project together.
pub(crate) fn by_project(counted: Vec<QueuedCalls>) -> Vec<QueuedCalls> {
    let mut projects: BTreeMap<ProjectId, QueuedCalls> = BTreeMap::new();
    for part in counted {
        match projects.get_mut(&part.project_id) {
            None => drop(projects.insert(part.project_id.clone(), part)),
            Some(all) => {
                all.calls += part.calls;
                all.due_since = [all.due_since, part.due_since].into_iter().flatten().min();
            }
        }
    }
    projects.into_values().collect()
}
