//! A function that greets: `{"name": "Ada"}` on standard input gives `Hello, Ada!`.
//!
//! The whole contract of a function in one small file: read the request body from standard input,
//! print the answer, exit with 0. Errors go to standard error, which reaches the caller's log.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut body = Vec::new();
    if let Err(error) = std::io::stdin().lock().take(1 << 20).read_to_end(&mut body) {
        return fail(&format!("cannot read the request: {error}"));
    }
    let name = match name_of(&body) {
        Ok(name) => name.unwrap_or_else(|| "World".to_owned()),
        Err(error) => return fail(&format!("the request is not JSON: {error}")),
    };
    match writeln!(std::io::stdout().lock(), "Hello, {name}!") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot answer: {error}")),
    }
}

/// The `name` of a JSON object; `None` for an empty body or an object without one.
fn name_of(body: &[u8]) -> Result<Option<String>, serde_json::Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let request: serde_json::Value = serde_json::from_slice(body)?;
    Ok(request["name"].as_str().map(str::to_owned))
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_name_is_found_where_there_is_one() {
        assert_eq!(name_of(br#"{"name": "Zo\u00eb"}"#).unwrap().as_deref(), Some("Zoë"));
        for without in ["", " \n", "{}", "[]", "7", r#"{"name": 7}"#] {
            assert_eq!(name_of(without.as_bytes()).unwrap(), None, "{without}");
        }
        assert!(name_of(b"{").is_err());
    }
}
