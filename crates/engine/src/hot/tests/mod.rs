//! Pools as calls meet them, over fakes.

mod calls;
pub(crate) mod fake;
mod identities;
mod life;
mod memory;
