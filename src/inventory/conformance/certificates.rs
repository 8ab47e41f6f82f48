//! Certificates: kept, found, revoked.

use super::*;

/// Subjects of what a search finds.
async fn found(store: &Store, search: CertificateSearch) -> Vec<String> {
    let found = store.certificates(&search).await.expect("searches");
    found.into_iter().map(|certificate| certificate.common_name.expect("all have one")).collect()
}

fn any() -> CertificateSearch {
    CertificateSearch::default()
}

pub(crate) async fn a_certificate_is_found_by_all_its_names(store: Store) {
    let full = |id| CertificateRecord {
        revoked_at: Some(at(2)),
        revocation_reason: Some(RevocationReason::KeyCompromise),
        status: CertificateStatus::Revoked,
        renews: Some(digest(77)),
        not_after: "9999-12-30T22:00:00Z".parse().expect("the last second that a timestamp can name"),
        ..certificate(1, id)
    };
    let bare = |id| CertificateRecord {
        common_name: None,
        subject_alt_names: Vec::new(),
        device: None,
        source: None,
        ..certificate(2, id)
    };
    for record in [enrolled(&store, 1, full).await, enrolled(&store, 2, bare).await] {
        assert_eq!(store.certificate(&record.fingerprint).await.expect("reads"), Some(record.clone()));
        let by_serial = store.certificate_by_serial(&record.issuer, &record.serial).await.expect("reads");
        assert_eq!(by_serial, Some(record.clone()));
        assert_eq!(store.certificate_by_serial(b"other", &record.serial).await.expect("reads"), None);
        assert_eq!(store.certificate_by_serial(&record.issuer, b"other").await.expect("reads"), None);
    }
    assert_eq!(store.certificate(&digest(404)).await.expect("reads"), None);
}

pub(crate) async fn a_renewal_supersedes_what_it_renews(store: Store) {
    let old = enrolled(&store, 1, |id| certificate(1, id)).await;
    let gone = enrolled(&store, 2, |id| certificate(2, id)).await;
    store.revoke(&gone.fingerprint, RevocationReason::KeyCompromise, at(2), event("revoked")).await.expect("revokes");
    for (device, renewed, status) in [(3, &old, CertificateStatus::Superseded), (4, &gone, CertificateStatus::Revoked)] {
        let renews = Some(renewed.fingerprint);
        enrolled(&store, device, |id| CertificateRecord { renews, ..certificate(device, id) }).await;
        let renewed = store.certificate(&renewed.fingerprint).await.expect("reads").expect("it is there");
        assert_eq!(renewed.status, status);
    }
}

pub(crate) async fn revocation_happens_once(store: Store) {
    let one = enrolled(&store, 1, |id| certificate(1, id)).await;
    let expired = enrolled(&store, 2, |id| CertificateRecord { not_after: at(5), ..certificate(2, id) }).await;
    let other = CertificateRecord { issuer: b"other".to_vec(), ..certificate(3, one.transaction) };
    let other = enrolled(&store, 3, |id| CertificateRecord { transaction: id, ..other }).await;
    let revoke = async |fingerprint: &[u8; 32], reason, when| {
        store.revoke(fingerprint, reason, at(when), event("certificate.revoked")).await.expect("revokes")
    };
    assert!(revoke(&one.fingerprint, RevocationReason::KeyCompromise, 2).await);
    assert!(!revoke(&one.fingerprint, RevocationReason::Unspecified, 3).await);
    assert!(!revoke(&digest(404), RevocationReason::Unspecified, 3).await);
    assert!(revoke(&expired.fingerprint, RevocationReason::Superseded, 4).await);
    assert!(revoke(&other.fingerprint, RevocationReason::Superseded, 4).await);
    let expected = RevokedCertificate { serial: one.serial, revoked_at: at(2), reason: RevocationReason::KeyCompromise };
    assert_eq!(store.revoked(&one.issuer, at(10)).await.expect("reads"), std::slice::from_ref(&expected));
    let earlier = store.revoked(&one.issuer, at(3)).await.expect("reads");
    assert_eq!(earlier.iter().map(|entry| &entry.serial).collect::<Vec<_>>(), [&expected.serial, &expired.serial]);
    let count = events(&store).await.iter().filter(|event| *event == "certificate.revoked").count();
    assert_eq!(count, 3);
}

