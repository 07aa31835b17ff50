//! Queries of lists, and the headers that choose a version, name a state or tell of a client: nothing
//! that strangers write there stops a server, and the links it makes lead through a list once.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| picasso_api::fuzzing::api_headers(bytes));
