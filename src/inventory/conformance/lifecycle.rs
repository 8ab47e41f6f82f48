//! How transactions begin and end.

use super::*;

pub(crate) async fn opening_twice_changes_nothing(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let mut first = new(1);
    first.redeem = Some(challenge(1).digest);
    opened(&store, &first).await;
    let was = stored(&store, first.transaction.id).await;
    assert_eq!(was.challenge, Some(challenge(1).digest));
    // The same once more, and the same request under a fresh identifier.
    assert_eq!(store.open(first.clone()).await.expect("opens"), Opened::Existing(was.clone()));
    let second = NewTransaction { redeem: first.redeem, ..new(1) };
    assert_eq!(store.open(second.clone()).await.expect("opens"), Opened::Existing(was.clone()));
    assert_eq!(store.transaction(second.transaction.id).await.expect("reads"), None);
    assert_eq!(store.attempts(was.id).await.expect("reads").len(), 1);
    assert_eq!(events(&store).await, ["request.ordered"]);
    // Also when it is final.
    store.conclude(issued(&first, certificate(1, was.id))).await.expect("concludes");
    let last = stored(&store, was.id).await;
    assert_eq!(store.open(first).await.expect("opens"), Opened::Existing(last));
}

pub(crate) async fn a_request_that_was_overtaken_gets_what_was_issued(store: Store) {
    let first = new(1);
    opened(&store, &first).await;
    store.conclude(issued(&first, certificate(1, first.transaction.id))).await.expect("concludes");
    // It came before the conclusion, which is of `at(1)`, and took its time.
    let twin = new(1);
    let last = stored(&store, first.transaction.id).await;
    assert_eq!(store.open(twin).await.expect("opens"), Opened::Existing(last));
    let mut later = new(1);
    later.transaction.received_at = at(1);
    opened(&store, &later).await;
}

pub(crate) async fn the_checks_come_in_their_order(store: Store) {
    let none = DeviceLimit { group: "routers".to_owned(), device: "S1".to_owned(), since: at(-60), count: 0 };
    let existing = new(1);
    opened(&store, &existing).await;
    let mut all_wrong = new(1);
    all_wrong.redeem = Some(digest(404));
    all_wrong.limit = Some(none.clone());
    assert_eq!(store.open(all_wrong.clone()).await.expect("opens"), Opened::Existing(existing.transaction));
    all_wrong.transaction.key = key(2);
    assert_eq!(store.open(all_wrong).await.expect("opens"), Opened::ChallengeSpent);

    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let limited = NewTransaction { redeem: Some(challenge(1).digest), limit: Some(none), ..new(2) };
    assert_eq!(store.open(limited.clone()).await.expect("opens"), Opened::LimitReached);
    assert_eq!(store.transaction(limited.transaction.id).await.expect("reads"), None);
    assert_eq!(store.challenge(&challenge(1).digest).await.expect("reads"), Some(challenge(1)), "nothing was redeemed");
    assert_eq!(events(&store).await, ["request.ordered"]);
}

pub(crate) async fn a_device_limit_counts_issued_and_open(store: Store) {
    let limit = DeviceLimit { group: "routers".to_owned(), device: "S1".to_owned(), since: at(-60), count: 2 };
    let limited = |key, limit: &DeviceLimit| NewTransaction { limit: Some(limit.clone()), ..new(key) };
    // One is issued …
    let first = limited(1, &limit);
    opened(&store, &first).await;
    store.conclude(issued(&first, certificate(1, first.transaction.id))).await.expect("concludes");
    // … and one is open.
    let second = limited(2, &limit);
    opened(&store, &second).await;
    assert_eq!(store.open(limited(3, &limit)).await.expect("opens"), Opened::LimitReached);
    let other_device = DeviceLimit { device: "S2".to_owned(), ..limit.clone() };
    opened(&store, &limited(4, &other_device)).await;
    let other_group = DeviceLimit { group: "phones".to_owned(), ..limit.clone() };
    let mut phone = limited(5, &other_group);
    phone.transaction.group = Some("phones".to_owned());
    opened(&store, &phone).await;
    let later = DeviceLimit { since: at(2), ..limit.clone() };
    opened(&store, &limited(6, &later)).await;
    // What failed does not count.
    store.conclude(concluded(&second, rejected())).await.expect("concludes");
    let seventh = NewTransaction { limit: Some(DeviceLimit { count: 3, ..limit }), ..new(7) };
    opened(&store, &seventh).await;
}

