//! `SPECIFICATION.md` names the test that holds each promise; the names must be real.

use std::path::Path;

#[test]
fn every_promise_is_held_by_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("SPECIFICATION.md")).unwrap();
    let mut promises = 0;
    for line in page.lines().filter(|line| line.contains("` → `")) {
        let (before, after) = line.split_once("` → `").unwrap();
        let file = before.rsplit('`').next().unwrap();
        let test = after.split('`').next().unwrap();
        let source = std::fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|error| panic!("{file} of SPECIFICATION.md: {error}"));
        assert!(source.contains(&format!("fn {test}(")), "{file} has no {test}");
        promises += 1;
    }
    assert!(promises >= 40, "only {promises} promises were found; did the table change its form?");
}
