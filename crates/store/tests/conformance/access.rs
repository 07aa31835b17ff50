//! Secrets of apps and routes, and what routes ask of callers without a token.

use picasso_store::StoreError;
use picasso_types::access::parse_sources;
use picasso_types::{
    AppChange, AppId, Clock as _, CorsRules, NewApp, NewRoute, RouteAccess, RouteId, Sealed, SealedFor,
    Secret, SecretForm, SecretOwner, Secrets, Timestamp, VersionSpec, WebhookChange,
};

use super::fixture::{Fixture, MANY, SECOND, change, demo, digest, empty_app, new_app, new_route, spec};

fn with(f: &Fixture, owner: SecretOwner, name: &str, value: &str) -> Secrets {
    let value = f.store.seal(owner.sealed_for(name), value.as_bytes()).unwrap();
    let mut secrets = Secrets::default();
    let secret =
        Secret { form: SecretForm::File, set_at: Timestamp(3), bytes: 2, owner, reference: None, value };
    secrets.set(name.to_owned(), secret);
    secrets
}

fn opened(f: &Fixture, secrets: &Secrets, name: &str) -> Vec<u8> {
    let secret = secrets.get(name).unwrap();
    f.store.open(secret.owner.sealed_for(name), &secret.value).unwrap()
}

pub async fn a_sealed_value_opens_for_what_it_was_sealed_for_only(f: Fixture) {
    let (app, route) = (f.app("hello").await.id, RouteId::generate());
    let what = SealedFor::AppSecret(&app, "A");
    let sealed = f.store.seal(what, b"plain text").unwrap();
    assert!(!format!("{sealed:?}").contains(&sealed.sealed));
    assert_eq!(f.store.open(what, &sealed).unwrap(), b"plain text");
    let other = AppId::generate();
    let cut = Sealed { sealed: sealed.sealed[..20].to_owned(), ..sealed.clone() };
    let unreadable = Sealed { sealed: "?".to_owned(), ..sealed.clone() };
    for refused in [
        f.store.open(SealedFor::AppSecret(&other, "A"), &sealed),
        f.store.open(SealedFor::AppSecret(&app, "B"), &sealed),
        f.store.open(SealedFor::RouteSecret(&route, "A"), &sealed),
        f.store.open(SealedFor::JwtKey(&route), &sealed),
        f.store.open(SealedFor::WebhookKey(&route), &sealed),
        f.store.open(what, &cut),
        f.store.open(what, &unreadable),
    ] {
        assert!(matches!(refused, Err(StoreError::Damaged { .. })));
    }
}

pub async fn secrets_and_cors_rules_come_back_and_a_change_of_secrets_makes_versions(f: Fixture) {
    let cors = CorsRules { allow_origins: vec!["https://a.example".to_owned()], ..CorsRules::default() };
    let new = new_app(&demo(), "hello");
    let secrets = with(&f, SecretOwner::App(new.id.clone()), "A", "v1");
    let new = NewApp { secrets: secrets.clone(), cors: Some(cors.clone()), ..new };
    let app = f.store.create_app(&new, MANY).await.unwrap();
    assert_eq!((&app.id, &app.secrets, app.cors.as_ref()), (&new.id, &secrets, Some(&cors)));
    assert_eq!(f.store.get_app(&demo(), "hello").await.unwrap(), app);
    let route = f.ready_route(&app, "/hello").await;
    assert_eq!(opened(&f, &route.latest.merged_secrets, "A"), b"v1");

    let changed = with(&f, SecretOwner::App(app.id.clone()), "A", "v2");
    let change = AppChange { secrets: changed.clone(), ..empty_app() };
    let updated = f.store.update_app(&app.id, &change, "user").await.unwrap();
    assert_eq!((&updated.secrets, &updated.cors), (&changed, &None));
    assert_eq!(f.store.get_app_by_id(&app.id).await.unwrap(), updated);
    let after = f.store.get_route_by_id(&route.id).await.unwrap();
    assert_eq!(after.active.as_ref().unwrap().number, 2, "calls run the version with the new value");
    assert_eq!(opened(&f, &after.active.unwrap().merged_secrets, "A"), b"v2");
    let old = f.store.get_version(&route.latest.id).await.unwrap();
    assert_eq!(opened(&f, &old.merged_secrets, "A"), b"v1", "a version does not change");

    let without = AppChange { cors: Some(cors), secrets: changed, ..empty_app() };
    f.store.update_app(&app.id, &without, "user").await.unwrap();
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap().latest.number, 2, "rules make no version");
}

