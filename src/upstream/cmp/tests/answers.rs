//! What the CA says to a first request, and what that means.

use super::*;

#[tokio::test]
async fn a_no_is_told_apart_from_not_now_and_from_nobody_knows() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let rejection = |failure| answered(body_tag::CP, cert_rep(0xff, &status(2, failure), None));
    for (answer, expected, says) in [
        (rejection(Some(19)), "rejected", "badCertTemplate"),
        (rejection(None), "rejected", "said so"),
        (rejection(Some(24)), "not taken", "systemUnavail"),
        // It may have failed after it had signed.
        (rejection(Some(25)), "unknown", "systemFailure"),
        (error(Some(9)), "rejected", "badPOP"),
        (error(Some(23)), "rejected", "notAuthorized"),
        (error(None), "rejected", "said so"),
        (error(Some(1)), "rejected", "badMessageCheck"),
        (error(Some(24)), "not taken", "systemUnavail"),
        // Our credentials and our clock are the operator's business, like HTTP 401.
        (error(Some(12)), "not taken", "wrongIntegrity"),
        (error(Some(20)), "not taken", "signerNotTrusted"),
        (error(Some(3)), "not taken", "badTime"),
        (error(Some(25)), "unknown", "systemFailure"),
        // It has had the request already.
        (error(Some(21)), "unknown", "transactionIdInUse"),
        (pki_conf(), "unknown", "a CMP body 19"),
        (answered(body_tag::CP, cert_rep(0xff, &status(0, None), None)), "unknown", "none in it"),
        (answered(body_tag::CP, cert_rep(5, &status(0, None), None)), "unknown", "request 5"),
        (answered(body_tag::CP, vec![0x30, 0]), "unknown", "CertRepMessage"),
    ] {
        let server = playing(vec![answer]).await;
        let submission = cmp(&server, by_secret(&ca)).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), expected, "{submission:?}");
        let reason = reason(submission);
        assert!(reason.contains(says), "{reason}");
    }
}

#[tokio::test]
async fn http_says_what_no_message_does() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    for (play, expected) in [
        (Play::status(503), "unknown"),
        (Play::status(503).header("Retry-After", "5"), "not taken"),
        (Play::status(408), "unknown"),
        (Play::status(401), "not taken"),
        (Play::status(403), "not taken"),
        (Play::status(404), "not taken"),
        (Play::status(400), "rejected"),
        (Play::status(500), "unknown"),
        (Play::Cut, "unknown"),
        (Play::body(200, "text/html", "<html>"), "unknown"),
    ] {
        let server = Scripted::playing([play.clone()]).await;
        let submission = cmp(&server, by_secret(&ca)).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), expected, "{play:?}");
    }
    // A message counts whatever the status is (RFC 9811 section 3.5).
    let server = Scripted::answering(|seen| Play::body(500, "application/pkixcmp", error(Some(24)).to(seen))).await;
    assert_eq!(name_of(&cmp(&server, by_secret(&ca)).submit(&remote, &order, &KEY).await), "not taken");
}

/// An error that waits is polled for with -1 (RFC 9483 section 4.4).
#[tokio::test]
async fn an_error_may_say_wait() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let server = playing(vec![answered(body_tag::ERROR, encode(tag::SEQUENCE, &[status(3, None)]))]).await;
    let submission = cmp(&server, by_secret(&ca)).submit(&ca.remote_ca("devices"), &ca.order("devices"), &KEY).await;
    assert!(reference(&submission).contains(r#""id":-1"#));
}

#[tokio::test]
async fn pbmac1_goes_both_ways() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let by = Some(Credential::Secret { secret: Zeroizing::new(SECRET.into()), kind: MacKind::Pbmac1 });
    let server = playing(vec![Answered { by, ..accepted(&ca.issue(&order)).implicit() }]).await;
    let CredentialSettings::Secret(source, _) = by_secret(&ca).credential else { unreachable!() };
    let settings = CmpCaSettings { credential: CredentialSettings::Secret(source, MacKind::Pbmac1), ..by_secret(&ca) };
    let submission = cmp(&server, settings).submit(&ca.remote_ca("devices"), &order, &KEY).await;
    assert_eq!(name_of(&submission), "issued");
    let pbmac1 = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 14];
    assert!(server.seen()[0].body.windows(pbmac1.len()).any(|octets| octets == pbmac1));
}
