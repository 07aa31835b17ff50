//! Finds the end of a JSON object that comes in pieces, so that an answer needs no length in front
//! of it. Looks at brackets and strings only; what is between them is the parser's business.

/// Deeper nesting is refused: what reads the answer after us may recurse.
const MAX_DEPTH: u32 = 128;

/// Why bytes can be no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It begins with something else.
    #[error("an answer begins with \"{{\"")]
    NoObject,
    /// Nested deeper than we follow.
    #[error("an answer is nested at most {MAX_DEPTH} deep")]
    TooDeep,
}

/// Where in an object the bytes so far end.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Scanner {
    /// Looks at the next bytes: how many of them there are up to the end of the object, that
    /// included, or `None` when it goes on.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' => self.open()?,
                _ if self.depth == 0 && byte.is_ascii_whitespace() => {}
                _ if self.depth == 0 => return Err(Malformed::NoObject),
                b'[' => self.open()?,
                b'"' => self.in_string = true,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(at + 1));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn open(&mut self) -> Result<(), Malformed> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Malformed::TooDeep) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_bracket_that_closes_the_first_one() {
        let end = |text: &str| Scanner::default().feed(text.as_bytes());
        assert_eq!(end(" \n{}"), Ok(Some(4)));
        assert_eq!(end(r#"{"a":"}\"}","b":[{}]} {"#), Ok(Some(21)));
        assert_eq!(end(r#"{"a":"\\"}x"#), Ok(Some(10)));
        assert_eq!(end(r#"{"a":{"#), Ok(None));
        assert_eq!(end("hello"), Err(Malformed::NoObject));
        assert_eq!(end("[]"), Err(Malformed::NoObject));
        assert_eq!(end(&"{\"a\":".repeat(128)), Ok(None));
        assert_eq!(end(&"{\"a\":".repeat(129)), Err(Malformed::TooDeep));
    }
}