pub(crate) async fn issuing_ends_it(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let certificate = certificate(1, new.transaction.id);
    assert_eq!(store.conclude(issued(&new, certificate.clone())).await.expect("concludes"), Concluded::Done);
    let last = stored(&store, new.transaction.id).await;
    let expected = Transaction {
        state: TransactionState::Issued,
        updated_at: at(1),
        certificate: Some(certificate.fingerprint),
        ..new.transaction
    };
    assert_eq!(last, expected);
    let [attempt] = &store.attempts(last.id).await.expect("reads")[..] else { panic!("one attempt") };
    assert_eq!((attempt.state, &attempt.held_by, attempt.held_until), (AttemptState::Issued, &None, None));
    assert_eq!(store.certificate(&certificate.fingerprint).await.expect("reads"), Some(certificate));
    assert_eq!(events(&store).await, ["request.ordered", "certificate.issued"]);
}

pub(crate) async fn rejecting_frees_the_challenge(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let first = NewTransaction { redeem: Some(challenge(1).digest), ..new(1) };
    opened(&store, &first).await;
    let spent = store.challenge(&challenge(1).digest).await.expect("reads").expect("it is there");
    assert_eq!((spent.redeemed_by, spent.redeemed_at), (Some(first.transaction.id), Some(at(0))));
    let second = NewTransaction { redeem: first.redeem, ..new(2) };
    assert_eq!(store.open(second.clone()).await.expect("opens"), Opened::ChallengeSpent);

    store.conclude(concluded(&first, rejected())).await.expect("concludes");
    let last = stored(&store, first.transaction.id).await;
    assert_eq!(last.state, TransactionState::Failed);
    assert_eq!((last.rejection.as_deref(), last.detail.as_deref()), (Some("issuer-refused"), Some("bad name")));
    assert_eq!(last.challenge, None);
    assert_eq!(store.challenge(&challenge(1).digest).await.expect("reads"), Some(challenge(1)));
    opened(&store, &second).await;
}

pub(crate) async fn waiting_and_unclear_attempts_stay_open(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let message = [7; 32];
    let wait =
        |result: AttemptResult| Conclusion { reply: Some((message, Bytes::from_static(b"pending"))), ..concluded(&new, result) };
    let only = async || -> Attempt {
        let [attempt] = &store.attempts(new.transaction.id).await.expect("reads")[..] else { panic!("one attempt") };
        attempt.clone()
    };
    let claimed = async |now: i64| -> AttemptState {
        let mut work = store.claim("node-a", at(now), at(now + 60), 1, &BTreeMap::new()).await.expect("claims");
        assert_eq!(work.len(), 1);
        work.remove(0).1.state
    };
    // Surely not taken: as if nobody had ever been asked.
    let not_taken = AttemptResult::NotTaken { due_at: at(10), next: None };
    assert_eq!(store.conclude(wait(not_taken)).await.expect("concludes"), Concluded::Done);
    assert_eq!(stored(&store, new.transaction.id).await.state, TransactionState::Issuing);
    let attempt = only().await;
    assert_eq!((attempt.state, attempt.due_at, &attempt.held_by), (AttemptState::Prepared, at(10), &None));
    assert_eq!(claimed(10).await, AttemptState::Prepared);
    assert_eq!(only().await.state, AttemptState::Submitted, "from now on it may have heard of it");
    // Unclear: it may have been taken, and nobody forgets that.
    let unclear = held(wait(AttemptResult::Unclear { due_at: at(20) }), "node-a", 70);
    assert_eq!(store.conclude(unclear).await.expect("concludes"), Concluded::Done);
    let attempt = only().await;
    assert_eq!((attempt.state, attempt.due_at, &attempt.held_by), (AttemptState::Submitted, at(20), &None));
    assert_eq!(claimed(20).await, AttemptState::Submitted);
    let later = |reference: &str, due: i64| AttemptResult::Waiting { reference: reference.to_owned(), due_at: at(due) };
    assert_eq!(store.conclude(held(wait(later("order-17", 30)), "node-a", 80)).await.expect("concludes"), Concluded::Done);
    assert_eq!(claimed(30).await, AttemptState::Waiting);
    assert_eq!(store.conclude(held(wait(later("order-18", 60)), "node-a", 90)).await.expect("concludes"), Concluded::Done);
    let attempt = only().await;
    assert_eq!((attempt.state, attempt.reference.as_deref()), (AttemptState::Waiting, Some("order-18")));
    assert_eq!((attempt.due_at, &attempt.held_by), (at(60), &None));

    assert_eq!(claimed(60).await, AttemptState::Waiting);
    let unclear = AttemptResult::Unknown { detail: "connection lost".to_owned() };
    let unclear = held(concluded(&new, unclear), "node-a", 120);
    assert_eq!(store.conclude(unclear).await.expect("concludes"), Concluded::Done);
    let last = stored(&store, new.transaction.id).await;
    assert_eq!((last.state, last.detail.as_deref()), (TransactionState::Unknown, Some("connection lost")));
    // Still open: the same device joins it, and no reply was kept.
    assert_eq!(store.recall(&message, &key(1)).await.expect("reads"), Some(Known::Transaction(last)));
    assert_eq!(store.conclude(issued(&new, certificate(1, new.transaction.id))).await.expect("concludes"), Concluded::Done);
    let last = stored(&store, new.transaction.id).await;
    assert_eq!((last.state, last.detail), (TransactionState::Issued, None));
}

