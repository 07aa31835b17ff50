//! Images to and from a real Docker Engine.

mod support;

use picasso_testkit::docker::DockerEngine;
use picasso_testkit::process::require;
use support::{Images, Tar, is_root, name, project, scope};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn what_docker_saves_is_loaded_and_what_we_write_docker_loads() {
    if !is_root() || !require("Docker Engine", DockerEngine::missing().as_deref()) {
        return;
    }
    let docker = DockerEngine::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    let base = Tar::new()
        .file("etc/passwd", "root:x:0:0::/:/\nweb:x:33:34::/:/\n")
        .owned_by(0, 0, 0o755, 1_600_000_000)
        .file("bin/hello", "program")
        .symlink("bin/alias", "hello");
    std::fs::write(path("base.tar"), base.end()).unwrap();
    docker
        .docker(&["import", "--change", "ENTRYPOINT [\"/bin/hello\"]", &path("base.tar"), "base:1"])
        .unwrap();
    std::fs::create_dir(path("context")).unwrap();
    std::fs::write(path("context/second"), "2").unwrap();
    let file = "FROM base:1\nCOPY second /srv/second\nENV A=b\nUSER web\nWORKDIR /srv\nCMD [\"x\"]\n";
    std::fs::write(path("context/Dockerfile"), file).unwrap();
    docker.docker(&["build", "--tag", "team/hello:1", &path("context")]).unwrap();
    docker.docker(&["save", "--output", &path("saved.tar"), "team/hello:1"]).unwrap();

    let images = Images::new();
    let saved = dir.path().join("saved.tar");
    let info = images.store.import_path(&scope("p1"), &name("hello:1"), &saved).await.unwrap();
    let rootfs = images.store.rootfs(&project("p1"), &info.digest).await.unwrap();
    let process = &rootfs.process;
    assert_eq!(process.argv, ["/bin/hello", "x"]);
    assert_eq!((process.uid, process.gid, process.cwd.as_str()), (33, 34, "/srv"));
    assert!(process.env.contains(&("A".to_owned(), "b".to_owned())));
    let file = |path: &str| {
        rootfs.layers.iter().map(|layer| images.layers.path(layer).join(path)).find(|path| path.exists())
    };
    assert_eq!(std::fs::read(file("bin/hello").unwrap()).unwrap(), b"program");
    assert_eq!(std::fs::read(file("srv/second").unwrap()).unwrap(), b"2");

    docker.docker(&["rmi", "team/hello:1", "base:1"]).unwrap();
    let mut archive = Vec::new();
    images.store.docker_archive(&info.digest).await.unwrap().read_to_end(&mut archive).await.unwrap();
    std::fs::write(path("ours.tar"), archive).unwrap();
    let said = docker.docker(&["load", "--input", &path("ours.tar")]).unwrap();
    let id = said.trim().rsplit_once("ID: ").unwrap().1;
    let layers = docker.docker(&["inspect", "--format", "{{json .RootFS.Layers}}", id]).unwrap();
    let layers: Vec<picasso_types::Digest> = serde_json::from_str(layers.trim()).unwrap();
    assert_eq!(layers, rootfs.layers);
}
