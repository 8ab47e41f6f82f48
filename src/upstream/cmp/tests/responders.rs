//! Who may sign answers.

use super::*;
use crate::x509::csr::signature_algorithm_for;

const CMC_CA: &str = "1.3.6.1.5.5.7.3.27";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

/// A signer with a certificate of this CA.
fn signer(ca: &TestCa, name: &str, usage: &str, hours: (i64, i64), key_usage: KeyUsage) -> Credential {
    let signer = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    let usages = extension::extended_key_usage(&[usage.parse().unwrap()]).unwrap();
    let extensions =
        vec![builder::key_usage(key_usage), Extension { oid: oid::EXTENDED_KEY_USAGE, critical: false, value: usages }];
    let now = Timestamp::now();
    let validity = (now + SignedDuration::from_hours(hours.0), now + SignedDuration::from_hours(hours.1));
    let subject = DistinguishedName::parse(name, true).unwrap();
    let certificate = ca.certify(subject, signer.spki(), validity, extensions);
    let algorithm = signature_algorithm_for(&*signer, Digest::Sha256).unwrap();
    Credential::Signature { signer, algorithm, chain: vec![certificate] }
}

fn ca_itself(ca: &TestCa) -> Credential {
    let signer = Arc::clone(&ca.signer);
    Credential::Signature { algorithm: signer.algorithms()[0], signer, chain: vec![(*ca.certificate).clone()] }
}

#[tokio::test]
async fn only_who_may_speak_for_the_ca_is_believed() {
    let root = TestCa::new(KeyAlgorithm::MlDsa44);
    let (ca, stranger) = (root.below(KeyAlgorithm::EcdsaP256), TestCa::new(KeyAlgorithm::EcdsaP256));
    let remote = ca.remote_ca("devices");
    let order = ca.order("devices");
    let issued = ca.issue(&order);
    let sign = KeyUsage::DIGITAL_SIGNATURE;
    let beside_root = vec![ca.certificate.der().to_vec()];
    for (by, beside, expected, says) in [
        (ca_itself(&ca), vec![], "issued", ""),
        (ca_itself(&root), vec![], "issued", ""),
        (signer(&ca, "CN=cmp", CMC_CA, (-1, 1), sign), vec![], "issued", ""),
        (signer(&root, "CN=cmp", CMC_CA, (-1, 1), sign), beside_root, "issued", ""),
        // A device has a certificate of the same CA.
        (signer(&ca, "CN=device", CLIENT_AUTH, (-1, 1), sign), vec![], "unknown", "cmcCA"),
        (signer(&ca, "CN=cmp", CMC_CA, (-2, -1), sign), vec![], "unknown", "is valid from"),
        (signer(&ca, "CN=cmp", CMC_CA, (-1, 1), KeyUsage::KEY_AGREEMENT), vec![], "unknown", "key usage"),
        (
            signer(&stranger, "CN=cmp", CMC_CA, (-1, 1), sign),
            vec![stranger.certificate.der().to_vec()],
            "unknown",
            "does not chain",
        ),
        (ca_itself(&stranger), vec![], "unknown", "does not chain"),
    ] {
        let answer = Answered { by: Some(by), beside, ..accepted(&issued).implicit() };
        let server = playing(vec![answer]).await;
        let settings = by_signature(&ca, KeyAlgorithm::EcdsaP256);
        let submission = cmp(&server, settings).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), expected, "{says}: {submission:?}");
        if expected == "unknown" {
            let reason = reason(submission);
            assert!(reason.contains(says), "{reason}");
        }
    }
}

fn is_ca() -> Extension {
    Extension { oid: oid::BASIC_CONSTRAINTS, critical: true, value: vec![0x30, 3, 1, 1, 0xff] }
}

