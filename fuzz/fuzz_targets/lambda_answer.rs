//! What functions post to the Runtime API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picasso_engine::fuzzing::lambda_answer(bytes));
