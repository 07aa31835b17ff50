//! Names that clients choose: images and digests. What parses shows itself as text that parses
//! again to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picasso_types::{Digest, ImageRef};

fuzz_target!(|text: &str| {
    if let Ok(image) = ImageRef::parse(text) {
        let shown = image.to_string();
        assert_eq!(ImageRef::parse(&shown).expect("its own text parses"), image);
        let _ = (image.registry(), image.repository(), image.tag(), image.digest());
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(Digest::parse(digest.as_str()).expect("its own text parses"), digest);
    }
});