/// A CA that was renewed with the same key shows its new certificate first, and one with a new key shows that: neither is configured.
#[tokio::test]
async fn a_ca_that_was_renewed_is_believed() {
    let root = TestCa::new(KeyAlgorithm::EcdsaP256);
    let ca = root.below(KeyAlgorithm::EcdsaP256);
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let issued = ca.issue(&order);
    let now = Timestamp::now();
    let validity = (now - SignedDuration::from_hours(1), now + SignedDuration::from_hours(1));
    let for_ca = |usage| vec![builder::key_usage(usage), is_ca()];
    let sign = KeyUsage::KEY_CERT_SIGN;
    let renewed = |signer: &Arc<dyn crate::crypto::Signer>, by: &TestCa, name: &DistinguishedName, extensions| {
        let certificate = by.certify(name.clone(), signer.spki(), validity, extensions);
        Credential::Signature { algorithm: signer.algorithms()[0], signer: Arc::clone(signer), chain: vec![certificate] }
    };
    let own = ca.certificate.subject();
    let stranger = TestCa::new(KeyAlgorithm::EcdsaP256);
    let new_key = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    let other = DistinguishedName::parse("CN=another CA", true).unwrap();
    for (by, expected) in [
        // The same key, in a certificate that leads nowhere: the one that is configured does.
        (renewed(&ca.signer, &stranger, own, for_ca(sign)), "issued"),
        (renewed(&new_key, &root, own, for_ca(sign)), "issued"),
        (renewed(&new_key, &root, own, vec![builder::key_usage(KeyUsage::DIGITAL_SIGNATURE)]), "unknown"),
        (renewed(&new_key, &root, own, for_ca(KeyUsage::CRL_SIGN)), "unknown"),
        (renewed(&new_key, &root, &other, for_ca(sign)), "unknown"),
        (renewed(&new_key, &stranger, own, for_ca(sign)), "unknown"),
    ] {
        let answer = Answered { by: Some(by), ..accepted(&issued).implicit() };
        let server = playing(vec![answer]).await;
        let submission = cmp(&server, by_signature(&ca, KeyAlgorithm::EcdsaP256)).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), expected, "{submission:?}");
    }
}

#[tokio::test]
async fn others_are_believed_by_name_or_by_file() {
    let (ca, apart) = (TestCa::new(KeyAlgorithm::EcdsaP256), TestCa::new(KeyAlgorithm::EcdsaP256));
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let issued = ca.issue(&order);
    let responder = |name: &str| Some(DistinguishedName::parse(name, true).unwrap());
    let settings = by_signature(&ca, KeyAlgorithm::EcdsaP256);
    for (by, settings, expected) in [
        (
            signer(&ca, "CN=front", CLIENT_AUTH, (-1, 1), KeyUsage::DIGITAL_SIGNATURE),
            CmpCaSettings { responder: responder("CN=front"), ..settings.clone() },
            "issued",
        ),
        (
            signer(&ca, "CN=device", CLIENT_AUTH, (-1, 1), KeyUsage::DIGITAL_SIGNATURE),
            CmpCaSettings { responder: responder("CN=front"), ..settings.clone() },
            "unknown",
        ),
        (
            signer(&apart, "CN=cmp", CMC_CA, (-1, 1), KeyUsage::DIGITAL_SIGNATURE),
            CmpCaSettings { trust_responses: Some(apart.chain_file()), ..settings.clone() },
            "issued",
        ),
        // What is set counts alone.
        (ca_itself(&ca), CmpCaSettings { trust_responses: Some(apart.chain_file()), ..settings.clone() }, "unknown"),
    ] {
        let server = playing(vec![Answered { by: Some(by), ..accepted(&issued).implicit() }]).await;
        let submission = cmp(&server, settings).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), expected, "{submission:?}");
    }
}

/// Without a secret nobody can protect by one, whatever it is.
#[tokio::test]
async fn a_secret_that_is_not_configured_protects_nothing() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let by = Some(Credential::Secret { secret: Zeroizing::new(String::new()), kind: MacKind::Pbm });
    let server = playing(vec![Answered { by, ..accepted(&ca.issue(&order)).implicit() }]).await;
    let submission = cmp(&server, by_signature(&ca, KeyAlgorithm::EcdsaP256)).submit(&remote, &order, &KEY).await;
    assert!(reason(submission).contains("none is configured"));
}

/// A signature whose octets were changed, and one of another key under the name of the right one.
#[tokio::test]
async fn signatures_are_verified() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let Credential::Signature { signer: other, algorithm, .. } =
        signer(&ca, "CN=x", CMC_CA, (-1, 1), KeyUsage::DIGITAL_SIGNATURE)
    else {
        unreachable!()
    };
    let forged = Credential::Signature { signer: other, algorithm, chain: vec![(*ca.certificate).clone()] };
    let server = playing(vec![Answered { by: Some(forged), ..accepted(&ca.issue(&order)).implicit() }]).await;
    let submission = cmp(&server, by_signature(&ca, KeyAlgorithm::EcdsaP256)).submit(&remote, &order, &KEY).await;
    assert!(reason(submission).contains("signature does not verify"));
}
