//! Identities of routes: whose they are, what suspends them, and what they leave behind.

use picasso_store::{Changed, StoreError};
use picasso_types::{
    App, AppChange, IdentityGrant, IdentityKind, Route, RouteChange, RouteIdentity, RouteIdentityState,
    SealedFor, Suspension, TrustId, VersionState, WebhookChange,
};

use super::aliases::{name, of};
use super::fixture::{Fixture, MANY, SECOND, change, config, demo, digest, empty_app};

const GRANTOR: &str = "user-a";
const OTHER: &str = "user-b";

fn trust(id: &str) -> IdentityGrant {
    IdentityGrant::Trust { id: TrustId::parse(id).unwrap() }
}

impl Fixture {
    fn identity(&self, route: &Route, grant: IdentityGrant) -> RouteIdentity {
        RouteIdentity {
            route_id: route.id.clone(),
            project_id: demo(),
            user_id: GRANTOR.to_owned(),
            grant,
            roles: vec!["member".to_owned(), "reader".to_owned()],
            granted_at: picasso_types::Clock::now(self.clock.as_ref()),
            suspension: None,
        }
    }

    async fn granted(&self, route: &Route, grant: IdentityGrant) -> RouteIdentity {
        let identity = self.identity(route, grant);
        self.store.set_identity(&identity, route.latest.number, None).await.unwrap();
        identity
    }

    /// An app with a route that has an identity.
    async fn with_identity(&self) -> (App, Route) {
        let app = self.app("hello").await;
        let route = self.ready_route(&app, "/hello").await;
        self.granted(&route, trust("one")).await;
        (app, route)
    }

    async fn suspension(&self, route: &Route) -> Option<Suspension> {
        let identity = self.store.get_identity(&route.id).await.unwrap();
        let state = self.store.get_route_by_id(&route.id).await.unwrap().identity.unwrap();
        assert_eq!(state, identity.state(), "the route says the same");
        identity.suspension
    }

    async fn consent(&self, route: &Route) {
        let seen = self.store.get_identity(&route.id).await.unwrap();
        self.store.consent_to_identity(&seen).await.unwrap();
    }

    async fn revocations(&self) -> Vec<String> {
        let due = self.store.list_trust_revocations(MANY).await.unwrap();
        due.into_iter().map(|due| due.trust.to_string()).collect()
    }
}

pub async fn an_identity_comes_back_as_it_was_granted(f: Fixture) {
    let app = f.app("hello").await;
    let (route, other) = (f.ready_route(&app, "/hello").await, f.ready_route(&app, "/other").await);
    assert!(matches!(f.store.get_identity(&route.id).await, Err(StoreError::NotFound)));
    assert_eq!(route.identity, None);
    let sealed = f.store.seal(SealedFor::IdentitySecret(&route.id), b"hush").unwrap();
    let credential = IdentityGrant::ApplicationCredential { id: "9f0c".to_owned(), secret: sealed };
    for grant in [trust("7da9"), credential] {
        let identity = f.granted(&route, grant).await;
        assert_eq!(f.store.get_identity(&route.id).await.unwrap(), identity);
        let state = RouteIdentityState { kind: identity.grant.kind(), is_suspended: false };
        let loaded = f.store.get_route(&app.id, "/hello").await.unwrap();
        assert_eq!(loaded.identity, Some(state));
        let listed = f.store.list_routes(&app.id).await.unwrap();
        assert_eq!(listed.iter().map(|route| route.identity).collect::<Vec<_>>(), [Some(state), None]);
    }
    let IdentityGrant::ApplicationCredential { secret, .. } =
        f.store.get_identity(&route.id).await.unwrap().grant
    else {
        panic!("a credential was granted")
    };
    assert_eq!(f.store.open(SealedFor::IdentitySecret(&route.id), &secret).unwrap(), b"hush");
    let elsewhere = f.store.open(SealedFor::IdentitySecret(&other.id), &secret);
    assert!(matches!(elsewhere, Err(StoreError::Damaged { .. })), "it is good for its own route only");

    f.store.delete_identity(&route.id, None).await.unwrap();
    assert!(matches!(f.store.get_identity(&route.id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.delete_identity(&route.id, None).await, Err(StoreError::NotFound)));
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap().identity, None);
}