pub async fn a_routes_secret_wins_over_its_apps_in_every_version(f: Fixture) {
    let new = new_app(&demo(), "hello");
    let of_app = SecretOwner::App(new.id.clone());
    let both = with(&f, of_app.clone(), "A", "app").overlaid(&with(&f, of_app.clone(), "B", "app"));
    let app = f.store.create_app(&NewApp { secrets: both.clone(), ..new }, MANY).await.unwrap();
    let new = new_route("/hello");
    let own = with(&f, SecretOwner::Route(new.id.clone()), "A", "route");
    let new = NewRoute { spec: VersionSpec { secrets: own.clone(), ..spec("hello:1") }, ..new };
    let route = f.store.create_route(&app.id, &new, Some(&digest("one")), MANY).await.unwrap();
    assert_eq!((&route.id, &route.latest.spec.secrets), (&new.id, &own));
    let merged = &route.latest.merged_secrets;
    assert_eq!((opened(&f, merged, "A"), opened(&f, merged, "B")), (b"route".to_vec(), b"app".to_vec()));

    let mut next = change(&route);
    next.spec.secrets.delete("A");
    let route = f.store.update_route(&route.id, &next, Some(&digest("one"))).await.unwrap();
    assert_eq!(opened(&f, &route.latest.merged_secrets, "A"), b"app");
    let emptied = AppChange { secrets: Secrets::default(), ..empty_app() };
    f.store.update_app(&app.id, &emptied, "user").await.unwrap();
    let route = f.store.get_route_by_id(&route.id).await.unwrap();
    assert!(route.latest.merged_secrets.is_empty() && route.latest.number == 3);
}

pub async fn a_change_of_a_route_leaves_its_webhook_secrets(f: Fixture) {
    let app = f.app("hello").await;
    let new = new_route("/hello");
    let jwt = f.store.seal(SealedFor::JwtKey(&new.id), b"k").unwrap();
    let sources = parse_sources(&["198.51.100.0/24".to_owned(), "2001:db8::1".to_owned()]).unwrap();
    let access = RouteAccess { allowed_sources: sources, jwt_key: Some(jwt), ..RouteAccess::default() };
    let new = NewRoute { access: access.clone(), ..new };
    let route = f.store.create_route(&app.id, &new, None, MANY).await.unwrap();
    assert_eq!(route.access, access);
    // Made from what was read before the webhook got its token.
    let next = change(&route);
    let set = WebhookChange::SetPath("hash".to_owned());
    let with_token = f.store.change_webhook(&route.id, &set, Timestamp(0)).await.unwrap();
    assert_eq!(with_token.latest, route.latest, "no new version");
    let mut next = next;
    next.access.jwt_key = None;
    let after = f.store.update_route(&route.id, &next, None).await.unwrap();
    assert_eq!(after.access.webhook, with_token.access.webhook);
    assert_eq!((after.access.jwt_key, &after.access.allowed_sources), (None, &access.allowed_sources));
}

pub async fn webhook_secrets_rotate_with_an_overlap(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let until = f.clock.now().plus_micros(SECOND);
    for hash in ["one", "two"] {
        f.store.change_webhook(&route.id, &WebhookChange::SetPath(hash.to_owned()), until).await.unwrap();
    }
    let key = f.store.seal(SealedFor::WebhookKey(&route.id), b"k").unwrap();
    let stored =
        f.store.change_webhook(&route.id, &WebhookChange::SetSignature(key.clone()), until).await.unwrap();
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap(), stored);
    let webhook = stored.access.webhook;
    let path = webhook.path.unwrap();
    assert_eq!(path.good_at(f.clock.now()).collect::<Vec<_>>(), ["two", "one"]);
    assert_eq!(path.good_at(until).collect::<Vec<_>>(), ["two"]);
    assert_eq!(webhook.signature.unwrap().good_at(until).collect::<Vec<_>>(), [&key]);
    let gone = f.store.change_webhook(&route.id, &WebhookChange::DeletePath, until).await.unwrap();
    assert_eq!(gone.access.webhook.path, None);
    let missing = f.store.change_webhook(&RouteId::generate(), &WebhookChange::DeletePath, until).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
}

pub async fn rolling_back_brings_a_routes_old_secrets_and_keeps_its_apps_new_ones(f: Fixture) {
    let new = new_app(&demo(), "hello");
    let of_app = SecretOwner::App(new.id.clone());
    let new = NewApp { secrets: with(&f, of_app.clone(), "APP", "v1"), ..new };
    let app = f.store.create_app(&new, MANY).await.unwrap();
    let new = new_route("/hello");
    let of_route = SecretOwner::Route(new.id.clone());
    let jwt = |key: &[u8]| Some(f.store.seal(SealedFor::JwtKey(&new.id), key).unwrap());
    let first = NewRoute {
        access: RouteAccess { jwt_key: jwt(b"one"), ..RouteAccess::default() },
        spec: VersionSpec { secrets: with(&f, of_route.clone(), "OWN", "v1"), ..spec("hello:1") },
        ..new.clone()
    };
    let route = f.store.create_route(&app.id, &first, Some(&digest("one")), MANY).await.unwrap();
    let mut second = change(&route);
    second.spec.secrets = with(&f, of_route, "OWN", "v2");
    second.access.jwt_key = jwt(b"two");
    f.store.update_route(&route.id, &second, Some(&digest("two"))).await.unwrap();
    let newer = AppChange { secrets: with(&f, of_app, "APP", "v2"), ..empty_app() };
    f.store.update_app(&app.id, &newer, "user").await.unwrap();

    let back = f.store.roll_back(&route.id, 1, "user-c").await.unwrap();
    assert_eq!(back.latest.spec.secrets, route.latest.spec.secrets);
    let merged = &back.active.as_ref().unwrap().merged_secrets;
    assert_eq!((opened(&f, merged, "OWN"), opened(&f, merged, "APP")), (b"v1".to_vec(), b"v2".to_vec()));
    assert_eq!(
        back.access.jwt_key, second.access.jwt_key,
        "what callers show is the route's, not a version's"
    );
}
