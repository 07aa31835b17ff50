//! CloudEvents in both modes. A structured event that is taken gives a valid binary one, and what
//! is encoded for a header is decoded to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picasso_types::cloud_event::{ContentMode, check_binary, decode, encode, parse_structured};

fuzz_target!(|bytes: &[u8]| {
    let _ = ContentMode::of(bytes);
    if let Ok(event) = parse_structured(bytes) {
        let headers = event.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        check_binary(headers).expect("what we make is valid");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(decode(encode(text).as_bytes()).as_deref(), Some(text));
    }
    let _ = decode(bytes);
    // Lines of `name: value`.
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(&line[..at]).ok()?, &line[at + 1..]))
    });
    let _ = check_binary(lines);
});
