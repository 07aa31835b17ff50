//! Functions of the formats `http-stream` and `http-server` in real sandboxes: what they see, how
//! their sockets are found and how they end.

use std::time::Duration;

use futures_util::future::join_all;
use picasso_suites::cloud::ready;
use picasso_suites::web::Web;
use picasso_testkit::process::wait_until;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_function_behind_a_socket_sees_the_contracts_request_and_chooses_its_answer() {
    if !ready() {
        return;
    }
    let web = Web::start("").await;
    let url = web.answering("/stream", "http-stream", json!({})).await;
    let answer = web.ask(&url, "describe", "hello").await;
    assert_eq!((answer.status.as_u16(), &answer.headers["x-answered"]), (201, &"yes".parse().unwrap()));
    let text = answer.text();
    for line in
        ["POST /call\n", "fn-intent: httprequest\n", "fn-http-method: POST\n", "fn-http-h-x-do: describe\n"]
    {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(text.contains(&format!("fn-http-request-url: {url}\n")), "{text}");
    assert!(text.contains("\nfn-deadline: ") && text.contains("\nfn-call-id: "), "{text}");
    assert!(!text.contains("served 1 "), "the sandbox of the first call serves on: {text}");

    // What the function says of itself on the wire: failed, timed out, broken.
    for (status, expected) in [(502, 502), (504, 504), (500, 502)] {
        let answer = web.ask(&url, &format!("status {status}"), "why").await;
        assert_eq!(answer.status, expected, "{}", answer.text());
    }
    for what in ["babble", "half", "silence", "crash"] {
        let request = web.cloud.http.post(&url).header("x-do", what).body("body");
        let answer = request.send().await.expect("the head of an answer");
        // Where the function broke off in the middle, its head may have been passed on already.
        assert!(answer.status() != 200 || answer.bytes().await.is_err(), "{what}");
        assert_eq!(web.ask(&url, "echo", "after it").await.text(), "after it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_found_late_and_never_outside_its_folder() {
    if !ready() {
        return;
    }
    let web = Web::start("[engine]\nstart_timeout_s = 2\n").await;
    web.answering("/late", "http-stream", json!({"config": {"SOCKET": "late"}})).await;
    for (way, told) in [
        ("outside", "lsnr.sock leads out of its folder"),
        ("file", "lsnr.sock is not a socket"),
        ("never", "it made no socket lsnr.sock within 2 s"),
    ] {
        let path = format!("/{way}");
        web.route(&path, "http-stream", json!({"config": {"SOCKET": way}})).await;
        let said = || async { web.ask_privately(&path, "echo").await.text().contains(told) };
        wait_until(SOON, format!("{way}: {told:?}"), said).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_port_serves_several_calls_in_one_sandbox_and_hears_of_its_end() {
    if !ready() {
        return;
    }
    let web = Web::start("").await;
    let fields = json!({"concurrency": 8, "max_concurrency": 8, "idle_timeout": 1});
    let url = web.answering("/server", "http-server", fields).await;
    let answer = web.ask(&format!("{url}?x=1"), "describe", "").await;
    assert_eq!((answer.status.as_u16(), &answer.headers["x-answered"]), (201, &"yes".parse().unwrap()));
    let text = answer.text();
    let host = web.cloud.picasso.functions_url().replace("http://", "");
    for line in [
        "POST /server?x=1\n".to_owned(),
        format!("\nhost: {host}\n"),
        "\nx-forwarded-for: 127.0.0.1\n".to_owned(),
        format!("\nforwarded: for=127.0.0.1;host=\"{host}\";proto=http\n"),
    ] {
        assert!(text.contains(&line), "{line:?} is not in {text}");
    }
    let slow = join_all((0..4).map(|_| web.ask(&url, "sleep 400", "x"))).await;
    assert!(slow.iter().all(|answer| answer.status == 200), "{slow:?}");
    let text = web.ask(&url, "describe", "").await.text();
    let most: u32 = text.rsplit("at most ").next().unwrap().trim().parse().unwrap();
    assert!(most >= 2, "calls were served one after another: {text}");

    web.cloud.picasso.logged("SIGTERM came, nothing is left to do", SOON).await.unwrap();
    let text = web.ask(&url, "describe", "").await.text();
    assert!(text.contains("served 1 "), "a new sandbox serves the next call: {text}");
}
