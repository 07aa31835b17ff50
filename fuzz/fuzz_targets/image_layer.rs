//! Layers: tar, gzip, zstd, and the rules for their entries.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picasso_image::fuzzing::layer(bytes));
