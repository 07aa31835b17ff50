//! Ways in for fuzz targets: parsers of function bytes that nothing outside this crate calls.

/// What a function of format `json` wrote.
pub fn json_answer(bytes: &[u8]) {
    crate::formats::json::fuzz(bytes);
}