pub(crate) async fn crl_numbers_only_grow(store: Store) {
    let one = enrolled(&store, 1, |id| certificate(1, id)).await;
    for expected in 1..=3 {
        assert_eq!(store.next_crl_number(&one.issuer).await.expect("counts"), expected);
    }
    assert_eq!(store.next_crl_number(b"new issuer").await.expect("counts"), 1);
    // An issuer that was only counted so far gets its text with its first certificate.
    let named = enrolled(&store, 2, |id| CertificateRecord { issuer: b"new issuer".to_vec(), ..certificate(2, id) }).await;
    assert_eq!(store.certificate(&named.fingerprint).await.expect("reads"), Some(named));
}

pub(crate) async fn a_key_used_elsewhere_is_found(store: Store) {
    let one = enrolled(&store, 1, |id| certificate(1, id)).await;
    let elsewhere = async |group: &str, device: &str| {
        let found = store.key_used_elsewhere(&one.spki_digest, group, device).await.expect("reads");
        found.map(|certificate| certificate.fingerprint)
    };
    assert_eq!(elsewhere("routers", "S1").await, None);
    assert_eq!(elsewhere("routers", "S2").await, Some(one.fingerprint));
    assert_eq!(elsewhere("phones", "S1").await, Some(one.fingerprint));
    assert_eq!(store.key_used_elsewhere(&digest(404), "phones", "S1").await.expect("reads"), None);
    store.revoke(&one.fingerprint, RevocationReason::Superseded, at(2), event("revoked")).await.expect("revokes");
    assert_eq!(elsewhere("routers", "S2").await, None, "it is no longer valid");
    let leaked = enrolled(&store, 4, |id| certificate(4, id)).await;
    store.revoke(&leaked.fingerprint, RevocationReason::KeyCompromise, at(2), event("revoked")).await.expect("revokes");
    let found = store.key_used_elsewhere(&leaked.spki_digest, "routers", "S1").await.expect("reads");
    assert_eq!(found.map(|found| found.fingerprint), Some(leaked.fingerprint), "nobody may use it, its old device included");
    // No device is another device; what has expired is not in use.
    let nameless = |id| CertificateRecord { device: None, ..certificate(2, id) };
    let nameless = enrolled(&store, 2, nameless).await;
    let found = store.key_used_elsewhere(&nameless.spki_digest, "routers", "S2").await.expect("reads");
    assert_eq!(found, Some(nameless));
    let expired = enrolled(&store, 3, |id| CertificateRecord { not_after: at(-5), ..certificate(3, id) }).await;
    assert_eq!(store.key_used_elsewhere(&expired.spki_digest, "phones", "S9").await.expect("reads"), None);
}

pub(crate) async fn a_device_is_counted_from_then_on(store: Store) {
    for (number, when) in [(1, 10), (2, 20), (3, 30)] {
        let device = Some("S1".to_owned());
        enrolled(&store, number, |id| CertificateRecord { device, issued_at: at(when), ..certificate(number, id) }).await;
    }
    let count = async |group: &str, device: &str, since| store.issued_to_device(group, device, at(since)).await.expect("counts");
    assert_eq!(count("routers", "S1", 0).await, 3);
    assert_eq!(count("routers", "S1", 20).await, 2);
    assert_eq!(count("routers", "S1", 31).await, 0);
    assert_eq!(count("routers", "S2", 0).await, 0);
    assert_eq!(count("phones", "S1", 0).await, 0);
}

pub(crate) async fn searches_combine_their_conditions(store: Store) {
    enrolled(&store, 1, |id| certificate(1, id)).await;
    let phone = |id| CertificateRecord { group: "phones".to_owned(), issued_at: at(2), not_after: at(50), ..certificate(2, id) };
    let phone = enrolled(&store, 2, phone).await;
    let modern = |id| CertificateRecord {
        profile: "ml-dsa-65".to_owned(),
        signature_algorithm: "ML-DSA-65".to_owned(),
        key_algorithm: "ecdsa-p256".to_owned(),
        issued_at: at(3),
        ..certificate(3, id)
    };
    enrolled(&store, 3, modern).await;
    store.revoke(&phone.fingerprint, RevocationReason::Superseded, at(4), event("revoked")).await.expect("revokes");

    let some = |text: &str| Some(text.to_owned());
    assert_eq!(found(&store, any()).await, ["router-3", "router-2", "router-1"], "newest first");
    let cases = [
        (CertificateSearch { group: some("routers"), ..any() }, &["router-3", "router-1"][..]),
        (CertificateSearch { profile: some("ml-dsa-65"), ..any() }, &["router-3"]),
        (CertificateSearch { device: some("S2"), ..any() }, &["router-2"]),
        (CertificateSearch { device: some("S2"), group: some("routers"), ..any() }, &[]),
        (CertificateSearch { status: Some(CertificateStatus::Revoked), ..any() }, &["router-2"]),
        (CertificateSearch { status: Some(CertificateStatus::Valid), ..any() }, &["router-3", "router-1"]),
        (CertificateSearch { expires_before: Some(at(60)), ..any() }, &["router-2"]),
        (CertificateSearch { expires_after: Some(at(60)), ..any() }, &["router-3", "router-1"]),
        (CertificateSearch { issued_after: Some(at(2)), ..any() }, &["router-3"]),
        (CertificateSearch { signature_algorithm: some("ML-DSA-65"), ..any() }, &["router-3"]),
        (CertificateSearch { key_algorithm: some("rsa-2048"), group: some("routers"), ..any() }, &["router-1"]),
    ];
    for (search, expected) in cases {
        assert_eq!(found(&store, search.clone()).await, expected, "{search:?}");
    }
}

