//! Version discovery as the library of OpenStack's own clients reads it.

use std::path::Path;

use picasso_testkit::process::{require, run};
use serde_json::{Value, json};

use crate::support::{PROJECT, Server};

/// Prints what keystoneauth finds at each URL, and what a microversioned request gets.
const SCRIPT: &str = r#"
import json, sys
from keystoneauth1 import adapter, discover, session, token_endpoint

base, project = sys.argv[1:]
found = {}
for path in ["", "/", "/v1", "/v1/"]:
    seen = discover.Discover(session.Session(), url=base + path)
    data = seen.versioned_data_for(min_version=(1, 0), max_version=(1, discover.LATEST), url=base)
    found[path] = {
        "url": data["url"],
        "version": data["version"],
        "status": data["raw_status"],
        "min": data["min_microversion"],
        "max": data["max_microversion"],
        "collection": data["collection"],
        "raw": [each["id"] for each in seen.raw_version_data()],
    }

# As a client does that has the unversioned URL of the catalog.
endpoint = discover.Discover(session.Session(), url=base).url_for("1.latest")
auth = token_endpoint.Token(base, "member")
client = adapter.Adapter(session.Session(auth), service_type="functions", endpoint_override=endpoint)
data = client.get_endpoint_data()
newest = "%d.%d" % data.max_microversion
made = client.post("/%s/apps" % project, json={"app": {"name": "found"}}, microversion=newest)
found["client"] = {
    "endpoint": data.url,
    "status": made.status_code,
    "version": made.headers["OpenStack-API-Version"],
    "location": made.headers["Location"],
}
print(json.dumps(found))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn keystoneauth_finds_the_version_its_range_and_its_endpoint() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/openstack-venv");
    let made = run("bash", [&script]);
    let missing = made.as_ref().err().map(ToString::to_string);
    if !require("OpenStack's Python packages", missing.as_deref()) {
        return;
    }
    let python = Path::new(made.unwrap().trim()).join("bin/python").display().to_string();
    let server = Server::start().await;
    let base = format!("http://{}", server.api_address);
    let asked = base.clone();
    let printed = tokio::task::spawn_blocking(move || run(&python, ["-c", SCRIPT, &asked, PROJECT]));
    let found: Value = serde_json::from_str(&printed.await.unwrap().unwrap()).unwrap();
    for path in ["", "/", "/v1", "/v1/"] {
        let expected = json!({
            "url": format!("{base}/v1/"), "version": [1, 0], "status": "CURRENT",
            "min": [1, 0], "max": [1, 1], "collection": format!("{base}/"), "raw": ["v1.0"],
        });
        assert_eq!(found[path], expected, "{path:?}");
    }
    assert_eq!(found["client"]["endpoint"], format!("{base}/v1/"));
    assert_eq!(
        (&found["client"]["status"], &found["client"]["version"]),
        (&json!(201), &json!("functions 1.1"))
    );
    let location = found["client"]["location"].as_str().unwrap();
    let shown = server.api.get(location.strip_prefix(&base).unwrap(), "reader").await;
    assert_eq!(shown.json()["app"]["short_name"], "found");
}
