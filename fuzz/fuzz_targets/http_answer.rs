//! What functions of the HTTP formats write.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picasso_engine::fuzzing::http_answer(bytes));
