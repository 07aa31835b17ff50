//! What the fuzz target `api_headers` runs: the readers of queries and headers that strangers choose.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use picasso_types::Timestamp;

use super::listing::{Field, Listed, Of};
use super::origin::Origin;
use super::preconditions::Preconditions;
use crate::microversion::Microversion;

const TAG: &str = "\"0123456789abcdef0123456789abcdef\"";

struct Entry {
    number: i64,
}

/// A list with a field of every kind.
const ENTRIES: Listed<Entry> = Listed {
    fields: &[
        Field { name: "name", of: Of::Text(|entry| format!("entry {}", entry.number % 3).into()) },
        Field { name: "number", of: Of::Number(|entry| entry.number) },
        Field { name: "created_at", of: Of::Time(|entry| Timestamp(entry.number * 1_000_000)) },
        Field { name: "odd", of: Of::Flag(|entry| entry.number % 2 == 1) },
    ],
    marker: |entry| entry.number.to_string(),
};

/// The first line is a query, each further one a header.
#[expect(clippy::expect_used, reason = "a panic is what fuzzing looks for")]
pub fn api_headers(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let headers: HeaderMap = lines.filter_map(header).take(100).collect();

    if let Ok(version) = Microversion::asked(&headers) {
        let mut told = HeaderMap::new();
        version.tell(&mut told);
        assert!(Microversion::asked(&told).is_ok_and(|again| again == version), "what we tell is understood");
    }
    if let Ok(preconditions) = Preconditions::read(&headers) {
        let _ = preconditions.allow_change(TAG);
        let _ = preconditions.show(TAG, "");
    }
    for peer in [None, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))] {
        let trusted = ["127.0.0.0/8".parse().expect("a network")];
        let origin = Origin::of(peer, false, &Uri::from_static("/v1/"), &headers, &trusted);
        let base = origin.base(None);
        assert!(base.is_empty() || base.parse::<Uri>().is_ok(), "links begin with a URL: {base:?}");
    }
    follow(query);
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|byte| *byte == b':')?;
    Some((HeaderName::from_bytes(&line[..at]).ok()?, HeaderValue::from_bytes(&line[at + 1..]).ok()?))
}

/// Following the links of a list that is shown shows each entry at most once, and ends.
fn follow(query: Option<&str>) {
    let mut query = query.map(str::to_owned);
    let mut seen = Vec::new();
    loop {
        let all = (0..20).map(|number| Entry { number }).collect();
        let page = ENTRIES.page(all, query.as_deref(), Microversion::MAX, "http://faas/list");
        let Ok(page) = page else {
            assert!(seen.is_empty(), "a link that we made is refused: {query:?}");
            return;
        };
        for entry in page.entries {
            assert!(!seen.contains(&entry.number), "{} is shown twice", entry.number);
            seen.push(entry.number);
        }
        let Some(next) = page.links.first() else { return };
        query = next.href.split_once('?').map(|(_, query)| query.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::api_headers;

    #[test]
    fn what_the_fuzzer_begins_with_holds() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/api_headers");
        let mut read = 0;
        for seed in std::fs::read_dir(seeds).unwrap() {
            api_headers(&std::fs::read(seed.unwrap().path()).unwrap());
            read += 1;
        }
        assert!(read >= 3, "{read}");
    }

    proptest! {
        #[test]
        fn queries_of_known_words_lead_through_a_list_once(
            query in "((limit|marker|sort|name|number|created_at|odd)=(in:|neq:|gt:)?[0-9a-z:,\"%]{0,6}&?){0,5}",
        ) {
            api_headers(query.as_bytes());
        }
    }
}
