//! Limits of a project: how much of each resource it may have, and who said so.
//!
//! The names of the resources are those under which operators register limits in Keystone
//! (unified limits); where none is registered the server's own setting counts.

use std::fmt::{Display, Formatter};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::ProjectId;

macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        /// Something of which a project may have only so much.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Resource {
            $($(#[$doc])* $name),+
        }

        impl Resource {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in Keystone and in answers.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }
    };
}

resources! {
    /// Apps.
    Apps = "functions_apps";
    /// Routes of all apps together.
    Routes = "functions_routes";
    /// Triggers of all apps together.
    Triggers = "functions_triggers";
    /// Asynchronous calls that wait to run.
    QueuedCalls = "functions_queued_calls";
    /// Calls at one time on one node, those that wait for a place included.
    ConcurrentCalls = "functions_concurrent_calls";
    /// Calls that may begin in a second on one node.
    CallRate = "functions_calls_per_second";
    /// Memory of sandboxes on one node, MiB, those that wait for their next call included.
    Memory = "functions_memory_mb";
    /// Images on the disk of one node, MiB.
    Images = "functions_image_mb";
    /// Results and logs that are kept, MiB.
    Outputs = "functions_output_mb";
}

impl Resource {
    /// The resource of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|resource| resource.name() == name)
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::of_name(&name).ok_or_else(|| D::Error::custom("no such resource"))
    }
}

/// Who set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// Keystone has it.
    Keystone,
    /// Keystone has none registered, or is not asked: the server's setting.
    Default,
}

impl LimitSource {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keystone => "keystone",
            Self::Default => "default",
        }
    }
}

const MIB: u64 = 1 << 20;

/// Whole MiB that hold so many bytes.
pub const fn mib_of(bytes: u64) -> u64 {
    bytes.div_ceil(MIB)
}

/// How much of a resource a project may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The most; `None` is no limit.
    pub max: Option<u64>,
    /// Who says so.
    pub source: LimitSource,
}

impl Limit {
    /// A limit as Keystone and the settings write it: `-1` is none.
    pub fn from_signed(max: i64, source: LimitSource) -> Self {
        Self { max: u64::try_from(max).ok(), source }
    }

    /// The most; no limit is the largest number.
    pub fn max_u64(&self) -> u64 {
        self.max.unwrap_or(u64::MAX)
    }

    /// The most as bytes, where it is in MiB; no limit is the largest number.
    pub fn max_bytes(&self) -> u64 {
        self.max_u64().saturating_mul(MIB)
    }

    /// The most, where it is counted in 32 bits; no limit is the largest number.
    pub fn max_u32(&self) -> u32 {
        self.max.and_then(|max| max.try_into().ok()).unwrap_or(u32::MAX)
    }
}

/// The limits of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectLimits([Limit; Resource::ALL.len()]);

impl ProjectLimits {
    /// The limits that `limit` tells.
    pub fn new(limit: impl Fn(Resource) -> Limit) -> Self {
        let mut index = 0;
        Self([(); Resource::ALL.len()].map(|()| {
            let resource = Resource::ALL[index];
            index += 1;
            limit(resource)
        }))
    }

    /// The limit of one resource.
    pub fn of(&self, resource: Resource) -> Limit {
        self.0[resource as usize]
    }
}

/// The limits of a project, later.
pub type LimitsFuture<'a> = Pin<Box<dyn Future<Output = Arc<ProjectLimits>> + Send + 'a>>;

/// Knows the limits of projects. Never fails: where nobody can be asked, what was known before
/// counts, and then the server's settings.
pub trait Limits: Send + Sync + std::fmt::Debug {
    /// The limits of a project, asked for where they are not known or were asked for too long ago.
    fn of<'a>(&'a self, project: &'a ProjectId) -> LimitsFuture<'a>;

    /// The limits of a project as far as they are known, for calls, which wait for nobody: if they
    /// were asked for too long ago, or never, somebody is asked meanwhile.
    fn known(&self, project: &ProjectId) -> Arc<ProjectLimits>;
}

/// The same limits for all projects: those of the settings.
#[derive(Debug)]
pub struct FixedLimits(pub Arc<ProjectLimits>);

