//! The example `web` as a function of the formats `http-stream` and `http-server`.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what a test cannot set up fails the test, saying what it was"
)]

use picasso_testkit::guest::static_binary;
use picasso_testkit::picasso::{Picasso, PicassoOptions};
use picasso_testkit::process::{TestDir, run, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

use crate::cloud::{Answer, Cloud};

/// How long a first call may need: the image is unpacked meanwhile.
const SOON: Duration = Duration::from_secs(30);

/// A cloud with the example's image, and an app for its routes.
#[derive(Debug)]
pub struct Web {
    /// The cloud.
    pub cloud: Cloud,
    token: String,
    app: String,
}

impl Web {
    /// Starts a cloud and loads the image.
    pub async fn start(more_config: &str) -> Self {
        let options = PicassoOptions { more_config: more_config.to_owned(), ..Default::default() };
        let cloud = Cloud::start_with(options).await;
        let dir = TestDir::new("web").expect("a folder");
        let archive = dir.path().join("web.tar").display().to_string();
        let binary = static_binary("picasso-example-web").expect("the example builds");
        let file = format!("{}:/web", binary.display());
        let words = ["image", "build", "--file", &file, "--entrypoint", "/web", "--output", &archive];
        run(&Picasso::binary().display().to_string(), words).expect("picasso image build");
        cloud.picasso.load_image(archive.as_ref(), "web:1").await.expect("the image loads");
        let token = cloud.token("demo1-member").await;
        let app = cloud.app(&token, "web").await;
        Self { cloud, token, app }
    }

    /// Makes a route of the image; its URL.
    pub async fn route(&self, path: &str, format: &str, fields: Value) -> String {
        let mut route = json!({"image": "web:1", "format": format, "memory": 32, "config": {}});
        for (key, value) in fields.as_object().into_iter().flatten() {
            route[key] = value.clone();
        }
        self.cloud.route(&self.token, &self.app, path, "", route).await;
        self.cloud.function_url(&self.app, path)
    }

    /// Makes a route and waits until its function has answered a first call.
    pub async fn answering(&self, path: &str, format: &str, fields: Value) -> String {
        let url = self.route(path, format, fields).await;
        let answers = || async {
            self.cloud.http.post(&url).body("first").send().await.is_ok_and(|answer| answer.status() == 200)
        };
        wait_until(SOON, "the function answers", answers).await.expect("an answer");
        url
    }

    /// Asks the function to do something with a body.
    pub async fn ask(&self, url: &str, what: &str, body: &str) -> Answer {
        self.cloud.send(self.cloud.http.post(url).header("x-do", what).body(body.to_owned())).await
    }

    /// The same with the token of the project's member, who is told why a call failed.
    pub async fn ask_privately(&self, path: &str, what: &str) -> Answer {
        let project = self.cloud.project("demo1").await;
        let url = format!("{}/v1/f/{project}/{}{path}", self.cloud.picasso.functions_url(), self.app);
        let request = self.cloud.http.post(url).header("x-do", what).header("x-auth-token", &self.token);
        self.cloud.send(request.body("x")).await
    }
}
