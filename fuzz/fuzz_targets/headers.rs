//! Headers and paths of public calls: `Forwarded` and its like, the signature of a webhook, what a browser
//! asks for a page of another origin, tokens in URLs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picasso_api::fuzzing::{path_without_token, request_headers};
use picasso_types::CorsRules;

fuzz_target!(|bytes: &[u8]| {
    let rules = CorsRules {
        allow_origins: vec!["https://a.example".to_owned(), "null".to_owned()],
        ..CorsRules::default()
    };
    request_headers(bytes, &rules);
    if let Ok(path) = std::str::from_utf8(bytes) {
        path_without_token(path);
    }
    // What an app's owner writes is checked before it gets into a header.
    let texts: Vec<String> = bytes
        .split(|byte| *byte == b'\n')
        .take(8)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    let rules = CorsRules {
        allow_origins: texts.clone(),
        allow_methods: texts.clone(),
        allow_headers: texts.clone(),
        expose_headers: texts,
        ..CorsRules::default()
    };
    if rules.check().is_ok() {
        for text in rules.allow_origins.iter().chain(&rules.allow_methods).chain(&rules.allow_headers) {
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
        }
    }
});
