//! Reading an image from an archive or a folder.

mod archive;
mod layout;
mod saved;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use picasso_types::ImageRef;

use crate::staging::{Candidate, StagedFile, Staging};
use crate::{ImageError, documents};

/// More than any image needs: layers, their folders, a few documents.
const MAX_ENTRIES: usize = 4096;

/// The files of an archive by name, links among them resolved on look-up.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    files: BTreeMap<String, StagedFile>,
    links: BTreeMap<String, String>,
}

impl Contents {
    fn get(&self, name: &str) -> Option<&StagedFile> {
        let mut name = name;
        // `docker save` writes a repeated layer as a link to its first copy.
        for _ in 0..8 {
            match self.links.get(name) {
                Some(target) => name = target,
                None => break,
            }
        }
        self.files.get(name)
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        self.get(name).map(|file| file.document(name)).transpose()
    }

    fn check_room(&self) -> Result<(), ImageError> {
        if self.files.len() + self.links.len() >= MAX_ENTRIES {
            return Err(ImageError::TooLarge(format!("the archive has more than {MAX_ENTRIES} files")));
        }
        Ok(())
    }
}

/// Reads an archive of either kind; blocking.
pub(crate) fn read_archive(
    input: impl Read,
    name: &ImageRef,
    mut staging: Staging,
    max_bytes: u64,
) -> Result<Candidate, ImageError> {
    let contents = archive::spool(BufReader::new(input), &mut staging, max_bytes)?;
    interpret(&contents, name, staging)
}

/// Reads an OCI image layout folder; blocking. Only the operator's command line names folders.
pub(crate) fn read_folder(
    folder: &Path,
    name: &ImageRef,
    mut staging: Staging,
) -> Result<Candidate, ImageError> {
    let failed = || ImageError::failed(format!("reading {}", folder.display()));
    let mut contents = Contents::default();
    let mut add = |path: &Path, name: String| -> Result<(), ImageError> {
        contents.check_room()?;
        let file = File::open(path).map_err(failed())?;
        contents.files.insert(name, staging.add_file(file)?);
        Ok(())
    };
    for name in ["oci-layout", "index.json"] {
        let path = folder.join(name);
        if path.is_file() {
            add(&path, name.to_owned())?;
        }
    }
    let blobs = folder.join("blobs/sha256");
    if blobs.is_dir() {
        for entry in fs::read_dir(&blobs).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if let Some(hex) = entry.file_name().to_str() {
                add(&entry.path(), format!("blobs/sha256/{hex}"))?;
            }
        }
    }
    interpret(&contents, name, staging)
}

/// Newer `docker save` archives are both; the layout says more, so it goes first.
fn interpret(contents: &Contents, name: &ImageRef, mut staging: Staging) -> Result<Candidate, ImageError> {
    let (manifest, blobs) = if let Some(mark) = contents.document("oci-layout")? {
        let mark: documents::LayoutMark = documents::parse("oci-layout file", &mark)?;
        if mark.image_layout_version != "1.0.0" {
            return Err(ImageError::Invalid(
                "the archive is an OCI image layout of another version than 1.0.0".to_owned(),
            ));
        }
        layout::read(contents, name)?
    } else if let Some(list) = contents.document("manifest.json")? {
        saved::read(contents, &list, name, &mut staging)?
    } else {
        return Err(ImageError::Invalid(
            "it is neither an OCI image layout (oci-layout, index.json) nor what \"docker save\" writes (manifest.json)"
                .to_owned(),
        ));
    };
    Ok(Candidate { manifest, blobs, _staging: staging })
}

/// Whether a name that an archive gives its image means `name`.
fn means(given: &str, name: &ImageRef) -> bool {
    if Some(given) == name.tag() {
        return true;
    }
    // Docker shows its default registry in names that had none.
    let given =
        given.strip_prefix("docker.io/library/").or(given.strip_prefix("docker.io/")).unwrap_or(given);
    ImageRef::parse(given).is_ok_and(|given| {
        given.registry() == name.registry()
            && given.repository() == name.repository()
            && given.tag() == name.tag()
    })
}

/// The one image that `name` means among several.
fn pick<'c, T>(
    candidates: &'c [T],
    names: impl Fn(&T) -> Vec<String>,
    name: &ImageRef,
) -> Result<&'c T, ImageError> {
    match candidates {
        [] => {
            return Err(ImageError::Invalid(
                "the archive holds no image that this machine can run".to_owned(),
            ));
        }
        [only] => return Ok(only),
        _ => {}
    }
    let matching: Vec<&T> =
        candidates.iter().filter(|one| names(one).iter().any(|given| means(given, name))).collect();
    if let [only] = matching.as_slice() {
        return Ok(only);
    }
    let all: Vec<String> = candidates.iter().flat_map(names).take(8).map(|name| shorten(&name)).collect();
    Err(ImageError::Invalid(format!(
        "the archive holds {} images ({}); load it under the name of the one you mean",
        candidates.len(),
        if all.is_empty() { "without names".to_owned() } else { all.join(", ") }
    )))
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}
