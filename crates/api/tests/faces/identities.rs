//! Identities of functions over HTTP, with a real Keystone: who grants, who consents, what is refused, and
//! what is left in Keystone.

use picasso_testkit::keystone::{Scope, User};
use picasso_types::{IdentityGrant, RouteId, SealedFor, TrustId};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::tenant_matrix::{World, keystone_is_here};

/// A route, and two members of its project.
struct Granted {
    world: World,
    app: String,
    route: String,
    one: User,
    one_token: String,
    other: User,
    other_token: String,
}

impl Granted {
    async fn new() -> Self {
        let world = World::new(None).await;
        let member = async || {
            let user = world.keystone.create_user("demo1", &["member"]).await.unwrap();
            let token = world.keystone.token(&user.name, "demo1").await.unwrap();
            (user, token)
        };
        let ((one, one_token), (other, other_token)) = (member().await, member().await);
        let apps = format!("/v1/{}/apps", world.project);
        let made = world.server.api.post(&apps, &one_token, &json!({"app": {"name": "granted"}})).await;
        let app = made.json()["app"]["name"].as_str().unwrap().to_owned();
        let route = json!({"route": {"path": "/run", "image": "shared:1"}});
        let made = world.server.api.post(&format!("{apps}/{app}/routes"), &one_token, &route).await;
        let route = made.json()["route"]["id"].as_str().unwrap().to_owned();
        Self { world, app, route, one, one_token, other, other_token }
    }

    fn url(&self) -> String {
        format!("/v1/{}/routes/{}/identity", self.world.project, self.route)
    }

    async fn grant(&self, token: &str, identity: Value) -> Reply {
        self.world.server.api.put(&self.url(), token, &json!({ "identity": identity })).await
    }

    async fn trust(&self, token: &str, roles: &[&str]) -> Reply {
        self.grant(token, json!({"type": "trust", "roles": roles})).await
    }

    async fn shown(&self) -> Value {
        self.world.server.api.get(&self.url(), &self.other_token).await.json()["identity"].clone()
    }

    /// What the route itself shows of it.
    async fn in_short(&self) -> Value {
        let url = format!("/v1/{}/apps/{}/routes/run", self.world.project, self.app);
        self.world.server.api.get(&url, &self.other_token).await.json()["route"]["identity"].clone()
    }

    async fn consent(&self, token: &str) -> Reply {
        let url = format!("{}/consent", self.url());
        self.world.server.api.send("POST", &url, &[("x-auth-token", token)], "").await
    }

