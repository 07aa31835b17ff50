//! Object storage for what is too large for the database: small bounded parts under names of ours,
//! behind the noun [`ObjectStore`].
//!
//! A large output is a sequence of parts, each an object of its own of at most [`MAX_PART_BYTES`].
//! So a driver needs neither multipart uploads nor lists: a part is there as a whole or not at all,
//! and who wrote its row down first knows every name to delete. What is stored is sealed before it
//! comes here. All drivers pass one conformance suite (`tests/conformance`).

mod error;
mod files;
mod http;
mod name;
mod s3;
mod swift;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::ObjectError;
pub use files::FileObjects;
pub use name::ObjectName;
pub use s3::{S3Objects, S3Settings};
pub use swift::{SwiftAccess, SwiftObjects, SwiftSettings};

/// The largest part that is stored or read, bytes.
pub const MAX_PART_BYTES: usize = 1 << 20;

/// A place for parts. All methods may be called concurrently, and again after an error.
#[async_trait]
pub trait ObjectStore: Send + Sync + std::fmt::Debug {
    /// Stores a part; it is durable when this returns. Takes the place of one of this name.
    async fn put(&self, name: &ObjectName, part: Bytes) -> Result<(), ObjectError>;

    /// Reads a part; `Missing` where there is none of this name.
    async fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError>;

    /// Deletes a part, and what an interrupted [`ObjectStore::put`] left of it. One that is not
    /// there is no error.
    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError>;

    /// Whether only processes of this machine can reach it.
    fn is_local(&self) -> bool;
}
