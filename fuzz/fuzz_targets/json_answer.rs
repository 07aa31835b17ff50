//! What functions of format json write.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picasso_engine::fuzzing::json_answer(bytes));
