//! The reference of errors says something about every kind, and about nothing else.

use std::collections::BTreeSet;

use picasso_api::Kind;

#[test]
fn every_kind_has_a_section_with_its_status_and_every_section_is_a_kind() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let sections: Vec<(&str, &str)> =
        text.split("\n### ").skip(1).map(|section| section.split_once('\n').unwrap()).collect();
    let named: BTreeSet<&str> = sections.iter().map(|(name, _)| *name).collect();
    assert_eq!(named.len(), sections.len(), "a section is there twice");
    let kinds: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds, named);
    for kind in Kind::ALL {
        let (_, body) = sections.iter().find(|(name, _)| *name == kind.as_str()).unwrap();
        let status = kind.status().as_u16().to_string();
        assert!(body.starts_with(&status), "{}: its section does not begin with {status}", kind.as_str());
        assert!(body.len() > 60, "{}: its section says nothing", kind.as_str());
    }
}
