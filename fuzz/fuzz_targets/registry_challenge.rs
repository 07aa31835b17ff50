//! What a registry asks for.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picasso_image::fuzzing::challenge(bytes));
