//! Large results and logs of asynchronous calls over real sandboxes: in files, in Swift and in S3 (both
//! of one real Swift), also while that is away; and functions that write a gigabyte.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::time::Duration;

use picasso_suites::cloud::{Answer, Cloud, ready};
use picasso_testkit::keystone::Keystone;
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::wait_until;
use picasso_testkit::swift::{S3_KEY, Swift};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);
/// Of the results of the stores' test, bytes.
const SIZE: usize = 5_000_000;

struct Owner {
    cloud: Cloud,
    token: String,
    project: String,
    app: String,
}

impl Owner {
    async fn new(more_config: String) -> Self {
        let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
        let (token, project) = (cloud.token("demo1-member").await, cloud.project("demo1").await);
        let app = cloud.app(&token, "outputs").await;
        Self { cloud, token, project, app }
    }

    async fn route(&self, path: &str, script: &str, more: Value) {
        let mut options = json!({"type": "async", "memory": 32, "is_public": "false"});
        for (key, value) in more.as_object().into_iter().flatten() {
            options[key] = value.clone();
        }
        self.cloud.route(&self.token, &self.app, path, script, options).await;
    }

    async fn accept(&self, path: &str) -> String {
        let path = format!("/v1/r/{}/{}{path}", self.project, self.app);
        let answer = self.cloud.api(Method::POST, &path, Some(&self.token), Some(json!({}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["call_id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, id: &str, rest: &str) -> Answer {
        let path = format!("/v1/{}/calls/{id}{rest}", self.project);
        self.cloud.api(Method::GET, &path, Some(&self.token), None).await
    }

    async fn ended(&self, id: &str) -> Value {
        let status = || async { self.get(id, "").await.json()["call"]["status"].clone() };
        let there = || async {
            let status = status().await;
            status != "queued" && status != "running"
        };
        wait_until(SOON, "the call's end", there).await.unwrap();
        self.get(id, "").await.json()["call"].clone()
    }

    /// Runs a call with a large result; whether that is kept whole.
    async fn whole(&self) -> bool {
        let id = self.accept("/large").await;
        assert_eq!(self.ended(&id).await["status"], "succeeded");
        let answer = self.get(&id, "/result?raw=true").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let cut = answer.headers.get("picasso-result-truncated").is_some();
        assert_eq!(answer.bytes.len(), if cut { 64 << 10 } else { SIZE });
        assert!(answer.bytes.iter().all(|byte| *byte == 0));
        !cut
    }

    fn memory_kb(&self) -> u64 {
        let pid = self.cloud.picasso.engine_pid().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_several_mib_outlives_its_store_in_files_swift_and_s3() {
    if !ready() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let mut swift = Swift::start(&keystone).await.unwrap();
    let account = format!("{}/v1/AUTH_{}", swift.url(), keystone.project_id("service").await.unwrap());
    let in_swift = format!("[calls]\nlarge_outputs = \"swift://outputs/there?storage_url={account}\"\n");
    let in_s3 = format!(
        "[calls]\nlarge_outputs = \"s3://outputs/here?endpoint={}\"\ns3_access_key = \"{}\"\ns3_secret_key = \"{}\"\n",
        swift.url(),
        S3_KEY.0,
        S3_KEY.1
    );
    for (store, config) in [("file", String::new()), ("swift", in_swift), ("s3", in_s3)] {
        let owner = Owner::new(config).await;
        owner.route("/large", &format!("b head -c {SIZE} /dev/zero"), json!({})).await;
        assert!(owner.whole().await, "{store}");
        let outputs = owner.cloud.picasso.data_dir().join("outputs");
        assert_eq!(outputs.exists(), store == "file", "{store}");
        if store == "file" {
            continue;
        }
        let before = owner.accept("/large").await;
        owner.ended(&before).await;
        swift.kill();
        assert!(!owner.whole().await, "{store}: cut, and the call succeeded");
        let away = owner.get(&before, "/result").await;
        assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE, "{store}");
        assert_eq!(away.headers["picasso-error-kind"], "outputs_unavailable");
        for hidden in [swift.url().as_str(), "AUTH_", "outputs/"] {
            assert!(!away.text().contains(hidden), "{store}: {}", away.text());
        }
        swift.start_again().await.unwrap();
        wait_until(SOON, "results are whole again", || owner.whole()).await.unwrap();
        assert_eq!(owner.get(&before, "/result?raw=true").await.bytes.len(), SIZE);
        assert!(!owner.cloud.picasso.log().contains(S3_KEY.1), "the key is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_of_log_or_result_is_cut_in_bounded_memory() {
    if !ready() {
        return;
    }
    let owner = Owner::new("[engine]\nmax_output_bytes = 2000000000\n".to_owned()).await;
    // A GiB in lines of 64 bytes; and one of zeros.
    let line = "x".repeat(63);
    owner.route("/log", &format!("b yes {line} | b head -c 1073741824 >&2"), json!({"timeout": 120})).await;
    owner.route("/result", "b head -c 1073741824 /dev/zero", json!({"timeout": 120})).await;
    owner.route("/small", "echo done", json!({})).await;
    let small = owner.accept("/small").await;
    assert_eq!(owner.ended(&small).await["status"], "succeeded");
    let before = owner.memory_kb();

    let (log, result) = (owner.accept("/log").await, owner.accept("/result").await);
    let running = || async { owner.get(&log, "").await.json()["call"]["status"] != "queued" };
    wait_until(SOON, "the first call runs", running).await.unwrap();
    // Others go on working.
    let small = owner.accept("/small").await;
    assert_eq!(owner.ended(&small).await["status"], "succeeded");

    assert_eq!(owner.ended(&log).await["status"], "succeeded");
    assert_eq!(owner.ended(&result).await["status"], "succeeded");
    let grown = owner.memory_kb().saturating_sub(before);
    println!("the engine's memory grew from {before} by at most {grown} kB");
    assert!(grown < 100 << 10, "{grown} kB");

    let kept = owner.get(&log, "/log").await.json();
    assert_eq!(kept["truncated"], true);
    let lines = kept["log"].as_array().unwrap();
    let (note, lines) = lines.split_last().unwrap();
    let dropped = (1 << 24) - lines.len();
    let wanted = format!("[log cut: {dropped} more lines, {} bytes, were not kept]", dropped * 63);
    assert_eq!((&note["stream"], &note["line"]), (&json!("picasso"), &json!(wanted)));
    assert!(lines.len() > 10_000 && lines.iter().all(|one| one["line"] == line));
    let answer = owner.get(&result, "/result?raw=true").await;
    assert_eq!(answer.headers["picasso-result-truncated"], "true");
    assert_eq!(answer.bytes.len(), 64 << 20);
}
