//! Revocation, and what a CA tells of itself.

use super::*;
use crate::x509::crl::CrlTemplate;
use crate::x509::tlv::encode_oid;

fn revoked(number: u8, failure: Option<u8>) -> Answered {
    answered(body_tag::RP, encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[status(number, failure)])]))
}

#[tokio::test]
async fn certificates_are_revoked_by_issuer_and_serial_number() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let remote = ca.remote_ca("devices");
    let certificate = ca.issue(&ca.order("devices"));
    for (answer, expected) in [
        (revoked(0, None), Ok(())),
        // Revoking it again is no error.
        (revoked(2, Some(10)), Ok(())),
        (revoked(2, Some(4)), Err("badCertId")),
        (revoked(3, None), Err("waiting")),
        (error(Some(24)), Err("systemUnavail")),
        (error(Some(23)), Err("notAuthorized")),
        (pki_conf(), Err("a CMP body 19")),
    ] {
        let server = playing(vec![answer]).await;
        let done = cmp(&server, by_secret(&ca)).revoke(&remote, &certificate, RevocationReason::KeyCompromise).await;
        match (done, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
            (done, expected) => panic!("{done:?} {expected:?}"),
        }
        let seen = server.seen();
        let message = Message::read(&seen[0].body).unwrap();
        let serial = encode(tag::context(1), &[certificate.serial()]);
        let issuer = encode(tag::context_constructed(3), &[ca.certificate.subject().der()]);
        let template = encode(tag::SEQUENCE, &[serial, issuer]);
        // reasonCode keyCompromise
        let details = hex::decode("300c300a0603551d1504030a0101").unwrap();
        let one = encode(tag::SEQUENCE, &[template, details]);
        assert_eq!((message.body_tag, message.content), (11, encode(tag::SEQUENCE, &[one]).as_slice()));
    }
}

fn told(oid: &str, values: &[&[u8]]) -> Answered {
    let info = encode(tag::SEQUENCE, &[encode_oid(&oid.parse().unwrap()), encode(tag::SEQUENCE, values)]);
    answered(body_tag::GENP, encode(tag::SEQUENCE, &[info]))
}

#[tokio::test]
async fn a_ca_tells_its_certificates() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let leaf = ca.issue(&order);
    let server = playing(vec![told("1.3.6.1.5.5.7.4.17", &[ca.certificate.der(), leaf.der()])]).await;
    let certificates = cmp(&server, by_secret(&ca)).certificates(&remote).await.unwrap();
    assert_eq!(certificates, [Arc::clone(&ca.certificate)], "and only those of CAs");

    // One that does not is there all the same; what came beside a certificate is remembered.
    let caps = encode(tag::context_constructed(1), &[encode(tag::SEQUENCE, &[ca.certificate.der()])]);
    let rep = cert_rep(0xff, &status(0, None), Some(&leaf));
    let responses = &rep[rep.len() - crate::x509::tlv::Reader::single("rep", &rep, tag::SEQUENCE).unwrap().value.len()..];
    let with_pubs = answered(body_tag::CP, encode(tag::SEQUENCE, &[caps.as_slice(), responses])).implicit();
    let server = playing(vec![error(Some(2)), with_pubs, error(Some(2))]).await;
    let cmp = cmp(&server, by_secret(&ca));
    assert!(cmp.remarks(&remote).is_empty());
    assert_eq!(cmp.certificates(&remote).await, Ok(Vec::new()));
    assert!(cmp.remarks(&remote)[0].contains("badRequest"), "a look at what it says does no harm");
    assert_eq!(name_of(&cmp.submit(&remote, &order, &KEY).await), "issued");
    assert_eq!(cmp.certificates(&remote).await, Ok(vec![Arc::clone(&ca.certificate)]));
}

/// The breaker of a CA closes when it answers; that need not be what was asked for.
#[tokio::test]
async fn a_ca_that_knows_no_general_messages_is_there_all_the_same() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let remote = ca.remote_ca("devices");
    let bare = Answered { by: None, ..error(Some(2)) };
    let server = Scripted::answering(move |seen| bare.play(seen)).await;
    assert_eq!(cmp(&server, by_secret(&ca)).certificates(&remote).await, Ok(Vec::new()));
    for (play, there) in [
        (Play::status(400), true),
        (Play::status(501), false),
        (Play::status(503), false),
        (Play::status(404), false),
        (Play::Cut, false),
        (Play::body(200, "text/html", "<html>"), false),
    ] {
        let server = Scripted::playing([play.clone()]).await;
        assert_eq!(cmp(&server, by_secret(&ca)).certificates(&remote).await.is_ok(), there, "{play:?}");
    }
    let other = Some(Credential::Secret { secret: Zeroizing::new("another".into()), kind: MacKind::Pbm });
    let server = playing(vec![Answered { by: other, ..error(Some(2)) }]).await;
    assert!(cmp(&server, by_secret(&ca)).certificates(&remote).await.is_err(), "one with another secret is of no use");
}

#[tokio::test]
async fn credentials_are_seen_to_be_good() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let remote = ca.remote_ca("devices");
    for (answer, says) in
        [(error(Some(12)), "wrongIntegrity"), (error(Some(20)), "signerNotTrusted"), (error(Some(24)), "systemUnavail")]
    {
        let server = playing(vec![answer]).await;
        let error = cmp(&server, by_secret(&ca)).certificates(&remote).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let server = playing(Vec::new()).await;
    let now = Timestamp::now();
    let old = (now - SignedDuration::from_hours(2), now - SignedDuration::from_hours(1));
    let files = ca.identity_for(KeyAlgorithm::EcdsaP256, &[], old);
    let credential = CredentialSettings::Signature { certificate: files.certificate, key: files.key };
    let wrong = cmp(&server, CmpCaSettings { credential, ..by_secret(&ca) }).check(&remote).await.unwrap();
    assert!(wrong[0].contains("our certificate CN=TLS is valid from"), "{wrong:?}");
}

#[tokio::test]
async fn a_ca_gives_its_crl() {
    let (ca, other) = (TestCa::new(KeyAlgorithm::EcdsaP256), TestCa::new(KeyAlgorithm::EcdsaP256));
    let remote = ca.remote_ca("devices");
    let crl_of = |ca: &TestCa| {
        let now = Timestamp::now();
        let template = CrlTemplate {
            issuer: ca.certificate.subject().clone(),
            number: 1,
            this_update: now,
            next_update: now + SignedDuration::from_hours(24),
            revoked: Vec::new(),
            authority_key_identifier: ca.certificate.subject_key_identifier().unwrap(),
        };
        template.sign(&*ca.signer, ca.signer.algorithms()[0]).unwrap()
    };
    let own = crl_of(&ca);
    let server = playing(vec![told("1.3.6.1.5.5.7.4.23", &[&crl_of(&other), &own]), error(Some(2))]).await;
    let cmp = cmp(&server, by_secret(&ca));
    assert_eq!(cmp.crl(&remote).await, Ok(Some(own)));
    assert_eq!(cmp.crl(&remote).await, Ok(None));
}
