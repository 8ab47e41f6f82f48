//! From the request to the certificate: confirmations, waiting, and answers that are lost on the way.

use std::time::Instant;

use super::*;
use crate::x509::tlv::Reader;

/// The one CertStatus of a confirmation: hash, the rest.
fn confirmed(seen: &Seen) -> (u64, Vec<u8>, Vec<u8>) {
    let message = Message::read(&seen.body).unwrap();
    assert_eq!((message.body_tag, message.header.recip_nonce), (24, NONCE.as_slice()));
    let all = Reader::single("confirmation", message.content, tag::SEQUENCE).unwrap();
    let mut status = all.reader().tag(tag::SEQUENCE).unwrap().reader();
    let hash = status.tag(tag::OCTET_STRING).unwrap().value.to_vec();
    assert_eq!(status.tag(tag::INTEGER).unwrap().value, [0xff]);
    let mut rest = Vec::new();
    while !status.is_empty() {
        rest.extend_from_slice(status.any().unwrap().raw);
    }
    (message.header.pvno, hash, rest)
}

#[tokio::test]
async fn a_certificate_is_confirmed_with_the_digest_of_its_signature() {
    for (key, digest, named) in [
        (KeyAlgorithm::EcdsaP256, Digest::Sha256, false),
        (KeyAlgorithm::EcdsaP384, Digest::Sha384, false),
        (KeyAlgorithm::Ed25519, Digest::Sha512, true),
        (KeyAlgorithm::MlDsa44, Digest::Sha256, true),
    ] {
        let ca = TestCa::new(key);
        let order = ca.order("devices");
        let issued = ca.issue(&order);
        let server = playing(vec![accepted(&issued), pki_conf()]).await;
        let submission = cmp(&server, by_secret(&ca)).submit(&ca.remote_ca("devices"), &order, &KEY).await;
        let Submission::Issued { certificate, .. } = submission else { panic!("{submission:?}") };
        assert_eq!(certificate.der(), issued.der());
        let seen = server.seen();
        let (pvno, hash, rest) = confirmed(&seen[1]);
        assert_eq!(hash, provider().digester.digest(digest, issued.der()), "{key}");
        // RFC 9810 section 5.3.18: the digest is named where the signature names none, and that needs version 3.
        assert_eq!((pvno == 3, !rest.is_empty()), (named, named), "{key}");
        assert_eq!(
            Message::read(&seen[0].body).unwrap().header.transaction,
            Message::read(&seen[1].body).unwrap().header.transaction
        );
    }
}

#[tokio::test]
async fn a_certificate_that_was_not_ordered_is_refused_to_the_ca() {
    let (ca, other) = (TestCa::new(KeyAlgorithm::EcdsaP256), TestCa::new(KeyAlgorithm::EcdsaP256));
    let order = ca.order("devices");
    for (wrong, why) in [
        (ca.issue(&ca.order("devices")), "another key"),
        (ca.issue(&IssuanceOrder { subject: other.certificate.subject().der().to_vec(), ..order.clone() }), "the subject is"),
        (other.issue(&order), "it was issued by"),
    ] {
        // A CA that takes the refusal and knows nothing of revocation, and one that takes neither.
        for (to_refusal, expected) in [(pki_conf(), "rejected"), (error(Some(2)), "unknown")] {
            // By a key that is not known as the CA's: then it is asked for its certificates.
            let is_strange = wrong.issuer() == other.certificate.subject();
            let asked = is_strange.then(|| error(Some(2)));
            let answers = [accepted(&wrong)].into_iter().chain(asked).chain([to_refusal, error(Some(2))]);
            let server = playing(answers.collect()).await;
            let submission = cmp(&server, by_secret(&ca)).submit(&ca.remote_ca("devices"), &order, &KEY).await;
            assert_eq!(name_of(&submission), expected);
            assert!(reason(submission).contains(why));
            let seen = &server.seen()[usize::from(is_strange)..];
            let (_, _, rest) = confirmed(&seen[1]);
            assert_eq!(rest[..5], [0x30, rest[1], 2, 1, 2], "a rejection");
            assert_eq!(Message::read(&seen[2].body).unwrap().body_tag, 11, "and a revocation");
        }
    }
}

