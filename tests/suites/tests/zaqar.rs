//! Queues of Zaqar as destinations: the real Zaqar and Keystone, a real server, and what becomes of
//! reports when either goes away or a grant is good no more.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::time::Duration;

use picasso_suites::cloud::{Cloud, SHELL_IMAGE, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{require, wait_until};
use picasso_testkit::zaqar::Zaqar;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);
const CONFIG: &str = "[outbound]\nretry_initial_s = 1\nretry_max_s = 1\ntimeout_s = 5\n[messaging]\n";

struct Queues {
    cloud: Cloud,
    zaqar: Zaqar,
    token: String,
    app: String,
}

impl Queues {
    async fn accept(&self, path: &str) -> String {
        let answer =
            self.cloud.send(self.cloud.http.post(self.cloud.function_url(&self.app, path)).body("x")).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()["call_id"].as_str().unwrap().to_owned()
    }

    /// The delivery of a call as soon as it is in this state with an error that holds `text`.
    async fn delivery(&self, id: &str, state: &str, text: &str) {
        let path = format!("/v1/{}/calls/{id}", self.cloud.project("demo1").await);
        let there = || async {
            let call = self.cloud.api(Method::GET, &path, Some(&self.token), None).await.json();
            let delivery = &call["call"]["deliveries"][0];
            delivery["state"] == state && delivery["last_error"].as_str().unwrap_or_default().contains(text)
        };
        wait_until(SOON, format!("{state}: {text}"), there).await.unwrap();
    }

    /// The report on this call in a queue of the token's project, how often it is there.
    async fn reports(&self, token: &str, queue: &str, call: &str) -> Vec<Value> {
        let messages = self.zaqar.messages(token, queue).await;
        messages.into_iter().filter(|message| message["call"]["id"] == call).collect()
    }

    async fn save(&self, path: &str, fields: Value) -> (StatusCode, Value) {
        let project = self.cloud.project("demo1").await;
        let url = format!("/v1/{project}/apps/{}/routes{path}", self.app);
        let answer = self.cloud.api(Method::PUT, &url, Some(&self.token), Some(fields)).await;
        (answer.status, answer.json())
    }
}

