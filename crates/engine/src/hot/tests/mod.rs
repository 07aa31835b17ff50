//! Pools as calls meet them, over fakes.

mod calls;
mod fake;
mod life;
mod memory;
