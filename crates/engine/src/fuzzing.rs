//! Ways in for fuzz targets: parsers of function bytes that nothing outside this crate calls.

/// What a function of format `json` wrote.
pub fn json_answer(bytes: &[u8]) {
    crate::formats::json::fuzz(bytes);
}

/// What a function of format `lambda` posted: an answer, a streamed answer's prelude, an error, a
/// trace header.
pub fn lambda_answer(bytes: &[u8]) {
    crate::formats::lambda::fuzz(bytes);
}

/// What a function of format `http-stream` wrote to a connection (`http-server` is read by the
/// same exchange, and `http` by the same client).
pub fn http_answer(bytes: &[u8]) {
    crate::formats::http_stream::fuzz(bytes);
}
