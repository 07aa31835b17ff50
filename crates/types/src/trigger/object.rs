//! Options of subscriptions to changes of objects in Swift.

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Which changes of objects a trigger takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawObject", into = "RawObject")]
pub struct ObjectOptions {
    /// The container, in the account of the trigger's project.
    pub container: String,
    /// Only objects whose names begin so.
    pub prefix: Option<String>,
    /// Only objects whose names end so.
    pub suffix: Option<String>,
    /// What must have happened.
    pub operations: Vec<ObjectOperation>,
    /// Whether changes that the function made itself count.
    pub allow_self: bool,
    /// It is stopped when more events than this come within a minute.
    pub max_per_minute: u32,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectOperation {
    /// It was written.
    Put,
    /// It was made as a copy.
    Copy,
    /// Its metadata were changed.
    Post,
    /// It was deleted.
    Delete,
    /// The manifest of a large object was written: all its segments are there.
    SegmentsCompleted,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawObject {
    container: String,
    prefix: Option<String>,
    suffix: Option<String>,
    operations: Option<Vec<ObjectOperation>>,
    #[serde(default)]
    allow_self: bool,
    #[serde(default = "ten_a_second")]
    max_per_minute: u32,
}

const fn ten_a_second() -> u32 {
    600
}

impl TryFrom<RawObject> for ObjectOptions {
    type Error = FieldFault;

    fn try_from(raw: RawObject) -> Result<Self, FieldFault> {
        let RawObject { container, prefix, suffix, operations, allow_self, max_per_minute } = raw;
        if !(1..=256).contains(&container.len()) || container.contains(['/', '\0']) {
            return Err(FieldFault::new(
                "container",
                "must be the name of a container: 1 to 256 bytes without \"/\"",
            ));
        }
        for (name, value) in [("prefix", &prefix), ("suffix", &suffix)] {
            if value.as_ref().is_some_and(|text| !(1..=1024).contains(&text.len())) {
                return Err(FieldFault::new(name, "must be 1 to 1024 bytes of an object's name"));
            }
        }
        let mut operations = operations.unwrap_or_else(|| {
            vec![ObjectOperation::Put, ObjectOperation::Copy, ObjectOperation::SegmentsCompleted]
        });
        operations.sort_by_key(|operation| *operation as u8);
        operations.dedup();
        if operations.is_empty() {
            return Err(FieldFault::new(
                "operations",
                "must name at least one of put, copy, post, delete and segments_completed",
            ));
        }
        if !(1..=60_000).contains(&max_per_minute) {
            return Err(FieldFault::new("max_per_minute", "must be from 1 to 60000"));
        }
        Ok(Self { container, prefix, suffix, operations, allow_self, max_per_minute })
    }
}

impl From<ObjectOptions> for RawObject {
    fn from(options: ObjectOptions) -> Self {
        let ObjectOptions { container, prefix, suffix, operations, allow_self, max_per_minute } = options;
        Self { container, prefix, suffix, operations: Some(operations), allow_self, max_per_minute }
    }
}
