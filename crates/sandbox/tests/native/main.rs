//! The native driver against the real kernel: this binary is also its own spawner.

mod kit;
mod run;
