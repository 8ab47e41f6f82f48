//! What is known of a request.

use super::*;

const MESSAGE: [u8; 32] = [7; 32];

async fn known(store: &Store, key: &TransactionKey) -> Option<Known> {
    store.recall(&MESSAGE, key).await.expect("reads")
}

pub(crate) async fn an_unknown_request_is_unknown(store: Store) {
    assert_eq!(known(&store, &key(1)).await, None);
    assert_eq!(store.transaction(TransactionId::new()).await.expect("reads"), None);
}

pub(crate) async fn a_transaction_comes_back_as_it_was_written(store: Store) {
    let mut new = new(1);
    new.transaction.sealed_challenge = Some(vec![1, 2, 3]);
    new.transaction.challenge = Some(digest(9));
    new.transaction.key.renews = Some(digest(8));
    new.transaction.detail = Some("ünïcode".to_owned());
    opened(&store, &new).await;
    assert_eq!(stored(&store, new.transaction.id).await, new.transaction);
    assert_eq!(known(&store, &new.transaction.key).await, Some(Known::Transaction(new.transaction.clone())));
    assert_eq!(store.attempts(new.transaction.id).await.expect("reads"), vec![new.attempt.expect("attempt")]);

    let mut bare = transaction(key(2));
    bare.state = TransactionState::AwaitingApproval;
    bare.group = None;
    bare.source = None;
    bare.order = None;
    let bare = NewTransaction { transaction: bare, attempt: None, redeem: None, limit: None, events: Vec::new() };
    opened(&store, &bare).await;
    assert_eq!(stored(&store, bare.transaction.id).await, bare.transaction);
}

pub(crate) async fn the_same_message_brings_the_same_reply(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let mut conclusion = issued(&new, certificate(1, new.transaction.id));
    conclusion.reply = Some((MESSAGE, Bytes::from_static(b"the reply")));
    store.conclude(conclusion).await.expect("concludes");
    let transaction = stored(&store, new.transaction.id).await;
    let reply = b"the reply".to_vec();
    assert_eq!(known(&store, &new.transaction.key).await, Some(Known::Reply { transaction: transaction.clone(), reply }));
    let other = store.recall(&[8; 32], &new.transaction.key).await.expect("reads");
    assert_eq!(other, Some(Known::Transaction(transaction)));
}

pub(crate) async fn other_wire_identifier_joins_while_open(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let other = TransactionKey { wire_id: "another".to_owned(), ..key(1) };
    assert_eq!(known(&store, &other).await, Some(Known::Transaction(new.transaction.clone())));
    let again = NewTransaction { transaction: transaction(other), attempt: Some(attempt()), ..new.clone() };
    assert_eq!(store.open(again).await.expect("opens"), Opened::Existing(new.transaction));
}

pub(crate) async fn a_joined_identifier_finds_the_final_transaction(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let by_open = TransactionKey { wire_id: "by-open".to_owned(), ..key(1) };
    let again = NewTransaction { transaction: transaction(by_open.clone()), attempt: Some(attempt()), ..new.clone() };
    assert!(matches!(store.open(again).await.expect("opens"), Opened::Existing(_)));
    let by_join = TransactionKey { wire_id: "by-join".to_owned(), ..key(1) };
    store.join(new.transaction.id, &by_join.wire_id).await.expect("joins");
    store.join(new.transaction.id, &by_join.wire_id).await.expect("joins twice");
    store.conclude(issued(&new, certificate(1, new.transaction.id))).await.expect("concludes");

    let last = stored(&store, new.transaction.id).await;
    for key in [by_open, by_join] {
        assert_eq!(known(&store, &key).await, Some(Known::Transaction(last.clone())), "{}", key.wire_id);
        let polled = store.find_transaction(&key.endpoint, &key.wire_id, &key.signer_key).await.expect("reads");
        assert_eq!(polled, Some(last.clone()));
        let stranger = TransactionKey { signer_key: digest(2), ..key };
        assert_eq!(known(&store, &stranger).await, None);
    }
    let unjoined = TransactionKey { wire_id: "never-seen".to_owned(), ..key(1) };
    assert_eq!(known(&store, &unjoined).await, None);
}

pub(crate) async fn different_keys_do_not_meet(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let mut others = vec![key(1); 5];
    others[0].endpoint = "phones".to_owned();
    others[1].signer_key = digest(2);
    others[2].csr_key = digest(2);
    others[3].renews = Some(digest(2));
    // The same keys ask for something else.
    others[4].wish = digest(2);
    for other in others {
        assert_eq!(known(&store, &other).await, None, "{other:?}");
        let mut apart = super::new(1);
        apart.transaction.key = other;
        opened(&store, &apart).await;
    }
}

