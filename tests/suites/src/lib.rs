//! Suites that look at the whole: the layering of the workspace, and the running service from
//! outside. The tests are under `tests/`; what several of them need is here.

pub mod cloud;
pub mod example;
pub mod host;
pub mod modules;
pub mod nodes;
pub mod object_events;
pub mod openstack;
pub mod runs;
pub mod web;
