//! The audit chain, as a store keeps it.

use super::*;
use crate::inventory::audit::verify_chain;

pub(crate) async fn the_chain_has_no_gaps(store: Store) {
    let mut rich = event("config.reloaded");
    rich.at = Timestamp::from_nanosecond(1_700_000_000_123_456_789).expect("time");
    rich.fields.insert("ünïcode \"quoted\"".to_owned(), serde_json::json!({"b": [1.5, null], "a": u64::MAX}));
    store.audit(vec![event("one"), rich, event("three")]).await.expect("appends");
    store.audit(vec![]).await.expect("appends nothing");
    store.audit(vec![event("four")]).await.expect("appends");
    let records = store.audit_log(0, 100).await.expect("reads");
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(records[0].event, event("one"));
    assert_eq!(store.audit_log(1, 2).await.expect("reads"), records[1..3]);
    assert!(store.audit_log(4, 100).await.expect("reads").is_empty());
    let chain = verify_chain(&*store).await.expect("reads").expect("it holds");
    assert_eq!((chain.verified(), chain.head()), (4, records[3].hash.clone()));
}

pub(crate) async fn events_of_every_kind_are_chained(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let one = enrolled(&store, 1, |id| certificate(1, id)).await;
    store.revoke(&one.fingerprint, RevocationReason::Superseded, at(2), event("certificate.revoked")).await.expect("revokes");
    store.revoke_challenge(&challenge(1).id, event("challenge.revoked")).await.expect("revokes");
    let mut refused = transaction(key(2));
    refused.state = TransactionState::Refused;
    let refused = RefusedTransaction { transaction: refused, reply: None, events: vec![event("request.refused")] };
    store.refuse(refused).await.expect("refuses");
    let expected = ["request.ordered", "certificate.issued", "certificate.revoked", "challenge.revoked", "request.refused"];
    assert_eq!(events(&store).await, expected);
    assert_eq!(verify_chain(&*store).await.expect("reads").expect("it holds").verified(), 5);
}
