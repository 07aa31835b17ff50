//! Bodies stream: a gibibyte goes through a function and hardly any of it is ever held by us.
#![expect(clippy::expect_used, reason = "what cannot be read fails the test")]

use bytes::Bytes;
use futures_util::stream;
use picasso_suites::cloud::ready;
use picasso_suites::web::Web;
use serde_json::json;

const PIECE: usize = 256 * 1024;
const GIB: u64 = 1 << 30;
/// How much the engine may grow, KiB.
const BOUND_KIB: u64 = 16 * 1024;

/// Most memory a process ever had, KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the engine runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_is_counted_in_a_few_mebibytes_of_ours() {
    if !ready() {
        return;
    }
    let web = Web::start("").await;
    let engine = web.cloud.picasso.engine_pid().expect("an engine");
    for format in ["http-stream", "http-server"] {
        let url = web.answering(&format!("/{format}"), format, json!({"timeout": 600})).await;
        let before = peak_kib(engine);
        let pieces = stream::iter((0..GIB / PIECE as u64).map(|_| {
            static ZEROS: [u8; PIECE] = [0; PIECE];
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&ZEROS))
        }));
        let body = reqwest::Body::wrap_stream(pieces);
        let request = web.cloud.http.post(&url).timeout(std::time::Duration::from_mins(10));
        let answer = web.cloud.send(request.header("x-do", "count").body(body)).await;
        assert_eq!(answer.text(), GIB.to_string(), "{format}: {}", answer.status);
        let grown = peak_kib(engine).saturating_sub(before);
        assert!(grown < BOUND_KIB, "{format}: the engine grew by {grown} KiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_the_upload_ended_counts() {
    if !ready() {
        return;
    }
    let web = Web::start("").await;
    for format in ["http-stream", "http-server"] {
        let url = web.answering(&format!("/{format}"), format, json!({})).await;
        // More than any buffer on the way holds, so that it cannot have been read.
        let body = "x".repeat(32 << 20);
        let request = web.cloud.http.post(&url).header("x-do", "refuse").header("expect", "100-continue");
        let answer = web.cloud.send(request.body(body)).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (413, "not read"), "{format}");
        assert_eq!(web.ask(&url, "echo", "next").await.text(), "next");
    }
}
