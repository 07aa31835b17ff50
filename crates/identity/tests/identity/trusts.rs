//! Trusts and application credentials as a real Keystone handles them, and what OpenStack's own client
//! makes of what functions are handed.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{keystone_is_here, settings, settings_at, validator};
use picasso_identity::{
    Handed, HandedIdentity, IssuedToken, KeystoneSettings, NewTrust, Place, ServiceCredentials, TrustError,
    Trusts,
};
use picasso_testkit::keystone::{Keystone, User};
use picasso_testkit::process::wait_until;
use picasso_types::{ProjectId, TrustId};
use secrecy::{ExposeSecret, SecretString};

fn trusts(settings: KeystoneSettings) -> Trusts {
    Trusts::new(Arc::new(validator(settings)), None)
}

async fn project(keystone: &Keystone, name: &str) -> ProjectId {
    ProjectId::parse(&keystone.project_id(name).await.unwrap()).unwrap()
}

/// A trust of a new user who has `roles` in `demo1`.
pub async fn trust(
    keystone: &Keystone,
    trusts: &Trusts,
    roles: &[&str],
    trusted: &[&str],
) -> (User, TrustId) {
    let user = keystone.create_user("demo1", roles).await.unwrap();
    let token = SecretString::from(keystone.token(&user.name, "demo1").await.unwrap());
    let roles: Vec<String> = trusted.iter().map(|&name| name.to_owned()).collect();
    let project = project(keystone, "demo1").await;
    let new = NewTrust { user_id: &user.id, project: &project, roles: &roles };
    let made = trusts.create(&token, new).await.unwrap();
    (user, made)
}

#[track_caller]
fn refused<T>(answer: Result<T, TrustError>) -> String {
    match answer {
        Err(TrustError::Refused(reason)) => reason,
        Err(error) => panic!("not a refusal: {error:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test]
async fn a_token_by_a_trust_is_the_trustors_with_the_chosen_roles_only() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let trusts = trusts(settings(&keystone));
    let (user, trust) = trust(&keystone, &trusts, &["member"], &["reader"]).await;
    let token = trusts.token(&trust).await.unwrap();
    assert_eq!(token.caller.user_id, user.id);
    assert_eq!(token.caller.project_id(), Some(&project(&keystone, "demo1").await));
    assert_eq!(token.caller.roles, ["reader"], "a role that \"member\" implies may be trusted alone");
    assert_eq!(token.caller.trust.as_ref().unwrap().id, trust.as_str());
    assert!(token.expires_at > token.issued_at);
    assert!(token.endpoints.iter().any(|endpoint| endpoint.service_type == "functions"));
}

#[tokio::test]
async fn a_deleted_trust_gives_no_tokens_and_ends_those_it_gave() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let trusts = trusts(settings(&keystone));
    let (_, trust) = trust(&keystone, &trusts, &["member"], &["member"]).await;
    let token = trusts.token(&trust).await.unwrap();
    let validator = validator(crate::support::uncached(settings(&keystone)));
    crate::support::check(&validator, token.secret.expose_secret()).await.unwrap();
    trusts.delete(&trust).await.unwrap();
    assert!(crate::support::check(&validator, token.secret.expose_secret()).await.is_err());
    refused(trusts.token(&trust).await);
    trusts.delete(&trust).await.unwrap();
}

#[tokio::test]
async fn a_trust_of_a_user_who_may_not_act_any_more_is_refused_and_not_taken_for_a_fault() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let trusts = trusts(settings(&keystone));
    let (disabled, of_disabled) = trust(&keystone, &trusts, &["member"], &["member"]).await;
    keystone.set_user_enabled(&disabled.name, false).await.unwrap();
    refused(trusts.token(&of_disabled).await);
    refused(trusts.delete(&of_disabled).await); //"it is there, and nobody may delete it for now"
    keystone.set_user_enabled(&disabled.name, true).await.unwrap();
    // Keystone takes back what it gives within the second in which the user was disabled.
    let deleted = wait_until(Duration::from_secs(30), "the user to act again", async || {
        trusts.delete(&of_disabled).await.is_ok()
    });
    deleted.await.unwrap();

    let (without_role, of_former) = trust(&keystone, &trusts, &["member"], &["member"]).await;
    keystone.remove_role(&without_role.name, "demo1", "member").await.unwrap();
    refused(trusts.token(&of_former).await);
    let (gone, of_gone) = trust(&keystone, &trusts, &["member"], &["member"]).await;
    keystone.delete_user(&gone.name).await.unwrap();
    refused(trusts.token(&of_gone).await);
    trusts.delete(&of_gone).await.unwrap();
}

