//! Image archives: OCI layouts and what `docker save` writes.
#![no_main]

use std::sync::LazyLock;

use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picasso_image::fuzzing::archive(bytes, FOLDER.path()));
