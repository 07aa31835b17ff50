//! Each example of `examples/openstack` as a person runs it, against one real OpenStack: what its
//! script prints is what its README promises.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use picasso_suites::example::Testbed;
use picasso_testkit::process::require;

/// Runs an example; what it printed.
async fn printed(testbed: &Testbed, example: &str) -> String {
    testbed.prepare(example).await.unwrap();
    let output = testbed.run(example).await.unwrap();
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let log = testbed.picasso().log();
    assert!(output.status.success(), "{example}: {said}\n{complaint}\n{log}");
    // How every token of Keystone begins.
    assert!(!log.contains("gAAAA") && !said.contains("gAAAA"), "{example} shows a token");
    said.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_2017_lists_servers_with_the_token_in_its_body() {
    if !require("the testbed", Testbed::missing().as_deref()) {
        return;
    }
    let testbed = Testbed::shared().await.unwrap();
    let said = printed(&testbed, "nova-payload").await;
    assert!(said.contains("The function found 2 servers in your project:"), "{said}");
    assert!(said.contains("  - web-1  (") && said.contains("  - web-2  ("), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_lists_servers_with_the_identity_of_its_route() {
    if !require("the testbed", Testbed::missing().as_deref()) {
        return;
    }
    let testbed = Testbed::shared().await.unwrap();
    let said = printed(&testbed, "nova").await;
    assert!(said.contains("The function found 2 servers in your project:"), "{said}");
    assert!(said.contains("  - web-1  (") && said.contains("  - web-2  ("), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_calls_a_function_for_each_planned_time() {
    if !require("the testbed", Testbed::missing().as_deref()) {
        return;
    }
    let testbed = Testbed::shared().await.unwrap();
    let said = printed(&testbed, "schedule").await;
    let told = "The function said: Planned for 20";
    assert_eq!(said.matches(told).count(), 3, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keystones_notification_of_a_new_project_reaches_a_function() {
    if !require("the testbed", Testbed::missing().as_deref()) {
        return;
    }
    let testbed = Testbed::shared().await.unwrap();
    let said = printed(&testbed, "keystone").await;
    let project = said.trim().rsplit_once("The project is ").map(|(_, id)| id.trim_end_matches('.')).unwrap();
    assert!(said.contains(&format!("demo1-admin made the project {project}. Welcome!")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_aodh_calls_a_function_by_a_secret_url_and_with_a_trust() {
    if !require("the testbed", Testbed::missing().as_deref()) {
        return;
    }
    let testbed = Testbed::shared().await.unwrap();
    let said = printed(&testbed, "aodh").await;
    for server in ["web-1", "web-2"] {
        assert!(said.contains(&format!("\"alarm\": server {server} is stopped.")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_picture_becomes_a_small_one() {
    if !require("the testbed", Testbed::missing().as_deref()) {
        return;
    }
    let testbed = Testbed::shared().await.unwrap();
    let said = printed(&testbed, "swift").await;
    assert!(said.contains("of 640 by 480 points and wrote") && said.contains("of 64 by 48."), "{said}");
    assert!(said.contains("It can be downloaded: PNG"), "{said}");
}
