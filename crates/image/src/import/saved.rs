//! What `docker save` writes (Docker image specification v1.2): a manifest of ours joins its parts.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use picasso_types::{Digest, ImageRef};

use super::{Contents, pick, shorten};
use crate::ImageError;
use crate::documents::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, SavedImage, parse, to_bytes};
use crate::staging::{StagedFile, Staging};

pub(super) fn read(
    contents: &Contents,
    list: &[u8],
    name: &ImageRef,
    staging: &mut Staging,
) -> Result<(StagedFile, HashMap<Digest, StagedFile>), ImageError> {
    let images: Vec<SavedImage> = parse("manifest.json", list)?;
    let image = pick(&images, |image| image.repo_tags.clone(), name)?;
    let mut blobs = HashMap::new();
    let mut describe = |path: &str, media_type: Option<&str>| -> Result<Descriptor, ImageError> {
        let file = contents.get(path).ok_or_else(|| {
            ImageError::Invalid(format!(
                "the archive does not have the file \"{}\" that the image needs",
                shorten(path)
            ))
        })?;
        blobs.insert(file.digest.clone(), file.clone());
        Ok(Descriptor {
            media_type: media_type.map_or_else(|| layer_type(file), |text| Ok(text.to_owned()))?,
            digest: file.digest.clone(),
            size: file.size,
            annotations: std::collections::BTreeMap::new(),
            platform: None,
        })
    };
    let config = describe(&image.config, Some(OCI_CONFIG))?;
    let layers = image.layers.iter().map(|path| describe(path, None)).collect::<Result<_, _>>()?;
    let manifest = staging.add_bytes(&to_bytes(&Manifest::new(config, layers))?)?;
    Ok((manifest, blobs))
}

/// Docker writes plain tars, other tools may compress them.
fn layer_type(file: &StagedFile) -> Result<String, ImageError> {
    let failed = || ImageError::failed("reading a staged blob");
    let mut magic = Vec::new();
    File::open(&file.path).map_err(failed())?.take(4).read_to_end(&mut magic).map_err(failed())?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => format!("{OCI_LAYER}+gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => format!("{OCI_LAYER}+zstd"),
        _ => OCI_LAYER.to_owned(),
    })
}
