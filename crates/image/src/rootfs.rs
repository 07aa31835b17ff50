//! What a sandbox driver needs to know of an image.

use picasso_types::Digest;
use serde::{Deserialize, Serialize};

/// An image that is unpacked and ready to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// The manifest's digest.
    pub digest: Digest,
    /// The configuration's digest.
    pub config: Digest,
    /// Its layers' `diff_id`s, lowest first; each is a folder `layers/<hex>`.
    pub layers: Vec<Digest>,
    /// What to run.
    pub process: ImageProcess,
}

/// The process an image describes (OCI image-spec 1.1, config.md), with its user resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageProcess {
    /// Entry point and command, joined; at least one element.
    pub argv: Vec<String>,
    /// `KEY=value` pairs of the image.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute; `/` where the image names none.
    pub cwd: String,
    /// User id inside the sandbox.
    pub uid: u32,
    /// Primary group id inside the sandbox.
    pub gid: u32,
    /// Supplementary group ids inside the sandbox.
    pub groups: Vec<u32>,
}
