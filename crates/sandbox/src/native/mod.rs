//! The native driver: Linux namespaces, cgroups and seccomp, by a small root process.
//!
//! [`NativeSandbox`] is the unprivileged client; the spawner does what needs root.

mod driver;

pub use driver::NativeSandbox;
