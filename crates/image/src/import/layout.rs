//! OCI image layouts (image-spec 1.1, image-layout.md).

use std::collections::HashMap;

use picasso_types::{Digest, ImageRef};

use super::{Contents, pick};
use crate::ImageError;
use crate::documents::{Descriptor, Index, Manifest, parse};
use crate::staging::StagedFile;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const MAX_NESTING: u32 = 3;

pub(super) fn read(
    contents: &Contents,
    name: &ImageRef,
) -> Result<(StagedFile, HashMap<Digest, StagedFile>), ImageError> {
    let index = contents
        .document("index.json")?
        .ok_or_else(|| ImageError::Invalid("the OCI image layout has no index.json".to_owned()))?;
    let mut index: Index = parse("index.json", &index)?;
    for _ in 0..MAX_NESTING {
        let candidates: Vec<Descriptor> = index.manifests.into_iter().filter(is_candidate).collect();
        let chosen = pick(&candidates, names, name)?;
        let file = blob(contents, chosen)?;
        if chosen.is_index() {
            index = parse("index", &file.document("index")?)?;
            continue;
        }
        let manifest: Manifest = parse("manifest", &file.document("manifest")?)?;
        let mut blobs = HashMap::new();
        for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
            blobs.insert(descriptor.digest.clone(), blob(contents, descriptor)?);
        }
        return Ok((file, blobs));
    }
    Err(ImageError::Invalid("the image's indexes are nested too deep".to_owned()))
}

/// Images for this machine; attestations name the platform `unknown`.
fn is_candidate(descriptor: &Descriptor) -> bool {
    let typed = descriptor.media_type.is_empty() || descriptor.is_index() || descriptor.is_manifest();
    typed && descriptor.platform.as_ref().is_none_or(crate::documents::Platform::is_ours)
}

fn names(descriptor: &Descriptor) -> Vec<String> {
    [CONTAINERD_NAME, REF_NAME].iter().filter_map(|key| descriptor.annotations.get(*key)).cloned().collect()
}

fn blob(contents: &Contents, descriptor: &Descriptor) -> Result<StagedFile, ImageError> {
    let Descriptor { digest, size, .. } = descriptor;
    let file = contents.get(&format!("blobs/sha256/{}", digest.hex())).ok_or_else(|| {
        ImageError::Invalid(format!("the archive does not have the blob {digest} that the image needs"))
    })?;
    if file.digest != *digest || file.size != *size {
        return Err(ImageError::Invalid(format!(
            "the blob {digest} is damaged: its content has the digest {} and {} bytes, the image says {size} bytes",
            file.digest, file.size
        )));
    }
    Ok(file.clone())
}
