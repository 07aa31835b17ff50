//! What every measurement stands on: a cloud, and functions in it.

use std::error::Error;
use std::path::{Path, PathBuf};

use picasso_suites::cloud::Cloud;
use picasso_testkit::picasso::{Picasso, PicassoOptions};
use picasso_testkit::process::{TestDir, run};
use serde_json::{Value, json};

/// What a measurement that cannot go on says.
pub type Fault = Box<dyn Error>;

/// A cloud with an app of demo1's.
pub struct Stage {
    /// Keystone and the server.
    pub cloud: Cloud,
    /// A member's token.
    pub token: String,
    /// The member's project.
    pub project: String,
    /// The app's full name.
    pub app: String,
    dir: TestDir,
}

impl Stage {
    /// Starts a server with these settings beside the testkit's.
    pub async fn set(more_config: &str) -> Result<Self, Fault> {
        let options = PicassoOptions { more_config: more_config.to_owned(), ..Default::default() };
        let cloud = Cloud::start_with(options).await;
        let token = cloud.token("demo1-member").await;
        let project = cloud.project("demo1").await;
        let app = cloud.app(&token, "bench").await;
        Ok(Self { cloud, token, project, app, dir: TestDir::new("bench")? })
    }

    /// Loads a static program as an image; `marker` makes it another image than the same program
    /// with another marker.
    pub async fn load(&self, program: &Path, name: &str, marker: &str) -> Result<(), Fault> {
        let archive = self.dir.path().join(format!("{}.tar", name.replace(':', "-")));
        let mark = self.dir.path().join("marker");
        std::fs::write(&mark, marker)?;
        let file = format!("{}:/function", program.display());
        let mark = format!("{}:/marker", mark.display());
        let output = archive.display().to_string();
        let words = [
            "image",
            "build",
            "--file",
            &file,
            "--file",
            &mark,
            "--entrypoint",
            "/function",
            "--output",
            &output,
        ];
        run(&Picasso::binary().display().to_string(), words)?;
        self.cloud.picasso.load_image(&archive, name).await?;
        Ok(())
    }

    /// Makes a public route without configuration; `fields` beside the usual ones.
    pub async fn route(&self, path: &str, image: &str, format: &str, fields: Value) {
        let mut route = json!({"image": image, "format": format, "memory": 32, "config": {}});
        for (key, value) in fields.as_object().into_iter().flatten() {
            route[key] = value.clone();
        }
        self.cloud.route(&self.token, &self.app, path, "", route).await;
    }

    /// The public URL of a route.
    pub fn public(&self, path: &str) -> String {
        self.cloud.function_url(&self.app, path)
    }

    /// The URL of a route for callers with a token.
    pub fn private(&self, path: &str) -> String {
        format!("{}/v1/f/{}/{}{path}", self.cloud.picasso.functions_url(), self.project, self.app)
    }
}

/// A static example (`hello`), built by `scripts/bench`.
pub fn example(name: &str) -> Result<PathBuf, Fault> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(format!(
        "target/static/{}-unknown-linux-gnu/release/picasso-example-{name}",
        std::env::consts::ARCH
    ));
    path.canonicalize().map_err(|_| format!("the example {name} is not built: run scripts/bench").into())
}