pub(crate) async fn a_final_transaction_is_known_and_may_recur(store: Store) {
    let first = new(1);
    opened(&store, &first).await;
    store.conclude(issued(&first, certificate(1, first.transaction.id))).await.expect("concludes");
    let last = stored(&store, first.transaction.id).await;
    assert_eq!(known(&store, &key(1)).await, Some(Known::Transaction(last)));

    let mut second = new(1);
    second.transaction.received_at = at(100);
    opened(&store, &second).await;
    assert_eq!(known(&store, &key(1)).await, Some(Known::Transaction(second.transaction.clone())));
    let found = store.find_transaction("routers", "wire-1", &digest(1)).await.expect("reads");
    assert_eq!(found.map(|found| found.id), Some(second.transaction.id));
    store.conclude(issued(&second, certificate(2, second.transaction.id))).await.expect("concludes");
    let Some(Known::Transaction(newest)) = known(&store, &key(1)).await else { panic!("it is known") };
    assert_eq!(newest.id, second.transaction.id);
    assert_eq!(newest.certificate, Some(certificate(2, second.transaction.id).fingerprint));
}

pub(crate) async fn a_poll_finds_the_newest(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let found = store.find_transaction("routers", "wire-1", &digest(1)).await.expect("reads");
    assert_eq!(found, Some(new.transaction));
    for (endpoint, wire_id, signer) in [("phones", "wire-1", 1), ("routers", "wire-2", 1), ("routers", "wire-1", 2)] {
        assert_eq!(store.find_transaction(endpoint, wire_id, &digest(signer)).await.expect("reads"), None);
    }
}

pub(crate) async fn a_refusal_is_kept_with_its_reply(store: Store) {
    let mut refused = transaction(key(1));
    refused.state = TransactionState::Refused;
    refused.rejection = Some("no-group".to_owned());
    let write = RefusedTransaction {
        transaction: refused.clone(),
        reply: Some((MESSAGE, Bytes::from_static(b"no"))),
        events: vec![event("request.refused")],
    };
    store.refuse(write.clone()).await.expect("refuses");
    store.refuse(write).await.expect("refuses again");
    assert_eq!(events(&store).await, ["request.refused"]);
    let reply = b"no".to_vec();
    assert_eq!(known(&store, &key(1)).await, Some(Known::Reply { transaction: refused.clone(), reply }));
    // It is final: a better request may follow, with the right challenge for one.
    assert_eq!(store.recall(&[8; 32], &key(1)).await.expect("reads"), Some(Known::Transaction(refused)));
    opened(&store, &new(1)).await;
}

pub(crate) async fn the_first_reply_to_a_message_stays(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    store.conclude(issued(&new, certificate(1, new.transaction.id))).await.expect("concludes");
    store.store_reply(new.transaction.id, &MESSAGE, b"first").await.expect("stores");
    store.store_reply(new.transaction.id, &MESSAGE, b"second").await.expect("stores");
    let Some(Known::Reply { reply, .. }) = known(&store, &key(1)).await else { panic!("it is known") };
    assert_eq!(reply, b"first");
    assert!(store.store_reply(TransactionId::new(), &[9; 32], b"of nothing").await.is_err());
}

pub(crate) async fn a_refusal_gives_way_to_what_came_later(store: Store) {
    let mut refused = transaction(key(1));
    refused.state = TransactionState::Refused;
    let write =
        RefusedTransaction { transaction: refused, reply: Some((MESSAGE, Bytes::from_static(b"no"))), events: Vec::new() };
    store.refuse(write).await.expect("refuses");
    // The same message again, under a policy that lets it through.
    let new = new(1);
    opened(&store, &new).await;
    assert_eq!(known(&store, &key(1)).await, Some(Known::Transaction(new.transaction.clone())));
    let mut conclusion = issued(&new, certificate(1, new.transaction.id));
    conclusion.reply = Some((MESSAGE, Bytes::from_static(b"yes")));
    store.conclude(conclusion).await.expect("concludes");
    let transaction = stored(&store, new.transaction.id).await;
    assert_eq!(known(&store, &key(1)).await, Some(Known::Reply { transaction, reply: b"yes".to_vec() }));
}