    /// Changes what the function runs; with what the answer shows of the identity.
    async fn edit(&self, token: &str) -> Value {
        let url = format!("/v1/{}/apps/{}/routes/run", self.world.project, self.app);
        let reply = self.world.server.api.put(&url, token, &json!({"config": {"A": "1"}})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["route"]["identity"].clone()
    }

    async fn is_in_keystone(&self, trust: &str) -> bool {
        let trusts = self.world.server.state.trusts.clone().unwrap();
        trusts.token(&TrustId::parse(trust).unwrap()).await.is_ok()
    }

    async fn is_revoked(&self, trust: &str) {
        let gone = async || !self.is_in_keystone(trust).await;
        let limit = std::time::Duration::from_mins(1);
        picasso_testkit::process::wait_until(limit, "the end of a trust", gone).await.unwrap();
    }
}

fn trust_id(reply: &Reply) -> String {
    reply.json()["identity"]["trust_id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_refused(reply: &Reply, field: &str) {
    assert_eq!(reply.status, 400, "{}", reply.text());
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with(&format!("{field}: ")), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_trust_is_shown_suspended_by_another_users_change_and_consented_to_by_its_grantor() {
    if !keystone_is_here() {
        return;
    }
    let it = Granted::new().await;
    assert_eq!((&it.shown().await["type"], it.in_short().await), (&json!("none"), Value::Null));
    assert_eq!(it.consent(&it.one_token).await.status, 404);
    let granted = it.trust(&it.one_token, &["reader"]).await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    let identity = granted.json()["identity"].clone();
    assert_eq!((&identity["type"], &identity["state"]), (&json!("trust"), &json!("active")));
    assert_eq!((&identity["roles"], &identity["user_id"]), (&json!(["reader"]), &json!(it.one.id)));
    assert_eq!(identity["project_id"], json!(it.world.project));
    assert_eq!(it.shown().await, identity);
    assert!(it.is_in_keystone(&trust_id(&granted)).await);

    let same = it.trust(&it.one_token, &["reader"]).await;
    assert_eq!(same.json()["identity"], identity, "what is granted already is not granted twice");

    assert_eq!(it.edit(&it.one_token).await["state"], "active");
    assert_eq!(it.shown().await["state"], "active");
    assert_eq!(it.in_short().await, json!({"type": "trust", "state": "active"}));
    assert_eq!(it.edit(&it.other_token).await["state"], "suspended");
    assert_eq!(it.in_short().await, json!({"type": "trust", "state": "suspended"}));
    let suspended = it.shown().await;
    assert_eq!((&suspended["state"], &suspended["suspended_by"]), (&json!("suspended"), &json!(it.other.id)));
    assert_eq!(suspended["reason"], "version 3 was made");

    let refused = it.consent(&it.other_token).await;
    assert_eq!((refused.status, refused.header("picasso-error-kind")), (403, "not_the_grantor"));
    let lent = it.world.server.state.trusts.clone().unwrap();
    let lent = lent.token(&TrustId::parse(&trust_id(&granted)).unwrap()).await.unwrap();
    let admin = it.world.keystone.scoped_token("demo1-admin", Scope::Project("demo1")).await.unwrap();
    assert_eq!(it.consent(&admin).await.status, 403, "nor does an administrator");
    let by_trust = it.consent(secrecy::ExposeSecret::expose_secret(&lent.secret)).await;
    assert_eq!(by_trust.status, 403, "nor the function itself");

    let old = granted.header("etag").to_owned();
    let url = format!("{}/consent", it.url());
    let headers = [("x-auth-token", it.one_token.as_str()), ("if-match", old.as_str())];
    assert_eq!(it.world.server.api.send("POST", &url, &headers, "").await.status, 412);
    let consented = it.consent(&it.one_token).await;
    assert_eq!((consented.status, &consented.json()["identity"]), (200, &identity));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_goes_with_its_identity_its_replacement_and_its_route() {
    if !keystone_is_here() {
        return;
    }
    let it = Granted::new().await;
    let first = trust_id(&it.trust(&it.one_token, &["reader"]).await);
    let second = it.trust(&it.other_token, &["reader"]).await;
    assert_eq!(second.json()["identity"]["user_id"], json!(it.other.id));
    it.is_revoked(&first).await;
    let headers = [("x-auth-token", it.one_token.as_str()), ("openstack-api-version", "functions 1.1")];
    let deleted = it.world.server.api.send("DELETE", &it.url(), &headers, "").await;
    assert_eq!(deleted.status, 204);
    it.is_revoked(&trust_id(&second)).await;
    assert_eq!(it.world.server.api.delete(&it.url(), &it.one_token).await.status, 404);

    let third = trust_id(&it.trust(&it.one_token, &["member"]).await);
    let route = format!("/v1/{}/apps/{}/routes/run", it.world.project, it.app);
    assert_eq!(it.world.server.api.delete(&route, &it.other_token).await.status, 200);
    it.is_revoked(&third).await;
    let store = &it.world.server.state.store;
    let none = async || store.list_trust_revocations(10).await.unwrap().is_empty();
    let limit = std::time::Duration::from_mins(1);
    picasso_testkit::process::wait_until(limit, "nothing to be left to revoke", none).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_needs_roles_of_the_token_and_a_token_of_ones_own() {
    if !keystone_is_here() {
        return;
    }
    let it = Granted::new().await;
    let keystone = &it.world.keystone;
    assert_refused(&it.trust(&it.one_token, &["member", "admin"]).await, "identity.roles");
    assert_refused(&it.trust(&it.one_token, &[]).await, "identity.roles");
    assert_refused(&it.grant(&it.one_token, json!({"type": "user"})).await, "identity.type");
    let elsewhere = keystone.create_user("demo2", &["admin"]).await.unwrap();
    let elsewhere = keystone.token(&elsewhere.name, "demo2").await.unwrap();
    assert_refused(&it.trust(&elsewhere, &["reader"]).await, "X-Auth-Token");
    let trust = keystone.create_trust(&it.one.name, "picasso", "demo1", "member").await.unwrap();
    let by_trust = keystone.scoped_token("picasso", Scope::Trust(&trust)).await.unwrap();
    assert_refused(&it.trust(&by_trust, &["reader"]).await, "X-Auth-Token");
    let credential = keystone.create_application_credential(&it.one.name, "demo1", None).await.unwrap();
    let restricted = keystone.token_of(&credential).await.unwrap();
    assert_refused(&it.trust(&restricted, &["reader"]).await, "X-Auth-Token");
    assert_eq!(it.shown().await["type"], "none", "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_credential_is_handed_over_by_its_owner_and_its_secret_is_never_shown() {
    if !keystone_is_here() {
        return;
    }
    let it = Granted::new().await;
    let keystone = &it.world.keystone;
    let handed = async |token: &str, id: &str, secret: &str| {
        it.grant(token, json!({"type": "application_credential", "id": id, "secret": secret})).await
    };
    let credential = keystone.create_application_credential(&it.one.name, "demo1", None).await.unwrap();
    assert_refused(&handed(&it.one_token, &credential.id, "wrong").await, "identity.secret");
    assert_refused(&handed(&it.other_token, &credential.id, &credential.secret).await, "identity.id");
    let both = keystone.create_user("demo1", &["member"]).await.unwrap();
    keystone.add_role(&both.name, "demo2", "member").await.unwrap();
    let elsewhere = keystone.create_application_credential(&both.name, "demo2", None).await.unwrap();
    let both = keystone.token(&both.name, "demo1").await.unwrap();
    assert_refused(&handed(&both, &elsewhere.id, &elsewhere.secret).await, "identity.id");

    let granted = handed(&it.one_token, &credential.id, &credential.secret).await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    let shown = it.world.server.api.get(&it.url(), &it.other_token).await;
    for reply in [&granted, &shown] {
        assert!(!reply.text().contains(&credential.secret));
        assert_eq!(reply.json()["identity"]["application_credential_id"], json!(credential.id));
    }
    assert_eq!(shown.json()["identity"]["roles"], json!(["member", "reader"]));
    let store = &it.world.server.state.store;
    let route = RouteId::parse(&it.route).unwrap();
    let IdentityGrant::ApplicationCredential { secret, .. } = store.get_identity(&route).await.unwrap().grant
    else {
        panic!("a credential was granted")
    };
    assert!(!format!("{secret:?}").contains(&credential.secret));
    let opened = store.open(SealedFor::IdentitySecret(&route), &secret).unwrap();
    assert_eq!(opened, credential.secret.as_bytes());
    it.edit(&it.other_token).await;
    assert_eq!(it.shown().await["state"], "suspended");
}