impl Limits for FixedLimits {
    fn of<'a>(&'a self, _: &'a ProjectId) -> LimitsFuture<'a> {
        Box::pin(std::future::ready(Arc::clone(&self.0)))
    }

    fn known(&self, _: &ProjectId) -> Arc<ProjectLimits> {
        Arc::clone(&self.0)
    }
}

/// A limit that would be passed, in the words of oslo.limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverLimit {
    /// Whose limit.
    pub project: ProjectId,
    /// Of what.
    pub resource: Resource,
    /// The limit.
    pub limit: u64,
    /// How much the project has.
    pub usage: u64,
    /// How much more was asked for.
    pub delta: u64,
}

impl OverLimit {
    /// Whether `delta` more than `usage` passes `limit`.
    pub fn check(
        project: &ProjectId,
        resource: Resource,
        limit: u64,
        usage: u64,
        delta: u64,
    ) -> Result<(), Self> {
        if usage.saturating_add(delta) <= limit {
            return Ok(());
        }
        Err(Self { project: project.clone(), resource, limit, usage, delta })
    }
}

impl OverLimit {
    /// Whether `after` bytes, where there were `before`, pass a limit in MiB.
    pub fn check_bytes(
        project: &ProjectId,
        resource: Resource,
        limit: Limit,
        before: u64,
        after: u64,
    ) -> Result<(), Self> {
        if after <= limit.max_bytes() {
            return Ok(());
        }
        let usage = mib_of(before);
        let delta = mib_of(after).saturating_sub(usage);
        Err(Self { project: project.clone(), resource, limit: limit.max_u64(), usage, delta })
    }
}

/// `oslo_limit.exception.ProjectOverLimit` 2.12.
impl Display for OverLimit {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { project, resource, limit, usage, delta } = self;
        write!(
            f,
            "Project {project} is over a limit for [Resource {} is over limit of {limit} due to current usage \
             {usage} and delta {delta}]",
            resource.name()
        )
    }
}

impl std::error::Error for OverLimit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_its_own_limit_and_name() {
        let limits = ProjectLimits::new(|resource| Limit::from_signed(resource as i64, LimitSource::Default));
        for resource in Resource::ALL {
            assert_eq!(limits.of(*resource).max, Some(*resource as u64));
            assert_eq!(Resource::of_name(resource.name()), Some(*resource));
        }
        assert_eq!(Resource::of_name("cores"), None);
    }

    #[test]
    fn minus_one_is_no_limit() {
        let none = Limit::from_signed(-1, LimitSource::Keystone);
        assert_eq!((none.max, none.max_u32()), (None, u32::MAX));
        assert_eq!(Limit::from_signed(0, LimitSource::Keystone).max, Some(0));
    }

    #[test]
    fn what_lies_on_a_disk_is_limited_in_mib_to_the_byte() {
        let project = ProjectId::parse("p1").unwrap();
        let limit = Limit::from_signed(2, LimitSource::Default);
        let check = |before, after| OverLimit::check_bytes(&project, Resource::Images, limit, before, after);
        assert_eq!(check(MIB, 2 * MIB), Ok(()));
        let over = check(MIB / 2, 2 * MIB + 1).unwrap_err();
        assert_eq!((over.limit, over.usage, over.delta), (2, 1, 2));
        let none = Limit::from_signed(-1, LimitSource::Default);
        assert_eq!(OverLimit::check_bytes(&project, Resource::Images, none, 0, u64::MAX), Ok(()));
    }

    #[test]
    fn a_limit_is_passed_in_the_words_of_oslo_limit() {
        let project = ProjectId::parse("p1").unwrap();
        assert_eq!(OverLimit::check(&project, Resource::Apps, 10, 9, 1), Ok(()));
        let over = OverLimit::check(&project, Resource::Apps, 10, 10, 1).unwrap_err();
        assert_eq!(
            over.to_string(),
            "Project p1 is over a limit for [Resource functions_apps is over limit of 10 due to current usage 10 \
             and delta 1]"
        );
        assert!(OverLimit::check(&project, Resource::Apps, 0, 0, 1).is_err());
        assert!(OverLimit::check(&project, Resource::Apps, u64::MAX - 1, u64::MAX, 1).is_err());
    }
}