#[tokio::test]
async fn a_keystone_that_is_away_and_a_wrong_password_of_ours_are_no_refusals() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let (_, trust) = trust(&keystone, &trusts(settings(&keystone)), &["member"], &["member"]).await;
    let wrong = trusts(settings_at(&keystone.auth_url(), "wrong"));
    assert!(matches!(wrong.token(&trust).await, Err(TrustError::Unavailable(_))));
    assert!(matches!(wrong.delete(&trust).await, Err(TrustError::Unavailable(_))));
    let short = |settings| KeystoneSettings { total_timeout: Duration::from_secs(1), ..settings };
    let trusts = trusts(short(settings(&keystone)));
    keystone.stop();
    assert!(matches!(trusts.token(&trust).await, Err(TrustError::Unavailable(_))));
}

#[tokio::test]
async fn only_what_a_user_has_can_be_trusted_and_not_with_a_token_that_was_lent() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let trusts = trusts(settings(&keystone));
    let project = project(&keystone, "demo1").await;
    let user = keystone.create_user("demo1", &["reader"]).await.unwrap();
    let own = SecretString::from(keystone.token(&user.name, "demo1").await.unwrap());
    let create = async |token: &SecretString, user_id: &str, role: &str| {
        let roles = [role.to_owned()];
        trusts.create(token, NewTrust { user_id, project: &project, roles: &roles }).await
    };
    refused(create(&own, &user.id, "member").await);
    refused(create(&own, &user.id, "no-such-role").await);
    let other = keystone.create_user("demo1", &["member"]).await.unwrap();
    refused(create(&own, &other.id, "reader").await); //"in the name of somebody else"

    let trust = create(&own, &user.id, "reader").await.unwrap();
    let lent = trusts.token(&trust).await.unwrap();
    refused(create(&lent.secret, &user.id, "reader").await); //"a trust is not handed on"
    let credential = keystone.create_application_credential(&user.name, "demo1", None).await.unwrap();
    let restricted = SecretString::from(keystone.token_of(&credential).await.unwrap());
    refused(create(&restricted, &user.id, "reader").await);
}

#[tokio::test]
async fn a_service_that_shows_an_application_credential_is_nobodys_trustee() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let (_, trust) = trust(&keystone, &trusts(settings(&keystone)), &["member"], &["member"]).await;
    let credential = keystone.create_application_credential("picasso", "service", None).await.unwrap();
    let credentials =
        ServiceCredentials::ApplicationCredential { id: credential.id, secret: credential.secret.into() };
    let trusts = trusts(KeystoneSettings { credentials, ..settings(&keystone) });
    assert!(matches!(trusts.token(&trust).await, Err(TrustError::NoTrustee)));
}

#[tokio::test]
async fn an_application_credential_tells_whose_it_is_and_a_wrong_secret_is_refused() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let trusts = trusts(settings(&keystone));
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let credential = keystone.create_application_credential(&user.name, "demo1", None).await.unwrap();
    let secret = SecretString::from(credential.secret.clone());
    let token = trusts.credential_token(&credential.id, &secret).await.unwrap();
    assert_eq!(token.caller.user_id, user.id);
    assert_eq!(token.caller.project_id(), Some(&project(&keystone, "demo1").await));
    refused(trusts.credential_token(&credential.id, &"wrong".to_owned().into()).await);
    keystone.delete_application_credential(&credential).await.unwrap();
    refused(trusts.credential_token(&credential.id, &secret).await);
}

