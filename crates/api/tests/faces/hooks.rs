//! Webhooks: who has the URL may post, what is posted becomes a call, and what is no event is refused.

use std::time::Duration;

use picasso_testkit::process::{run, wait_until};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{PROJECT, Server};

const SOON: Duration = Duration::from_secs(30);

struct Hook {
    server: Server,
    /// Of the functions face.
    path: String,
    key: String,
}

impl Hook {
    /// A webhook whose function gives back what it gets.
    async fn new(options: Value) -> Self {
        let server = Server::start().await;
        server.app().await;
        server.route("/run", "cat", json!({"type": "async"})).await;
        let fields =
            json!({"name": "hook", "app": "hello", "route": "/run", "kind": "webhook", "options": options});
        let made =
            server.api.post(&format!("/v1/{PROJECT}/triggers"), "member", &json!({"trigger": fields})).await;
        assert_eq!(made.status, 200, "{}", made.text());
        let url = made.json()["webhook"]["url"].as_str().unwrap().to_owned();
        let path = url[url.find("/t/").unwrap()..].to_owned();
        let key = made.json()["webhook"]["signing_key"].as_str().unwrap_or_default().to_owned();
        Self { server, path, key }
    }

    async fn post(&self, headers: &[(&str, &str)], body: &str) -> Reply {
        self.server.functions.send("POST", &self.path, headers, body.to_owned()).await
    }

    /// What the call of an accepted event gave back.
    async fn result(&self, accepted: &Reply) -> Reply {
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let call = format!("/v1/{PROJECT}/calls/{}", accepted.json()["call_id"].as_str().unwrap());
        wait_until(SOON, "the call to run", async || {
            self.server.api.get(&call, "reader").await.json()["call"]["status"] == "succeeded"
        })
        .await
        .unwrap();
        self.server.api.get(&format!("{call}/result?raw=true"), "reader").await
    }

    async fn calls(&self) -> usize {
        let listed = self.server.api.get(&format!("/v1/{PROJECT}/calls"), "reader").await;
        listed.json()["calls"].as_array().unwrap().len()
    }
}

#[tokio::test]
async fn what_is_posted_becomes_a_call_and_one_id_makes_one() {
    let hook = Hook::new(json!({})).await;
    let posted = hook.post(&[("content-type", "text/plain")], "hello").await;
    assert_eq!(hook.result(&posted).await.text(), "hello");
    let once = hook.post(&[("idempotency-key", "k1")], "a").await;
    let again = hook.post(&[("idempotency-key", "k1")], "a").await;
    assert_eq!(once.json()["call_id"], again.json()["call_id"]);
    assert_eq!(hook.calls().await, 2);
}

#[tokio::test]
async fn who_guesses_a_url_learns_nothing_and_a_new_secret_ends_the_old_url() {
    let hook = Hook::new(json!({})).await;
    for path in ["/t/~whp_00", "/t/x", &format!("/t/~whp_{}", "0".repeat(64)), &hook.path.to_uppercase()] {
        let refused = hook.server.functions.send("POST", path, &[], "x").await;
        assert_eq!(refused.status, 404, "{path}");
        assert!(!refused.text().contains("whp"), "{}", refused.text());
    }
    let url = format!("/v1/{PROJECT}/triggers/hook/secret");
    assert_eq!(hook.server.api.post(&url, "member", &json!({})).await.status, 200);
    assert_eq!(hook.post(&[], "x").await.status, 404);
    assert_eq!(hook.calls().await, 0);
}

#[tokio::test]
async fn a_signed_delivery_is_taken_and_an_unsigned_one_is_not() {
    let hook = Hook::new(json!({"sender": "github"})).await;
    let script = "import hashlib,hmac,sys\nprint(hmac.new(sys.argv[1].encode(),sys.argv[2].encode(),hashlib.sha256).hexdigest())";
    let body = r#"{"ref":"main"}"#;
    let signature = format!("sha256={}", run("python3", ["-c", script, &hook.key, body]).unwrap().trim());
    let event = [("x-github-event", "push"), ("x-github-delivery", "d1")];
    let signed = [event[0], event[1], ("x-hub-signature-256", signature.as_str())];
    let taken = hook.post(&signed, body).await;
    assert_eq!(hook.result(&taken).await.text(), body);
    for refused in [hook.post(&event, body).await, hook.post(&signed, "{}").await] {
        assert_eq!((refused.status, refused.kind().as_str()), (401, "webhook_refused"));
    }
    assert_eq!(hook.calls().await, 1);
}

