//! The testkit: starts the real services that tests need, on free ports, in temporary folders.
//!
//! A missing service skips the test locally, with a line that says so, and fails it when
//! `PICASSO_TEST_REQUIRE=all` is set, as CI does.

pub mod aodh;
pub mod barbican;
pub mod broker;
pub mod database;
pub mod docker;
pub mod evidence;
pub mod guest;
pub mod keystone;
pub mod mariadb;
pub mod memcached;
pub mod network;
pub mod nova;
pub mod openstack;
pub mod oslo;
pub mod picasso;
pub mod place;
pub mod postgres;
pub mod process;
pub mod registry;
mod saved;
pub mod swift;
pub mod tls;
pub mod zaqar;
