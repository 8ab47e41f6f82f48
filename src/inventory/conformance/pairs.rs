//! Pairs: two certificates of one transaction.

use super::*;

/// Writes the first certificate of a pair; gives it, and what goes on.
async fn first(store: &Store, new: &NewTransaction, record: CertificateRecord) -> (CertificateRecord, Attempt) {
    let next = Attempt { state: AttemptState::Submitted, ca: "post-quantum".to_owned(), ..attempt() };
    let result = AttemptResult::FirstOfPair { certificate: Arc::new(record.clone()), next: next.clone() };
    assert_eq!(store.conclude(concluded(new, result)).await.expect("concludes"), Concluded::Done);
    (record, next)
}

async fn pair(store: &Store, device: u32, renews: Option<[u8; 32]>) -> [CertificateRecord; 2] {
    let new = new(device);
    opened(store, &new).await;
    let record = CertificateRecord { renews, ..certificate(device, new.transaction.id) };
    let (record, next) = first(store, &new, record).await;
    let sibling =
        CertificateRecord { sibling_of: Some(record.fingerprint), ..of_device(100 + device, device, new.transaction.id) };
    let last = Conclusion { attempt: next.id, ..issued(&new, sibling.clone()) };
    assert_eq!(store.conclude(last).await.expect("concludes"), Concluded::Done);
    [record, sibling]
}

/// A certificate by number, of another device than its number says.
fn of_device(number: u32, device: u32, transaction: TransactionId) -> CertificateRecord {
    CertificateRecord { device: certificate(device, transaction).device, ..certificate(number, transaction) }
}

async fn statuses(store: &Store, records: &[CertificateRecord]) -> Vec<CertificateStatus> {
    let mut found = Vec::new();
    for record in records {
        found.push(store.certificate(&record.fingerprint).await.expect("reads").expect("it is there").status);
    }
    found
}

pub(crate) async fn a_pair_is_whole_with_its_second_certificate(store: Store) {
    let old = enrolled(&store, 9, |id| certificate(9, id)).await;
    let begun = new(1);
    opened(&store, &begun).await;
    let record = CertificateRecord { renews: Some(old.fingerprint), ..certificate(1, begun.transaction.id) };
    let (record, next) = first(&store, &begun, record).await;
    let between = stored(&store, begun.transaction.id).await;
    assert_eq!((between.state, between.certificate), (TransactionState::Issuing, Some(record.fingerprint)));
    assert_eq!(statuses(&store, std::slice::from_ref(&old)).await, [CertificateStatus::Valid], "nothing is delivered yet");
    assert_eq!(store.sibling(&record.fingerprint).await.expect("reads"), None);

    // What a crash leaves is work, and it is the second attempt alone.
    assert_eq!(store.release("node-a").await.expect("releases"), 1);
    let claimed = store.claim("node-b", at(1), at(60), 10, &BTreeMap::new()).await.expect("claims");
    let [(transaction, attempt)] = &claimed[..] else { panic!("{claimed:?}") };
    assert_eq!((transaction.certificate, attempt.id, attempt.ca.as_str()), (Some(record.fingerprint), next.id, "post-quantum"));

    let sibling = CertificateRecord { sibling_of: Some(record.fingerprint), ..certificate(2, begun.transaction.id) };
    let last = Conclusion { attempt: next.id, ..issued(&begun, sibling.clone()) };
    assert_eq!(store.conclude(last.clone()).await.expect("concludes"), Concluded::Done);
    let whole = stored(&store, begun.transaction.id).await;
    assert_eq!((whole.state, whole.certificate), (TransactionState::Issued, Some(record.fingerprint)));
    assert_eq!(store.conclude(last).await.expect("concludes"), Concluded::AlreadyFinal(whole));
    assert_eq!(statuses(&store, &[old]).await, [CertificateStatus::Superseded]);
    assert_eq!(store.sibling(&record.fingerprint).await.expect("reads"), Some(sibling.clone()));
    assert_eq!(store.sibling(&sibling.fingerprint).await.expect("reads"), Some(record));
}

pub(crate) async fn a_pair_is_superseded_and_revoked_whole(store: Store) {
    let old = pair(&store, 1, None).await;
    // By its sibling too, which a device may show as well.
    let new = pair(&store, 2, Some(old[1].fingerprint)).await;
    assert_eq!(statuses(&store, &old).await, [CertificateStatus::Superseded; 2]);
    assert_eq!(statuses(&store, &new).await, [CertificateStatus::Valid; 2]);
    let revoke = async |fingerprint: &[u8; 32]| {
        store.revoke(fingerprint, RevocationReason::KeyCompromise, at(2), event("revoked")).await.expect("revokes")
    };
    assert!(revoke(&new[1].fingerprint).await);
    assert!(!revoke(&new[0].fingerprint).await);
    assert_eq!(statuses(&store, &new).await, [CertificateStatus::Revoked; 2]);
    let next = enrolled(&store, 3, |id| CertificateRecord { renews: Some(new[0].fingerprint), ..certificate(3, id) }).await;
    assert_eq!(statuses(&store, &new).await, [CertificateStatus::Revoked; 2], "revoked stays revoked");
    assert_eq!(store.sibling(&next.fingerprint).await.expect("reads"), None);
    assert_eq!(store.issued_to_device("routers", "S1", at(0)).await.expect("counts"), 1);
}

/// A device with a pair has not come back for another certificate, and has one.
pub(crate) async fn a_pair_counts_as_one_certificate(store: Store) {
    let [first, sibling] = pair(&store, 1, None).await;
    assert_eq!(first.profile, sibling.profile);
    let figures = store.figures("routers", at(-10), std::time::Duration::from_secs(3600)).await.expect("reads");
    let figures = &figures[&first.profile];
    assert_eq!((figures.devices, figures.issued, figures.returned), (1, 1, 0));
    let census = store.census("routers").await.expect("reads");
    assert_eq!(census.iter().map(|one| one.count).sum::<u64>(), 1);
}

pub(crate) async fn a_pair_that_comes_to_nothing_leaves_nothing_valid(store: Store) {
    for (device, result) in [(1, rejected()), (2, AttemptResult::Unknown { detail: "unclear".to_owned() })] {
        let new = new(device);
        opened(&store, &new).await;
        let (record, next) = first(&store, &new, certificate(device, new.transaction.id)).await;
        let end = Conclusion { attempt: next.id, ..concluded(&new, result) };
        assert_eq!(store.conclude(end).await.expect("concludes"), Concluded::Done);
        if device == 2 {
            assert_eq!(statuses(&store, std::slice::from_ref(&record)).await, [CertificateStatus::Valid]);
            let deny = Decision::Deny { detail: "too late".to_owned(), event: event("approval.denied") };
            store.decide(new.transaction.id, deny).await.expect("decides").expect("it was waiting");
        }
        assert_eq!(statuses(&store, std::slice::from_ref(&record)).await, [CertificateStatus::Revoked]);
        // Nobody was given it, and its CA is owed the word.
        assert_eq!(store.issued_to_device("routers", &format!("S{device}"), at(-10)).await.expect("counts"), 0);
        let owed = store.owed(&record.upstream, at(-10), at(10), 10).await.expect("reads");
        assert_eq!(owed.iter().map(|one| one.fingerprint).collect::<Vec<_>>(), [record.fingerprint]);
        store.told(&record.fingerprint, RevocationReason::CessationOfOperation, at(3), None).await.expect("writes");
    }
}
