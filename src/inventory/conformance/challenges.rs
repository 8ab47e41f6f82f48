//! Challenges, and what a purge takes.

use super::*;

async fn listed(store: &Store, group: Option<&str>, include_spent: bool, limit: usize) -> Vec<String> {
    let found = store.challenges(group, include_spent, limit).await.expect("reads");
    found.into_iter().map(|challenge| challenge.id).collect()
}

pub(crate) async fn a_challenge_comes_back_as_it_was_written(store: Store) {
    let bare = Challenge { bind: BTreeMap::new(), note: None, ..challenge(2) };
    store.add_challenges(vec![challenge(1), bare.clone()]).await.expect("adds");
    assert_eq!(store.challenge(&challenge(1).digest).await.expect("reads"), Some(challenge(1)));
    assert_eq!(store.challenge(&bare.digest).await.expect("reads"), Some(bare));
    assert_eq!(store.challenge(&digest(404)).await.expect("reads"), None);
}

pub(crate) async fn lists_show_the_newest_first(store: Store) {
    let aged = |number: u32, age: i64| Challenge { created_at: at(-age), ..challenge(number) };
    let phone = Challenge { group: "phones".to_owned(), ..aged(2, 20) };
    let expired = Challenge { expires_at: at(-5), ..aged(4, 40) };
    store.add_challenges(vec![aged(3, 30), phone, expired, aged(1, 10)]).await.expect("adds");
    let id = |number: u32| challenge(number).id;
    assert_eq!(listed(&store, None, true, 10).await, [id(1), id(2), id(3), id(4)]);
    assert_eq!(listed(&store, None, false, 10).await, [id(1), id(2), id(3)]);
    assert_eq!(listed(&store, Some("routers"), false, 10).await, [id(1), id(3)]);
    assert_eq!(listed(&store, None, true, 2).await, [id(1), id(2)]);
    opened(&store, &NewTransaction { redeem: Some(challenge(1).digest), ..new(1) }).await;
    assert_eq!(listed(&store, Some("routers"), false, 10).await, [id(3)]);
    assert_eq!(listed(&store, Some("routers"), true, 1).await, [id(1)]);
}

pub(crate) async fn revoking_needs_a_prefix_that_fits_one(store: Store) {
    let named = |number: u32, id: &str| Challenge { id: id.to_owned(), ..challenge(number) };
    store.add_challenges(vec![named(1, "aa11"), named(2, "aa22"), named(3, "bb"), named(4, "bb44")]).await.expect("adds");
    let revoke = async |prefix: &str| store.revoke_challenge(prefix, event("challenge.revoked")).await.expect("revokes");
    assert!(!revoke("").await);
    assert!(!revoke("aa").await, "two begin so");
    assert!(!revoke("cc").await);
    assert!(!revoke("%").await && !revoke("aa_1").await, "nothing stands for anything else");
    assert!(revoke("aa1").await);
    assert!(!revoke("aa1").await, "it is revoked");
    assert!(revoke("bb").await, "a whole identifier fits itself");
    let revoked = store.challenge(&challenge(1).digest).await.expect("reads").expect("it is there");
    assert_eq!(revoked.revoked_at, Some(event("").at));
    opened(&store, &NewTransaction { redeem: Some(challenge(2).digest), ..new(1) }).await;
    assert!(!revoke("aa2").await, "it is spent");
    assert_eq!(events(&store).await, ["challenge.revoked", "challenge.revoked", "request.ordered"]);
}

pub(crate) async fn a_revoked_or_expired_challenge_is_not_redeemed(store: Store) {
    let expired = Challenge { expires_at: at(0), ..challenge(1) };
    let last_moment = Challenge { expires_at: at(1), ..challenge(2) };
    store.add_challenges(vec![expired, last_moment, challenge(3)]).await.expect("adds");
    store.revoke_challenge(&challenge(3).id, event("challenge.revoked")).await.expect("revokes");
    for number in [1, 3] {
        let new = NewTransaction { redeem: Some(challenge(number).digest), ..new(number) };
        assert_eq!(store.open(new).await.expect("opens"), Opened::ChallengeSpent, "{number}");
    }
    opened(&store, &NewTransaction { redeem: Some(challenge(2).digest), ..new(2) }).await;
}

