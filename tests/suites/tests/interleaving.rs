//! Ten thousand alternating callers of functions that answer twice, late, half and not at all:
//! each gets an answer of its own or a clean error, and none ever a byte that is another's.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be set up fails the test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::guest::static_binary;
use picasso_testkit::picasso::Picasso;
use picasso_testkit::process::{TestDir, run, wait_until};
use serde_json::json;

const CALLERS: usize = 10_000;
/// Callers at one time.
const AT_ONCE: usize = 16;
/// Fewer sandboxes than callers, so that they are passed from hand to hand.
const SANDBOXES: u32 = 4;
const SOON: Duration = Duration::from_secs(30);
/// What every caller's body begins with: bytes that are recognised wherever they turn up.
const MARK: &str = "caller-";

/// What a caller asks of the function.
struct Ask {
    number: usize,
    what: &'static str,
    hangs_up: bool,
}

impl Ask {
    fn new(number: usize) -> Self {
        // Most behave, so that there are sandboxes to pass on.
        let (what, hangs_up) = match number % 100 {
            3 => ("second", false),
            17 => ("second-write", false),
            29 | 31 => ("belated", false),
            41 => ("thread 0", false),
            43 => ("thread 700", false),
            59 => ("babble", false),
            67 => ("half", false),
            73 => ("crash", false),
            79 => ("sleep 5", true),
            83 => ("sleep 20", true),
            97 if number % 1000 == 97 => ("sleep 1300", false),
            _ => ("echo", false),
        };
        Self { number, what, hangs_up }
    }

    fn body(&self) -> String {
        format!("{MARK}{}-{}", self.number, "x".repeat(self.number % 37))
    }
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Outcome {
    Answered,
    Refused,
    CutShort,
    HungUp,
}

async fn call(cloud: &Cloud, url: &str, ask: &Ask) -> Outcome {
    let body = ask.body();
    let mut request = cloud.http.post(url).header("x-do", ask.what).body(body.clone());
    if ask.hangs_up {
        request = request.timeout(Duration::from_millis(3));
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(_) if ask.hangs_up => return Outcome::HungUp,
        // Cut off before its head had left.
        Err(error) if ask.what == "half" && !error.is_connect() => return Outcome::CutShort,
        Err(error) => panic!("{}: {error:?}", ask.what),
    };
    let status = answer.status();
    let headers = format!("{:?}", answer.headers());
    // Read piece by piece: what came before a broken connection was shown to the caller, too.
    let mut seen = Vec::new();
    let mut whole = true;
    let mut parts = answer.bytes_stream();
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => seen.extend(part),
            Err(_) => whole = false,
        }
    }
    let text = String::from_utf8_lossy(&seen);
    assert!(!headers.contains(MARK), "{}: {headers}", ask.what);
    if !whole {
        assert!(body.starts_with(&*text), "caller {} of {} saw {text:?}", ask.number, ask.what);
        return if ask.hangs_up { Outcome::HungUp } else { Outcome::CutShort };
    }
    if status.is_success() {
        assert_eq!(text, body, "caller {} of {} saw another's answer", ask.number, ask.what);
        return Outcome::Answered;
    }
    assert!(status.is_server_error(), "caller {} of {}: {status} {text}", ask.number, ask.what);
    assert!(!text.contains(MARK), "caller {} of {} was told {text:?}", ask.number, ask.what);
    Outcome::Refused
}

/// The image of `examples/hot` or, for formats whose calls come over sockets, `examples/web`.
fn image(dir: &Path, format: &str) -> PathBuf {
    let over_sockets = matches!(format, "http-stream" | "http-server");
    let example = if over_sockets { "picasso-example-web" } else { "picasso-example-hot" };
    let archive = dir.join("hot.tar");
    let binary = static_binary(example).expect("the example builds");
    let file = format!("{}:/hot", binary.display());
    let output = archive.display().to_string();
    let words = ["image", "build", "--file", &file, "--entrypoint", "/hot", "--output", &output];
    run(&Picasso::binary().display().to_string(), words).expect("picasso image build");
    archive
}

async fn ten_thousand_callers(format: &str) {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let dir = TestDir::new("interleaving").unwrap();
    cloud.picasso.load_image(&image(dir.path(), format), "hot:1").await.unwrap();
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, format).await;
    let route = json!({
        "image": "hot:1", "format": format, "config": {}, "memory": 16, "timeout": 1,
        "max_concurrency": SANDBOXES, "queue_timeout": 60,
    });
    cloud.route(&token, &app, "/hot", "", route).await;
    let url = cloud.function_url(&app, "/hot");
    let loaded =
        || async { cloud.http.post(&url).body("first").send().await.is_ok_and(|a| a.status() == 200) };
    wait_until(SOON, "the function answers", loaded).await.unwrap();

    let outcomes: Vec<(&str, Outcome)> = stream::iter((0..CALLERS).map(Ask::new))
        .map(|ask| {
            let (cloud, url) = (&cloud, &url);
            async move { (ask.what, call(cloud, url, &ask).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let mut count: BTreeMap<(&str, Outcome), usize> = BTreeMap::new();
    for outcome in outcomes {
        *count.entry(outcome).or_default() += 1;
    }
    let of = |what, outcome| count.get(&(what, outcome)).copied().unwrap_or_default();
    // Who behaves is answered, but for those whose sandbox another caller broke.
    assert!(of("echo", Outcome::Answered) > CALLERS * 85 / 100 * 95 / 100, "{count:?}");
    for what in ["babble", "half", "crash", "sleep 1300"] {
        assert_eq!(of(what, Outcome::Answered), 0, "{count:?}");
    }
    assert!(of("sleep 20", Outcome::HungUp) > 0, "{count:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_callers_of_format_json_none_sees_anothers_bytes() {
    ten_thousand_callers("json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_callers_of_format_http_none_sees_anothers_bytes() {
    ten_thousand_callers("http").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_callers_of_format_http_stream_none_sees_anothers_bytes() {
    ten_thousand_callers("http-stream").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_callers_of_format_http_server_none_sees_anothers_bytes() {
    ten_thousand_callers("http-server").await;
}
