//! The head of a streamed HTTP answer: JSON, eight NUL bytes, then the body as it comes
//! (content type `application/vnd.awslambda.http-integration-response`).

use bytes::{Bytes, BytesMut};

use super::answer::{self, Head};

/// Most bytes of the JSON.
const MAX_PRELUDE: usize = 128 * 1024;
const SEPARATOR: usize = 8;

/// Collects the prelude from chunks of any size.
#[derive(Debug, Default)]
pub(super) struct Prelude {
    held: BytesMut,
    /// No NUL before this place.
    searched: usize,
}

impl Prelude {
    /// Takes a chunk; the head and the first bytes of the body once the prelude is whole. The
    /// error says what is wrong with it, in half a sentence.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<Option<(Head, Bytes)>, String> {
        self.held.extend_from_slice(chunk);
        // JSON has no NUL byte, so the first is the separator's.
        let unseen = &self.held[self.searched..];
        let end = self.searched + unseen.iter().position(|byte| *byte == 0).unwrap_or(unseen.len());
        self.searched = end;
        if end > MAX_PRELUDE {
            return Err(format!("the prelude of its answer is longer than {MAX_PRELUDE} bytes"));
        }
        let separator = &self.held[end..self.held.len().min(end + SEPARATOR)];
        if separator.iter().any(|byte| *byte != 0) {
            return Err("the prelude of its answer does not end with eight NUL bytes".to_owned());
        }
        if separator.len() < SEPARATOR {
            return Ok(None);
        }
        let mut held = std::mem::take(&mut self.held);
        let body = held.split_off(end + SEPARATOR).freeze();
        Ok(Some((answer::of_prelude(&held[..end])?, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"{\"statusCode\":202}\0\0\0\0\0\0\0\0\0body";

    #[test]
    fn a_prelude_may_come_in_pieces_of_any_size() {
        for size in 1..TEXT.len() {
            let mut prelude = Prelude::default();
            let (mut head, mut body) = (None, Vec::new());
            for chunk in TEXT.chunks(size) {
                match &head {
                    None => {
                        if let Some((found, first)) = prelude.push(chunk).unwrap() {
                            head = Some(found);
                            body.extend_from_slice(&first);
                        }
                    }
                    Some(_) => body.extend_from_slice(chunk),
                }
            }
            assert_eq!(head.unwrap().status, 202, "pieces of {size}");
            assert_eq!(body, b"\0body", "a ninth NUL is the body's");
        }
    }

    #[test]
    fn a_prelude_without_its_separator_is_refused_or_waited_for() {
        assert!(Prelude::default().push(b"{\"statusCode\":200}\0\0\0\0\0\0\0x").is_err());
        assert!(Prelude::default().push(b"{\"statusCode\":200}\0\0\0").unwrap().is_none());
        assert!(Prelude::default().push(b"\0\0\0\0\0\0\0\0").is_err());
        let mut endless = Prelude::default();
        let refused = (0..100).find_map(|_| endless.push(&[b' '; 4096]).err());
        assert!(refused.unwrap().contains("longer than"));
    }
}