/// What an issuer surely did not take is for another one: the same attempt, with what it is known by.
pub(crate) async fn what_was_not_taken_goes_to_the_next_issuer(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    let next = IssuerRef { upstream: "second".to_owned(), ca: "spare".to_owned() };
    let moved = AttemptResult::NotTaken { due_at: at(5), next: Some(next) };
    assert_eq!(store.conclude(concluded(&new, moved)).await.expect("concludes"), Concluded::Done);
    assert_eq!(store.open_attempts().await.expect("reads"), BTreeMap::from([("second".to_owned(), 1)]));
    let room = BTreeMap::from([("second".to_owned(), Room::default())]);
    assert!(store.claim("node-b", at(5), at(65), 9, &room).await.expect("claims").is_empty());
    let work = store.claim("node-b", at(5), at(65), 9, &BTreeMap::new()).await.expect("claims");
    let [(transaction, attempt)] = &work[..] else { panic!("one attempt") };
    assert_eq!(transaction.id, new.transaction.id);
    assert_eq!((attempt.id, attempt.state), (new.attempt.as_ref().expect("attempt").id, AttemptState::Prepared));
    assert_eq!((attempt.upstream.as_str(), attempt.ca.as_str()), ("second", "spare"));
}

pub(crate) async fn only_an_open_transaction_is_concluded(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    store.conclude(issued(&new, certificate(1, new.transaction.id))).await.expect("concludes");
    let first = stored(&store, new.transaction.id).await;
    let mut second = issued(&new, certificate(2, new.transaction.id));
    second.reply = Some(([7; 32], Bytes::from_static(b"second")));
    assert_eq!(store.conclude(second).await.expect("concludes"), Concluded::AlreadyFinal(first.clone()));
    let again = store.conclude(concluded(&new, rejected())).await.expect("concludes");
    assert_eq!(again, Concluded::AlreadyFinal(first.clone()));
    assert_eq!(store.certificate(&certificate(2, first.id).fingerprint).await.expect("reads"), None);
    assert_eq!(store.recall(&[7; 32], &key(1)).await.expect("reads"), Some(Known::Transaction(first)));
    assert_eq!(events(&store).await, ["request.ordered", "certificate.issued"]);
}

pub(crate) async fn secrets_go_when_no_longer_needed(store: Store) {
    let secret = Some(vec![1, 2, 3]);
    for (device, keep_secret) in [(1, true), (2, false)] {
        let mut new = new(device);
        new.transaction.sealed_challenge = secret.clone();
        opened(&store, &new).await;
        let waiting = AttemptResult::NotTaken { due_at: at(5), next: None };
        store.conclude(concluded(&new, waiting)).await.expect("concludes");
        assert_eq!(stored(&store, new.transaction.id).await.sealed_challenge, secret);
        let certificate = Arc::new(certificate(device, new.transaction.id));
        store.conclude(concluded(&new, AttemptResult::Issued { certificate, keep_secret })).await.expect("concludes");
        let kept = stored(&store, new.transaction.id).await.sealed_challenge;
        assert_eq!(kept.is_some(), keep_secret);
    }
}

pub(crate) async fn a_failed_command_leaves_nothing(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    // The second of the two has the identifier of the first.
    let twins = vec![challenge(2), Challenge { digest: digest(77), ..challenge(1) }];
    assert!(matches!(store.add_challenges(twins).await, Err(InventoryError::Damaged(_))));
    assert_eq!(store.challenge(&challenge(2).digest).await.expect("reads"), None);
    // An attempt that is not there: neither certificate nor events.
    let new = new(1);
    opened(&store, &new).await;
    let mut wrong = issued(&new, certificate(1, new.transaction.id));
    wrong.attempt = AttemptId::new();
    assert!(matches!(store.conclude(wrong).await, Err(InventoryError::Damaged(_))));
    assert_eq!(stored(&store, new.transaction.id).await, new.transaction);
    assert_eq!(store.certificate(&certificate(1, new.transaction.id).fingerprint).await.expect("reads"), None);
    assert_eq!(events(&store).await, ["request.ordered"]);
    // And the chain goes on from where it was.
    store.audit(vec![event("after")]).await.expect("appends");
    let chain = super::super::audit::verify_chain(&*store).await.expect("reads").expect("it holds");
    assert_eq!(chain.verified(), 2);
}
