//! Messages between the engine and the processes with privileges.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    picasso_sandbox::native::fuzz(bytes);
    picasso_sandbox::unpacker::fuzz(bytes);
});