pub(crate) async fn text_is_looked_for_in_many_places(store: Store) {
    enrolled(&store, 1, |id| certificate(1, id)).await;
    let odd = |id| CertificateRecord {
        subject: "CN=100%_sure,O=Example".to_owned(),
        common_name: Some("odd".to_owned()),
        subject_alt_names: vec!["ip:192.0.2.1".to_owned(), "dns:quaint.example.org".to_owned()],
        device: Some("FTX-9".to_owned()),
        // As it is encoded; people see and paste it without the zero.
        serial: vec![0x00, 0xDE, 0xAD, 0xBE, 0xEF],
        ..certificate(2, id)
    };
    let odd = enrolled(&store, 2, odd).await;
    let fingerprint = hex::encode(odd.fingerprint);
    for text in [
        "100%_sure",
        "%_",
        "quaint.EXAMPLE",
        "192.0.2.1",
        "ftx",
        "deadbe",
        "DE:AD",
        "00:DE",
        "de ad be ef",
        &fingerprint[..12],
        &fingerprint,
    ] {
        assert_eq!(found(&store, CertificateSearch { text: Some(text.to_owned()), ..any() }).await, ["odd"], "{text}");
    }
    for text in ["1%s", "_00", "adbeef", "nothing", "' OR 1=1 --"] {
        assert!(found(&store, CertificateSearch { text: Some(text.to_owned()), ..any() }).await.is_empty(), "{text}");
    }
    assert_eq!(found(&store, CertificateSearch { text: Some("example".to_owned()), ..any() }).await, ["odd", "router-1"]);
}

pub(crate) async fn pages_follow_each_other(store: Store) {
    for number in 1..=5 {
        enrolled(&store, number, |id| certificate(number, id)).await;
    }
    let page = async |offset, limit| found(&store, CertificateSearch { offset, limit, ..any() }).await;
    assert_eq!(page(0, 2).await, ["router-5", "router-4"]);
    assert_eq!(page(2, 2).await, ["router-3", "router-2"]);
    assert_eq!(page(4, 2).await, ["router-1"]);
    assert_eq!(page(5, 2).await.len(), 0);
    assert_eq!(page(0, 0).await.len(), 5);
}

pub(crate) async fn statistics_count_rows(store: Store) {
    assert_eq!(store.statistics().await.expect("counts"), Statistics::default());
    store.check().await.expect("it can be written");
    let expired = Challenge { expires_at: at(-5), ..challenge(2) };
    store.add_challenges(vec![challenge(1), expired, challenge(3)]).await.expect("adds");
    enrolled(&store, 1, |id| certificate(1, id)).await;
    opened(&store, &NewTransaction { redeem: Some(challenge(1).digest), ..new(2) }).await;
    opened(&store, &new(3)).await;
    let unclear = new(4);
    opened(&store, &unclear).await;
    store.conclude(concluded(&unclear, AttemptResult::Unknown { detail: String::new() })).await.expect("concludes");
    let mut waiting = NewTransaction { attempt: None, ..new(5) };
    waiting.transaction.state = TransactionState::AwaitingApproval;
    opened(&store, &waiting).await;
    let expected = Statistics { certificates: 1, awaiting_approval: 1, issuing: 2, unknown: 1, outstanding_challenges: 1 };
    assert_eq!(store.statistics().await.expect("counts"), expected);
}

