//! The OCI driver: functions started by any OCI runtime (runc, gVisor's runsc, crun, youki), for
//! tenants who need other walls than the native driver's.
//!
//! It shares everything with the native driver up to the launch: the spawner process, its
//! protocol, slots, cgroups, network namespaces, id ranges and image layers. Only what the cloned
//! child does differs: instead of becoming the function it builds the image's root in a mount
//! namespace of its own, writes a bundle there, lets the runtime start it, and stays as its
//! keeper ([`keeper`]) until the function has ended.

mod bundle;
mod driver;
mod faults;
pub(crate) mod keeper;
mod runtime;
mod stage;

pub use driver::OciSandbox;
pub use runtime::find;

pub(crate) use keeper::Runtime;
