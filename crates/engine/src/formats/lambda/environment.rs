//! The environment of a Lambda function's process (Lambda developer guide, "Defined runtime
//! environment variables").

use std::collections::BTreeMap;

use picasso_image::ImageProcess;
use picasso_types::{Timestamp, random};

use super::{PORT, names};
use crate::environment::DEFAULT_HOME;
use crate::secrets::OpenSecrets;
use crate::target::Target;

const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// Names that only the platform sets; the rest of `AWS_…` (credentials, region) is the user's.
const PLATFORMS_OWN: [&str; 10] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    // Asks runtimes to hold several calls at once; a sandbox here holds one.
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// The whole environment: defaults, the image's own, the configuration and the secrets unchanged, and
/// what only the platform sets.
pub(super) fn of_process(
    image: &ImageProcess,
    target: &Target,
    secrets: &OpenSecrets,
) -> Vec<(String, String)> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    env.extend(owned(&[
        ("PATH", DEFAULT_PATH),
        ("HOME", DEFAULT_HOME),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("AWS_REGION", names::REGION),
        ("AWS_DEFAULT_REGION", names::REGION),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ]));
    // Images name their handler in CMD, whose last word comes last.
    env.extend(image.argv.last().map(|handler| ("_HANDLER".to_owned(), handler.clone())));
    env.extend(image.env.iter().cloned());
    let version = target.version.as_deref();
    let config = version.into_iter().flat_map(|version| version.merged_config.entries());
    let config = config.filter(|(key, _)| !PLATFORMS_OWN.contains(key));
    env.extend(config.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let secrets = secrets.env().filter(|(key, _)| !PLATFORMS_OWN.contains(&key.as_str()));
    env.extend(secrets.cloned());
    env.remove("AWS_LAMBDA_MAX_CONCURRENCY");

    let (name, number) = (names::function_name(target), names::version_number(version));
    let memory = version.map_or(0, |version| version.spec.memory_mb);
    env.extend([
        ("AWS_LAMBDA_RUNTIME_API".to_owned(), format!("127.0.0.1:{PORT}")),
        ("AWS_LAMBDA_FUNCTION_VERSION".to_owned(), number.to_string()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), memory.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME".to_owned(), format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME".to_owned(), log_stream(number)),
        ("AWS_LAMBDA_FUNCTION_NAME".to_owned(), name),
        ("AWS_LAMBDA_INITIALIZATION_TYPE".to_owned(), "on-demand".to_owned()),
    ]);
    env.into_iter().collect()
}

/// `2026/03/12/[7]0a1b…`: a day, a version, and what no other sandbox has.
fn log_stream(version: u32) -> String {
    use picasso_types::Clock as _;

    let day = day_of(picasso_types::SystemClock.now());
    format!("{day}/[{version}]{}", random::uuid().replace('-', ""))
}

fn day_of(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(time.0).unwrap_or_default();
    time.strftime("%Y/%m/%d").to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing;

    fn env(image: &[(&str, &str)], config: &[(&str, &str)]) -> BTreeMap<String, String> {
        let image = ImageProcess {
            argv: ["/lambda-entrypoint.sh", "app.handler"].map(str::to_owned).into(),
            env: image.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            cwd: "/var/task".to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![],
        };
        let mut target = testing::target("/a");
        let mut version = (**target.version.as_ref().unwrap()).clone();
        version.merged_config = testing::config(config);
        target.version = Some(Arc::new(version));
        let secrets = OpenSecrets::of_env(&[("SECRET", "s"), ("LAMBDA_TASK_ROOT", "forged")])
            .with_identity(vec![("OS_CLOUD".to_owned(), "picasso".to_owned())]);
        of_process(&image, &target, &secrets).into_iter().collect()
    }

    #[test]
    fn a_runtime_finds_what_the_contract_names() {
        let env = env(&[], &[]);
        let expected = [
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("_HANDLER", "app.handler"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
            ("AWS_LAMBDA_FUNCTION_NAME", "app-a"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/app-a"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("OS_CLOUD", "picasso"),
            ("AWS_REGION", "RegionOne"),
            ("AWS_DEFAULT_REGION", "RegionOne"),
            ("TZ", ":UTC"),
            ("LANG", "en_US.UTF-8"),
            ("PATH", DEFAULT_PATH),
            ("HOME", "/tmp"),
        ];
        for (key, value) in expected {
            assert_eq!(env.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert!(env["AWS_LAMBDA_LOG_STREAM_NAME"].contains("/[1]"), "{env:?}");
    }

    #[test]
    fn configuration_sets_credentials_and_handler_but_not_what_is_the_platforms() {
        let forged: Vec<(&str, &str)> = PLATFORMS_OWN.iter().map(|key| (*key, "forged")).collect();
        let mut config = vec![
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_REGION", "here"),
            ("_HANDLER", "b.c"),
            ("lower", "as-is"),
        ];
        config.extend(forged);
        let env = env(&[("LAMBDA_TASK_ROOT", "/function"), ("AWS_LAMBDA_MAX_CONCURRENCY", "9")], &config);
        assert!(env.values().all(|value| value != "forged"), "{env:?}");
        assert!(!env.contains_key("AWS_LAMBDA_MAX_CONCURRENCY"));
        assert_eq!(env["LAMBDA_TASK_ROOT"], "/function", "an image may lie elsewhere");
        assert_eq!(env["AWS_ACCESS_KEY_ID"], "key");
        assert_eq!(env["AWS_REGION"], "here");
        assert_eq!(env["_HANDLER"], "b.c");
        assert_eq!(env["lower"], "as-is");
        assert_eq!(env["SECRET"], "s");
    }
}