/// A CA that was rolled over says so beside the certificate, or when it is asked.
#[tokio::test]
async fn a_certificate_by_a_new_key_of_the_ca_is_confirmed() {
    let root = TestCa::new(KeyAlgorithm::EcdsaP256);
    let old = root.below(KeyAlgorithm::EcdsaP256);
    let new = old.rolled_over(KeyAlgorithm::EcdsaP256, &root);
    let order = old.order("devices");
    let issued = new.issue(&order);
    let certificates = [old.certificate.der(), new.certificate.der()];
    let told = |certificates: &[&[u8]]| {
        let value = encode(tag::SEQUENCE, certificates);
        let pair = encode(tag::SEQUENCE, &[crate::x509::tlv::encode_oid(&"1.3.6.1.5.5.7.4.17".parse().unwrap()), value]);
        answered(body_tag::GENP, encode(tag::SEQUENCE, &[pair]))
    };
    let beside = || certificates.iter().map(|der| der.to_vec()).collect();
    for (answers, requests) in [
        (vec![Answered { beside: beside(), ..accepted(&issued) }, pki_conf()], 2),
        (vec![accepted(&issued), told(&certificates), pki_conf()], 3),
    ] {
        let (by, remote) = (old.remote_ca("devices"), by_signature(&old, KeyAlgorithm::EcdsaP256));
        let sign = |mut answer: Answered| {
            let signer = Arc::clone(&old.signer);
            let chain = vec![(*old.certificate).clone()];
            answer.by = Some(Credential::Signature { algorithm: signer.algorithms()[0], signer, chain });
            answer
        };
        let server = playing(answers.into_iter().map(sign).collect()).await;
        let submission = cmp(&server, remote).submit(&by, &order, &KEY).await;
        assert_eq!(name_of(&submission), "issued", "{submission:?}");
        assert_eq!(server.seen().len(), requests);
        assert_eq!(by.certificate().der(), new.certificate.der());
        assert_eq!(by.previous()[0].der(), old.certificate.der());
    }
}

#[tokio::test]
async fn an_order_that_waits_is_polled_for() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let waits = answered(body_tag::CP, cert_rep(0xff, &status(3, None), None));
    let entry = encode(tag::SEQUENCE, &[encode(tag::INTEGER, &[[0xff]]), encode_unsigned(&[30])]);
    let later = answered(body_tag::POLL_REP, encode(tag::SEQUENCE, &[entry]));
    let server = playing(vec![waits, later, accepted(&ca.issue(&order)), pki_conf()]).await;
    let remote = ca.remote_ca("devices");
    let first = cmp(&server, by_secret(&ca)).submit(&remote, &order, &KEY).await;
    let kept = reference(&first);
    assert!(!kept.contains(SECRET));
    // Each time a connector that knows nothing but the reference: as after a restart.
    let second = cmp(&server, by_secret(&ca)).poll(&remote, &order, &kept).await;
    assert!(matches!(second, Submission::Waiting { retry_after, .. } if retry_after.as_secs() == 30), "{second:?}");
    let third = cmp(&server, by_secret(&ca)).poll(&remote, &order, &reference(&second)).await;
    assert_eq!(name_of(&third), "issued");
    let seen = server.seen();
    let poll = Message::read(&seen[1].body).unwrap();
    assert_eq!((poll.body_tag, poll.content), (25, [0x30, 5, 0x30, 3, 2, 1, 0xff].as_slice()));
    assert_eq!(poll.header.transaction, Message::read(&seen[0].body).unwrap().header.transaction);
    assert_eq!(poll.header.recip_nonce, NONCE);
}