pub(crate) async fn old_rows_are_purged_and_the_rest_stays(store: Store) {
    let spent = challenge(1);
    let expired = Challenge { expires_at: at(-100), ..challenge(2) };
    store.add_challenges(vec![spent.clone(), expired.clone(), challenge(3)]).await.expect("adds");
    // Issued, with a secret and a reply.
    let mut done = NewTransaction { redeem: Some(spent.digest), ..new(1) };
    done.transaction.sealed_challenge = Some(vec![1]);
    opened(&store, &done).await;
    let certificate = certificate(1, done.transaction.id);
    let result = AttemptResult::Issued { certificate: Arc::new(certificate.clone()), keep_secret: true };
    let conclusion = Conclusion { reply: Some(([1; 32], Bytes::from_static(b"yes"))), ..concluded(&done, result) };
    store.conclude(conclusion).await.expect("concludes");
    // Refused, with a reply.
    let mut refused = transaction(key(2));
    refused.state = TransactionState::Refused;
    let reply = Some(([2; 32], Bytes::from_static(b"no")));
    let refused = RefusedTransaction { transaction: refused, reply, events: Vec::new() };
    store.refuse(refused.clone()).await.expect("refuses");
    // Open, with a secret.
    let mut open = new(3);
    open.transaction.sealed_challenge = Some(vec![3]);
    opened(&store, &open).await;

    let before = events(&store).await;
    let old = |leavings, transactions| PurgeBefore { leavings: at(leavings), transactions: at(transactions) };
    assert_eq!(store.purge(old(-1000, -1000)).await.expect("purges"), 0, "nothing is that old");
    // Two replies, one refused, one spent and one expired challenge, one secret.
    assert_eq!(store.purge(old(10, -1000)).await.expect("purges"), 6);
    assert_eq!(store.purge(old(10, -1000)).await.expect("purges"), 0);
    let last = stored(&store, done.transaction.id).await;
    assert_eq!(last.sealed_challenge, None);
    assert_eq!(store.recall(&[1; 32], &key(1)).await.expect("reads"), Some(Known::Transaction(last)));
    assert_eq!(store.recall(&[2; 32], &key(2)).await.expect("reads"), None);
    assert_eq!(stored(&store, open.transaction.id).await, open.transaction);
    assert_eq!(store.certificate(&certificate.fingerprint).await.expect("reads"), Some(certificate));
    assert_eq!(listed(&store, None, true, 10).await, [challenge(3).id]);
    assert_eq!(events(&store).await, before);
}

pub(crate) async fn old_transactions_are_purged_and_their_certificates_stay(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let done = NewTransaction { redeem: Some(challenge(1).digest), ..new(1) };
    opened(&store, &done).await;
    store.join(done.transaction.id, "another").await.expect("joins");
    let certificate = certificate(1, done.transaction.id);
    let conclusion = Conclusion { reply: Some(([1; 32], Bytes::from_static(b"yes"))), ..issued(&done, certificate.clone()) };
    store.conclude(conclusion).await.expect("concludes");
    let failed = new(2);
    opened(&store, &failed).await;
    store.conclude(concluded(&failed, rejected())).await.expect("concludes");
    let open = new(3);
    opened(&store, &open).await;
    let before = events(&store).await;

    let old = |leavings, transactions| PurgeBefore { leavings: at(leavings), transactions: at(transactions) };
    assert_eq!(store.purge(old(-1000, 1)).await.expect("purges"), 0, "they are of that moment, and not from before");
    assert_eq!(store.purge(old(-1000, 2)).await.expect("purges"), 2);
    for gone in [&done, &failed] {
        assert_eq!(store.transaction(gone.transaction.id).await.expect("reads"), None);
        assert_eq!(store.attempts(gone.transaction.id).await.expect("reads"), []);
        assert_eq!(store.recall(&[1; 32], &gone.transaction.key).await.expect("reads"), None, "the message is a new one");
    }
    let polled = store.find_transaction("routers", "another", &digest(1)).await.expect("reads");
    assert_eq!(polled, None, "nor is it found under the name that joined");
    assert_eq!(stored(&store, open.transaction.id).await, open.transaction);
    // Renewals and GetCert look for the certificate; a message that is taken for new meets a challenge that is spent.
    assert_eq!(store.certificate(&certificate.fingerprint).await.expect("reads"), Some(certificate.clone()));
    let by_serial = store.certificate_by_serial(&certificate.issuer, &certificate.serial).await.expect("reads");
    assert_eq!(by_serial, Some(certificate));
    let again = NewTransaction { redeem: Some(challenge(1).digest), ..new(1) };
    assert_eq!(store.open(again.clone()).await.expect("opens"), Opened::ChallengeSpent);
    // Also when the challenge itself is gone.
    assert_eq!(store.purge(old(10, -1000)).await.expect("purges"), 1);
    assert_eq!(store.open(again).await.expect("opens"), Opened::ChallengeSpent);
    assert_eq!(events(&store).await, before);
}

/// Many more than one step takes, with some among them that stay.
pub(crate) async fn a_long_purge_reaches_the_end(store: Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for device in 0..450 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move {
            store.add_challenges(vec![challenge(device)]).await.expect("adds");
            let new = NewTransaction { redeem: (device % 3 > 0).then(|| challenge(device).digest), ..new(device) };
            opened(&store, &new).await;
            if device % 3 > 0 {
                store
                    .conclude(concluded(
                        &new,
                        AttemptResult::Issued {
                            certificate: Arc::new(certificate(device, new.transaction.id)),
                            keep_secret: true,
                        },
                    ))
                    .await
                    .expect("concludes");
            }
        });
    }
    tasks.join_all().await;
    let all = PurgeBefore { leavings: at(10), transactions: at(10) };
    assert_eq!(store.purge(all).await.expect("purges"), 600, "300 transactions and their challenges");
    assert_eq!(store.transactions(TransactionState::Issuing, 1000).await.expect("reads").len(), 150);
    assert!(store.transactions(TransactionState::Issued, 1000).await.expect("reads").is_empty());
    assert_eq!(listed(&store, None, true, 1000).await.len(), 150);
    assert_eq!(store.statistics().await.expect("counts").certificates, 300);
}