pub(crate) async fn a_certificate_that_came_too_late_is_set_aside(store: Store) {
    let delivered = enrolled(&store, 1, |id| certificate(1, id)).await;
    let stray = CertificateRecord { renews: Some(delivered.fingerprint), ..certificate(2, delivered.transaction) };
    assert!(store.set_aside(stray.clone(), event("certificate.set-aside")).await.expect("writes"));
    let kept = CertificateRecord { set_aside: true, ..stray.clone() };
    assert_eq!(store.certificate(&stray.fingerprint).await.expect("reads"), Some(kept));
    assert_eq!(store.certificate(&delivered.fingerprint).await.expect("reads"), Some(delivered.clone()), "not superseded");
    assert_eq!(stored(&store, delivered.transaction).await.certificate, Some(delivered.fingerprint));
    // What has the issuer and serial of one that we have is that one, for all that revocation can tell.
    let again =
        CertificateRecord { fingerprint: digest(9), serial: delivered.serial.clone(), ..certificate(3, stray.transaction) };
    assert!(!store.set_aside(again.clone(), event("certificate.set-aside")).await.expect("writes"));
    assert_eq!(store.certificate(&again.fingerprint).await.expect("reads"), None);
    assert!(!store.set_aside(stray, event("certificate.set-aside")).await.expect("writes"));
    assert_eq!(events(&store).await, ["request.ordered", "certificate.issued", "certificate.set-aside"]);
}

pub(crate) async fn what_was_set_aside_is_no_part_of_a_devices_share(store: Store) {
    let device = Some("S1".to_owned());
    let limit = Some(DeviceLimit { group: "routers".to_owned(), device: "S1".to_owned(), since: at(-100), count: 1 });
    let failed = NewTransaction { limit: limit.clone(), ..new(1) };
    opened(&store, &failed).await;
    let stray = CertificateRecord { device, ..certificate(1, failed.transaction.id) };
    assert!(store.set_aside(stray.clone(), event("certificate.set-aside")).await.expect("writes"));
    assert_eq!(store.conclude(concluded(&failed, rejected())).await.expect("concludes"), Concluded::Done);
    assert_eq!(store.issued_to_device("routers", "S1", at(-100)).await.expect("counts"), 0);
    assert_eq!(store.given("routers", "S1", 10).await.expect("reads"), []);
    assert_eq!(store.census("routers").await.expect("reads").len(), 0);
    opened(&store, &NewTransaction { limit, ..new(2) }).await;
    // Its key is the key of that device all the same.
    let elsewhere = store.key_used_elsewhere(&stray.spki_digest, "routers", "S2").await.expect("reads");
    assert_eq!(elsewhere.map(|found| found.fingerprint), Some(stray.fingerprint));
}

pub(crate) async fn a_ca_is_owed_the_word_until_it_is_told(store: Store) {
    let delivered = enrolled(&store, 1, |id| certificate(1, id)).await;
    let strays = [2, 3, 4].map(|number| CertificateRecord {
        issued_at: at(i64::from(number)),
        not_after: at(if number == 4 { 50 } else { 86_400 }),
        ..certificate(number, delivered.transaction)
    });
    for stray in &strays {
        assert!(store.set_aside(stray.clone(), event("certificate.set-aside")).await.expect("writes"));
    }
    let owed = async |upstream: &str, after, now| {
        let found = store.owed(upstream, at(after), at(now), 10).await.expect("reads");
        found.into_iter().map(|one| one.fingerprint).collect::<Vec<_>>()
    };
    let told = async |one: &CertificateRecord| {
        let said = event("certificate.revoked");
        store.told(&one.fingerprint, RevocationReason::CessationOfOperation, at(5), Some(said)).await.expect("writes")
    };
    assert_eq!(owed("local", -100, 10).await, strays.each_ref().map(|one| one.fingerprint));
    assert_eq!(owed("local", 2, 60).await, [strays[1].fingerprint], "later than that, and not expired");
    assert_eq!(owed("other", -100, 10).await.len(), 0);
    assert!(told(&strays[0]).await);
    assert!(!told(&strays[0]).await && !told(&delivered).await, "nothing is owed for these");
    // An operator may have been faster.
    let by_hand = event("certificate.revoked");
    assert!(store.revoke(&strays[1].fingerprint, RevocationReason::Superseded, at(6), by_hand).await.expect("revokes"));
    assert_eq!(owed("local", -100, 10).await, [strays[2].fingerprint]);
    let first = store.certificate(&strays[0].fingerprint).await.expect("reads").expect("it is there");
    assert_eq!((first.status, first.revoked_at), (CertificateStatus::Revoked, Some(at(5))));
    let delivered = store.certificate(&delivered.fingerprint).await.expect("reads").expect("it is there");
    assert_eq!(delivered.status, CertificateStatus::Valid);
    assert_eq!(events(&store).await.iter().filter(|event| *event == "certificate.revoked").count(), 2);
}
