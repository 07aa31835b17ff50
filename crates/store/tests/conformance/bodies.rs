//! Bodies of calls: any bytes, for as long as the call may run.

use picasso_types::{CallOutput, InstanceId};

use super::fixture::{Fixture, SECOND, succeeded};

pub async fn envelope_and_payload_come_back_byte_for_byte(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let owner = InstanceId::generate();
    let all_bytes: Vec<u8> = (0..=255).collect();
    for (envelope, payload) in [
        (vec![], vec![]),
        (all_bytes.clone(), vec![]),
        (vec![0], all_bytes.clone()),
        (all_bytes.repeat(256), all_bytes.repeat(16 * 1024)),
    ] {
        let mut call = f.new_call(&app, &route);
        (call.envelope, call.payload) = (envelope, payload);
        f.store.accept_call(&call).await.unwrap();
        let claimed = f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().unwrap();
        assert!(claimed.envelope == call.envelope && claimed.payload == call.payload);
    }
}

pub async fn a_body_survives_a_lost_run_and_goes_with_the_end(f: Fixture) {
    let new = f.accepted().await;
    let owner = InstanceId::generate();
    for attempt in 1..=3 {
        let claimed = f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
        assert_eq!((claimed.call.attempt, claimed.payload), (attempt, new.payload.clone()));
        f.clock.advance(60 * SECOND);
    }
    assert!(f.store.finish_call(&new.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
    assert_eq!(f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap(), None);
}
