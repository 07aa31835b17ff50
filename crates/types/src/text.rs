//! Texts of others that are kept or told on: bounded.

/// The beginning of a text, up to `max` bytes, cut between two characters.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("äöü", 3), "ä");
        assert_eq!(cut("ä", 0), "");
    }
}
