//! What holds for every request and every answer.

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::scanner::Scanner;
use super::{answer, request};
use crate::testing;

/// The object's end, found in pieces of these sizes, again and again.
fn end_in_pieces(text: &[u8], sizes: &[usize]) -> Option<usize> {
    let mut scanner = Scanner::default();
    let mut at = 0;
    for size in sizes.iter().cycle() {
        let piece = &text[at..text.len().min(at + size)];
        match scanner.feed(piece) {
            Ok(Some(end)) => return Some(at + end),
            Ok(None) if !piece.is_empty() => at += piece.len(),
            _ => return None,
        }
    }
    None
}

proptest! {
    #[test]
    fn any_body_arrives_as_it_was(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let line = request::document(&testing::invocation("/a"), &body, Instant::now()).unwrap();
        prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let document: Value = serde_json::from_slice(&line).unwrap();
        let text = document["body"].as_str().unwrap();
        let arrived = match document.get("encoding") {
            None => text.as_bytes().to_vec(),
            Some(_) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
        };
        prop_assert_eq!(arrived, body);
    }

    #[test]
    fn any_answer_is_read_in_any_pieces(
        status in 200_u16..600,
        body in ".{0,80}",
        value in "[ -~]{0,20}",
        blank in "[ \n\t]{0,5}",
        sizes in prop::collection::vec(1_usize..40, 1..8),
    ) {
        let sent = json!({"status": status, "headers": {"x-a": [value.clone(), "2"]}, "body": body.clone()});
        let text = format!("{blank}{sent:#}");
        let more = format!("{text}\n{{");
        prop_assert_eq!(end_in_pieces(more.as_bytes(), &sizes), Some(text.len()));
        let read = answer::parse(text.as_bytes(), "call", 1000).unwrap();
        prop_assert_eq!(read.status.as_u16(), status);
        let values: Vec<&[u8]> = read.headers.get_all("x-a").iter().map(http::HeaderValue::as_bytes).collect();
        prop_assert_eq!(values, [value.as_bytes(), b"2"]);
        prop_assert_eq!(read.body, body.as_bytes());
    }

    #[test]
    fn bytes_in_base64_are_what_they_were(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = base64::engine::general_purpose::STANDARD.encode(&body);
        let sent = json!({"body": text, "encoding": "base64"}).to_string();
        prop_assert_eq!(answer::parse(sent.as_bytes(), "call", 1000).unwrap().body, body);
    }

    #[test]
    fn no_bytes_are_too_strange_to_be_refused(
        bytes in "[\\[\\]{}\",:\\\\ a0\u{fffd}]{0,60}",
        raw in prop::collection::vec(any::<u8>(), 0..60),
        sizes in prop::collection::vec(1_usize..9, 1..4),
    ) {
        for bytes in [bytes.as_bytes(), &raw] {
            super::fuzz(bytes);
            let whole = end_in_pieces(bytes, &[bytes.len().max(1)]);
            prop_assert_eq!(end_in_pieces(bytes, &sizes), whole);
        }
    }
}
