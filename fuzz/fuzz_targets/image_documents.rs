//! Manifests, indexes and configurations of images.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picasso_image::fuzzing::documents(bytes));
