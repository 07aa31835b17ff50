//! The native driver against the real kernel: this binary is also its own spawner.

mod ends;
mod kit;
mod limits;
mod protocol;
mod run;
mod supervised;
mod walls;
