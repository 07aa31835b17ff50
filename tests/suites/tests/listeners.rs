//! Where the server listens: TLS whose certificates change while it runs, Unix sockets, and sockets
//! that systemd made before it was started.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{TestDir, free_port, require, run, wait_until};
use picasso_testkit::tls::Certificates;
use reqwest::{Certificate, StatusCode};
use rustix::process::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// A client that knows one authority and keeps no connection.
fn trusting(files: &Certificates) -> reqwest::Client {
    let authority = Certificate::from_pem(&std::fs::read(files.authority()).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).pool_max_idle_per_host(0);
    client.build().unwrap()
}

/// Puts a file in another's place, as tools that renew certificates do.
fn replace(from: &Path, to: &Path) {
    let next = to.with_extension("next");
    std::fs::copy(from, &next).unwrap();
    std::fs::rename(next, to).unwrap();
}

fn times(cloud: &Cloud, text: &str) -> usize {
    cloud.picasso.log().matches(text).count()
}

/// Whether OpenSSL gets a connection with this version of TLS.
fn openssl(address: &str, authority: &Path, version: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-verify_return_error", "-CAfile"]).arg(authority);
    // Old versions are not forbidden on this side, so that it is the server that refuses them.
    command.args([version, "-cipher", "ALL:@SECLEVEL=0"]).stdin(Stdio::null());
    command.output().unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_while_the_server_runs_and_a_broken_pair_changes_nothing() {
    if !ready() {
        return;
    }
    let (first, second) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let folder = TestDir::new("live").unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    replace(&first.certificate(), &certificate);
    replace(&first.key(), &key);
    let more_config = format!(
        "[listeners.api.tls]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
        certificate.display(),
        key.display()
    );
    let mut cloud = Cloud::start_with(PicassoOptions { more_config, ..Default::default() }).await;
    let address = cloud.picasso.api_url().replace("http://", "");
    let url = format!("https://{address}/v1/");
    let (old, new) = (trusting(&first), trusting(&second));
    let shown: Value = old.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["version"]["links"][0]["href"], url.as_str());
    assert!(new.get(&url).send().await.is_err());
    assert!(openssl(&address, &first.authority(), "-tls1_2"));
    assert!(openssl(&address, &first.authority(), "-tls1_3"));
    assert!(!openssl(&address, &first.authority(), "-tls1_1"));
    assert!(cloud.http.get(format!("http://{address}/v1/")).send().await.is_err(), "no plain HTTP");

    // The certificate is there, its key is still to come.
    replace(&second.certificate(), &certificate);
    cloud.picasso.logged("the new certificate cannot be used", SOON).await.unwrap();
    assert_eq!(old.get(&url).send().await.unwrap().status(), StatusCode::OK);
    replace(&second.key(), &key);
    cloud.picasso.logged("the certificate was read again", SOON).await.unwrap();
    assert_eq!(new.get(&url).send().await.unwrap().status(), StatusCode::OK);
    assert!(old.get(&url).send().await.is_err());

    let before = times(&cloud, "the certificate was read again");
    cloud.picasso.signal(Signal::HUP);
    let read = || async { times(&cloud, "the certificate was read again") > before };
    wait_until(SOON, "the files are read on SIGHUP", read).await.unwrap();
    assert_eq!(new.get(&url).send().await.unwrap().status(), StatusCode::OK);
    let metrics = cloud.http.get(format!("{}/metrics", cloud.picasso.admin_url())).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("picasso_tls_reloads_total{outcome=\"refused\"} 1"), "{metrics}");
}

/// `curl` over a Unix socket, as a user of this host; what it prints.
fn curl(user: &str, socket: &Path, arguments: &[&str]) -> Result<String, String> {
    let socket = socket.display().to_string();
    let own =
        ["--reuid", user, "--clear-groups", "curl", "-sS", "--max-time", "20", "--unix-socket", &socket];
    run("setpriv", [&own, arguments].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_takes_the_ports_place_for_whom_its_permissions_let_in() {
    if !ready() {
        return;
    }
    let folder = TestDir::new("unix").unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let socket = folder.path().join("api.sock");
    let more_config = format!(
        "[listeners.api.unix]\npath = \"{}\"\nmode = \"0600\"\nowner = \"nobody\"\n",
        socket.display()
    );
    let mut cloud = Cloud::start_with(PicassoOptions { more_config, ..Default::default() }).await;
    let there = socket.metadata().unwrap();
    assert_eq!(there.mode() & 0o777, 0o600);
    assert_eq!(run("stat", ["-c", "%U", &socket.display().to_string()]).unwrap().trim(), "nobody");

    let proxied = ["-H", "Forwarded: for=192.0.2.7;proto=https;host=faas.example.org", "http://x/v1/"];
    let told: Value = serde_json::from_str(&curl("nobody", &socket, &proxied).unwrap()).unwrap();
    assert_eq!(told["version"]["links"][0]["href"], "https://faas.example.org/v1/");
    cloud.picasso.logged("192.0.2.7", SOON).await.unwrap();
    curl("picasso", &socket, &proxied).unwrap_err();
    assert!(cloud.http.get(cloud.picasso.api_url()).send().await.is_err(), "the port is not used");

    cloud.picasso.signal(Signal::TERM);
    assert_eq!(cloud.picasso.wait(SOON).await.unwrap(), Some(0));
    assert!(!socket.exists());
    // The engine's user may not make it again by itself; the next start does.
    cloud.picasso.start_again().await.unwrap();
    curl("nobody", &socket, &proxied).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_made_before_the_start_is_answered_over_a_socket_that_systemd_passes() {
    let activate = "/usr/bin/systemd-socket-activate";
    let missing = (!Path::new(activate).exists()).then_some("systemd-socket-activate is not there");
    if !ready() || !require("systemd", missing) {
        return;
    }
    let folder = TestDir::new("activated").unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let functions = folder.path().join("functions.sock");
    let parent = [
        activate,
        "--listen",
        &address,
        "--listen",
        &functions.display().to_string(),
        "--fdname=api:functions",
    ];
    let parent = parent.iter().map(|word| (*word).to_owned()).collect();
    picasso_testkit::keystone::install_tls_provider();
    let url = format!("http://{address}/v1/");
    let first = tokio::spawn(async move {
        let (client, answer) = (reqwest::Client::new(), Mutex::new(None));
        let answered = || async {
            let sent = client.get(&url).timeout(SOON).send().await.ok();
            let is_there = sent.is_some();
            *answer.lock().unwrap() = sent;
            is_there
        };
        wait_until(Duration::from_mins(2), "an answer to the first request", answered).await.unwrap();
        let answer = answer.into_inner().unwrap().unwrap();
        answer.json::<Value>().await.unwrap()
    });
    let cloud = Cloud::start_with(PicassoOptions { parent, ..Default::default() }).await;
    let told = first.await.unwrap();
    assert_eq!(told["version"]["links"][0]["href"], format!("http://{address}/v1/"));
    let told = curl("root", &functions, &["http://x/f/none/at-all"]).unwrap();
    assert!(told.contains("\"function_not_found\""), "{told}");
    assert!(cloud.http.get(cloud.picasso.api_url()).send().await.is_err(), "the setting's port is not used");
    let engine = cloud.picasso.engine_pid().unwrap();
    let environment = std::fs::read(format!("/proc/{engine}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("LISTEN_"));
}
