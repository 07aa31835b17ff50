//! The native driver against the real kernel: this binary is also its own spawner.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests: a surprise is to fail them, and a skip is to be seen"
)]

mod channels;
mod ends;
mod freezer;
mod identity;
mod kit;
mod limits;
mod planted;
mod protocol;
mod run;
mod seats;
mod supervised;
mod walls;