/// What the CA says to a poll: about the order, about the message, or nothing.
#[tokio::test]
async fn a_poll_that_fails_does_not_end_an_order() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let open = super::super::reference::Open { transaction: vec![1; 16], nonce: vec![2; 16], id: -1, certificate: None };
    for (failure, expected) in [
        (Some(24), "waiting"),
        (Some(25), "waiting"),
        // badRecipientNonce, badRequest, none
        (Some(13), "unknown"),
        (Some(2), "unknown"),
        (None, "unknown"),
        // badCertTemplate
        (Some(19), "rejected"),
    ] {
        let server = playing(vec![error(failure)]).await;
        let submission = cmp(&server, by_secret(&ca)).poll(&ca.remote_ca("devices"), &order, &open.reference()).await;
        assert_eq!(name_of(&submission), expected, "{failure:?}");
    }
    // The same as a rejection, in the place of the certificate.
    for (failure, expected) in [(Some(24), "waiting"), (Some(25), "unknown"), (Some(19), "rejected")] {
        let server = playing(vec![answered(body_tag::CP, cert_rep(0xff, &status(2, failure), None))]).await;
        let submission = cmp(&server, by_secret(&ca)).poll(&ca.remote_ca("devices"), &order, &open.reference()).await;
        assert_eq!(name_of(&submission), expected, "{failure:?}");
    }
    for (play, expected) in [
        (Play::Cut, "not taken"),
        (Play::status(404), "not taken"),
        (Play::status(503), "not taken"),
        (Play::body(200, "application/pkixcmp", "0 not one"), "not taken"),
    ] {
        let server = Scripted::playing([play.clone()]).await;
        let submission = cmp(&server, by_secret(&ca)).poll(&ca.remote_ca("devices"), &order, &open.reference()).await;
        assert_eq!(name_of(&submission), expected, "{play:?}");
    }
}

#[tokio::test]
async fn a_confirmation_whose_answer_is_lost_is_sent_again() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let issued = ca.issue(&order);
    // Confirmed already, says the CA: that is as good.
    for (last, expected) in [(pki_conf(), "issued"), (error(Some(11)), "issued"), (error(Some(24)), "waiting")] {
        let first = accepted(&issued);
        let next = AtomicUsize::new(0);
        let server = Scripted::answering(move |seen| match next.fetch_add(1, Ordering::Relaxed) {
            0 => first.play(seen),
            1 => Play::Cut,
            _ => last.play(seen),
        })
        .await;
        let cmp = cmp(&server, by_secret(&ca));
        let submission = cmp.submit(&remote, &order, &KEY).await;
        let kept = reference(&submission);
        let submission = cmp.poll(&remote, &order, &kept).await;
        assert_eq!(name_of(&submission), expected);
        let seen = server.seen();
        assert_eq!(confirmed(&seen[1]), confirmed(&seen[2]));
        if let Submission::Issued { certificate, .. } = submission {
            assert_eq!(certificate.der(), issued.der());
        }
    }
}

/// The CA knows nothing of the transaction any more: it may have taken the certificate for confirmed, or not. It is revoked.
#[tokio::test]
async fn a_certificate_whose_confirmation_goes_wrong_is_revoked() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    for (number, failure, expected) in [(0, None, "rejected"), (2, Some(10), "rejected"), (2, Some(23), "unknown")] {
        let revoked = answered(body_tag::RP, encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[status(number, failure)])]));
        let server = playing(vec![accepted(&ca.issue(&order)), error(Some(2)), revoked]).await;
        let submission = cmp(&server, by_secret(&ca)).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), expected, "{submission:?}");
        assert_eq!(Message::read(&server.seen()[2].body).unwrap().body_tag, 11);
    }
}

/// What is known when the patience of who asks ends has to be handed over before.
#[tokio::test]
async fn a_confirmation_that_takes_too_long_is_left_for_later() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let (first, next) = (accepted(&ca.issue(&order)), AtomicUsize::new(0));
    let server = Scripted::answering(move |seen| match next.fetch_add(1, Ordering::Relaxed) {
        0 => first.play(seen),
        _ => Play::Stall,
    })
    .await;
    let cas = BTreeMap::from([("devices".to_owned(), by_secret(&ca))]);
    let patience = Duration::from_millis(1500);
    let cmp = Cmp::open(&CmpSettings { cas }, server.http(), patience, "").unwrap();
    cmp.peers["devices"].believe(peer::Belief::Good);
    let begun = Instant::now();
    let submission = cmp.submit(&remote, &order, &KEY).await;
    assert!(begun.elapsed() < patience, "{:?}", begun.elapsed());
    assert!(reference(&submission).contains("confirm"));
}

