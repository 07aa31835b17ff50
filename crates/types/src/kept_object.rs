//! What is kept of calls outside the database, as the database knows it.
//!
//! An object is a sequence of parts, each stored under a name of its own. Its row is written before
//! its first part and goes after its last one, so that nothing is ever stored that no row names.

use crate::{InstanceId, ObjectId, ProjectId, Timestamp};

/// An object that is about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewObject {
    /// Its name.
    pub id: ObjectId,
    /// Whose call it belongs to.
    pub project_id: ProjectId,
    /// The server that alone can reach it; `None` where all can.
    pub node: Option<InstanceId>,
    /// Most parts it can get.
    pub max_parts: u32,
    /// From then on it is removed, unless a call has taken it.
    pub remove_after: Timestamp,
}

/// An object that is whole, and belongs to a call from the call's end on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptObject {
    /// Its name.
    pub id: ObjectId,
    /// How many parts it has.
    pub parts: u32,
    /// What it holds, bytes.
    pub bytes: u64,
}

/// An object that no call has (any more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovableObject {
    /// Its name.
    pub id: ObjectId,
    /// Whose it was.
    pub project_id: ProjectId,
    /// It has no more parts than these.
    pub parts: u32,
}
