//! The format `json`: a line is a request, an object is an answer.

use std::error::Error;
use std::io::BufRead;

use serde_json::{Value, json};

use crate::{Call, Input};

pub fn read(input: &mut Input) -> Result<Option<Call>, Box<dyn Error>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let request: Value = serde_json::from_str(&line)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = text(&request["headers"]["x-do"]);
    let body = text(&request["body"]);
    let body = if what == "count" { body.len().to_string() } else { body };
    Ok(Some(Call { id: text(&request["call_id"]), what, body: body.into_bytes() }))
}

pub fn answer(body: &[u8], id: Option<&str>) -> Vec<u8> {
    let mut answer = json!({"body": String::from_utf8_lossy(body)});
    if let Some(id) = id {
        answer["call_id"] = id.into();
    }
    format!("{answer}\n").into_bytes()
}
