//! The shared token cache in a real memcached, and in one that is away, slow or a liar.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use picasso_identity::{KeystoneSettings, SharedCacheSettings};
use picasso_testkit::keystone::Keystone;
use picasso_testkit::memcached::Memcached;
use picasso_testkit::process::{require, wait_until};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{
    CountingProxy, LIMIT, MovedClock, check, keystone_is_here, refusal, settings_at, shown, validator,
    validator_with_clock,
};

const KEY: &str = "a key of thirty-two bytes or more";

fn all_here() -> bool {
    keystone_is_here() && require("memcached", Memcached::missing().as_deref())
}

/// Settings with a shared cache at `address`, asking Keystone through `proxy`.
fn sharing(proxy: &CountingProxy, keystone: &Keystone, address: &str, key: &str) -> KeystoneSettings {
    let shared = SharedCacheSettings::new(vec![address.to_owned()], key.to_owned().into());
    KeystoneSettings {
        // A busy machine is no fault of memcached's.
        shared_cache: Some(SharedCacheSettings { timeout: LIMIT, ..shared }),
        cache_time: Some(Duration::from_mins(10)),
        ..settings_at(&proxy.auth_url, &keystone.password("picasso"))
    }
}

#[tokio::test]
async fn what_one_server_was_told_the_others_know() {
    if !all_here() {
        return;
    }
    let (keystone, memcached) = (Keystone::shared().await.unwrap(), Memcached::start().await.unwrap());
    let proxy = CountingProxy::before(&keystone).await;
    let server = |key: &str| validator(sharing(&proxy, &keystone, &memcached.address(), key));
    let (one, other, stranger) = (server(KEY), server(KEY), server("another key of thirty-two bytes.."));
    let expired = keystone.expired_token("demo1-member", "demo1").await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    let with_service = [("x-auth-token", expired.as_str()), ("x-service-token", service.as_str())];
    let told = shown(&one, &with_service, ("GET", "/v1")).await.unwrap();
    assert_eq!(proxy.validations(), 2);
    assert_eq!(shown(&other, &with_service, ("GET", "/v1")).await.unwrap(), told);
    assert_eq!(proxy.validations(), 2, "the other server asked Keystone");
    refusal(check(&other, &expired).await);
    assert_eq!(proxy.validations(), 3, "what a service may bring was looked for without one");
    assert_eq!(shown(&stranger, &with_service, ("GET", "/v1")).await.unwrap(), told);
    assert_eq!(proxy.validations(), 5, "a server with another key found something");

    // Access rules are still rules.
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let rules = json!([{"service": "functions", "method": "GET", "path": "/v1/**"}]);
    let credential = keystone.create_application_credential(&user.name, "demo1", Some(rules)).await.unwrap();
    let token = keystone.token_of(&credential).await.unwrap();
    let tokens = [("x-auth-token", token.as_str())];
    shown(&one, &tokens, ("GET", "/v1/p")).await.unwrap();
    let asked = proxy.validations();
    shown(&other, &tokens, ("GET", "/v1/p")).await.unwrap();
    refusal(shown(&other, &tokens, ("POST", "/v1/p")).await);
    assert_eq!(proxy.validations(), asked);
}