fn route_to(queue: &str) -> Value {
    json!({"type": "async", "memory": 16, "on_success": queue})
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_reach_a_queue_by_the_grant_of_whoever_saved_the_route() {
    if !ready() || !require("Zaqar", Zaqar::missing().as_deref()) {
        return;
    }
    let options = PicassoOptions { more_config: CONFIG.to_owned(), ..PicassoOptions::default() };
    let cloud = Cloud::start_with(options).await;
    let token = cloud.token("demo1-member").await;
    let other = cloud.token("demo2-member").await;
    let app = cloud.app(&token, "queues").await;
    let project = cloud.project("demo1").await;
    let routes = format!("/v1/{project}/apps/{app}/routes");

    // Without a messaging service in the catalog.
    let route = json!({"route": {"path": "/early", "image": SHELL_IMAGE, "on_failure": "zaqar:q"}});
    let refused = cloud.api(Method::POST, &routes, Some(&token), Some(route)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let said = refused.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("route.on_failure") && said.contains("no messaging service"), "{said}");

    let zaqar = Zaqar::start(&cloud.keystone, "first-key-of-the-tests").await.unwrap();
    cloud.keystone.add_service("messaging", &zaqar.url()).await.unwrap();
    let mut q = Queues { cloud, zaqar, token, app };
    q.cloud.route(&q.token, &q.app, "/work", "echo done", route_to("zaqar:good")).await;
    let shown = q.cloud.api(Method::GET, &format!("{routes}/work"), Some(&q.token), None).await.text();
    let grants = serde_json::from_str::<Value>(&shown).unwrap()["route"]["queue_grants"].clone();
    assert_eq!((grants.as_array().unwrap().len(), &grants[0]["queue"]), (1, &json!("good")));
    assert!(!shown.contains("sealed") && !shown.contains("signature"), "{shown}");

    // The project reads what its call sent; another project does not, whatever its own queues are called.
    let id = q.accept("/work").await;
    q.delivery(&id, "delivered", "").await;
    let report = q.reports(&q.token, "good", &id).await.remove(0);
    assert_eq!(
        (&report["call"]["status"], &report["response"]["payload"]),
        (&json!("succeeded"), &json!("done\n"))
    );
    assert_eq!(q.reports(&other, "good", &id).await, [] as [Value; 0]);

    // An admin's token is good for its own project's queues, so it gives no leave for others'.
    let admin = q.cloud.token("demo1-admin").await;
    let theirs = q.cloud.project("demo2").await;
    let made = json!({"app": {"name": "theirs"}});
    let made =
        q.cloud.api(Method::POST, &format!("/v1/{theirs}/apps"), Some(&other), Some(made)).await.json();
    let at = format!("/v1/{theirs}/apps/{}/routes", made["app"]["name"].as_str().unwrap());
    let route = json!({"route": {"path": "/a", "image": SHELL_IMAGE, "on_success": "zaqar:good"}});
    let refused = q.cloud.api(Method::POST, &at, Some(&admin), Some(route)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text());
    assert!(refused.text().contains("scoped to the project"), "{}", refused.text());

    // Zaqar is away, then the server dies; the report comes when both are back.
    q.zaqar.kill().await.unwrap();
    let waiting = q.accept("/work").await;
    q.delivery(&waiting, "waiting", "Zaqar could not be reached").await;
    let (status, said) = q.save("/work", route_to("zaqar:good")).await;
    assert_eq!(
        (status, &said["error"]["kind"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("messaging_unavailable"))
    );
    q.cloud.picasso.kill_engine();
    q.cloud.picasso.wait(SOON).await.unwrap();
    let config = std::fs::read_to_string(q.cloud.picasso.config_file()).unwrap();
    let short = config.replace("[messaging]\n", "[messaging]\ngrant_s = 2\n");
    std::fs::write(q.cloud.picasso.config_file(), short).unwrap();
    let (again, back) =
        tokio::join!(q.cloud.picasso.start_again(), q.zaqar.start_again(Some("first-key-of-the-tests")));
    again.unwrap();
    back.unwrap();
    q.delivery(&waiting, "delivered", "").await;
    assert!(!q.reports(&q.token, "good", &waiting).await.is_empty());

    // A grant that has ended (this server asks for two seconds).
    q.cloud.route(&q.token, &q.app, "/short", "echo done", route_to("zaqar:short")).await;
    let ended = || async {
        let id = q.accept("/short").await;
        let path = format!("/v1/{project}/calls/{id}");
        let sent = || async {
            let call = q.cloud.api(Method::GET, &path, Some(&q.token), None).await.json();
            let state = call["call"]["deliveries"][0]["state"].clone();
            state == "delivered" || state == "failed"
        };
        wait_until(SOON, "an attempt", sent).await.unwrap();
        let call = q.cloud.api(Method::GET, &path, Some(&q.token), None).await.json();
        let error = call["call"]["deliveries"][0]["last_error"].as_str().unwrap_or_default().to_owned();
        error.contains("has ended") && error.contains("save the route")
    };
    wait_until(SOON, "the end of the grant", ended).await.unwrap();

    // Without its key, Zaqar takes no grant and gives none; with another key, it takes new ones only.
    q.zaqar.kill().await.unwrap();
    q.zaqar.start_again(None).await.unwrap();
    let id = q.accept("/work").await;
    q.delivery(&id, "failed", "was revoked; save the route").await;
    let (status, said) = q.save("/work", route_to("zaqar:good")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(said["error"]["message"].as_str().unwrap().contains("signed_url"), "{said}");
    q.zaqar.kill().await.unwrap();
    q.zaqar.start_again(Some("second-key-of-the-tests")).await.unwrap();
    std::fs::write(q.cloud.picasso.config_file(), config).unwrap();
    q.cloud.picasso.signal(rustix::process::Signal::TERM);
    q.cloud.picasso.start_again().await.unwrap();
    let id = q.accept("/work").await;
    q.delivery(&id, "failed", "was revoked").await;
    assert_eq!(q.save("/work", json!({"on_success": "zaqar:good"})).await.0, StatusCode::OK);
    let id = q.accept("/work").await;
    q.delivery(&id, "delivered", "").await;
    assert_eq!(q.reports(&q.token, "good", &id).await.len(), 1);
}
