//! Devices: what they were given, and what was learned of them.

use super::*;
use crate::rollout::EvidenceKind;

fn finding(device: &str, profile: &str, seconds: i64) -> DeviceFinding {
    DeviceFinding {
        group: "routers".to_owned(),
        device: device.to_owned(),
        profile: profile.to_owned(),
        kind: EvidenceKind::CameBack,
        detail: "it came back".to_owned(),
        at: at(seconds),
        gone_at: None,
    }
}

pub(crate) async fn what_was_learned_holds_until_it_is_taken_back(store: Store) {
    let learned = [finding("S1", "big", 1), finding("S1", "huge", 2), finding("S2", "big", 3)];
    for one in &learned {
        assert!(store.learn(one.clone(), event("device.learned")).await.expect("writes"));
    }
    // Another node saw the same.
    let again = DeviceFinding { at: at(9), ..learned[0].clone() };
    assert!(!store.learn(again, event("device.learned")).await.expect("writes"));
    assert_eq!(store.findings_of("routers", "S1").await.expect("reads"), learned[..2]);
    assert_eq!(store.findings_of("cameras", "S1").await.expect("reads"), []);
    let latest = [learned[2].clone(), learned[1].clone(), learned[0].clone()];
    assert_eq!(store.findings(None, 10).await.expect("reads"), latest);
    assert_eq!(store.findings(Some("routers"), 2).await.expect("reads"), latest[..2]);
    assert_eq!(store.findings(Some("cameras"), 2).await.expect("reads"), []);

    let take_back = async |device: &str, profile: &str| {
        store.unlearn("routers", device, profile, at(20), event("device.unlearned")).await.expect("writes")
    };
    assert!(take_back("S1", "big").await);
    assert!(!take_back("S1", "big").await, "once is enough");
    assert!(!take_back("S3", "big").await);
    // It stays as the time from which on evidence counts anew.
    let gone = DeviceFinding { gone_at: Some(at(20)), ..learned[0].clone() };
    assert_eq!(store.findings_of("routers", "S1").await.expect("reads"), [gone, learned[1].clone()]);
    assert_eq!(store.findings(None, 10).await.expect("reads"), latest[..2]);
    // It can be learned again.
    let anew = DeviceFinding { kind: EvidenceKind::OlderCertificate, ..finding("S1", "big", 30) };
    assert!(store.learn(anew.clone(), event("device.learned")).await.expect("writes"));
    assert_eq!(store.findings_of("routers", "S1").await.expect("reads"), [anew, learned[1].clone()]);
    let told = ["device.learned", "device.learned", "device.learned", "device.unlearned", "device.learned"];
    assert_eq!(events(&store).await, told);
}

pub(crate) async fn a_device_is_told_what_it_was_given(store: Store) {
    let of_device = |number: u32, seconds: i64| {
        move |id| CertificateRecord { device: Some("S1".to_owned()), issued_at: at(seconds), ..certificate(number, id) }
    };
    let first = enrolled(&store, 1, of_device(1, 10)).await;
    let second = enrolled(&store, 2, of_device(2, 20)).await;
    let revoked = enrolled(&store, 3, of_device(3, 30)).await;
    store
        .revoke(&revoked.fingerprint, RevocationReason::Superseded, at(31), event("certificate.revoked"))
        .await
        .expect("revokes");
    let given = store.given(&first.group, "S1", 10).await.expect("reads");
    let seen: Vec<_> = given.iter().map(|one| (one.fingerprint, one.issued_at, one.not_after)).collect();
    assert_eq!(seen, [(second.fingerprint, at(20), second.not_after), (first.fingerprint, at(10), first.not_after)]);
    assert_eq!(given[0].profile, second.profile);
    assert_eq!(store.given(&first.group, "S1", 1).await.expect("reads").len(), 1);
    assert_eq!(store.given("cameras", "S1", 10).await.expect("reads"), []);
}

pub(crate) async fn valid_certificates_come_in_pages(store: Store) {
    for number in 1..=5 {
        enrolled(&store, number, |id| CertificateRecord { device: Some(format!("S{number}")), ..certificate(number, id) }).await;
    }
    let gone = enrolled(&store, 6, |id| certificate(6, id)).await;
    store.revoke(&gone.fingerprint, RevocationReason::Superseded, at(31), event("certificate.revoked")).await.expect("revokes");
    let (mut seen, mut after) = (Vec::new(), Some(0));
    while let Some(number) = after {
        let page = store.standing("routers", number, 2).await.expect("reads");
        assert!(page.certificates.len() <= 2);
        seen.extend(page.certificates);
        after = page.next;
    }
    let devices: Vec<_> = seen.iter().map(|one| one.device.clone().expect("a device")).collect();
    assert_eq!(devices, ["S1", "S2", "S3", "S4", "S5"]);
    assert_eq!((seen[0].not_before, seen[0].not_after, seen[0].followed), (at(0), at(86_400), false));
    let newer = |id| CertificateRecord { device: Some("S1".to_owned()), issued_at: at(90), ..certificate(7, id) };
    enrolled(&store, 7, newer).await;
    let page = store.standing("routers", 0, 10).await.expect("reads");
    let followed = page.certificates.iter().filter(|one| one.followed).filter_map(|one| one.device.as_deref());
    assert_eq!((page.certificates.len(), followed.collect::<Vec<_>>()), (6, vec!["S1"]));
    assert_eq!(store.standing("cameras", 0, 2).await.expect("reads"), StandingPage::default());
}

pub(crate) async fn renewals_have_a_pace(store: Store) {
    let of_device = |number: u32, renews: Option<[u8; 32]>, seconds: i64| {
        move |id| CertificateRecord { device: Some("S1".to_owned()), issued_at: at(seconds), renews, ..certificate(number, id) }
    };
    let first = enrolled(&store, 1, of_device(1, None, 10)).await;
    assert_eq!(store.renewal_shares("routers", 10).await.expect("reads"), Vec::<f64>::new());
    enrolled(&store, 2, of_device(2, Some(first.fingerprint), 64_800)).await;
    // Three quarters of a day.
    assert_eq!(store.renewal_shares("routers", 10).await.expect("reads"), [0.75]);
    assert_eq!(store.renewal_shares("cameras", 10).await.expect("reads"), Vec::<f64>::new());
}
