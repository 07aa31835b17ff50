//! The parsers of bytes that strangers choose, as the fuzz targets call them. Only compiled for
//! fuzzing (`--cfg fuzzing`).

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use picasso_types::ImageRef;

use crate::documents::{ImageConfig, Index, Manifest, SavedImage, parse};
use crate::staging::Staging;
use crate::tarball::TarReader;
use crate::unpack::{check_entries, inflate};
use crate::users::{Accounts, resolve_user};
use crate::{LayerFile, UnpackBounds, import, process, pull};

const MAX_BYTES: u64 = 1 << 20;

/// The documents of an image: index, manifest, configuration, `docker save`'s list.
pub fn documents(bytes: &[u8]) {
    let _ = parse::<Index>("index", bytes);
    let _ = parse::<Manifest>("manifest", bytes);
    let _ = parse::<Vec<SavedImage>>("manifest.json", bytes);
    if let Ok(config) = parse::<ImageConfig>("configuration", bytes) {
        let _ = process::check_platform(&config);
        let _ = process::process_of(&config, &Accounts::default());
    }
}

/// A layer, compressed or not, with all rules for its entries.
pub fn layer(bytes: &[u8]) {
    let bounds = UnpackBounds { max_bytes: MAX_BYTES, max_inodes: 1000, timeout: Duration::from_secs(10) };
    if let Ok(plain) = inflate(bytes) {
        let _ = check_entries(&mut TarReader::new(plain.take(MAX_BYTES)), bounds);
    }
}

/// An archive of either kind, spooled below `folder`.
pub fn archive(bytes: &[u8], folder: &Path) {
    let Ok(name) = ImageRef::parse("fuzzed:1") else { return };
    if let Ok(staging) = Staging::create(folder, MAX_BYTES) {
        let _ = import::read_archive(bytes, &name, staging, MAX_BYTES);
    }
}

/// `/etc/passwd` and `/etc/group` of an image, and the user it names: its first line.
pub fn accounts(bytes: &[u8]) {
    let mut accounts = Accounts::default();
    let user = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let content = || LayerFile::Content(bytes.to_vec());
    accounts.stack(content(), content());
    let _ = resolve_user(&String::from_utf8_lossy(user), &accounts);
}

/// What a registry asks for (`WWW-Authenticate`).
pub fn challenge(bytes: &[u8]) {
    let _ = pull::challenge(&String::from_utf8_lossy(bytes));
}
