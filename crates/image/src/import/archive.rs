//! Spools an image archive: every file to a staged one, every link remembered.

use std::io::{self, BufRead, Read};

use super::Contents;
use crate::bridge::too_large;
use crate::staging::Staging;
use crate::tarball::{Kind, TarReader, read_error};
use crate::unpack::inflate;
use crate::{ImageError, UnpackError};

const MAX_NAME: usize = 512;

pub(super) fn spool(
    input: impl BufRead,
    staging: &mut Staging,
    max_bytes: u64,
) -> Result<Contents, ImageError> {
    let inflated = inflate(input).map_err(|error| archive_error(read_error(error), max_bytes))?;
    let mut tar = TarReader::new(Capped { inner: inflated, left: max_bytes });
    let wrong = |error| archive_error(error, max_bytes);
    let mut contents = Contents::default();
    while let Some(entry) = tar.next_entry().map_err(wrong)? {
        let Some(name) = plain_name(&entry.path, "") else {
            return Err(ImageError::Invalid("the archive has a file with an impossible name".to_owned()));
        };
        contents.check_room()?;
        match entry.kind {
            Kind::Directory => {}
            Kind::File => {
                let file = staging.add(|buffer| tar.read_data(buffer).map_err(wrong))?;
                contents.links.remove(&name);
                contents.files.insert(name, file);
            }
            Kind::Symlink | Kind::HardLink => {
                let base = match (entry.kind, name.rsplit_once('/')) {
                    (Kind::Symlink, Some((folder, _))) => folder,
                    _ => "",
                };
                let target = plain_name(&entry.link, base)
                    .ok_or_else(|| ImageError::Invalid("the archive has a link that leaves it".to_owned()))?;
                contents.files.remove(&name);
                contents.links.insert(name, target);
            }
            Kind::Fifo | Kind::Device => {
                return Err(ImageError::Invalid(
                    "the archive has something in it that is no file".to_owned(),
                ));
            }
        }
    }
    Ok(contents)
}

/// A relative name below the archive's root, `..` resolved; `None` where it leaves the root.
fn plain_name(raw: &[u8], base: &str) -> Option<String> {
    let text = std::str::from_utf8(raw).ok().filter(|text| text.len() <= MAX_NAME)?;
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn archive_error(error: UnpackError, max_bytes: u64) -> ImageError {
    match error {
        UnpackError::Refused(reason) if reason.is_empty() => too_large(max_bytes),
        UnpackError::Refused(reason) => ImageError::Invalid(format!("the archive cannot be read: {reason}")),
        UnpackError::Failed(reason) => ImageError::failed("reading the archive")(io::Error::other(reason)),
    }
}

/// Ends with an error once more was inflated than an image may have.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(UnpackError::Refused(String::new()))),
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_archive() {
        assert_eq!(plain_name(b"./a//b", "").as_deref(), Some("a/b"));
        assert_eq!(plain_name(b"../b/layer.tar", "a").as_deref(), Some("b/layer.tar"));
        assert_eq!(plain_name(b"../../x", "a"), None);
        assert_eq!(plain_name(b"\xff", ""), None);
    }
}