#[tokio::test]
async fn a_webhook_that_asks_for_a_token_takes_only_those_of_its_project() {
    let hook = Hook::new(json!({"sender": "aodh", "require_token": true})).await;
    let alarm = r#"{"alarm_id": "a1", "alarm_name": "ev1", "current": "alarm", "previous": "ok"}"#;
    let with = async |token: &str| hook.post(&[("x-auth-token", token)], alarm).await;
    assert_eq!(hook.result(&with("member").await).await.json()["alarm_id"], "a1");
    assert_eq!(with("other").await.status, 401);
    assert_eq!(with("garbage").await.status, 401);
    assert_eq!(hook.post(&[], alarm).await.status, 401);
    let none = hook.post(&[("x-auth-token", "member")], "{}").await;
    assert_eq!((none.status, none.kind().as_str()), (400, "invalid_body"));
    assert_eq!(hook.calls().await, 1);
}

#[tokio::test]
async fn without_keystone_a_webhook_that_asks_for_a_token_says_when_to_come_again() {
    let hook = Hook::new(json!({"require_token": true})).await;
    let with =
        async |token: &str| hook.post(&[("x-auth-token", token), ("idempotency-key", "k1")], "a").await;
    let away = with("keystone-down").await;
    assert_eq!((away.status, away.kind().as_str()), (503, "identity_unavailable"));
    assert_eq!(away.header("retry-after"), "5");
    assert_eq!(hook.calls().await, 0, "nobody knows whose the token is");
    assert_eq!(
        hook.result(&with("member").await).await.text(),
        "a",
        "the event that came again is no repetition"
    );
}

#[tokio::test]
async fn a_sender_of_cloud_events_asks_first_and_sends_them_in_every_form() {
    let hook = Hook::new(json!({"sender": "cloudevents", "allowed_origins": ["events.example.org"]})).await;
    let ask = async |origin| {
        let headers = [("webhook-request-origin", origin)];
        hook.server.functions.send("OPTIONS", &hook.path, &headers, "").await
    };
    let granted = ask("events.example.org").await;
    assert_eq!((granted.status, granted.header("webhook-allowed-origin")), (200, "events.example.org"));
    assert!(!ask("elsewhere.example.org").await.headers.contains_key("webhook-allowed-origin"));
    let document = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;
    let structured = [("content-type", "application/cloudevents+json")];
    let taken = hook.post(&structured, document).await;
    assert_eq!(hook.result(&taken).await.json(), json!({"a": 1}));
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let other = document.replace("\"1\"", "\"2\"");
    let taken = hook.post(&batch, &format!("[{document},{other}]")).await;
    assert_eq!((taken.status, taken.json()["call_ids"].as_array().map(Vec::len)), (202, Some(2)));
    assert_eq!(hook.calls().await, 2, "the first came before");
    assert_eq!(hook.post(&structured, "{}").await.kind(), "invalid_event");
    assert_eq!(hook.post(&[], "{}").await.status, 400);
}

#[tokio::test]
async fn who_waits_gets_the_functions_answer() {
    let hook = Hook::new(json!({"wait": true})).await;
    let answered = hook.post(&[], "hello").await;
    assert_eq!((answered.status, answered.text().as_str()), (200, "hello"));
}

#[tokio::test]
async fn a_paused_webhook_passes_events_over_and_says_so() {
    let hook = Hook::new(json!({})).await;
    let pause = format!("/v1/{PROJECT}/triggers/hook/pause");
    assert_eq!(hook.server.api.post(&pause, "member", &json!({})).await.status, 200);
    let passed = hook.post(&[], "x").await;
    assert_eq!((passed.status, &passed.json()["skipped"]), (202, &json!(1)));
    assert_eq!(hook.calls().await, 0);
    wait_until(SOON, "the event to be written down", async || {
        let listed =
            hook.server.api.get(&format!("/v1/{PROJECT}/triggers/hook/firings"), "reader").await.json();
        listed["firings"][0]["outcome"] == "skipped"
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_subscription_of_a_queue_elsewhere_is_not_confirmed() {
    let hook = Hook::new(json!({"sender": "zaqar"})).await;
    let asked = |project: &str| {
        json!({
            "Message_Type": "SubscriptionConfirmation", "WSGISubscribeURL": "http://127.0.0.1:1/v2/confirm",
            "URL-Signature": "ab", "URL-Methods": ["PUT"], "URL-Paths": ["/v2/confirm"],
            "URL-Expires": "2027-01-01T00:00:00", "X-Project-ID": project, "SubscribeBody": {"confirmed": true},
        })
        .to_string()
    };
    let foreign = hook.post(&[], &asked("somebody-elses")).await;
    assert_eq!(foreign.status, 400);
    assert!(foreign.message().contains("another project"), "{}", foreign.message());
    let own = hook.post(&[], &asked(PROJECT)).await;
    assert!(own.message().contains("does not use Zaqar"), "{}", own.message());
    let message = hook.post(&[], r#"{"body": {"a": 1}, "ttl": 60, "queue_name": "jobs"}"#).await;
    assert_eq!(hook.result(&message).await.json()["body"], json!({"a": 1}));
}