pub async fn every_change_of_what_runs_by_another_user_suspends_an_identity(f: Fixture) {
    let (app, route) = f.with_identity().await;
    let suspended = async |reason: &str| {
        let at = picasso_types::Clock::now(f.clock.as_ref());
        let expected = Suspension { by: OTHER.to_owned(), at, reason: reason.to_owned() };
        assert_eq!(f.suspension(&route).await, Some(expected));
        f.consent(&route).await;
        assert_eq!(f.suspension(&route).await, None);
        f.clock.advance(SECOND);
    };
    let updated = f.store.update_route(&route.id, &change(&route), Some(&digest("two"))).await.unwrap();
    assert!(updated.identity.unwrap().is_suspended, "the change says so itself");
    suspended("version 2 was made").await;
    f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    suspended("version 3 was made").await;
    f.store.roll_back(&route.id, 1, OTHER).await.unwrap();
    suspended("version 4 was made").await;
    let app_config = AppChange { config: config(&[("A", "1")]), ..empty_app() };
    f.store.update_app(&app.id, &app_config, OTHER).await.unwrap();
    suspended("version 5 was made").await;
    f.store.create_alias(&route.id, &name("live"), &of(&[(1, 1)]), OTHER, MANY).await.unwrap();
    suspended("alias live was changed").await;
    f.store.update_alias(&route.id, &name("live"), &of(&[(2, 1)]), None, OTHER).await.unwrap();
    suspended("alias live was changed").await;
}

pub async fn what_the_grantor_changes_and_what_runs_nothing_else_leaves_an_identity(f: Fixture) {
    let (app, route) = f.with_identity().await;
    let own = RouteChange { created_by: GRANTOR.to_owned(), ..change(&route) };
    f.store.update_route(&route.id, &own, Some(&digest("two"))).await.unwrap();
    f.store.roll_back(&route.id, 1, GRANTOR).await.unwrap();
    f.store.create_alias(&route.id, &name("live"), &of(&[(1, 1)]), GRANTOR, MANY).await.unwrap();
    let app_config = AppChange { config: config(&[("A", "1")]), ..empty_app() };
    f.store.update_app(&app.id, &app_config, GRANTOR).await.unwrap();
    let described = AppChange { description: "new".to_owned(), ..app_config };
    f.store.update_app(&app.id, &described, OTHER).await.unwrap();
    f.store.delete_alias(&route.id, &name("live")).await.unwrap();
    let webhook = WebhookChange::SetPath("hash".to_owned());
    f.store.change_webhook(&route.id, &webhook, f.after(0)).await.unwrap();
    assert_eq!(f.suspension(&route).await, None);
}

pub async fn who_changes_it_again_suspends_again_and_only_what_was_seen_is_consented_to(f: Fixture) {
    let (_, route) = f.with_identity().await;
    f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    let seen = f.store.get_identity(&route.id).await.unwrap();
    f.clock.advance(SECOND);
    f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    assert!(matches!(f.store.consent_to_identity(&seen).await, Err(StoreError::Changed)));
    assert_eq!(f.suspension(&route).await.unwrap().reason, "version 3 was made");
    f.consent(&route).await;
    assert_eq!(f.suspension(&route).await, None);
    assert!(matches!(f.store.consent_to_identity(&seen).await, Err(StoreError::Changed)));
}

pub async fn nothing_is_granted_to_what_another_user_changed_unseen(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let identity = f.identity(&route, trust("one"));
    f.clock.advance(SECOND);
    f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    let granted = f.store.set_identity(&identity, route.latest.number, None).await;
    assert!(matches!(granted, Err(StoreError::Changed)));
    f.store.set_identity(&identity, 2, None).await.unwrap();
    f.clock.advance(SECOND);
    f.store.create_alias(&route.id, &name("live"), &of(&[(1, 1)]), OTHER, MANY).await.unwrap();
    let granted = f.store.set_identity(&identity, 2, None).await;
    assert!(matches!(granted, Err(StoreError::Changed)));
    let seen = f.identity(&route, trust("two"));
    f.store.set_identity(&seen, 2, None).await.unwrap();

    let expected = f.store.get_identity(&route.id).await.unwrap();
    f.granted(&f.store.get_route_by_id(&route.id).await.unwrap(), trust("three")).await;
    let replaced = f.store.set_identity(&seen, 2, Some(&expected)).await;
    assert!(matches!(replaced, Err(StoreError::Changed)));
    let deleted = f.store.delete_identity(&route.id, Some(&expected)).await;
    assert!(matches!(deleted, Err(StoreError::Changed)));
    f.store.delete_route(&route.id).await.unwrap();
    assert!(matches!(f.store.set_identity(&seen, 2, None).await, Err(StoreError::NotFound)));
}

