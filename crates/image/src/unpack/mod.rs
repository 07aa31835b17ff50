//! Unpacking layers: what the confined unpacker process runs, and a check that writes nothing.
//!
//! [`LayerFolder`] is the disk side: `layers/<diff_id hex>` for each unpacked layer, made under
//! a temporary name and renamed when whole. [`InspectOnly`] applies the same rules without
//! writing, for servers whose only driver is Docker.

mod disk;
mod folder;
mod inspect;
mod model;
mod path;
mod source;
mod walk;

use std::fs::File;

use picasso_types::Digest;
use source::LayerStream;
use walk::{Sink, walk};

pub use folder::LayerFolder;
pub use inspect::InspectOnly;
pub(crate) use source::inflate;

use crate::tarball::TarReader;
use crate::{UnpackBounds, UnpackError, UnpackedLayer};

/// Feeds a layer to `sink` and checks its digest.
fn read_layer(
    blob: File,
    diff_id: &Digest,
    bounds: UnpackBounds,
    sink: &mut dyn Sink,
) -> Result<UnpackedLayer, UnpackError> {
    // Headers and padding beside the content: at most four blocks for an ordinary entry.
    let max_read =
        bounds.max_bytes.saturating_add(bounds.max_inodes.saturating_mul(2048)).saturating_add(1 << 20);
    let mut stream = LayerStream::open(blob, max_read, bounds.timeout)?;
    let walked = walk(&mut TarReader::new(&mut stream), sink, bounds)?;
    let (digest, tar_bytes) = stream.finish();
    if digest != *diff_id {
        return Err(UnpackError::Refused(format!(
            "a layer's content has the digest {digest}, but the image says {diff_id}"
        )));
    }
    Ok(UnpackedLayer {
        diff_id: digest,
        bytes: walked.bytes,
        inodes: walked.inodes,
        tar_bytes,
        passwd: walked.passwd,
        group: walked.group,
    })
}

/// Applies every rule of a layer to the entries of `tar`, writing nothing.
#[cfg(fuzzing)]
pub(crate) fn check_entries<R: std::io::Read>(
    tar: &mut TarReader<R>,
    bounds: UnpackBounds,
) -> Result<(), UnpackError> {
    walk(tar, &mut model::ModelSink::default(), bounds).map(drop)
}