/// Only what was configured is asked again, and only a certificate or "wait" says anything then.
#[tokio::test]
async fn an_order_is_found_again_where_the_ca_can_do_that() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let with = |repeats| CmpCaSettings { repeats, ..by_secret(&ca) };
    assert!(!abilities(&with(Repeats::No)).can_find_again && abilities(&with(Repeats::Request)).can_find_again);

    for (repeats, number) in [(Repeats::Request, 4), (Repeats::Poll, 25)] {
        let server = playing(vec![accepted(&ca.issue(&order)).implicit()]).await;
        let submission = cmp(&server, with(repeats)).find(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), "issued");
        let seen = server.seen();
        let message = Message::read(&seen[0].body).unwrap();
        assert_eq!(message.body_tag, number);
        assert_eq!(message.header.transaction, exchange::Ask::about(&KEY, 0, Vec::new()).transaction);
    }
    for answer in [error(Some(21)), error(Some(26)), answered(body_tag::CP, cert_rep(0xff, &status(2, Some(26)), None))] {
        let server = playing(vec![answer]).await;
        let submission = cmp(&server, with(Repeats::Request)).find(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), "unknown");
    }
    let nobody = playing(Vec::new()).await;
    let (address, settings) = (nobody.settings(), with(Repeats::Request));
    drop(nobody);
    let http = Http::open(&address, "").unwrap();
    let cas = BTreeMap::from([("devices".to_owned(), settings)]);
    let gone = Cmp::open(&CmpSettings { cas }, http, Duration::from_secs(5), "").unwrap();
    assert_eq!(name_of(&gone.find(&remote, &order, &KEY).await), "unknown", "that nobody is there now says nothing of before");
    assert_eq!(name_of(&gone.submit(&remote, &order, &KEY).await), "not taken");
}

/// With a wrong secret nothing that the CA says can be believed, not even that the secret is wrong: it is asked something harmless first.
#[tokio::test]
async fn a_wrong_secret_is_seen_before_an_order_is_sent() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let issued = ca.issue(&order);
    let fresh = |server: &Scripted| {
        let cas = BTreeMap::from([("devices".to_owned(), by_secret(&ca))]);
        Cmp::open(&CmpSettings { cas }, server.http(), Duration::from_secs(5), "").unwrap()
    };
    let tags =
        |server: &Scripted| -> Vec<u8> { server.seen().iter().map(|seen| Message::read(&seen.body).unwrap().body_tag).collect() };
    let other = || Some(Credential::Secret { secret: Zeroizing::new("another".into()), kind: MacKind::Pbm });
    let server = playing(vec![Answered { by: other(), ..error(Some(1)) }, accepted(&issued).implicit()]).await;
    let cmp = fresh(&server);
    let submission = cmp.submit(&remote, &order, &KEY).await;
    assert_eq!(name_of(&submission), "not taken");
    assert!(reason(submission).contains("our shared secret"));
    assert_eq!(tags(&server), [21]);

    // Once an answer was good nothing is asked first; after one that was not, again.
    let forged = Answered { by: other(), ..accepted(&issued).implicit() };
    let answers = vec![error(Some(2)), accepted(&issued).implicit(), accepted(&issued).implicit(), forged, pki_conf()];
    let server = playing(answers).await;
    let cmp = fresh(&server);
    for expected in ["issued", "issued", "unknown", "unknown"] {
        assert_eq!(name_of(&cmp.submit(&remote, &order, &KEY).await), expected);
    }
    assert_eq!(tags(&server), [21, 4, 4, 4, 21, 4]);
    // A CA that knows no such question is asked for certificates all the same.
    let good = accepted(&issued).implicit();
    let server = Scripted::answering(move |seen| match Message::read(&seen.body).unwrap().body_tag {
        21 => Play::status(400),
        _ => good.play(seen),
    })
    .await;
    assert_eq!(name_of(&fresh(&server).submit(&remote, &order, &KEY).await), "issued");
}