pub async fn of_a_grant_and_a_change_at_one_time_the_identity_is_never_left_active(f: Fixture) {
    let app = f.app("hello").await;
    for round in 0..20 {
        let route = f.ready_route(&app, &format!("/hello{round}")).await;
        let identity = f.identity(&route, trust(&format!("t{round}")));
        let (other, image) = (change(&route), digest("two"));
        let (granted, changed) = tokio::join!(
            f.store.set_identity(&identity, 1, None),
            f.store.update_route(&route.id, &other, Some(&image)),
        );
        changed.unwrap();
        match granted {
            Ok(()) => assert!(f.suspension(&route).await.is_some(), "granted first, then changed"),
            Err(StoreError::Changed) => assert!(f.store.get_identity(&route.id).await.is_err()),
            Err(error) => panic!("{error}"),
        }
    }
}

pub async fn a_trust_that_is_not_needed_any_more_is_kept_until_it_is_revoked(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    f.granted(&route, trust("replaced")).await;
    f.granted(&route, trust("deleted")).await;
    f.clock.advance(SECOND);
    f.store.delete_identity(&route.id, None).await.unwrap();
    f.clock.advance(SECOND);
    f.granted(&route, trust("ofroute")).await;
    f.store.delete_route(&route.id).await.unwrap();
    assert_eq!(f.revocations().await, ["replaced", "deleted", "ofroute"]);
    assert_eq!(f.store.list_trust_revocations(1).await.unwrap().len(), 1);

    let id = |text: &str| TrustId::parse(text).unwrap();
    f.store.add_trust_revocation(&id("replaced")).await.unwrap();
    f.store.put_off_trust_revocation(&id("replaced"), f.after(SECOND)).await.unwrap();
    f.store.forget_trust_revocation(&id("deleted")).await.unwrap();
    assert_eq!(f.revocations().await, ["ofroute"]);
    f.clock.advance(SECOND);
    let due = f.store.list_trust_revocations(MANY).await.unwrap();
    assert_eq!(due.iter().map(|due| due.attempts).collect::<Vec<_>>(), [0, 1]);
    f.store.add_trust_revocation(&id("unused")).await.unwrap();
    assert_eq!(f.revocations().await.len(), 3);
}

pub async fn a_change_of_an_identity_is_heard_by_other_processes(f: Fixture) {
    let (app, route) = f.with_identity().await;
    let mut mark = f.store.list_changes(None).await.unwrap().upto;
    let mut heard = async || {
        let changes = f.store.list_changes(Some(mark)).await.unwrap();
        mark = changes.upto;
        changes.changed == Changed::Apps([app.id.clone()].into())
    };
    f.granted(&route, trust("two")).await;
    assert!(heard().await);
    f.store.update_route(&route.id, &change(&route), None).await.unwrap();
    assert!(heard().await);
    f.consent(&route).await;
    assert!(heard().await);
    f.store.delete_identity(&route.id, None).await.unwrap();
    assert!(heard().await);
}

pub async fn the_kind_of_an_identity_shows_while_its_route_is_still_prepared(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.store.create_route(&app.id, &super::fixture::new_route("/new"), None, MANY).await.unwrap();
    f.granted(&route, trust("one")).await;
    let loaded = f.store.get_route_by_id(&route.id).await.unwrap();
    assert_eq!(loaded.latest.state, VersionState::Preparing);
    assert_eq!(loaded.identity.map(|identity| identity.kind), Some(IdentityKind::Trust));
}
