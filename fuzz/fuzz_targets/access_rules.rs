//! Patterns of access rules and the paths they are held against: the first line and the second.
//! A verdict is that of a slow matcher that tries every way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picasso_identity::path_matches;

/// Where the slow one would take too long, only that there is a verdict is looked at.
const SLOW: usize = 24;

fuzz_target!(|text: &str| {
    let (pattern, path) = text.split_once('\n').unwrap_or((text, ""));
    let fits = path_matches(pattern, path);
    if pattern.len() <= SLOW && path.len() <= SLOW {
        assert_eq!(fits, slowly(pattern, path.as_bytes()), "{pattern:?} {path:?}");
    }
    if fits && !pattern.contains(['*', '{', '}']) {
        assert_eq!(pattern, path);
    }
});

/// The rules as they are documented, without a thought of time.
fn slowly(pattern: &str, path: &[u8]) -> bool {
    let one_segment = |behind: &str| {
        let segment = path.iter().take_while(|byte| **byte != b'/').count();
        (1..=segment).any(|length| slowly(behind, &path[length..]))
    };
    if pattern.is_empty() {
        path.is_empty()
    } else if let Some(tag) = pattern.strip_prefix('{') {
        tag.split_once('}').is_some_and(|(_, behind)| one_segment(behind))
    } else if let Some(behind) = pattern.strip_prefix("**") {
        (0..=path.len()).any(|length| slowly(behind, &path[length..]))
    } else if let Some(behind) = pattern.strip_prefix('*') {
        one_segment(behind)
    } else {
        let length = pattern.chars().next().map_or(0, char::len_utf8);
        let (literal, behind) = pattern.split_at(length);
        literal != "}" && path.strip_prefix(literal.as_bytes()).is_some_and(|rest| slowly(behind, rest))
    }
}
