//! Route patterns and the paths they are held against: the first line and the second.
//! What parses is stable: its text parses again to the same pattern, and its literals match.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picasso_types::RoutePattern;

fuzz_target!(|text: &str| {
    let (pattern, path) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(pattern) = RoutePattern::parse(pattern) else { return };
    let again = RoutePattern::parse(pattern.as_str()).expect("its own text parses");
    assert_eq!(again.as_str(), pattern.as_str());
    assert_eq!(again.by_specificity(&pattern), std::cmp::Ordering::Equal);
    let _ = pattern.shape();
    let _ = pattern.matches(path);
    if pattern.is_literal() {
        assert!(pattern.matches(pattern.as_str()).is_some());
    }
});
