//! The testkit's own Docker Engine.

use picasso_testkit::docker::DockerEngine;
use picasso_testkit::evidence;
use picasso_testkit::process::require;

#[tokio::test]
async fn an_engine_starts_answers_and_leaves_nothing_mounted() {
    if !require("docker", DockerEngine::missing().as_deref()) {
        return;
    }
    let engine = DockerEngine::start().await.unwrap();
    let version = engine.docker(&["version", "--format", "{{.Server.Version}}"]).unwrap();
    assert!(version.contains('.'), "{version}");
    let dir = engine.dir().to_owned();
    drop(engine);
    let kept = evidence::folder().is_some();
    assert!(kept || !dir.exists(), "{} is still there", dir.display());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
}
