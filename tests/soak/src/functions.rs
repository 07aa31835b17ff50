//! The functions that are called: one of each format. The first three are shell scripts that do as
//! the body says; the others are examples.

use std::sync::Arc;

use picasso_suites::cloud::Cloud;
use serde_json::{Value, json};

/// What a caller wants to happen. A function that cannot do it answers as always.
pub const WISHES: [&str; 8] = ["echo", "echo", "echo", "echo", "pause", "crash", "hang", "garbage"];

/// What the body of an answer must be.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// The body that was sent: no other caller's.
    Echo,
    /// This text is in it.
    Text(&'static str),
}

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Its path.
    pub path: &'static str,
    /// What a good answer holds.
    pub expected: Expected,
    /// What is sent where the function takes no wishes.
    pub body: Option<&'static str>,
    /// `GET` and not `POST`.
    pub get: bool,
}

/// All of them, with the app they are in.
#[derive(Debug)]
pub struct Functions {
    /// The app's full name.
    pub app: String,
    /// The functions.
    pub all: Vec<Function>,
}

const DEFAULT: &str = r#"
    body=$(b cat)
    case "$body" in *pause*) b usleep 300000;; *crash*) exit 3;; *hang*) b sleep 60;; esac
    b printf '%s' "$body"
"#;
const JSON: &str = r#"
    while read -r call; do
        body=${call#*'"body":"'}; body=${body%%'"'*}
        case "$body" in
            *pause*) b usleep 300000;;
            *crash*) exit 3;;
            *hang*) b sleep 60;;
            *garbage*) echo 'this is no JSON'; continue;;
        esac
        echo "{\"status\":200,\"headers\":{},\"body\":\"$body\"}"
    done
"#;
const HTTP: &str = r#"
    while read -r first; do
        length=0
        while read -r line; do
            line=${line%$(b printf '\r')}
            case "$line" in '') break;; [Cc]ontent-[Ll]ength:*) length=${line#*:};; esac
        done
        body=$(b head -c $length)
        case "$body" in
            *pause*) b usleep 300000;;
            *crash*) exit 3;;
            *hang*) b sleep 60;;
            *garbage*) echo 'this is no HTTP'; continue;;
        esac
        b printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n%s' "${#body}" "$body"
    done
"#;

impl Functions {
    /// Makes them in an app of demo1's. Time limits are short: a function that hangs runs into
    /// its own; idle sandboxes end soon, so that the machine can come to rest.
    pub async fn make(cloud: &Arc<Cloud>) -> Self {
        let token = cloud.token("demo1-member").await;
        let app = cloud.app(&token, "soak").await;
        let stream = cloud.load_static("stream-hello").await;
        let lambda = cloud.load_example("python-lambda").await;
        let page = cloud.load_example("python-http-server").await;
        let common = json!({"timeout": 3, "idle_timeout": 2, "memory": 64, "queue_timeout": 30});
        let with = |more: Value| {
            let mut fields = common.clone();
            for (key, value) in more.as_object().into_iter().flatten() {
                fields[key] = value.clone();
            }
            fields
        };
        cloud.route(&token, &app, "/default", DEFAULT, with(json!({}))).await;
        cloud.route(&token, &app, "/json", JSON, with(json!({"format": "json"}))).await;
        cloud.route(&token, &app, "/http", HTTP, with(json!({"format": "http"}))).await;
        let no_config = json!({});
        for (path, image, format) in [
            ("/stream", &stream, "http-stream"),
            ("/lambda", &lambda, "lambda"),
            ("/*page", &page, "http-server"),
        ] {
            let fields = json!({"image": image, "format": format, "config": no_config});
            cloud.route(&token, &app, path, "", with(fields)).await;
        }
        let function = |path, expected, body, get| Function { path, expected, body, get };
        let all = vec![
            function("/default", Expected::Echo, None, false),
            function("/json", Expected::Echo, None, false),
            function("/http", Expected::Echo, None, false),
            function("/stream", Expected::Text("Hello, soak!"), Some("soak"), false),
            function("/lambda", Expected::Text("Hello, soak!"), Some(r#"{"name":"soak"}"#), false),
            function("/index.html", Expected::Text("Hello from http.server!"), Some(""), true),
        ];
        Self { app, all }
    }
}
