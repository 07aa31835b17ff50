//! The same requests through the real keystonemiddleware and through ours: the same verdict and the
//! same identity, but for what docs/authentication.md lists.

mod cases;
mod differences;
mod verdict;

use picasso_identity::{KeystoneSettings, KeystoneValidator};
use picasso_testkit::keystone::{Keystone, Middleware, Reached};
use serde_json::{Map, Value, json};

use crate::support::{settings, shown, uncached, validator};
use verdict::Verdict;

/// A request.
struct Case {
    name: String,
    settings: &'static str,
    request: (&'static str, String),
    headers: Vec<(&'static str, String)>,
}

/// Both sides, with the same sets of settings.
struct Sides {
    middleware: Middleware,
    ours: Vec<(&'static str, KeystoneValidator)>,
}

impl Sides {
    async fn of(keystone: &Keystone) -> Self {
        let options = |changes: Value| {
            let mut options = json!({
                "auth_type": "password", "auth_url": keystone.auth_url(),
                "www_authenticate_uri": keystone.auth_url(), "interface": "public",
                "username": "picasso", "password": keystone.password("picasso"),
                "user_domain_name": "Default", "project_name": "service", "project_domain_name": "Default",
                "service_type": "functions", "service_token_roles_required": "true",
                "token_cache_time": "-1", "http_request_max_retries": "0",
            });
            for (name, value) in changes.as_object().unwrap() {
                options[name] = value.clone();
            }
            options
        };
        let mut all = Map::new();
        for (name, changes) in [
            ("strict", json!({})),
            ("delayed", json!({"delay_auth_decision": "true"})),
            ("any role", json!({"service_token_roles_required": "false"})),
            ("member", json!({"service_token_roles": "Member, member"})),
            ("other type", json!({"service_type": "other"})),
            ("nowhere", json!({"auth_url": "http://127.0.0.1:9/v3"})),
        ] {
            all.insert(name.replace(' ', "-"), options(changes));
        }
        let middleware = Middleware::start(&all).await.unwrap();
        let strict = || uncached(settings(keystone));
        let roles = vec!["Member".to_owned(), "member".to_owned()];
        let nowhere = "http://127.0.0.1:9/v3".to_owned();
        let ours = [
            ("strict", strict()),
            // What Keystone said is the same from the cache.
            ("strict", settings(keystone)),
            ("any role", KeystoneSettings { service_token_roles_required: false, ..strict() }),
            ("member", KeystoneSettings { service_token_roles: roles, ..strict() }),
            ("other type", KeystoneSettings { service_type: "other".to_owned(), ..strict() }),
            ("nowhere", KeystoneSettings { auth_url: nowhere, retries: 0, ..strict() }),
        ];
        let ours = ours.into_iter().map(|(name, settings)| (name, validator(settings))).collect();
        Self { middleware, ours }
    }

    /// What keystonemiddleware makes of a request, with these settings.
    async fn reached(&self, settings: &str, case: &Case) -> Reached {
        let headers: Vec<_> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (method, target) = (case.request.0, case.request.1.as_str());
        self.middleware.send(&settings.replace(' ', "-"), (method, target), &headers).await.unwrap()
    }

    /// The same, as a verdict.
    async fn theirs(&self, case: &Case) -> Verdict {
        Verdict::from(self.reached(case.settings, case).await)
    }

    /// What each of our validators with the settings of the request makes of it, asked twice.
    async fn ours(&self, case: &Case) -> Vec<Verdict> {
        let headers: Vec<_> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = case.request.1.split('?').next().unwrap();
        let mut verdicts = Vec::new();
        for (_, validator) in self.ours.iter().filter(|(name, _)| *name == case.settings) {
            for _ in 0..2 {
                verdicts.push(Verdict::from(shown(validator, &headers, (case.request.0, path)).await));
            }
        }
        verdicts
    }
}
