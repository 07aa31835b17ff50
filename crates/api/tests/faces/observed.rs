//! What operators see of requests: one log line each, and metrics.

use std::io;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{PROJECT, Server};

/// Log lines in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of finished requests.
    fn requests(&self) -> Vec<Value> {
        self.lines("request")
    }

    /// The lines that say `message`.
    fn lines(&self, message: &str) -> Vec<Value> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["fields"]["message"] == message).collect()
    }
}

#[tokio::test]
async fn a_request_leaves_one_line_with_its_ids_and_without_its_secrets() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .finish();
    // For the whole process: what threads without a subscriber touch first stays off for all
    // others. So the lines of other tests are among these.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a/:id", "cat", json!({})).await;
    let global = "req-0a1b2c3d-0000-4000-8000-0123456789ab";
    let headers = [
        ("x-auth-token", "member"),
        ("content-type", "application/json"),
        ("x-openstack-request-id", global),
        ("authorization", "swordfish-authorization"),
    ];
    let url = format!("/v1/r/{PROJECT}/hello/a/7?key=swordfish-query");
    let reply = server.api.send("POST", &url, &headers, r#"{"a": "swordfish-body"}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let id = reply.header("x-openstack-request-id");
    let requests = lines.requests();
    let of_this: Vec<&Value> = requests.iter().filter(|line| line["span"]["request_id"] == id).collect();
    assert_eq!(of_this.len(), 1, "{requests:?}");
    let (level, fields) = (&of_this[0]["level"], &of_this[0]["fields"]);
    // The engine's line of the call is enough where nothing is looked for.
    assert_eq!(level, "DEBUG");
    assert_eq!(fields["global_request_id"], global);
    assert_eq!((&fields["project"], &fields["app"]), (&json!(PROJECT), &json!(app)));
    assert_eq!((&fields["route"], &fields["user"]), (&json!("/a/:id"), &json!("user-member")));
    assert_eq!(fields["call_id"], reply.header("picasso-call-id"));
    assert_eq!(fields["status"], 200);
    assert_eq!(fields["client"], "127.0.0.1");
    assert!(fields["duration_ms"].as_f64().unwrap() > 0.0);
    let calls = lines.lines("call ended");
    let of_this: Vec<&Value> = calls.iter().filter(|line| line["fields"]["request_id"] == id).collect();
    assert_eq!(of_this.len(), 1, "{calls:?}");
    assert_eq!(of_this[0]["fields"]["call_id"], reply.header("picasso-call-id"));

    let refused = server.api.get(&format!("/v1/{PROJECT}/apps/missing"), "member").await;
    let id = refused.header("x-openstack-request-id");
    let requests = lines.requests();
    let line = requests.iter().find(|line| line["span"]["request_id"] == id).unwrap();
    assert_eq!((&line["level"], &line["fields"]["status"]), (&json!("INFO"), &json!(404)));
    assert!(!lines.text().contains("swordfish"), "a secret is in the log");
}

// One thread, so that this test's own recorder sees all of its server.
#[tokio::test(flavor = "current_thread")]
async fn requests_are_counted_by_template_and_status_and_not_by_what_strangers_send() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = Server::start().await;
    server.api.get(&format!("/v1/{PROJECT}/apps"), "reader").await;
    server.api.get(&format!("/v1/{PROJECT}/apps"), "garbage").await;
    server.api.send("GET", "/made-up-url", &[], "").await;
    server.api.send("MADEUP", "/", &[], "").await;
    let text = recorder.handle().render();
    for line in [
        "picasso_http_requests_total{face=\"api\",method=\"GET\",route=\"/v1/{project_id}/apps\",status=\"200\"} 1",
        "picasso_http_requests_total{face=\"api\",method=\"GET\",route=\"/v1/{project_id}/apps\",status=\"401\"} 1",
        "picasso_http_requests_total{face=\"api\",method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "picasso_http_requests_total{face=\"api\",method=\"other\",route=\"/\",status=\"405\"} 1",
        "picasso_http_connections{face=\"api\"} ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains("picasso_http_request_duration_seconds"), "{text}");
    assert!(!text.contains("made-up") && !text.contains("MADEUP"), "{text}");
}
