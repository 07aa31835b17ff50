//! The environment a function sees: that of one call of format `default`, and that of a hot
//! process.
//!
//! Contract: IronFunctions' variables (`METHOD`, `ROUTE`, `REQUEST_URL`, configuration in upper
//! case, `PARAM_…`, `HEADER_…`), without its defects: `REQUEST_URL` is a URL and the call id is
//! there, as `PICASSO_CALL_ID` and under Fn's name `FN_CALL_ID`.

use std::collections::BTreeMap;

use picasso_image::ImageProcess;
use picasso_types::Config;

use crate::invocation::Invocation;
use crate::secrets::OpenSecrets;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a function's home is unless its image says so: the folder that every sandbox can write in.
/// Libraries that look for settings there, openstacksdk for one, end without any.
pub(crate) const DEFAULT_HOME: &str = "/tmp";

/// The whole environment of one call: the image's, then the configuration, then the secrets under
/// their own names and the identity's variables, then the request's.
pub fn of_call(
    image: &ImageProcess,
    config: &Config,
    secrets: &OpenSecrets,
    invocation: &Invocation,
) -> Vec<(String, String)> {
    let mut env = of_image(image);
    env.extend(of_task(config, secrets, invocation));
    env.into_iter().collect()
}

/// What a call adds to the environment of its image: the configuration, then the secrets, then the request.
pub fn of_task(config: &Config, secrets: &OpenSecrets, invocation: &Invocation) -> BTreeMap<String, String> {
    let own = config.entries().map(|(key, value)| (variable("", key), value.to_owned()));
    let mut env: BTreeMap<_, _> = own.chain(secrets.env().cloned()).collect();
    // A decoded parameter may hold a NUL byte, which no environment can.
    env.extend(of_request(invocation).into_iter().map(|(name, value)| (name, value.replace('\0', ""))));
    let call_id = invocation.call_id.to_string();
    env.extend([("PICASSO_CALL_ID".to_owned(), call_id.clone()), ("FN_CALL_ID".to_owned(), call_id)]);
    env
}

fn of_image(image: &ImageProcess) -> BTreeMap<String, String> {
    let defaults = [("PATH", DEFAULT_PATH), ("HOME", DEFAULT_HOME)];
    let mut env = BTreeMap::from(defaults.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env.extend(image.env.iter().cloned());
    env
}

/// What IronFunctions tells of a request beside the request itself, by the names of `default`'s
/// variables: in the order of their names.
pub fn of_request(invocation: &Invocation) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in joined_headers(invocation) {
        env.insert(variable("HEADER_", &name), value);
    }
    for (name, value) in &invocation.params {
        env.insert(variable("PARAM_", name), value.clone());
    }
    env.extend([
        ("METHOD".to_owned(), invocation.method.to_string()),
        ("ROUTE".to_owned(), invocation.target.route.pattern.to_string()),
        ("REQUEST_URL".to_owned(), invocation.url.clone()),
    ]);
    env
}