#[tokio::test]
async fn revoked_tokens_of_users_and_services_are_refused_at_the_bound_also_where_the_cache_is_shared() {
    if !all_here() {
        return;
    }
    let (keystone, memcached) = (Keystone::shared().await.unwrap(), Memcached::start().await.unwrap());
    let proxy = CountingProxy::before(&keystone).await;
    let clock = Arc::new(MovedClock::default());
    let server = || {
        let settings = sharing(&proxy, &keystone, &memcached.address(), KEY);
        validator_with_clock(settings, clock.clone())
    };
    let (one, other, late) = (server(), server(), server());
    let user = keystone.token("demo1-member", "demo1").await.unwrap();
    let revoked_user = keystone.token("demo1-member", "demo1").await.unwrap();
    let revoked_service = keystone.token("picasso", "service").await.unwrap();
    let by_service = [("x-auth-token", user.as_str()), ("x-service-token", revoked_service.as_str())];
    check(&one, &revoked_user).await.unwrap();
    shown(&one, &by_service, ("GET", "/v1")).await.unwrap();
    keystone.revoke(&revoked_user).await.unwrap();
    keystone.revoke(&revoked_service).await.unwrap();
    // Told late, by another server: it does not begin anew. Minutes are left for the test to take.
    clock.move_to(5 * 60);
    let asked = proxy.validations();
    check(&other, &revoked_user).await.unwrap();
    shown(&other, &by_service, ("GET", "/v1")).await.unwrap();
    assert_eq!(proxy.validations(), asked);
    clock.move_to(10 * 60);
    for server in [&one, &other, &late] {
        refusal(check(server, &revoked_user).await);
        assert!(refusal(shown(server, &by_service, ("GET", "/v1")).await).contains("service token"));
        check(server, &user).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_reads_or_writes_memcached_learns_and_gets_nothing() {
    if !all_here() {
        return;
    }
    let (keystone, memcached) = (Keystone::shared().await.unwrap(), Memcached::start().await.unwrap());
    let proxy = CountingProxy::before(&keystone).await;
    let server = || validator(sharing(&proxy, &keystone, &memcached.address(), KEY));
    let member = keystone.token("demo1-member", "demo1").await.unwrap();
    let admin = keystone.token("demo1-admin", "demo1").await.unwrap();
    let known = check(&server(), &member).await.unwrap();
    let [(members, of_member)] = memcached.entries().await.unwrap().try_into().unwrap();
    check(&server(), &admin).await.unwrap();
    let entries = memcached.entries().await.unwrap();
    assert_eq!(entries.len(), 2);
    let hash = Sha256::digest(member.as_bytes());
    for secret in [
        member.as_bytes(),
        &hash,
        hex::encode(hash).as_bytes(),
        known.user_id.as_bytes(),
        known.project_id().unwrap().as_str().as_bytes(),
        b"demo1",
        b"member",
        b"reader",
        b"default",
        KEY.as_bytes(),
    ] {
        for (name, value) in &entries {
            for text in [name.as_bytes(), value] {
                assert!(!text.windows(secret.len()).any(|part| part == secret), "{}", secret.escape_ascii());
            }
        }
    }
    // The administrator's entry under the member's name, and changes of every kind.
    let (_, of_admin) = entries.iter().find(|(name, _)| *name != members).unwrap();
    let mut changed = of_member.clone();
    changed[20] ^= 1;
    for forged in [of_admin.as_slice(), &changed, &of_member[..10], b"", b"{}", &vec![0; 1 << 19]] {
        memcached.put(&members, forged).await.unwrap();
        let asked = proxy.validations();
        assert_eq!(check(&server(), &member).await.unwrap(), known);
        assert_eq!(proxy.validations(), asked + 1, "a forged entry was believed");
    }
}

#[tokio::test]
async fn a_memcached_that_dies_or_hangs_refuses_nobody_and_is_used_again_when_it_is_back() {
    if !all_here() {
        return;
    }
    let (keystone, mut memcached) = (Keystone::shared().await.unwrap(), Memcached::start().await.unwrap());
    let proxy = CountingProxy::before(&keystone).await;
    let impatient = || {
        let mut settings = sharing(&proxy, &keystone, &memcached.address(), KEY);
        let shared = settings.shared_cache.as_mut().unwrap();
        (shared.timeout, shared.pause) = (Duration::from_millis(200), Duration::from_millis(50));
        validator(settings)
    };
    let (one, other) = (impatient(), impatient());
    let token = async || keystone.token("demo1-member", "demo1").await.unwrap();
    check(&one, &token().await).await.unwrap();
    memcached.kill();
    check(&one, &token().await).await.unwrap();
    check(&other, &token().await).await.unwrap();
    memcached.start_again().await.unwrap();
    memcached.pause();
    check(&one, &token().await).await.unwrap();
    check(&other, &token().await).await.unwrap();
    memcached.kill();
    memcached.start_again().await.unwrap();
    wait_until(LIMIT, "an answer that is shared again", async || {
        let token = token().await;
        check(&one, &token).await.unwrap();
        let asked = proxy.validations();
        check(&other, &token).await.unwrap();
        proxy.validations() == asked
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_server_that_is_no_memcached_is_asked_once_and_then_left_alone() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let huge = format!("VALUE {} 0 99999999999\r\n", "0".repeat(48));
    for answer in ["", "HTTP/1.1 400 Bad Request\r\n\r\n", &huge, &"x".repeat(1 << 20)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, answer) = (Arc::clone(&asked), answer.to_owned());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = client.write_all(answer.as_bytes()).await;
                // Says no more, and stays until the other side leaves.
                let _ = client.read_to_end(&mut Vec::new()).await;
            }
        });
        let mut settings = sharing(&proxy, &keystone, &address, KEY);
        let shared = settings.shared_cache.as_mut().unwrap();
        (shared.timeout, shared.pause) = (Duration::from_millis(200), LIMIT * 60);
        let validator = validator(settings);
        for _ in 0..3 {
            let token = keystone.token("demo1-member", "demo1").await.unwrap();
            check(&validator, &token).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