/// Writes what a function is handed into a folder, and gives its variables with that folder's path.
fn unpacked(handed: Handed) -> (tempfile::TempDir, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in &handed.files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let at = folder.path().to_str().unwrap().to_owned();
    let env = handed.env.into_iter().map(|(name, value)| (name, value.replace("/run/picasso/identity", &at)));
    let env = env.collect();
    (folder, env)
}

async fn python(keystone: &Keystone, script: &str, env: &[(String, String)]) -> String {
    let output = keystone.python(script, env.to_vec()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn handed(keystone: &Keystone, identity: HandedIdentity<'_>, token: &IssuedToken) -> Handed {
    let place = Place { auth_url: keystone.auth_url(), region: Some("RegionOne".to_owned()) };
    Handed::of(identity, token, &place)
}

/// Asks the identity service for the user that `WHO` names, which nobody but that user may, with nothing
/// but `openstack.connect()`.
const CONNECT: &str = "\
import openstack, os
connection = openstack.connect()
answer = connection.identity.get('/users/' + os.environ['WHO'])
print(answer.status_code, answer.json().get('user', {}).get('id'))
";

fn who(mut env: Vec<(String, String)>, user: &User) -> Vec<(String, String)> {
    env.push(("WHO".to_owned(), user.id.clone()));
    env
}

#[tokio::test]
async fn openstacksdk_connects_without_arguments_with_an_application_credential() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let trusts = trusts(settings(&keystone));
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let credential = keystone.create_application_credential(&user.name, "demo1", None).await.unwrap();
    let secret = SecretString::from(credential.secret.clone());
    let token = trusts.credential_token(&credential.id, &secret).await.unwrap();
    let identity = HandedIdentity::ApplicationCredential { id: &credential.id, secret: &secret };
    let (_folder, env) = unpacked(handed(&keystone, identity, &token));
    let env = who(env, &user);
    assert_eq!(python(&keystone, CONNECT, &env).await, format!("200 {}", user.id));

    // The variables alone do, too, for programs that read no clouds.yaml.
    let of_cloud = ["OS_CLOUD", "OS_CLIENT_CONFIG_FILE"];
    let alone: Vec<_> = env.into_iter().filter(|(name, _)| !of_cloud.contains(&name.as_str())).collect();
    assert_eq!(python(&keystone, CONNECT, &alone).await, format!("200 {}", user.id));
}

#[tokio::test]
async fn a_trusts_token_works_as_it_is_and_cannot_be_scoped_again() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let trusts = trusts(settings(&keystone));
    let (user, trust) = trust(&keystone, &trusts, &["member"], &["member"]).await;
    let token = trusts.token(&trust).await.unwrap();
    let (_folder, env) = unpacked(handed(&keystone, HandedIdentity::Trust, &token));
    let mut env = who(env, &user);
    let said = python(&keystone, CONNECT, &env).await;
    assert_eq!(said, format!("200 {}", user.id), "openstack.connect() takes the token as it is");

    let by_hand = "\
import os, requests
folder = os.path.dirname(os.environ['OS_CLIENT_CONFIG_FILE'])
token = open(folder + '/token').read()
url = os.environ['OS_AUTH_URL'] + '/auth/tokens'
user = os.environ['OS_AUTH_URL'] + '/users/' + os.environ['WHO']
shown = requests.get(user, headers={'X-Auth-Token': token})
scope = {'project': {'id': os.environ['OS_PROJECT_ID']}}
identity = {'methods': ['token'], 'token': {'id': token}}
again = requests.post(url, json={'auth': {'identity': identity, 'scope': scope}})
print(shown.json()['user']['id'], again.status_code)
";
    assert_eq!(python(&keystone, by_hand, &env).await, format!("{} 403", user.id));

    // Other services are asked at their own endpoints.
    let endpoint = "import openstack; print(openstack.connect().config.get_endpoint('functions'))";
    let found = token.endpoints.iter().find(|endpoint| endpoint.service_type == "functions").unwrap();
    env.push(("PYTHONWARNINGS".to_owned(), "ignore".to_owned()));
    assert_eq!(python(&keystone, endpoint, &env).await, found.url);
}