/// The whole environment of a process that serves several calls: the image's, then the
/// configuration and the secrets with their names unchanged, then `ours`. What is later wins.
pub fn of_process(
    image: &ImageProcess,
    config: Option<&Config>,
    secrets: &OpenSecrets,
    ours: impl IntoIterator<Item = (&'static str, String)>,
) -> Vec<(String, String)> {
    with_config(image, config, secrets, ours, str::to_owned)
}

/// As [`of_process`], with the configuration in upper case as `default` has it.
pub fn of_ironfunctions_process(
    image: &ImageProcess,
    config: Option<&Config>,
    secrets: &OpenSecrets,
    ours: impl IntoIterator<Item = (&'static str, String)>,
) -> Vec<(String, String)> {
    with_config(image, config, secrets, ours, |key| variable("", key))
}

fn with_config(
    image: &ImageProcess,
    config: Option<&Config>,
    secrets: &OpenSecrets,
    ours: impl IntoIterator<Item = (&'static str, String)>,
    name: impl Fn(&str) -> String,
) -> Vec<(String, String)> {
    let mut env = of_image(image);
    let config = config.into_iter().flat_map(Config::entries);
    env.extend(config.map(|(key, value)| (name(key), value.to_owned())));
    env.extend(secrets.env().cloned());
    env.extend(ours.into_iter().map(|(key, value)| (key.to_owned(), value)));
    env.into_iter().collect()
}

/// `content-type` → `HEADER_CONTENT_TYPE`.
fn variable(prefix: &str, name: &str) -> String {
    let upper = name.chars().map(|c| match c {
        '-' | '.' => '_',
        c => c.to_ascii_uppercase(),
    });
    prefix.chars().chain(upper).collect()
}

/// Headers by name, several values joined by a space; values that are not UTF-8 are shown with
/// replacement characters.
fn joined_headers(invocation: &Invocation) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &invocation.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push(' ');
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn get<'a>(env: &'a [(String, String)], key: &str) -> Option<&'a str> {
        env.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn no_secrets() -> OpenSecrets {
        OpenSecrets::default()
    }

    #[test]
    fn a_secret_has_its_own_name_wins_over_configuration_and_not_over_what_is_ours() {
        let secrets = OpenSecrets::of_env(&[("key", "s"), ("METHOD", "FORGED"), ("FN_FORMAT", "FORGED")]);
        let config = testing::config(&[("key", "c"), ("other", "c")]);
        let image = image(&[]);
        let call = of_call(&image, &config, &secrets, &testing::invocation("/a"));
        assert_eq!(
            (get(&call, "key"), get(&call, "KEY"), get(&call, "METHOD")),
            (Some("s"), Some("c"), Some("POST"))
        );
        let ours = [("FN_FORMAT", "json".to_owned())];
        let process = of_process(&image, Some(&config), &secrets, ours.clone());
        assert_eq!((get(&process, "key"), get(&process, "FN_FORMAT")), (Some("s"), Some("json")));
        let process = of_ironfunctions_process(&image, Some(&config), &secrets, ours);
        assert_eq!((get(&process, "key"), get(&process, "FN_FORMAT")), (Some("s"), Some("json")));
    }

    #[test]
    fn an_identitys_variables_win_over_image_configuration_and_secrets() {
        let forged = [("OS_CLOUD", "forged"), ("OS_VOLUME_API_VERSION", "3")];
        let identity = vec![("OS_CLOUD".to_owned(), "picasso".to_owned())];
        let secrets = OpenSecrets::of_env(&[("OS_CLOUD", "forged")]).with_identity(identity);
        let (image, config) = (image(&forged), testing::config(&forged));
        let call = of_call(&image, &config, &secrets, &testing::invocation("/a"));
        let process = of_process(&image, Some(&config), &secrets, []);
        let ironfunctions = of_ironfunctions_process(&image, Some(&config), &secrets, []);
        for env in [call, process, ironfunctions] {
            assert_eq!(env.iter().filter(|(name, _)| name == "OS_CLOUD").count(), 1);
            assert_eq!(get(&env, "OS_CLOUD"), Some("picasso"));
            assert_eq!(get(&env, "OS_VOLUME_API_VERSION"), Some("3"), "others are the function's own");
        }
    }

    fn image(env: &[(&str, &str)]) -> ImageProcess {
        ImageProcess {
            argv: vec!["/f".to_owned()],
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![],
        }
    }

    #[test]
    fn a_function_sees_the_contracts_variables() {
        let mut invocation = testing::invocation("/users/:id");
        invocation.url = "http://host:10002/f/app/users/7?x=1".to_owned();
        invocation.params = vec![("id".to_owned(), "7".to_owned())];
        invocation.headers.append("x-two", "a".parse().unwrap());
        invocation.headers.append("x-two", "b".parse().unwrap());
        let config = testing::config(&[("my-key", "v")]);
        let env = of_call(&image(&[("FROM_IMAGE", "1")]), &config, &no_secrets(), &invocation);
        assert_eq!(get(&env, "METHOD"), Some("POST"));
        assert_eq!(get(&env, "ROUTE"), Some("/users/:id"));
        assert_eq!(get(&env, "REQUEST_URL"), Some("http://host:10002/f/app/users/7?x=1"));
        assert_eq!(get(&env, "MY_KEY"), Some("v"));
        assert_eq!(get(&env, "PARAM_ID"), Some("7"));
        assert_eq!(get(&env, "HEADER_X_TWO"), Some("a b"));
        assert_eq!(get(&env, "FROM_IMAGE"), Some("1"));
        assert_eq!(get(&env, "PATH"), Some(DEFAULT_PATH));
        assert_eq!(get(&env, "PICASSO_CALL_ID"), Some(invocation.call_id.as_str()));
        assert_eq!(get(&env, "FN_CALL_ID"), Some(invocation.call_id.as_str()));
    }

    #[test]
    fn a_process_sees_its_configuration_unchanged_and_what_is_ours_wins() {
        let config = testing::config(&[("my-key", "v"), ("FN_TYPE", "FORGED"), ("FROM_IMAGE", "2")]);
        let image = image(&[("FROM_IMAGE", "1")]);
        let env = of_process(&image, Some(&config), &no_secrets(), [("FN_TYPE", "sync".to_owned())]);
        assert_eq!(get(&env, "my-key"), Some("v"));
        assert_eq!(get(&env, "FN_TYPE"), Some("sync"));
        assert_eq!(get(&env, "FROM_IMAGE"), Some("2"));
        assert_eq!(get(&env, "PATH"), Some(DEFAULT_PATH));
    }

    #[test]
    fn a_hot_process_of_ironfunctions_sees_its_configuration_in_upper_case() {
        let config = testing::config(&[("my-key", "v"), ("FN_FORMAT", "FORGED")]);
        let ours = [("FN_FORMAT", "http".to_owned())];
        let env =
            of_ironfunctions_process(&image(&[("FROM_IMAGE", "1")]), Some(&config), &no_secrets(), ours);
        assert_eq!((get(&env, "MY_KEY"), get(&env, "my-key")), (Some("v"), None));
        assert_eq!((get(&env, "FROM_IMAGE"), get(&env, "PATH")), (Some("1"), Some(DEFAULT_PATH)));
        assert_eq!(get(&env, "FN_FORMAT"), Some("http"));
    }

    #[test]
    fn configuration_cannot_forge_what_the_platform_sets() {
        let config = testing::config(&[("method", "FORGED"), ("PICASSO_CALL_ID", "FORGED")]);
        let env = of_call(&image(&[("PATH", "/opt")]), &config, &no_secrets(), &testing::invocation("/a"));
        assert!(env.iter().all(|(_, v)| v != "FORGED"));
        assert_eq!(get(&env, "PATH"), Some("/opt"), "the image's own PATH counts");
        assert_eq!(get(&env, "HOME"), Some("/tmp"));
        let homely = image(&[("HOME", "/root")]);
        let env = of_call(&homely, &config, &no_secrets(), &testing::invocation("/a"));
        assert_eq!(get(&env, "HOME"), Some("/root"), "and its HOME");
    }
}
